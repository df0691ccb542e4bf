import { derBitString, derOid, derSequence } from '#libs/encoding';
import { curves, type CurveName, parsePublicKey, type PublicKey, type SignatureScheme } from '#libs/crypto';
import { verifySync } from '#libs/openssl';

const ED25519 = '1.3.101.112';
const EC_PUBLIC_KEY = '1.2.840.10045.2.1';
const MIN_RSA_BITS = 1024;
/** Signatures by the largest RSA keys that are read have 1 KiB. */
const MAX_SIGNATURE = 1024;

/**
 * Whether `signature` over `message` is by `key`. False also for RSA below 1024 bits: Go, and so Rekor, refuses to
 * verify with such keys.
 * @throws CryptoError `CRYPTO_SCHEME`
 */
export function verifyWith(
  key: PublicKey,
  scheme: SignatureScheme,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (signature.length === 0 || signature.length > MAX_SIGNATURE) return false;
  if (key.kind === 'rsa' && key.type.bits < MIN_RSA_BITS) return false;
  return verifySync(key, scheme, message, signature);
}

/** The key of these 32 bytes. @see RFC 8410 §4 */
export function ed25519Key(raw: Uint8Array): PublicKey {
  return parsePublicKey(derSequence(derSequence(derOid(ED25519)), derBitString(raw)));
}

/**
 * The key of an uncompressed point.
 * @throws CryptoError `CRYPTO_KEY_MALFORMED` if it is not on the curve
 * @see RFC 5480 §2
 */
export function ecdsaKey(curve: CurveName, point: Uint8Array): PublicKey {
  const algorithm = derSequence(derOid(EC_PUBLIC_KEY), derOid(curves[curve].oid));
  return parsePublicKey(derSequence(algorithm, derBitString(point)));
}
