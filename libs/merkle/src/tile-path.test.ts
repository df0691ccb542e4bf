import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  encodeTileIndex,
  encodeTilePath,
  entryBundlePath,
  MAX_TREE_SIZE,
  MerkleError,
  parseEntryBundlePath,
  parseTileIndex,
  parseTilePath,
  type Tile,
} from './index.js';

const badPath = expect.objectContaining({ code: 'MERKLE_TILE_PATH' }) as MerkleError;

describe('encodeTileIndex()', () => {
  it.each<[bigint, string]>([
    [0n, '000'],
    [1n, '001'],
    [123n, '123'],
    [255n, '255'],
    [256n, '256'],
    [999n, '999'],
    [1000n, 'x001/000'],
    [1_234_067n, 'x001/x234/067'],
    [1_000_000n, 'x001/x000/000'],
    [2n ** 53n + 1n, 'x009/x007/x199/x254/x740/993'],
    [MAX_TREE_SIZE, 'x009/x223/x372/x036/x854/x775/807'],
  ])('%s is %s, both ways', (index, text) => {
    expect(encodeTileIndex(index)).toBe(text);
    expect(parseTileIndex(text)).toBe(index);
  });

  it.each([-1n, MAX_TREE_SIZE + 1n])('refuses %s', (index) => {
    expect(() => encodeTileIndex(index)).toThrow(badPath);
  });
});

describe('encodeTilePath()', () => {
  it.each<[Tile, string]>([
    [{ level: 0, index: 0n, width: 256 }, 'tile/0/000'],
    [{ level: 0, index: 1_234_067n, width: 8 }, 'tile/0/x001/x234/067.p/8'],
    [{ level: 0, index: 273n, width: 112 }, 'tile/0/273.p/112'],
    [{ level: 10, index: 5n, width: 255 }, 'tile/10/005.p/255'],
    [{ level: 63, index: 0n, width: 1 }, 'tile/63/000.p/1'],
  ])('%o is %s, both ways', (tile, path) => {
    expect(encodeTilePath(tile)).toBe(path);
    expect(parseTilePath(path)).toEqual(tile);
  });

  it.each<[string, Tile]>([
    ['width 0', { level: 0, index: 0n, width: 0 }],
    ['width 257', { level: 0, index: 0n, width: 257 }],
    ['half a hash', { level: 0, index: 0n, width: 1.5 }],
    ['negative width', { level: 0, index: 0n, width: -1 }],
    ['level 64', { level: 64, index: 0n, width: 1 }],
    ['negative level', { level: -1, index: 0n, width: 1 }],
    ['level NaN', { level: Number.NaN, index: 0n, width: 1 }],
    ['negative index', { level: 0, index: -1n, width: 1 }],
  ])('refuses %s', (_name, tile) => {
    expect(() => encodeTilePath(tile)).toThrow(badPath);
  });
});

describe('parseTilePath()', () => {
  it.each([
    ['nothing', ''],
    ['leading slash', '/tile/0/000'],
    ['trailing slash', 'tile/0/000/'],
    ['line feed at the end', 'tile/0/000\n'],
    ['line feed after the width', 'tile/0/000.p/5\n'],
    ['leading zero group', 'tile/0/x000/001'],
    ['index without padding', 'tile/0/1'],
    ['index of two digits', 'tile/0/01'],
    ['index of four digits', 'tile/0/0001'],
    ['first group without x', 'tile/0/001/000'],
    ['last group with x', 'tile/0/x001'],
    ['x in upper case', 'tile/0/X001/000'],
    ['partial suffix before the last group', 'tile/0/x001.p/067'],
    ['width 0', 'tile/0/000.p/0'],
    ['width 256 as partial', 'tile/0/000.p/256'],
    ['width 999', 'tile/0/000.p/999'],
    ['width with leading zero', 'tile/0/000.p/08'],
    ['width missing', 'tile/0/000.p/'],
    ['width missing with its slash', 'tile/0/000.p'],
    ['negative width', 'tile/0/000.p/-1'],
    ['two widths', 'tile/0/000.p/1.p/1'],
    ['level 64', 'tile/64/000'],
    ['level 100', 'tile/100/000'],
    ['level with leading zero', 'tile/00/000'],
    ['negative level', 'tile/-1/000'],
    ['level missing', 'tile//000'],
    ['index missing', 'tile/0/'],
    ['entries', 'tile/entries/000'],
    ['other prefix', 'tiles/0/000'],
    ['hexadecimal index', 'tile/0/00a'],
    ['digits of another script', 'tile/0/٠٠٠'],
    ['dots', 'tile/0/../000'],
    ['percent sign', 'tile/0/%30%30%30'],
    ['index above 2^63-1', 'tile/0/x009/x223/x372/x036/x854/x775/808'],
    ['eight groups', 'tile/0/x001/x000/x000/x000/x000/x000/x000/000'],
  ])('rejects %s', (_name, path) => {
    expect(() => parseTilePath(path)).toThrow(badPath);
  });

  it('rejects a long path without looking into it', () => {
    expect(() => parseTilePath(`tile/0/${'x001/'.repeat(100_000)}000`)).toThrow(/characters, at most 64$/);
  });

  const anyIndex = fc.oneof(fc.bigInt(0n, 2000n), fc.bigInt(0n, MAX_TREE_SIZE));

  it('gives back any tile', () => {
    const anyTile = fc.record({
      level: fc.integer({ min: 0, max: 63 }),
      index: anyIndex,
      width: fc.integer({ min: 1, max: 256 }),
    });
    fc.assert(
      fc.property(anyTile, (tile) => {
        expect(parseTilePath(encodeTilePath(tile))).toEqual(tile);
      }),
    );
  });

  it('accepts only the spelling that encodeTilePath() gives, and else throws MerkleError', () => {
    const likePath = fc
      .array(fc.constantFrom('tile/', '0', '1', '6', '9', 'x', '/', '00', '000', '.p/', 'entries', '-', '\n'), {
        maxLength: 9,
      })
      .map((parts) => `tile/${parts.join('')}`);
    fc.assert(
      fc.property(fc.oneof(fc.string(), likePath), (path) => {
        let tile: Tile;
        try {
          tile = parseTilePath(path);
        } catch (error) {
          expect(error).toBeInstanceOf(MerkleError);
          return;
        }
        expect(encodeTilePath(tile)).toBe(path);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('entryBundlePath()', () => {
  it.each([
    [0n, 17, 'tile/entries/000.p/17'],
    [1000n, 256, 'tile/entries/x001/000'],
  ])('bundle %s of width %i is %s, both ways', (index, width, path) => {
    expect(entryBundlePath(index, width)).toBe(path);
    expect(parseEntryBundlePath(path)).toEqual({ index, width });
  });

  it('says `data` for logs of certificates, and does not mix the two', () => {
    expect(entryBundlePath(273n, 112, 'data')).toBe('tile/data/273.p/112');
    expect(parseEntryBundlePath('tile/data/273.p/112', 'data')).toEqual({ index: 273n, width: 112 });
    expect(() => parseEntryBundlePath('tile/data/273.p/112')).toThrow(badPath);
    expect(() => parseEntryBundlePath('tile/entries/273.p/112', 'data')).toThrow(badPath);
    expect(entryBundlePath(1000n, 256, 'annex')).toBe('tile/annex/x001/000');
    expect(parseEntryBundlePath('tile/annex/x001/000', 'annex')).toEqual({ index: 1000n, width: 256 });
    expect(() => parseEntryBundlePath('tile/annex/x001/000')).toThrow(badPath);
  });

  it.each(['tile/entries/x000/001', 'tile/entries/000.p/256', 'tile/entries/', 'tile/0/000', 'x'.repeat(65)])(
    'rejects %s',
    (path) => {
      expect(() => parseEntryBundlePath(path)).toThrow(badPath);
    },
  );
});

describe('parseTileIndex()', () => {
  it.each(['', '0', 'x001', '000/000', 'x000/000', '000.p/1', ' 000', '0'.repeat(100)])('rejects "%s"', (text) => {
    expect(() => parseTileIndex(text)).toThrow(badPath);
  });
});
