/** What went wrong while signing; stable, part of the API. */
export type SignErrorCode =
  | 'SIGN_TOKEN_MISSING'
  | 'SIGN_TOKEN_MALFORMED'
  | 'SIGN_TOKEN_EXPIRED'
  | 'SIGN_TOKEN_AUDIENCE'
  | 'SIGN_KEY'
  | 'SIGN_ARTIFACT'
  | 'SIGN_STATEMENT'
  | 'SIGN_SERVICES'
  | 'SIGN_URL'
  | 'SIGN_NETWORK'
  | 'SIGN_REDIRECT'
  | 'SIGN_REFUSED'
  | 'SIGN_UNAVAILABLE'
  | 'SIGN_RESPONSE_TOO_LARGE'
  | 'SIGN_RESPONSE_MALFORMED'
  | 'SIGN_CERTIFICATE_KEY'
  | 'SIGN_CERTIFICATE_SCT'
  | 'SIGN_CERTIFICATE_CHAIN'
  | 'SIGN_CERTIFICATE_TIME'
  | 'SIGN_TIMESTAMP'
  | 'SIGN_LOG_BODY'
  | 'SIGN_LOG_PROOF'
  | 'SIGN_LOG_CHECKPOINT';

/** Beside the usual options: what would cure the failure, the HTTP status when a service answered with one, and the ambient provider that failed. */
export interface SignErrorOptions extends ErrorOptions {
  cure?: string;
  status?: number;
  provider?: string;
}

/** Thrown by everything in this library for wrong input, and for services that fail or answer wrongly. */
export class SignError extends Error {
  /** One sentence: what the person who signs can do about it. */
  readonly cure: string | undefined;
  /** The HTTP status of the service's last answer, if there was one. */
  readonly status: number | undefined;
  /** The name of the ambient identity provider that was asked and failed, so that a caller can tell how to leave it out. */
  readonly provider: string | undefined;

  constructor(
    readonly code: SignErrorCode,
    message: string,
    options: SignErrorOptions = {},
  ) {
    super(message, options);
    this.name = 'SignError';
    this.cure = options.cure;
    this.status = options.status;
    this.provider = options.provider;
  }
}
