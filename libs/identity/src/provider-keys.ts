import { constants, createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';
import { type Claims, claim } from './claims.js';
import { IdentityError, quote } from './errors.js';
import type { UnverifiedToken } from './token.js';

/** What a signature algorithm of RFC 7518 §3.1 and RFC 8037 §3.1 asks of key and verification. */
interface Algorithm {
  readonly kty: 'RSA' | 'EC' | 'OKP';
  readonly crv?: string;
  /** As node:crypto names it; null where the algorithm hashes by itself. */
  readonly hash: string | null;
  readonly pss?: true;
}

// Asymmetric ones only: with HMAC our copy of the key would make tokens, and `none` is no signature.
const algorithms: ReadonlyMap<string, Algorithm> = new Map<string, Algorithm>([
  ['RS256', { kty: 'RSA', hash: 'sha256' }],
  ['RS384', { kty: 'RSA', hash: 'sha384' }],
  ['RS512', { kty: 'RSA', hash: 'sha512' }],
  ['PS256', { kty: 'RSA', hash: 'sha256', pss: true }],
  ['PS384', { kty: 'RSA', hash: 'sha384', pss: true }],
  ['PS512', { kty: 'RSA', hash: 'sha512', pss: true }],
  ['ES256', { kty: 'EC', crv: 'P-256', hash: 'sha256' }],
  ['ES384', { kty: 'EC', crv: 'P-384', hash: 'sha384' }],
  ['ES512', { kty: 'EC', crv: 'P-521', hash: 'sha512' }],
  ['EdDSA', { kty: 'OKP', crv: 'Ed25519', hash: null }],
]);

// RFC 7518 §3.3 asks for 2048 bits. The upper bounds keep the time of a verification in milliseconds.
const RSA_BITS = { least: 2048, most: 8192 } as const;
const RSA_EXPONENT = { least: 3n, most: 0xffff_ffffn } as const;

/** The public members of a key for signatures (RFC 7517 §4). Read when it is first used: reading takes as long as verifying. */
export interface ProviderKey {
  readonly jwk: Readonly<Record<string, string>>;
  read: KeyObject | Error | undefined;
}

/** What a provider signs with, as of one fetch. */
export interface ProviderKeys {
  readonly algorithms: ReadonlySet<string>;
  readonly keys: readonly ProviderKey[];
}

/** What the provider says it signs with, as far as we accept it; RS256 where it says nothing usable (Discovery §3). */
export function readAlgorithms(value: unknown): ReadonlySet<string> {
  const listed = Array.isArray(value) ? value.filter((name): name is string => algorithms.has(name as string)) : [];
  return new Set(listed.length > 0 ? listed : ['RS256']);
}

/** A key that may verify signatures; undefined for others, which providers list as well. */
export function readKey(value: unknown): ProviderKey | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const jwk: Record<string, string> = {};
  for (const name of ['kty', 'kid', 'use', 'alg', 'crv', 'x', 'y', 'n', 'e']) {
    const member = claim(value as Claims, name);
    if (typeof member === 'string') jwk[name] = member;
  }
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') return undefined;
  const operations = claim(value as Claims, 'key_ops');
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return undefined;
  return { jwk, read: undefined };
}

/** Undefined if a key made the token's signature, else why none did. */
export function verifyWith(known: ProviderKeys, token: UnverifiedToken): IdentityError | undefined {
  const issuer = quote(token.issuer);
  const algorithm = known.algorithms.has(token.algorithm) ? algorithms.get(token.algorithm) : undefined;
  if (algorithm === undefined) {
    const expected = [...known.algorithms].join(' or ');
    return new IdentityError(
      'IDENTITY_ALGORITHM',
      `Cannot verify token of ${issuer}: alg is ${quote(token.algorithm)}, expected ${expected}`,
      { shown: `the token is signed with ${quote(token.algorithm)}, issuer ${issuer} signs with ${expected}` },
    );
  }
  const candidates = known.keys.filter(
    ({ jwk }) =>
      jwk['kty'] === algorithm.kty &&
      jwk['crv'] === algorithm.crv &&
      (jwk['alg'] === undefined || jwk['alg'] === token.algorithm) &&
      (token.keyId === undefined || jwk['kid'] === token.keyId),
  );
  if (candidates.length === 0) {
    const state = `it has no ${token.algorithm} key with kid ${quote(token.keyId)}`;
    return new IdentityError('IDENTITY_KEY_UNKNOWN', `Cannot verify token of ${issuer}: ${state}`, {
      shown: `issuer ${issuer} has no ${token.algorithm} key with kid ${quote(token.keyId)}`,
    });
  }
  const data = Buffer.from(token.signed, 'latin1');
  let cause: Error | undefined;
  for (const candidate of candidates) {
    const key = (candidate.read ??= readPublicKey(candidate.jwk));
    if (key instanceof Error) cause = key;
    else if (isSignature(algorithm, key, data, token.signature)) return undefined;
  }
  const state = cause?.message ?? `no key with kid ${quote(token.keyId)} made its signature`;
  return new IdentityError('IDENTITY_SIGNATURE', `Cannot verify token of ${issuer}: ${state}`, {
    ...(cause !== undefined && { cause }),
    shown: `the token's signature is by no key of issuer ${issuer}`,
  });
}

function isSignature(algorithm: Algorithm, key: KeyObject, data: Uint8Array, signature: Uint8Array): boolean {
  const { hash, pss } = algorithm;
  // RFC 7518 §3.4: both integers of an ECDSA signature, one after the other. §3.5: a salt as long as the hash.
  const options = pss
    ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : { key, dsaEncoding: 'ieee-p1363' as const };
  // Here and not in a thread: the way there and back costs as much processor time again.
  return verify(hash, data, options, signature);
}

/** The key, or why it cannot be used. */
function readPublicKey({ kty = '', crv, x, y, n, e }: Readonly<Record<string, string>>): KeyObject | Error {
  const members = kty === 'RSA' ? { kty, n, e } : kty === 'EC' ? { kty, crv, x, y } : { kty, crv, x };
  let key: KeyObject;
  try {
    key = createPublicKey({ key: members as JsonWebKey, format: 'jwk' });
  } catch (cause) {
    return new Error('its key cannot be read', { cause });
  }
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  if (kty === 'RSA') {
    if (modulusLength < RSA_BITS.least || modulusLength > RSA_BITS.most) {
      return new Error(`its RSA key has ${modulusLength} bits, expected ${RSA_BITS.least} to ${RSA_BITS.most}`);
    }
    if (publicExponent < RSA_EXPONENT.least || publicExponent > RSA_EXPONENT.most) {
      return new Error('the exponent of its RSA key is below 3 or above 32 bits');
    }
  }
  return key;
}
