/**
 * Why a trusted root or a signing config was refused. Codes are API.
 * - `TRUST_JSON`: not JSON, or JSON with duplicate keys
 * - `TRUST_MEDIA_TYPE`: missing or unknown media type
 * - `TRUST_MALFORMED`: a field is missing, unknown, of the wrong type or out of range
 * - `TRUST_LIMIT`: larger, or more of something, than we are ready to read
 * - `TRUST_KEY`, `TRUST_CERTIFICATE`: a key or certificate in it cannot be read
 * - `TRUST_NO_SERVICE`: no service of a signing config fits
 */
export type TrustErrorCode =
  | 'TRUST_JSON'
  | 'TRUST_MEDIA_TYPE'
  | 'TRUST_MALFORMED'
  | 'TRUST_LIMIT'
  | 'TRUST_KEY'
  | 'TRUST_CERTIFICATE'
  | 'TRUST_NO_SERVICE';

/** The one error of this lib. */
export class TrustError extends Error {
  override readonly name = 'TrustError';

  constructor(
    readonly code: TrustErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
