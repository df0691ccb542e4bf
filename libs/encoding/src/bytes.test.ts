import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareBytes, concatBytes, equalBytes } from './bytes.js';

const bytes = () => fc.uint8Array({ maxLength: 20 });

test('concatBytes() joins the parts in order, and none to nothing', () => {
  expect(concatBytes()).toEqual(new Uint8Array());
  expect(concatBytes(Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2, 3))).toEqual(Uint8Array.of(1, 2, 3));
});

test('equalBytes() compares length and every byte', () => {
  expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(true);
  expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
  expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1))).toBe(false);
});

test('compareBytes() is the order of the hex texts', () => {
  const hex = (b: Uint8Array) => Buffer.from(b).toString('hex');
  fc.assert(
    fc.property(bytes(), bytes(), (a, b) => {
      const expected = hex(a) < hex(b) ? -1 : hex(a) > hex(b) ? 1 : 0;
      expect(Math.sign(compareBytes(a, b))).toBe(expected);
      expect(equalBytes(a, b)).toBe(expected === 0);
    }),
  );
});
