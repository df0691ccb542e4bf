import { Authenticator } from './auth.js';
import { anonymous, type Credentials } from './credentials.js';
import { checkContent, collect, digestOf, splitDigest, type Digest } from './digest.js';
import { OciError } from './error.js';
import { fallbackTag, parseReferrers, referrerDescriptor } from './fallback.js';
import { isNetworkError, RegistryHttp, statusError, type Patience } from './http.js';
import { parseNextLink } from './link.js';
import {
  isManifestType,
  MAX_MANIFEST_BYTES,
  mediaTypes,
  parseBoundedObject,
  parseManifest,
  type Descriptor,
} from './manifest.js';
import { isLoopback, parseUrl } from './network.js';
import { changeList, readList } from './referrer-list.js';
import { endpointOf, isRepository, isTag, parseTagOrDigest, repositoryOf, type Reference } from './reference.js';
import { ACCEPT, contentType, RepositoryHttp } from './repository-http.js';
import {
  checkSame,
  type BlobContent,
  type ImageStore,
  type PutBlobOptions,
  type PutManifestResult,
  type StoredManifest,
} from './store.js';
import { Transport, type Answer, type TlsOptions } from './transport.js';
import { uploadBlob } from './upload.js';

/** How much of what a registry sends is read. */
export interface RegistryLimits {
  /** A manifest, or a page of a list. At most, and by default, 4 MiB. */
  readonly manifestBytes: number;
  /** A blob that is read whole. Default 128 MiB. */
  readonly blobBytes: number;
  /** Referrers of one manifest. Default 10,000. */
  readonly referrers: number;
  /** Tags of one repository. Default 100,000. */
  readonly tags: number;
  /** Pages of one list. Default 1000. */
  readonly pages: number;
  /** Blobs beyond this size are uploaded in chunks of it. Default 8 MiB. */
  readonly chunkBytes: number;
}

/** How long to wait for a connection, in milliseconds. */
export interface RegistryTimeouts {
  /** For connecting. Default 10 seconds. */
  readonly connectMs: number;
  /** Between two reads. Default 30 seconds. */
  readonly idleMs: number;
}

/** How to reach a repository of a registry. */
export interface RegistryOptions extends TlsOptions {
  /** Registry and repository; tag and digest do not matter. */
  readonly repository: Reference;
  /** Default: none. */
  readonly credentials?: Credentials;
  /**
   * Whether to speak HTTP without TLS: `loopback` (the default) with this machine alone, unless roots or a client
   * certificate are given.
   */
  readonly plainHttp?: boolean | 'loopback';
  /** Takes any certificate of the registry; not of anybody it redirects to. Default false. */
  readonly insecureTls?: boolean;
  readonly limits?: Partial<RegistryLimits>;
  /** Default: 4 attempts, 60 seconds for a small answer. */
  readonly patience?: Partial<Patience & RegistryTimeouts>;
  /** The addresses of a host name. Default: those that the system resolves it to. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
  /** Ends everything. */
  readonly signal?: AbortSignal;
}

/** A repository of a registry. */
export interface RegistryStore extends ImageStore {
  readonly repository: Reference;
  /**
   * Another repository of the same registry, by the same connections and credentials; closing one closes both.
   * @throws OciError `OCI_REFERENCE`
   */
  sibling(repository: string): RegistryStore;
}

const defaultLimits: RegistryLimits = {
  manifestBytes: MAX_MANIFEST_BYTES,
  blobBytes: 128 * 1024 * 1024,
  referrers: 10_000,
  tags: 100_000,
  pages: 1000,
  chunkBytes: 8 * 1024 * 1024,
};
const defaultPatience: Patience & RegistryTimeouts = {
  attempts: 4,
  timeoutMs: 60_000,
  connectMs: 10_000,
  idleMs: 30_000,
  sleep: (milliseconds, signal) =>
    new Promise((done) => {
      const timer = setTimeout(end, milliseconds);
      // A timer left behind would keep the process alive.
      signal?.addEventListener('abort', end);
      function end(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        done();
      }
    }),
  jitter: Math.random,
  now: Date.now,
};

/** Of nothing: to ask whether there is a referrers API at all. */
const NO_DIGEST: Digest = `sha256:${'0'.repeat(64)}`;
/** Answers to a request for referrers that say that there is no such API. */
const NO_API = [400, 404, 405, 406, 501];
const TAGS_PAGE = 1000;
const RECENT_MANIFESTS = 16;

/**
 * Opens a repository of a registry. Nothing is sent before something is asked for.
 * @throws OciError `OCI_CREDENTIALS` if the certificates for TLS cannot be used
 */
export function openRegistry(options: RegistryOptions): RegistryStore {
  const { repository, plainHttp = 'loopback' } = options;
  const host = endpointOf(repository.registry);
  const hasTls = options.caPem !== undefined || options.certPem !== undefined;
  const isPlain =
    plainHttp === true || (plainHttp === 'loopback' && !hasTls && isLoopback(new URL(`http://${host}`).hostname));
  const origin = new URL(`${isPlain ? 'http' : 'https'}://${host}`);
  const patience = { ...defaultPatience, ...options.patience };
  const { connectMs, idleMs } = patience;
  const transport = new Transport({
    origin: origin.origin,
    tls: options,
    insecureTls: options.insecureTls ?? false,
    connectMs,
    idleMs,
    ...(options.lookup && { lookup: options.lookup }),
  });
  const limits = { ...defaultLimits, ...options.limits };
  return new Registry({ repository, options, origin, patience, transport, limits });
}

interface Parts {
  readonly repository: Reference;
  readonly options: RegistryOptions;
  readonly origin: URL;
  readonly patience: Patience;
  readonly transport: Transport;
  readonly limits: RegistryLimits;
}

class Registry implements RegistryStore {
  readonly name: string;
  readonly repository: Reference;
  readonly #parts: Parts;
  readonly #http: RegistryHttp;
  readonly #requests: RepositoryHttp;
  /** Undefined until somebody wants to know. */
  #hasReferrersApi: boolean | undefined;
  /** What was resolved last: it is what is asked for next. */
  readonly #recent = new Map<Digest, StoredManifest>();

  constructor(parts: Parts) {
    const { origin, options, patience, transport } = parts;
    const { registry, repository } = parts.repository;
    this.#parts = parts;
    this.repository = { registry, repository };
    this.name = repositoryOf(this.repository);
    const authenticator: Authenticator = new Authenticator({
      origin,
      registry,
      repository,
      credentials: options.credentials ?? anonymous,
      ask: (request) => this.#http.ask(request),
      allowsPlainHttp: options.plainHttp === true,
      now: patience.now,
    });
    this.#http = new RegistryHttp({ transport, origin, authenticator, patience, signal: options.signal });
    const { manifestBytes } = parts.limits;
    this.#requests = new RepositoryHttp({ http: this.#http, name: this.name, repository, manifestBytes, origin });
  }

  sibling(repository: string): RegistryStore {
    if (!isRepository(repository)) {
      throw new OciError('OCI_REFERENCE', `Cannot open a repository beside ${this.name}: its name is malformed`);
    }
    return new Registry({ ...this.#parts, repository: { registry: this.repository.registry, repository } });
  }

  async resolve(reference: string): Promise<Descriptor> {
    const found = await this.#fetchManifest(reference);
    this.#recent.delete(found.descriptor.digest);
    this.#recent.set(found.descriptor.digest, found);
    const [oldest] = this.#recent.keys();
    if (this.#recent.size > RECENT_MANIFESTS && oldest !== undefined) this.#recent.delete(oldest);
    return found.descriptor;
  }

  async manifest(reference: string | Descriptor): Promise<StoredManifest> {
    const asked = typeof reference === 'string' ? reference : reference.digest;
    const { manifestBytes } = this.#parts.limits;
    const what = `manifest ${asked} of ${this.name}`;
    if (typeof reference !== 'string' && reference.size > manifestBytes) {
      throw new OciError('OCI_LIMIT', `Cannot read ${what}: it is larger than ${manifestBytes} bytes`);
    }
    // A tag is never a digest: only what cannot have changed is taken from memory.
    const found = this.#recent.get(asked as Digest) ?? (await this.#fetchManifest(asked));
    if (typeof reference !== 'string') checkSame(what, found.descriptor, reference);
    return found;
  }

  async #fetchManifest(reference: string): Promise<StoredManifest> {
    const target = parseTagOrDigest(reference);
    const action = `read manifest ${reference} of ${this.name}`;
    const url = this.#requests.url(`manifests/${reference}`);
    const { answer, bytes } = await this.#http.read(
      {
        action,
        method: 'GET',
        url,
        headers: { accept: ACCEPT },
        scopes: this.#requests.scopes('pull'),
        redirects: 'anywhere',
      },
      this.#parts.limits.manifestBytes,
    );
    const digest = digestOf(bytes, 'digest' in target ? splitDigest(target.digest).algorithm : 'sha256');
    if ('digest' in target && target.digest !== digest) {
      throw new OciError('OCI_DIGEST', `Cannot ${action}: the registry answered with ${digest}`);
    }
    checkHint(action, answer, digest);
    const type = contentType(answer);
    const manifest = parseManifest(bytes, type !== undefined && isManifestType(type) ? type : undefined);
    return { descriptor: { mediaType: manifest.mediaType, digest, size: bytes.length }, bytes, manifest };
  }

  async blob(descriptor: Descriptor, limit = this.#parts.limits.blobBytes): Promise<Uint8Array> {
    if (descriptor.size > limit) {
      throw new OciError(
        'OCI_LIMIT',
        `Cannot read blob ${descriptor.digest} of ${this.name}: it has ${descriptor.size} bytes, at most ${limit} are read`,
      );
    }
    return collect(this.blobStream(descriptor));
  }

  blobStream(descriptor: Descriptor): AsyncIterable<Uint8Array> {
    const { digest, data } = descriptor;
    const source = data === undefined ? this.#download(descriptor) : once(data);
    return checkContent(source, descriptor, `blob ${digest} of ${this.name}`);
  }

  /** A blob's bytes, unchecked. A connection that breaks is made again, and goes on from where it was. */
  async *#download({ digest, size }: Descriptor): AsyncGenerator<Uint8Array, void, undefined> {
    const action = `read blob ${digest} of ${this.name}`;
    let received = 0;
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#http.send({
        action,
        method: 'GET',
        url: this.#requests.url(`blobs/${digest}`),
        headers: received === 0 ? {} : { range: `bytes=${received}-` },
        scopes: this.#requests.scopes('pull'),
        redirects: 'anywhere',
        bytes: size,
      });
      let skip = 0;
      if (answer.status === 200) {
        skip = received;
        const announced = answer.header('content-length');
        if (typeof announced === 'string' && Number(announced) !== size) {
          await answer.discard();
          throw new OciError('OCI_SIZE', `Cannot ${action}: it has ${Number(announced)} bytes, expected ${size}`);
        }
      } else if (answer.status !== 206 || !startsAt(answer, received)) {
        throw await statusError(action, answer);
      }
      try {
        for await (const chunk of answer.body) {
          const fresh = chunk.subarray(skip);
          skip -= chunk.length - fresh.length;
          received += fresh.length;
          if (fresh.length > 0) yield fresh;
        }
        return;
      } catch (error) {
        if (!isNetworkError(error) || attempt >= this.#parts.patience.attempts) throw error;
      }
      await this.#http.pause(attempt);
    }
  }

  async hasBlob({ digest }: Descriptor): Promise<boolean> {
    return this.#requests.has(`blobs/${digest}`, `look for blob ${digest} in ${this.name}`);
  }

  async putBlob(content: BlobContent, options: PutBlobOptions = {}): Promise<Descriptor> {
    const { mediaType = 'application/octet-stream', mountFrom } = options;
    if (mountFrom !== undefined && !isRepository(mountFrom)) {
      throw new OciError(
        'OCI_REFERENCE',
        `Cannot mount a blob into ${this.name}: the name of its repository is malformed`,
      );
    }
    const { descriptor, stream } =
      content instanceof Uint8Array
        ? { descriptor: { mediaType, digest: digestOf(content), size: content.length }, stream: () => once(content) }
        : content;
    if (await this.hasBlob(descriptor)) return descriptor;
    await uploadBlob({
      http: this.#http,
      base: this.#requests.base,
      repository: this.repository.repository,
      expected: descriptor,
      content: stream,
      chunkBytes: this.#parts.limits.chunkBytes,
      attempts: this.#parts.patience.attempts,
      ...(mountFrom !== undefined && { mountFrom }),
    });
    return descriptor;
  }

  async putManifest(bytes: Uint8Array, mediaType: string, reference?: string): Promise<PutManifestResult> {
    const manifest = parseManifest(bytes, mediaType);
    const target = reference === undefined ? undefined : parseTagOrDigest(reference);
    const wanted = target !== undefined && 'digest' in target ? target.digest : undefined;
    const digest = digestOf(bytes, wanted === undefined ? 'sha256' : splitDigest(wanted).algorithm);
    const action = `write manifest ${reference ?? digest} of ${this.name}`;
    if (wanted !== undefined && wanted !== digest) {
      throw new OciError('OCI_DIGEST', `Cannot ${action}: its digest is ${digest}`);
    }
    const answer = await this.#requests.putManifest(action, reference ?? digest, bytes, mediaType);
    if (answer.status !== 201) throw await statusError(action, answer);
    await answer.discard();
    checkHint(action, answer, digest);
    const descriptor = { mediaType, digest, size: bytes.length };
    const subject = manifest.subject?.digest;
    if (subject === undefined) return { descriptor, subjectProcessed: false };
    // Some registries say that they saw the subject and have no list of referrers.
    if (answer.header('oci-subject') === subject && (await this.#asksReferrersApi())) {
      return { descriptor, subjectProcessed: true };
    }
    await changeList(this.#requests, this.#parts.patience, subject, {
      kind: 'add',
      descriptor: referrerDescriptor(descriptor, manifest),
    });
    return { descriptor, subjectProcessed: false };
  }

  async *referrers(
    digest: Digest,
    options: { readonly artifactType?: string } = {},
  ): AsyncGenerator<Descriptor, void, undefined> {
    const { artifactType } = options;
    const { limits } = this.#parts;
    const seen = new Set<Digest>();
    for await (const page of this.#referrersPages(digest, artifactType)) {
      for (const descriptor of parseReferrers(page)) {
        if (seen.has(descriptor.digest)) continue;
        if (seen.size === limits.referrers) {
          throw new OciError(
            'OCI_LIMIT',
            `Cannot list the referrers of ${digest}: there are more than ${limits.referrers}`,
          );
        }
        seen.add(descriptor.digest);
        // Asking for one type is a hint: registries may ignore it.
        if (artifactType === undefined || descriptor.artifactType === artifactType) yield descriptor;
      }
    }
  }

  async *#referrersPages(
    digest: Digest,
    artifactType: string | undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const query = artifactType === undefined ? '' : `?artifactType=${encodeURIComponent(artifactType)}`;
    const pages = this.#hasReferrersApi === false ? undefined : await this.#firstPage(digest, query);
    if (pages !== undefined) {
      yield* pages;
      return;
    }
    const list = await readList(this.#requests, fallbackTag(digest));
    if (list !== undefined) yield list.bytes;
  }

  /** All pages, if the first one is what the referrers API gives; undefined if there is no such API. */
  async #firstPage(digest: Digest, query: string): Promise<AsyncIterable<Uint8Array> | undefined> {
    const first = await this.#readPage(this.#requests.url(`referrers/${digest}${query}`), digest, NO_API);
    const hasApi = first.answer.status === 200 && contentType(first.answer) === mediaTypes.ociIndex;
    this.#hasReferrersApi ??= hasApi;
    return hasApi
      ? this.#pages(`list the referrers of ${digest}`, first, (url) => this.#readPage(url, digest))
      : undefined;
  }

  #readPage(url: URL, digest: Digest, accept: readonly number[] = []): Promise<{ answer: Answer; bytes: Uint8Array }> {
    const action = `list the referrers of ${digest} in ${this.name}`;
    const request = { action, method: 'GET' as const, url, headers: { accept: mediaTypes.ociIndex }, accept };
    return this.#http.read(
      { ...request, scopes: this.#requests.scopes('pull'), redirects: 'same-origin' },
      this.#parts.limits.manifestBytes,
    );
  }

  /** Follows the links to next pages, which stay at the registry. */
  async *#pages(
    action: string,
    first: { answer: Answer; bytes: Uint8Array },
    read: (url: URL) => Promise<{ answer: Answer; bytes: Uint8Array }>,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { pages } = this.#parts.limits;
    let page = first;
    for (let count = 1; ; count++) {
      yield page.bytes;
      const next = parseNextLink(page.answer.header('link'));
      if (next === undefined) return;
      if (count === pages) throw new OciError('OCI_LIMIT', `Cannot ${action}: there are more than ${pages} pages`);
      const url = parseUrl(next, page.answer.url);
      if (url?.origin !== this.#requests.base.origin || url.username !== '' || url.password !== '') {
        throw new OciError('OCI_REDIRECT', `Cannot ${action}: the next page is not at the registry`);
      }
      page = await read(url);
    }
  }

  async #asksReferrersApi(): Promise<boolean> {
    if (this.#hasReferrersApi === undefined) await this.#firstPage(NO_DIGEST, '');
    return this.#hasReferrersApi ?? false;
  }

  async *tags(): AsyncGenerator<string, void, undefined> {
    const action = `list the tags of ${this.name}`;
    const { limits } = this.#parts;
    const request = { action, method: 'GET' as const, headers: { accept: 'application/json' } };
    const read = (url: URL): Promise<{ answer: Answer; bytes: Uint8Array }> =>
      this.#http.read(
        { ...request, url, scopes: this.#requests.scopes('pull'), redirects: 'same-origin' },
        limits.manifestBytes,
      );
    let count = 0;
    for await (const page of this.#pages(action, await read(this.#requests.url(`tags/list?n=${TAGS_PAGE}`)), read)) {
      const { tags } = parseBoundedObject(page, 'list of tags');
      if (tags === null || tags === undefined) continue; // what an empty list becomes in Go
      if (!Array.isArray(tags)) throw new OciError('OCI_RESPONSE', `Cannot ${action}: there is no list of tags`);
      for (const tag of tags) {
        if (typeof tag !== 'string' || !isTag(tag))
          throw new OciError('OCI_RESPONSE', `Cannot ${action}: one is malformed`);
        if (++count > limits.tags)
          throw new OciError('OCI_LIMIT', `Cannot ${action}: there are more than ${limits.tags}`);
        yield tag;
      }
    }
  }

  async deleteManifest(digest: Digest): Promise<void> {
    const action = `delete manifest ${digest} of ${this.name}`;
    const { manifest } = await this.#fetchManifest(digest);
    this.#recent.delete(digest);
    const url = this.#requests.url(`manifests/${digest}`);
    const answer = await this.#http.send({
      action,
      method: 'DELETE',
      url,
      scopes: this.#requests.scopes('delete,pull'),
    });
    if (![200, 202, 204].includes(answer.status)) throw await statusError(action, answer);
    await answer.discard();
    const subject = manifest.subject?.digest;
    if (subject === undefined || (await this.#asksReferrersApi())) return;
    // A crash here leaves an entry that leads to nothing, which the next writer drops.
    await changeList(this.#requests, this.#parts.patience, subject, { kind: 'remove', digest });
  }

  async close(): Promise<void> {
    await this.#parts.transport.close();
  }
}

/** The registry's word for a digest is not needed; but one that is wrong says that something else is. */
function checkHint(action: string, answer: Answer, digest: Digest): void {
  const said = answer.header('docker-content-digest');
  if (typeof said !== 'string' || said.split(':', 1)[0] !== splitDigest(digest).algorithm || said === digest) return;
  throw new OciError('OCI_DIGEST', `Cannot ${action}: its digest is ${digest}, and the registry says otherwise`);
}

function startsAt(answer: Answer, offset: number): boolean {
  const range = answer.header('content-range');
  return typeof range === 'string' && range.startsWith(`bytes ${offset}-`);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
