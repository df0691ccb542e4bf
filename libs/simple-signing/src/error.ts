/** What went wrong. Codes are API: never reused, never renamed. */
export type SimpleSigningErrorCode =
  /** The text is no image reference, or not one of the kind that is needed. */
  | 'SIMPLE_REFERENCE'
  /** The payload is no `atomic container signature`. */
  | 'SIMPLE_PAYLOAD'
  /** The bytes are no OpenPGP signed message with one signature. */
  | 'SIMPLE_MESSAGE'
  /** More bytes than are read, before or after decompression. */
  | 'SIMPLE_TOO_LARGE'
  /** A key or ring of keys cannot be read, or has no key that could be used. */
  | 'SIMPLE_KEY'
  /** The private key is locked, and the passphrase is missing or wrong. */
  | 'SIMPLE_PASSPHRASE'
  /** The signature is by a key that is not in the ring. */
  | 'SIMPLE_SIGNER'
  /** The key is in the ring, but must not be believed: expired, revoked, not for signing. */
  | 'SIMPLE_KEY_STATE'
  /** The signature does not verify, or has expired. */
  | 'SIMPLE_SIGNATURE'
  /** The signature is over another manifest. */
  | 'SIMPLE_DIGEST'
  /** The signature is for another name than the policy asks for. */
  | 'SIMPLE_IDENTITY'
  /** The policy file is not one. */
  | 'SIMPLE_POLICY'
  /** A file of registries.d is not one, or two contradict each other. */
  | 'SIMPLE_REGISTRIES'
  /** The address of a lookaside storage cannot be used. */
  | 'SIMPLE_LOOKASIDE_URL'
  /** A lookaside storage cannot be read or written. */
  | 'SIMPLE_LOOKASIDE';

/** The one error of this library; narrow by `code`. No message holds a key, a passphrase or a whole payload. */
export class SimpleSigningError extends Error {
  override readonly name = 'SimpleSigningError';

  constructor(
    readonly code: SimpleSigningErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The reason of an error in a few words, for the message of another. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown reason';
}

/** A text from outside as a quoted part of a message, cut to a bearable length. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}
