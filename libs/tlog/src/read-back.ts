import { equalBytes } from '#libs/encoding';
import { rootFromNodes, TILE_WIDTH } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import type { NewEntry } from './assign.js';
import { corrupt } from './errors.js';
import { NodeReader, TileNodes } from './nodes.js';
import { selectRecords, selectTilesFrom, type StoredTile } from './rows.js';
import { checkLeaf } from './scrub.js';
import { edgeFromRows, edgeRow, fullTiles, type Snapshot, tileLevels } from './snapshot.js';
import type { SqlTransaction } from './sql-store.js';
import type { TreeState } from './state.js';

/** What the database holds of the batch, and the nodes hashed anew from it. */
export interface ReadBack {
  /** The records from log index `start` on. */
  start: bigint;
  records: Uint8Array[];
  nodes: NodeReader;
}

/**
 * Reads the records from log index `from` on, and the edge, out of the database. From nothing but these bytes follow the leaf hash of every
 * such record, every full tile's hash in the tile above, the root that was signed last and the root to be signed.
 * @throws TlogError `TLOG_CORRUPT`, which names row and entry
 */
export async function readBatch(
  tree: TreeState,
  { query }: SqlTransaction,
  before: Snapshot,
  next: { size: bigint; rootHash: Uint8Array; from: bigint; entries: readonly NewEntry[] },
): Promise<ReadBack> {
  const width = BigInt(TILE_WIDTH);
  const start = next.from;
  const from = Array.from({ length: tileLevels(next.size) }, (_, level) => fullTiles(level, before.size));
  const [records, tiles] = await Promise.all([
    selectRecords(query, tree.id, start, next.size),
    selectTilesFrom(query, tree.id, from),
  ]);

  const nodes = new NodeReader();
  for (const { level, index, hashes } of tiles) {
    const known = tree.edgeNodes.get(level, index);
    const isKnown = known !== undefined && equalBytes(known.bytes, hashes);
    nodes.set(level, index, isKnown ? known : new TileNodes(sha256, hashes));
  }
  checkTileRows(tree, next.size, tiles, nodes);

  if (BigInt(records.length) !== next.size - start) {
    const at = `entry rows ${start} to ${next.size - 1n}`;
    throw corrupt({ tree: tree.name, at }, `are ${records.length}, not ${next.size - start}`);
  }
  records.forEach((record, offset) => {
    const index = start + BigInt(offset);
    // The tile rows have the widths that the size asks for: there is a hash for each record.
    const hash = nodes.get(0, index / width)?.leaf(Number(index % width));
    const place = { tree: tree.name, at: `entry row ${index}`, index };
    checkLeaf(tree, place, record, hash, `does not have the leaf hash of ${edgeRow(0, index / width)}`);
    // What the format keeps out of the leaf has no hash: of the new records it is compared with what was to be stored.
    const added = next.entries[Number(index - before.size)];
    if (added !== undefined && !equalBytes(record, added.record)) throw corrupt(place, 'is not what was written to it');
  });

  for (const [size, rootHash, at] of [
    [before.size, before.rootHash, 'signed last'],
    [next.size, next.rootHash, 'to be signed'],
  ] as const) {
    if (!equalBytes(rootFromNodes(sha256, size, nodes.read), rootHash)) {
      throw corrupt({ tree: tree.name, at: 'edge rows' }, `do not fold to the root of size ${size}, ${at}`);
    }
  }
  return { start, records, nodes };
}

/**
 * The rows must be all tiles from the old edge to the new one, of their widths, and each full one must stand in the
 * tile above.
 */
function checkTileRows(tree: TreeState, size: bigint, tiles: readonly StoredTile[], nodes: NodeReader): void {
  edgeFromRows(
    tree.name,
    size,
    tiles.filter(({ level, index }) => index >= fullTiles(level, size)),
  );
  for (const { level, index } of tiles) {
    if (index >= fullTiles(level, size)) continue;
    const tile = nodes.get(level, index);
    const above = nodes.get(level + 1, index / BigInt(TILE_WIDTH));
    const place = Number(index % BigInt(TILE_WIDTH));
    const stands =
      tile?.width === TILE_WIDTH &&
      above !== undefined &&
      place < above.width &&
      equalBytes(tile.fold(), above.leaf(place));
    if (!stands) {
      throw corrupt({ tree: tree.name, at: edgeRow(level, index) }, `does not fold to its hash in level ${level + 1}`);
    }
  }
}
