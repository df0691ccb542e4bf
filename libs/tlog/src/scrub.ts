import { equalBytes } from '#libs/encoding';
import { encodeTilePath, HASH_LENGTH, leafHash, TILE_WIDTH } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { corrupt, type Place } from './errors.js';
import { TileNodes } from './nodes.js';
import { readBundleObject, readTileObject } from './read.js';
import { selectTile } from './rows.js';
import { edgeRow, fullTiles, type Snapshot } from './snapshot.js';
import { objectPath, type TreeState } from './state.js';

// Objects are read past every cache here: what counts is what is stored now.

/**
 * Compares one full bundle and the tiles that end with it, as stored, with the tiles above them: bundle ↔ level-0 tile
 * ↔ its hash in level 1, and so on as long as the tile is the last below its parent. Going through all bundles so
 * compares every stored byte with the signed root.
 * @throws TlogError `TLOG_CORRUPT`, which names the object and the entry
 */
export async function checkBundle(tree: TreeState, head: Snapshot, bundle: bigint): Promise<void> {
  const tile = await checkFullTile(tree, head, 0, bundle);
  const records = await readBundleObject(tree, bundle);
  checkRecords(tree, objectPath(tree, tree.format.bundlePath(bundle, TILE_WIDTH)), bundle, records, tile);
  const last = BigInt(TILE_WIDTH - 1);
  for (let level = 1, index = bundle; (index & last) === last; level++) {
    index /= BigInt(TILE_WIDTH);
    await checkFullTile(tree, head, level, index);
  }
}

/**
 * Each record must have the leaf hash that the tile holds. `at` names where the records come from.
 * @throws TlogError `TLOG_CORRUPT`
 */
export function checkRecords(
  tree: TreeState,
  at: string,
  bundle: bigint,
  records: readonly Uint8Array[],
  tile: TileNodes,
): void {
  records.forEach((record, place) => {
    const index = bundle * BigInt(TILE_WIDTH) + BigInt(place);
    checkLeaf(tree, { tree: tree.name, at, index }, record, tile.leaf(place));
  });
}

/**
 * A stored record must have the leaf hash of its place in the tree. What the format cannot read any more has none.
 * @throws TlogError `TLOG_CORRUPT`
 */
export function checkLeaf(
  tree: TreeState,
  place: Place,
  record: Uint8Array | undefined,
  hash: Uint8Array | undefined,
  state = 'does not have the leaf hash that the tree has',
): asserts record {
  let own: Uint8Array | undefined;
  try {
    own = record && leafHash(sha256, tree.format.leafInput(record));
  } catch (error) {
    throw corrupt(place, state, { cause: error });
  }
  if (own === undefined || hash === undefined || !equalBytes(own, hash)) throw corrupt(place, state);
}

/**
 * A full tile as stored must fold to the hash that the tile above has for it. If not, one of the two is wrong: the
 * upper one is then compared with the one above it, and is named if it fails.
 * @throws TlogError `TLOG_CORRUPT`
 */
export async function checkFullTile(tree: TreeState, head: Snapshot, level: number, index: bigint): Promise<TileNodes> {
  const { tile, at } = await readStored(tree, level, index);
  const above = index / BigInt(TILE_WIDTH);
  const place = Number(index % BigInt(TILE_WIDTH));
  const aboveIsFull = above < fullTiles(level + 1, head.size);
  const parent = aboveIsFull
    ? (await readStored(tree, level + 1, above)).tile
    : new TileNodes(sha256, head.edge[level + 1] ?? new Uint8Array(0));
  if (!equalBytes(tile.fold(), parent.leaf(place))) {
    if (aboveIsFull) await checkFullTile(tree, head, level + 1, above);
    throw corrupt({ tree: tree.name, at }, `does not fold to hash ${place} of tile ${level + 1}/${above} above it`);
  }
  return tile;
}

/** A full tile as stored: its row if it has not become an object yet. */
async function readStored(tree: TreeState, level: number, index: bigint): Promise<{ tile: TileNodes; at: string }> {
  if (index >= tree.durableBundles >> BigInt(8 * level)) {
    const row = await selectTile(tree.store.read, tree.id, level, index);
    if (row !== undefined) {
      const at = edgeRow(level, index);
      if (row.hashes.length !== TILE_WIDTH * HASH_LENGTH) {
        throw corrupt({ tree: tree.name, at }, `has ${row.hashes.length} bytes, not those of a full tile`);
      }
      return { tile: new TileNodes(sha256, row.hashes), at };
    }
  }
  const at = objectPath(tree, encodeTilePath({ level, index, width: TILE_WIDTH }));
  return { tile: await readTileObject(tree, level, index), at };
}
