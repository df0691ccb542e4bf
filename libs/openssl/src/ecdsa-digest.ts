import { createECDH, verify, type ECDH, type KeyObject } from 'node:crypto';
import {
  CryptoError,
  curves,
  integerFromBytes,
  integerToBytes,
  parseEcdsaSignature,
  type Curve,
  type CurveName,
  type EcdsaPublicKey,
  type EcdsaSignature,
} from '#libs/crypto';
import { sha256 } from './hash.js';
import { inverseModulo } from './inverse.js';
import { importPoint } from './key-object.js';

/*
 * Verifying ECDSA over a digest, exactly, with an OpenSSL that only verifies messages.
 *
 * A log is given the digest of an artifact, not the artifact. node:crypto always hashes what it is given, and computing
 * the curve in JavaScript takes 4 ms where OpenSSL takes 0.07. So the question is turned into another one with the same
 * answer, about a message that we know.
 *
 * FIPS 186-5 §6.4.2: (r, s) is a signature by Q of a message whose digest is the integer z if, in the group of the curve
 * with base point G and prime order n,
 *
 *     x(R) ≡ r (mod n),   R = (z/s)·G + (r/s)·Q = (1/s)·(z·G + r·Q),   R not the point at infinity.
 *
 * The digest and the key enter only through z·G + r·Q. Let m be any fixed message, h the integer of its digest, and
 *
 *     δ = (z − h)/r mod n,        Q' = Q + δ·G.
 *
 * Then h·G + r·Q' = h·G + r·Q + (z − h)·G = z·G + r·Q. So R is the same point, and (r, s) is a signature of the digest z
 * by Q if and only if it is a signature of the message m by Q'. No assumption enters, not even that Q is honest.
 *
 * The price: an inverse modulo n (BigInt), δ·G (OpenSSL's ECDH makes a public key of δ), one addition of points
 * (BigInt), and the import of Q'. All values are public, so nothing here needs to be constant in time.
 *
 * The formula for the addition fails if δ·G = ±Q, and δ = 0 is no private key that OpenSSL would take. Each of δ = 0,
 * δ·G = Q and δ·G = −Q happens for one h only. So there are four messages: whoever made the key and the signature on
 * purpose to hit all three cases still leaves the fourth.
 */

/** What is constant for a curve. */
interface Frame {
  readonly curve: Curve;
  readonly known: readonly { readonly message: Uint8Array; readonly h: bigint }[];
  /** Turns δ into δ·G. One object serves all calls: each sets its own private key, and nothing comes between. */
  readonly multiplier: ECDH;
}

// SHA-256 serves every curve and scheme: the message is ours, and only the integer of its digest enters.
const KNOWN_HASH = 'sha256';

const opensslNames: Readonly<Record<CurveName, string>> = {
  'P-256': 'prime256v1',
  'P-384': 'secp384r1',
  'P-521': 'secp521r1',
};

const frames = new Map<CurveName, Frame>();

/** The question that OpenSSL can answer: is the signature by `key` over `message`? */
interface KnownMessage {
  readonly message: Uint8Array;
  readonly key: KeyObject;
}

/**
 * Whether the DER `signature` is by `key` over a message with this digest, of any length and hash. High s is accepted,
 * as FIPS 186-5 does; r or s out of [1, n − 1], or DER with another spelling, is not.
 */
export function verifyEcdsaDigestSync(key: EcdsaPublicKey, digest: Uint8Array, signature: Uint8Array): boolean {
  const asked = withKnownMessage(key, digest, signature);
  return asked !== undefined && verify(KNOWN_HASH, asked.message, asked.key, signature);
}

/** The same, with OpenSSL's part, about a third of the time, on the thread pool. */
export async function verifyEcdsaDigest(
  key: EcdsaPublicKey,
  digest: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const asked = withKnownMessage(key, digest, signature);
  if (asked === undefined) return false;
  return new Promise((resolve, reject) => {
    verify(KNOWN_HASH, asked.message, asked.key, signature, (error, isValid) => {
      if (error) reject(error);
      else resolve(isValid);
    });
  });
}

/** Undefined: the signature cannot be valid under any key. */
function withKnownMessage(key: EcdsaPublicKey, digest: Uint8Array, signature: Uint8Array): KnownMessage | undefined {
  const { curve, known, multiplier } = frameOf(key.type.curve);
  const { bytes, n } = curve;
  const rs = wellFormed(signature);
  if (rs === undefined || rs.r >= n || rs.s >= n) return undefined;
  const z = digestInteger(curve, digest);
  const inverseOfR = inverseModulo(rs.r, n);
  const x = integerFromBytes(key.point.subarray(1, 1 + bytes));
  const y = integerFromBytes(key.point.subarray(1 + bytes));
  for (const { message, h } of known) {
    const delta = modulo((z - h) * inverseOfR, n);
    if (delta === 0n) continue;
    multiplier.setPrivateKey(integerToBytes(delta, bytes));
    const shift = multiplier.getPublicKey();
    const point = addPoint(curve, x, y, shift);
    if (point !== undefined) return { message, key: importPoint(curve.name, point) };
  }
  throw new Error('Cannot move the signature to a known message: four messages gave three exceptions');
}

/** (x, y) + `shift`, both ways uncompressed; undefined if they have the same x, that is, are equal or opposite. */
function addPoint({ p, bytes }: Curve, x: bigint, y: bigint, shift: Uint8Array): Uint8Array | undefined {
  const shiftX = integerFromBytes(shift.subarray(1, 1 + bytes));
  const shiftY = integerFromBytes(shift.subarray(1 + bytes));
  if (shiftX === x) return undefined;
  const slope = modulo((shiftY - y) * inverseModulo(modulo(shiftX - x, p), p), p);
  const sumX = modulo(slope * slope - x - shiftX, p);
  const sumY = modulo(slope * (x - sumX) - y, p);
  const sum = new Uint8Array(1 + 2 * bytes);
  sum[0] = 4;
  sum.set(integerToBytes(sumX, bytes), 1);
  sum.set(integerToBytes(sumY, bytes), 1 + bytes);
  return sum;
}

/** The leading bits of a digest, as many as the order has. FIPS 186-5 §6.4.2 step 2 */
function digestInteger({ orderBits }: Curve, digest: Uint8Array): bigint {
  const excess = digest.length * 8 - orderBits;
  const integer = integerFromBytes(digest);
  return excess > 0 ? integer >> BigInt(excess) : integer;
}

function frameOf(name: CurveName): Frame {
  let frame = frames.get(name);
  if (frame === undefined) {
    const curve = curves[name];
    const messages = [0, 1, 2, 3].map((byte) => Uint8Array.of(byte));
    const known = messages.map((message) => ({ message, h: digestInteger(curve, sha256(message)) }));
    frame = { curve, known, multiplier: createECDH(opensslNames[name]) };
    frames.set(name, frame);
  }
  return frame;
}

function modulo(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
}

function wellFormed(signature: Uint8Array): EcdsaSignature | undefined {
  try {
    return parseEcdsaSignature(signature);
  } catch (error) {
    if (error instanceof CryptoError) return undefined;
    throw error;
  }
}
