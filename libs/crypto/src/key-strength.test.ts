import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkKeyStrength, parsePublicKey, rsaPublicKey } from './index.js';

const moduli = JSON.parse(
  readFileSync(new URL('../../../test/vectors/crypto/rsa-moduli.json', import.meta.url), 'utf8'),
) as Record<string, string>;
const modulus = (name: string) => BigInt(`0x${moduli[name] ?? ''}`);
const key = (n: bigint, e = 65537n) => rsaPublicKey(n, e);

const weak = (message: string) =>
  expect.objectContaining({ code: 'CRYPTO_KEY_WEAK', message: expect.stringContaining(message) });

describe('checkKeyStrength()', () => {
  it.each(['P-256', 'P-384', 'P-521'])('accepts %s', (namedCurve) => {
    const pair = generateKeyPairSync('ec', { namedCurve });
    expect(checkKeyStrength(parsePublicKey(pair.publicKey.export({ type: 'spki', format: 'der' })))).toBeUndefined();
  });

  it('accepts Ed25519', () => {
    const pair = generateKeyPairSync('ed25519');
    expect(checkKeyStrength(parsePublicKey(pair.publicKey.export({ type: 'spki', format: 'der' })))).toBeUndefined();
  });

  it.each(['accepted', 'accepted-3072', 'accepted-factor-757'])('accepts RSA: %s', (name) => {
    expect(checkKeyStrength(key(modulus(name)))).toBeUndefined();
  });

  it('accepts RSA of 4096 bits', () => {
    const pair = generateKeyPairSync('rsa', { modulusLength: 4096 });
    expect(checkKeyStrength(parsePublicKey(pair.publicKey.export({ type: 'spki', format: 'der' })))).toBeUndefined();
  });

  // Each modulus offends one rule only.
  it.each([
    ['small-factor-751', 'small factor'],
    ['roca', 'ROCA'],
    ['close-factors', 'close together'],
    ['bits-2049', '2049 bits'],
  ])('refuses RSA: %s', (name, message) => {
    expect(() => checkKeyStrength(key(modulus(name)))).toThrow(weak(message));
  });

  it('refuses RSA of 1024 bits', () => {
    const pair = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const parsed = parsePublicKey(pair.publicKey.export({ type: 'spki', format: 'der' }));
    expect(() => checkKeyStrength(parsed)).toThrow(weak('1024 bits'));
  });

  it.each([3n, 65539n])('refuses the exponent %s', (exponent) => {
    expect(() => checkKeyStrength(key(modulus('accepted'), exponent))).toThrow(weak('exponent'));
  });

  it('refuses a square', () => {
    let root = 2n ** 1023n + 2n ** 1022n + 1n;
    while (hasSmallFactor(root)) root += 2n;
    const square = root * root;
    expect(square.toString(2)).toHaveLength(2048);
    expect(() => checkKeyStrength(key(square))).toThrow(weak('close together'));
  });

  // n = a² − b² is found in the round a − ⌊√n⌋, and b² ≈ 2a · rounds puts it there.
  it.each([
    [1, true],
    [2, true],
    [99, true],
    [100, true],
    [101, false],
    [102, false],
  ])('finds factors of Fermat round %i: %s', (round, found) => {
    const n = modulusOfFermatRound(round);
    if (found) expect(() => checkKeyStrength(key(n))).toThrow(weak('close together'));
    else expect(checkKeyStrength(key(n))).toBeUndefined();
  });
});

function modulusOfFermatRound(round: number): bigint {
  for (let seed = 1n; ; seed++) {
    const a = 2n ** 1023n + 2n ** 1022n + seed * (2n ** 61n - 1n);
    const b = squareRoot(2n * a * BigInt(round) - a) + ((a + squareRoot(2n * a * BigInt(round) - a) + 1n) % 2n);
    const n = a * a - b * b;
    if (!hasSmallFactor(n) && a - squareRoot(n) === BigInt(round)) return n;
  }
}

function hasSmallFactor(n: bigint): boolean {
  return Array.from({ length: 751 }, (_, i) => BigInt(i + 2)).some((divisor) => n % divisor === 0n);
}

function squareRoot(value: bigint): bigint {
  let low = 0n;
  let high = 1n << BigInt(Math.ceil(value.toString(2).length / 2));
  while (low < high) {
    const middle = (low + high + 1n) / 2n;
    if (middle * middle <= value) low = middle;
    else high = middle - 1n;
  }
  return low;
}
