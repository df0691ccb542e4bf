/** What can be wrong with a token, its issuer or the issuer configuration. Codes are API: never reused, never renamed. */
export type IdentityErrorCode =
  | 'IDENTITY_TOKEN_MISSING'
  | 'IDENTITY_TOKEN_TOO_LARGE'
  | 'IDENTITY_TOKEN_MALFORMED'
  | 'IDENTITY_ISSUER_UNKNOWN'
  | 'IDENTITY_DISCOVERY'
  | 'IDENTITY_JWKS'
  | 'IDENTITY_BUSY'
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
 * the token, and what it quotes from a token is short and printable. It may name our network, so it is for our log.
 */
export class IdentityError extends Error {
  override readonly name = 'IdentityError';
  /**
   * What the stranger who sent the token may read: the claim, what was found and what was expected, `audience is "foo",
   * this CA expects "sigstore"`. Never an address, a status or a cause: with a wildcard issuer in the configuration, who
   * sends tokens chooses a part of what we fetch, and must not learn what is there.
   */
  readonly shown: string;

  constructor(
    readonly code: IdentityErrorCode,
    message: string,
    options: ErrorOptions & { readonly shown?: string } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : {});
    this.shown = options.shown ?? defaultShown(code, message);
  }
}

/** What may be shown where the thrower gave no words of its own. */
function defaultShown(code: IdentityErrorCode, message: string): string {
  switch (code) {
    case 'IDENTITY_DISCOVERY':
    case 'IDENTITY_JWKS':
      return "the keys of the token's issuer could not be fetched";
    case 'IDENTITY_BUSY':
      return 'too many tokens are waiting, try again';
    // About files of ours.
    case 'IDENTITY_CONFIG':
      return 'the issuer configuration cannot be used';
    case 'IDENTITY_EMAIL_UNVERIFIED':
      return message.replace(/^.*?\b(email_verified is .+), expected true$/, 'claim $1, it must be true');
    default:
      return plainState(message);
  }
}

/** `Cannot read claim a: found nothing, expected b` → `claim a is missing, expected b`; other messages without their first word. */
function plainState(message: string): string {
  const found = /^Cannot [^:]*\bclaim (\S+): found (.+?)(, expected .+)?$/.exec(message);
  if (found !== null) {
    const [, name = '', value = '', expected = ''] = found;
    return `claim ${name} is ${value === 'nothing' ? 'missing' : value}${expected}`;
  }
  const about = /^Cannot [^:]*\bclaim (\S+): (.+)$/.exec(message);
  if (about !== null) return `claim ${about[1]}: ${about[2]}`;
  return /^Cannot [^:]+: (.+)$/s.exec(message)?.[1] ?? message;
}

const QUOTE_LIMIT = 80;

/** A value out of a token or a document, fit for a message: quoted, at most 80 characters, printable ASCII only. */
export function quote(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null || typeof value === 'boolean' || typeof value === 'number' || typeof value === 'bigint') {
    const text = String(value);
    // An integer of a token may have as many digits as the token has room for.
    return text.length > QUOTE_LIMIT ? `${text.slice(0, QUOTE_LIMIT)}...` : text;
  }
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value !== 'string') return 'an object';
  const head = value.slice(0, QUOTE_LIMIT).replace(/[^\x20-\x7e]/g, '?');
  return value.length > QUOTE_LIMIT ? `"${head}..."` : `"${head}"`;
}
