import type { Digest } from './digest.js';
import { OciError } from './error.js';
import { changeReferrers, fallbackTag, hasChange, parseReferrers, type ReferrersChange } from './fallback.js';
import { statusError, type Patience } from './http.js';
import { isManifestType, mediaTypes } from './manifest.js';
import { ACCEPT, contentType, type RepositoryHttp } from './repository-http.js';

const LIST_ATTEMPTS = 16;
const MIN_SETTLE_MS = 100;
const MAX_SETTLE_MS = 2_000;

/** A list of referrers, and the registry's mark of this version of it if it has such. */
export interface ReferrerList {
  readonly bytes: Uint8Array;
  readonly etag: string | undefined;
}

/** The list under a fallback tag; undefined if there is none. @throws OciError `OCI_MANIFEST` if something else is there */
export async function readList(repository: RepositoryHttp, tag: string): Promise<ReferrerList | undefined> {
  const action = `read the list of referrers ${tag} of ${repository.name}`;
  const request = {
    action,
    method: 'GET' as const,
    url: repository.url(`manifests/${tag}`),
    headers: { accept: ACCEPT },
  };
  const { answer, bytes } = await repository.http.read(
    { ...request, accept: [404], scopes: repository.scopes('pull'), redirects: 'anywhere' },
    repository.manifestBytes,
  );
  if (answer.status === 404) return undefined;
  const type = contentType(answer);
  if (type !== undefined && isManifestType(type) && type !== mediaTypes.ociIndex) {
    throw new OciError('OCI_MANIFEST', `Cannot ${action}: it is not an image index`);
  }
  const etag = answer.header('etag');
  return { bytes, etag: typeof etag === 'string' && etag.length <= 256 ? etag : undefined };
}

/**
 * Changes a fallback list that others may be changing too. Registries with ETags can refuse a change of what has changed
 * meanwhile. The others take the last writer's list: so we look again, later than whoever had read the list before we
 * wrote it can still be writing, and do it again if our change is gone.
 * @throws OciError `OCI_CONFLICT` if others win each time
 */
export async function changeList(
  repository: RepositoryHttp,
  patience: Patience,
  subject: Digest,
  change: ReferrersChange,
): Promise<void> {
  const tag = fallbackTag(subject);
  const action = `write the list of referrers ${tag} of ${repository.name}`;
  await oneAtATime(repository.url(`manifests/${tag}`).href, async () => {
    const { now, sleep, jitter } = patience;
    for (let attempt = 1; attempt <= LIST_ATTEMPTS; attempt++) {
      const startMs = now();
      const list = await readList(repository, tag);
      if (hasChange(list?.bytes, change)) return;
      const next = changeReferrers(list?.bytes, change);
      const answer = await repository.putManifest(
        action,
        tag,
        next,
        mediaTypes.ociIndex,
        list?.etag ? { 'if-match': list.etag } : {},
      );
      if (answer.status === 400 || answer.status === 404) {
        // Some registries take no list with something in it that has been deleted.
        const error = await statusError(action, answer);
        if (list === undefined || !(await dropMissing(repository, action, tag, next))) throw error;
        continue;
      }
      if (answer.status !== 201 && answer.status !== 412) throw await statusError(action, answer);
      await answer.discard();
      const settleMs = Math.min(Math.max(MIN_SETTLE_MS, 3 * (now() - startMs)), MAX_SETTLE_MS);
      await sleep(settleMs * (0.5 + jitter()) * (answer.status === 412 ? 0.5 : 1));
    }
    throw new OciError('OCI_CONFLICT', `Cannot ${action}: others changed it each of ${LIST_ATTEMPTS} times`, {
      cure: 'Try again when fewer sign the same image at once',
    });
  });
}

/** Writes a list without what is no longer in the repository. Returns whether that was something. */
async function dropMissing(
  repository: RepositoryHttp,
  action: string,
  tag: string,
  list: Uint8Array,
): Promise<boolean> {
  let kept = list;
  for (const { digest } of parseReferrers(list)) {
    if (await repository.has(`manifests/${digest}`, `look for manifest ${digest} in ${repository.name}`)) continue;
    kept = changeReferrers(kept, { kind: 'remove', digest });
  }
  if (kept === list) return false;
  const answer = await repository.putManifest(action, tag, kept, mediaTypes.ociIndex);
  if (answer.status !== 201) throw await statusError(action, answer);
  await answer.discard();
  return true;
}

const queues = new Map<string, Promise<void>>();

/** Work on the same thing, one after the other: within a process nobody need race. */
async function oneAtATime(key: string, work: () => Promise<void>): Promise<void> {
  const before = queues.get(key) ?? Promise.resolve();
  const mine = before.then(work);
  const settled = mine.catch(() => undefined);
  queues.set(key, settled);
  try {
    await mine;
  } finally {
    if (queues.get(key) === settled) queues.delete(key);
  }
}
