import {
  checkContent,
  digestOf,
  isDigest,
  OciError,
  parseManifest,
  artifactTypeOf,
  type Descriptor,
  type Digest,
  type ImageStore,
  type StoredManifest,
} from '#libs/oci';

/** A repository in memory, honest unless a test changes what is in it. */
export class MemoryStore implements ImageStore {
  readonly manifests = new Map<string, { bytes: Uint8Array; mediaType: string }>();
  readonly tagged = new Map<string, string>();
  readonly blobs = new Map<string, Uint8Array>();
  /** Called before each request; a test may count them, or let others go first. */
  before: (action: string) => void | Promise<void> = () => undefined;

  constructor(readonly name = 'memory') {}

  async resolve(reference: string): Promise<Descriptor> {
    return (await this.manifest(reference)).descriptor;
  }

  async manifest(reference: string | Descriptor): Promise<StoredManifest> {
    await this.before('manifest');
    const wanted = typeof reference === 'string' ? reference : reference.digest;
    const digest = isDigest(wanted) ? wanted : this.tagged.get(wanted);
    const found = this.manifests.get(digest ?? '');
    if (found === undefined) throw new OciError('OCI_NOT_FOUND', `Cannot read ${wanted}: there is none`);
    const { bytes, mediaType } = found;
    const actual = digestOf(bytes);
    if (actual !== digest) throw new OciError('OCI_DIGEST', `Cannot use ${wanted}: its digest is ${actual}`);
    return {
      descriptor: { mediaType, digest: actual, size: bytes.length },
      bytes,
      manifest: parseManifest(bytes, mediaType),
    };
  }

  async blob(descriptor: Descriptor, limit = 128 * 1024 * 1024): Promise<Uint8Array> {
    await this.before('blob');
    if (descriptor.size > limit) throw new OciError('OCI_LIMIT', `Cannot use blob: it is larger than ${limit} bytes`);
    const parts: Uint8Array[] = [];
    for await (const part of this.blobStream(descriptor)) parts.push(part);
    return new Uint8Array(Buffer.concat(parts));
  }

  async *blobStream(descriptor: Descriptor): AsyncGenerator<Uint8Array> {
    const bytes = this.blobs.get(descriptor.digest);
    if (bytes === undefined) throw new OciError('OCI_NOT_FOUND', `Cannot read ${descriptor.digest}: there is none`);
    yield* checkContent(
      (function* () {
        yield bytes;
      })() as unknown as AsyncIterable<Uint8Array>,
      descriptor,
      'blob',
    );
  }

  async hasBlob({ digest }: Descriptor): Promise<boolean> {
    await this.before('hasBlob');
    return this.blobs.has(digest);
  }

  async putBlob(
    content: Parameters<ImageStore['putBlob']>[0],
    { mediaType = 'application/octet-stream' }: { mediaType?: string } = {},
  ): Promise<Descriptor> {
    await this.before('putBlob');
    if (content instanceof Uint8Array) {
      const digest = digestOf(content);
      this.blobs.set(digest, content);
      return { mediaType, digest, size: content.length };
    }
    const parts: Uint8Array[] = [];
    for await (const part of content.stream()) parts.push(part);
    this.blobs.set(content.descriptor.digest, new Uint8Array(Buffer.concat(parts)));
    return content.descriptor;
  }

  async putManifest(
    bytes: Uint8Array,
    mediaType: string,
    reference?: string,
  ): Promise<{ descriptor: Descriptor; subjectProcessed: boolean }> {
    await this.before('putManifest');
    const digest = digestOf(bytes);
    const manifest = parseManifest(bytes, mediaType);
    this.manifests.set(digest, { bytes, mediaType });
    if (reference !== undefined && !isDigest(reference)) this.tagged.set(reference, digest);
    return {
      descriptor: { mediaType, digest, size: bytes.length },
      subjectProcessed: manifest.subject !== undefined,
    };
  }

  async *referrers(digest: Digest): AsyncGenerator<Descriptor> {
    await this.before('referrers');
    for (const [listed, { bytes, mediaType }] of this.manifests) {
      const manifest = parseManifest(bytes, mediaType);
      if (manifest.subject?.digest !== digest) continue;
      const artifactType = artifactTypeOf(manifest);
      yield {
        mediaType,
        digest: listed as Digest,
        size: bytes.length,
        ...(artifactType !== undefined && { artifactType }),
        ...(manifest.annotations && { annotations: manifest.annotations }),
      };
    }
  }

  async *tags(): AsyncGenerator<string> {
    await this.before('tags');
    yield* this.tagged.keys();
  }

  async deleteManifest(digest: Digest): Promise<void> {
    await this.before('deleteManifest');
    if (!this.manifests.delete(digest)) {
      throw new OciError('OCI_NOT_FOUND', `Cannot delete ${digest}: there is none`);
    }
    for (const [tag, at] of this.tagged) if (at === digest) this.tagged.delete(tag);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
