import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeUtf8, type JsonValue } from '#libs/encoding';
import { checkContent, collect, ContentCheck, digestOf, splitDigest, type Digest } from './digest.js';
import { OciError, quote } from './error.js';
import { referrerDescriptor } from './fallback.js';
import {
  encodeDescriptor,
  isManifestType,
  isObject,
  MAX_DESCRIPTORS,
  MAX_MANIFEST_BYTES,
  mediaTypes,
  parseBoundedObject,
  parseDescriptor,
  parseDescriptors,
  parseManifest,
  type Descriptor,
} from './manifest.js';
import { isTag, parseTagOrDigest } from './reference.js';
import {
  checkSame,
  type BlobContent,
  type ImageStore,
  type PutBlobOptions,
  type PutManifestResult,
  type StoredManifest,
} from './store.js';

/** How to open a layout. */
export interface LayoutOptions {
  /** Makes the layout if the folder is missing or empty. Default false. */
  readonly create?: boolean;
  readonly limits?: {
    /** A blob that is read whole. Default 128 MiB. */
    readonly blobBytes?: number;
  };
}

/** An OCI image layout folder (image-spec: image-layout.md). */
export interface LayoutStore extends ImageStore {
  readonly folder: string;
  /** What `index.json` lists. */
  listed(): Promise<readonly Descriptor[]>;
  /**
   * Adds annotations to what `index.json` lists, in place of those of the same name. `annotationsOf`: undefined leaves an entry as it is.
   * @throws OciError `OCI_LAYOUT`, `OCI_LIMIT`, `OCI_CONFLICT`
   */
  annotate(annotationsOf: (listed: Descriptor) => Readonly<Record<string, string>> | undefined): Promise<void>;
}

const VERSION = '1.0.0';
const TAG_ANNOTATION = 'org.opencontainers.image.ref.name';
const CHUNK_BYTES = 256 * 1024;
const LOCK_PATIENCE_MS = 10_000;
const LOCK_STALE_MS = 60_000;
const LOCK_PAUSE_MS = 20;

type JsonObject = { readonly [name: string]: JsonValue };

/**
 * Opens an OCI image layout folder as a store. Tags are the names in `index.json`; a manifest that is put there without a
 * tag is listed if it has a subject or is put by its digest, and not if it is put without a reference: then it is part of
 * an index. Referrers are found among what is listed.
 * @throws OciError `OCI_LAYOUT` if there is no layout, or none of a version that we know
 */
export async function openLayout(folder: string, options: LayoutOptions = {}): Promise<LayoutStore> {
  if (options.create === true) await createLayout(folder);
  const marker = parseBoundedObject(await readSmall(join(folder, 'oci-layout'), folder), 'oci-layout');
  const version = marker['imageLayoutVersion'];
  if (typeof version !== 'string' || !/^1\.\d+\.\d+$/.test(version)) {
    throw new OciError('OCI_LAYOUT', `Cannot open ${folder}: its version is not ${VERSION}`);
  }
  await refuseLinks(folder);
  return new Layout(folder, options.limits?.blobBytes ?? 128 * 1024 * 1024);
}

/** A link in place of a folder would let a layout that came from elsewhere read and write anywhere. */
async function refuseLinks(folder: string): Promise<void> {
  for (const name of ['blobs', 'blobs/sha256', 'blobs/sha512']) {
    const found = await lstat(join(folder, name)).catch((cause: unknown) => absent(cause, folder));
    if (found !== undefined && !found.isDirectory()) {
      throw new OciError('OCI_LAYOUT', `Cannot open ${folder}: ${name} is not a folder`);
    }
  }
}

async function createLayout(folder: string): Promise<void> {
  try {
    // Before anything is made in it: also an empty folder in the wrong place is one that nobody asked for.
    await refuseLinks(folder);
    await refuseOthers(folder);
    await mkdir(join(folder, 'blobs', 'sha256'), { recursive: true });
    for (const [name, content] of [
      ['oci-layout', { imageLayoutVersion: VERSION }],
      ['index.json', { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] }],
    ] as const) {
      const file = join(folder, name);
      if ((await stat(file).catch((cause: unknown) => absent(cause, folder))) === undefined) {
        await writeAtomically(file, once(encodeUtf8(JSON.stringify(content))));
      }
    }
  } catch (cause) {
    throw layoutError('create', folder, cause);
  }
}

/** A folder with something else in it is not made a layout: a wrong name would bury its content among blobs. */
async function refuseOthers(folder: string): Promise<void> {
  const names = (await readdir(folder).catch((cause: unknown) => absent(cause, folder))) ?? [];
  // What a crash in the middle of making one leaves is gone on with.
  if (names.includes('oci-layout') || names.every((name) => name === 'blobs' || name.startsWith('oci-layout.'))) return;
  throw new OciError('OCI_LAYOUT', `Cannot create ${folder}: it has content, and is not an OCI image layout`, {
    cure: 'Name a folder that is not there yet, or is empty',
  });
}

class Layout implements LayoutStore {
  readonly name: string;
  readonly folder: string;
  readonly #blobBytes: number;
  /** Of manifests that were looked at: content under a digest does not change, and each question would read them all again. */
  readonly #subjects = new Map<Digest, Digest | undefined>();

  constructor(folder: string, blobBytes: number) {
    this.name = folder;
    this.folder = folder;
    this.#blobBytes = blobBytes;
  }

  async listed(): Promise<readonly Descriptor[]> {
    return parseDescriptors((await this.#readIndex())['manifests'], 'manifests');
  }

  async resolve(reference: string): Promise<Descriptor> {
    return (await this.manifest(reference)).descriptor;
  }

  async manifest(reference: string | Descriptor): Promise<StoredManifest> {
    if (typeof reference !== 'string') {
      const found = await this.#readManifest(reference.digest, reference.mediaType);
      checkSame(`manifest ${reference.digest} of ${this.name}`, found.descriptor, reference);
      return found;
    }
    const target = parseTagOrDigest(reference);
    const listed = (await this.listed()).filter((one) =>
      'digest' in target ? one.digest === target.digest : one.annotations?.[TAG_ANNOTATION] === target.tag,
    );
    const [found, another] = listed;
    if ('digest' in target) return this.#readManifest(target.digest, found?.mediaType);
    if (found === undefined) {
      throw new OciError('OCI_NOT_FOUND', `Cannot read manifest ${reference} of ${this.name}: there is no such tag`);
    }
    if (another !== undefined && another.digest !== found.digest) {
      throw new OciError(
        'OCI_LAYOUT',
        `Cannot read manifest ${reference} of ${this.name}: the tag is there more than once`,
      );
    }
    return this.manifest(found);
  }

  async #readManifest(digest: Digest, mediaType: string | undefined): Promise<StoredManifest> {
    const what = `manifest ${digest} of ${this.name}`;
    const file = await this.#openBlob(digest, what);
    try {
      const { size } = await file.stat();
      if (size > MAX_MANIFEST_BYTES) {
        throw new OciError('OCI_LIMIT', `Cannot read ${what}: it is larger than ${MAX_MANIFEST_BYTES} bytes`);
      }
      const bytes = await collect(checkContent(readChunks(file, size), { digest, size }, what));
      const manifest = parseManifest(bytes, mediaType);
      return { descriptor: { mediaType: manifest.mediaType, digest, size }, bytes, manifest };
    } finally {
      await file.close();
    }
  }

  async blob(descriptor: Descriptor, limit = this.#blobBytes): Promise<Uint8Array> {
    if (descriptor.size > limit) {
      throw new OciError(
        'OCI_LIMIT',
        `Cannot read blob ${descriptor.digest} of ${this.name}: it has ${descriptor.size} bytes, at most ${limit} are read`,
      );
    }
    return collect(this.blobStream(descriptor));
  }

  async *blobStream(descriptor: Descriptor): AsyncGenerator<Uint8Array, void, undefined> {
    const what = `blob ${descriptor.digest} of ${this.name}`;
    const file = await this.#openBlob(descriptor.digest, what);
    try {
      yield* checkContent(readChunks(file, descriptor.size + 1), descriptor, what);
    } finally {
      await file.close();
    }
  }

  async hasBlob({ digest, size }: Descriptor): Promise<boolean> {
    const found = await lstat(this.#blobPath(digest)).catch((cause: unknown) => absent(cause, this.folder));
    return found !== undefined && found.isFile() && found.size === size;
  }

  async putBlob(content: BlobContent, options: PutBlobOptions = {}): Promise<Descriptor> {
    const { mediaType = 'application/octet-stream' } = options;
    if (content instanceof Uint8Array) {
      const descriptor = { mediaType, digest: digestOf(content), size: content.length };
      await this.#write(descriptor, once(content));
      return descriptor;
    }
    await this.#write(content.descriptor, content.stream());
    return content.descriptor;
  }

  async putManifest(bytes: Uint8Array, mediaType: string, reference?: string): Promise<PutManifestResult> {
    const manifest = parseManifest(bytes, mediaType);
    const target = reference === undefined ? undefined : parseTagOrDigest(reference);
    const wanted = target !== undefined && 'digest' in target ? target.digest : undefined;
    const digest = digestOf(bytes, wanted === undefined ? 'sha256' : splitDigest(wanted).algorithm);
    if (wanted !== undefined && wanted !== digest) {
      throw new OciError('OCI_DIGEST', `Cannot write manifest ${wanted} of ${this.name}: its digest is ${digest}`);
    }
    const descriptor = { mediaType, digest, size: bytes.length };
    await this.#write(descriptor, once(bytes));
    const hasSubject = manifest.subject !== undefined;
    if (target === undefined && !hasSubject) return { descriptor, subjectProcessed: false };
    const tag = target !== undefined && 'tag' in target ? target.tag : undefined;
    const listed: Descriptor = hasSubject ? referrerDescriptor(descriptor, manifest) : descriptor;
    await this.#changeIndex((manifests) => {
      if (tag === undefined) {
        return manifests.some((one) => one['digest'] === digest) ? manifests : [...manifests, encodeDescriptor(listed)];
      }
      const annotations = { ...listed.annotations, [TAG_ANNOTATION]: tag };
      // The tag moves; what had it stays, without a name.
      const others = manifests
        .filter((one) => one['digest'] !== digest || (tagOf(one) !== undefined && tagOf(one) !== tag))
        .map((one) => (tagOf(one) === tag ? withoutTag(one) : one));
      return [...others, encodeDescriptor({ ...listed, annotations })];
    });
    return { descriptor, subjectProcessed: hasSubject };
  }

  async *referrers(
    digest: Digest,
    options: { readonly artifactType?: string } = {},
  ): AsyncGenerator<Descriptor, void, undefined> {
    const seen = new Set<Digest>();
    for (const listed of await this.listed()) {
      // An index may list anything; only manifests have subjects.
      if (seen.has(listed.digest) || !isManifestType(listed.mediaType)) continue;
      seen.add(listed.digest);
      if (this.#subjects.has(listed.digest) && this.#subjects.get(listed.digest) !== digest) continue;
      const { descriptor, manifest } = await this.manifest(listed);
      if (this.#subjects.size >= MAX_DESCRIPTORS) this.#subjects.clear();
      this.#subjects.set(listed.digest, manifest.subject?.digest);
      if (manifest.subject?.digest !== digest) continue;
      const referrer = referrerDescriptor(descriptor, manifest);
      if (options.artifactType === undefined || referrer.artifactType === options.artifactType) yield referrer;
    }
  }

  async *tags(): AsyncGenerator<string, void, undefined> {
    const tags = (await this.listed()).map(({ annotations }) => annotations?.[TAG_ANNOTATION]);
    yield* [...new Set(tags)].filter((tag) => tag !== undefined && isTag(tag)).sort() as string[]; // undefined is gone
  }

  async annotate(annotationsOf: (listed: Descriptor) => Readonly<Record<string, string>> | undefined): Promise<void> {
    await this.#changeIndex((manifests) =>
      manifests.map((entry) => {
        const added = annotationsOf(parseDescriptor(entry, 'manifests'));
        if (added === undefined) return entry;
        return { ...entry, annotations: { ...(isObject(entry['annotations']) && entry['annotations']), ...added } };
      }),
    );
  }

  async deleteManifest(digest: Digest): Promise<void> {
    const file = this.#blobPath(digest);
    if ((await lstat(file).catch((cause: unknown) => absent(cause, this.folder))) === undefined) {
      throw new OciError('OCI_NOT_FOUND', `Cannot delete manifest ${digest} of ${this.name}: it is not there`);
    }
    // First from the index: a crash in between leaves a blob that nobody needs.
    await this.#changeIndex((manifests) => manifests.filter((one) => one['digest'] !== digest));
    await rm(file, { force: true }).catch((cause: unknown) => {
      throw layoutError('write', this.folder, cause);
    });
  }

  async close(): Promise<void> {
    // Files are open only while they are read.
  }

  #blobPath(digest: Digest): string {
    const { algorithm, hex } = splitDigest(digest);
    return join(this.folder, 'blobs', algorithm, hex);
  }

  async #openBlob(digest: Digest, what: string): Promise<FileHandle> {
    let file: FileHandle;
    try {
      // Not through a link, and without waiting for whoever writes to a pipe.
      file = await open(this.#blobPath(digest), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
        throw new OciError('OCI_NOT_FOUND', `Cannot read ${what}: it is not there`, { cause });
      }
      throw layoutError('read', this.#blobPath(digest), cause);
    }
    if ((await file.stat()).isFile()) return file;
    await file.close();
    throw new OciError('OCI_LAYOUT', `Cannot read ${what}: it is not a file`);
  }

  async #write(expected: Descriptor, stream: AsyncIterable<Uint8Array>): Promise<void> {
    const what = `blob ${expected.digest} for ${this.name}`;
    const file = this.#blobPath(expected.digest);
    try {
      await mkdir(join(file, '..'), { recursive: true });
      await writeAtomically(file, stream, new ContentCheck(expected, what));
    } catch (cause) {
      throw cause instanceof OciError ? cause : layoutError('write', file, cause);
    }
  }

  async #readIndex(): Promise<JsonObject> {
    const index = parseBoundedObject(await readSmall(join(this.folder, 'index.json'), this.folder), 'index.json');
    if (index['schemaVersion'] !== 2) {
      throw new OciError('OCI_LAYOUT', `Cannot read index.json of ${this.name}: its schemaVersion is not 2`);
    }
    return index;
  }

  async #changeIndex(change: (manifests: readonly JsonObject[]) => readonly JsonObject[]): Promise<void> {
    const file = join(this.folder, 'index.json');
    const unlock = await lock(`${file}.lock`, this.folder);
    try {
      const index = await this.#readIndex();
      parseDescriptors(index['manifests'], 'manifests'); // before it is written again
      const present = Array.isArray(index['manifests']) ? index['manifests'].filter((one) => isObject(one)) : [];
      const manifests = change(present);
      const encoded = encodeUtf8(JSON.stringify({ ...index, manifests }));
      // What we could not read again would be lost: annotations of strangers are copied into it.
      if (manifests.length > MAX_DESCRIPTORS || encoded.length > MAX_MANIFEST_BYTES) {
        throw new OciError(
          'OCI_LIMIT',
          `Cannot write index.json of ${this.name}: it would have more than ${MAX_DESCRIPTORS} entries or 4 MiB`,
        );
      }
      await writeAtomically(file, once(encoded));
    } catch (cause) {
      throw cause instanceof OciError ? cause : layoutError('write', file, cause);
    } finally {
      await unlock();
    }
  }
}

function tagOf(entry: JsonObject): JsonValue | undefined {
  const annotations = entry['annotations'];
  return isObject(annotations) ? annotations[TAG_ANNOTATION] : undefined;
}

function withoutTag(entry: JsonObject): JsonObject {
  const annotations = isObject(entry['annotations']) ? { ...entry['annotations'] } : {};
  delete annotations[TAG_ANNOTATION];
  return { ...entry, annotations };
}

async function* readChunks(file: FileHandle, most: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let left = most; left > 0;) {
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, left));
    const { bytesRead } = await file.read(chunk, 0, chunk.length);
    if (bytesRead === 0) return;
    left -= bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
}

/** A new file under the name, or none. With a check, only if the content passes it. */
async function writeAtomically(file: string, stream: AsyncIterable<Uint8Array>, check?: ContentCheck): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o644);
    try {
      for await (const chunk of stream) {
        check?.update(chunk);
        await handle.writeFile(chunk);
      }
      check?.end();
      // Before the rename: else a power cut may leave the new name with no content.
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function readSmall(file: string, folder: string): Promise<Uint8Array> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      return await collect(readChunks(handle, MAX_MANIFEST_BYTES + 1));
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new OciError('OCI_LAYOUT', `Cannot open ${folder}: it is not an OCI image layout`, { cause });
    }
    throw layoutError('read', file, cause);
  }
}

/** Only one process at a time changes an index. A lock whose owner died is broken after a minute. */
async function lock(file: string, folder: string): Promise<() => Promise<void>> {
  for (const until = Date.now() + LOCK_PATIENCE_MS; ;) {
    try {
      await (await open(file, 'wx')).close();
      return () => rm(file, { force: true });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw layoutError('write', folder, cause);
      const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Date.now() }));
      if (Date.now() - mtimeMs > LOCK_STALE_MS) await rm(file, { force: true });
      else if (Date.now() > until) {
        throw new OciError(
          'OCI_CONFLICT',
          `Cannot write ${folder}: another process holds ${quote('index.json.lock')}`,
          {
            cause,
            cure: 'Wait for the other process, or remove the file if there is none',
          },
        );
      } else await new Promise((done) => setTimeout(done, LOCK_PAUSE_MS));
    }
  }
}

function absent(cause: unknown, folder: string): undefined {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT') return undefined;
  throw layoutError('read', folder, cause);
}

function layoutError(verb: string, file: string, cause: unknown): OciError {
  if (cause instanceof OciError) return cause;
  const { code } = cause as NodeJS.ErrnoException;
  return new OciError('OCI_LAYOUT', `Cannot ${verb} ${file}: ${code ?? 'failed'}`, { cause });
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
