import { EncodingError } from '#libs/encoding';

/** Why a request, a response or a token was refused. Codes are API: never reused, never renamed. */
export type TimestampErrorCode =
  /** Not strict DER or JSON, or a field is missing, repeated or out of place. */
  | 'TIMESTAMP_MALFORMED'
  | 'TIMESTAMP_TOO_LARGE'
  /** SHA-1 as the hash of what is stamped. */
  | 'TIMESTAMP_WEAK_HASH'
  | 'TIMESTAMP_HASH_UNKNOWN'
  /** The digest is not as long as its hash makes them. */
  | 'TIMESTAMP_DIGEST_LENGTH'
  /** Policy text that is no OID. */
  | 'TIMESTAMP_OID'
  /** The request names a policy that this authority does not offer, or the token is under another than was asked for. */
  | 'TIMESTAMP_POLICY'
  /** The request has extensions, or the token a critical one. */
  | 'TIMESTAMP_EXTENSION'
  /** The authority answered with a status other than granted. */
  | 'TIMESTAMP_REJECTED'
  /** The token is over something else. */
  | 'TIMESTAMP_IMPRINT'
  /** The nonce is missing or not the one that was sent. */
  | 'TIMESTAMP_NONCE'
  /** No trusted authority has the certificate that the token names. */
  | 'TIMESTAMP_AUTHORITY_UNKNOWN'
  /** The time is outside the period for which the authority is trusted. */
  | 'TIMESTAMP_OUTSIDE_VALIDITY'
  /** The signing certificate may not sign timestamps, or not at this time. */
  | 'TIMESTAMP_CERTIFICATE'
  /** No path from the signing certificate to the trusted root at the time of the token. */
  | 'TIMESTAMP_CHAIN'
  /** A signed attribute is missing or does not fit the token. */
  | 'TIMESTAMP_ATTRIBUTE'
  | 'TIMESTAMP_SIGNATURE';

/** The one error of this lib; narrow by `code`. */
export class TimestampError extends Error {
  override readonly name = 'TimestampError';

  constructor(
    readonly code: TimestampErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Runs a parser; what it objects to in the encoding becomes `TIMESTAMP_MALFORMED`. */
export function converting<T>(action: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw new TimestampError('TIMESTAMP_MALFORMED', `${action}: ${error.message}`, { cause: error });
  }
}
