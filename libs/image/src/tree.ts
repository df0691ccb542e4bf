import type { Descriptor, Digest, ImageStore } from '#libs/oci';
import { listAttachments, type AttachmentKind } from './attachments.js';

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

/**
 * What is attached to a manifest: signatures, attestations, SBOMs and other referrers, in both layouts, with what is attached to those.
 * @throws OciError; ImageError `IMAGE_LIMIT`
 */
export async function listArtifacts(store: ImageStore, digest: Digest, depth = MAX_DEPTH): Promise<Artifact[]> {
  const artifacts: Artifact[] = [];
  for await (const { kind, tag, artifactType, predicateType, descriptor, manifest } of listAttachments(store, digest)) {
    artifacts.push({
      kind,
      digest: descriptor.digest,
      ...(tag !== undefined && { tag }),
      ...(artifactType !== undefined && { artifactType }),
      ...(predicateType !== undefined && { predicateType }),
      layers: manifest.kind === 'image' ? manifest.layers : manifest.manifests,
      attached: depth > 1 ? await listArtifacts(store, descriptor.digest, depth - 1) : [],
    });
  }
  return artifacts;
}
