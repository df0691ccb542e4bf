/** What can be wrong with a token, its issuer or the issuer configuration. Codes are API: never reused, never renamed. */
export type IdentityErrorCode =
  | 'IDENTITY_TOKEN_MISSING'
  | 'IDENTITY_TOKEN_TOO_LARGE'
  | 'IDENTITY_TOKEN_MALFORMED'
  | 'IDENTITY_ISSUER_UNKNOWN'
  | 'IDENTITY_DISCOVERY'
  | 'IDENTITY_JWKS'
  | 'IDENTITY_ALGORITHM'
  | 'IDENTITY_KEY_UNKNOWN'
  | 'IDENTITY_SIGNATURE'
  | 'IDENTITY_AUDIENCE'
  | 'IDENTITY_EXPIRED'
  | 'IDENTITY_NOT_YET_VALID'
  | 'IDENTITY_CLAIM'
  | 'IDENTITY_EMAIL_UNVERIFIED'
  | 'IDENTITY_CONFIG';

/**
 * The one error of this lib. The message names the claim or field, what was found and what was expected; it never holds
 * the token, and what it quotes from a token is short and printable.
 */
export class IdentityError extends Error {
  override readonly name = 'IdentityError';
  constructor(
    readonly code: IdentityErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const QUOTE_LIMIT = 80;

/** A value out of a token or a document, fit for a message: quoted, at most 80 characters, printable ASCII only. */
export function quote(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null || typeof value === 'boolean' || typeof value === 'number' || typeof value === 'bigint') {
    return String(value);
  }
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value !== 'string') return 'an object';
  const head = value.slice(0, QUOTE_LIMIT).replace(/[^\x20-\x7e]/g, '?');
  return value.length > QUOTE_LIMIT ? `"${head}…"` : `"${head}"`;
}
