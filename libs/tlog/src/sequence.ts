import { equalBytes } from '#libs/encoding';
import { leafHash, proveInclusion, rootFromNodes, TILE_WIDTH, verifyInclusion } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { corrupt, storeError, TlogError } from './errors.js';
import { publishHead, signHead, verifyHead } from './head.js';
import { NodeReader, TileNodes } from './nodes.js';
import { type Proof, proveConsistency, proveRecord, type ProvenRecord } from './prove.js';
import {
  deleteDurable,
  insertEntries,
  key,
  selectRecords,
  selectHead,
  selectIndexes,
  selectTilesFrom,
  type StoredTile,
  updateHead,
  upsertTiles,
} from './rows.js';
import { edgeFromRows, edgeRow, fullTiles, growEdge, type Snapshot, snapshotFromRows, tileLevels } from './snapshot.js';
import type { SqlTransaction } from './sql-store.js';
import { halt, type TreeState } from './state.js';

/** What is to be logged. */
export interface Addition {
  /** 32 bytes, the deduplication key: the same identity again gets the index it has. */
  readonly identity: Uint8Array;
  /**
   * Gives the record to store under `index`, in the format of the tree. `timestampMs` is what the head that first
   * covers the entry will say, and never runs backwards: a format with times in its entries takes them from here.
   * Called inside the batch, so it must be quick; if it throws, only this addition fails and the index goes to the next
   * one.
   */
  readonly encode: (index: bigint, timestampMs: bigint) => Uint8Array;
}

/** That an entry is in the log, for good. */
export interface Receipt {
  index: bigint;
  /** The stored bytes. For a duplicate those of the first time, byte for byte. */
  record: Uint8Array;
  /** The identity was in the log, or earlier in the same batch. */
  duplicate: boolean;
  proof: Proof;
  /** The signed checkpoint with the proof's size and root. */
  checkpoint: string;
}

/** One call of `add` that waits for its batch. */
export interface Waiter {
  readonly addition: Addition;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: unknown) => void;
}

/** An entry that this batch adds. */
interface NewEntry {
  index: bigint;
  identity: Uint8Array;
  record: Uint8Array;
  leafHash: Uint8Array;
}

/** Which index a waiter gets. */
interface Claim {
  waiter: Waiter;
  index: bigint;
  duplicate: boolean;
}

/** A batch with its indexes. */
interface Assignment {
  entries: NewEntry[];
  claims: Claim[];
}

/** What the database holds of the batch, and the nodes hashed anew from it. */
interface ReadBack {
  /** The records from log index `start` on. */
  start: bigint;
  records: Uint8Array[];
  nodes: NodeReader;
}

/**
 * Takes a batch from waiting to committed, and returns what takes it from there to proven. Neither ever throws: each waiter hears its own answer.
 * Only one batch of a tree is in each of the two halves at a time, and they leave the second in the order of their heads; so the database
 * writes a batch while the one before is being published and proven. No waiter is told of an entry before the head that covers it is committed,
 * published and proven.
 * `hurried`: others wait already, so the rows of earlier batches are left to the next batch that is not, or to the one that fills their bundle.
 */
export async function sequence(
  tree: TreeState,
  batch: readonly Waiter[],
  { hurried }: { hurried: boolean },
): Promise<() => Promise<void>> {
  const refuse = (error: unknown): void => {
    const failure = halt(tree, storeError(`append to tree ${tree.name}`, error));
    for (const waiter of batch) waiter.reject(failure);
  };
  try {
    let claims: Claim[];
    let written: { entries: NewEntry[]; readBack: ReadBack } | undefined;
    // 1. Take the head row's lock, and head and edge from the rows, not from memory: another process, or a COMMIT of
    //    ours whose outcome we did not learn, may have moved them. A crash from here to the COMMIT leaves nothing.
    const transaction = await tree.store.begin();
    let committing = false;
    try {
      // 2. And which of them have an index already, by the whole identity.
      const identities = batch.map(({ addition }) => addition.identity);
      const [before, known] = await Promise.all([
        lockHead(tree, transaction),
        selectIndexes(transaction.query, tree.id, identities),
      ]);

      // 3. Indexes without a gap, records, leaf hashes, and the tree's right edge with them.
      const now = BigInt(tree.now());
      // The clock may go back; the log's time does not.
      const timestampMs = now > before.timestampMs ? now : before.timestampMs;
      const assignment = assignIndexes(tree, before, batch, known, timestampMs);
      claims = assignment.claims;
      const { entries } = assignment;
      if (entries.length > 0) {
        const grown = growEdge(
          before,
          entries.map((entry) => entry.leafHash),
        );
        const size = grown.range.size;

        // 4. Rows: entries, identities, edge; and away with those whose objects are durable.
        const deleted = tree.durableBundles;
        const writes = [
          insertEntries(transaction.query, tree.id, entries),
          upsertTiles(transaction.query, tree.id, grown.tiles),
          ...(deleted > tree.deletedBundles ? [deleteDurable(transaction.query, tree.id, deleted)] : []),
        ];

        // 5. Read it back, and hash it all again from the stored bytes. A bit that flipped on the way, in memory or in
        //    the database, must stop the head from being signed: once it is signed over a wrong leaf, the log can never
        //    prove itself again. A crash here still leaves nothing.
        const rootHash = grown.range.root();
        const from = hurried ? before.size : fullTiles(0, before.size) * BigInt(TILE_WIDTH);
        const [readBack] = await Promise.all([
          readBatch(tree, transaction, before, { size, rootHash, from }),
          ...writes,
        ]);

        // 6. Sign, and commit. The COMMIT is the one moment that counts: before it nothing has happened, after it
        //    nothing can be lost. The signature has not left this function, so no crash lets two heads of one size out.
        //    A crash right after it leaves entries that nobody was told of: who adds them again gets their index.
        const head = await signHead(tree, before, { size, rootHash, timestampMs });
        await updateHead(transaction.query, tree.id, head);
        committing = true;
        await transaction.commit();
        tree.committed = { ...head, edge: grown.edge, range: grown.range };
        tree.deletedBundles = deleted;
        tree.edgeNodes = readBack.nodes;
        written = { entries, readBack };
      } else {
        committing = true;
        await transaction.rollback();
      }
    } catch (error) {
      // A transaction that was committing has ended, one way or the other; step 1 of the next batch finds out which.
      // The first error says more than a rollback that fails; the next `begin` clears up.
      if (!committing) await transaction.rollback().catch(() => undefined);
      throw error;
    }

    const head = tree.committed;
    return async () => {
      try {
        // 7. Publish the checkpoint, then prove. A crash here leaves a committed head that is unpublished: it is published
        //    when the tree is opened.
        if (tree.published.size < head.size) {
          await publishHead(tree, head);
          tree.published = head;
        }
        const receipts = await proveBatch(tree, head, claims, written);
        for (const { waiter, receipt } of receipts) waiter.resolve(receipt);
        // 8. What became full goes to the object store while the next batch is written: see `flushFull`. A crash before
        //    that leaves it in rows.
      } catch (error) {
        refuse(error);
      }
    };
  } catch (error) {
    refuse(error);
    return () => Promise.resolve();
  }
}

/**
 * Head and edge from the rows. If they are what this process saw last, they need no further proof than equality. If
 * not, they are verified like those of a stranger, and must continue what we saw.
 * @throws TlogError `TLOG_CORRUPT`, `TLOG_ROLLED_BACK`, `TLOG_KEY`, `TLOG_MISSING`
 */
async function lockHead(tree: TreeState, { query }: SqlTransaction): Promise<Snapshot> {
  const row = await selectHead(query, tree.id, { lock: true });
  if (row === undefined) throw new TlogError('TLOG_MISSING', `Cannot append to tree ${tree.name}: its row is gone`);
  const { committed } = tree;
  const { head } = row;
  if (
    head.note === committed.note &&
    head.size === committed.size &&
    head.timestampMs === committed.timestampMs &&
    equalBytes(head.rootHash, committed.rootHash)
  ) {
    edgeFromRows(tree.name, head.size, row.edge).forEach((hashes, level) => {
      if (equalBytes(hashes, committed.edge[level] ?? new Uint8Array(0))) return;
      const at = edgeRow(level, fullTiles(level, head.size));
      throw corrupt({ tree: tree.name, at }, 'is not what was written to it');
    });
    return committed;
  }
  return adoptHead(tree, row);
}

/**
 * Makes a head from the database our own, after the outcome of a COMMIT was unknown or another process appended.
 * @throws TlogError `TLOG_CORRUPT`, `TLOG_ROLLED_BACK`, `TLOG_KEY`
 */
export async function adoptHead(
  tree: TreeState,
  row: NonNullable<Awaited<ReturnType<typeof selectHead>>>,
): Promise<Snapshot> {
  const { committed } = tree;
  const { head } = row;
  const forked = head.size === committed.size && !equalBytes(head.rootHash, committed.rootHash);
  if (head.size < committed.size || forked || head.timestampMs < committed.timestampMs) {
    const state = `the database has size ${head.size} at ${head.timestampMs} ms, but size ${committed.size} at ${committed.timestampMs} ms was committed`;
    throw new TlogError(
      'TLOG_ROLLED_BACK',
      `Cannot append to tree ${tree.name}: ${state}${forked ? ' with another root' : ''}`,
    );
  }
  await verifyHead(tree, head);
  const adopted = snapshotFromRows(tree.name, head, row.edge);
  // Proven against both roots, the one that we saw and the one that is now signed.
  if (committed.size > 0n && committed.size < head.size) {
    const { firstRoot } = await proveConsistency(tree, adopted, committed.size, head.size);
    if (!equalBytes(firstRoot, committed.rootHash)) {
      throw corrupt(
        { tree: tree.name, at: 'tree row' },
        `of size ${head.size} does not continue size ${committed.size}`,
      );
    }
  }
  tree.committed = adopted;
  return adopted;
}

/**
 * Contiguous indexes for what is new, stored ones for the rest. Who cannot be encoded is refused here and takes no
 * index.
 */
function assignIndexes(
  tree: TreeState,
  before: Snapshot,
  batch: readonly Waiter[],
  known: ReadonlyMap<string, bigint>,
  timestampMs: bigint,
): Assignment {
  const entries: NewEntry[] = [];
  const claims: Claim[] = [];
  const inBatch = new Map<string, bigint>();
  for (const waiter of batch) {
    const { identity } = waiter.addition;
    const name = key(identity);
    const index = known.get(name) ?? inBatch.get(name);
    if (index !== undefined) {
      if (index >= before.size && !inBatch.has(name)) {
        throw corrupt({ tree: tree.name, at: 'leaf_index row', index }, `points beyond size ${before.size}`);
      }
      claims.push({ waiter, index, duplicate: true });
      continue;
    }
    const next = before.size + BigInt(entries.length);
    try {
      const record = waiter.addition.encode(next, timestampMs);
      const entry = { index: next, identity, record, leafHash: leafHash(sha256, tree.format.leafInput(record)) };
      checkIdentity(tree, identity, entry);
      entries.push(entry);
    } catch (error) {
      waiter.reject(error);
      continue;
    }
    inBatch.set(name, next);
    claims.push({ waiter, index: next, duplicate: false });
  }
  return { entries, claims };
}

function checkIdentity(tree: TreeState, identity: Uint8Array, entry: NewEntry): void {
  const own = tree.format.identity?.(entry.record, entry.leafHash);
  if (own === undefined || equalBytes(own, identity)) return;
  throw new TlogError('TLOG_RECORD', `Cannot store entry in tree ${tree.name}: its identity is not that of its record`);
}

/**
 * Reads the records from log index `from` on, and the edge, out of the database. From nothing but these bytes follow the leaf hash of every
 * such record, every full tile's hash in the tile above, the root that was signed last and the root to be signed.
 * @throws TlogError `TLOG_CORRUPT`, which names row and entry
 */
async function readBatch(
  tree: TreeState,
  { query }: SqlTransaction,
  before: Snapshot,
  next: { size: bigint; rootHash: Uint8Array; from: bigint },
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
    if (hash !== undefined && equalBytes(leafHash(sha256, tree.format.leafInput(record)), hash)) return;
    const place = { tree: tree.name, at: `entry row ${index}`, index };
    throw corrupt(place, `does not have the leaf hash of ${edgeRow(0, index / width)}`);
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

/**
 * Receipts for all claims. Every proof is verified before it leaves, from the record as stored to the root as signed.
 */
async function proveBatch(
  tree: TreeState,
  head: Snapshot,
  claims: readonly Claim[],
  written: { entries: NewEntry[]; readBack: ReadBack } | undefined,
): Promise<{ waiter: Waiter; receipt: Receipt }[]> {
  const proven = new Map<bigint, ProvenRecord>();
  const first = written?.entries[0]?.index ?? head.size;
  const receipts: { waiter: Waiter; receipt: Receipt }[] = [];
  for (const { waiter, index, duplicate } of claims) {
    let entry = proven.get(index);
    if (entry === undefined) {
      entry =
        written !== undefined && index >= first
          ? proveWritten(tree, head, written.readBack, index)
          : await proveDuplicate(tree, head, waiter.addition.identity, index);
      proven.set(index, entry);
    }
    receipts.push({
      waiter,
      receipt: { index, record: entry.record, duplicate, proof: entry.proof, checkpoint: head.note },
    });
  }
  return receipts;
}

function proveWritten(
  tree: TreeState,
  head: Snapshot,
  { start, records, nodes }: ReadBack,
  index: bigint,
): ProvenRecord {
  const record = records[Number(index - start)];
  if (record === undefined) throw new Error(`Cannot prove entry ${index}: it was not read back`);
  const { size, rootHash } = head;
  // That of the stored record: `readBatch` has compared them.
  const proven = nodes.read(0, index);
  const hashes = proveInclusion(sha256, index, size, nodes.read);
  try {
    verifyInclusion(sha256, { index, size, leafHash: proven, proof: hashes, root: rootHash });
  } catch (error) {
    throw corrupt({ tree: tree.name, at: 'memory', index }, 'has no proof to the signed root', { cause: error });
  }
  return { record, leafHash: proven, proof: { size, rootHash, hashes } };
}

/** What is stored under a known identity. The index is believed only if the record there has that identity. */
async function proveDuplicate(
  tree: TreeState,
  head: Snapshot,
  identity: Uint8Array,
  index: bigint,
): Promise<ProvenRecord> {
  const entry = await proveRecord(tree, head, index);
  const own = tree.format.identity?.(entry.record, entry.leafHash);
  if (own !== undefined && !equalBytes(own, identity)) {
    throw corrupt({ tree: tree.name, at: 'leaf_index row', index }, 'points to an entry with another identity');
  }
  return entry;
}
