import type { Digest, ImageStore } from '#libs/oci';
import { listAttachments, type Attachment, type AttachmentKind } from './attachments.js';
import { ImageError } from './error.js';
import { DSSE_TYPE, SIMPLE_SIGNING_TYPE } from './layout.js';

/** What to remove. */
export type CleanType = AttachmentKind | 'all';

/** What was removed: the digests of manifests. */
export type CleanedImage = Record<AttachmentKind, Digest[]>;

/**
 * Removes what is attached to an image, by type; the image stays. With a registry that deletes nothing that is `OCI_UNSUPPORTED`.
 * @throws OciError; ImageError `IMAGE_LEGACY` for a signature tag on something that is no list of signatures: whoever can write tags could have anything removed
 */
export async function cleanImage(store: ImageStore, digest: Digest, type: CleanType): Promise<CleanedImage> {
  // Only digests are kept: there may be ten thousand, of manifests of 4 MiB.
  const found: { kind: AttachmentKind; digest: Digest }[] = [];
  // Listed and looked at to the end first: removing changes the list, and nothing is removed if one thing is wrong.
  for await (const attachment of listAttachments(store, digest)) {
    const { kind, descriptor } = attachment;
    if (type !== 'all' && kind !== type) continue;
    refuseOthers(attachment);
    found.push({ kind, digest: descriptor.digest });
  }
  const removed: CleanedImage = { signature: [], attestation: [], sbom: [], referrer: [] };
  for (const { kind, digest: one } of found) {
    await store.deleteManifest(one);
    removed[kind].push(one);
  }
  return removed;
}

/** What a list of this kind has layers of. SBOMs come in many formats, so of those we only know what is none. */
const layerTypes: Partial<Record<AttachmentKind, string>> = { signature: SIMPLE_SIGNING_TYPE, attestation: DSSE_TYPE };

/** A manifest goes with all its tags, so it must be nothing but what it is thought to be. */
function refuseOthers({ tag, kind, manifest }: Attachment): void {
  if (tag === undefined) return;
  const wanted = layerTypes[kind];
  const layers = manifest.kind === 'image' ? manifest.layers : [];
  const isMeant =
    layers.length > 0 &&
    layers.every(({ mediaType }) =>
      wanted === undefined ? !/\.image\.(layer|rootfs)\b/.test(mediaType) : mediaType === wanted,
    );
  if (!isMeant) {
    throw new ImageError('IMAGE_LEGACY', `Cannot remove what is tagged ${tag}: it is not what that tag is for`, {
      cure: 'Look at who set that tag, and remove the tag itself',
    });
  }
}
