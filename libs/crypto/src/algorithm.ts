import type { CurveName } from './curve.js';
import { CryptoError } from './error.js';
import type { HashAlgorithm, SignatureScheme } from './port.js';
import type { PublicKey } from './public-key.js';

/** Which keys a row of the registry is for; an RSA row without `bits` takes any size. */
export type KeyPattern =
  | { readonly kind: 'ecdsa'; readonly curve: CurveName }
  | { readonly kind: 'rsa'; readonly bits?: number }
  | { readonly kind: 'ed25519' };

/** A row of the Sigstore algorithm registry. */
export interface SignatureAlgorithm {
  /** Name in `PublicKeyDetails`, e.g. `PKIX_ECDSA_P256_SHA_256`. */
  readonly keyDetails: string;
  /** Number of the same in the protocol buffers. */
  readonly number: number;
  /** Name on command lines and in configuration, e.g. `ecdsa-sha2-256-nistp256`; deprecated rows may have none. */
  readonly flag?: string;
  readonly key: KeyPattern;
  readonly scheme: SignatureScheme;
  /** The hash of the message; for pure Ed25519, which has none outside, the SHA-512 within it. */
  readonly hash: HashAlgorithm;
  /** The same in `HashAlgorithm` of the protocol buffers. */
  readonly hashName: HashName;
  /** Verified where old trust roots and bundles name it; never signed with. */
  readonly deprecated: boolean;
}

/** Names of the hashes in the protocol buffers. */
export type HashName = 'SHA2_256' | 'SHA2_384' | 'SHA2_512';

const hashNames: Readonly<Record<HashAlgorithm, HashName>> = {
  sha256: 'SHA2_256',
  sha384: 'SHA2_384',
  sha512: 'SHA2_512',
};

/**
 * The rows that this system can verify, by the numbers of Sigstore's protobuf-specs (`PublicKeyDetails`) and the names
 * of its algorithm registry. Absent: HMAC, LMS and ML-DSA rows.
 */
export const signatureAlgorithms: readonly SignatureAlgorithm[] = [
  ecdsa('PKIX_ECDSA_P256_SHA_256', 5, 'P-256', 'sha256', 'ecdsa-sha2-256-nistp256'),
  ecdsa('PKIX_ECDSA_P384_SHA_384', 12, 'P-384', 'sha384', 'ecdsa-sha2-384-nistp384'),
  ecdsa('PKIX_ECDSA_P521_SHA_512', 13, 'P-521', 'sha512', 'ecdsa-sha2-512-nistp521'),
  ed25519('PKIX_ED25519', 7, 'ed25519', 'ed25519'),
  ed25519('PKIX_ED25519_PH', 8, 'ed25519ph', 'ed25519-ph'),
  rsa('PKIX_RSA_PKCS1V15_2048_SHA256', 9, 'rsa-pkcs1', 2048, 'rsa-sign-pkcs1-2048-sha256'),
  rsa('PKIX_RSA_PKCS1V15_3072_SHA256', 10, 'rsa-pkcs1', 3072, 'rsa-sign-pkcs1-3072-sha256'),
  rsa('PKIX_RSA_PKCS1V15_4096_SHA256', 11, 'rsa-pkcs1', 4096, 'rsa-sign-pkcs1-4096-sha256'),
  rsa('PKIX_RSA_PSS_2048_SHA256', 16, 'rsa-pss', 2048, 'rsa-sign-pss-2048-sha256'),
  rsa('PKIX_RSA_PSS_3072_SHA256', 17, 'rsa-pss', 3072, 'rsa-sign-pss-3072-sha256'),
  rsa('PKIX_RSA_PSS_4096_SHA256', 18, 'rsa-pss', 4096, 'rsa-sign-pss-4096-sha256'),
  // Old clients hashed for the larger curves with SHA-256.
  ecdsa('PKIX_ECDSA_P384_SHA_256', 19, 'P-384', 'sha256', 'ecdsa-sha2-256-nistp384', true),
  ecdsa('PKIX_ECDSA_P521_SHA_256', 20, 'P-521', 'sha256', 'ecdsa-sha2-256-nistp521', true),
  // Rows of old trust roots: no size, the hash by convention SHA-256. In 1 and 2 the key itself is PKCS#1, not SPKI.
  rsa('PKCS1_RSA_PKCS1V5', 1, 'rsa-pkcs1'),
  rsa('PKCS1_RSA_PSS', 2, 'rsa-pss'),
  rsa('PKIX_RSA_PKCS1V5', 3, 'rsa-pkcs1'),
  rsa('PKIX_RSA_PSS', 4, 'rsa-pss'),
];

const byName = new Map(signatureAlgorithms.map((algorithm) => [algorithm.keyDetails, algorithm]));
const byNumber = new Map(signatureAlgorithms.map((algorithm) => [algorithm.number, algorithm]));

/** The row of a `PublicKeyDetails` name or number, if it is one that we can verify. */
export function findAlgorithm(keyDetails: string | number): SignatureAlgorithm | undefined {
  return typeof keyDetails === 'number' ? byNumber.get(keyDetails) : byName.get(keyDetails);
}

/** Whether the row is for this kind and size of key. */
export function matchesKey(algorithm: SignatureAlgorithm, key: PublicKey): boolean {
  const pattern = algorithm.key;
  switch (pattern.kind) {
    case 'ecdsa':
      return key.kind === 'ecdsa' && key.type.curve === pattern.curve;
    case 'rsa':
      return key.kind === 'rsa' && (pattern.bits === undefined || pattern.bits === key.type.bits);
    case 'ed25519':
      return key.kind === 'ed25519';
  }
}

/**
 * The row that a key is used with when nothing else is said: ECDSA with the hash of its curve, RSA PKCS#1 v1.5 with
 * SHA-256, pure Ed25519 (a log entry, which has only a digest, means `PKIX_ED25519_PH` instead).
 * @throws CryptoError `CRYPTO_KEY_UNSUPPORTED` for an RSA size without a row
 */
export function algorithmForKey(key: PublicKey): SignatureAlgorithm {
  // The first match of the table is the default: order matters there.
  const algorithm = signatureAlgorithms.find((row) => !row.deprecated && matchesKey(row, key));
  if (algorithm) return algorithm;
  const size = key.kind === 'rsa' ? `RSA of ${key.type.bits} bits` : key.kind;
  throw new CryptoError('CRYPTO_KEY_UNSUPPORTED', `Cannot choose signature algorithm: registry has none for ${size}`);
}

function ecdsa(
  keyDetails: string,
  number: number,
  curve: CurveName,
  hash: HashAlgorithm,
  flag: string,
  deprecated = false,
): SignatureAlgorithm {
  const scheme = { kind: 'ecdsa', hash } as const;
  return {
    keyDetails,
    number,
    flag,
    key: { kind: 'ecdsa', curve },
    scheme,
    hash,
    hashName: hashNames[hash],
    deprecated,
  };
}

function ed25519(keyDetails: string, number: number, kind: 'ed25519' | 'ed25519ph', flag: string): SignatureAlgorithm {
  const key = { kind: 'ed25519' } as const;
  return { keyDetails, number, flag, key, scheme: { kind }, hash: 'sha512', hashName: 'SHA2_512', deprecated: false };
}

function rsa(
  keyDetails: string,
  number: number,
  kind: 'rsa-pkcs1' | 'rsa-pss',
  bits?: number,
  flag?: string,
): SignatureAlgorithm {
  return {
    keyDetails,
    number,
    ...(flag === undefined ? {} : { flag }),
    key: bits === undefined ? { kind: 'rsa' } : { kind: 'rsa', bits },
    scheme: { kind, hash: 'sha256' },
    hash: 'sha256',
    hashName: 'SHA2_256',
    deprecated: bits === undefined,
  };
}
