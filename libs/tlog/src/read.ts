import {
  encodeTilePath,
  HASH_LENGTH,
  MerkleError,
  type NodeId,
  TILE_WIDTH,
  tileOfSize,
  tilesForNodes,
} from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { corrupt } from './errors.js';
import { NodeReader, TileNodes } from './nodes.js';
import { selectRecords, selectTile } from './rows.js';
import { fullTiles, type Snapshot } from './snapshot.js';
import { objectPath, type TreeState } from './state.js';

// Rows leave the database only after the object that replaces them is durable. So whoever finds no row finds the
// object, and never has to look twice.

/**
 * A full tile, from memory, the database or the object store.
 * @throws TlogError `TLOG_CORRUPT` if it is gone or no tile
 */
export async function readFullTile(tree: TreeState, level: number, index: bigint): Promise<TileNodes> {
  const cached = tree.tiles.get(level, index);
  if (cached !== undefined) return cached;
  const isObject = index < tree.durableBundles >> BigInt(8 * level);
  const row = isObject ? undefined : await selectTile(tree.store.read, tree.id, level, index);
  const nodes =
    row?.hashes.length === TILE_WIDTH * HASH_LENGTH
      ? new TileNodes(sha256, row.hashes)
      : await readTileObject(tree, level, index);
  tree.tiles.set(level, index, nodes);
  return nodes;
}

/** @throws TlogError `TLOG_CORRUPT` */
export async function readTileObject(tree: TreeState, level: number, index: bigint): Promise<TileNodes> {
  const path = encodeTilePath({ level, index, width: TILE_WIDTH });
  const bytes = await readObject(tree, path);
  if (bytes.length !== TILE_WIDTH * HASH_LENGTH) {
    throw corrupt(
      { tree: tree.name, at: objectPath(tree, path) },
      `has ${bytes.length} bytes, not the ${TILE_WIDTH * HASH_LENGTH} of a full tile`,
    );
  }
  return new TileNodes(sha256, bytes);
}

/** The tile at a place of the tree at `head`; the one at the end of a level is partial. */
export async function readTileNodes(tree: TreeState, head: Snapshot, level: number, index: bigint): Promise<TileNodes> {
  if (index < fullTiles(level, head.size)) return readFullTile(tree, level, index);
  return new TileNodes(sha256, head.edge[level] ?? new Uint8Array(0));
}

/** The tiles that hold these perfect subtrees of the tree at `head`. */
export async function loadNodes(tree: TreeState, head: Snapshot, nodes: readonly NodeId[]): Promise<NodeReader> {
  const reader = new NodeReader();
  for (const { level, index } of tilesForNodes(nodes, head.size)) {
    reader.set(level, index, await readTileNodes(tree, head, level, index));
  }
  return reader;
}

/**
 * The records [from, to) of a bundle; the tree has to reach that far.
 * @throws TlogError `TLOG_CORRUPT`
 */
export async function readBundleRecords(tree: TreeState, bundle: bigint, to: number, from = 0): Promise<Uint8Array[]> {
  if (bundle >= tree.durableBundles) {
    const first = bundle * BigInt(TILE_WIDTH);
    const [start, end] = [first + BigInt(from), first + BigInt(to)];
    const rows = await selectRecords(tree.store.read, tree.id, start, end);
    if (rows.length === to - from) return rows;
    // Filled and moved to the objects since `head` was read: else there is neither row nor object.
    if (!(await tree.objects.has(objectPath(tree, tree.format.bundlePath(bundle, TILE_WIDTH))))) {
      const at = `entry rows ${start} to ${end - 1n}`;
      throw corrupt({ tree: tree.name, at }, `are ${rows.length}, not ${to - from}`);
    }
  }
  return readBundleObject(tree, bundle, { from, to });
}

/**
 * Records of a full bundle, from bundle and sidecar as stored; all 256 if not said otherwise.
 * @throws TlogError `TLOG_CORRUPT`, which names the object
 */
export async function readBundleObject(
  tree: TreeState,
  bundle: bigint,
  range: { from: number; to: number } = { from: 0, to: TILE_WIDTH },
): Promise<Uint8Array[]> {
  const { bundlePath, parseBundle, sidecar } = tree.format;
  const [bytes, beside] = await Promise.all([
    readObject(tree, bundlePath(bundle, TILE_WIDTH)),
    sidecar && readObject(tree, sidecar.path(bundle, TILE_WIDTH)),
  ]);
  let at = bundlePath(bundle, TILE_WIDTH);
  try {
    const parts = parseBundle(bytes, TILE_WIDTH);
    if (sidecar === undefined || beside === undefined) return parts.slice(range.from, range.to);
    at = sidecar.path(bundle, TILE_WIDTH);
    return sidecar.join(parts, beside, range);
  } catch (error) {
    throw corrupt({ tree: tree.name, at: objectPath(tree, at) }, 'is not of a full bundle', { cause: error });
  }
}

/**
 * The bytes of an object that must be there, by its path below the tree's folder.
 * @throws TlogError `TLOG_CORRUPT`
 */
export async function readObject(tree: TreeState, path: string): Promise<Uint8Array> {
  const at = objectPath(tree, path);
  const bytes = await tree.objects.get(at);
  if (bytes === undefined) throw corrupt({ tree: tree.name, at }, 'is missing');
  return bytes;
}

/** How wide the tile or bundle at a place is in a tree of `size` entries; 0 if it is beyond. */
export function widthAt(level: number, index: bigint, size: bigint): number {
  if (index < 0n || level < 0 || level > 7) return 0;
  try {
    return tileOfSize(level, index, size).width;
  } catch (error) {
    if (error instanceof MerkleError && error.code === 'MERKLE_INDEX_RANGE') return 0;
    throw error;
  }
}
