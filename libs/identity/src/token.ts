import { type JsonValue, parseBase64Url, parseJson } from '#libs/encoding';
import { type Claims, claim } from './claims.js';
import { IdentityError, quote } from './errors.js';

/**
 * 16 KiB. GitHub's and GitLab's tokens have about 2 KiB. The limit is looked at before anything else, so that a huge
 * token costs nothing (CVE-2025-66506: splitting a megabyte of dots allocates per dot).
 */
export const TOKEN_LIMIT = 16 * 1024;

/** Longest issuer name, in characters. */
const ISSUER_LIMIT = 2048;
const MAX_DEPTH = 16;

/** A token taken apart, nothing of it believed yet. */
export interface UnverifiedToken {
  /** What is signed: header and payload as they came, with the dot between them. */
  readonly signed: string;
  readonly signature: Uint8Array;
  readonly algorithm: string;
  readonly keyId: string | undefined;
  readonly issuer: string;
  readonly claims: Claims;
}

/**
 * Takes a compact JWS apart (RFC 7515 §7.1): exactly two dots, base64url without padding, JSON objects.
 * @throws IdentityError `IDENTITY_TOKEN_MISSING`, `IDENTITY_TOKEN_TOO_LARGE`, `IDENTITY_TOKEN_MALFORMED`
 */
export function parseToken(token: string | undefined): UnverifiedToken {
  if (token === undefined || token === '') {
    throw new IdentityError('IDENTITY_TOKEN_MISSING', 'Cannot verify identity token: there is none', {
      shown: 'there is no identity token',
    });
  }
  if (token.length > TOKEN_LIMIT) {
    throw new IdentityError(
      'IDENTITY_TOKEN_TOO_LARGE',
      `Cannot verify identity token: it has ${token.length} characters, the limit is ${TOKEN_LIMIT}`,
      { shown: `the token has ${token.length} characters, the limit is ${TOKEN_LIMIT}` },
    );
  }
  // indexOf, not split: a token is looked at in place until it has the right shape.
  const first = token.indexOf('.');
  const second = first < 0 ? -1 : token.indexOf('.', first + 1);
  if (second < 0 || token.indexOf('.', second + 1) >= 0) {
    throw malformed('it must have exactly two dots');
  }
  const header = parseObject('header', token.slice(0, first));
  const claims = parseObject('payload', token.slice(first + 1, second));

  // RFC 7515 §4.1.11: extensions marked critical must be understood, and we understand none.
  if (claim(header, 'crit') !== undefined) throw malformed('header member crit is not supported');
  const algorithm = claim(header, 'alg');
  if (typeof algorithm !== 'string') throw malformed(`header member alg is ${quote(algorithm)}, expected a string`);
  const keyId = claim(header, 'kid');
  if (keyId !== undefined && typeof keyId !== 'string') {
    throw malformed(`header member kid is ${quote(keyId)}, expected a string`);
  }
  const issuer = claim(claims, 'iss');
  if (typeof issuer !== 'string' || issuer === '' || issuer.length > ISSUER_LIMIT) {
    throw malformed(`claim iss is ${quote(issuer)}, expected a string of 1 to ${ISSUER_LIMIT} characters`);
  }
  return {
    signed: token.slice(0, second),
    signature: parsePart('signature', token.slice(second + 1)),
    algorithm,
    keyId: keyId === '' ? undefined : keyId,
    issuer,
    claims,
  };
}

function parsePart(part: string, text: string): Uint8Array {
  try {
    return parseBase64Url(text);
  } catch (cause) {
    throw malformed(`its ${part} is not base64url`, { cause });
  }
}

function parseObject(part: string, text: string): Claims {
  const bytes = parsePart(part, text);
  let value: JsonValue;
  try {
    value = parseJson(bytes, { maxDepth: MAX_DEPTH, bigIntegers: true });
  } catch (cause) {
    throw malformed(`its ${part} is not JSON`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(`its ${part} is not a JSON object`);
  }
  return value;
}

function malformed(state: string, options?: ErrorOptions): IdentityError {
  return new IdentityError('IDENTITY_TOKEN_MALFORMED', `Cannot parse identity token: ${state}`, {
    ...options,
    shown: `the token is malformed: ${state}`,
  });
}
