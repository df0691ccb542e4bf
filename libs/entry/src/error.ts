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
  | 'ENTRY_BODY_MALFORMED'
  /** A proposed entry of Rekor v1 is not of the form its schema asks for; `schema` says where. */
  | 'ENTRY_SCHEMA'
  /** A proposed entry is of a kind that does not exist; `schema` says which. */
  | 'ENTRY_KIND'
  /** A proposed entry is of a known kind, in a version that is not read here. */
  | 'ENTRY_VERSION'
  /** A proposed entry breaks a rule of its kind; `detail` says which. */
  | 'ENTRY_PROPOSAL'
  /** The keys or signatures of a proposed entry cannot be read. */
  | 'ENTRY_PKI'
  /** A proposed entry can be looked up, but lacks what is needed to log it. */
  | 'ENTRY_NOT_INSERTABLE';

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

/**
 * What a schema did not allow, in the words and with the numbers of go-openapi: 601 type, 602 required, 603 and 604
 * length, 605 pattern, 606 enumeration, 608 and 609 range, 611 and 612 number of items, 616 name; 422 for an unknown kind.
 * @see go-openapi/errors, schema.go
 */
export interface SchemaViolation {
  readonly code: number;
  readonly message: string;
}

/** The one error of this library; narrow by `code`. Messages hold no bytes of the entry. */
export class EntryError extends Error {
  override readonly name = 'EntryError';
  /** Set if `code` is `ENTRY_INVALID`. */
  readonly reason: EntryInvalidReason | undefined;
  /** What Rekor v1 says of it behind `error processing entry: `. */
  readonly detail: string | undefined;
  /** Set if `code` is `ENTRY_SCHEMA` or `ENTRY_KIND`: the body of Rekor v1's answer 422. */
  readonly schema: SchemaViolation | undefined;

  constructor(
    readonly code: EntryErrorCode,
    message: string,
    options?: ErrorOptions & { reason?: EntryInvalidReason; detail?: string; schema?: SchemaViolation },
  ) {
    super(message, options);
    this.reason = options?.reason;
    this.detail = options?.detail;
    this.schema = options?.schema;
  }
}

/** An `ENTRY_INVALID`. */
export function invalid(reason: EntryInvalidReason, state: string): EntryError {
  return new EntryError('ENTRY_INVALID', `Cannot accept entry: ${state}`, { reason });
}

/** A refusal with a reason in the words of Rekor v1. */
export function refused(code: EntryErrorCode, detail: string, cause?: unknown): EntryError {
  return new EntryError(code, `Cannot accept entry: ${detail}`, { detail, cause });
}

/** An `ENTRY_TOO_LARGE`. */
export function tooLarge(state: string): EntryError {
  return refused('ENTRY_TOO_LARGE', state);
}
