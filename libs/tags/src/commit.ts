import { OciError, type Descriptor, type Digest } from '#libs/oci';
import { Checklist } from './checks.js';
import { checkSurvival, contentsOf, entryOf, idOf, isCovered, union, type Contents } from './contents.js';
import { reasonOf, TagError } from './error.js';
import { readHead, signStatement, type HeadContext, type PublishContext } from './publisher.js';
import { checkSnapshotRecord, HEAD_TAG, parseSnapshotTag, putBundle, putHead, putSnapshotRecord } from './record.js';
import { countSignatures } from './signatures.js';
import { checkSnapshot, rememberSnapshot, type TagContext, type VerifiedSnapshot } from './snapshot.js';
import {
  encodeSnapshot,
  MAX_TAGS,
  parseSnapshot,
  SNAPSHOT_PREDICATE_TYPE,
  wholeSeconds,
  type SnapshotEntry,
  type SnapshotId,
  type SnapshotStatement,
  type TagStatement,
  type Written,
} from './statement.js';

/** A statement with enough signatures, ready for a snapshot. */
export interface Complete {
  readonly statement: Written<TagStatement>;
  readonly layers: readonly Descriptor[];
}

const MAX_ATTEMPTS = 12;
const MAX_SIBLINGS = 16;
const PAUSE_MS = 150;

/**
 * Brings statements into force: a snapshot with them, made from the newest one.
 *
 * Registries have no compare-and-swap, so two publishers can each make version n+1, and the later write of {@link HEAD_TAG} hides the earlier one.
 * Nothing is lost by that: each snapshot is first stored under a tag of its own, and only then under the head; afterwards the publisher lists those
 * tags. Of two publishers at once at least one lists after the other has stored, sees a snapshot that the head does not contain, and makes the
 * next version of both. It ends when the head has everything. A crash before the head is written leaves a snapshot that nobody was told of; whoever
 * publishes the same version takes it up.
 *
 * @throws TagError `TAGS_CONFLICT` if another publisher said something else about one of the tags at the same time, and was taken
 */
export async function commit(
  context: PublishContext,
  complete: readonly Complete[],
): Promise<{ snapshot: SnapshotId & { until: Date }; merged: number }> {
  const ours: Contents = {
    entries: new Map(complete.map(({ statement }) => [statement.value.tag, entryOf(statement)])),
    layers: new Map(complete.map(({ statement, layers }) => [statement.id, layers])),
  };
  const made = new Set<Digest>();
  const taken = new Set<Digest>();
  // Read again: signing took a while.
  let base = await readHead(context);
  let siblings: VerifiedSnapshot[] = [];
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    // 1. Everything there is, in one.
    const contents = union([...(base ? [base, ...siblings] : siblings).map(contentsOf), ours]);
    checkSurvival(ours, contents);
    const { statement, layers } = await makeSnapshot(context, contents, base, siblings);
    // 2. Stored where nobody overwrites it. A crash here leaves something that was never announced.
    const id = idOf(statement);
    const manifest = await putSnapshotRecord(context.store, id, layers);
    made.add(id.statement);
    // 3. Announced, unless somebody was faster. Also if that is just missed, what they announced is still under its own tag.
    if ((await headDigest(context)) === base?.record.descriptor.digest) await putHead(context.store, manifest);
    // 4. Who else did the same?
    for (let looks = 0; looks < 2; looks++) {
      base = await mustReadHead(context);
      const head = contentsOf(base);
      siblings = (await readSiblings(context, id.version, base)).filter((other) => !isCovered(contentsOf(other), head));
      if (siblings.length === 0 && isCovered(ours, head)) {
        await context.memory?.write(context.repository, rememberSnapshot(base, [], context.now()));
        const { version, until } = base.statement.value;
        return { snapshot: { version, statement: base.statement.id, until }, merged: taken.size };
      }
      // 5. Not all at once: often the other one is just about to take us up.
      if (looks === 0) await context.pause(PAUSE_MS * (attempt + 1) * context.random());
    }
    for (const { statement: other } of base === undefined ? [] : [base, ...siblings]) {
      if (!made.has(other.id)) taken.add(other.id);
    }
  }
  throw new TagError(
    'TAGS_CONFLICT',
    `Cannot publish in ${context.repository}: other publishers came first ${MAX_ATTEMPTS} times`,
    { cure: 'Publish again when they have finished' },
  );
}

async function mustReadHead(context: HeadContext): Promise<VerifiedSnapshot> {
  const head = await readHead({ ...context, init: false });
  if (head === undefined) throw new Error('Only a beginner may find nothing');
  return head;
}

async function headDigest({ store }: PublishContext): Promise<Digest | undefined> {
  try {
    return (await store.resolve(HEAD_TAG)).digest;
  } catch (error) {
    if (error instanceof OciError && error.code === 'OCI_NOT_FOUND') return undefined;
    throw error;
  }
}

async function makeSnapshot(
  context: PublishContext,
  { entries, layers }: Contents,
  base: VerifiedSnapshot | undefined,
  siblings: readonly VerifiedSnapshot[],
): Promise<{ statement: Written<SnapshotStatement>; layers: Descriptor[] }> {
  const tags = [...entries.values()].sort((a, b) => (a.tag < b.tag ? -1 : 1));
  if (tags.length > MAX_TAGS)
    throw new TagError('TAGS_INPUT', `Cannot publish: ${tags.length} tags, at most ${MAX_TAGS}`);
  const before = [...(base ? [base] : []), ...siblings].map(({ statement }) => statement);
  // Never before what it follows, or clients that saw that would refuse this.
  const issued = wholeSeconds(Math.max(context.now(), ...before.map(({ value }) => value.issued.getTime())));
  const statement = encodeSnapshot({
    repository: context.repository,
    version: 1 + Math.max(0, ...before.map(({ value }) => value.version)),
    previous: base && idOf(base.statement),
    merged: siblings.map((sibling) => idOf(sibling.statement)),
    issued,
    until: wholeSeconds(issued.getTime() + context.snapshotLifetimeMs),
    tags,
  });
  const rest = layersOf(tags, layers);
  const bundle = await signStatement(context, statement);
  const signed = { id: statement.id, subject: statement.subject, predicateType: SNAPSHOT_PREDICATE_TYPE };
  const { counted, refused } = await countSignatures([bundle], signed, context.policy.snapshotSigners, context);
  if (counted.length === 0) {
    throw new TagError('TAGS_SNAPSHOT_SIGNER', `Cannot sign the snapshot: it would not count: ${refused.join('; ')}`, {
      check: 'snapshot-signer',
      cure: 'Sign as somebody whom the policy names for the snapshot',
    });
  }
  const own = await putBundle(context.store, statement.id, bundle);
  checkReadable(statement, [own, ...rest]);
  return { statement, layers: [own, ...rest] };
}

function layersOf(tags: readonly SnapshotEntry[], layers: Contents['layers']): Descriptor[] {
  return tags.flatMap(({ tag, statement: id }) => {
    const found = layers.get(id);
    if (found === undefined || found.length === 0) {
      throw new TagError('TAGS_TAG_FOUND', `Cannot publish: the statement of tag ${tag} is not in the registry`, {
        check: 'tag-found',
        cure: `Publish ${tag} too: its statement was removed`,
      });
    }
    return found;
  });
}

/** A snapshot that nobody could read would end all of the tags. */
function checkReadable(statement: Written<SnapshotStatement>, layers: readonly Descriptor[]): void {
  try {
    parseSnapshot(statement.payload);
    checkSnapshotRecord(idOf(statement), layers);
  } catch (cause) {
    if (!(cause instanceof TagError || cause instanceof OciError)) throw cause;
    throw new TagError('TAGS_INPUT', `Cannot publish: nobody could read the snapshot: ${reasonOf(cause)}`, {
      cause,
      cure: 'Fewer tags or fewer signers of each fit; a version that cannot be outbid takes a new beginning',
    });
  }
}

/** Other snapshots of this version or later, verified; what is not signed by a signer is nothing. */
async function readSiblings(
  context: PublishContext,
  version: number,
  head: VerifiedSnapshot,
): Promise<VerifiedSnapshot[]> {
  const names: string[] = [];
  for await (const name of context.store.tags()) {
    const parsed = parseSnapshotTag(name);
    if (parsed === undefined || parsed.version < version) continue;
    if (head.statement.id.slice('sha256:'.length).startsWith(parsed.digits)) continue;
    names.push(name);
  }
  const found: VerifiedSnapshot[] = [];
  // The lowest versions first: anybody who may push could put very high ones there.
  for (const name of names.sort(byVersion).slice(0, 4 * MAX_SIBLINGS)) {
    if (found.length === MAX_SIBLINGS) break;
    const sibling = await readSibling(context, name);
    if (sibling !== undefined) found.push(sibling);
  }
  return found;
}

function byVersion(a: string, b: string): number {
  return (parseSnapshotTag(a)?.version ?? 0) - (parseSnapshotTag(b)?.version ?? 0);
}

async function readSibling(context: PublishContext, reference: string): Promise<VerifiedSnapshot | undefined> {
  const { store, repository, policy, now, trustedRoot, crypto } = context;
  try {
    // Without the memory: a sibling may well be another than this client has seen.
    const bare: TagContext = { store, repository, policy, now, trustedRoot, crypto };
    return await checkSnapshot(new Checklist(), bare, { reference, anyAge: true });
  } catch (error) {
    if (error instanceof TagError && error.check !== undefined) return undefined;
    throw error;
  }
}
