import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeEntryBundle, parseEntryBundle } from '#libs/merkle';
import { parseDataTile, parseTileLeaf, splitDataTile } from '#libs/x509';
import { concatBytes, encodeUtf8 } from '#libs/encoding';
import { TestLog } from '../testing/test-log.js';
import { splitAnnex, annexFault } from './inspect.js';
import { issuerFingerprints, splitBundle } from './layout.js';

describe('splitBundle()', () => {
  it('finds the entries that parseEntryBundle() finds', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 20 }), (entries) => {
        const bytes = encodeEntryBundle(entries);
        const { spans, fault } = splitBundle('tlog-tiles', bytes, entries.length);
        expect(fault).toBeUndefined();
        expect(spans.map(({ start, end }) => bytes.slice(start, end))).toEqual(entries);
      }),
    );
  });

  it('finds the TileLeafs that splitDataTile() finds', () => {
    const log = new TestLog('static-ct').grow(9);
    const bytes = concatBytes(...log.entries);
    const { spans, fault } = splitBundle('static-ct', bytes, 9);
    expect(fault).toBeUndefined();
    expect(spans.map(({ start, end }) => bytes.slice(start, end))).toEqual(
      splitDataTile(bytes, 9).map((one) => one.slice()),
    );
    for (const entry of log.entries) {
      expect(issuerFingerprints(entry).map((one) => one.slice())).toEqual(
        parseTileLeaf(entry).fingerprints.map((one) => one.slice()),
      );
    }
  });

  it.each([
    ['tlog-tiles', (bytes: Uint8Array, count: number) => parseEntryBundle(bytes, count)],
    ['static-ct', (bytes: Uint8Array, count: number) => parseDataTile(bytes, count)],
  ] as const)('refuses any bytes of %s that the strict parser refuses', (layout, parse) => {
    const log = new TestLog(layout).grow(3);
    const valid = layout === 'static-ct' ? concatBytes(...log.entries) : encodeEntryBundle(log.entries);
    const changed = fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, byte]) => {
      const bytes = valid.slice();
      bytes[at] = byte;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), changed), (bytes) => {
        const { fault } = splitBundle(layout, bytes, 3);
        let parses = true;
        try {
          parse(bytes, 3);
        } catch {
          parses = false;
        }
        if (parses) expect(fault).toBeUndefined();
        // The other way round the certificate parser has limits of its own, on chains.
        else if (layout === 'tlog-tiles') expect(fault).toBeDefined();
      }),
      { numRuns: 500 },
    );
  });
});

describe('annexFault()', () => {
  it('accepts what a log wrote, and nothing else', () => {
    const log = new TestLog().grow(5);
    const annex = log.objects({ annex: true }).get('tile/annex/000.p/5') ?? new Uint8Array();
    expect(annexFault(annex, 5)).toBeUndefined();
    expect(splitAnnex(annex, 5)).toHaveLength(5);
    expect(annexFault(annex, 4)).toContain('4 entries');
    expect(annexFault(annex.subarray(0, 31), 5)).toBe('it has 31 bytes');
    for (let at = 0; at < annex.length; at++) {
      const wrong = annex.slice();
      wrong[at] = (wrong[at] ?? 0) ^ 1;
      expect(annexFault(wrong, 5)).toBe('its SHA-256 is not the one at its end');
    }
    fc.assert(fc.property(fc.uint8Array(), fc.nat(256), (bytes, count) => void splitAnnex(bytes, count)));
    expect(splitAnnex(encodeUtf8('x'.repeat(32)), 0)).toEqual([]);
  });
});
