import { createPublicKey, type KeyObject } from 'node:crypto';
import { encodeBase64Url } from '#libs/encoding';
import {
  bitLength,
  integerToBytes,
  rsaSignatureLength,
  type CurveName,
  type PublicKey,
  type RsaPublicKey,
} from '#libs/crypto';

const CAPACITY = 1024;

// SubjectPublicKeyInfo of an uncompressed point, up to the point (RFC 5480 §2).
const spkiPrefixes = {
  'P-384': Buffer.from('3076301006072a8648ce3d020106052b81040022036200', 'hex'),
  'P-521': Buffer.from('30819b301006072a8648ce3d020106052b8104002303818600', 'hex'),
} satisfies Partial<Record<CurveName, Buffer>>;

// Log and CA keys, and those of clients that retry, come again; the ten-minute keys of others must push them out only
// by being newer. A Map iterates in order of insertion, which makes it a least-recently-used list.
const cache = new Map<string, KeyObject>();

/** OpenSSL's form of a public key; the last 1024 that were asked for are kept. */
export function keyObject(key: PublicKey): KeyObject {
  const name = cacheName(key);
  let object = cache.get(name);
  if (object === undefined) {
    object = importKey(key);
    if (cache.size >= CAPACITY)
      for (const oldest of cache.keys()) {
        cache.delete(oldest);
        break;
      }
  } else {
    cache.delete(name);
  }
  cache.set(name, object);
  return object;
}

/** Latin-1 text of the SubjectPublicKeyInfo: the whole key, not a digest of it. */
function cacheName(key: PublicKey): string {
  return Buffer.from(key.spki.buffer, key.spki.byteOffset, key.spki.byteLength).toString('latin1');
}

function importKey(key: PublicKey): KeyObject {
  switch (key.kind) {
    case 'ecdsa':
      return importPoint(key.type.curve, key.point);
    case 'rsa':
      return importRsa(key);
    case 'ed25519':
      return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: encodeBase64Url(key.raw) }, format: 'jwk' });
  }
}

/**
 * Imports an uncompressed point of the curve, not cached. OpenSSL 3 tries one decoder after the other on DER, which a
 * JSON Web Key spares; but it multiplies a point that came as a JSON Web Key by the order, which on a curve of cofactor
 * 1 proves nothing new. So JSON is the faster way for P-256 (0.07 ms against 0.12) and DER for the larger curves
 * (0.11 ms against 0.46 and 1.0), whose multiplication is slow. Both ways check that the point is on the curve.
 */
export function importPoint(curve: CurveName, point: Uint8Array): KeyObject {
  if (curve !== 'P-256') {
    return createPublicKey({ key: Buffer.concat([spkiPrefixes[curve], point]), format: 'der', type: 'spki' });
  }
  const buffer = Buffer.from(point.buffer, point.byteOffset, point.byteLength);
  const x = buffer.toString('base64url', 1, 33);
  const y = buffer.toString('base64url', 33, 65);
  return createPublicKey({ key: { kty: 'EC', crv: curve, x, y }, format: 'jwk' });
}

function importRsa(key: RsaPublicKey): KeyObject {
  const n = encodeBase64Url(integerToBytes(key.modulus, rsaSignatureLength(key)));
  const e = encodeBase64Url(integerToBytes(key.exponent, Math.ceil(bitLength(key.exponent) / 8)));
  return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' });
}
