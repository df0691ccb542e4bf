import { findEvidence, judgeAll, type EvidenceLimits, type Found, type Kind, type Layout } from '#libs/image';
import { repositoryOf, withDefaultTag, type Digest, type ImageStore, type Reference } from '#libs/oci';
import type { TrustedRoot } from '#libs/trust';
import type { Check, Policy, Report, TrustedTime } from '#libs/verify';

/** What is asked of a repository: everything there that is signed in a way the trust root vouches for. Who may sign is decided later. */
export interface EvidenceQuery {
  /** Where signatures are kept. */
  readonly repository: Reference;
  readonly digest: Digest;
  readonly kind: Kind;
  readonly layout: Layout;
  /** Anyone with a certificate, or one of these keys. */
  readonly policy: Policy | readonly Policy[];
  readonly trustedRoot: TrustedRoot;
  /** Of attestations: only of this type. */
  readonly predicateType?: string;
}

/** One thing that may be a signature, and what is proven about it. */
export type Signature =
  | {
      readonly state: 'accepted';
      /** Its digest in the registry. */
      readonly id: string;
      readonly signer: NonNullable<Report['signer']>;
      readonly times: readonly TrustedTime[];
      /** What the verifier checked, in order. */
      readonly checks: readonly Check[];
      /** The bytes that were signed: a statement, or in the legacy layout the payload. */
      readonly payload: Uint8Array;
    }
  | {
      readonly state: 'rejected';
      readonly id: string;
      /** The check that objected. */
      readonly check: string;
      readonly reason: string;
      readonly cure?: string;
      /** What the verifier checked before, in order, if it came to that. */
      readonly checks?: readonly Check[];
    }
  | { readonly state: 'other'; readonly id: string; readonly reason: string };

/** All that was looked at; `incomplete`: which limit ended the search. */
export interface Evidence {
  readonly signatures: readonly Signature[];
  readonly incomplete?: string;
}

/** The one door to registries. Whatever it throws means that nobody knows, and so that nothing passes. */
export interface EvidencePort {
  /** The digest that a reference means now. Asked once for each decision. */
  resolve(image: Reference): Promise<Digest>;
  find(query: EvidenceQuery): Promise<Evidence>;
}

export interface ImageEvidenceOptions {
  /** Opens a repository; called once for each. */
  readonly open: (repository: Reference) => ImageStore | Promise<ImageStore>;
  readonly limits?: Partial<EvidenceLimits>;
}

/** A few megabytes are usual; this much of one image's signatures is kept in memory while it is judged. */
const defaultLimits: Partial<EvidenceLimits> = { signatures: 1000, bytes: 64 * 1024 * 1024 };

/**
 * Evidence out of registries. What was read once serves every authority and policy of the decision: they all judge the same bytes, and a registry cannot
 * show each another face.
 */
export function imageEvidence({ open, limits }: ImageEvidenceOptions): EvidencePort & { close(): Promise<void> } {
  const stores = new Map<string, Promise<ImageStore>>();
  const searches = new Map<string, () => AsyncGenerator<Found>>();
  const storeOf = (repository: Reference): Promise<ImageStore> => {
    const name = repositoryOf(repository);
    const store = stores.get(name) ?? (async () => open(repository))();
    stores.set(name, store);
    return store;
  };
  async function* readAll({ repository, digest, kind, layout }: EvidenceQuery): AsyncGenerator<Found> {
    const store = await storeOf(repository);
    yield* findEvidence(store, digest, { kind, layouts: [layout], limits: { ...defaultLimits, ...limits } });
  }
  const search = (query: EvidenceQuery): AsyncGenerator<Found> => {
    const key = [repositoryOf(query.repository), query.digest, query.kind, query.layout].join(' ');
    const known = searches.get(key) ?? replayable(readAll(query));
    searches.set(key, known);
    return known();
  };
  return {
    resolve: async (image) => {
      const { tag, digest } = withDefaultTag(image);
      // What a digest means is not the registry's to say.
      if (digest !== undefined) return digest;
      const store = await storeOf(image);
      return (await store.resolve(tag ?? 'latest')).digest;
    },
    find: async (query) => {
      const { kind, digest, policy, trustedRoot, predicateType } = query;
      const { candidates, incomplete } = await judgeAll(search(query), {
        kind,
        digest,
        demand: { policy, trustedRoot, ...(predicateType !== undefined && { predicateType }) },
      });
      const signatures = candidates.map((candidate): Signature => {
        const id = candidate.blob ?? candidate.manifest;
        if (candidate.state !== 'accepted') return { ...candidate, id };
        const { report, payload } = candidate;
        if (report.signer === undefined) throw new Error('a signature was accepted that nobody made');
        return {
          state: 'accepted',
          id,
          signer: report.signer,
          times: report.times ?? [],
          checks: report.checks,
          payload,
        };
      });
      return { signatures, ...(incomplete !== undefined && { incomplete }) };
    },
    close: async () => {
      for (const opened of await Promise.allSettled(stores.values())) {
        // One that could not be opened was told of when it was asked.
        if (opened.status === 'fulfilled') await opened.value.close();
      }
    },
  };
}

/** Reads a search once; each call of the result goes through all of it, while it is still coming in too, and ends as it ended. */
function replayable(source: AsyncGenerator<Found>): () => AsyncGenerator<Found> {
  const items: Found[] = [];
  let end: { readonly error?: unknown } | undefined;
  let pending: Promise<void> | undefined;
  const advance = async (): Promise<void> => {
    try {
      const next = await source.next();
      if (next.done === true) end = {};
      else items.push(next.value);
    } catch (error) {
      end = { error };
    }
    pending = undefined;
  };
  return async function* () {
    for (let i = 0; ; i++) {
      while (i >= items.length && end === undefined) await (pending ??= advance());
      const item = items[i];
      if (item !== undefined) yield item;
      else if (end !== undefined && 'error' in end) throw end.error;
      else return;
    }
  };
}
