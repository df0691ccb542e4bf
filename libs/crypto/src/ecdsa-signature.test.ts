import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import fc from 'fast-check';
import { derInteger, derSequence, parseHex } from '#libs/encoding';
import { describe, expect, it } from 'vitest';
import {
  CryptoError,
  curves,
  ecdsaDerToP1363,
  ecdsaP1363ToDer,
  encodeEcdsaSignature,
  parseEcdsaSignature,
} from './index.js';

const malformed = expect.objectContaining({ code: 'CRYPTO_SIGNATURE_MALFORMED' });
const positive = fc.bigInt({ min: 1n, max: 2n ** 521n - 1n });

describe('parseEcdsaSignature()', () => {
  it('is the inverse of encodeEcdsaSignature()', () => {
    fc.assert(
      fc.property(positive, positive, (r, s) => {
        expect(parseEcdsaSignature(encodeEcdsaSignature(r, s))).toEqual({ r, s });
      }),
    );
  });

  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['r = 0', encodeEcdsaSignature(0n, 1n)],
    ['s = 0', encodeEcdsaSignature(1n, 0n)],
    ['a negative r', encodeEcdsaSignature(-1n, 1n)],
    ['a negative s', encodeEcdsaSignature(1n, -1n)],
    ['a third integer', derSequence(derInteger(1n), derInteger(1n), derInteger(1n))],
    ['one integer', derSequence(derInteger(1n))],
    ['a trailing byte', Uint8Array.of(...encodeEcdsaSignature(1n, 1n), 0)],
    ['a padded integer', parseHex('300702020001020101')],
    ['a long form of the length', parseHex('308106020101020101')],
    ['an indefinite length', parseHex('30800201010201010000')],
    ['another tag', parseHex('3106020101020101')],
    ['a raw signature', new Uint8Array(64).fill(1)],
    ['140 bytes', new Uint8Array(140)],
  ])('refuses %s', (_, der) => {
    expect(() => parseEcdsaSignature(der)).toThrow(malformed);
  });

  it('returns or throws CryptoError for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          expect(encodeEcdsaSignature(parseEcdsaSignature(bytes).r, parseEcdsaSignature(bytes).s)).toEqual(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(CryptoError);
        }
      }),
    );
  });
});

describe('ecdsaDerToP1363(), ecdsaP1363ToDer()', () => {
  it.each(['P-256', 'P-384', 'P-521'] as const)('convert signatures of %s as OpenSSL writes them', (curve) => {
    const pem = generateKeyPairSync('ec', { namedCurve: curve }).privateKey.export({ type: 'pkcs8', format: 'pem' });
    const key = createPrivateKey(pem);
    for (let i = 0; i < 20; i++) {
      const raw = new Uint8Array(sign('sha256', Buffer.of(i), { key, dsaEncoding: 'ieee-p1363' }));
      expect(ecdsaDerToP1363(ecdsaP1363ToDer(raw), curve)).toEqual(raw);
    }
  });

  it('pad short integers', () => {
    const raw = ecdsaDerToP1363(encodeEcdsaSignature(1n, 2n), 'P-521');
    expect(raw).toHaveLength(132);
    expect([raw[65], raw[131]]).toEqual([1, 2]);
  });

  it('refuse an integer that is not below the order', () => {
    const { n } = curves['P-256'];
    expect(() => ecdsaDerToP1363(encodeEcdsaSignature(n, 1n), 'P-256')).toThrow(malformed);
    expect(() => ecdsaDerToP1363(encodeEcdsaSignature(1n, n), 'P-256')).toThrow(malformed);
    expect(ecdsaDerToP1363(encodeEcdsaSignature(n - 1n, n - 1n), 'P-256')).toHaveLength(64);
  });

  it.each([0, 1, 63, 134])('refuse a raw signature of %i bytes', (length) => {
    expect(() => ecdsaP1363ToDer(new Uint8Array(length).fill(1))).toThrow(malformed);
  });

  it('refuse halves that are zero', () => {
    expect(() => ecdsaP1363ToDer(Uint8Array.of(0, 1))).toThrow(malformed);
    expect(() => ecdsaP1363ToDer(Uint8Array.of(1, 0))).toThrow(malformed);
  });
});
