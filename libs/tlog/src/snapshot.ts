import { equalBytes } from '#libs/encoding';
import {
  CompactRange,
  edgeNodes,
  HASH_LENGTH,
  partialWidth,
  rootFromNodes,
  TILE_HEIGHT,
  TILE_WIDTH,
} from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { corrupt } from './errors.js';
import { NodeReader, TileNodes } from './nodes.js';
import type { Head, StoredTile } from './rows.js';

/** A tree as of one signed head: all that is needed to append to it. Never changed; a batch makes the next one. */
export interface Snapshot extends Head {
  /** The partial tile at the end of each level; without hashes where a level ends with a full tile. */
  readonly edge: readonly Uint8Array[];
  /** The perfect subtrees whose fold is the root. Copied before it is appended to. */
  readonly range: CompactRange;
}

/** How many levels of tiles a tree of `size` entries has. */
export function tileLevels(size: bigint): number {
  let levels = 0;
  while (size > 0n) {
    levels++;
    size >>= BigInt(TILE_HEIGHT);
  }
  return levels;
}

/** The index of the tile at the end of `level`: the partial one, or the next to be begun. So many are full. */
export function fullTiles(level: number, size: bigint): bigint {
  return size >> BigInt(TILE_HEIGHT * (level + 1));
}

/** A tree without entries and without a checkpoint. */
export function emptyRange(): CompactRange {
  return CompactRange.empty(sha256);
}

/**
 * A head and its edge out of the database, proven to belong together: the tiles have the widths that the size asks for
 * and fold to the root.
 * @throws TlogError `TLOG_CORRUPT`
 */
export function snapshotFromRows(tree: string, head: Head, rows: readonly StoredTile[]): Snapshot {
  const edge = edgeFromRows(tree, head.size, rows);
  const nodes = new NodeReader();
  edge.forEach((bytes, level) => nodes.set(level, fullTiles(level, head.size), new TileNodes(sha256, bytes)));
  const range = CompactRange.from(
    sha256,
    head.size,
    edgeNodes(head.size).map(({ level, index }) => nodes.read(level, index)),
  );
  if (!equalBytes(rootFromNodes(sha256, head.size, nodes.read), head.rootHash)) {
    throw corrupt({ tree, at: 'edge rows' }, `of size ${head.size} do not fold to the root hash of the head`);
  }
  return { ...head, edge, range };
}

/**
 * The partial tiles by level, each at its place and of its width.
 * @throws TlogError `TLOG_CORRUPT`
 */
export function edgeFromRows(tree: string, size: bigint, rows: readonly StoredTile[]): Uint8Array[] {
  const edge = Array.from({ length: tileLevels(size) }, (_, level) => {
    const index = fullTiles(level, size);
    const width = partialWidth(level, size);
    const hashes = rows.find((row) => row.level === level && row.index === index)?.hashes ?? new Uint8Array(0);
    if (hashes.length !== width * HASH_LENGTH) {
      throw corrupt(
        { tree, at: edgeRow(level, index) },
        `has ${hashes.length} bytes, not the ${width * HASH_LENGTH} of a tree of size ${size}`,
      );
    }
    return hashes;
  });
  const partial = edge.filter((hashes) => hashes.length > 0).length;
  const foreign = rows.find((row) => row.level >= edge.length || row.index !== fullTiles(row.level, size));
  if (foreign !== undefined || rows.length !== partial) {
    const at = foreign === undefined ? 'edge rows' : edgeRow(foreign.level, foreign.index);
    throw corrupt({ tree, at }, `do not belong to a tree of size ${size}`);
  }
  return edge;
}

/** How messages name a row of the edge. */
export function edgeRow(level: number, index: bigint): string {
  return `edge row ${level}/${index}`;
}

/**
 * Appends leaf hashes to a tree. `tiles` are those that changed: full ones and the new partial one of each level
 * touched. The work depends on the batch, not on the size of the tree.
 */
export function growEdge(
  before: Snapshot,
  leafHashes: readonly Uint8Array[],
): { range: CompactRange; edge: Uint8Array[]; tiles: StoredTile[] } {
  const range = before.range.copy();
  const tiles = new Map<string, StoredTile & { width: number }>();
  for (const leafHash of leafHashes) {
    range.append(leafHash, (level, index, hash) => {
      // Only every eighth level is stored; what lies between is folded again when it is asked for.
      if (level % TILE_HEIGHT !== 0) return;
      const tileLevel = level / TILE_HEIGHT;
      const tile = tileOf(tiles, before, tileLevel, index / BigInt(TILE_WIDTH));
      tile.hashes.set(hash, tile.width * HASH_LENGTH);
      tile.width++;
    });
  }
  const changed = [...tiles.values()].map(({ level, index, hashes, width }) => ({
    level,
    index,
    hashes: hashes.slice(0, width * HASH_LENGTH),
  }));
  const edge = Array.from({ length: tileLevels(range.size) }, (_, level) => {
    const index = fullTiles(level, range.size);
    if (partialWidth(level, range.size) === 0) return new Uint8Array(0);
    const tile = changed.find((each) => each.level === level && each.index === index);
    return tile?.hashes ?? before.edge[level] ?? new Uint8Array(0);
  });
  return { range, edge, tiles: changed };
}

/** The tile being filled; begun with what the edge has of it. */
function tileOf(
  tiles: Map<string, StoredTile & { width: number }>,
  before: Snapshot,
  level: number,
  index: bigint,
): StoredTile & { width: number } {
  const name = `${level}/${index}`;
  let tile = tiles.get(name);
  if (tile === undefined) {
    const begun = index === fullTiles(level, before.size) ? before.edge[level] : undefined;
    tile = { level, index, hashes: new Uint8Array(TILE_WIDTH * HASH_LENGTH), width: 0 };
    if (begun !== undefined) {
      tile.hashes.set(begun);
      tile.width = begun.length / HASH_LENGTH;
    }
    tiles.set(name, tile);
  }
  return tile;
}
