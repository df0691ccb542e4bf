import { MerkleError } from './error.js';
import { adjacentNodeHash, HASH_LENGTH, type Sha256 } from './hash.js';
import { checkSize, type NodeId, type ReadNode } from './node.js';

/** Levels of the tree in one tile. @see C2SP tlog-tiles, "Merkle Tree" */
export const TILE_HEIGHT = 8;
/** Hashes in a full tile. */
export const TILE_WIDTH = 256;

/**
 * 256 neighbouring hashes of one level, or fewer at the tree's edge. Tile (L, n) holds the perfect subtrees (8L,
 * 256n) … (8L, 256n + width - 1); its file is their hashes one after the other. `width` is 1 to 256.
 */
export interface Tile {
  level: number;
  index: bigint;
  width: number;
}

/**
 * Where a perfect subtree is stored: `count` hashes of tile (level, index) from hash number `offset`, to be folded to
 * one.
 */
export interface TileSlice {
  level: number;
  index: bigint;
  offset: number;
  count: number;
}

/**
 * How many hashes the partial tile at the end of `level` has in a tree of `size` entries; 0 if that level ends with a
 * full tile, or has none.
 * @throws MerkleError `MERKLE_SIZE_RANGE`
 */
export function partialWidth(level: number, size: bigint): number {
  return Number(hashesAtLevel(level, size) % BigInt(TILE_WIDTH));
}

/**
 * The tile at a place in a tree of `size` entries, with the width that it has there.
 * @throws MerkleError `MERKLE_SIZE_RANGE`; `MERKLE_INDEX_RANGE` if the tree does not reach it
 */
export function tileOfSize(level: number, index: bigint, size: bigint): Tile {
  const left = hashesAtLevel(level, size) - index * BigInt(TILE_WIDTH);
  if (index < 0n || left <= 0n) {
    throw new MerkleError(
      'MERKLE_INDEX_RANGE',
      `Cannot find tile ${level}/${index}: the tree of size ${size} does not reach it`,
    );
  }
  return { level, index, width: left >= BigInt(TILE_WIDTH) ? TILE_WIDTH : Number(left) };
}

/**
 * The tiles of a tree of `size` entries, lowest level first; with `from`, only those that the tree of `from` entries
 * lacks or has at another width: what a log that grows from one published size to the next has to write.
 * @throws MerkleError `MERKLE_SIZE_RANGE`
 */
export function* tilesOfSize(size: bigint, from = 0n): Generator<Tile> {
  checkSize(size, 'Cannot list tiles');
  if (from < 0n || from > size) {
    throw new MerkleError(
      'MERKLE_SIZE_RANGE',
      `Cannot list tiles from size ${from} to ${size}: the tree cannot shrink`,
    );
  }
  for (let level = 0; hashesAtLevel(level, size) > 0n; level++) {
    const before = hashesAtLevel(level, from);
    const after = hashesAtLevel(level, size);
    if (before === after) continue;
    const end = (after - 1n) / BigInt(TILE_WIDTH);
    for (let index = before / BigInt(TILE_WIDTH); index <= end; index++) yield tileOfSize(level, index, size);
  }
}

/**
 * Where the hash of a perfect subtree is found. Of levels between two tiles only the parts are stored: up to 128
 * hashes.
 */
export function tileForNode(level: number, index: bigint): TileSlice {
  const height = level % TILE_HEIGHT;
  const above = BigInt(TILE_HEIGHT - height);
  return {
    level: (level - height) / TILE_HEIGHT,
    index: index >> above,
    offset: Number(index & ((1n << above) - 1n)) << height,
    count: 1 << height,
  };
}

/**
 * The tiles that hold the given perfect subtrees in a tree of `size` entries, each once, for those who fetch them
 * together.
 * @throws MerkleError `MERKLE_SIZE_RANGE`, `MERKLE_INDEX_RANGE`
 */
export function tilesForNodes(nodes: Iterable<NodeId>, size: bigint): Tile[] {
  const tiles = new Map<string, Tile>();
  for (const node of nodes) {
    const { level, index } = tileForNode(node.level, node.index);
    tiles.set(`${level}/${index}`, tileOfSize(level, index, size));
  }
  return [...tiles.values()];
}

/**
 * The hash over `count` (1, 2, 4 … 256) neighbouring hashes of a tile, from number `offset`, a multiple of `count`.
 * The whole of a full tile is the one hash that goes to the level above.
 * @throws MerkleError `MERKLE_TILE_SHORT` if the tile has fewer hashes, `MERKLE_HASH_LENGTH` if it is not a row of
 * 32-byte hashes
 */
export function hashFromTile(sha256: Sha256, tile: Uint8Array, offset: number, count: number): Uint8Array {
  if (tile.length % HASH_LENGTH !== 0 || tile.length > TILE_WIDTH * HASH_LENGTH) {
    throw new MerkleError(
      'MERKLE_HASH_LENGTH',
      `Cannot read tile: ${tile.length} bytes are not a row of at most ${TILE_WIDTH} hashes`,
    );
  }
  if (![1, 2, 4, 8, 16, 32, 64, 128, 256].includes(count) || offset < 0 || offset % count !== 0) {
    throw new Error(`Cannot read tile: ${count} hashes from number ${offset} are not a subtree`);
  }
  const width = tile.length / HASH_LENGTH;
  if (offset + count > width) {
    throw new MerkleError('MERKLE_TILE_SHORT', `Cannot read tile: it has ${width} hashes, needs ${offset + count}`);
  }
  // Copies are made by constructor: `slice` of a Buffer, which a store may well give us, is a view.
  let row = new Uint8Array(tile.subarray(offset * HASH_LENGTH, (offset + count) * HASH_LENGTH));
  while (row.length > HASH_LENGTH) {
    // The row above overwrites the front of this one, which is already hashed.
    const above = row.subarray(0, row.length / 2);
    for (let at = 0; at < above.length; at += HASH_LENGTH) above.set(adjacentNodeHash(sha256, row, 2 * at), at);
    row = above;
  }
  // Its own 32 bytes: a view would keep the whole row alive.
  return count === 1 ? row : new Uint8Array(row);
}

/**
 * Reads perfect subtrees out of tiles. `readTile` gives the bytes of a tile, wide enough for the tree at hand; a
 * wider one does no harm.
 */
export function readNodesFromTiles(sha256: Sha256, readTile: (level: number, index: bigint) => Uint8Array): ReadNode {
  return (level, index) => {
    const slice = tileForNode(level, index);
    return hashFromTile(sha256, readTile(slice.level, slice.index), slice.offset, slice.count);
  };
}

/** How many complete subtrees of tile level `level` a tree has: only those are ever stored. */
function hashesAtLevel(level: number, size: bigint): bigint {
  checkSize(size, 'Cannot find tiles');
  return size >> BigInt(TILE_HEIGHT * level);
}
