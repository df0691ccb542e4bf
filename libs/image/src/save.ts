import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalizeJson, encodeUtf8, parseJson, type JsonValue } from '#libs/encoding';
import type { Descriptor, Digest, ImageStore, LayoutStore } from '#libs/oci';
import { copyImage, type CopyOptions, type CopyResult } from './copy.js';
import { ImageError } from './error.js';
import { legacyTag } from './layout.js';
import { fieldsOf } from './statement.js';

/** cosign finds by this annotation what an entry of `index.json` is; nothing else uses it. */
const KIND = 'kind';
const kinds = {
  image: 'dev.cosignproject.cosign/image',
  index: 'dev.cosignproject.cosign/imageIndex',
  signature: 'dev.cosignproject.cosign/sigs',
  attestation: 'dev.cosignproject.cosign/atts',
} as const;
const ROOTS: readonly (string | undefined)[] = [kinds.image, kinds.index];
const MAX_INDEX_BYTES = 4 * 1024 * 1024;

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
  await annotate(layout.folder, (entry) => {
    if (entry['digest'] === digest) return root.manifest.kind === 'index' ? kinds.index : kinds.image;
    const tag = fieldsOf(entry['annotations'])['org.opencontainers.image.ref.name'];
    return typeof tag === 'string' ? tags.get(tag) : undefined;
  });
  return result;
}

/** A crash leaves the old index: the image is saved all the same. */
async function annotate(
  folder: string,
  kindOf: (entry: Record<string, JsonValue>) => string | undefined,
): Promise<void> {
  const path = join(folder, 'index.json');
  const index = fieldsOf(parseJson(await readFile(path), { maxLength: MAX_INDEX_BYTES }));
  const entries = Array.isArray(index['manifests']) ? index['manifests'] : [];
  const manifests = entries.map((one) => {
    const entry = fieldsOf(one);
    const kind = kindOf(entry);
    return kind === undefined ? one : { ...entry, annotations: { ...fieldsOf(entry['annotations']), [KIND]: kind } };
  });
  const temporary = `${path}.annotated`;
  const file = await open(temporary, 'w', 0o644);
  try {
    await file.writeFile(encodeUtf8(canonicalizeJson({ ...index, manifests })));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

/**
 * Pushes what a folder holds, ours or cosign's: the image, its platforms, and all that is attached.
 * @throws ImageError `IMAGE_FOLDER` if it holds no image, or several; and as `copyImage`
 */
export async function loadImage(
  layout: LayoutStore,
  target: ImageStore,
  options: CopyOptions = {},
): Promise<CopyResult> {
  const listed = await layout.listed();
  const root = await findRoot(layout, listed);
  // cosign keeps legacy signatures by kind alone, without the tag they have in a registry.
  const aliases = new Map<string, Digest>();
  for (const kind of ['signature', 'attestation'] as const) {
    const entry = listed.find(({ annotations }) => annotations?.[KIND] === kinds[kind]);
    if (entry !== undefined) aliases.set(legacyTag(root.digest, kind), entry.digest);
  }
  return copyImage(withAliases(layout, aliases), target, root.digest, options);
}

async function findRoot(layout: LayoutStore, listed: readonly Descriptor[]): Promise<Descriptor> {
  const marked = listed.filter(({ annotations }) => ROOTS.includes(annotations?.[KIND]));
  const candidates: Descriptor[] = [...marked];
  if (marked.length === 0) {
    for (const entry of listed) {
      const tag = entry.annotations?.['org.opencontainers.image.ref.name'];
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
