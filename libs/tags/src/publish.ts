import { encodeBundle, type Bundle } from '#libs/bundle';
import { encodeUtf8 } from '#libs/encoding';
import { isTag, OciError, type Descriptor, type Digest } from '#libs/oci';
import { Checklist } from './checks.js';
import { TagError } from './error.js';
import { ruleFor, type TagSigner } from './policy.js';
import {
  HEAD_TAG,
  isPendingTag,
  parseSnapshotTag,
  putBundle,
  putHead,
  putPending,
  putSnapshotRecord,
  readBundle,
  readRecord,
  type TagStore,
} from './record.js';
import { countSignatures, openBundle, type CountedSignature } from './signatures.js';
import { checkSnapshot, rememberSnapshot, type TagContext, type VerifiedSnapshot } from './snapshot.js';
import {
  encodeSnapshot,
  encodeTagStatement,
  MAX_TAGS,
  parseTagStatement,
  SNAPSHOT_PREDICATE_TYPE,
  TAG_PREDICATE_TYPE,
  wholeSeconds,
  type SnapshotEntry,
  type SnapshotId,
  type SnapshotStatement,
  type TagStatement,
  type Written,
} from './statement.js';

/** What publishing takes beside what verifying takes. */
export interface PublishContext extends TagContext {
  readonly store: TagStore;
  /** Signs an in-toto statement and logs it, with a trusted time. */
  readonly sign: (statement: Uint8Array) => Promise<Bundle>;
  /** How long a statement about a tag holds, and how long a snapshot: milliseconds. */
  readonly tagLifetimeMs: number;
  readonly snapshotLifetimeMs: number;
  /** The repository has no trusted tags yet: begin. Never guessed: a registry that hides them would make us start anew. */
  readonly init?: boolean;
  /** Waits before taking up what another publisher did meanwhile. */
  readonly pause: (milliseconds: number) => Promise<void>;
  /** From 0 to 1. */
  readonly random: () => number;
}

/** What reading takes before something is published. */
type HeadContext = TagContext & { readonly store: TagStore; readonly init?: boolean };

/** What is to be said about one tag. */
export type TagChange =
  | {
      readonly kind: 'set';
      readonly tag: string;
      readonly target: Pick<Descriptor, 'digest' | 'mediaType' | 'size'>;
      /** Default: now. */
      readonly from?: Date;
      /** How many signers it waits for, if more than the policy wants. */
      readonly threshold?: number;
    }
  | { readonly kind: 'revoke'; readonly tag: string; readonly reason?: string; readonly threshold?: number };

export interface PublishedTag {
  readonly statement: TagStatement;
  readonly id: Digest;
  readonly signatures: readonly CountedSignature[];
  /** Signers that are still missing; then the tag means what it meant before. */
  readonly missing: number;
}

export interface Published {
  readonly tags: readonly PublishedTag[];
  /** The snapshot that has them; undefined if all wait for signers. */
  readonly snapshot: (SnapshotId & { readonly until: Date }) | undefined;
  /** Snapshots of others that were taken up on the way. */
  readonly merged: number;
}

/** A statement with enough signatures, ready for a snapshot. */
interface Complete {
  readonly statement: Written<TagStatement>;
  readonly layers: readonly Descriptor[];
}

const MAX_ATTEMPTS = 12;
const MAX_SIBLINGS = 16;
/** Signatures that wait; more are not read. */
const MAX_PENDING = 2000;
const PAUSE_MS = 150;
const YEARS_MS = 20 * 366 * 86_400_000;

/**
 * Says what tags mean: signs a statement for each, and a snapshot with all tags. Statements that want more signers than this one wait beside the
 * snapshot. Publishers may do this at the same time: see {@link commit}.
 *
 * @throws TagError `TAGS_INPUT`, `TAGS_POLICY`, `TAGS_CONFLICT`, `TAGS_TAG_SIGNERS` if the policy would not accept this signer, and what
 * the checks of the present snapshot say; OciError; whatever `sign` throws
 */
export async function publishTags(context: PublishContext, changes: readonly TagChange[]): Promise<Published> {
  checkChanges(context, changes);
  const head = await readHead(context);
  const published: PublishedTag[] = [];
  const complete: Complete[] = [];
  for (const change of changes) {
    const statement = makeStatement(context, change, head);
    const bundle = await signStatement(context, statement);
    const counted = await countOwn(context, statement, bundle);
    const missing = Math.max(statement.value.threshold - counted.length, 0);
    published.push({ statement: statement.value, id: statement.id, signatures: counted, missing });
    const layer = await putBundle(context.store, statement.id, bundle);
    if (missing > 0) await putPending(context.store, statement.id, layer);
    else complete.push({ statement, layers: [layer] });
  }
  if (complete.length === 0) return { tags: published, snapshot: undefined, merged: 0 };
  const { snapshot, merged } = await commit(context, complete);
  return { tags: published, snapshot, merged };
}

/**
 * Signs a new snapshot of the same tags, before the present one is too old to be believed.
 * @throws as {@link publishTags}
 */
export async function refreshSnapshot(context: PublishContext): Promise<Published> {
  const { snapshot, merged } = await commit({ ...context, init: false }, []);
  return { tags: [], snapshot, merged };
}

/** A statement that waits for signers. */
export interface PendingTag {
  readonly statement: TagStatement;
  readonly id: Digest;
  readonly signatures: readonly CountedSignature[];
  readonly missing: number;
}

/**
 * The statements about tags of this repository that wait for signers. Those that another publication has overtaken are left out.
 * @throws as {@link publishTags}
 */
export async function pendingTags(context: TagContext & { readonly store: TagStore }): Promise<PendingTag[]> {
  const head = await readHead({ ...context, init: true });
  const pending: PendingTag[] = [];
  for (const { statement, bundles } of await readPending(context, head)) {
    const counted = await countForTag(context, statement, bundles);
    const missing = Math.max(statement.value.threshold - counted.length, 0);
    pending.push({ statement: statement.value, id: statement.id, signatures: counted, missing });
  }
  return pending;
}

/**
 * Adds a signature to a statement that waits for it; with the last one the statement comes into force. `expected`: the digest that the signer
 * means to vouch for: a statement of another is not signed.
 * @throws as {@link publishTags}; TagError `TAGS_INPUT` if there is not exactly one such statement
 */
export async function cosignTag(
  context: PublishContext,
  { tag, expected }: { tag: string; expected: Digest },
): Promise<Published> {
  const head = await readHead({ ...context, init: true });
  const found = (await readPending(context, head)).filter(
    ({ statement: { value } }) => value.tag === tag && value.digest === expected,
  );
  const [first, second] = found;
  if (first === undefined || second !== undefined) {
    throw new TagError(
      'TAGS_INPUT',
      `Cannot cosign ${tag}: ${found.length} statements wait that it means ${expected}`,
      {
        cure: 'See `chancery tag pending`; where there are several, let one publisher publish anew',
      },
    );
  }
  const { statement, bundles, manifests } = first;
  const bundle = await signStatement(context, statement);
  await countOwn(context, statement, bundle);
  const earlier = await countForTag(context, statement, bundles);
  const counted = await countForTag(context, statement, [...bundles, bundle]);
  if (counted.length === earlier.length) {
    throw new TagError('TAGS_TAG_SIGNERS', `Cannot cosign ${tag}: this signer has signed it already`, {
      check: 'tag-signers',
      cure: 'Somebody else has to: a threshold counts distinct signers',
    });
  }
  const missing = Math.max(statement.value.threshold - counted.length, 0);
  const published = [{ statement: statement.value, id: statement.id, signatures: counted, missing }];
  const layers: Descriptor[] = [];
  for (const one of [...bundles, bundle]) layers.push(await putBundle(context.store, statement.id, one));
  if (missing > 0) {
    await putPending(context.store, statement.id, layers[layers.length - 1] as Descriptor); // of the bundle just made
    return { tags: published, snapshot: undefined, merged: 0 };
  }
  const { snapshot, merged } = await commit(context, [{ statement, layers }]);
  await removePending(context, manifests);
  return { tags: published, snapshot, merged };
}

interface Pending {
  readonly statement: Written<TagStatement>;
  readonly bundles: readonly Uint8Array[];
  /** The manifests around them. */
  readonly manifests: readonly Digest[];
}

/** What is no longer waited for is cleared away where the registry lets us; where not, its statement is simply overtaken. */
async function removePending({ store }: PublishContext, manifests: readonly Digest[]): Promise<void> {
  for (const digest of manifests) {
    try {
      await store.deleteManifest(digest);
    } catch (error) {
      if (!(error instanceof OciError)) throw error;
    }
  }
}

async function readPending(context: HeadContext, head: VerifiedSnapshot | undefined): Promise<Pending[]> {
  const found = new Map<Digest, { statement: Written<TagStatement>; bundles: Uint8Array[]; manifests: Digest[] }>();
  let count = 0;
  for await (const name of context.store.tags()) {
    if (!isPendingTag(name)) continue;
    if (++count > MAX_PENDING) break;
    // What cannot be read is no statement: anybody who may push can put something there.
    const read = await readOnePending(context, name);
    if (read === undefined) continue;
    const { statement, bundle, manifest } = read;
    const { repository, tag, version } = statement.value;
    const entry = head?.statement.value.tags.find((one) => one.tag === tag);
    if (repository !== context.repository || version !== (entry?.version ?? 0) + 1) continue;
    if (statement.value.previous !== entry?.statement) continue;
    const known = found.get(statement.id) ?? { statement, bundles: [], manifests: [] };
    known.bundles.push(bundle);
    known.manifests.push(manifest);
    found.set(statement.id, known);
  }
  return [...found.values()];
}

async function readOnePending(
  { store }: HeadContext,
  name: string,
): Promise<{ statement: Written<TagStatement>; bundle: Uint8Array; manifest: Digest } | undefined> {
  try {
    const record = await readRecord(store, name);
    const layer = record.bundles.get(record.snapshot)?.[0];
    if (layer === undefined) return undefined;
    const bundle = await readBundle(store, layer);
    const opened = openBundle(bundle);
    const manifest = record.descriptor.digest;
    return opened === undefined ? undefined : { statement: parseTagStatement(opened.payload), bundle, manifest };
  } catch (error) {
    const name = error instanceof Error ? error.name : '';
    const isNetwork = error instanceof OciError && !/^OCI_(NOT_FOUND|DIGEST|SIZE|LIMIT|MANIFEST)$/.test(error.code);
    if (isNetwork || !['TagError', 'BundleError', 'OciError'].includes(name)) throw error;
    return undefined;
  }
}

function checkChanges({ tagLifetimeMs, snapshotLifetimeMs }: PublishContext, changes: readonly TagChange[]): void {
  const refuse = (state: string) => new TagError('TAGS_INPUT', `Cannot publish: ${state}`);
  if (changes.length === 0) throw refuse('no tag is named');
  for (const ms of [tagLifetimeMs, snapshotLifetimeMs]) {
    if (!(ms >= 60_000 && ms <= YEARS_MS)) throw refuse('a lifetime must be from a minute to twenty years');
  }
  const names = changes.map(({ tag }) => tag);
  if (new Set(names).size !== names.length) throw refuse('a tag is named twice');
  for (const tag of names) {
    if (!isTag(tag)) throw refuse(`${tag} is not a tag`);
    if (tag === HEAD_TAG || tag.startsWith(`${HEAD_TAG}.`)) throw refuse(`${tag} is where trusted tags are kept`);
  }
}

/** What is published now, verified as by anybody; undefined if this is the beginning. */
async function readHead(context: HeadContext): Promise<VerifiedSnapshot | undefined> {
  const checklist = new Checklist();
  try {
    return await checkSnapshot(checklist, context, { reference: HEAD_TAG, anyAge: true });
  } catch (error) {
    const isAbsent = error instanceof TagError && error.code === 'TAGS_SNAPSHOT_FOUND';
    if (!isAbsent || context.init !== true) throw error;
    if ((await context.memory?.read(context.repository)) !== undefined) {
      throw new TagError(
        'TAGS_SNAPSHOT_FOUND',
        `Cannot begin with ${context.repository}: this client has seen its tags before`,
        {
          check: 'snapshot-found',
          cure: 'The registry hides or has lost them. To start anew on purpose, run `chancery tag forget` first',
          cause: error,
        },
      );
    }
    return undefined;
  }
}

function makeStatement(
  { repository, policy, now, tagLifetimeMs }: PublishContext,
  change: TagChange,
  head: VerifiedSnapshot | undefined,
): Written<TagStatement> {
  const rule = ruleFor(policy, change.tag);
  const entry = head?.statement.value.tags.find(({ tag }) => tag === change.tag);
  const issued = wholeSeconds(now());
  const from = change.kind === 'set' && change.from !== undefined ? wholeSeconds(change.from.getTime()) : issued;
  const until = wholeSeconds(Math.max(from.getTime(), issued.getTime()) + tagLifetimeMs);
  const common = {
    repository,
    tag: change.tag,
    version: (entry?.version ?? 0) + 1,
    previous: entry?.statement,
    issued,
    from,
    until,
    threshold: Math.max(rule.threshold, change.threshold ?? 1),
  };
  if (change.kind === 'set') {
    const { digest, mediaType, size } = change.target;
    return encodeTagStatement({ ...common, state: 'current', digest, mediaType, size, reason: undefined });
  }
  if (entry === undefined || entry.state === 'revoked') {
    throw new TagError(
      'TAGS_INPUT',
      `Cannot revoke ${change.tag}: it is ${entry === undefined ? 'no trusted tag' : 'revoked already'}`,
    );
  }
  const { digest } = entry;
  // Of what is revoked only the digest matters; nobody will fetch it by this statement.
  const mediaType = 'application/octet-stream';
  return encodeTagStatement({ ...common, state: 'revoked', digest, mediaType, size: 1, reason: change.reason });
}

async function signStatement(context: PublishContext, { payload }: Written<unknown>): Promise<Uint8Array> {
  return encodeUtf8(encodeBundle(await context.sign(payload)));
}

/** A signature that no client would count is not published. */
async function countOwn(
  context: PublishContext,
  statement: Written<TagStatement>,
  bundle: Uint8Array,
): Promise<readonly CountedSignature[]> {
  const { tag } = statement.value;
  const { signers } = ruleFor(context.policy, tag);
  const { counted, refused } = await count(context, statement, TAG_PREDICATE_TYPE, [bundle], signers);
  if (counted.length === 0) {
    throw new TagError('TAGS_TAG_SIGNERS', `Cannot sign ${tag}: the signature would not count: ${refused.join('; ')}`, {
      check: 'tag-signers',
      cure: 'Sign as somebody whom the policy names for this tag',
    });
  }
  return counted;
}

async function countForTag(
  context: HeadContext,
  statement: Written<TagStatement>,
  bundles: readonly Uint8Array[],
): Promise<readonly CountedSignature[]> {
  const { signers } = ruleFor(context.policy, statement.value.tag);
  return (await count(context, statement, TAG_PREDICATE_TYPE, bundles, signers)).counted;
}

function count(
  context: HeadContext,
  { id, subject }: Written<unknown>,
  predicateType: string,
  bundles: readonly Uint8Array[],
  signers: readonly TagSigner[],
): ReturnType<typeof countSignatures> {
  return countSignatures(bundles, { id, subject, predicateType }, signers, context);
}

/** What a snapshot is made of: the tags, and where their bundles are. */
interface Contents {
  readonly entries: ReadonlyMap<string, SnapshotEntry>;
  readonly layers: ReadonlyMap<Digest, readonly Descriptor[]>;
}

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
async function commit(
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
  const bundle = await signStatement(context, statement);
  const { counted, refused } = await count(
    context,
    statement,
    SNAPSHOT_PREDICATE_TYPE,
    [bundle],
    context.policy.snapshotSigners,
  );
  if (counted.length === 0) {
    throw new TagError('TAGS_SNAPSHOT_SIGNER', `Cannot sign the snapshot: it would not count: ${refused.join('; ')}`, {
      check: 'snapshot-signer',
      cure: 'Sign as somebody whom the policy names for the snapshot',
    });
  }
  const own = await putBundle(context.store, statement.id, bundle);
  const rest = tags.flatMap(({ tag, statement: id }) => {
    const found = layers.get(id);
    if (found === undefined || found.length === 0) {
      throw new TagError('TAGS_TAG_FOUND', `Cannot publish: the statement of tag ${tag} is not in the registry`, {
        check: 'tag-found',
        cure: `Publish ${tag} too: its statement was removed`,
      });
    }
    return found;
  });
  return { statement, layers: [own, ...rest] };
}

function entryOf({ value: { tag, state, version, digest }, id }: Written<TagStatement>): SnapshotEntry {
  return { tag, state, version, statement: id, digest };
}

function idOf({ value: { version }, id }: Written<SnapshotStatement>): SnapshotId {
  return { version, statement: id };
}

function contentsOf({ statement, record }: VerifiedSnapshot): Contents {
  return {
    entries: new Map(statement.value.tags.map((entry) => [entry.tag, entry])),
    layers: record.bundles,
  };
}

/** Of each tag the highest version. Of two statements with one version all publishers take the same, without asking each other. */
function union(all: readonly Contents[]): Contents {
  const entries = new Map<string, SnapshotEntry>();
  const layers = new Map<Digest, readonly Descriptor[]>();
  for (const contents of all) {
    for (const [tag, entry] of contents.entries) {
      const known = entries.get(tag);
      if (known === undefined || isAfter(entry, known)) entries.set(tag, entry);
    }
    for (const [id, found] of contents.layers) if (!layers.has(id)) layers.set(id, found);
  }
  return { entries, layers };
}

function isAfter(one: SnapshotEntry, other: SnapshotEntry): boolean {
  return one.version > other.version || (one.version === other.version && one.statement < other.statement);
}

/** Whether the second says all that the first does, or something newer. */
function isCovered({ entries }: Contents, { entries: has }: Contents): boolean {
  return [...entries.values()].every((entry) => {
    const found = has.get(entry.tag);
    return found !== undefined && (found.statement === entry.statement || isAfter(found, entry));
  });
}

function checkSurvival(ours: Contents, all: Contents): void {
  for (const { tag, version, statement } of ours.entries.values()) {
    const taken = all.entries.get(tag);
    if (taken === undefined || taken.statement === statement) continue;
    throw new TagError(
      'TAGS_CONFLICT',
      `Cannot publish ${tag}: another publisher made version ${taken.version} of it, which means ${taken.digest}, while we made version ${version}`,
      { cure: 'Look at `chancery tag history`; if it should still mean yours, publish it again' },
    );
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
