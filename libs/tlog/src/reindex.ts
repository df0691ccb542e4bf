import { TILE_WIDTH } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { TlogError } from './errors.js';
import { adoptHead } from './head.js';
import { TileNodes } from './nodes.js';
import { readBundleRecords } from './read.js';
import { selectHead } from './rows.js';
import { checkFullTile, checkRecords } from './scrub.js';
import {
  deleteRun,
  encodeKeys,
  insertKeys,
  runOf,
  selectIndexedSize,
  selectRunFrom,
  updateIndexedSize,
} from './search-rows.js';
import { fullTiles, type Snapshot } from './snapshot.js';
import type { TreeState } from './state.js';

/** How the search keys of a tree are made anew. */
export interface ReindexOptions {
  /** The texts by which an entry can be found, from what is stored of it; the same as `Addition.keys` gave. */
  readonly keysOf: (record: Uint8Array, index: bigint) => readonly string[];
  /** Hears up to which size the index is complete now, and what size the tree has. */
  readonly progress?: (done: bigint, total: bigint) => void;
}

/** Entries of one transaction: while it is written, the batches that add entries wait. */
const STEP = 2048n;
/** So few entries are read under the head's lock: then no batch can slip in, and the index has caught up. */
const LAST_STEP = 512n;

/** The keys of entries from `from` on, as `encodeKeys` made them. */
interface Prepared {
  from: bigint;
  keys: string[];
}

/**
 * Writes the keys of the next entries that have none. Returns up to where; `complete` once that is the size of the tree: from then on every
 * batch moves the index along. A crash at any point leaves the index as it was before the step. Batches that are appended
 * meanwhile write their own keys, and find that there is a gap before them. `ready`: what was prepared for the next step
 * while this one was written.
 * @throws TlogError `TLOG_CORRUPT`; whatever the stores or `keysOf` throw
 */
export async function reindexStep(
  tree: TreeState,
  keysOf: ReindexOptions['keysOf'],
  ready?: Prepared,
): Promise<{ done: bigint; complete: boolean; ready?: Prepared }> {
  const from = await selectIndexedSize(tree.store.read, tree.id);
  // What is far behind the head is read before the lock is taken, so that entries keep coming in.
  const prepared = ready?.from === from ? ready : await prepare(tree, from, keysOf);
  const [written, next] = await Promise.allSettled([
    writeKeys(tree, from, prepared, keysOf),
    prepared && prepare(tree, from + BigInt(prepared.keys.length), keysOf),
  ]);
  if (written.status === 'rejected') throw written.reason;
  if (next.status === 'rejected') throw next.reason;
  return { ...written.value, ...(next.value && { ready: next.value }) };
}

/** The keys of the next entries, or undefined if there are few left: those are read under the lock. */
async function prepare(tree: TreeState, from: bigint, keysOf: ReindexOptions['keysOf']): Promise<Prepared | undefined> {
  const head = tree.committed;
  if (head.size - from <= LAST_STEP) return undefined;
  // Up to the end of a bundle: nothing is read twice.
  const end = (from / STEP + 1n) * STEP;
  return { from, keys: await readKeys(tree, head, from, end < head.size ? end : head.size, keysOf) };
}

async function writeKeys(
  tree: TreeState,
  from: bigint,
  prepared: Prepared | undefined,
  keysOf: ReindexOptions['keysOf'],
): Promise<{ done: bigint; complete: boolean }> {
  const transaction = await tree.store.begin();
  let step: { done: bigint; complete: boolean };
  try {
    const row = await selectHead(transaction.query, tree.id, { lock: true });
    if (row === undefined) throw new TlogError('TLOG_MISSING', `Cannot index tree ${tree.name}: its row is gone`);
    if (row.head.note !== tree.committed.note) await adoptHead(tree, row);
    const { size } = row.head;
    const indexed = await selectIndexedSize(transaction.query, tree.id);
    if (indexed > size) {
      // Not of this tree as it is: what is derived is made anew.
      await updateIndexedSize(transaction.query, tree.id, 0n);
      step = { done: 0n, complete: false };
    } else if (indexed !== from || (prepared === undefined && size - from > LAST_STEP)) {
      // Dropped meanwhile, or another process indexes as well, or has appended more than is to be read here: look again.
      step = { done: indexed, complete: false };
    } else {
      const keys = prepared?.keys ?? (await readKeys(tree, tree.committed, from, size, keysOf));
      const done = from + BigInt(keys.length);
      await insertKeys(transaction.query, tree.id, from, keys);
      await updateIndexedSize(transaction.query, tree.id, done);
      step = { done, complete: done === size };
    }
  } catch (error) {
    await transaction.rollback().catch(() => undefined);
    throw error;
  }
  await transaction.commit();
  return step;
}

/**
 * Forgets all keys, a run at a time. Each transaction says that nothing is complete, so that who rebuilds meanwhile
 * begins again.
 */
export async function dropKeys(tree: TreeState): Promise<void> {
  const last = runOf(tree.committed.size);
  for (let next = 0n; ;) {
    const transaction = await tree.store.begin();
    let run: bigint | undefined;
    try {
      await updateIndexedSize(transaction.query, tree.id, 0n);
      run = await selectRunFrom(transaction.query, tree.id, next);
      if (run !== undefined) await deleteRun(transaction.query, tree.id, run);
    } catch (error) {
      await transaction.rollback().catch(() => undefined);
      throw error;
    }
    await transaction.commit();
    if (run === undefined || run >= last) return;
    next = run + 1n;
  }
}

/** The keys of the entries [from, to), out of records that are compared with the tiles as `scrub` does. */
async function readKeys(
  tree: TreeState,
  head: Snapshot,
  from: bigint,
  to: bigint,
  keysOf: ReindexOptions['keysOf'],
): Promise<string[]> {
  const width = BigInt(TILE_WIDTH);
  const keys: string[] = [];
  for (let index = from; index < to;) {
    const bundle = index / width;
    const start = bundle * width;
    const records = await readChecked(tree, head, bundle);
    for (const record of records.slice(Number(index - start), Number(to - start))) {
      keys.push(encodeKeys(keysOf(record, index)));
      index++;
    }
  }
  return keys;
}

async function readChecked(tree: TreeState, head: Snapshot, bundle: bigint): Promise<Uint8Array[]> {
  const isFull = bundle < fullTiles(0, head.size);
  const tile = isFull
    ? await checkFullTile(tree, head, 0, bundle)
    : new TileNodes(sha256, head.edge[0] ?? new Uint8Array(0));
  const records = await readBundleRecords(tree, bundle, tile.width);
  checkRecords(tree, `bundle ${tree.format.bundlePath(bundle, tile.width)}`, bundle, records, tile);
  return records;
}
