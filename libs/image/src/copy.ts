import type { Descriptor, Digest, ImageStore, StoredManifest } from '#libs/oci';
import { addLayers, type Patience } from './attach.js';
import { listAttachments, readIfThere, type Attachment, type AttachmentKind } from './attachments.js';
import { ImageError } from './error.js';
import { choosePlatform } from './platforms.js';

export interface CopyOptions {
  /** The tag at the destination. It is set last: whoever sees it finds everything else there. */
  tag?: string;
  /** Only this platform (`os/architecture[/variant]`) of an index. */
  platform?: string;
  /** Which kinds of attachments go along. Default: all. */
  only?: readonly AttachmentKind[];
  /** The source's repository, if the destination is in the same registry: blobs need not travel then. */
  mountFrom?: string;
  /** Another store with attachments of the image, beside its own. At the destination they are beside the image. */
  signatures?: ImageStore;
  patience?: Patience;
}

/** What was copied. A second run over the same copies no blobs. */
export interface CopyResult {
  /** What the tag means now. */
  descriptor: Descriptor;
  /** Manifests of the image itself: 1, or the index and all in it. */
  manifests: number;
  /** Blobs that travelled, their bytes, and those that were there before. */
  blobs: number;
  bytes: number;
  present: number;
  /** Attachments; legacy ones count by signature, not by manifest. */
  attached: Record<AttachmentKind, number>;
}

const MAX_MANIFESTS = 20_000;
const MAX_DEPTH = 8;
/** Blobs under way at once. */
const PARALLEL = 4;

/**
 * Copies an image with all that belongs to it: the manifests of an index, their blobs, and for each manifest its signatures, attestations and other referrers, with
 * those of the referrers in turn. Everything is checked against its digest on the way. An attachment is stored after what it refers to, a tag at the very end.
 * @throws OciError; ImageError `IMAGE_LIMIT`, `IMAGE_CONFLICT`
 */
export async function copyImage(
  source: ImageStore,
  target: ImageStore,
  reference: string,
  options: CopyOptions = {},
): Promise<CopyResult> {
  const { tag, platform, only, signatures } = options;
  const root = platform === undefined ? reference : (await choosePlatform(source, reference, platform)).digest;
  const copy = new Copy(source, target, options);
  const image = await copy.manifest(root, 0);
  const manifests = copy.copied.size;
  const images = [...copy.copied];
  const stores = signatures === undefined || signatures === source ? [source] : [source, signatures];
  for (const from of stores) for (const digest of images) await copy.attachments(from, digest, only, 1);
  // By its digest it is listed in a layout folder; a registry has it already.
  await target.putManifest(image.bytes, image.descriptor.mediaType, tag ?? image.descriptor.digest);
  const { blobs, bytes, present, attached } = copy;
  return { descriptor: image.descriptor, manifests, blobs, bytes, present, attached };
}

class Copy {
  readonly copied = new Set<Digest>();
  readonly #blobs = new Set<Digest>();
  blobs = 0;
  bytes = 0;
  present = 0;
  readonly attached: Record<AttachmentKind, number> = { signature: 0, attestation: 0, sbom: 0, referrer: 0 };

  constructor(
    readonly source: ImageStore,
    readonly target: ImageStore,
    readonly options: CopyOptions,
  ) {}

  /** A manifest and what it lists, the listed first: registries refuse a manifest whose parts are not there. */
  async manifest(at: string | Descriptor, depth: number, from = this.source): Promise<StoredManifest> {
    const read = await from.manifest(at);
    await this.#store(from, read, depth);
    return read;
  }

  async #store(from: ImageStore, read: StoredManifest, depth: number, tag?: string): Promise<void> {
    const { descriptor, manifest, bytes } = read;
    if (this.copied.has(descriptor.digest) && tag === undefined) return;
    if (this.copied.size >= MAX_MANIFESTS || depth > MAX_DEPTH) {
      throw new ImageError(
        'IMAGE_LIMIT',
        `Cannot copy ${descriptor.digest}: more than ${MAX_MANIFESTS} manifests or ${MAX_DEPTH} levels`,
      );
    }
    if (manifest.kind === 'index') {
      for (const child of manifest.manifests) {
        // An index may list one manifest four thousand times, and that one another: each is fetched once.
        if (!this.copied.has(child.digest)) await this.manifest(child, depth + 1, from);
      }
    } else await this.#storeBlobs(from, [manifest.config, ...manifest.layers]);
    await this.target.putManifest(bytes, descriptor.mediaType, tag);
    this.copied.add(descriptor.digest);
  }

  async #storeBlobs(from: ImageStore, wanted: readonly Descriptor[]): Promise<void> {
    const rest = wanted.filter(({ digest }) => !this.#blobs.has(digest));
    const unique = [...new Map(rest.map((blob) => [blob.digest, blob])).values()];
    const work = unique.values();
    const worker = async (): Promise<void> => {
      for (const blob of work) await this.#storeBlob(from, blob);
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
  }

  async #storeBlob(from: ImageStore, descriptor: Descriptor): Promise<void> {
    this.#blobs.add(descriptor.digest);
    if (await this.target.hasBlob(descriptor)) {
      this.present++;
      return;
    }
    // Layers that may not be distributed are elsewhere; the manifest says where.
    if (descriptor.urls !== undefined && !(await from.hasBlob(descriptor))) return;
    const { mountFrom } = this.options;
    await this.target.putBlob(
      { descriptor, stream: () => from.blobStream(descriptor) },
      mountFrom === undefined || from !== this.source ? {} : { mountFrom },
    );
    this.blobs++;
    this.bytes += descriptor.size;
  }

  /** What is attached to a manifest that was copied, and what is attached to that. */
  async attachments(
    from: ImageStore,
    digest: Digest,
    only: readonly AttachmentKind[] | undefined,
    depth: number,
  ): Promise<void> {
    for await (const attachment of listAttachments(from, digest)) {
      const { kind, descriptor, manifest } = attachment;
      if (only !== undefined && !only.includes(kind)) continue;
      const isNew = !this.copied.has(descriptor.digest);
      await this.#storeAttachment(from, attachment, depth);
      this.attached[kind] += attachment.tag !== undefined && manifest.kind === 'image' ? manifest.layers.length : 1;
      if (isNew) await this.attachments(from, descriptor.digest, only, depth + 1);
    }
  }

  async #storeAttachment(from: ImageStore, attachment: Attachment, depth: number): Promise<void> {
    const { tag, manifest, descriptor } = attachment;
    if (tag === undefined) return this.#store(from, attachment, depth);
    const existing = await readIfThere(this.target, tag);
    if (existing === undefined || existing.descriptor.digest === descriptor.digest) {
      return this.#store(from, attachment, depth, tag);
    }
    if (manifest.kind === 'index') {
      throw new ImageError('IMAGE_LEGACY', `Cannot copy ${tag}: it is an index, and would replace what is there`, {
        cure: 'Look at who set that tag at the source; leave its kind out with --only',
      });
    }
    // Others signed at the destination too: theirs stay.
    await this.#storeBlobs(from, manifest.layers);
    await addLayers(this.target, tag, manifest.layers, this.options.patience);
    this.copied.add(descriptor.digest);
  }
}
