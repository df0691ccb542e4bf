import { equalBytes, parseUtf8, encodeUtf8 } from '#libs/encoding';
import { encodeCheckpoint, parseCheckpoint, parseNote, signNote, verifyCheckpoint } from '#libs/note';
import { corrupt, TlogError } from './errors.js';
import { proveConsistency } from './prove.js';
import { type Head, selectHead } from './rows.js';
import { edgeFromRows, edgeRow, fullTiles, type Snapshot, snapshotFromRows } from './snapshot.js';
import type { SqlTransaction } from './sql-store.js';
import { objectPath, type TreeParts, type TreeState } from './state.js';

/**
 * Signs the head that a batch leads to. The only place where a tree signs. It refuses to sign fewer entries than
 * before, or the same number under another root: two heads that are not consistent end a log.
 * @throws TlogError `TLOG_ROLLED_BACK`, `TLOG_KEY`
 */
export async function signHead(tree: TreeParts, before: Head | undefined, next: Omit<Head, 'note'>): Promise<Head> {
  if (before !== undefined) {
    const shrinks = next.size < before.size;
    const forks = next.size === before.size && !equalBytes(next.rootHash, before.rootHash);
    if (shrinks || forks || next.timestampMs < before.timestampMs) {
      const state = `a head of size ${before.size} at ${before.timestampMs} ms is signed already`;
      throw new TlogError(
        'TLOG_ROLLED_BACK',
        `Cannot sign head of tree ${tree.name} of size ${next.size} at ${next.timestampMs} ms: ${state}`,
      );
    }
  }
  const text = encodeCheckpoint({ origin: tree.origin, size: next.size, rootHash: next.rootHash, extensions: [] });
  const head = { ...next, note: signNote(text, [...tree.signers(next.timestampMs)]) };
  // A signature made with a fault in it may tell the key. It does not leave before it has been checked.
  await verifyHead(tree, head);
  return head;
}

/**
 * Verifies that the checkpoint of a stored head is our own and says what the row says.
 * @throws TlogError `TLOG_KEY` if our key did not sign it, `TLOG_CORRUPT` if row and checkpoint differ
 */
export async function verifyHead(tree: TreeParts, head: Head): Promise<void> {
  const checkpoint = await verifyCheckpoint(head.note, [tree.verifier], { origin: tree.origin }).catch(
    (error: unknown) => {
      const action = `Cannot verify checkpoint of tree ${tree.name}`;
      throw new TlogError('TLOG_KEY', `${action}: its signature is not by the configured key`, { cause: error });
    },
  );
  if (checkpoint.size !== head.size || !equalBytes(checkpoint.rootHash, head.rootHash)) {
    throw corrupt({ tree: tree.name, at: 'tree row' }, `of size ${head.size} holds another checkpoint`);
  }
}

/**
 * The newest checkpoint in the object store. Undefined also if a power cut left a file without content: it is replaced
 * but not synced, and the head itself is in the database.
 * @throws TlogError `TLOG_CORRUPT` if it is no checkpoint
 */
export async function publishedCheckpoint(
  tree: Pick<TreeParts, 'name' | 'objects'>,
): Promise<{ size: bigint; rootHash: Uint8Array; note: string } | undefined> {
  const path = objectPath(tree, 'checkpoint');
  const bytes = await tree.objects.get(path);
  if (bytes === undefined || bytes.every((byte) => byte === 0)) return undefined;
  try {
    const note = parseUtf8(bytes);
    const { size, rootHash } = parseCheckpoint(parseNote(note).text);
    return { size, rootHash, note };
  } catch (error) {
    throw corrupt({ tree: tree.name, at: path }, 'is not a checkpoint', { cause: error });
  }
}

/**
 * Publishes a committed head, or a newer one. Where several processes append it is the newest, under the head's lock, so that none puts an
 * older checkpoint over a newer.
 * @throws whatever the stores throw
 */
export async function publishHead(tree: TreeState, head: Head): Promise<void> {
  if (tree.soleProcess === true) {
    await tree.objects.putCheckpoint(objectPath(tree, 'checkpoint'), encodeUtf8(head.note));
    return;
  }
  const lock = await tree.store.begin();
  try {
    const row = await selectHead(lock.query, tree.id, { lock: true });
    if (row === undefined) throw new TlogError('TLOG_MISSING', `Cannot publish tree ${tree.name}: its row is gone`);
    await tree.objects.putCheckpoint(objectPath(tree, 'checkpoint'), encodeUtf8(row.head.note));
  } finally {
    await lock.rollback();
  }
}

/**
 * Head and edge from the rows. If they are what this process saw last, they need no further proof than equality. If
 * not, they are verified like those of a stranger, and must continue what we saw.
 * @throws TlogError `TLOG_CORRUPT`, `TLOG_ROLLED_BACK`, `TLOG_KEY`, `TLOG_MISSING`
 */
export async function lockHead(tree: TreeState, { query }: SqlTransaction): Promise<Snapshot> {
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
