import { digestOf, OciError, parseManifest, type Descriptor, type Digest } from '#libs/oci';
import type { TagStore } from '#libs/tags';

/** A repository in memory, with hooks to lie and to come in between. */
export interface MemoryStore extends TagStore {
  readonly blobs: Map<Digest, Uint8Array>;
  readonly manifests: Map<Digest, { bytes: Uint8Array; mediaType: string }>;
  readonly tagged: Map<string, Digest>;
  /** Puts an image there; its tag is that of the registry, which proves nothing. */
  pushImage(tag: string, content?: string): Descriptor;
  /** Asked before a manifest is stored. */
  beforePut: (reference: string | undefined) => Promise<void>;
  /** What a client sees from now on: a copy that goes its own way. */
  fork(): MemoryStore;
}

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

export function memoryStore(from?: MemoryStore): MemoryStore {
  const blobs = new Map(from?.blobs);
  const manifests = new Map(from?.manifests);
  const tagged = new Map(from?.tagged);
  const missing = (what: string) => new OciError('OCI_NOT_FOUND', `Cannot find ${what}`);
  const find = (reference: string) => {
    const digest = reference.includes(':') ? (reference as Digest) : tagged.get(reference);
    const found = digest === undefined ? undefined : manifests.get(digest);
    if (digest === undefined || found === undefined) throw missing(reference);
    return { descriptor: { mediaType: found.mediaType, digest, size: found.bytes.length }, bytes: found.bytes };
  };
  const put = (bytes: Uint8Array, mediaType: string, tag?: string): Descriptor => {
    const digest = digestOf(bytes);
    manifests.set(digest, { bytes, mediaType });
    if (tag !== undefined) tagged.set(tag, digest);
    return { mediaType, digest, size: bytes.length };
  };
  const store: MemoryStore = {
    blobs,
    manifests,
    tagged,
    pushImage: (tag, content = tag) => {
      const config = {
        mediaType: 'application/vnd.oci.empty.v1+json',
        digest: digestOf(new TextEncoder().encode('{}')),
        size: 2,
      };
      const image = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [], annotations: { content } };
      return put(new TextEncoder().encode(JSON.stringify(image)), OCI_MANIFEST, tag);
    },
    beforePut: async () => undefined,
    fork: () => memoryStore(store),
    resolve: async (reference) => find(reference).descriptor,
    manifest: async (reference) => {
      const { descriptor, bytes } = find(typeof reference === 'string' ? reference : reference.digest);
      return { descriptor, bytes, manifest: parseManifest(bytes, descriptor.mediaType) };
    },
    blob: async ({ digest }, limit = Infinity) => {
      const bytes = blobs.get(digest);
      if (bytes === undefined) throw missing(digest);
      if (bytes.length > limit) throw new OciError('OCI_LIMIT', `Cannot read ${digest}: too large`);
      if (digestOf(bytes) !== digest) throw new OciError('OCI_DIGEST', `Cannot read ${digest}: it is another`);
      return bytes;
    },
    putBlob: async (content, options = {}) => {
      if (!(content instanceof Uint8Array)) throw new Error('only bytes here');
      const digest = digestOf(content);
      blobs.set(digest, content);
      return { mediaType: options.mediaType ?? 'application/octet-stream', digest, size: content.length };
    },
    putManifest: async (bytes, mediaType, reference) => {
      await store.beforePut(reference);
      return { descriptor: put(bytes, mediaType, reference), subjectProcessed: false };
    },
    deleteManifest: async (digest) => {
      if (!manifests.delete(digest)) throw missing(digest);
      for (const [tag, known] of [...tagged]) if (known === digest) tagged.delete(tag);
    },
    tags: async function* () {
      yield* [...tagged.keys()].sort();
    },
  };
  return store;
}
