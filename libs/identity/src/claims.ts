import { type JsonValue } from '#libs/encoding';
import { IdentityError, quote } from './errors.js';

/** The claims of a token: the members of its payload, with integers beyond 2^53-1 as bigint. */
export type Claims = Readonly<Record<string, JsonValue>>;

/** The member `name` itself, never something inherited: claim names are chosen by strangers. */
export function claim(claims: Claims, name: string): JsonValue | undefined {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

/**
 * A claim as text: strings as they are, integers with every digit, other numbers in plain decimal, `true`/`false`.
 * JavaScript would print 1e21 for a large identifier, and a certificate with that in it names nobody (Fulcio issue 2406).
 * `undefined` for null, lists and objects, which have no text.
 */
export function claimText(value: JsonValue | undefined): string | undefined {
  switch (typeof value) {
    case 'string':
      return value;
    case 'bigint':
    case 'boolean':
      return String(value);
    case 'number':
      if (Number.isInteger(value)) return BigInt(value).toString();
      return plainDecimal(value);
    default:
      return undefined;
  }
}

/** A fraction without exponent: JavaScript turns to 1e-7 below a millionth. */
function plainDecimal(value: number): string {
  const text = String(value);
  const match = /^(-?)(\d)(?:\.(\d+))?e-(\d+)$/.exec(text);
  if (!match) return text;
  const [, sign = '', first = '', rest = '', exponent = ''] = match;
  return `${sign}0.${'0'.repeat(Number(exponent) - 1)}${first}${rest}`;
}

/**
 * A claim as Go prints it into Fulcio's templates: as `claimText`, null as `<nil>`, lists as `[a b]`, objects as
 * `map[a:1 b:2]` with their keys in order. Numbers within lists have all their digits too.
 */
export function goText(value: JsonValue): string {
  if (value === null) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(goText).join(' ')}]`;
  if (typeof value !== 'object') return claimText(value) ?? '';
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `map[${members.map(([name, member]) => `${name}:${goText(member)}`).join(' ')}]`;
}

/** What is wrong with a claim, in the one form that all have: its name, what was found, what was expected. */
export function claimError(name: string, found: unknown, expected: string): IdentityError {
  return new IdentityError('IDENTITY_CLAIM', `Cannot read claim ${name}: found ${quote(found)}, expected ${expected}`);
}

/**
 * The claim `name` as non-empty text.
 * @throws IdentityError `IDENTITY_CLAIM` if it is absent, empty, or neither a string nor an integer
 */
export function requireText(claims: Claims, name: string): string {
  const value = claim(claims, name);
  const text = typeof value === 'string' ? value : isInteger(value) ? claimText(value) : '';
  if (!text) throw claimError(name, value, 'a non-empty string');
  return text;
}

function isInteger(value: JsonValue | undefined): boolean {
  return typeof value === 'bigint' || Number.isInteger(value);
}

/**
 * As `requireText`, but absent, null and empty are all `undefined`: how providers say that there is none differs.
 * @throws IdentityError `IDENTITY_CLAIM` if it is there and neither a string nor an integer
 */
export function optionalText(claims: Claims, name: string): string | undefined {
  const value = claim(claims, name);
  return value === undefined || value === null || value === '' ? undefined : requireText(claims, name);
}

/** A path of member names into the claims, `$.federated_claims.connector_id` or `$['a']["b"]`. */
export type MemberPath = readonly string[];

const pathStep = /\.([A-Za-z_][A-Za-z0-9_-]*)|\['([^'\\]+)'\]|\["([^"\\]+)"\]/y;

/**
 * Reads the part of JSONPath that names one member (RFC 9535 §2.5, name selectors only): no wildcards, slices or filters,
 * because an issuer must be one value and not a search.
 * @throws IdentityError `IDENTITY_CONFIG`
 */
export function parseMemberPath(text: string): MemberPath {
  const names: string[] = [];
  let position = 1;
  while (position < text.length) {
    pathStep.lastIndex = position;
    const step = pathStep.exec(text);
    const name = step?.[1] ?? step?.[2] ?? step?.[3];
    if (name === undefined) break;
    names.push(name);
    position = pathStep.lastIndex;
  }
  if (!text.startsWith('$') || names.length === 0 || position !== text.length) {
    throw new IdentityError(
      'IDENTITY_CONFIG',
      `Cannot use issuer claim ${quote(text)}: expected a path of member names like $.a.b or $['a']['b']`,
    );
  }
  return names;
}

/** The value at the path, or undefined where a step is missing. */
export function valueAt(claims: Claims, path: MemberPath): JsonValue | undefined {
  let value: JsonValue | undefined = claims;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    value = claim(value, name);
  }
  return value;
}

// RFC 5321 §4.5.3.1.3: a path, with its angle brackets, has at most 256 octets.
const EMAIL_LIMIT = 254;
const emailPattern =
  /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;

/**
 * Whether this is a plain mail address: dot-atom, `@`, host name (RFC 5322 §3.4.1 without quoted strings and comments).
 * ASCII only, because rfc822Name is an IA5String (RFC 5280 §4.2.1.6).
 */
export function isEmailAddress(text: string): boolean {
  return text.length <= EMAIL_LIMIT && text.lastIndexOf('@') <= 64 && emailPattern.test(text);
}

const uriCharacters = /^[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]*$/;

/**
 * A URI for a certificate's SAN, which is an IA5String: characters outside RFC 3986 §2 are percent-encoded as UTF-8, the
 * rest stays as it is, so that a verifier finds the text it expects.
 * @throws IdentityError `IDENTITY_CLAIM` on control characters, lone surrogates or a `%` that starts no escape
 */
export function encodeUri(text: string, claimName: string): string {
  // Nearly every identity: nothing to encode, nothing to object to.
  if (uriCharacters.test(text)) return text;
  // eslint-disable-next-line no-control-regex -- control characters are what is refused here
  if (/[\x00-\x1f\x7f]/.test(text) || /%(?![0-9A-Fa-f]{2})/.test(text) || /\p{Surrogate}/u.test(text)) {
    throw new IdentityError('IDENTITY_CLAIM', `Cannot make a URI of claim ${claimName}: found ${quote(text)}`);
  }
  return text.replace(/[^A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=%]/gu, (character) => encodeURIComponent(character));
}
