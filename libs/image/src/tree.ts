import type { Descriptor, Digest, ImageStore } from '#libs/oci';
import { listAttachments, type AttachmentKind } from './attachments.js';
import { ImageError } from './error.js';

/** Something attached to an image, with what is attached to it in turn. Nothing here is verified. */
export interface Artifact {
  kind: AttachmentKind;
  digest: Digest;
  /** In the legacy layout. */
  tag?: string;
  artifactType?: string;
  predicateType?: string;
  layers: readonly Descriptor[];
  attached: Artifact[];
}

/** Signatures of signatures of signatures are as deep as anybody has a use for. */
const MAX_DEPTH = 4;
/** In all: each may have as many of its own. */
const MAX_ARTIFACTS = 10_000;
const MAX_BYTES = 256 * 1024 * 1024;

/**
 * What is attached to a manifest: signatures, attestations, SBOMs and other referrers, in both layouts, with what is attached to those.
 * @throws OciError; ImageError `IMAGE_LIMIT`
 */
export function listArtifacts(store: ImageStore, digest: Digest, depth = MAX_DEPTH): Promise<Artifact[]> {
  return listWithin({ artifacts: MAX_ARTIFACTS, bytes: MAX_BYTES }, store, digest, depth);
}

/** `left`: for the whole tree. */
async function listWithin(
  left: { artifacts: number; bytes: number },
  store: ImageStore,
  digest: Digest,
  depth: number,
): Promise<Artifact[]> {
  const artifacts: Artifact[] = [];
  for await (const { kind, tag, artifactType, predicateType, descriptor, manifest } of listAttachments(store, digest)) {
    left.artifacts--;
    left.bytes -= descriptor.size;
    if (left.artifacts < 0 || left.bytes < 0) {
      const limits = `more than ${MAX_ARTIFACTS} artifacts, or ${MAX_BYTES} bytes of manifests`;
      throw new ImageError('IMAGE_LIMIT', `Cannot list what is attached to ${digest}: ${limits}`);
    }
    artifacts.push({
      kind,
      digest: descriptor.digest,
      ...(tag !== undefined && { tag }),
      ...(artifactType !== undefined && { artifactType }),
      ...(predicateType !== undefined && { predicateType }),
      layers: manifest.kind === 'image' ? manifest.layers : manifest.manifests,
      attached: depth > 1 ? await listWithin(left, store, descriptor.digest, depth - 1) : [],
    });
  }
  return artifacts;
}
