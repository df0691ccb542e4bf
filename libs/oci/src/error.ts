/** Closed: a code is never renamed or reused. */
export type OciErrorCode =
  | 'OCI_REFERENCE'
  | 'OCI_NOT_FOUND'
  | 'OCI_UNAUTHORIZED'
  | 'OCI_DENIED'
  | 'OCI_CHALLENGE'
  | 'OCI_CREDENTIALS'
  | 'OCI_DIGEST'
  | 'OCI_SIZE'
  | 'OCI_LIMIT'
  | 'OCI_MANIFEST'
  | 'OCI_SUBJECT'
  | 'OCI_RESPONSE'
  | 'OCI_NETWORK'
  | 'OCI_REDIRECT'
  | 'OCI_UNAVAILABLE'
  | 'OCI_UNSUPPORTED'
  | 'OCI_REFUSED'
  | 'OCI_CONFLICT'
  | 'OCI_LAYOUT';

/** Beside the usual options: what would cure the failure, and the HTTP status of an answer. */
export interface OciErrorOptions extends ErrorOptions {
  readonly cure?: string;
  readonly status?: number;
}

/** Thrown by everything in this library: for wrong input, and for registries and folders that fail or lie. */
export class OciError extends Error {
  override readonly name = 'OciError';
  /** One sentence: what the user can do about it. */
  readonly cure: string | undefined;
  /** The HTTP status of the registry's last answer, if there was one. */
  readonly status: number | undefined;

  constructor(
    readonly code: OciErrorCode,
    message: string,
    options: OciErrorOptions = {},
  ) {
    super(message, options);
    this.cure = options.cure;
    this.status = options.status;
  }
}

/** What strangers wrote, fit for a message: one line, at most 200 characters, nothing that drives a terminal, no token. */
export function printable(text: string): string {
  const line = text
    .slice(0, 4096)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .replace(/eyJ[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)*/g, '(token removed)')
    .trim();
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
}

/** `printable`, in quotation marks. */
export function quote(text: string): string {
  return JSON.stringify(printable(text));
}
