import { encodeUtf8, type JsonValue } from '#libs/encoding';
import { splitDigest, type Digest } from './digest.js';
import { OciError } from './error.js';
import {
  artifactTypeOf,
  encodeDescriptor,
  isObject,
  MAX_DESCRIPTORS,
  MAX_MANIFEST_BYTES,
  mediaTypes,
  parseBoundedObject,
  parseDescriptors,
  type Descriptor,
  type Manifest,
} from './manifest.js';

/**
 * The tag that lists a manifest's referrers in registries without the referrers API.
 * @see distribution-spec: spec.md, Referrers Tag Schema
 */
export function fallbackTag(digest: Digest): string {
  const { algorithm, hex } = splitDigest(digest);
  return `${algorithm.slice(0, 32)}-${hex.slice(0, 64)}`;
}

/** What a list of referrers says of a manifest. */
export function referrerDescriptor(descriptor: Descriptor, manifest: Manifest): Descriptor {
  const { mediaType, digest, size } = descriptor;
  const artifactType = artifactTypeOf(manifest);
  return {
    mediaType,
    digest,
    size,
    ...(artifactType !== undefined && { artifactType }),
    ...(manifest.annotations !== undefined && { annotations: manifest.annotations }),
  };
}

/**
 * The descriptors of a list of referrers, each digest once.
 * @throws OciError `OCI_MANIFEST`, `OCI_LIMIT`
 */
export function parseReferrers(bytes: Uint8Array): Descriptor[] {
  const seen = new Set<string>();
  return parseDescriptors(readIndex(bytes)['manifests'], 'manifests').filter(({ digest }) => {
    const isNew = !seen.has(digest);
    seen.add(digest);
    return isNew;
  });
}

/** A change of a list of referrers. */
export type ReferrersChange =
  { readonly kind: 'add'; readonly descriptor: Descriptor } | { readonly kind: 'remove'; readonly digest: Digest };

/** Whether a list shows a change already. */
export function hasChange(bytes: Uint8Array | undefined, change: ReferrersChange): boolean {
  const listed = bytes === undefined ? [] : parseReferrers(bytes);
  if (change.kind === 'remove') return listed.every(({ digest }) => digest !== change.digest);
  return listed.some(({ digest }) => digest === change.descriptor.digest);
}

/**
 * The list with the change made; whatever else is in it stays as it is, also what we do not know.
 * `bytes`: the list there is; undefined if there is none.
 * @throws OciError `OCI_MANIFEST` if it is not a list, `OCI_LIMIT` if it would be too long
 */
export function changeReferrers(bytes: Uint8Array | undefined, change: ReferrersChange): Uint8Array {
  const index = bytes === undefined ? {} : readIndex(bytes);
  const present = index['manifests'];
  const manifests: JsonValue[] = Array.isArray(present) ? present : [];
  const others = manifests.filter(
    (one) => !isObject(one) || one['digest'] !== (change.kind === 'add' ? change.descriptor.digest : change.digest),
  );
  const next = change.kind === 'add' ? [...others, encodeDescriptor(change.descriptor)] : others;
  const encoded = encodeUtf8(
    JSON.stringify({ ...index, schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: next }),
  );
  if (next.length > MAX_DESCRIPTORS || encoded.length > MAX_MANIFEST_BYTES) {
    throw new OciError(
      'OCI_LIMIT',
      `Cannot add a referrer: the list would be longer than ${MAX_DESCRIPTORS} entries or 4 MiB`,
    );
  }
  return encoded;
}

function readIndex(bytes: Uint8Array): { readonly [name: string]: JsonValue } {
  const index = parseBoundedObject(bytes, 'list of referrers');
  const { mediaType, manifests } = index;
  if ((mediaType !== undefined && mediaType !== mediaTypes.ociIndex) || 'layers' in index || 'config' in index) {
    throw new OciError('OCI_MANIFEST', 'Cannot read the list of referrers: it is not an image index');
  }
  if (manifests !== undefined && manifests !== null && !Array.isArray(manifests)) {
    throw new OciError('OCI_MANIFEST', 'Cannot read the list of referrers: it has no list of manifests');
  }
  return index;
}
