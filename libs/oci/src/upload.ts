import { ContentCheck, type ContentId } from './digest.js';
import { OciError, quote } from './error.js';
import { isNetworkError, locationOf, statusError, type RegistryHttp } from './http.js';
import type { Answer } from './transport.js';

export interface UploadOptions {
  readonly http: RegistryHttp;
  /** Of the repository: `…/v2/<name>/`. */
  readonly base: URL;
  readonly repository: string;
  readonly expected: ContentId;
  /** The content from its beginning, each time. */
  readonly content: () => AsyncIterable<Uint8Array>;
  /** A repository of the same registry to take the blob from, if it is there. */
  readonly mountFrom?: string;
  /** Content up to this many bytes goes in one request, more goes in pieces of this size. */
  readonly chunkBytes: number;
  readonly attempts: number;
}

const MAX_CHUNK_BYTES = 64 * 1024 * 1024;
const octets = { 'content-type': 'application/octet-stream' };

/** A place to send content to; each answer may name another. */
interface Session {
  readonly location: URL;
  readonly minChunkBytes: number;
}

/**
 * Uploads a blob, unless the registry mounts it. What breaks off goes on where the registry says it is; what is lost starts
 * again. Memory holds one chunk.
 * @throws OciError `OCI_SIZE`, `OCI_DIGEST` if the content is not what is expected, and as `RegistryHttp.send`
 * @see distribution-spec: spec.md, Pushing blobs
 */
export async function uploadBlob(options: UploadOptions): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await new Upload(options).run();
    } catch (error) {
      if (attempt >= options.attempts || !isWorthAnother(error)) throw error;
      await options.http.pause(attempt);
    }
  }
}

/** The registry may have forgotten an upload that it was restarted in. */
function isWorthAnother(error: unknown): boolean {
  return (
    isNetworkError(error) || (error instanceof OciError && ['OCI_UNAVAILABLE', 'OCI_NOT_FOUND'].includes(error.code))
  );
}

class Upload {
  readonly #options: UploadOptions;
  readonly #action: string;
  readonly #scopes: readonly string[];

  constructor(options: UploadOptions) {
    this.#options = options;
    this.#action = `upload blob ${options.expected.digest} to ${options.base.host}/${options.repository}`;
    this.#scopes = [`repository:${options.repository}:pull,push`];
  }

  async run(): Promise<void> {
    const session = await this.#begin();
    if (session === undefined) return;
    const { expected, chunkBytes } = this.#options;
    const size = Math.min(Math.max(chunkBytes, session.minChunkBytes), MAX_CHUNK_BYTES);
    const check = new ContentCheck(expected, this.#action);
    try {
      await (expected.size <= size ? this.#whole(session, check) : this.#inChunks(session, check, size));
    } catch (error) {
      if (error instanceof OciError && (error.code === 'OCI_SIZE' || error.code === 'OCI_DIGEST')) {
        await this.#cancel(session.location);
      }
      throw error;
    }
  }

  /** Undefined if the registry has the blob now, from the other repository. */
  async #begin(): Promise<Session | undefined> {
    const { http, base, expected, mountFrom } = this.#options;
    const url = new URL('blobs/uploads/', base);
    const scopes = [...this.#scopes];
    if (mountFrom !== undefined) {
      url.search = `?mount=${encodeURIComponent(expected.digest)}&from=${encodeURIComponent(mountFrom)}`;
      scopes.push(`repository:${mountFrom}:pull`);
    }
    // Twice begun is once forgotten: the registry cleans up.
    const answer = await http.send({ action: this.#action, method: 'POST', url, scopes, isRepeatable: true });
    if (answer.status === 201 && mountFrom !== undefined) {
      await answer.discard();
      return undefined;
    }
    if (answer.status !== 202) throw await statusError(this.#action, answer);
    await answer.discard();
    const minimum = answer.header('oci-chunk-min-length');
    return {
      location: this.#locationOf(answer),
      minChunkBytes: typeof minimum === 'string' && /^\d{1,9}$/.test(minimum) ? Number(minimum) : 0,
    };
  }

  async #whole({ location }: Session, check: ContentCheck): Promise<void> {
    let body = new Uint8Array(0);
    for await (const chunk of inChunks(this.#options.content(), Math.max(this.#options.expected.size, 1))) {
      check.update(chunk);
      body = chunk;
    }
    check.end();
    await this.#finish(location, body);
  }

  async #inChunks({ location }: Session, check: ContentCheck, size: number): Promise<void> {
    let at = location;
    let offset = 0;
    for await (const chunk of inChunks(this.#options.content(), size)) {
      check.update(chunk);
      at = await this.#sendChunk(at, chunk, offset);
      offset += chunk.length;
    }
    check.end();
    await this.#finish(at, new Uint8Array(0));
  }

  async #finish(location: URL, body: Uint8Array): Promise<void> {
    const digest = encodeURIComponent(this.#options.expected.digest);
    const url = new URL(location);
    // The location may have a query of its own, which is the registry's business.
    url.search = `${url.search === '' ? '?' : `${url.search}&`}digest=${digest}`;
    const request = { action: this.#action, method: 'PUT' as const, url, scopes: this.#scopes, isRepeatable: false };
    const answer = await this.#options.http.send({ ...request, headers: octets, body });
    if (answer.status !== 201) throw await statusError(this.#action, answer);
    await answer.discard();
  }

  /** Sends a chunk, all of it, however often that takes; returns where the next one goes. */
  async #sendChunk(location: URL, chunk: Uint8Array, offset: number): Promise<URL> {
    const { http, attempts } = this.#options;
    let at = location;
    let sent = 0;
    for (let attempt = 1; ; attempt++) {
      const rest = chunk.subarray(sent);
      const headers = { ...octets, 'content-range': `${offset + sent}-${offset + chunk.length - 1}` };
      try {
        const request = { action: this.#action, method: 'PATCH' as const, url: at, scopes: this.#scopes };
        const answer = await http.send({ ...request, headers, body: rest });
        if (answer.status === 202) {
          await answer.discard();
          return this.#locationOf(answer);
        }
        const error = await statusError(this.#action, answer);
        // 416: it has more or less than we think.
        if (answer.status !== 416 || attempt >= attempts) throw error;
      } catch (error) {
        const isMomentary = isNetworkError(error) || (error instanceof OciError && error.code === 'OCI_UNAVAILABLE');
        if (!isMomentary || attempt >= attempts) throw error;
      }
      await http.pause(attempt);
      const status = await this.#status(at);
      at = status.location;
      sent = status.received - offset;
      if (sent < 0 || sent > chunk.length) {
        throw new OciError(
          'OCI_RESPONSE',
          `Cannot ${this.#action}: it has ${status.received} bytes, which were never sent`,
        );
      }
      if (sent === chunk.length) return at;
    }
  }

  /** How far an upload came. @see distribution-spec: spec.md, Resuming a chunked upload */
  async #status(url: URL): Promise<{ location: URL; received: number }> {
    const answer = await this.#options.http.send({ action: this.#action, method: 'GET', url, scopes: this.#scopes });
    if (answer.status !== 204) throw await statusError(this.#action, answer);
    await answer.discard();
    const range = answer.header('range');
    const last = typeof range === 'string' ? /^(?:bytes=)?0-(\d{1,15})$/.exec(range)?.[1] : undefined;
    // "0-0" is what registries say of nothing, too.
    return { location: this.#locationOf(answer), received: last === undefined || last === '0' ? 0 : Number(last) + 1 };
  }

  async #cancel(url: URL): Promise<void> {
    try {
      const answer = await this.#options.http.send({
        action: this.#action,
        method: 'DELETE',
        url,
        scopes: this.#scopes,
      });
      await answer.discard();
    } catch {
      // The registry throws away by itself what is never finished; the error to tell is the one of the content.
    }
  }

  /** Where an answer says the upload goes on. It may be relative, and must be at the registry: our credentials go there. */
  #locationOf(answer: Answer): URL {
    const location = locationOf(answer);
    if (location === undefined) {
      throw new OciError('OCI_RESPONSE', `Cannot ${this.#action}: the answer does not say where to`);
    }
    location.hash = '';
    if (location.origin !== this.#options.base.origin || location.username !== '' || location.password !== '') {
      throw new OciError('OCI_REDIRECT', `Cannot ${this.#action}: it would go to ${quote(location.origin)}`, {
        cure: 'If this is the same registry under another name or scheme, its configured public address is wrong',
      });
    }
    return location;
  }
}

/** A stream in pieces of `size` bytes; the last one may be shorter. */
async function* inChunks(
  stream: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  let chunk = new Uint8Array(0);
  let length = 0;
  for await (const piece of stream) {
    for (let at = 0; at < piece.length;) {
      if (length === 0) chunk = new Uint8Array(size);
      const taken = Math.min(size - length, piece.length - at);
      chunk.set(piece.subarray(at, at + taken), length);
      length += taken;
      at += taken;
      if (length < size) continue;
      yield chunk;
      length = 0;
    }
  }
  if (length > 0) yield chunk.subarray(0, length);
}
