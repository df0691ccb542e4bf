import { OciError } from '#libs/oci';
import { Checklist, Objection, type TagCheck } from './checks.js';
import { TagError } from './error.js';
import { ruleFor, type TagRule } from './policy.js';
import { HEAD_TAG, type TagReader } from './record.js';
import { countSignatures, type CountedSignature } from './signatures.js';
import {
  asObjection,
  checkAge,
  checkIssued,
  checkSnapshot,
  describeSignature,
  readEvidence,
  rememberSnapshot,
  SKEW_MS,
  type TagContext,
  type VerifiedSnapshot,
} from './snapshot.js';
import {
  instant,
  parseTagStatement,
  TAG_PREDICATE_TYPE,
  type SnapshotEntry,
  type TagStatement,
  type Written,
} from './statement.js';

/** A tag that means what its statement says, now. */
export interface VerifiedTag {
  readonly statement: TagStatement;
  readonly signatures: readonly CountedSignature[];
}

/** What came out. Only with `ok` is anything beside `checks` and `failure` to be believed, and only then is it there. */
export interface TagReport {
  readonly ok: boolean;
  readonly repository: string;
  readonly checks: readonly TagCheck[];
  /** In the order asked for, all of one snapshot. */
  readonly tags?: readonly VerifiedTag[];
  readonly snapshot?: {
    readonly version: number;
    readonly issued: Date;
    readonly until: Date;
    readonly signer: string;
  };
  /** Nothing was remembered of this repository before: protection from an older state begins now. */
  readonly isFirstUse?: boolean;
  readonly failure?: TagError;
}

/**
 * Verifies what tags of one repository mean now, all in one snapshot, and remembers what was seen. A bad answer of the registry is a report with
 * `ok: false`; tags that cannot be verified are never reported as not signed.
 *
 * @throws TagError `TAGS_POLICY` if the policy has no rule for a tag, `TAGS_STATE`; OciError if the registry does not answer
 */
export async function verifyTags(context: TagContext, tags: readonly string[]): Promise<TagReport> {
  const { repository, memory } = context;
  if (tags.length === 0) throw new TagError('TAGS_INPUT', 'Cannot verify: no tag is named');
  const rules = tags.map((tag) => ruleFor(context.policy, tag));
  const checklist = new Checklist();
  let snapshot: VerifiedSnapshot | undefined;
  const verified: VerifiedTag[] = [];
  try {
    snapshot = await checkSnapshot(checklist, context, { reference: HEAD_TAG });
    for (const [i, tag] of tags.entries()) {
      verified.push(await checkTag(checklist, context, { snapshot, tag, rule: rules[i] as TagRule })); // one each
    }
    // Only what passed whole is remembered, or a bad answer would shut out the good ones after it.
    await remember(snapshot);
    const { version, issued, until } = snapshot.statement.value;
    return {
      ok: true,
      repository,
      checks: checklist.list(),
      tags: verified,
      snapshot: { version, issued, until, signer: describeSignature(snapshot.signature) },
      isFirstUse: snapshot.remembered === undefined,
    };
  } catch (error) {
    if (!(error instanceof TagError) || error !== checklist.failure) throw error;
    // A revocation has passed all that makes it believed. Who has seen one must not be shown the state before it.
    if (error.check === 'tag-revoked' && snapshot !== undefined) await remember(snapshot);
    return { ok: false, repository, checks: checklist.list(), failure: error };
  }

  async function remember(seen: VerifiedSnapshot): Promise<void> {
    const times = verified.flatMap(({ signatures }) => signatures.flatMap((one) => one.times));
    await memory?.write(repository, rememberSnapshot(seen, times, context.now()));
  }
}

/** The checks about one tag of a verified snapshot. */
async function checkTag(
  checklist: Checklist,
  context: TagContext,
  { snapshot, tag, rule }: { snapshot: VerifiedSnapshot; tag: string; rule: TagRule },
): Promise<VerifiedTag> {
  const { store, repository } = context;
  const nowMs = context.now();
  const { value } = snapshot.statement;

  // E. What the snapshot says, and what it points to
  const entry = await checklist.run(
    'tag-listed',
    () => {
      const found = value.tags.find((one) => one.tag === tag);
      if (found === undefined) throw new Objection(`version ${value.version} of the snapshot has no tag ${tag}`);
      return [`version ${found.version}, ${found.state}`, found];
    },
    tag,
  );
  const evidence = await checklist.run(
    'tag-found',
    async () => {
      const found = await readEvidence(store, snapshot.record, entry.statement);
      if (found === undefined) throw new Objection(`the statement ${entry.statement} is not in the registry`);
      return [entry.statement, found];
    },
    tag,
  );
  const statement = await checklist.run('tag-form', () => openStatement(evidence.payload), tag);
  await checklist.run('tag-binding', () => checkBinding(statement.value, entry, { repository, tag }), tag);

  // F. Who says so
  const signatures = await checklist.run(
    'tag-signers',
    async () => {
      const signed = { id: statement.id, subject: statement.subject, predicateType: TAG_PREDICATE_TYPE };
      const { counted, refused } = await countSignatures(evidence.bundles, signed, rule.signers, context);
      const needed = Math.max(rule.threshold, statement.value.threshold);
      if (counted.length < needed) {
        const why = refused.length === 0 ? '' : `; refused: ${refused.join('; ')}`;
        throw new Objection(`${counted.length} of ${needed} signers signed${why}`);
      }
      return [counted.map(describeSignature).join('; '), counted];
    },
    tag,
  );

  // G. Whether it holds now
  const { issued, from, until, state, reason } = statement.value;
  await checklist.run(
    'tag-time',
    () => {
      const future = signatures.flatMap(({ times }) => times).find((time) => time.getTime() > nowMs + SKEW_MS);
      if (future !== undefined) {
        throw new Objection(`it was signed at ${instant(future)}, and it is ${instant(new Date(nowMs))} here`);
      }
      return checkIssued(issued, until, signatures);
    },
    tag,
  );
  await checklist.run(
    'tag-revoked',
    () => {
      if (state === 'revoked') throw new Objection(`revoked at ${instant(issued)}: ${reason ?? 'no reason is given'}`);
      return ['it is current', undefined];
    },
    tag,
  );
  await checklist.run(
    'tag-fresh',
    () => {
      if (nowMs < from.getTime())
        throw new Objection(`it holds from ${instant(from)}, now it is ${instant(new Date(nowMs))}`);
      return checkAge({ nowMs, issued, until, maxAgeMs: rule.maxAgeMs });
    },
    tag,
  );
  await checklist.run('image', () => checkImage(store, statement.value), tag);
  return { statement: statement.value, signatures };
}

function openStatement(payload: Uint8Array): readonly [string, Written<TagStatement>] {
  try {
    const statement = parseTagStatement(payload);
    return [`version ${statement.value.version}`, statement];
  } catch (cause) {
    throw asObjection(cause);
  }
}

/** A statement made for another tag or repository is a good signature and means nothing here. */
export function checkBinding(
  statement: TagStatement,
  entry: SnapshotEntry,
  { repository, tag }: { repository: string; tag: string },
): readonly [string, undefined] {
  const asked = `${repository}:${tag}`;
  const said = `${statement.repository}:${statement.tag}`;
  if (said !== asked) throw new Objection(`the statement is about ${said}, asked for ${asked}`);
  for (const name of ['version', 'state', 'digest'] as const) {
    if (statement[name] !== entry[name]) {
      throw new Objection(`the statement has ${name} ${statement[name]}, the snapshot ${entry[name]}`);
    }
  }
  return [asked, undefined];
}

async function checkImage(
  store: TagReader,
  { digest, size, mediaType }: TagStatement,
): Promise<readonly [string, undefined]> {
  try {
    const found = await store.resolve(digest);
    if (found.size !== size || found.mediaType !== mediaType) {
      throw new Objection(
        `the registry has ${found.mediaType} of ${found.size} bytes, the statement says ${mediaType} of ${size}`,
      );
    }
    return [digest, undefined];
  } catch (cause) {
    if (cause instanceof OciError && cause.code === 'OCI_NOT_FOUND') {
      throw new Objection(`the registry does not have ${digest}`, undefined, { cause });
    }
    throw asObjection(cause);
  }
}
