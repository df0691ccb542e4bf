import {
  DerReader,
  derBitString,
  derInteger,
  derNull,
  derOid,
  derSequence,
  derTag,
  EncodingError,
  parseDer,
  parsePem,
  readBitString,
  readInteger,
  readOid,
  type DerElement,
} from '#libs/encoding';
import { curves, isOnCurve, type Curve, type CurveName } from './curve.js';
import { CryptoError } from './error.js';
import { bitLength, integerFromBytes } from './integer.js';

/** What kind of key, and of what size. */
export type KeyType =
  | { readonly kind: 'ecdsa'; readonly curve: CurveName }
  | { readonly kind: 'rsa'; readonly bits: number }
  | { readonly kind: 'ed25519' };

/** A point of a NIST curve. */
export interface EcdsaPublicKey {
  readonly kind: 'ecdsa';
  readonly type: Extract<KeyType, { kind: 'ecdsa' }>;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** Uncompressed: 04 ‖ X ‖ Y; it is on the curve. */
  readonly point: Uint8Array;
}

/** An RSA modulus and public exponent. Parsed is not strong: see `checkKeyStrength`. */
export interface RsaPublicKey {
  readonly kind: 'rsa';
  readonly type: Extract<KeyType, { kind: 'rsa' }>;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly modulus: bigint;
  readonly exponent: bigint;
}

export interface Ed25519PublicKey {
  readonly kind: 'ed25519';
  readonly type: Extract<KeyType, { kind: 'ed25519' }>;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** 32 bytes (RFC 8032 §5.1.5). */
  readonly raw: Uint8Array;
}

/** A public key as plain data; narrow by `kind`. It can only be made by the parsers of this file. */
export type PublicKey = EcdsaPublicKey | RsaPublicKey | Ed25519PublicKey;

const EC_PUBLIC_KEY = '1.2.840.10045.2.1';
const RSA_ENCRYPTION = '1.2.840.113549.1.1.1';
const ED25519 = '1.3.101.112';

// An 8192-bit RSA key in DER is under 1100 bytes; nothing longer is worth reading.
const MAX_KEY_BYTES = 2048;
const MIN_RSA_BITS = 512;
const MAX_RSA_BITS = 8192;

const curvesByOid = new Map<string, Curve>(Object.values(curves).map((curve) => [curve.oid, curve]));

/**
 * Reads a DER SubjectPublicKeyInfo, strictly: a named curve and an uncompressed point on it, RSA with NULL parameters,
 * or Ed25519 without parameters. The key keeps its own copy of the bytes.
 * @throws CryptoError `CRYPTO_KEY_MALFORMED`, `CRYPTO_KEY_UNSUPPORTED`
 * @see RFC 5280 §4.1.2.7, RFC 5480 §2, RFC 3279 §2.3.1, RFC 8410 §4
 */
export function parsePublicKey(spkiDer: Uint8Array): PublicKey {
  if (spkiDer.length > MAX_KEY_BYTES) {
    throw malformed(`${spkiDer.length} bytes, at most ${MAX_KEY_BYTES} are read`);
  }
  return reading(() => {
    // Not slice(): that of a Buffer is a view.
    const spki = new Uint8Array(spkiDer);
    // SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING }
    const outer = new DerReader(parseDer(spki), derTag.sequence);
    const algorithm = new DerReader(outer.next(derTag.sequence));
    const keyBytes = readBitString(outer.next(derTag.bitString));
    outer.end();
    const oid = readOid(algorithm.next(derTag.oid));
    if (oid === EC_PUBLIC_KEY) {
      const curveOid = algorithm.next();
      algorithm.end();
      return ecdsaKey(spki, curveOid, keyBytes);
    }
    if (oid === RSA_ENCRYPTION) {
      if (algorithm.next(derTag.null).contents.length !== 0) throw malformed('NULL parameters with contents');
      algorithm.end();
      return rsaKey(spki, keyBytes);
    }
    if (oid === ED25519) {
      algorithm.end();
      if (keyBytes.length !== 32) throw malformed(`Ed25519 key of ${keyBytes.length} bytes, 32 expected`);
      return { kind: 'ed25519', type: { kind: 'ed25519' }, spki, raw: keyBytes };
    }
    throw new CryptoError('CRYPTO_KEY_UNSUPPORTED', 'Cannot read public key: neither ECDSA, RSA nor Ed25519');
  });
}

/**
 * Reads a PEM block `PUBLIC KEY` (SubjectPublicKeyInfo) or `RSA PUBLIC KEY` (PKCS#1); exactly one block.
 * @throws CryptoError `CRYPTO_KEY_MALFORMED`, `CRYPTO_KEY_UNSUPPORTED`
 */
export function parsePublicKeyPem(pem: string): PublicKey {
  const blocks = reading(() => parsePem(pem));
  const [block] = blocks;
  if (!block || blocks.length !== 1) throw malformed(`${blocks.length} PEM blocks, one expected`);
  if (block.label === 'PUBLIC KEY') return parsePublicKey(block.der);
  if (block.label === 'RSA PUBLIC KEY') return parseRsaPublicKey(block.der);
  throw malformed('PEM label is neither PUBLIC KEY nor RSA PUBLIC KEY');
}

/**
 * Reads a DER RSAPublicKey (PKCS#1); `spki` of the result is the SubjectPublicKeyInfo around it.
 * @throws CryptoError `CRYPTO_KEY_MALFORMED`, `CRYPTO_KEY_UNSUPPORTED`
 * @see RFC 8017 §A.1.1
 */
export function parseRsaPublicKey(pkcs1Der: Uint8Array): PublicKey {
  if (pkcs1Der.length > MAX_KEY_BYTES) {
    throw malformed(`${pkcs1Der.length} bytes, at most ${MAX_KEY_BYTES} are read`);
  }
  return reading(() =>
    rsaKey(derSequence(derSequence(derOid(RSA_ENCRYPTION), derNull()), derBitString(pkcs1Der)), pkcs1Der),
  );
}

/**
 * The RSA key of a modulus and public exponent, as JSON Web Keys carry them (RFC 7518 §6.3.1).
 * @throws CryptoError `CRYPTO_KEY_MALFORMED`, `CRYPTO_KEY_UNSUPPORTED`
 */
export function rsaPublicKey(modulus: bigint, exponent: bigint): PublicKey {
  return reading(() => parseRsaPublicKey(derSequence(derInteger(modulus), derInteger(exponent))));
}

function ecdsaKey(spki: Uint8Array, curveOid: DerElement, point: Uint8Array): EcdsaPublicKey {
  // RFC 5480 §2.1.1: only namedCurve; explicit parameters let an attacker choose the base point (CVE-2020-0601).
  if (curveOid.tag !== derTag.oid) {
    throw new CryptoError('CRYPTO_KEY_UNSUPPORTED', 'Cannot read public key: curve is not given by name');
  }
  const curve = curvesByOid.get(readOid(curveOid));
  if (!curve) {
    throw new CryptoError('CRYPTO_KEY_UNSUPPORTED', 'Cannot read public key: curve is not P-256, P-384 or P-521');
  }
  const { bytes } = curve;
  // RFC 5480 §2.2: 04 is uncompressed. The point at infinity is the single byte 00, so it falls out here too.
  if (point.length !== 1 + 2 * bytes || point[0] !== 4) throw malformed('point is not uncompressed');
  const x = integerFromBytes(point.subarray(1, 1 + bytes));
  const y = integerFromBytes(point.subarray(1 + bytes));
  if (!isOnCurve(curve, x, y)) throw malformed(`point is not on ${curve.name}`);
  return { kind: 'ecdsa', type: { kind: 'ecdsa', curve: curve.name }, spki, point };
}

function rsaKey(spki: Uint8Array, pkcs1: Uint8Array): RsaPublicKey {
  // RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }
  const fields = new DerReader(parseDer(pkcs1), derTag.sequence);
  const modulus = readInteger(fields.next(derTag.integer));
  const exponent = readInteger(fields.next(derTag.integer));
  fields.end();
  if (modulus <= 0n || exponent <= 0n) throw malformed('modulus or exponent is not positive');
  if (modulus % 2n === 0n) throw malformed('modulus is even');
  const bits = bitLength(modulus);
  if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS) {
    throw new CryptoError(
      'CRYPTO_KEY_UNSUPPORTED',
      `Cannot read public key: RSA modulus of ${bits} bits, ${MIN_RSA_BITS} to ${MAX_RSA_BITS} are read`,
    );
  }
  // Exponents in use are 3 and 65537. A long one makes each check as dear as a private operation.
  if (exponent < 3n || exponent % 2n === 0n || exponent > 0xffff_ffffn) {
    throw new CryptoError('CRYPTO_KEY_UNSUPPORTED', 'Cannot read public key: RSA exponent is even or out of range');
  }
  return { kind: 'rsa', type: { kind: 'rsa', bits }, spki, modulus, exponent };
}

function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof EncodingError) throw malformed('encoding is not as the standard says', error);
    throw error;
  }
}

function malformed(state: string, cause?: unknown): CryptoError {
  return new CryptoError('CRYPTO_KEY_MALFORMED', `Cannot read public key: ${state}`, { cause });
}
