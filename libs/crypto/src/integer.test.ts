import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bitLength, integerFromBytes, integerToBytes } from './index.js';

describe('integerFromBytes()', () => {
  it('reads what hexadecimal text says, for every length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        expect(integerFromBytes(bytes)).toBe(BigInt(`0x0${Buffer.from(bytes).toString('hex')}`));
      }),
    );
  });

  it('reads a view from its own offset', () => {
    expect(integerFromBytes(Uint8Array.of(9, 9, 1, 2).subarray(2))).toBe(0x0102n);
  });
});

describe('integerToBytes()', () => {
  it('is undone by integerFromBytes()', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        expect(integerToBytes(integerFromBytes(bytes), bytes.length)).toEqual(bytes);
      }),
    );
  });

  it('refuses what does not fit', () => {
    expect(() => integerToBytes(256n, 1)).toThrow('does not fit');
    expect(() => integerToBytes(-1n, 1)).toThrow('does not fit');
  });
});

describe('bitLength()', () => {
  it.each([
    [0n, 0],
    [1n, 1],
    [255n, 8],
    [256n, 9],
    [2n ** 2048n - 1n, 2048],
    [2n ** 2048n, 2049],
  ])('of %s is %i', (value, bits) => {
    expect(bitLength(value)).toBe(bits);
  });
});
