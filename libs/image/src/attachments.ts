import { BundleError, parseBundle } from '#libs/bundle';
import { EncodingError, parseJson } from '#libs/encoding';
import {
  artifactTypeOf,
  OciError,
  readReferrer,
  type Descriptor,
  type Digest,
  type ImageStore,
  type StoredManifest,
} from '#libs/oci';
import { ImageError } from './error.js';
import { isBundleType, legacyTag } from './layout.js';
import { fieldsOf, SIGN_PREDICATE_TYPE } from './statement.js';

/** What is attached to an image, by what it is for. `referrer`: something that is none of ours. */
export type AttachmentKind = 'signature' | 'attestation' | 'sbom' | 'referrer';

/** Something attached to a manifest: a referrer, or what is under a legacy tag. */
export interface Attachment extends StoredManifest {
  kind: AttachmentKind;
  /** The legacy tag it is under; undefined for a referrer. */
  tag?: string;
  artifactType?: string;
  /** Of a bundle: what its statement says, which nobody verified. */
  predicateType?: string;
}

const MAX_BUNDLE_BYTES = 32 * 1024 * 1024;
/** Referrers of one manifest that are followed. */
const MAX_ATTACHMENTS = 10_000;

/**
 * All that is attached to a manifest itself, first under legacy tags, then its referrers.
 * @throws OciError; ImageError `IMAGE_LIMIT`
 */
export async function* listAttachments(store: ImageStore, digest: Digest): AsyncGenerator<Attachment> {
  for (const kind of ['signature', 'attestation', 'sbom'] as const) {
    const tag = legacyTag(digest, kind);
    const found = await readIfThere(store, tag);
    if (found !== undefined) yield { ...found, kind, tag };
  }
  let count = 0;
  for await (const listed of store.referrers(digest)) {
    if (++count > MAX_ATTACHMENTS) {
      throw new ImageError('IMAGE_LIMIT', `Cannot list what refers to ${digest}: more than ${MAX_ATTACHMENTS}`);
    }
    const read = await readIfAttached(store, digest, listed);
    if (read !== undefined) yield { ...read, ...(await classify(store, read)) };
  }
}

/** A list of referrers may name what was deleted since, or what is about something else: neither is attached, and neither hides the rest. */
async function readIfAttached(
  store: ImageStore,
  digest: Digest,
  listed: Descriptor,
): Promise<StoredManifest | undefined> {
  try {
    return await readReferrer(store, digest, listed);
  } catch (error) {
    if (error instanceof OciError && (error.code === 'OCI_NOT_FOUND' || error.code === 'OCI_SUBJECT')) return undefined;
    throw error;
  }
}

/** The manifest under a tag or digest; undefined if there is none. */
export async function readIfThere(store: ImageStore, reference: string): Promise<StoredManifest | undefined> {
  try {
    return await store.manifest(reference);
  } catch (error) {
    if (error instanceof OciError && error.code === 'OCI_NOT_FOUND') return undefined;
    throw error;
  }
}

/** By what is in it: its annotations may say anything. */
async function classify(
  store: ImageStore,
  { manifest }: StoredManifest,
): Promise<Pick<Attachment, 'kind' | 'artifactType' | 'predicateType'>> {
  const artifactType = artifactTypeOf(manifest);
  const type = artifactType === undefined ? {} : { artifactType };
  const layer = manifest.kind === 'image' ? manifest.layers[0] : undefined;
  if (layer === undefined || !isBundleType(layer.mediaType)) return { kind: 'referrer', ...type };
  try {
    const { content } = parseBundle(await store.blob(layer, MAX_BUNDLE_BYTES));
    if (content.kind === 'message') return { kind: 'signature', ...type };
    const predicateType = fieldsOf(parseJson(content.envelope.payload))['predicateType'];
    if (typeof predicateType !== 'string') return { kind: 'referrer', ...type };
    return { kind: predicateType === SIGN_PREDICATE_TYPE ? 'signature' : 'attestation', ...type, predicateType };
  } catch (error) {
    if (error instanceof BundleError || error instanceof EncodingError || error instanceof OciError) {
      // It calls itself a bundle and is none: still something that is attached.
      return { kind: 'referrer', ...type };
    }
    throw error;
  }
}
