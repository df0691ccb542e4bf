import type { Descriptor, Digest, ImageStore, LayoutStore } from '#libs/oci';
import { copyImage, type CopyOptions, type CopyResult } from './copy.js';
import { ImageError } from './error.js';
import { legacyTag } from './layout.js';

/** cosign finds by this annotation what an entry of `index.json` is; nothing else uses it. */
const KIND = 'kind';
const kinds = {
  image: 'dev.cosignproject.cosign/image',
  index: 'dev.cosignproject.cosign/imageIndex',
  signature: 'dev.cosignproject.cosign/sigs',
  attestation: 'dev.cosignproject.cosign/atts',
} as const;
const ROOTS: readonly (string | undefined)[] = [kinds.image, kinds.index];
const TAG = 'org.opencontainers.image.ref.name';

/**
 * Saves an image with all that belongs to it in an OCI layout folder, where cosign's `load` finds image and legacy signatures, and everybody the rest.
 * @throws as `copyImage`
 */
export async function saveImage(
  source: ImageStore,
  layout: LayoutStore,
  reference: string,
  options: CopyOptions = {},
): Promise<CopyResult> {
  const result = await copyImage(source, layout, reference, options);
  const { digest } = result.descriptor;
  const tags = new Map<string, string>([
    [legacyTag(digest, 'signature'), kinds.signature],
    [legacyTag(digest, 'attestation'), kinds.attestation],
  ]);
  const root = await layout.manifest(digest);
  await layout.annotate((listed) => {
    if (listed.digest === digest) return { [KIND]: root.manifest.kind === 'index' ? kinds.index : kinds.image };
    const kind = tags.get(listed.annotations?.[TAG] ?? '');
    return kind === undefined ? undefined : { [KIND]: kind };
  });
  return result;
}

/**
 * Pushes what a folder holds, ours or cosign's: the image, its platforms, and all that is attached. `expected`: the only image that is meant.
 * @throws ImageError `IMAGE_FOLDER` if it holds no image, several, or another one; and as `copyImage`
 */
export async function loadImage(
  layout: LayoutStore,
  target: ImageStore,
  options: CopyOptions & { expected?: Digest } = {},
): Promise<CopyResult> {
  const { root, store } = await openSaved(layout);
  const { expected } = options;
  if (expected !== undefined && root.digest !== expected) {
    throw new ImageError('IMAGE_FOLDER', `Cannot load ${layout.folder}: it holds ${root.digest}, expected ${expected}`);
  }
  return copyImage(store, target, root.digest, options);
}

/**
 * The one image of a folder, and the folder as the store of it and of what is attached to it, ours or cosign's. Whoever verifies a folder and whoever loads it
 * must mean the same image.
 * @throws ImageError `IMAGE_FOLDER` if it holds no image, or several
 */
export async function openSaved(layout: LayoutStore): Promise<{ root: Descriptor; store: ImageStore }> {
  const listed = await layout.listed();
  const root = await findRoot(layout, listed);
  // cosign keeps legacy signatures by kind alone, without the tag they have in a registry.
  const aliases = new Map<string, Digest>();
  for (const kind of ['signature', 'attestation'] as const) {
    const entry = listed.find(({ annotations }) => annotations?.[KIND] === kinds[kind]);
    if (entry !== undefined) aliases.set(legacyTag(root.digest, kind), entry.digest);
  }
  return { root, store: withAliases(layout, aliases) };
}

async function findRoot(layout: LayoutStore, listed: readonly Descriptor[]): Promise<Descriptor> {
  const marked = listed.filter(({ annotations }) => ROOTS.includes(annotations?.[KIND]));
  const candidates: Descriptor[] = [...marked];
  if (marked.length === 0) {
    for (const entry of listed) {
      const tag = entry.annotations?.[TAG];
      const isAttached = /^sha256-[0-9a-f]{64}(\.|$)/.test(tag ?? '');
      if (!isAttached && (await layout.manifest(entry)).manifest.subject === undefined) candidates.push(entry);
    }
  }
  const [root, second] = [...new Map(candidates.map((one) => [one.digest, one])).values()];
  if (root === undefined || second !== undefined) {
    throw new ImageError(
      'IMAGE_FOLDER',
      `Cannot load ${layout.folder}: it holds ${root === undefined ? 'no image' : 'several images'}`,
      { cure: 'Save one image in a folder of its own' },
    );
  }
  return root;
}

/** The same store, which knows some digests by tags too. */
function withAliases(store: ImageStore, aliases: ReadonlyMap<string, Digest>): ImageStore {
  const real = (reference: string): string => aliases.get(reference) ?? reference;
  return {
    name: store.name,
    resolve: (reference) => store.resolve(real(reference)),
    manifest: (reference) => store.manifest(typeof reference === 'string' ? real(reference) : reference),
    blob: (descriptor, limit) => store.blob(descriptor, limit),
    blobStream: (descriptor) => store.blobStream(descriptor),
    hasBlob: (descriptor) => store.hasBlob(descriptor),
    putBlob: (content, options) => store.putBlob(content, options),
    putManifest: (bytes, mediaType, reference) => store.putManifest(bytes, mediaType, reference),
    referrers: (digest, options) => store.referrers(digest, options),
    tags: () => store.tags(),
    deleteManifest: (digest) => store.deleteManifest(digest),
    close: () => store.close(),
  };
}
