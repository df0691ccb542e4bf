/** What is wrong with a Notary repository, or with how it was asked for; stable, part of the API. */
export type NotaryErrorCode =
  /** The server has no such repository or role. */
  | 'NOTARY_NOT_FOUND'
  /** A role is not of the format. */
  | 'NOTARY_FORMAT'
  /** More of something than is read: bytes, keys, delegations, root versions. */
  | 'NOTARY_LIMIT'
  /** What is pinned is not what the server shows. */
  | 'NOTARY_PIN'
  /** A new root is not signed by the one before it. */
  | 'NOTARY_ROTATION'
  /** Too few good signatures of a role's keys. */
  | 'NOTARY_SIGNATURE'
  /** A role is not the one whose hash and length another one signed. */
  | 'NOTARY_HASH'
  /** A version is not what it must be, or older than one seen before. */
  | 'NOTARY_VERSION'
  /** A role has expired. */
  | 'NOTARY_EXPIRED'
  /** A delegation is missing, or says more than it may. */
  | 'NOTARY_DELEGATION';

/** Thrown by everything in this lib. */
export class NotaryError extends Error {
  override readonly name = 'NotaryError';
  /** Which role it is about: `root`, `targets/releases`. */
  readonly role: string | undefined;
  /** One sentence: what can be done about it. */
  readonly cure: string | undefined;

  constructor(
    readonly code: NotaryErrorCode,
    message: string,
    { role, cure, ...options }: ErrorOptions & { role?: string; cure?: string } = {},
  ) {
    super(message, options);
    this.role = role;
    this.cure = cure;
  }
}
