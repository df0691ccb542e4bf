import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { counting, hex, nodes, sha256, utf8 } from '../../../test/vectors/merkle/reference.js';
import {
  CompactRange,
  edgeNodes,
  encodeEntryBundle,
  encodeTilePath,
  entryBundlePath,
  hashFromTile,
  inclusionNodes,
  leafHash,
  MAX_TREE_SIZE,
  type MerkleError,
  partialWidth,
  proveConsistency,
  proveInclusion,
  readNodesFromTiles,
  rootFromNodes,
  TILE_WIDTH,
  tileForNode,
  tileOfSize,
  tilesForNodes,
  tilesOfSize,
  verifyConsistency,
  verifyInclusion,
} from './index.js';

const known = JSON.parse(
  readFileSync(new URL('../../../test/vectors/merkle/counting-tree.json', import.meta.url), 'utf8'),
) as {
  roots: { size: number; root: string }[];
  inclusion: { index: number; size: number; length: number; first?: string }[];
  consistency: { first: number; second: number; length: number; hash?: string }[];
  tiles: { path: string; bytes: number; sha256: string }[];
  bundles: { path: string; bytes: number; sha256: string }[];
};

/** A log that keeps its tree in tiles, as a sequencer does: hashes of levels 0, 8, 16 … in rows of 256. */
class TileLog {
  readonly range = CompactRange.empty(sha256);
  readonly files = new Map<string, Uint8Array>();
  readonly #rows = new Map<string, Uint8Array[]>();

  /** Appends a batch and writes the tiles it touched. */
  append(leaves: readonly Uint8Array[]): void {
    const from = this.range.size;
    for (const leaf of leaves) {
      this.range.append(leaf, (level, index, hash) => {
        if (level % 8 !== 0) return;
        const name = `${level / 8}/${index >> 8n}`;
        this.#rows.set(name, [...(this.#rows.get(name) ?? []), hash]);
      });
    }
    for (const tile of tilesOfSize(this.range.size, from)) {
      const bytes = Buffer.concat(this.#rows.get(`${tile.level}/${tile.index}`) ?? []);
      expect(bytes.length).toBe(32 * tile.width);
      this.files.set(encodeTilePath(tile), bytes);
    }
  }

  /** Reads what a client that knows a checkpoint of `size` can read. */
  readNode(size: bigint): ReturnType<typeof readNodesFromTiles> {
    return readNodesFromTiles(sha256, (level, index) => {
      const file = this.files.get(encodeTilePath(tileOfSize(level, index, size)));
      if (file === undefined) throw new Error(`Cannot read tile ${level}/${index}: absent at size ${size}`);
      return file;
    });
  }
}

const leaves = Array.from({ length: 70_000 }, (_, index) => leafHash(sha256, utf8(index.toString())));

describe('the counting tree', () => {
  const log = new TileLog();
  const sizes = known.roots.map(({ size }) => size);
  const roots = new Map<number, string>();
  for (const size of sizes) {
    log.append(leaves.slice(Number(log.range.size), size));
    roots.set(size, hex(log.range.root()));
  }

  it.each(known.roots)('has the known root at size $size', ({ size, root }) => {
    expect(roots.get(size)).toBe(root);
    expect(hex(rootFromNodes(sha256, BigInt(size), log.readNode(BigInt(size))))).toBe(root);
  });

  it.each(known.tiles)('has the known tile $path', ({ path, bytes, sha256: digest }) => {
    const file = log.files.get(path) as Uint8Array;
    expect(file.length).toBe(bytes);
    expect(hex(sha256(file))).toBe(digest);
  });

  it.each(known.bundles)('has the known entry bundle $path', ({ path, bytes, sha256: digest }) => {
    const [index, width] = path.endsWith('.p/112') ? [273, 112] : [0, TILE_WIDTH];
    expect(entryBundlePath(BigInt(index), width)).toBe(path);
    const entries = Array.from({ length: width }, (_, at) => utf8((256 * index + at).toString()));
    const bundle = encodeEntryBundle(entries);
    expect(bundle.length).toBe(bytes);
    expect(hex(sha256(bundle))).toBe(digest);
  });

  it.each(known.inclusion)('proves entry $index of $size with $length hashes', ({ index, size, length, first }) => {
    const [at, of] = [BigInt(index), BigInt(size)];
    // Sizes that were never published have no partial tiles of their own; the last tree has them all.
    const proof = proveInclusion(sha256, at, of, log.readNode(roots.has(size) ? of : 70_000n));
    expect(proof).toHaveLength(length);
    if (first !== undefined) expect(hex(proof[0] as Uint8Array).slice(0, 16)).toBe(first);
    const root = Buffer.from(roots.get(size) as string, 'hex');
    verifyInclusion(sha256, { index: at, size: of, leafHash: leaves[index] as Uint8Array, proof, root });
  });

  it.each(known.consistency)('proves $first to $second with $length hashes', ({ first, second, length, hash }) => {
    const readNode = log.readNode(BigInt(second));
    const proof = proveConsistency(sha256, BigInt(first), BigInt(second), readNode);
    expect(proof).toHaveLength(length);
    if (hash !== undefined) expect(hex(proof[0] as Uint8Array).slice(0, 16)).toBe(hash);
    const [firstRoot, secondRoot] = [first, second].map((size) => rootFromNodes(sha256, BigInt(size), readNode));
    verifyConsistency(sha256, {
      first: BigInt(first),
      second: BigInt(second),
      firstRoot: firstRoot as Uint8Array,
      secondRoot: secondRoot as Uint8Array,
      proof,
    });
  });

  it('does not verify after one bit of a tile is flipped', () => {
    const file = new Uint8Array(log.files.get('tile/0/000') as Uint8Array);
    file[32 * 7] = (file[32 * 7] as number) ^ 1;
    const readNode = readNodesFromTiles(sha256, (level, index) =>
      level === 0 && index === 0n
        ? file
        : (log.files.get(encodeTilePath(tileOfSize(level, index, 70_000n))) as Uint8Array),
    );
    const proof = proveInclusion(sha256, 6n, 70_000n, readNode);
    const claim = { index: 6n, size: 70_000n, leafHash: leaves[6] as Uint8Array, proof, root: log.range.root() };
    expect(() => verifyInclusion(sha256, claim)).toThrow(
      expect.objectContaining({ code: 'MERKLE_ROOT_MISMATCH' }) as MerkleError,
    );
  });
});

describe('a log in tiles', () => {
  it('has identical tiles however its entries were split into batches', () => {
    const total = 1000;
    const whole = new TileLog();
    whole.append(leaves.slice(0, total));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 12 }), (batches) => {
        const split = new TileLog();
        for (const batch of [...batches, total]) {
          const from = Number(split.range.size);
          split.append(leaves.slice(from, Math.min(total, from + batch)));
        }
        expect(hex(split.range.root())).toBe(hex(whole.range.root()));
        // Partial tiles of sizes in between are files of their own; nothing is missing and nothing differs.
        for (const [path, bytes] of whole.files) expect(hex(split.files.get(path) as Uint8Array)).toBe(hex(bytes));
      }),
      { numRuns: 20 },
    );
  });

  it('gives back the root of every size it published', () => {
    const log = new TileLog();
    const published: [bigint, string][] = [];
    for (const batch of [1, 1, 3, 250, 1, 1, 254, 1, 2, 500]) {
      const from = Number(log.range.size);
      log.append(leaves.slice(from, from + batch));
      published.push([log.range.size, hex(log.range.root())]);
    }
    for (const [size, root] of published) expect(hex(rootFromNodes(sha256, size, log.readNode(size)))).toBe(root);
  });

  it('reads from a full tile where the partial one is gone', () => {
    const log = new TileLog();
    log.append(leaves.slice(0, 256));
    const readFull = readNodesFromTiles(sha256, () => log.files.get('tile/0/000') as Uint8Array);
    expect(hex(rootFromNodes(sha256, 100n, readFull))).toBe(hex(counting()(0n, 100n)));
  });
});

describe('partialWidth()', () => {
  it.each<[bigint, number[]]>([
    [0n, [0, 0]],
    [255n, [255, 0]],
    [256n, [0, 1, 0]],
    [257n, [1, 1]],
    [65535n, [255, 255, 0]],
    [65536n, [0, 0, 1]],
    [65537n, [1, 0, 1]],
    [70_000n, [112, 17, 1, 0]],
    [16_777_215n, [255, 255, 255, 0]],
    [16_777_216n, [0, 0, 0, 1]],
    [2n ** 53n + 1n, [1, 0, 0, 0, 0, 0, 32]],
  ])('of a tree of size %s by level: %j', (size, widths) => {
    expect(widths.map((_, level) => partialWidth(level, size))).toEqual(widths);
  });
});

describe('tilesOfSize()', () => {
  const paths = (size: bigint, from?: bigint): string[] => [...tilesOfSize(size, from)].map(encodeTilePath);

  it.each<[bigint, string[]]>([
    [0n, []],
    [1n, ['tile/0/000.p/1']],
    [256n, ['tile/0/000', 'tile/1/000.p/1']],
    [257n, ['tile/0/000', 'tile/0/001.p/1', 'tile/1/000.p/1']],
  ])('of size %s: %j', (size, expected) => {
    expect(paths(size)).toEqual(expected);
  });

  it('has 273 full tiles and one of width 112 at level 0 of size 70000', () => {
    const tiles = [...tilesOfSize(70_000n)];
    expect(tiles.filter(({ level, width }) => level === 0 && width === TILE_WIDTH)).toHaveLength(273);
    expect(tiles.filter(({ width }) => width !== TILE_WIDTH).map(encodeTilePath)).toEqual([
      ...['tile/0/273.p/112', 'tile/1/001.p/17', 'tile/2/000.p/1'],
    ]);
  });

  it('from an earlier size lists only what changed', () => {
    expect(paths(260n, 258n)).toEqual(['tile/0/001.p/4']);
    expect(paths(512n, 500n)).toEqual(['tile/0/001', 'tile/1/000.p/2']);
    expect(paths(600n, 600n)).toEqual([]);
  });

  it('from an earlier size leaves out exactly the tiles that both trees have', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 70_000n), fc.bigInt(0n, 3000n), (from, more) => {
        const before = new Set(paths(from));
        expect(paths(from + more, from)).toEqual(paths(from + more).filter((path) => !before.has(path)));
      }),
      { numRuns: 30 },
    );
  });

  it.each<[bigint, bigint]>([
    [5n, 6n],
    [5n, -1n],
    [-1n, 0n],
    [MAX_TREE_SIZE + 1n, 0n],
  ])('refuses size %s from %s', (size, from) => {
    expect(() => [...tilesOfSize(size, from)]).toThrow(
      expect.objectContaining({ code: 'MERKLE_SIZE_RANGE' }) as MerkleError,
    );
  });
});

describe('tileOfSize()', () => {
  it('gives the width that the tile has in this tree', () => {
    expect(tileOfSize(0, 0n, 300n).width).toBe(TILE_WIDTH);
    expect(tileOfSize(0, 1n, 300n).width).toBe(44);
    expect(tileOfSize(1, 0n, 300n).width).toBe(1);
  });

  it.each<[number, bigint, bigint]>([
    [0, 2n, 512n],
    [0, 0n, 0n],
    [1, 0n, 255n],
    [0, -1n, 300n],
  ])('refuses tile %i/%s of size %s', (level, index, size) => {
    expect(() => tileOfSize(level, index, size)).toThrow(
      expect.objectContaining({ code: 'MERKLE_INDEX_RANGE' }) as MerkleError,
    );
  });
});

describe('tileForNode()', () => {
  it.each([
    [0, 0n, { level: 0, index: 0n, offset: 0, count: 1 }],
    [0, 70_000n, { level: 0, index: 273n, offset: 112, count: 1 }],
    [7, 3n, { level: 0, index: 1n, offset: 128, count: 128 }],
    [8, 3n, { level: 1, index: 0n, offset: 3, count: 1 }],
    [11, 2n ** 42n + 33n, { level: 1, index: 2n ** 37n + 1n, offset: 8, count: 8 }],
    [62, 1n, { level: 7, index: 0n, offset: 64, count: 64 }],
  ])('node (%i, %s)', (level, index, slice) => {
    expect(tileForNode(level, index)).toEqual(slice);
  });

  it('names a place inside the tree for each node of a proof', () => {
    fc.assert(
      fc.property(fc.bigInt(1n, MAX_TREE_SIZE), fc.bigInt(0n, MAX_TREE_SIZE), (size, any) => {
        for (const node of inclusionNodes(any % size, size).flat()) {
          const { level, index, offset, count } = tileForNode(node.level, node.index);
          expect(offset + count).toBeLessThanOrEqual(tileOfSize(level, index, size).width);
        }
      }),
    );
  });
});

describe('tilesForNodes()', () => {
  it('names each tile once', () => {
    const needed = tilesForNodes(inclusionNodes(12_345n, 70_000n).flat(), 70_000n);
    expect(needed.map(encodeTilePath).sort()).toEqual([
      ...['tile/0/048', 'tile/0/273.p/112', 'tile/1/000', 'tile/1/001.p/17'],
    ]);
  });

  it('needs one tile a level for the edge', () => {
    expect(tilesForNodes(edgeNodes(70_000n), 70_000n).map(encodeTilePath).sort()).toEqual([
      ...['tile/0/273.p/112', 'tile/1/001.p/17', 'tile/2/000.p/1'],
    ]);
  });
});

describe('hashFromTile()', () => {
  const tile = Buffer.concat(leaves.slice(0, 256));

  it('folds each subtree inside a tile', () => {
    const readNode = nodes(counting());
    for (let level = 0; level <= 8; level++) {
      for (let index = 0; index < 256 >> level; index++) {
        const hash = hashFromTile(sha256, tile, index << level, 1 << level);
        if (hex(hash) !== hex(readNode(level, BigInt(index)))) expect.fail(`node (${level}, ${index})`);
      }
    }
  });

  it('leaves the tile as it was and gives 32 bytes of its own', () => {
    const before = hex(tile);
    const hash = hashFromTile(sha256, tile, 0, 256);
    expect(hash.buffer.byteLength).toBe(32);
    hashFromTile(sha256, tile, 3, 1).fill(0);
    expect(hex(tile)).toBe(before);
  });

  it('rejects a tile that is too short for the subtree', () => {
    const partial = tile.subarray(0, 32 * 5);
    expect(hex(hashFromTile(sha256, partial, 4, 1))).toBe(hex(leaves[4] as Uint8Array));
    expect(() => hashFromTile(sha256, partial, 4, 2)).toThrow('Cannot read tile: it has 5 hashes, needs 6');
    expect(() => hashFromTile(sha256, partial, 4, 4)).toThrow(
      expect.objectContaining({ code: 'MERKLE_TILE_SHORT' }) as MerkleError,
    );
  });

  it.each([1, 31, 33, 8191, 8193, 8224])('rejects a tile of %i bytes', (length) => {
    expect(() => hashFromTile(sha256, new Uint8Array(length), 0, 1)).toThrow(
      expect.objectContaining({ code: 'MERKLE_HASH_LENGTH' }) as MerkleError,
    );
  });

  it.each([
    [0, 3],
    [1, 2],
    [-1, 1],
    [0, 0],
    [0, 0.5],
  ])('treats offset %i and count %d as a mistake of the caller', (offset, count) => {
    expect(() => hashFromTile(sha256, tile, offset, count)).toThrow(/are not a subtree$/);
  });
});
