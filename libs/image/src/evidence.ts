import { BundleError, parseBundle, type Bundle } from '#libs/bundle';
import { OciError, readReferrer, type Descriptor, type Digest, type ImageStore, type OciErrorCode } from '#libs/oci';
import { ImageError, reasonOf } from './error.js';
import {
  CONTENT_ANNOTATION,
  DSSE_TYPE,
  isBundleType,
  legacyTag,
  SIMPLE_SIGNING_TYPE,
  type Kind,
  type Layout,
} from './layout.js';
import { bundleOfLayer } from './legacy.js';

/** Where something that may be a signature is kept. */
export interface Place {
  layout: Layout;
  /** The manifest that holds it: one for each in the bundle layout, one for all in the legacy one. */
  manifest: Digest;
  /** The bundle, or the layer. Absent where we did not get that far. */
  blob?: Digest;
}

/** What was found at a place: evidence, which nobody verified yet, or why it cannot be read. */
export type Found = Place &
  (
    | {
        bundle: Bundle;
        /** In the legacy layout what the signature is over; in the other one it is over the statement inside. */
        payload?: Uint8Array;
      }
    | {
        problem: string;
        bundle?: undefined;
        /** The store gave no answer at all: what is there may be good. */
        unanswered?: OciError;
      }
  );

/** How much of what strangers stored is looked at. */
export interface EvidenceLimits {
  /** Candidates of one image. Default 1000. */
  signatures: number;
  /** Bytes of manifests and bundles of one image, in all. Default 256 MiB. */
  bytes: number;
  /** Milliseconds for one image. Default two minutes. */
  milliseconds: number;
}

export interface FindOptions {
  kind: Kind;
  /** Which layouts to look at, in this order. */
  layouts: readonly Layout[];
  limits?: Partial<EvidenceLimits>;
  /** Milliseconds since some moment, for the limit. Default `performance.now`. */
  clock?: () => number;
}

const defaults: EvidenceLimits = { signatures: 1000, bytes: 256 * 1024 * 1024, milliseconds: 120_000 };
// What `parseBundle` reads at most.
const MAX_BUNDLE_BYTES = 32 * 1024 * 1024;
const MAX_PAYLOAD_BYTES = 1024 * 1024;
/** Fetched ahead of what is being judged. */
const AHEAD = 8;

/** Says that a limit ended the search: what comes after it was not looked at. */
export class SearchEnded extends Error {}

/**
 * Everything in the store that may be a signature (or attestation) of `digest`, read and parsed, in the order the store gives it. Nothing is verified: the
 * registry may have made up all of it. What cannot be read is given with the reason, so that nothing is skipped in silence.
 * @throws SearchEnded when a limit is reached
 * @throws OciError where the store cannot be asked at all
 */
export async function* findEvidence(store: ImageStore, digest: Digest, options: FindOptions): AsyncGenerator<Found> {
  const limits = { ...defaults, ...options.limits };
  const clock = options.clock ?? (() => performance.now());
  const begun = clock();
  let count = 0;
  let bytes = 0;
  const admit = (size: number): void => {
    bytes += size;
    if (bytes > limits.bytes) throw new SearchEnded(`more than ${limits.bytes} bytes of signatures`);
  };
  async function* counted(): AsyncGenerator<() => Promise<Found>> {
    for await (const load of listCandidates(store, digest, options, admit)) {
      if (++count > limits.signatures) throw new SearchEnded(`more than ${limits.signatures} signatures`);
      if (clock() - begun > limits.milliseconds) {
        throw new SearchEnded(`more than ${limits.milliseconds / 1000} s spent on signatures`);
      }
      yield load;
    }
  }
  yield* inOrder(counted());
}

type Load = () => Promise<Found>;
type Admit = (size: number) => void;

async function* listCandidates(
  store: ImageStore,
  digest: Digest,
  { kind, layouts }: FindOptions,
  admit: Admit,
): AsyncGenerator<Load> {
  for (const layout of layouts) {
    if (layout === 'bundle') yield* listBundles(store, digest, admit);
    else yield* listLayers(store, digest, kind, admit);
  }
}

async function* listBundles(store: ImageStore, digest: Digest, admit: Admit): AsyncGenerator<Load> {
  const place = { layout: 'bundle' as const };
  try {
    for await (const listed of store.referrers(digest)) {
      // Not asked for by type: a registry need not filter, and some name the type of the config.
      if (!isBundleType(listed.artifactType) && listed.annotations?.[CONTENT_ANNOTATION] === undefined) continue;
      yield () => attempt({ ...place, manifest: listed.digest }, () => readBundle(store, digest, listed, admit));
    }
  } catch (error) {
    if (!isContentFault(error)) throw error;
    yield () => Promise.resolve({ ...place, manifest: digest, problem: reasonOf(error) });
  }
}

/**
 * The bundle of one referrer: its manifest must be about this very image, and have the bundle as its only layer.
 * @throws OciError, BundleError, ImageError
 */
async function readBundle(store: ImageStore, digest: Digest, listed: Descriptor, admit: Admit): Promise<Found> {
  admit(listed.size);
  const { manifest } = await readReferrer(store, digest, listed);
  const [layer, second] = manifest.kind === 'image' ? manifest.layers : [];
  if (layer === undefined || second !== undefined || !isBundleType(layer.mediaType)) {
    throw new ImageError('IMAGE_LEGACY', 'Cannot read signature: its manifest must have one layer, a Sigstore bundle');
  }
  admit(layer.size);
  const bundle = parseBundle(await store.blob(layer, MAX_BUNDLE_BYTES));
  return { layout: 'bundle', manifest: listed.digest, blob: layer.digest, bundle };
}

async function* listLayers(store: ImageStore, digest: Digest, kind: Kind, admit: Admit): AsyncGenerator<Load> {
  const wanted = kind === 'signature' ? SIMPLE_SIGNING_TYPE : DSSE_TYPE;
  let found;
  try {
    found = await store.manifest(legacyTag(digest, kind));
  } catch (error) {
    if (error instanceof OciError && error.code === 'OCI_NOT_FOUND') return;
    if (!isContentFault(error)) throw error;
    yield () => Promise.resolve({ layout: 'legacy', manifest: digest, problem: reasonOf(error) });
    return;
  }
  const { manifest, descriptor } = found;
  admit(descriptor.size);
  if (manifest.kind !== 'image') {
    const problem = `the tag ${legacyTag(digest, kind)} is an index, not a list of signatures`;
    yield () => Promise.resolve({ layout: 'legacy', manifest: descriptor.digest, problem });
    return;
  }
  for (const layer of manifest.layers) {
    const place = { layout: 'legacy' as const, manifest: descriptor.digest, blob: layer.digest };
    yield () =>
      attempt(place, async () => {
        if (layer.mediaType !== wanted) {
          throw new ImageError('IMAGE_LEGACY', `Cannot read legacy signature: its media type is not ${wanted}`);
        }
        admit(layer.size);
        const bytes = await store.blob(layer, kind === 'signature' ? MAX_PAYLOAD_BYTES : MAX_BUNDLE_BYTES);
        const bundle = bundleOfLayer({ mediaType: layer.mediaType, bytes, annotations: layer.annotations ?? {} });
        return { ...place, bundle, ...(kind === 'signature' && { payload: bytes }) };
      });
  }
}

/** What is wrong with one candidate is no reason to look at no other. */
async function attempt(place: Place, read: () => Promise<Found>): Promise<Found> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof OciError || error instanceof BundleError || error instanceof ImageError) {
      const isAnswer = isContentFault(error) || !(error instanceof OciError) || error.code === 'OCI_NOT_FOUND';
      return { ...place, problem: error.message, ...(!isAnswer && { unanswered: error }) };
    }
    throw error;
  }
}

const contentFaults: readonly OciErrorCode[] = [
  'OCI_DIGEST',
  'OCI_SIZE',
  'OCI_LIMIT',
  'OCI_MANIFEST',
  'OCI_SUBJECT',
  'OCI_RESPONSE',
];

/** The store answered, and what it answered is of no use. Everything else (no network, no permission) is no answer. */
function isContentFault(error: unknown): boolean {
  return error instanceof OciError && contentFaults.includes(error.code);
}

/** Runs what a list gives, several at a time; gives the results in the list's order. */
async function* inOrder(loads: AsyncIterable<Load>): AsyncGenerator<Found> {
  const running: Promise<Found>[] = [];
  let failure: { error: unknown } | undefined;
  const iterator = loads[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      while (!ended && running.length < AHEAD) {
        try {
          const next = await iterator.next();
          if (next.done === true) ended = true;
          else {
            const result = next.value();
            // Whoever stops early does not wait for it; whoever waits hears of it below.
            result.catch(() => undefined);
            running.push(result);
          }
        } catch (error) {
          // What was listed before is still to be had.
          failure = { error };
          ended = true;
        }
      }
      const first = running.shift();
      if (first === undefined) break;
      yield await first;
    }
  } finally {
    await iterator.return?.(undefined);
  }
  if (failure !== undefined) throw failure.error;
}
