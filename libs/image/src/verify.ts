import type { Digest, ImageStore, OciError } from '#libs/oci';
import { findEvidence, SearchEnded, type EvidenceLimits, type Found } from './evidence.js';
import { judge, type Accepted, type Candidate, type Demand } from './judge.js';
import type { Kind, Layout } from './layout.js';
import { listManifests, type PlatformManifest } from './platforms.js';

export interface VerifyImageOptions extends Demand {
  /** Which layouts count, in the order they are looked at. Nothing falls back to one that is not named. */
  layouts: readonly Layout[];
  /** Where the signatures are, if not beside the image. */
  signatures?: ImageStore;
  limits?: Partial<EvidenceLimits>;
  /** Stop after so many good ones. Default: look at all, within the limits. */
  enough?: number;
  /** Milliseconds since some moment, for the limits. */
  clock?: () => number;
}

/**
 * Why there is nothing to accept:
 * - `none-found`: nothing of the kind asked for is there
 * - `no-certificate`: an identity was asked for, and all there is was signed with keys
 * - `none-matching`: there are some, and each was rejected for its own reason
 */
export type ImageFailure = 'none-found' | 'no-certificate' | 'none-matching';

/** What came out for one digest. */
export interface ImageReport {
  /** Whether there is at least one that holds. */
  ok: boolean;
  /** Exactly what was verified. A tag was resolved once before, and must not be asked again. */
  digest: Digest;
  kind: Kind;
  accepted: Accepted[];
  /** Everything that was looked at, also the accepted ones, in order. */
  candidates: Candidate[];
  /** In which layouts the accepted ones are. */
  layouts: Layout[];
  /** Which limit ended the search early. What was accepted before stays so. */
  incomplete?: string;
  failure?: ImageFailure;
}

/** Counts as a signature when it is one: an attestation by the right person over the right digest is none. */
export function verifyImage(store: ImageStore, digest: Digest, options: VerifyImageOptions): Promise<ImageReport> {
  return verifyKind('signature', store, digest, options);
}

/**
 * The attestations of a digest that hold. `predicateType`: of this type only. Each must have the shape of its type, and satisfy all policies.
 * @throws VerifyError for a policy that makes no sense; OciError where the registry cannot be asked
 */
export function verifyAttestations(
  store: ImageStore,
  digest: Digest,
  options: VerifyImageOptions,
): Promise<ImageReport> {
  return verifyKind('attestation', store, digest, options);
}

async function verifyKind(
  kind: Kind,
  store: ImageStore,
  digest: Digest,
  options: VerifyImageOptions,
): Promise<ImageReport> {
  const { layouts, limits, clock, enough = Infinity, signatures = store } = options;
  const found = findEvidence(signatures, digest, { kind, layouts, ...(limits && { limits }), ...(clock && { clock }) });
  return judgeAll(found, { kind, digest, demand: options, enough });
}

/** Judges what was found, or kept from an earlier search: one search can serve several demands. */
export async function judgeAll(
  found: AsyncIterable<Found> | Iterable<Found>,
  { kind, digest, demand, enough = Infinity }: { kind: Kind; digest: Digest; demand: Demand; enough?: number },
): Promise<ImageReport> {
  const candidates: Candidate[] = [];
  const accepted: Accepted[] = [];
  let incomplete: string | undefined;
  let unanswered: OciError | undefined;
  try {
    for await (const item of found) {
      if (item.bundle === undefined) unanswered ??= item.unanswered;
      const candidate = await judge(item, kind, digest, demand);
      candidates.push(candidate);
      if (candidate.state === 'accepted') accepted.push(candidate);
      if (accepted.length >= enough) break;
    }
  } catch (error) {
    if (!(error instanceof SearchEnded)) throw error;
    incomplete = error.message;
  }
  const ok = accepted.length > 0;
  // "Not signed" would be too much to say: the one that could not be fetched may be the good one.
  if (!ok && unanswered !== undefined) throw unanswered;
  return {
    ok,
    digest,
    kind,
    accepted,
    candidates,
    layouts: [...new Set(accepted.map(({ layout }) => layout))],
    ...(incomplete !== undefined && { incomplete }),
    ...(!ok && { failure: failureOf(candidates, demand) }),
  };
}

function failureOf(candidates: readonly Candidate[], { policy }: Demand): ImageFailure {
  const rejected = candidates.filter((candidate) => candidate.state === 'rejected');
  if (rejected.length === 0) return 'none-found';
  const policies = 'kind' in policy ? [policy] : policy;
  const wantsIdentity = policies.every(({ kind }) => kind === 'identity');
  // Where an identity is wanted, this check objects to signatures by keys and to nothing else.
  return wantsIdentity && rejected.every(({ check }) => check === 'signer-kind') ? 'no-certificate' : 'none-matching';
}

/** What came out for one manifest of an image with several platforms. */
export interface PlatformReport extends PlatformManifest {
  report: ImageReport;
}

/**
 * Verifies an index and every manifest in it, each by a signature of its own: a platform's image that is pulled by its digest has no other.
 * @throws ImageError `IMAGE_LIMIT`; OciError
 */
export async function verifyImageRecursively(
  store: ImageStore,
  digest: Digest,
  options: VerifyImageOptions,
): Promise<{ ok: boolean; platforms: PlatformReport[] }> {
  const platforms: PlatformReport[] = [];
  for (const manifest of await listManifests(store, digest)) {
    platforms.push({ ...manifest, report: await verifyImage(store, manifest.descriptor.digest, options) });
  }
  return { ok: platforms.every(({ report }) => report.ok), platforms };
}
