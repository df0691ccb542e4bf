/** What is wrong with a key file; stable, part of the API. */
export type KeyFileErrorCode =
  /** The file is not of the format, or what was inside is no private key. */
  | 'KEYFILE_MALFORMED'
  /** It is of the format, with a key derivation or cipher that is not read here. */
  | 'KEYFILE_UNSUPPORTED'
  /** It does not open with this password. */
  | 'KEYFILE_PASSWORD';

/** Thrown by everything in this lib. No message holds a password or a part of a key. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError';
  /** One sentence: what the owner of the key can do about it. */
  readonly cure: string | undefined;

  constructor(
    readonly code: KeyFileErrorCode,
    message: string,
    options: ErrorOptions & { cure?: string } = {},
  ) {
    super(message, options);
    this.cure = options.cure;
  }
}
