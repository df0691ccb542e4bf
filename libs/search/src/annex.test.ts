import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeAnnexKeys, parseAnnexKeys, SearchError } from './index.js';

const key = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 80 });

describe('parseAnnexKeys()', () => {
  test('gives what encodeAnnexKeys() was given', () => {
    fc.assert(
      fc.property(fc.uniqueArray(key), (keys) => void expect(parseAnnexKeys(encodeAnnexKeys(keys))).toEqual(keys)),
    );
  });

  test('any bytes: keys that encode to the same, or its own error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          const keys = parseAnnexKeys(bytes);
          if (new Set(keys).size === keys.length) expect(encodeAnnexKeys(keys)).toEqual(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(SearchError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    ['a key that is empty', Uint8Array.of(0, 0)],
    ['a key longer than the annex', Uint8Array.of(0, 2, 0x61)],
    ['half a length', Uint8Array.of(0)],
    ['bytes that are not UTF-8', Uint8Array.of(0, 1, 0xff)],
    ['more keys than an entry has', new Uint8Array(961 * 3).map((_, at) => (at % 3 === 2 ? 0x61 : at % 3))],
  ])('refuses %s', (_name, annex) => {
    expect(() => parseAnnexKeys(annex)).toThrow(expect.objectContaining({ code: 'SEARCH_ANNEX' }));
  });
});

describe('encodeAnnexKeys() keeps what fits', () => {
  test('960 keys', () => {
    const keys = Array.from({ length: 1500 }, (_, at) => `sha256:${at}`);
    expect(parseAnnexKeys(encodeAnnexKeys(keys))).toEqual(keys.slice(0, 960));
  });

  test('65535 bytes, and a shorter key after one that is too long', () => {
    const keys = ['a'.repeat(65_000), 'b'.repeat(600), 'c'.repeat(500)];
    const annex = encodeAnnexKeys(keys);
    expect(annex.length).toBe(65_504);
    expect(parseAnnexKeys(annex)).toEqual([keys[0], keys[2]]);
    expect(encodeAnnexKeys(['a'.repeat(65_533)]).length).toBe(65_535);
    expect(encodeAnnexKeys(['a'.repeat(65_534)]).length).toBe(0);
  });

  test('no key twice, none that is empty, and none that UTF-8 cannot carry', () => {
    expect(parseAnnexKeys(encodeAnnexKeys(['a', '', 'a', '\ud800', 'b']))).toEqual(['a', 'b']);
  });
});
