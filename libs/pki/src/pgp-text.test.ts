import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeUtf8, parseUtf8 } from '#libs/encoding';
import { withCrLf } from './pgp-text.js';

describe('withCrLf()', () => {
  it('puts a carriage return before each line feed that has none', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '\r', '\n', 'é') });
    fc.assert(
      fc.property(text, (lines) => {
        const once = withCrLf(encodeUtf8(lines));
        expect(parseUtf8(once)).toBe(lines.replace(/(?<!\r)\n/g, '\r\n'));
        expect(withCrLf(once)).toBe(once);
      }),
    );
  });
});
