import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeHex, encodeUtf8, parseHex } from '#libs/encoding';
import { encodeEntryBundle, leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { type AnnexedEntry, annexedEntriesFormat, encodeAnnexedEntry, parseAnnexedEntry } from './annexed-entry.js';
import { TlogError } from './errors.js';

const annexedEntry: fc.Arbitrary<AnnexedEntry> = fc.record({
  timestampMs: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  annex: fc.uint8Array({ maxLength: 40 }),
  entry: fc.uint8Array({ maxLength: 40 }),
});
const unstorable = expect.objectContaining({ code: 'TLOG_RECORD' }) as TlogError;

function returnsOrThrowsOwn<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    expect(error).toBeInstanceOf(TlogError);
    return undefined;
  }
}

/** Every record of a bundle. */
const all = { from: 0, to: 256 };

describe('encodeAnnexedEntry()', () => {
  test('writes time, annex with its length, and the entry', () => {
    const record = encodeAnnexedEntry({
      timestampMs: 0x0102030405060708n,
      annex: Uint8Array.of(0xaa, 0xbb),
      entry: encodeUtf8('entry'),
    });
    expect(encodeHex(record)).toBe('01020304050607080002aabb656e747279');
  });

  test('takes the longest annex and entry, and none longer', () => {
    const longest = { timestampMs: 2n ** 64n - 1n, annex: new Uint8Array(65535), entry: new Uint8Array(65535) };
    expect(encodeAnnexedEntry(longest)).toHaveLength(10 + 2 * 65535);
    for (const wrong of [
      { ...longest, annex: new Uint8Array(65536) },
      { ...longest, entry: new Uint8Array(65536) },
      { ...longest, timestampMs: 2n ** 64n },
      { ...longest, timestampMs: -1n },
    ]) {
      expect(() => encodeAnnexedEntry(wrong)).toThrow(unstorable);
    }
  });
});

describe('parseAnnexedEntry()', () => {
  test('gives back any entry, also out of the middle of a buffer', () => {
    fc.assert(
      fc.property(annexedEntry, fc.nat(8), (entry, offset) => {
        const record = encodeAnnexedEntry(entry);
        const shifted = new Uint8Array(offset + record.length);
        shifted.set(record, offset);
        expect(parseAnnexedEntry(shifted.subarray(offset))).toEqual(entry);
      }),
    );
  });

  test('given any bytes returns what encodes to them, or throws TlogError', () => {
    const near = fc.tuple(fc.uint8Array({ minLength: 8, maxLength: 8 }), fc.nat(12), fc.uint8Array({ maxLength: 12 }));
    const short = near.map(([time, length, rest]) => Uint8Array.of(...time, 0, length, ...rest));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), short), (bytes) => {
        const entry = returnsOrThrowsOwn(() => parseAnnexedEntry(bytes));
        if (entry !== undefined) expect(encodeAnnexedEntry(entry)).toEqual(bytes);
      }),
    );
  });

  test.each([
    ['no bytes', ''],
    ['a time without a length', '0102030405060708'],
    ['half a length', '010203040506070800'],
    ['an annex cut short', '01020304050607080002aa'],
  ])('rejects %s', (_, hex) => {
    expect(() => parseAnnexedEntry(parseHex(hex))).toThrow(unstorable);
  });

  test('rejects an entry that is too long', () => {
    expect(() => parseAnnexedEntry(new Uint8Array(10 + 65536))).toThrow(unstorable);
  });
});

describe('annexedEntriesFormat', () => {
  const sidecar = annexedEntriesFormat.sidecar!;
  const inOrder = fc
    .array(annexedEntry, { minLength: 1, maxLength: 20 })
    .map((entries) => entries.sort((a, b) => (a.timestampMs < b.timestampMs ? -1 : 1)));

  test('hashes the entry alone, by which it is known', () => {
    const record = encodeAnnexedEntry({ timestampMs: 1n, annex: encodeUtf8('a'), entry: encodeUtf8('e') });
    expect(annexedEntriesFormat.leafInput(record)).toEqual(encodeUtf8('e'));
    const hash = leafHash(sha256, encodeUtf8('e'));
    expect(annexedEntriesFormat.identity!(record, hash)).toBe(hash);
    expect(() => annexedEntriesFormat.leafInput(new Uint8Array(3))).toThrow(unstorable);
  });

  test('makes a plain bundle, and a sidecar of the rest with its SHA-256', () => {
    const records = [
      encodeAnnexedEntry({ timestampMs: 1n, annex: new Uint8Array(), entry: encodeUtf8('a') }),
      encodeAnnexedEntry({ timestampMs: 1n, annex: Uint8Array.of(7), entry: new Uint8Array() }),
    ];
    expect(annexedEntriesFormat.encodeBundle(records)).toEqual(encodeEntryBundle([encodeUtf8('a'), new Uint8Array()]));
    const heads = parseHex('00000000000000010000' + '0000000000000001000107');
    expect(sidecar.encode(records)).toEqual(Uint8Array.of(...heads, ...sha256(heads)));
  });

  test('names bundle and sidecar alike', () => {
    expect(annexedEntriesFormat.bundlePath(1234067n, 256)).toBe('tile/entries/x001/x234/067');
    expect(sidecar.path(1234067n, 256)).toBe('tile/annex/x001/x234/067');
    expect(sidecar.path(0n, 8)).toBe('tile/annex/000.p/8');
  });

  test('gives back the records from bundle and sidecar', () => {
    fc.assert(
      fc.property(inOrder, (entries) => {
        const records = entries.map(encodeAnnexedEntry);
        const parts = annexedEntriesFormat.parseBundle(annexedEntriesFormat.encodeBundle(records), records.length);
        expect(sidecar.join(parts, sidecar.encode(records), all)).toEqual(records);
      }),
    );
  });

  test('gives back any range of the records', () => {
    fc.assert(
      fc.property(inOrder, fc.nat(256), fc.nat(256), (entries, from, to) => {
        const records = entries.map(encodeAnnexedEntry);
        const parts = entries.map(({ entry }) => entry);
        expect(sidecar.join(parts, sidecar.encode(records), { from, to })).toEqual(
          records.slice(from, Math.max(from, to)),
        );
      }),
    );
  });

  test('a sidecar with any one bit flipped, cut short or made longer is refused', () => {
    fc.assert(
      fc.property(inOrder, fc.nat(), (entries, bit) => {
        const records = entries.map(encodeAnnexedEntry);
        const parts = entries.map(({ entry }) => entry);
        const bytes = sidecar.encode(records);
        const at = bit % (bytes.length * 8);
        const flipped = bytes.map((byte, index) => (index === at >> 3 ? byte ^ (1 << (at & 7)) : byte));
        for (const wrong of [flipped, bytes.subarray(0, at >> 3), Uint8Array.of(...bytes, 0)]) {
          expect(() => sidecar.join(parts, wrong, all)).toThrow(unstorable);
        }
      }),
    );
  });

  test('given any sidecar with a right digest returns what encodes to it, or throws TlogError', () => {
    const header = fc.tuple(fc.nat(3), fc.nat(3)).map(([time, length]) => [0, 0, 0, 0, 0, 0, 0, time, 0, length]);
    const heads = fc.array(fc.oneof(header, fc.array(fc.nat(255), { maxLength: 3 })), { maxLength: 5 });
    fc.assert(
      fc.property(heads, fc.nat(4), (heads, count) => {
        const head = Uint8Array.from(heads.flat());
        const bytes = Uint8Array.of(...head, ...sha256(head));
        const parts = Array.from({ length: count }, (_, at) => Uint8Array.of(at));
        const records = returnsOrThrowsOwn(() => sidecar.join(parts, bytes, all));
        if (records !== undefined) expect(sidecar.encode(records)).toEqual(bytes);
      }),
      { numRuns: 500 },
    );
  });

  test('neither writes nor reads times that run backwards', () => {
    const at = (timestampMs: bigint) =>
      encodeAnnexedEntry({ timestampMs, annex: new Uint8Array(), entry: Uint8Array.of(1) });
    expect(() => sidecar.encode([at(2n), at(1n)])).toThrow('one of 1 ms follows one of 2 ms');
    const heads = parseHex('00000000000000020000' + '00000000000000010000');
    const parts = [Uint8Array.of(1), Uint8Array.of(1)];
    expect(() => sidecar.join(parts, Uint8Array.of(...heads, ...sha256(heads)), all)).toThrow(
      'one of 1 ms follows one of 2 ms',
    );
  });
});
