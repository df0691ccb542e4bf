import { OciError, type Digest } from '#libs/oci';
import { countForTag, neededFor, readHead, type HeadContext } from './publisher.js';
import { isPendingTag, readBundle, readRecord, type TagStore } from './record.js';
import { openBundle, type CountedSignature } from './signatures.js';
import type { TagContext, VerifiedSnapshot } from './snapshot.js';
import { parseTagStatement, type TagStatement, type Written } from './statement.js';

/** Signatures that wait; more are not read. */
const MAX_PENDING = 2000;

/** A statement that waits for signers. */
export interface PendingTag {
  readonly statement: TagStatement;
  readonly id: Digest;
  readonly signatures: readonly CountedSignature[];
  readonly missing: number;
}

/**
 * The statements about tags of this repository that wait for signers. Those that another publication has overtaken are left out.
 * @throws as {@link readHead}; OciError
 */
export async function pendingTags(context: TagContext & { readonly store: TagStore }): Promise<PendingTag[]> {
  const head = await readHead({ ...context, init: true });
  const pending: PendingTag[] = [];
  for (const { statement, bundles } of await readPending(context, head)) {
    const counted = await countForTag(context, statement, bundles);
    const missing = Math.max(neededFor(context, statement) - counted.length, 0);
    pending.push({ statement: statement.value, id: statement.id, signatures: counted, missing });
  }
  return pending;
}

/** A statement that waits, with all that lies there for it, whoever left it. */
export interface Pending {
  readonly statement: Written<TagStatement>;
  readonly bundles: readonly Uint8Array[];
  /** The manifests around them. */
  readonly manifests: readonly Digest[];
}

/** What would come into force next: the version after the one in the head, as made from it. */
export async function readPending(context: HeadContext, head: VerifiedSnapshot | undefined): Promise<Pending[]> {
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

/** One of each signer. Garbage would else come along into the snapshot, of which no client reads more than so many bundles. */
export async function countingBundles(context: HeadContext, { statement, bundles }: Pending): Promise<Uint8Array[]> {
  const counting: Uint8Array[] = [];
  for (const bundle of bundles) {
    if ((await countForTag(context, statement, [bundle])).length === 0) continue;
    const counted = await countForTag(context, statement, [...counting, bundle]);
    if (counted.length > counting.length) counting.push(bundle);
  }
  return counting;
}

/** What is no longer waited for is cleared away where the registry lets us; where not, its statement is simply overtaken. */
export async function removePending({ store }: HeadContext, manifests: readonly Digest[]): Promise<void> {
  for (const digest of manifests) {
    try {
      await store.deleteManifest(digest);
    } catch (error) {
      if (!(error instanceof OciError)) throw error;
    }
  }
}
