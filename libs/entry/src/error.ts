/** Why an entry was refused. Codes are API: never reused, never renamed. */
export type EntryErrorCode =
  /** The request holds no entry of a type that is read here. */
  | 'ENTRY_TYPE'
  /** The request is not the JSON form of its protocol buffer. */
  | 'ENTRY_JSON'
  /** A rule for entries is broken; `reason` says which. */
  | 'ENTRY_INVALID'
  | 'ENTRY_SIGNATURE'
  | 'ENTRY_TOO_LARGE'
  /** A body from a log cannot be understood. */
  | 'ENTRY_BODY_MALFORMED';

/** Which rule an `ENTRY_INVALID` broke, in the order in which they are checked. */
export type EntryInvalidReason =
  | 'missing-signature'
  | 'missing-verifier'
  | 'missing-digest'
  | 'missing-payload'
  | 'missing-key'
  | 'too-many'
  | 'duplicate'
  | 'algorithm-unknown'
  | 'algorithm-not-allowed'
  | 'digest-length'
  | 'algorithm-mismatch';

/** The one error of this library; narrow by `code`. Messages hold no bytes of the entry. */
export class EntryError extends Error {
  override readonly name = 'EntryError';
  /** Set if `code` is `ENTRY_INVALID`. */
  readonly reason: EntryInvalidReason | undefined;

  constructor(
    readonly code: EntryErrorCode,
    message: string,
    options?: ErrorOptions & { reason?: EntryInvalidReason },
  ) {
    super(message, options);
    this.reason = options?.reason;
  }
}

/** An `ENTRY_INVALID`. */
export function invalid(reason: EntryInvalidReason, state: string): EntryError {
  return new EntryError('ENTRY_INVALID', `Cannot accept entry: ${state}`, { reason });
}
