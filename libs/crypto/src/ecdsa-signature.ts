import { derInteger, DerReader, derSequence, derTag, EncodingError, parseDer, readInteger } from '#libs/encoding';
import { curves, type CurveName } from './curve.js';
import { CryptoError } from './error.js';
import { integerFromBytes, integerToBytes } from './integer.js';

/** The two integers of an ECDSA signature. Whether they are below the order of the curve is for the verifier. */
export interface EcdsaSignature {
  readonly r: bigint;
  readonly s: bigint;
}

// Two 521-bit integers: 2 · (2 + 66) contents, 3 bytes of header.
const MAX_DER_BYTES = 139;

/** DER of a signature. @see RFC 3279 §2.2.3 */
export function encodeEcdsaSignature(r: bigint, s: bigint): Uint8Array {
  return derSequence(derInteger(r), derInteger(s));
}

/**
 * Reads a DER signature: minimal integers, neither zero nor negative, nothing after them.
 * @throws CryptoError `CRYPTO_SIGNATURE_MALFORMED`
 * @see RFC 3279 §2.2.3
 */
export function parseEcdsaSignature(der: Uint8Array): EcdsaSignature {
  if (der.length > MAX_DER_BYTES) throw malformed(`${der.length} bytes, at most ${MAX_DER_BYTES} expected`);
  try {
    // Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }
    const fields = new DerReader(parseDer(der), derTag.sequence);
    const r = readInteger(fields.next(derTag.integer));
    const s = readInteger(fields.next(derTag.integer));
    fields.end();
    if (r <= 0n || s <= 0n) throw malformed('r or s is not positive');
    return { r, s };
  } catch (error) {
    if (error instanceof EncodingError) throw malformed('not the DER of two integers', error);
    throw error;
  }
}

/**
 * DER to the fixed-length r ‖ s of IEEE P1363, which WebCrypto and JSON Web Signatures use.
 * @throws CryptoError `CRYPTO_SIGNATURE_MALFORMED`, also if an integer is too long for the curve
 */
export function ecdsaDerToP1363(der: Uint8Array, curve: CurveName): Uint8Array {
  const { r, s } = parseEcdsaSignature(der);
  const { bytes, n } = curves[curve];
  if (r >= n || s >= n) throw malformed(`r or s is not below the order of ${curve}`);
  const raw = new Uint8Array(2 * bytes);
  raw.set(integerToBytes(r, bytes));
  raw.set(integerToBytes(s, bytes), bytes);
  return raw;
}

/**
 * IEEE P1363 r ‖ s to DER.
 * @throws CryptoError `CRYPTO_SIGNATURE_MALFORMED` for an odd or excessive length, or a half that is zero
 */
export function ecdsaP1363ToDer(raw: Uint8Array): Uint8Array {
  if (raw.length === 0 || raw.length % 2 !== 0 || raw.length > 132) {
    throw malformed(`${raw.length} bytes, an even number up to 132 expected`);
  }
  const r = integerFromBytes(raw.subarray(0, raw.length / 2));
  const s = integerFromBytes(raw.subarray(raw.length / 2));
  if (r === 0n || s === 0n) throw malformed('r or s is not positive');
  return encodeEcdsaSignature(r, s);
}

function malformed(state: string, cause?: unknown): CryptoError {
  return new CryptoError('CRYPTO_SIGNATURE_MALFORMED', `Cannot read ECDSA signature: ${state}`, { cause });
}
