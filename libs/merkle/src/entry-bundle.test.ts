import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeEntryBundle, MAX_ENTRY_LENGTH, MerkleError, parseEntryBundle } from './index.js';

const malformed = expect.objectContaining({ code: 'MERKLE_BUNDLE_MALFORMED' }) as MerkleError;

describe('encodeEntryBundle()', () => {
  it('writes each length as 16-bit big-endian number before its entry', () => {
    expect(encodeEntryBundle([Uint8Array.of(7), new Uint8Array(0), Uint8Array.of(8, 9)])).toEqual(
      Uint8Array.of(0, 1, 7, 0, 0, 0, 2, 8, 9),
    );
  });

  it('takes the longest entry, and none longer', () => {
    expect(encodeEntryBundle([new Uint8Array(MAX_ENTRY_LENGTH)]).subarray(0, 2)).toEqual(Uint8Array.of(0xff, 0xff));
    expect(() => encodeEntryBundle([new Uint8Array(MAX_ENTRY_LENGTH + 1)])).toThrow(malformed);
  });

  it.each([0, 257])('refuses %i entries', (count) => {
    expect(() => encodeEntryBundle(Array.from({ length: count }, () => new Uint8Array(1)))).toThrow(malformed);
  });
});

describe('parseEntryBundle()', () => {
  const bundle = Uint8Array.of(0, 1, 7, 0, 0, 0, 2, 8, 9);

  it('gives the entries', () => {
    expect(parseEntryBundle(bundle, 3)).toEqual([Uint8Array.of(7), new Uint8Array(0), Uint8Array.of(8, 9)]);
  });

  it('reads a view that does not start its buffer', () => {
    const shifted = Uint8Array.of(0xff, ...bundle).subarray(1);
    expect(parseEntryBundle(shifted, 3)).toHaveLength(3);
  });

  it.each<[string, Uint8Array, number, RegExp]>([
    ['fewer entries than it holds', bundle, 2, /4 bytes follow its 2 entries$/],
    ['more entries than it holds', bundle, 4, /ends within entry 3 of 4$/],
    ['a trailing byte', Uint8Array.of(...bundle, 0), 3, /1 bytes follow its 3 entries$/],
    ['an entry cut short', bundle.subarray(0, 8), 3, /ends within entry 2 of 3$/],
    ['a length cut short', bundle.subarray(0, 6), 3, /ends within entry 2 of 3$/],
    ['no bytes', new Uint8Array(0), 1, /ends within entry 0 of 1$/],
    ['no entries', new Uint8Array(0), 0, /0 entries are not between 1 and 256$/],
    ['257 entries', new Uint8Array(514), 257, /257 entries are not between 1 and 256$/],
    ['half an entry', bundle, 2.5, /2.5 entries/],
  ])('rejects %s', (_name, bytes, count, message) => {
    expect(() => parseEntryBundle(bytes, count)).toThrow(malformed);
    expect(() => parseEntryBundle(bytes, count)).toThrow(message);
  });

  it('gives back any entries', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 256 }), (entries) => {
        expect(parseEntryBundle(encodeEntryBundle(entries), entries.length)).toEqual(entries);
      }),
    );
  });

  it('given any bytes returns what encodes to them, or throws MerkleError', () => {
    const short = fc.array(fc.constantFrom(0, 1, 2, 3), { maxLength: 24 }).map((bytes) => Uint8Array.from(bytes));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), short), fc.integer({ min: 0, max: 8 }), (bytes, count) => {
        let entries: Uint8Array[];
        try {
          entries = parseEntryBundle(bytes, count);
        } catch (error) {
          expect(error).toBeInstanceOf(MerkleError);
          return;
        }
        expect(encodeEntryBundle(entries)).toEqual(bytes);
      }),
    );
  });
});
