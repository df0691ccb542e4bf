import type { Digest, ImageStore } from '#libs/oci';
import { listAttachments, type Attachment, type AttachmentKind } from './attachments.js';
import { ImageError } from './error.js';

/** What to remove. */
export type CleanType = AttachmentKind | 'all';

/** What was removed: the digests of manifests. */
export type CleanedImage = Record<AttachmentKind, Digest[]>;

/**
 * Removes what is attached to an image, by type; the image stays. With a registry that deletes nothing that is `OCI_UNSUPPORTED`.
 * @throws OciError; ImageError `IMAGE_LEGACY` for a signature tag on something that is no list of signatures: whoever can write tags could have anything removed
 */
export async function cleanImage(store: ImageStore, digest: Digest, type: CleanType): Promise<CleanedImage> {
  const found: Attachment[] = [];
  // Listed to the end first: removing changes the list.
  for await (const attachment of listAttachments(store, digest)) {
    if (type === 'all' || attachment.kind === type) found.push(attachment);
  }
  found.forEach(refuseImages);
  const removed: CleanedImage = { signature: [], attestation: [], sbom: [], referrer: [] };
  for (const { kind, descriptor } of found) {
    await store.deleteManifest(descriptor.digest);
    removed[kind].push(descriptor.digest);
  }
  return removed;
}

/** A manifest goes with all its tags, so it must be nothing but what it is thought to be. */
function refuseImages({ tag, manifest }: Attachment): void {
  if (tag === undefined) return;
  const isImage =
    manifest.kind === 'index' || manifest.layers.some(({ mediaType }) => /\.image\.(layer|rootfs)\b/.test(mediaType));
  if (isImage) {
    throw new ImageError('IMAGE_LEGACY', `Cannot remove what is tagged ${tag}: it is an image`, {
      cure: 'Look at who set that tag, and remove the tag itself',
    });
  }
}
