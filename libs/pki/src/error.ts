/** What could not be used. Codes are API: never reused, never renamed. */
export type PkiErrorCode =
  /** There is no such format here. */
  | 'PKI_FORMAT'
  /** The bytes are no public key of the format, or one that is not supported. */
  | 'PKI_KEY'
  /** The certificates that came with the key do not lead from the first to the last. */
  | 'PKI_CHAIN'
  /** The bytes are no detached signature of the format. */
  | 'PKI_SIGNATURE'
  /** More bytes than the format is read with. */
  | 'PKI_TOO_LARGE';

/** What Rekor answers to a search for a key that it cannot read, whatever is wrong with it. */
const UNREADABLE_KEY = 'public key provided could not be parsed';
const UNKNOWN_FORMAT = 'the PKI format requested is not supported by this server';

/** The one error of this library; narrow by `code`. Nothing here holds bytes of a key or a signature. */
export class PkiError extends Error {
  override readonly name = 'PkiError';

  constructor(
    readonly code: PkiErrorCode,
    message: string,
    /** The reason in the words of Rekor v1, for the `message` of its error object. */
    readonly detail: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** What Rekor v1 says of the same error when the key was given to search by: one sentence for every cause. */
  get searchDetail(): string {
    return this.code === 'PKI_FORMAT' ? UNKNOWN_FORMAT : UNREADABLE_KEY;
  }
}

/** A `PKI_FORMAT`. */
export function unknownFormat(): PkiError {
  return new PkiError('PKI_FORMAT', 'Cannot read public key: its format is unknown', UNKNOWN_FORMAT);
}

/** A `PKI_KEY`. */
export function badKey(state: string, detail: string, cause?: unknown): PkiError {
  return new PkiError('PKI_KEY', `Cannot read public key: ${state}`, detail, { cause });
}

/** A `PKI_SIGNATURE`. */
export function badSignature(state: string, detail: string, cause?: unknown): PkiError {
  return new PkiError('PKI_SIGNATURE', `Cannot read signature: ${state}`, detail, { cause });
}

/** Refuses input before anything is made of it. @throws PkiError `PKI_TOO_LARGE` */
export function checkSize(what: 'public key' | 'signature', bytes: Uint8Array, limit: number): void {
  if (bytes.length <= limit) return;
  const state = `${bytes.length} bytes, at most ${limit} are read`;
  throw new PkiError('PKI_TOO_LARGE', `Cannot read ${what}: ${state}`, `invalid ${what}: ${state}`);
}

/** A signature that cannot be read is no signature by anyone: `PkiError` becomes false. */
export async function falseIfMalformed(verify: () => boolean | Promise<boolean>): Promise<boolean> {
  try {
    return await verify();
  } catch (error) {
    if (error instanceof PkiError) return false;
    throw error;
  }
}
