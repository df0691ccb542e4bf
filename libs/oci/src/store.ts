import type { Digest } from './digest.js';
import { OciError } from './error.js';
import type { Descriptor, Manifest } from './manifest.js';

/** A manifest with the bytes it was read from, which have the descriptor's digest. */
export interface StoredManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  readonly manifest: Manifest;
}

/** What is to be stored: small content as it is; large content as a stream, which is held to its descriptor. */
export type BlobContent =
  | Uint8Array
  | {
      readonly descriptor: Descriptor;
      /** Begins anew at each call: an upload that failed is made again. */
      readonly stream: () => AsyncIterable<Uint8Array>;
    };

/** How a blob is stored. */
export interface PutBlobOptions {
  /** What the returned descriptor says of bytes. Default `application/octet-stream`. */
  readonly mediaType?: string;
  /** A repository of the same registry that has the blob already: it is taken from there if the registry can do so. */
  readonly mountFrom?: string;
}

/** What became of a manifest. */
export interface PutManifestResult {
  readonly descriptor: Descriptor;
  /** Whether the store itself lists the manifest among its subject's referrers; else we wrote the list. False without a subject. */
  readonly subjectProcessed: boolean;
}

/**
 * Manifests and blobs of one repository: in a registry, or in an OCI image layout folder. Nothing is given out before its
 * digest is right, and nothing is read beyond its size and the limits.
 */
export interface ImageStore {
  /** What to call it in messages: `registry/repository`, or the folder. */
  readonly name: string;

  /**
   * The descriptor of what a tag or digest means. The bytes are fetched and hashed: a registry's word for a digest is not
   * taken.
   * @throws OciError `OCI_NOT_FOUND`, and as `manifest`
   */
  resolve(reference: string): Promise<Descriptor>;

  /**
   * The manifest of a tag, a digest, or a descriptor (then its size and media type count too).
   * @throws OciError `OCI_NOT_FOUND`, `OCI_DIGEST`, `OCI_SIZE`, `OCI_LIMIT`, `OCI_MANIFEST`
   */
  manifest(reference: string | Descriptor): Promise<StoredManifest>;

  /**
   * A whole blob of at most `limit` bytes, by default 128 MiB.
   * @throws OciError `OCI_NOT_FOUND`, `OCI_DIGEST`, `OCI_SIZE`, `OCI_LIMIT`
   */
  blob(descriptor: Descriptor, limit?: number): Promise<Uint8Array>;

  /**
   * A blob of any size, in pieces; memory stays flat. Fails before it gives the last piece if the content is wrong.
   * @throws OciError `OCI_NOT_FOUND`, `OCI_DIGEST`, `OCI_SIZE`
   */
  blobStream(descriptor: Descriptor): AsyncIterable<Uint8Array>;

  /** Whether a blob is there; its content is not looked at. */
  hasBlob(descriptor: Descriptor): Promise<boolean>;

  /**
   * Stores a blob, unless it is there already.
   * @throws OciError `OCI_DIGEST` or `OCI_SIZE` if a stream is not what its descriptor says: then nothing is stored
   */
  putBlob(content: BlobContent, options?: PutBlobOptions): Promise<Descriptor>;

  /**
   * Stores a manifest under its digest, and under a tag if `reference` is one. If it has a subject, it is among the
   * subject's referrers afterwards, also where we have to keep the list ourselves, and while others write it too.
   * @throws OciError `OCI_DIGEST` if `reference` is a digest, and another; `OCI_MANIFEST`; `OCI_CONFLICT`
   */
  putManifest(bytes: Uint8Array, mediaType: string, reference?: string): Promise<PutManifestResult>;

  /**
   * What refers to a manifest, each once. `artifactType`: only those that are said to be of this type. A list is the
   * store's word: see `readReferrer`.
   * @throws OciError `OCI_LIMIT`, `OCI_MANIFEST`
   */
  referrers(digest: Digest, options?: { readonly artifactType?: string }): AsyncIterable<Descriptor>;

  /** All tags. @throws OciError `OCI_LIMIT` */
  tags(): AsyncIterable<string>;

  /**
   * Deletes a manifest, and with it all its tags, and removes it from its subject's referrers.
   * @throws OciError `OCI_NOT_FOUND`, `OCI_UNSUPPORTED` if the registry deletes nothing
   */
  deleteManifest(digest: Digest): Promise<void>;

  /** Lets go of connections; requests under way fail. */
  close(): Promise<void>;
}

/**
 * Fetches a manifest that was listed as a referrer of `subject`, and checks that it is one: what a registry lists, and
 * what is pushed to a fallback tag, may refer to something else.
 * @throws OciError `OCI_SUBJECT`, and as `ImageStore.manifest`
 */
export async function readReferrer(store: ImageStore, subject: Digest, listed: Descriptor): Promise<StoredManifest> {
  const read = await store.manifest(listed);
  const refersTo = read.manifest.subject?.digest;
  if (refersTo !== subject) {
    throw new OciError(
      'OCI_SUBJECT',
      `Cannot use referrer ${listed.digest}: it refers to ${refersTo ?? 'nothing'}, expected ${subject}`,
    );
  }
  return read;
}

/** Holds what was found to the whole descriptor that it was asked by. @throws OciError `OCI_SIZE`, `OCI_MANIFEST` */
export function checkSame(what: string, found: Descriptor, expected: Descriptor): void {
  if (found.size !== expected.size) {
    throw new OciError('OCI_SIZE', `Cannot use ${what}: it has ${found.size} bytes, expected ${expected.size}`);
  }
  if (found.mediaType !== expected.mediaType) {
    throw new OciError('OCI_MANIFEST', `Cannot use ${what}: it is ${found.mediaType}, expected ${expected.mediaType}`);
  }
}
