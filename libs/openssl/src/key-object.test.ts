import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { parsePublicKey, rsaPublicKey, type PublicKey } from '#libs/crypto';
import { describe, expect, it } from 'vitest';
import { importPoint, keyObject } from './key-object.js';

const parsed = (key: KeyObject): PublicKey => parsePublicKey(key.export({ type: 'spki', format: 'der' }));

describe('keyObject()', () => {
  it.each([
    ['P-256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['P-384', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['P-521', generateKeyPairSync('ec', { namedCurve: 'P-521' })],
    ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['RSA with exponent 3', generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 })],
    ['Ed25519', generateKeyPairSync('ed25519')],
  ])('is the same key: %s', (_, { publicKey }) => {
    expect(keyObject(parsed(publicKey)).equals(publicKey)).toBe(true);
  });

  it('keeps the object of a key, by its bytes', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    expect(keyObject(parsed(publicKey))).toBe(keyObject(parsed(publicKey)));
  });

  it('forgets the key that was not asked for the longest time, and keeps no more than 1024', () => {
    // RSA keys without known factors are keys to import, and quick to make.
    const key = (i: number) => rsaPublicKey(2n ** 1023n + 2n * BigInt(i) + 1n, 65537n);
    const first = keyObject(key(0));
    const second = keyObject(key(1));
    for (let i = 2; i < 1024; i++) keyObject(key(i));
    expect(keyObject(key(0))).toBe(first);
    keyObject(key(1024));
    expect(keyObject(key(0))).toBe(first);
    expect(keyObject(key(1))).not.toBe(second);
  });
});

describe('importPoint()', () => {
  it.each(['P-256', 'P-384', 'P-521'] as const)('refuses a point off %s', (curve) => {
    const key = parsed(generateKeyPairSync('ec', { namedCurve: curve }).publicKey);
    if (key.kind !== 'ecdsa') throw new Error('not ECDSA');
    const point = key.point.map((byte, i) => (i === key.point.length - 1 ? byte ^ 1 : byte));
    expect(() => importPoint(curve, point)).toThrow();
  });
});
