import { isTag, type Descriptor, type Digest } from '#libs/oci';
import { commit, type Complete } from './commit.js';
import { TagError } from './error.js';
import { ruleFor } from './policy.js';
import { countOwn, readHead, signStatement, type PublishContext } from './publisher.js';
import { HEAD_TAG, putBundle, putPending } from './record.js';
import type { CountedSignature } from './signatures.js';
import type { VerifiedSnapshot } from './snapshot.js';
import {
  encodeTagStatement,
  parseTagStatement,
  wholeSeconds,
  type SnapshotId,
  type TagStatement,
  type Written,
} from './statement.js';

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
    return readable({ ...common, state: 'current', digest, mediaType, size, reason: undefined });
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
  const reason = change.reason === '' ? undefined : change.reason;
  return readable({ ...common, state: 'revoked', digest, mediaType, size: 1, reason });
}

/** What nobody could read is not signed. */
function readable(value: TagStatement): Written<TagStatement> {
  try {
    return parseTagStatement(encodeTagStatement(value).payload);
  } catch (cause) {
    if (!(cause instanceof TagError)) throw cause;
    throw new TagError('TAGS_INPUT', `Cannot publish ${value.tag}: ${cause.message}`, { cause });
  }
}
