import { equalBytes } from '#libs/encoding';
import { InclusionVerifier, proveInclusion, TILE_WIDTH } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { assignIndexes, type Claim, type NewEntry, type Waiter } from './assign.js';
import { corrupt, storeError } from './errors.js';
import { lockHead, publishHead, signHead } from './head.js';
import { proveRecord, type ProvenRecord } from './prove.js';
import { type ReadBack, readBatch } from './read-back.js';
import { deleteDurable, insertEntries, selectIndexes, updateHead, upsertTiles } from './rows.js';
import { advanceIndexedSize, insertKeys } from './search-rows.js';
import { fullTiles, growEdge, type Snapshot } from './snapshot.js';
import { halt, type TreeState } from './state.js';

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
      const identities = batch.map(({ identity }) => identity);
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

        // 4. Rows: entries, identities, edge, and the texts by which the entries are found; and away with those whose
        //    objects are durable.
        const deleted = tree.durableBundles;
        const writes = [
          insertEntries(transaction.query, tree.id, entries),
          upsertTiles(transaction.query, tree.id, grown.tiles),
          insertKeys(
            transaction.query,
            tree.id,
            before.size,
            entries.map((entry) => entry.keys),
          ),
          advanceIndexedSize(transaction.query, tree.id, before.size, size),
          ...(deleted > tree.deletedBundles ? [deleteDurable(transaction.query, tree.id, deleted)] : []),
        ];

        // 5. Read it back, and hash it all again from the stored bytes. A bit that flipped on the way, in memory or in
        //    the database, must stop the head from being signed: once it is signed over a wrong leaf, the log can never
        //    prove itself again. A crash here still leaves nothing.
        const rootHash = grown.range.root();
        const from = hurried ? before.size : fullTiles(0, before.size) * BigInt(TILE_WIDTH);
        const [readBack] = await Promise.all([
          readBatch(tree, transaction, before, { size, rootHash, from, entries }),
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
        await proveBatch(tree, head, claims, written);
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

/** Whoever waits is answered as soon as his proof is made, so many in one turn of the event loop. */
const PROOFS_IN_A_TURN = 8;

/**
 * Gives each waiter his receipt. Every proof is verified before it leaves, from the record as stored to the root as signed. What follows an answer takes
 * as long as the proof; so there is a pause now and then, or the next batch, whose statements have long returned, would wait for the last of this one.
 */
async function proveBatch(
  tree: TreeState,
  head: Snapshot,
  claims: readonly Claim[],
  written: { entries: NewEntry[]; readBack: ReadBack } | undefined,
): Promise<void> {
  const proven = new Map<bigint, ProvenRecord>();
  const verifier = new InclusionVerifier(sha256, { size: head.size, root: head.rootHash });
  const first = written?.entries[0]?.index ?? head.size;
  let inThisTurn = 0;
  for (const { waiter, index, duplicate } of claims) {
    let entry = proven.get(index);
    if (entry === undefined) {
      entry =
        written !== undefined && index >= first
          ? proveWritten({ tree, head, verifier }, written.readBack, index)
          : await proveDuplicate(tree, head, waiter.identity, index);
      proven.set(index, entry);
    }
    const { record, leafHash, proof } = entry;
    waiter.resolve({ index, record, leafHash, duplicate, proof, checkpoint: head.note });
    if (++inThisTurn < PROOFS_IN_A_TURN) continue;
    inThisTurn = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function proveWritten(
  { tree, head, verifier }: { tree: TreeState; head: Snapshot; verifier: InclusionVerifier },
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
    verifier.verify({ index, leafHash: proven, proof: hashes });
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
