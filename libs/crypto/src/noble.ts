import { eddsa } from '@noble/curves/abstract/edwards.js';
import { ed25519 } from '@noble/curves/ed25519.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import type { CurveName } from './curve.js';
import { ecdsaDerToP1363 } from './ecdsa-signature.js';
import { ed25519phVerifier } from './ed25519ph.js';
import { CryptoError } from './error.js';
import type { CryptoPort, HashAlgorithm, SignatureScheme } from './port.js';
import type { EcdsaPublicKey, PublicKey, RsaPublicKey } from './public-key.js';
import { isPkcs1Encoding, isPssEncoding, rsaEncodedMessage } from './rsa.js';
import { checkDigest, checkScheme } from './scheme.js';

const hashes = { sha1, sha256, sha384, sha512 };
const verifyEd25519ph = ed25519phVerifier({ eddsa, ed25519, sha512 });
const nobleCurves = { 'P-256': p256, 'P-384': p384, 'P-521': p521 } satisfies Record<CurveName, unknown>;

/**
 * The port for browsers: hashes and curves by @noble, RSA by its definition in BigInt. WebCrypto is asked for random
 * bytes only. Its `subtle` would need a secure context, cannot verify over a digest, knows no Ed25519ph, and
 * wants to be told the length of a PSS salt; one way for both questions is easier to believe than two.
 */
export const nobleCrypto: CryptoPort = {
  hash,

  async verify(key, scheme, message, signature) {
    checkScheme(key, scheme);
    if (key.kind === 'ed25519' && scheme.kind === 'ed25519') {
      // RFC 8032's own rules, as OpenSSL has them, not the wider ones of ZIP 215.
      return signature.length === 64 && ed25519.verify(signature, message, key.raw, { zip215: false });
    }
    return verifyDigest(key, scheme, hash(messageHash(scheme), message), signature);
  },

  async verifyDigest(key, scheme, digest, signature) {
    return verifyDigest(key, scheme, digest, signature);
  },

  randomBytes(length) {
    return globalThis.crypto.getRandomValues(new Uint8Array(length));
  },
};

function hash(algorithm: HashAlgorithm | 'sha1', data: Uint8Array): Uint8Array {
  return hashes[algorithm](data);
}

function messageHash(scheme: SignatureScheme): HashAlgorithm {
  return scheme.kind === 'ed25519' || scheme.kind === 'ed25519ph' ? 'sha512' : scheme.hash;
}

function verifyDigest(key: PublicKey, scheme: SignatureScheme, digest: Uint8Array, signature: Uint8Array): boolean {
  checkScheme(key, scheme);
  checkDigest(scheme, digest);
  switch (key.kind) {
    case 'ecdsa':
      return verifyEcdsaDigest(key, digest, signature);
    case 'rsa':
      return verifyRsaDigest(key, scheme, digest, signature);
    case 'ed25519':
      return verifyEd25519ph(key.raw, digest, signature);
  }
}

/** ECDSA over a digest, also where s is in the upper half of its range, which FIPS 186-5 allows. */
function verifyEcdsaDigest(key: EcdsaPublicKey, digest: Uint8Array, signature: Uint8Array): boolean {
  const raw = wellFormed(() => ecdsaDerToP1363(signature, key.type.curve));
  if (raw === undefined) return false;
  return nobleCurves[key.type.curve].verify(raw, digest, key.point, { prehash: false, lowS: false });
}

function verifyRsaDigest(
  key: RsaPublicKey,
  scheme: SignatureScheme,
  digest: Uint8Array,
  signature: Uint8Array,
): boolean {
  const encoded = rsaEncodedMessage(key, signature);
  if (encoded === undefined) return false;
  if (scheme.kind === 'rsa-pkcs1') return isPkcs1Encoding(scheme.hash, digest, encoded);
  if (scheme.kind !== 'rsa-pss') return false;
  return isPssEncoding(scheme.hash, digest, encoded, { modulusBits: key.type.bits, hashFunction: hash });
}

function wellFormed<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof CryptoError && error.code === 'CRYPTO_SIGNATURE_MALFORMED') return undefined;
    throw error;
  }
}
