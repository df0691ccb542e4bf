import { encodeBundle, type Bundle } from '#libs/bundle';
import { encodeUtf8 } from '#libs/encoding';
import { Checklist } from './checks.js';
import { TagError } from './error.js';
import { ruleFor } from './policy.js';
import { HEAD_TAG, type TagStore } from './record.js';
import { countSignatures, type CountedSignature } from './signatures.js';
import { checkSnapshot, type TagContext, type VerifiedSnapshot } from './snapshot.js';
import { TAG_PREDICATE_TYPE, type TagStatement, type Written } from './statement.js';

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
export type HeadContext = TagContext & { readonly store: TagStore; readonly init?: boolean };

/**
 * What is published now, verified as by anybody; undefined if this is the beginning.
 * @throws TagError as the checks of a snapshot; `TAGS_SNAPSHOT_FOUND` also if there is none and `init` does not allow that, or the memory knows of one
 */
export async function readHead(context: HeadContext): Promise<VerifiedSnapshot | undefined> {
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

/** The bundle around a statement, as it is stored. */
export async function signStatement(context: PublishContext, { payload }: Written<unknown>): Promise<Uint8Array> {
  return encodeUtf8(encodeBundle(await context.sign(payload)));
}

/**
 * Whose signature this publisher's own bundle is. One that no client would count is not published.
 * @throws TagError `TAGS_TAG_SIGNERS`
 */
export async function countOwn(
  context: PublishContext,
  statement: Written<TagStatement>,
  bundle: Uint8Array,
): Promise<readonly CountedSignature[]> {
  const { tag } = statement.value;
  const { counted, refused } = await countTagSignatures(context, statement, [bundle]);
  if (counted.length === 0) {
    throw new TagError('TAGS_TAG_SIGNERS', `Cannot sign ${tag}: the signature would not count: ${refused.join('; ')}`, {
      check: 'tag-signers',
      cure: 'Sign as somebody whom the policy names for this tag',
    });
  }
  return counted;
}

/** The signatures of distinct signers whom the policy names for the tag. */
export async function countForTag(
  context: HeadContext,
  statement: Written<TagStatement>,
  bundles: readonly Uint8Array[],
): Promise<readonly CountedSignature[]> {
  return (await countTagSignatures(context, statement, bundles)).counted;
}

/** How many signers a statement takes, whoever wrote into it that fewer are enough. */
export function neededFor({ policy }: HeadContext, { value: { tag, threshold } }: Written<TagStatement>): number {
  return Math.max(ruleFor(policy, tag).threshold, threshold);
}

function countTagSignatures(
  context: HeadContext,
  { id, subject, value: { tag } }: Written<TagStatement>,
  bundles: readonly Uint8Array[],
): ReturnType<typeof countSignatures> {
  const { signers } = ruleFor(context.policy, tag);
  return countSignatures(bundles, { id, subject, predicateType: TAG_PREDICATE_TYPE }, signers, context);
}
