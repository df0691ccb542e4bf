import { equalBytes, parseUtf8, encodeUtf8 } from '#libs/encoding';
import { encodeCheckpoint, parseCheckpoint, parseNote, signNote, verifyCheckpoint } from '#libs/note';
import { corrupt, TlogError } from './errors.js';
import type { Head } from './rows.js';
import { objectPath, type TreeParts, type TreeState } from './state.js';
import { selectHead } from './rows.js';

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
