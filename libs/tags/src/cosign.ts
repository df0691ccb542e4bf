import type { Descriptor, Digest } from '#libs/oci';
import { commit } from './commit.js';
import { TagError } from './error.js';
import { countingBundles, readPending, removePending, type Pending } from './pending.js';
import type { Published } from './publish.js';
import { countForTag, countOwn, neededFor, readHead, signStatement, type PublishContext } from './publisher.js';
import { putBundle, putPending } from './record.js';
import { SKEW_MS } from './snapshot.js';
import { instant, type TagStatement } from './statement.js';

/**
 * Adds a signature to a statement that waits for it; with the last one the statement comes into force. `expected`: the digest that the signer
 * means to vouch for, `state`: or to revoke. A statement that says something else is not signed, nor one that no signer has signed before (anybody who
 * may push can leave one there), nor one that holds longer than this signer's statements do.
 * @throws as `publishTags`; TagError `TAGS_INPUT` if there is not exactly one such statement
 */
export async function cosignTag(
  context: PublishContext,
  { tag, expected, state = 'current' }: { tag: string; expected: Digest; state?: TagStatement['state'] },
): Promise<Published> {
  const head = await readHead({ ...context, init: true });
  const found: { pending: Pending; bundles: Uint8Array[] }[] = [];
  for (const pending of await readPending(context, head)) {
    const { value } = pending.statement;
    if (value.tag !== tag || value.digest !== expected || value.state !== state) continue;
    const bundles = await countingBundles(context, pending);
    if (bundles.length > 0) found.push({ pending, bundles });
  }
  const [first, second] = found;
  if (first === undefined || second !== undefined) {
    const meaning = state === 'revoked' ? `revokes ${expected}` : `says that it means ${expected}`;
    throw new TagError(
      'TAGS_INPUT',
      `Cannot cosign ${tag}: of what waits, ${found.length} signed statements ${meaning}`,
      {
        cure: 'See `chancery tag pending`; where there are several, let one publisher publish anew',
      },
    );
  }
  const {
    pending: { statement, manifests },
    bundles,
  } = first;
  checkLifetime(context, statement.value);
  const bundle = await signStatement(context, statement);
  await countOwn(context, statement, bundle);
  const counted = await countForTag(context, statement, [...bundles, bundle]);
  if (counted.length === bundles.length) {
    throw new TagError('TAGS_TAG_SIGNERS', `Cannot cosign ${tag}: this signer has signed it already`, {
      check: 'tag-signers',
      cure: 'Somebody else has to: a threshold counts distinct signers',
    });
  }
  const missing = Math.max(neededFor(context, statement) - counted.length, 0);
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

/** How long is for each signer to say: the first could have made it for ever. */
function checkLifetime({ now, tagLifetimeMs }: PublishContext, { tag, until }: TagStatement): void {
  if (until.getTime() <= now() + tagLifetimeMs + SKEW_MS) return;
  throw new TagError('TAGS_INPUT', `Cannot cosign ${tag}: the statement would hold until ${instant(until)}`, {
    cure: 'If it is meant to, allow it with --valid-for',
  });
}
