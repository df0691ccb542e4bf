import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeBase64Url, encodeUtf8 } from '#libs/encoding';
import { bindCursor, encodeCursor, parseCursor } from './cursor.js';
import { SearchError } from './index.js';

const binding = bindCursor('query', ['origin']);
const position = fc
  .tuple(fc.bigInt({ min: 0n, max: 2n ** 63n }), fc.bigInt({ min: 0n, max: 2n ** 63n }))
  .map(([a, b]) => (a > b ? { size: a, below: b } : { size: b, below: a }));

test('parseCursor() gives what encodeCursor() was given', () => {
  fc.assert(
    fc.property(fc.array(position, { minLength: 1, maxLength: 3 }), (positions) => {
      fc.pre(positions.some(({ below }) => below > 0n));
      const sizes = positions.map(({ size }) => size);
      expect(parseCursor(encodeCursor(binding, positions), binding, sizes)).toEqual(positions);
    }),
  );
});

describe('parseCursor() refuses', () => {
  const good = [{ size: 10n, below: 5n }];
  const refused = (text: string, sizes = [10n]) =>
    expect(() => parseCursor(text, binding, sizes)).toThrow(expect.objectContaining({ code: 'SEARCH_CURSOR' }));

  test.each<[string, string, bigint[]?]>([
    ['nothing', ''],
    ['text that is not base64url', '+/+/'],
    ['padding', `${encodeCursor(binding, good)}=`],
    ['the cursor of another query', encodeCursor(bindCursor('other', ['origin']), good)],
    ['the cursor of another log', encodeCursor(bindCursor('query', ['other']), good)],
    ['another version', encodeBase64Url(Uint8Array.of(2, ...binding, ...new Uint8Array(16)))],
    ['a tree too many', encodeCursor(binding, [...good, ...good])],
    ['a tree too few', encodeCursor(binding, good), [10n, 10n]],
    ['a tree larger than there is', encodeCursor(binding, [{ size: 11n, below: 5n }])],
    ['a place beyond its tree', encodeCursor(binding, [{ size: 10n, below: 11n }])],
    ['the end', encodeCursor(binding, [{ size: 10n, below: 0n }])],
    ['JSON', encodeBase64Url(encodeUtf8('{"size":10,"below":5}'))],
  ])('%s', (_name, text, sizes) => refused(text, sizes));

  test('any text, by returning or with its own error', () => {
    const changed = fc.tuple(fc.nat(encodeCursor(binding, good).length - 1), fc.constantFrom(...'AZaz09-_+= '));
    fc.assert(
      fc.property(fc.oneof(fc.string(), changed), (input) => {
        const cursor = encodeCursor(binding, good);
        const text =
          typeof input === 'string' ? input : cursor.slice(0, input[0]) + input[1] + cursor.slice(input[0] + 1);
        try {
          const [read] = parseCursor(text, binding, [10n]);
          expect(read?.size).toBeLessThanOrEqual(10n);
          expect(read?.below).toBeLessThanOrEqual(read?.size ?? 0n);
        } catch (error) {
          expect(error).toBeInstanceOf(SearchError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
