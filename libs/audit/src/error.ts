/** Closed: a code is never renamed or reused. */
export type AuditErrorCode =
  | 'AUDIT_URL'
  | 'AUDIT_NETWORK'
  | 'AUDIT_REDIRECT'
  | 'AUDIT_REFUSED'
  | 'AUDIT_UNAVAILABLE'
  | 'AUDIT_TOO_LARGE'
  | 'AUDIT_RESPONSE'
  | 'AUDIT_FOLDER'
  | 'AUDIT_MISSING'
  | 'AUDIT_KEY'
  | 'AUDIT_CHECKPOINT'
  | 'AUDIT_SIGNER'
  | 'AUDIT_TILES'
  | 'AUDIT_ENTRY'
  | 'AUDIT_RANGE'
  | 'AUDIT_PROOF'
  | 'AUDIT_INCONSISTENT'
  | 'AUDIT_STATE'
  | 'AUDIT_EVIDENCE'
  | 'AUDIT_STOPPED';

/** Beside the usual options: what would cure the failure, the HTTP status of an answer, and where evidence of a log's fault was kept. */
export interface AuditErrorOptions extends ErrorOptions {
  cure?: string;
  status?: number;
  evidence?: string;
}

/** Thrown by everything in this library for wrong input, logs that cannot be read, and logs that do not fit what they signed. */
export class AuditError extends Error {
  override readonly name = 'AuditError';
  /** One sentence: what the auditor can do about it. */
  readonly cure: string | undefined;
  /** The HTTP status of the log's last answer, if there was one. */
  readonly status: number | undefined;
  /** The file with the evidence, if some was kept. */
  readonly evidence: string | undefined;

  constructor(
    readonly code: AuditErrorCode,
    message: string,
    options: AuditErrorOptions = {},
  ) {
    super(message, options);
    this.cure = options.cure;
    this.status = options.status;
    this.evidence = options.evidence;
  }
}

/** The words of whatever was thrown. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : 'unreadable';
}
