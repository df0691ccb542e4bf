import { equalBytes } from '#libs/encoding';
import { emptyRoot, encodeTilePath, TILE_WIDTH } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { corrupt, storeError, TlogError } from './errors.js';
import { flushFull } from './flush.js';
import { publishedCheckpoint, publishHead, signHead, verifyHead } from './head.js';
import { NodeReader, TileNodes } from './nodes.js';
import {
  findTree,
  firstEntryRow,
  type Head,
  insertTree,
  selectRecords,
  selectHead,
  type TreeIdentity,
} from './rows.js';
import { checkBundle, checkFullTile, checkRecords } from './scrub.js';
import { fullTiles, type Snapshot, snapshotFromRows, tileLevels } from './snapshot.js';
import { objectPath, type TreeParts, type TreeState } from './state.js';
import { TileCache } from './tile-cache.js';

/**
 * Logs of up to so many full bundles are verified as a whole when they are opened; larger ones at their edge, and by
 * and by.
 */
export const SMALL_LOG_BUNDLES = 64n;

/**
 * Opens a tree and verifies what is stored before anything may be signed on top of it; with `create`, a tree that does
 * not exist comes into being with a signed checkpoint of size 0.
 * @throws TlogError `TLOG_MISSING`, `TLOG_KEY`, `TLOG_ROLLED_BACK`, `TLOG_CORRUPT`, `TLOG_STORE`
 */
export async function openState(parts: TreeParts, create: boolean): Promise<TreeState> {
  try {
    for (let attempt = 1; ; attempt++) {
      const before = await readHead(parts);
      try {
        return await verifyStored(parts, create);
      } catch (error) {
        // With several processes on one database the tree may have moved while we looked: then what we saw was of two
        // moments. Look again.
        const after = await readHead(parts);
        if (attempt === 5 || before?.note === after?.note) throw error;
      }
    }
  } catch (error) {
    throw storeError(`open tree ${parts.name}`, error);
  }
}

async function readHead({ store, name }: TreeParts): Promise<Head | undefined> {
  const tree = await findTree(store.read, name);
  return tree && (await selectHead(store.read, tree.id))?.head;
}

async function verifyStored(parts: TreeParts, create: boolean): Promise<TreeState> {
  const { name, store } = parts;

  // 1. What the world was shown. Before the head is read, so that the head can only be newer.
  const shown = await publishedCheckpoint(parts);

  // 2. The tree, and that it is ours.
  let stored = await findTree(store.read, name);
  if (stored === undefined) {
    if (shown !== undefined)
      throw rolledBack(name, `size ${shown.size} is published, but the database has no such tree`);
    if (!create) {
      throw new TlogError('TLOG_MISSING', `Cannot open tree ${name}: there is none, and it is not to be created`);
    }
    stored = await createTree(parts);
  }
  checkOwner(parts, stored);

  // 3. The head is signed by our key, and the rows of the edge fold to its root.
  const row = await selectHead(store.read, stored.id);
  if (row === undefined) throw corrupt({ tree: name, at: 'tree row' }, 'is gone');
  const { head } = row;
  await verifyHead(parts, head);
  const snapshot = snapshotFromRows(name, head, row.edge);

  // 4. Nothing is out that the database does not know. An older copy of the database must not sign: its next head would
  //    contradict one that is published.
  if (shown !== undefined && shown.size > head.size) {
    throw rolledBack(name, `size ${shown.size} is published, but the database has size ${head.size}`);
  }
  if (shown !== undefined && shown.size === head.size && !equalBytes(shown.rootHash, head.rootHash)) {
    throw rolledBack(name, `another root of size ${head.size} is published than the database has`);
  }
  const next = fullTiles(0, head.size);
  for (const path of [
    encodeTilePath({ level: 0, index: next, width: TILE_WIDTH }),
    parts.format.bundlePath(next, TILE_WIDTH),
    ...(parts.format.sidecar ? [parts.format.sidecar.path(next, TILE_WIDTH)] : []),
  ]) {
    if (await parts.objects.has(objectPath(parts, path))) {
      throw rolledBack(name, `object ${objectPath(parts, path)} lies beyond size ${head.size} of the database`);
    }
  }

  // 5. Rows begin where objects end, and the records of the unfinished bundle hash to the edge.
  const tree: TreeState = {
    ...parts,
    id: stored.id,
    committed: snapshot,
    published: snapshot,
    durableBundles: await firstBundleInRows(parts, stored, snapshot),
    deletedBundles: 0n,
    halted: undefined,
    tiles: new TileCache(),
    edgeNodes: new NodeReader(),
  };
  tree.deletedBundles = tree.durableBundles;
  await checkUnfinished(tree, snapshot);

  // 6. The last full tile of each level stands in the one above it, up to the edge.
  for (let level = 0; level < tileLevels(head.size); level++) {
    const full = fullTiles(level, head.size);
    if (full > 0n) await checkFullTile(tree, snapshot, level, full - 1n);
  }

  // 7. All objects of a small log; of a large one the newest bundle.
  const { durableBundles } = tree;
  const from = next <= SMALL_LOG_BUNDLES || durableBundles === 0n ? 0n : durableBundles - 1n;
  for (let bundle = from; bundle < durableBundles; bundle++) await checkBundle(tree, snapshot, bundle);

  // 8. What a crash after the last COMMIT kept from happening: objects of what is full, and the newest checkpoint.
  await flushFull(tree, snapshot);
  if (shown?.note !== head.note) await publishHead(tree, head);
  return tree;
}

/** A tree without entries, whose first checkpoint is signed before anyone can add to it. */
async function createTree(parts: TreeParts): Promise<TreeIdentity> {
  const transaction = await parts.store.begin();
  try {
    if ((await findTree(transaction.query, parts.name)) === undefined) {
      const head = await signHead(parts, undefined, {
        size: 0n,
        rootHash: emptyRoot(sha256),
        timestampMs: BigInt(parts.now()),
      });
      await insertTree(
        transaction.query,
        { name: parts.name, origin: parts.origin, format: parts.format.name, logId: ownLogId(parts) },
        head,
      );
    }
  } catch (error) {
    await transaction.rollback();
    throw error;
  }
  await transaction.commit();
  const created = await findTree(parts.store.read, parts.name);
  if (created === undefined) throw new Error(`Cannot create tree ${parts.name}: its row is not there after the commit`);
  return created;
}

/** A log with another key, name or kind of entries is another log, even in the same folder. */
function checkOwner(parts: TreeParts, stored: TreeIdentity): void {
  const refuse = (what: string, has: string, wants: string): never => {
    const state = `its ${what} is ${has}, but ${wants} is configured`;
    throw new TlogError('TLOG_KEY', `Cannot open tree ${parts.name}: ${state}`);
  };
  const logId = ownLogId(parts);
  if (stored.origin !== parts.origin) refuse('origin', stored.origin, parts.origin);
  if (stored.format !== parts.format.name) refuse('format', stored.format, parts.format.name);
  if (!equalBytes(stored.logId, logId)) refuse('log id', shortHex(stored.logId), shortHex(logId));
}

function ownLogId(parts: TreeParts): Uint8Array {
  const [own] = parts.signers(0n);
  if (own === undefined) throw new TlogError('TLOG_KEY', `Cannot open tree ${parts.name}: it has no signer`);
  return own.logId;
}

function shortHex(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function firstBundleInRows({ store, name }: TreeParts, stored: TreeIdentity, head: Snapshot): Promise<bigint> {
  const first = await firstEntryRow(store.read, stored.id);
  const unfinished = fullTiles(0, head.size);
  if (first === undefined) return unfinished;
  const bundle = first / BigInt(TILE_WIDTH);
  if (first % BigInt(TILE_WIDTH) !== 0n || bundle > unfinished) {
    throw corrupt({ tree: name, at: `entry row ${first}`, index: first }, 'is the first, but does not begin a bundle');
  }
  return bundle;
}

async function checkUnfinished(tree: TreeState, head: Snapshot): Promise<void> {
  const bundle = fullTiles(0, head.size);
  const start = bundle * BigInt(TILE_WIDTH);
  // More than can be there: no row may lie beyond the end.
  const records = await selectRecords(tree.store.read, tree.id, start, start + BigInt(2 * TILE_WIDTH));
  if (BigInt(records.length) !== head.size - start) {
    const at = `entry rows from ${start}`;
    throw corrupt(
      { tree: tree.name, at },
      `are ${records.length}, not the ${head.size - start} up to size ${head.size}`,
    );
  }
  const hashes = new TileNodes(sha256, head.edge[0] ?? new Uint8Array(0));
  checkRecords(tree, `entry rows of bundle ${bundle}`, bundle, records, hashes);
}

function rolledBack(name: string, state: string): TlogError {
  return new TlogError('TLOG_ROLLED_BACK', `Cannot open tree ${name}: ${state}`);
}
