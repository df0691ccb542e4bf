import fc from 'fast-check';
import { curves } from '#libs/crypto';
import { describe, expect, it } from 'vitest';
import { inverseModulo } from './inverse.js';

const primes = Object.values(curves).flatMap(({ name, n, p }) => [
  [`order of ${name}`, n] as const,
  [`field of ${name}`, p] as const,
]);

describe.each([...primes, ['7', 7n], ['2^61 - 1', 2n ** 61n - 1n], ['65537', 65537n]] as const)(
  'inverseModulo() %s',
  (_, prime) => {
    it('gives what multiplies to 1, below the modulus', () => {
      fc.assert(
        fc.property(fc.bigInt({ min: 1n, max: prime - 1n }), (value) => {
          const inverse = inverseModulo(value, prime);
          expect((inverse * value) % prime).toBe(1n);
          expect(inverse > 0n && inverse < prime).toBe(true);
        }),
        { numRuns: 1000 },
      );
    });

    it('holds at powers of two and their neighbours', () => {
      for (let bit = 0n; 2n ** bit < prime; bit++) {
        for (const value of [2n ** bit - 1n, 2n ** bit, 2n ** bit + 1n, prime - 2n ** bit, prime / 2n ** bit]) {
          if (value <= 0n || value % prime === 0n) continue;
          expect((inverseModulo(value, prime) * value) % prime).toBe(1n);
        }
      }
    });

    it('reduces a value above the modulus', () => {
      expect(inverseModulo(prime + 2n, prime)).toBe(inverseModulo(2n, prime));
    });

    it('throws for a multiple of the modulus', () => {
      expect(() => inverseModulo(0n, prime)).toThrow('Cannot invert');
      expect(() => inverseModulo(2n * prime, prime)).toThrow('Cannot invert');
    });
  },
);
