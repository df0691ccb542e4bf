import { encodeBundle, type Bundle } from '#libs/bundle';
import { encodeUtf8 } from '#libs/encoding';
import {
  digestOf,
  emptyConfig,
  encodeDescriptor,
  mediaTypes,
  OciError,
  type Descriptor,
  type Digest,
  type ImageManifest,
  type ImageStore,
} from '#libs/oci';
import { ImageError } from './error.js';
import {
  BUNDLE_TYPE,
  CONTENT_ANNOTATION,
  CREATED_ANNOTATION,
  legacyTag,
  PREDICATE_TYPE_ANNOTATION,
  type Kind,
} from './layout.js';
import type { LegacyLayer } from './legacy.js';

/**
 * Stores a bundle as a referrer of an image, and returns its manifest's digest. Nothing is replaced: each signature has a manifest of its own.
 * `predicateType`: of the statement inside, a hint for lists.
 * @see sigstore/cosign: specs/BUNDLE_SPEC.md
 */
export async function attachBundle(
  store: ImageStore,
  subject: Descriptor,
  bundle: Bundle,
  { predicateType, now }: { predicateType?: string; now: number },
): Promise<Digest> {
  await store.putBlob(emptyConfig.bytes);
  const layer = await store.putBlob(encodeUtf8(encodeBundle(bundle)), { mediaType: BUNDLE_TYPE });
  const { mediaType, digest, size } = subject;
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    artifactType: BUNDLE_TYPE,
    // cosign looks for the type there too, when it removes signatures.
    config: { ...encodeDescriptor(emptyConfig.descriptor), artifactType: BUNDLE_TYPE },
    layers: [{ mediaType: BUNDLE_TYPE, digest: layer.digest, size: layer.size }],
    subject: { mediaType, digest, size },
    annotations: {
      [CREATED_ANNOTATION]: new Date(now).toISOString().replace(/\.\d+Z$/, 'Z'),
      [CONTENT_ANNOTATION]: bundle.content.kind === 'dsse' ? 'dsse-envelope' : 'message-signature',
      ...(predicateType !== undefined && { [PREDICATE_TYPE_ANNOTATION]: predicateType }),
    },
  };
  const stored = await store.putManifest(encodeUtf8(JSON.stringify(manifest)), mediaTypes.ociManifest);
  return stored.descriptor.digest;
}

/** Pauses of writers that share a tag. */
export interface Patience {
  /** Waits so many milliseconds; a timer by default. */
  sleep?: (milliseconds: number) => Promise<void>;
  /** Uniform in [0, 1): keeps two writers from meeting again and again. */
  jitter?: () => number;
}

const ATTEMPTS = 12;
const FIRST_PAUSE_MS = 40;
/** Whoever read the tag before we wrote has overwritten us by then; nothing in the protocol tells that it will not take longer. */
const SETTLE_MS = 150;
/** What cosign reads at most. */
const MAX_LAYERS = 1000;

/**
 * Adds layers to what a legacy tag holds. All writers replace one manifest, and most registries replace without asking which version one has read. So we read
 * it again right before and after writing, and once more after a pause, and begin anew if ours is not in it.
 * @throws ImageError `IMAGE_CONFLICT`, `IMAGE_LEGACY`, `IMAGE_LIMIT`
 */
export async function attachLayers(
  store: ImageStore,
  subject: Digest,
  kind: Kind | 'sbom',
  added: readonly LegacyLayer[],
  patience: Patience = {},
): Promise<Digest> {
  const descriptors: Descriptor[] = [];
  for (const { mediaType, bytes, annotations } of added) {
    const { digest, size } = await store.putBlob(bytes, { mediaType });
    descriptors.push({ mediaType, digest, size, annotations });
  }
  return addLayers(store, legacyTag(subject, kind), descriptors, patience);
}

/** The same for layers whose blobs are in the store already. */
export async function addLayers(
  store: ImageStore,
  tag: string,
  added: readonly Descriptor[],
  { sleep = pause, jitter = Math.random }: Patience = {},
): Promise<Digest> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) await sleep(FIRST_PAUSE_MS * Math.min(attempt, 8) * (0.5 + jitter()));
    const before = await readLayers(store, tag);
    const missing = added.filter((layer) => !includes(before?.layers ?? [], layer));
    if (missing.length === 0 && before !== undefined) {
      // Ours is there. That it stays is what the pause is for: another writer may have read before we wrote.
      await sleep(SETTLE_MS * (0.5 + jitter()));
      const after = await readLayers(store, tag);
      if (after !== undefined && added.every((layer) => includes(after.layers, layer))) return after.digest;
      continue;
    }
    const layers = [...(before?.layers ?? []), ...missing];
    if (layers.length > MAX_LAYERS) {
      throw new ImageError(
        'IMAGE_LIMIT',
        `Cannot add to ${tag}: it has ${before?.layers.length ?? 0} signatures, at most ${MAX_LAYERS} are read`,
      );
    }
    await writeLayers(store, tag, layers, before?.manifest);
  }
  throw new ImageError('IMAGE_CONFLICT', `Cannot add to ${tag}: other writers replaced it ${ATTEMPTS} times`, {
    cure: 'Try again, or use the bundle layout, where signatures do not share a tag',
  });
}

async function readLayers(
  store: ImageStore,
  tag: string,
): Promise<{ layers: readonly Descriptor[]; digest: Digest; manifest: ImageManifest } | undefined> {
  try {
    const { manifest, descriptor } = await store.manifest(tag);
    if (manifest.kind !== 'image') {
      throw new ImageError('IMAGE_LEGACY', `Cannot add to ${tag}: it is an index, not a list of signatures`);
    }
    return { layers: manifest.layers, digest: descriptor.digest, manifest };
  } catch (error) {
    if (error instanceof OciError && error.code === 'OCI_NOT_FOUND') return undefined;
    throw error;
  }
}

function includes(layers: readonly Descriptor[], layer: Descriptor): boolean {
  // Two signatures over the same payload differ in their annotations alone.
  return layers.some(({ digest, annotations }) => digest === layer.digest && sameTexts(annotations, layer.annotations));
}

function sameTexts(a: Descriptor['annotations'] = {}, b: Descriptor['annotations'] = {}): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** An ordinary image whose layers are the signatures; readers expect its config to list them. */
async function writeLayers(
  store: ImageStore,
  tag: string,
  layers: readonly Descriptor[],
  before: ImageManifest | undefined,
): Promise<void> {
  const config = encodeUtf8(
    JSON.stringify({
      architecture: '',
      created: '0001-01-01T00:00:00Z',
      history: layers.map(() => ({ created: '0001-01-01T00:00:00Z' })),
      os: '',
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
      config: {},
    }),
  );
  const isDocker = before?.mediaType === mediaTypes.dockerManifest;
  const configType = isDocker ? 'application/vnd.docker.container.image.v1+json' : mediaTypes.ociConfig;
  await store.putBlob(config, { mediaType: configType });
  const manifest = {
    schemaVersion: 2,
    mediaType: before?.mediaType ?? mediaTypes.ociManifest,
    config: { mediaType: configType, size: config.length, digest: digestOf(config) },
    layers: layers.map(encodeDescriptor),
    ...(before?.annotations && { annotations: before.annotations }),
  };
  await store.putManifest(encodeUtf8(JSON.stringify(manifest)), manifest.mediaType, tag);
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}
