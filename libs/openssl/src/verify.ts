import { constants, publicDecrypt, verify } from 'node:crypto';
import {
  checkDigest,
  checkScheme,
  isPkcs1Encoding,
  isPssEncoding,
  integerFromBytes,
  rsaSignatureLength,
  type PublicKey,
  type RsaPublicKey,
  type SignatureScheme,
} from '#libs/crypto';
import { verifyEcdsaDigest, verifyEcdsaDigestSync } from './ecdsa-digest.js';
import { verifyEd25519ph } from './ed25519ph.js';
import { hash, plain } from './hash.js';
import { keyObject } from './key-object.js';

/**
 * Whether `signature` over `message` is by `key`. A signature of the wrong shape is `false`.
 * @throws CryptoError `CRYPTO_SCHEME` if the key cannot be used with the scheme at all
 */
export function verifySync(
  key: PublicKey,
  scheme: SignatureScheme,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  checkScheme(key, scheme);
  switch (scheme.kind) {
    case 'ecdsa':
    case 'rsa-pkcs1':
      return verify(scheme.hash, message, keyObject(key), signature);
    case 'rsa-pss':
      // OpenSSL would read a signature without its leading zero as the same number: one signature, two spellings.
      if (key.kind !== 'rsa' || signature.length !== rsaSignatureLength(key)) return false;
      // Any length of salt is verified when none is named.
      return verify(
        scheme.hash,
        message,
        { key: keyObject(key), padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO },
        signature,
      );
    case 'ed25519':
      return verify(null, message, keyObject(key), signature);
    case 'ed25519ph':
      // OpenSSL 3.0 does not have it.
      return verifyDigestSync(key, scheme, hash('sha512', message), signature);
  }
}

/**
 * Whether `signature` is by `key` over a message with this digest.
 * @throws CryptoError `CRYPTO_SCHEME` if the key does not fit the scheme, the digest has another length, or the scheme
 * is pure Ed25519
 */
export function verifyDigestSync(
  key: PublicKey,
  scheme: SignatureScheme,
  digest: Uint8Array,
  signature: Uint8Array,
): boolean {
  checkScheme(key, scheme);
  checkDigest(scheme, digest);
  switch (key.kind) {
    case 'ecdsa':
      return verifyEcdsaDigestSync(key, digest, signature);
    case 'rsa':
      return verifyRsaDigest(key, scheme, digest, signature);
    case 'ed25519':
      return verifyEd25519ph(key.raw, digest, signature);
  }
}

/** `verifyDigestSync`, for ECDSA partly on the thread pool. */
export async function verifyDigestAsync(
  key: PublicKey,
  scheme: SignatureScheme,
  digest: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (key.kind !== 'ecdsa') return verifyDigestSync(key, scheme, digest, signature);
  checkScheme(key, scheme);
  checkDigest(scheme, digest);
  return verifyEcdsaDigest(key, digest, signature);
}

function verifyRsaDigest(
  key: RsaPublicKey,
  scheme: SignatureScheme,
  digest: Uint8Array,
  signature: Uint8Array,
): boolean {
  const encoded = openSignature(key, signature);
  if (encoded === undefined) return false;
  if (scheme.kind === 'rsa-pkcs1') return isPkcs1Encoding(scheme.hash, digest, encoded);
  if (scheme.kind !== 'rsa-pss') return false;
  return isPssEncoding(scheme.hash, digest, encoded, { modulusBits: key.type.bits, hashFunction: hash });
}

/** RSAVP1 by OpenSSL, which takes a quarter of the time of `rsaEncodedMessage`; the bounds are the same. */
function openSignature(key: RsaPublicKey, signature: Uint8Array): Uint8Array | undefined {
  // OpenSSL would read a short signature as a smaller number.
  if (signature.length !== rsaSignatureLength(key) || integerFromBytes(signature) >= key.modulus) return undefined;
  return plain(publicDecrypt({ key: keyObject(key), padding: constants.RSA_NO_PADDING }, signature));
}
