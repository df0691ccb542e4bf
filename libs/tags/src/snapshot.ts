import { BundleError } from '#libs/bundle';
import { OciError, type Descriptor, type Digest } from '#libs/oci';
import { Objection, type Checklist } from './checks.js';
import { TagError } from './error.js';
import type { Remembered, TagMemory } from './memory.js';
import type { TagPolicy } from './policy.js';
import { readBundle, readRecord, type SnapshotRecord, type TagReader } from './record.js';
import { countSignatures, openBundle, type CountedSignature, type Trust } from './signatures.js';
import {
  instant,
  parseSnapshot,
  SNAPSHOT_PREDICATE_TYPE,
  type SnapshotEntry,
  type SnapshotStatement,
  type Written,
} from './statement.js';

/** Of one statement all bundles together: honest ones have a megabyte at most, of the largest snapshot. */
const MAX_EVIDENCE_BYTES = 32 * 1024 * 1024;

/** How far two clocks may be apart that are both right enough. */
export const SKEW_MS = 5 * 60_000;

/** What judging takes, whether to use a tag or to publish one. */
export interface TagContext extends Trust {
  readonly store: TagReader;
  /** Which repository the statements must be about, in full. */
  readonly repository: string;
  readonly policy: TagPolicy;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly memory?: TagMemory;
  /** Refuse a repository that is not remembered. */
  readonly refuseFirstUse?: boolean;
}

/** A snapshot that passed all checks. */
export interface VerifiedSnapshot {
  readonly record: SnapshotRecord;
  readonly statement: Written<SnapshotStatement>;
  readonly signature: CountedSignature;
  /** What was remembered before; undefined at first use, and without a memory. */
  readonly remembered: Remembered | undefined;
}

/** Bundles of one statement, and their payload once it is found. */
export interface Evidence {
  readonly bundles: readonly Uint8Array[];
  readonly payload: Uint8Array;
}

/**
 * Reads the snapshot under a tag of the registry and makes every check about it, in order. `anyAge`: one that has expired will do, to publish
 * on. Nothing is remembered yet.
 */
export async function checkSnapshot(
  checklist: Checklist,
  context: TagContext,
  { reference, anyAge = false }: { reference: string; anyAge?: boolean },
): Promise<VerifiedSnapshot> {
  const { store, repository, policy, memory } = context;
  const nowMs = context.now();
  const remembered = await memory?.read(repository);

  // A. What the registry has
  const found = await checklist.run('snapshot-found', () => findRecord(store, reference));
  const { record, statement, evidence } = await checklist.run('snapshot-form', () => openSnapshot(store, found));
  const { value } = statement;

  // B. Who says so, about what
  const signature = await checklist.run('snapshot-signer', async () => {
    const signed = { id: statement.id, subject: statement.subject, predicateType: SNAPSHOT_PREDICATE_TYPE };
    const { counted, refused } = await countSignatures(evidence.bundles, signed, policy.snapshotSigners, context);
    const [first] = counted;
    if (first === undefined) throw new Objection(`no signature of a signer: ${refused.join('; ')}`);
    return [describeSignature(first), first];
  });
  await checklist.run('snapshot-repository', () => {
    if (value.repository !== repository) {
      throw new Objection(`the snapshot is about ${value.repository}, asked for ${repository}`);
    }
    return [repository, undefined];
  });

  // C. When
  await checklist.run('clock', () => checkClock(nowMs, signature, remembered));
  await checklist.run('snapshot-time', () => checkIssued(value.issued, value.until, [signature]));
  if (anyAge) checklist.skip('snapshot-fresh', 'to publish on it, an old one will do');
  else {
    await checklist.run('snapshot-fresh', () =>
      checkAge({ nowMs, issued: value.issued, until: value.until, maxAgeMs: policy.snapshotMaxAgeMs }),
    );
  }

  // D. What this client has seen before
  if (remembered === undefined) {
    if (context.refuseFirstUse === true) {
      await checklist.run('first-use', () => {
        throw new Objection(`nothing is remembered of ${repository}`);
      });
    }
    const why =
      memory === undefined ? 'nothing is remembered' : 'first use: what is found now is what counts from here';
    for (const id of ['first-use', 'snapshot-rollback', 'snapshot-fork', 'snapshot-continuity'] as const) {
      checklist.skip(id, why);
    }
  } else {
    await checklist.run('first-use', () => [`known since ${instant(remembered.firstSeen)}`, undefined]);
    await checklist.run('snapshot-rollback', () => checkRollback(value, signature, remembered));
    await checklist.run('snapshot-fork', () => checkFork(statement, remembered));
    await checklist.run('snapshot-continuity', () => checkContinuity(value.tags, remembered.tags));
  }
  return { record, statement, signature, remembered };
}

/** What to remember of a snapshot that was verified. `times`: of everything that was. */
export function rememberSnapshot(
  { statement, signature, remembered }: VerifiedSnapshot,
  times: readonly Date[],
  nowMs: number,
): Remembered {
  const { version, issued, tags } = statement.value;
  const latest = Math.max(...[...signature.times, ...times, remembered?.latestTime ?? new Date(0)].map(Number));
  return {
    snapshot: { version, statement: statement.id, issued },
    logs: signature.logs.map(({ origin, index }) => ({ origin, index })),
    latestTime: new Date(latest),
    tags,
    firstSeen: remembered?.firstSeen ?? new Date(nowMs),
  };
}

/** The record, or what is wrong with it: that there is something is one thing, what it is another. */
async function findRecord(store: TagReader, reference: string): Promise<readonly [string, SnapshotRecord | Objection]> {
  try {
    const record = await readRecord(store, reference);
    return [record.descriptor.digest, record];
  } catch (cause) {
    if (cause instanceof OciError && cause.code === 'OCI_NOT_FOUND') {
      throw new Objection(`there is nothing under ${reference}: nothing is known about any tag`, undefined, { cause });
    }
    const objection = asObjection(cause);
    if (objection instanceof Objection) return [reference, objection];
    throw cause;
  }
}

async function openSnapshot(
  store: TagReader,
  record: SnapshotRecord | Objection,
): Promise<readonly [string, { record: SnapshotRecord; statement: Written<SnapshotStatement>; evidence: Evidence }]> {
  if (record instanceof Objection) throw record;
  const evidence = await readEvidence(store, record, record.snapshot);
  if (evidence === undefined) throw new Objection(`no bundle has the statement ${record.snapshot}`);
  try {
    const statement = parseSnapshot(evidence.payload);
    const { version, tags } = statement.value;
    return [`version ${version}, ${tags.length} tag${tags.length === 1 ? '' : 's'}`, { record, statement, evidence }];
  } catch (cause) {
    throw asObjection(cause);
  }
}

/** The bundles that are said to sign a statement, and the statement if it is in any of them; undefined if it is not. */
export async function readEvidence(
  store: TagReader,
  record: SnapshotRecord,
  id: Digest,
): Promise<Evidence | undefined> {
  const bundles: Uint8Array[] = [];
  let payload: Uint8Array | undefined;
  let size = 0;
  for (const layer of record.bundles.get(id) ?? []) {
    size += layer.size;
    if (size > MAX_EVIDENCE_BYTES) break;
    const bytes = await readLayer(store, layer);
    if (bytes === undefined) continue;
    bundles.push(bytes);
    payload ??= payloadOf(bytes, id);
  }
  return payload === undefined ? undefined : { bundles, payload };
}

/** A layer's bytes; undefined if the registry has lost it, or has something else there: then it is as if it were gone. */
async function readLayer(store: TagReader, layer: Descriptor): Promise<Uint8Array | undefined> {
  try {
    return await readBundle(store, layer);
  } catch (error) {
    const isGone =
      error instanceof OciError && ['OCI_NOT_FOUND', 'OCI_DIGEST', 'OCI_SIZE', 'OCI_LIMIT'].includes(error.code);
    if (!isGone) throw error;
    return undefined;
  }
}

function payloadOf(bundle: Uint8Array, id: Digest): Uint8Array | undefined {
  try {
    const opened = openBundle(bundle);
    return opened?.id === id ? opened.payload : undefined;
  } catch (error) {
    // It will be among the signatures that do not count, with the reason.
    if (error instanceof BundleError) return undefined;
    throw error;
  }
}

/** A lie cannot have been told in the future: then it is this clock that is wrong, and no expiry means anything. */
function checkClock(
  nowMs: number,
  { times }: CountedSignature,
  remembered: Remembered | undefined,
): readonly [string, undefined] {
  const now = new Date(nowMs);
  const signed = times.find((time) => time.getTime() > nowMs + SKEW_MS);
  if (signed !== undefined) {
    throw new Objection(`it is ${instant(now)} here, and the snapshot was signed at ${instant(signed)}`);
  }
  if (remembered !== undefined && remembered.latestTime.getTime() > nowMs + SKEW_MS) {
    throw new Objection(`it is ${instant(now)} here, and this client has been at ${instant(remembered.latestTime)}`);
  }
  return [instant(now), undefined];
}

/**
 * A statement is as old as it says: a timestamp can be had for an old signature of a key at any time, so that the time of signing may look newer
 * than it is, but never older.
 */
export function checkIssued(
  issued: Date,
  until: Date,
  signatures: readonly CountedSignature[],
): readonly [string, undefined] {
  for (const time of signatures.flatMap(({ times }) => times)) {
    if (issued.getTime() > time.getTime() + SKEW_MS) {
      throw new Objection(`it says ${instant(issued)}, and was signed before, at ${instant(time)}`);
    }
  }
  if (until < issued)
    throw new Objection(`it says ${instant(issued)}, and holds until ${instant(until)}, which is before`);
  return [instant(issued), undefined];
}

export function checkAge({
  nowMs,
  issued,
  until,
  maxAgeMs,
}: {
  nowMs: number;
  issued: Date;
  until: Date;
  maxAgeMs: number | undefined;
}): readonly [string, undefined] {
  if (nowMs > until.getTime())
    throw new Objection(`it was good until ${instant(until)}, now it is ${instant(new Date(nowMs))}`);
  const ageMs = nowMs - issued.getTime();
  if (maxAgeMs !== undefined && ageMs > maxAgeMs) {
    throw new Objection(
      `it is ${Math.floor(ageMs / 1000)} s old, at most ${Math.floor(maxAgeMs / 1000)} s are allowed`,
    );
  }
  return [`until ${instant(until)}`, undefined];
}

function checkRollback(
  { version, issued }: SnapshotStatement,
  { logs }: CountedSignature,
  { snapshot: seen, logs: seenLogs }: Remembered,
): readonly [string, undefined] {
  if (version < seen.version) throw new Objection(`it has version ${version}, this client has seen ${seen.version}`);
  if (version > seen.version) {
    if (issued < seen.issued) {
      throw new Objection(
        `version ${version} is of ${instant(issued)}, and version ${seen.version}, seen before, of ${instant(seen.issued)}`,
      );
    }
    for (const { origin, index } of logs) {
      const before = seenLogs.find((log) => log.origin === origin);
      if (before !== undefined && index < before.index) {
        throw new Objection(
          `${origin} has version ${version} as entry ${index}, and version ${seen.version} later, as entry ${before.index}`,
        );
      }
    }
  }
  return [`version ${version}, seen before: ${seen.version}`, undefined];
}

/** Two publishers that take each other up may end with the same tags under two signatures: nobody is told anything different. */
function checkFork(
  { id, value }: Written<SnapshotStatement>,
  { snapshot: seen, tags }: Remembered,
): readonly [string, undefined] {
  const text = (entries: readonly SnapshotEntry[]) => JSON.stringify(entries.map((e) => [e.tag, e.statement]));
  if (value.version === seen.version && id !== seen.statement && text(value.tags) !== text(tags)) {
    throw new Objection(`version ${value.version} was ${seen.statement} before, and is ${id} now`);
  }
  return [id, undefined];
}

function checkContinuity(tags: readonly SnapshotEntry[], seen: readonly SnapshotEntry[]): readonly [string, undefined] {
  const now = new Map(tags.map((entry) => [entry.tag, entry]));
  for (const { tag, version, statement } of seen) {
    const entry = now.get(tag);
    if (entry === undefined) throw new Objection(`tag ${tag}, seen before, is not in it`);
    if (entry.version < version)
      throw new Objection(`tag ${tag} has version ${entry.version}, seen before: ${version}`);
    if (entry.version === version && entry.statement !== statement) {
      throw new Objection(`version ${version} of tag ${tag} was ${statement} before, and is ${entry.statement} now`);
    }
  }
  return [`${seen.length} tag${seen.length === 1 ? '' : 's'} seen before`, undefined];
}

export function describeSignature({ signer, identity, times }: CountedSignature): string {
  const who = 'san' in identity ? `${identity.san} (${identity.issuer})` : `key ${identity.keyId.slice(0, 16)}…`;
  const [time] = times;
  return `${signer}: ${who}${time === undefined ? '' : ` at ${instant(time)}`}`;
}

/** What a store or a parser says about content that it will not give; a network that fails is no objection. */
export function asObjection(error: unknown): unknown {
  const isContent =
    (error instanceof TagError && error.code === 'TAGS_MALFORMED') ||
    (error instanceof OciError && ['OCI_MANIFEST', 'OCI_DIGEST', 'OCI_SIZE', 'OCI_LIMIT'].includes(error.code));
  return isContent ? new Objection(error.message, undefined, { cause: error }) : error;
}
