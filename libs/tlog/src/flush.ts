import { encodeTilePath, TILE_WIDTH } from '#libs/merkle';
import { corrupt } from './errors.js';
import { checkFullTile, checkRecords } from './scrub.js';
import { firstEntryRow, selectRecords } from './rows.js';
import { fullTiles, type Snapshot } from './snapshot.js';
import { objectPath, type TreeState } from './state.js';

/**
 * Makes objects of all full bundles of the tree at `head`, and of the tiles that end with them, from their rows. The
 * rows stay until a later batch, under the head's lock, deletes those that `durableBundles` covers. Whatever happens
 * here can happen again: the same rows make the same bytes.
 * @throws TlogError `TLOG_CORRUPT`; whatever the stores throw
 */
export async function flushFull(tree: TreeState, head: Snapshot): Promise<void> {
  const bundles = fullTiles(0, head.size);
  while (tree.durableBundles < bundles) {
    const bundle = tree.durableBundles;
    const start = bundle * BigInt(TILE_WIDTH);
    const records = await selectRecords(tree.store.read, tree.id, start, start + BigInt(TILE_WIDTH));
    if (records.length === TILE_WIDTH) {
      await putBundle(tree, head, bundle, records);
      tree.durableBundles = bundle + 1n;
      continue;
    }
    // Another process that works on this tree may have made the objects and deleted the rows.
    const first = (await firstEntryRow(tree.store.read, tree.id)) ?? head.size;
    const durable = first / BigInt(TILE_WIDTH);
    if (durable <= bundle) {
      const at = `entry rows ${start} to ${start + BigInt(TILE_WIDTH - 1)}`;
      throw corrupt({ tree: tree.name, at }, `are ${records.length}, not ${TILE_WIDTH}`);
    }
    tree.durableBundles = durable;
  }
}

async function putBundle(tree: TreeState, head: Snapshot, bundle: bigint, records: Uint8Array[]): Promise<void> {
  // Rows may have lain here since an earlier start: what becomes an object for good is compared with the signed tree
  // once more.
  const tiles = [{ level: 0, index: bundle, tile: await checkFullTile(tree, head, 0, bundle) }];
  checkRecords(tree, `entry rows of bundle ${bundle}`, bundle, records, tiles[0]!.tile);
  const last = BigInt(TILE_WIDTH - 1);
  for (let level = 1, index = bundle; (index & last) === last; level++) {
    index /= BigInt(TILE_WIDTH);
    tiles.push({ level, index, tile: await checkFullTile(tree, head, level, index) });
  }
  // The sidecar before its bundle: a crash between the two leaves one that nobody looks for, and that is derived again.
  const { bundlePath, encodeBundle, sidecar } = tree.format;
  if (sidecar !== undefined) {
    await tree.objects.putIfAbsent(
      objectPath(tree, sidecar.path(bundle, TILE_WIDTH)),
      encodeStored(tree, sidecar.encode, bundle, records),
    );
  }
  await tree.objects.putIfAbsent(objectPath(tree, bundlePath(bundle, TILE_WIDTH)), encodeBundle(records));
  for (const { level, index, tile } of tiles) {
    await tree.objects.putIfAbsent(objectPath(tree, encodeTilePath({ level, index, width: TILE_WIDTH })), tile.bytes);
  }
}

/** What the rows say cannot be what was put there if their format refuses to make an object of it. */
function encodeStored(
  tree: TreeState,
  encode: (records: readonly Uint8Array[]) => Uint8Array,
  bundle: bigint,
  records: readonly Uint8Array[],
): Uint8Array {
  try {
    return encode(records);
  } catch (error) {
    throw corrupt({ tree: tree.name, at: `entry rows of bundle ${bundle}` }, 'make no sidecar', { cause: error });
  }
}
