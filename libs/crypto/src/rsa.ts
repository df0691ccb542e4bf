import { concatBytes, equalBytes, parseHex } from '#libs/encoding';
import { integerFromBytes, integerToBytes } from './integer.js';
import type { HashAlgorithm } from './port.js';
import type { RsaPublicKey } from './public-key.js';

type Hash = (algorithm: HashAlgorithm, data: Uint8Array) => Uint8Array;

// DER of DigestInfo up to the digest, from RFC 8017 §9.2 note 1.
const digestInfoPrefixes: Readonly<Record<HashAlgorithm, Uint8Array>> = {
  sha256: parseHex('3031300d060960864801650304020105000420'),
  sha384: parseHex('3041300d060960864801650304020205000430'),
  sha512: parseHex('3051300d060960864801650304020305000440'),
};

/** Length of the modulus, and so of each signature, in bytes. */
export function rsaSignatureLength(key: RsaPublicKey): number {
  return Math.ceil(key.type.bits / 8);
}

/**
 * RSAVP1: the signature raised to the public exponent, as many bytes as the modulus has. Undefined if the signature has
 * another length or is not below the modulus. Not constant in time, which public values need not be.
 * @see RFC 8017 §5.2.2
 */
export function rsaEncodedMessage(key: RsaPublicKey, signature: Uint8Array): Uint8Array | undefined {
  const length = rsaSignatureLength(key);
  if (signature.length !== length) return undefined;
  const base = integerFromBytes(signature);
  const { modulus } = key;
  if (base >= modulus) return undefined;
  // Square and multiply from the top bit; 65537 takes sixteen squares and one product.
  let power = base;
  for (const bit of key.exponent.toString(2).slice(1)) {
    power = (power * power) % modulus;
    if (bit === '1') power = (power * base) % modulus;
  }
  return integerToBytes(power, length);
}

/**
 * EMSA-PKCS1-v1_5: 00 01 FF … FF 00 DigestInfo. Undefined if `length` has no room for eight bytes of padding.
 * @see RFC 8017 §9.2
 */
export function encodePkcs1Digest(hash: HashAlgorithm, digest: Uint8Array, length: number): Uint8Array | undefined {
  const prefix = digestInfoPrefixes[hash];
  const padding = length - prefix.length - digest.length - 3;
  if (padding < 8) return undefined;
  return concatBytes(Uint8Array.of(0, 1), new Uint8Array(padding).fill(0xff), Uint8Array.of(0), prefix, digest);
}

/**
 * Whether `encoded`, what `rsaEncodedMessage` gave, is a PKCS#1 v1.5 signature of the digest. The expected message is
 * built anew and compared as a whole: parsing the padding instead is how Bleichenbacher's forgery of 2006 came about.
 * @see RFC 8017 §8.2.2
 */
export function isPkcs1Encoding(hash: HashAlgorithm, digest: Uint8Array, encoded: Uint8Array): boolean {
  const expected = encodePkcs1Digest(hash, digest, encoded.length);
  return expected !== undefined && equalBytes(expected, encoded);
}

/**
 * Whether `encoded` is an EMSA-PSS encoding of the digest for a modulus of `modulusBits`, with MGF1 of the same hash.
 * The salt may have any length: signers in the field use the digest's length and the longest possible.
 * @see RFC 8017 §9.1.2, whose steps are numbered below
 */
export function isPssEncoding(
  hash: HashAlgorithm,
  digest: Uint8Array,
  encoded: Uint8Array,
  { modulusBits, hashFunction }: { modulusBits: number; hashFunction: Hash },
): boolean {
  const emBits = modulusBits - 1;
  const emLength = Math.ceil(emBits / 8);
  // A modulus of 8k + 1 bits has one byte more than EM; it must be zero (§8.1.2 step 2c).
  if (encoded.length !== emLength && encoded[0] !== 0) return false;
  const em = encoded.subarray(encoded.length - emLength);
  const hashLength = digest.length;
  // 3, 4: room for the hash, and the trailer.
  if (emLength < hashLength + 2 || em[emLength - 1] !== 0xbc) return false;
  // 5, 6: EM = maskedDB ‖ H ‖ bc; the bits above emBits are zero.
  const maskedDb = em.subarray(0, emLength - hashLength - 1);
  const h = em.subarray(emLength - hashLength - 1, emLength - 1);
  const topBits = 8 * emLength - emBits;
  const topMask = 0xff >> topBits;
  if (((maskedDb[0] ?? 0) & ~topMask) !== 0) return false;
  // 7–9: unmask.
  const db = mgf1(hash, h, maskedDb.length, hashFunction);
  for (let i = 0; i < db.length; i++) db[i] = (db[i] ?? 0) ^ (maskedDb[i] ?? 0);
  db[0] = (db[0] ?? 0) & topMask;
  // 10: DB = 00 … 00 01 salt.
  const one = db.findIndex((byte) => byte !== 0);
  if (one < 0 || db[one] !== 1) return false;
  // 11–14: H = Hash(00 × 8 ‖ digest ‖ salt).
  return equalBytes(h, hashFunction(hash, concatBytes(new Uint8Array(8), digest, db.subarray(one + 1))));
}

/** MGF1. @see RFC 8017 §B.2.1 */
function mgf1(hash: HashAlgorithm, seed: Uint8Array, length: number, hashFunction: Hash): Uint8Array {
  const mask = new Uint8Array(length);
  for (let offset = 0, counter = 0; offset < length; counter++) {
    const block = hashFunction(hash, concatBytes(seed, integerToBytes(BigInt(counter), 4)));
    const taken = block.subarray(0, length - offset);
    mask.set(taken, offset);
    offset += taken.length;
  }
  return mask;
}
