/**
 * Registries for tests: Debian's docker-registry as a process (2.8, without the referrers API), where it is installed; and a
 * small one of our own in this process, which has the referrers API and can be told to behave in most ways that registries do.
 *
 *     const registry = await startTestRegistry({ auth: 'bearer' });
 *     const store = openRegistry({ repository: parseReference(`${registry.host}/ns/app`), credentials: registry.credentials });
 *     await registry.close();
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentialsFor, type Credentials } from '#libs/oci';

/** Whether Debian's docker-registry is installed; tests that need it are skipped if not. */
export const hasDockerRegistry = spawnSync('docker-registry', ['--version']).status === 0;

export interface DockerRegistry {
  /** `127.0.0.1:port`, as in a reference. */
  readonly host: string;
  readonly url: string;
  close(): Promise<void>;
}

/** Starts Debian's docker-registry on a free port, with an empty folder of its own, that allows to delete. */
export async function startDockerRegistry(): Promise<DockerRegistry> {
  const folder = mkdtempSync(join(tmpdir(), 'docker-registry-'));
  const config = join(folder, 'config.yml');
  const settings = {
    version: '0.1',
    log: { level: 'info', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
    http: { addr: '127.0.0.1:0', secret: 'for tests' },
  };
  writeFileSync(config, JSON.stringify(settings)); // JSON is YAML
  const env = { PATH: process.env['PATH'] ?? '', OTEL_TRACES_EXPORTER: 'none' };
  const child = spawn('docker-registry', ['serve', config], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const host = await new Promise<string>((resolve, reject) => {
    let output = '';
    child.once('error', reject);
    child.once('close', () => reject(new Error(`docker-registry ended: ${output}`)));
    child.stderr.on('data', (chunk: Buffer) => {
      if (output.length < 100_000) output += chunk.toString();
      const listening = /listening on (127\.0\.0\.1:\d+)/.exec(output)?.[1];
      if (listening !== undefined) resolve(listening);
    });
  });
  return {
    host,
    url: `http://${host}`,
    close: async () => {
      kill();
      await ended;
      process.off('exit', kill);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface TestRegistryOptions {
  /** Whether it has the referrers API. Default true. */
  readonly referrers?: boolean;
  /** Whether it says `OCI-Subject`. Default: if it has the referrers API. */
  readonly saysSubject?: boolean;
  /** Whether it applies `artifactType`. Default true. */
  readonly filters?: boolean;
  /** What it wants to see: nothing (the default), `Basic`, or a token of its own token service. */
  readonly auth?: 'none' | 'basic' | 'bearer';
  /** Whether one can read without logging in. Default false. */
  readonly anonymousPull?: boolean;
  /** Seconds that tokens are good for. Default 300. */
  readonly tokenSeconds?: number;
  /** Where its challenges send for tokens. Default: itself. */
  readonly realm?: string;
  /** Entries on a page of a list. Default 1000. */
  readonly pageSize?: number;
  /** Whether manifests have ETags, and `If-Match` is heeded. Default false. */
  readonly etags?: boolean;
  /** Whether anything can be deleted. Default true. */
  readonly deletes?: boolean;
  /** Whether an upload can be made in several requests only. */
  readonly minChunkBytes?: number;
  /** How blobs are answered: where they are. Default: as they are. */
  readonly redirectBlobs?: (digest: string) => string;
  /** PEM, for https. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string; readonly wantsClient?: boolean };
  /** How clients name it. Default `127.0.0.1`. */
  readonly name?: string;
  /** Comes before anything else; true: it has answered. */
  readonly intercept?: (asked: AskedRequest, response: ServerResponse) => boolean | Promise<boolean>;
}

export interface AskedRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
}

interface StoredManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
}

interface Repository {
  readonly blobs: Map<string, Uint8Array>;
  readonly manifests: Map<string, StoredManifest>;
  readonly tags: Map<string, string>;
  readonly uploads: Map<string, Uint8Array>;
}

const MANIFEST_LIMIT = 4 * 1024 * 1024;
const INDEX = 'application/vnd.oci.image.index.v1+json';

/** A registry in this process and in memory. */
export class TestRegistry {
  readonly username = 'alice';
  readonly password = 'correct horse';
  readonly identityToken = 'a-refresh-token';
  readonly repositories = new Map<string, Repository>();
  /** All that it was asked, in order. */
  readonly asked: AskedRequest[] = [];
  /** Can be changed at any time. */
  options: TestRegistryOptions;
  host = '';
  url = '';
  readonly #tokens = new Map<string, { scopes: Set<string>; expiresMs: number }>();
  readonly #sockets = new Set<Socket>();
  #close: () => void = () => undefined;

  constructor(options: TestRegistryOptions) {
    this.options = options;
  }

  async start(): Promise<this> {
    const { tls, name = '127.0.0.1' } = this.options;
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      this.#answer(request, response).catch(() => response.destroy());
    };
    const server =
      tls === undefined
        ? createServer(onRequest)
        : createSecureServer({ ...tls, requestCert: tls.wantsClient === true, rejectUnauthorized: false }, onRequest);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
    });
    server.on('tlsClientError', () => undefined);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.host = `${name}:${(server.address() as AddressInfo).port}`;
    this.url = `${tls === undefined ? 'http' : 'https'}://${this.host}`;
    this.#close = () => void server.close();
    return this;
  }

  async close(): Promise<void> {
    this.#close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** The user name and password, for this registry. */
  get credentials(): Credentials {
    return credentialsFor(this.host, { kind: 'basic', username: this.username, password: this.password });
  }

  repository(name: string): Repository {
    let found = this.repositories.get(name);
    if (found === undefined) {
      found = { blobs: new Map(), manifests: new Map(), tags: new Map(), uploads: new Map() };
      this.repositories.set(name, found);
    }
    return found;
  }

  /** Puts a manifest there without asking anybody, maybe one that is not right. */
  seed(name: string, bytes: Uint8Array, mediaType: string, tag?: string): string {
    const repository = this.repository(name);
    const digest = sha256(bytes);
    repository.manifests.set(digest, { bytes, mediaType });
    if (tag !== undefined) repository.tags.set(tag, digest);
    return digest;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = 'GET', url = '/', headers } = request;
    const asked: AskedRequest = { method, path: url, headers, body: Buffer.concat(chunks) };
    this.asked.push(asked);
    if ((await this.options.intercept?.(asked, response)) === true) return;
    const { pathname, searchParams } = new URL(url, 'http://registry');
    if (pathname === '/token') return this.#giveToken(asked, searchParams, response);
    if (pathname === '/v2/' || pathname === '/v2') {
      if (this.#admits(asked, '', '', response)) answer(response, 200, '{}');
      return;
    }
    const match = /^\/v2\/(.+)\/(manifests|blobs\/uploads|blobs|referrers|tags)\/([^/]*)$/.exec(pathname) ?? undefined;
    if (match === undefined) return fail(response, 404, 'NOT_FOUND');
    const [, name = '', kind = '', rest = ''] = match;
    const actions =
      method === 'GET' || method === 'HEAD' ? 'pull' : method === 'DELETE' && kind === 'manifests' ? 'delete' : 'push';
    if (!this.#admits(asked, name, actions, response)) return;
    const repository = this.repository(name);
    switch (kind) {
      case 'manifests':
        return this.#manifest(repository, asked, decodeURIComponent(rest), response);
      case 'blobs':
        return this.#blob(repository, asked, decodeURIComponent(rest), response);
      case 'blobs/uploads':
        return this.#upload(name, asked, rest, searchParams, response);
      case 'referrers':
        return this.#referrers(repository, name, decodeURIComponent(rest), searchParams, response);
      default:
        return this.#tags(repository, name, searchParams, response);
    }
  }

  #admits({ headers }: AskedRequest, name: string, action: string, response: ServerResponse): boolean {
    const { auth = 'none', anonymousPull = false, realm = `${this.url}/token` } = this.options;
    if (auth === 'none') return true;
    const sent = headers.authorization ?? '';
    if (auth === 'basic') {
      if (sent === this.#basic() || (anonymousPull && action === 'pull')) return true;
      response.setHeader('www-authenticate', 'Basic realm="test registry"');
      fail(response, 401, 'UNAUTHORIZED');
      return false;
    }
    const token = this.#tokens.get(sent.replace(/^Bearer /, ''));
    if (token !== undefined && token.expiresMs > Date.now() && (name === '' || token.scopes.has(`${name}:${action}`)))
      return true;
    const scope = name === '' ? '' : `,scope="repository:${name}:${action === 'push' ? 'pull,push' : action}"`;
    response.setHeader('www-authenticate', `Bearer realm="${realm}",service="test registry"${scope}`);
    fail(response, 401, 'UNAUTHORIZED');
    return false;
  }

  #basic(): string {
    return `Basic ${Buffer.from(`${this.username}:${this.password}`).toString('base64')}`;
  }

  #giveToken({ method, headers, body }: AskedRequest, query: URLSearchParams, response: ServerResponse): void {
    const form = method === 'POST' ? new URLSearchParams(Buffer.from(body).toString()) : query;
    const isKnown =
      method === 'POST' ? form.get('refresh_token') === this.identityToken : headers.authorization === this.#basic();
    if (!isKnown && (method === 'POST' || headers.authorization !== undefined))
      return fail(response, 401, 'UNAUTHORIZED');
    const { anonymousPull = false, tokenSeconds = 300 } = this.options;
    const scopes = new Set<string>();
    for (const scope of form.getAll('scope').flatMap((one) => one.split(' '))) {
      const [, name, actions] = /^repository:(.+):([a-z,*]+)$/.exec(scope) ?? [];
      for (const action of actions?.split(',') ?? []) {
        if (isKnown || (anonymousPull && action === 'pull')) scopes.add(`${name}:${action}`);
      }
    }
    const token = randomBytes(12).toString('hex');
    this.#tokens.set(token, { scopes, expiresMs: Date.now() + tokenSeconds * 1000 });
    answer(response, 200, JSON.stringify({ token, expires_in: tokenSeconds }));
  }

  #manifest(repository: Repository, asked: AskedRequest, reference: string, response: ServerResponse): void {
    const digest = reference.includes(':') ? reference : repository.tags.get(reference);
    const found = digest === undefined ? undefined : repository.manifests.get(digest);
    if (asked.method === 'PUT') return this.#putManifest(repository, asked, reference, response);
    if (found === undefined || digest === undefined) return fail(response, 404, 'MANIFEST_UNKNOWN');
    if (asked.method === 'DELETE') {
      if (this.options.deletes === false) return fail(response, 405, 'UNSUPPORTED');
      if (!reference.includes(':')) return fail(response, 400, 'UNSUPPORTED');
      repository.manifests.delete(digest);
      for (const [tag, to] of repository.tags) if (to === digest) repository.tags.delete(tag);
      return answer(response, 202, '');
    }
    response.setHeader('content-type', found.mediaType);
    response.setHeader('docker-content-digest', digest);
    if (this.options.etags === true) response.setHeader('etag', `"${digest}"`);
    answer(response, 200, asked.method === 'HEAD' ? '' : found.bytes, found.bytes.length);
  }

  #putManifest(repository: Repository, asked: AskedRequest, reference: string, response: ServerResponse): void {
    const { body, headers } = asked;
    const { referrers = true, etags = false } = this.options;
    if (body.length > MANIFEST_LIMIT) return fail(response, 413, 'SIZE_INVALID');
    const isDigest = reference.includes(':');
    const digest = isDigest ? hash(body, reference.split(':')[0] ?? '') : sha256(body);
    if (isDigest && digest !== reference) return fail(response, 400, 'DIGEST_INVALID');
    const before = isDigest ? undefined : repository.tags.get(reference);
    const ifMatch = headers['if-match'];
    if (etags && ifMatch !== undefined && ifMatch !== `"${before}"`) return fail(response, 412, 'PRECONDITION_FAILED');
    let manifest: { subject?: { digest: string } };
    try {
      manifest = JSON.parse(Buffer.from(body).toString()) as typeof manifest; // a test's own
    } catch {
      return fail(response, 400, 'MANIFEST_INVALID');
    }
    repository.manifests.set(digest, { bytes: body, mediaType: headers['content-type'] ?? '' });
    if (!isDigest) repository.tags.set(reference, digest);
    response.setHeader('docker-content-digest', digest);
    if ((this.options.saysSubject ?? referrers) && manifest.subject)
      response.setHeader('oci-subject', manifest.subject.digest);
    answer(response, 201, '');
  }

  #blob(repository: Repository, { method, headers }: AskedRequest, digest: string, response: ServerResponse): void {
    const found = repository.blobs.get(digest);
    if (found === undefined) return fail(response, 404, 'BLOB_UNKNOWN');
    if (method !== 'GET' && method !== 'HEAD') return fail(response, 405, 'UNSUPPORTED');
    const elsewhere = this.options.redirectBlobs?.(digest);
    if (elsewhere !== undefined) {
      response.setHeader('location', elsewhere);
      return answer(response, 307, '');
    }
    response.setHeader('content-type', 'application/octet-stream');
    const from = /^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1];
    if (from !== undefined && Number(from) < found.length) {
      response.setHeader('content-range', `bytes ${from}-${found.length - 1}/${found.length}`);
      return answer(response, 206, found.subarray(Number(from)));
    }
    answer(response, 200, method === 'HEAD' ? '' : found, found.length);
  }

  #upload(name: string, asked: AskedRequest, id: string, query: URLSearchParams, response: ServerResponse): void {
    const repository = this.repository(name);
    const digest = query.get('digest');
    if (asked.method === 'POST') {
      const mount = query.get('mount');
      const source = this.repositories.get(query.get('from') ?? '')?.blobs.get(mount ?? '');
      if (mount !== null && source !== undefined) {
        repository.blobs.set(mount, source);
        return answer(response, 201, '');
      }
      const begun = randomBytes(8).toString('hex');
      repository.uploads.set(begun, new Uint8Array(0));
      if (this.options.minChunkBytes !== undefined)
        response.setHeader('oci-chunk-min-length', String(this.options.minChunkBytes));
      // Relative, and with a query of its own: both are allowed.
      response.setHeader('location', `/v2/${name}/blobs/uploads/${begun}?state=a%2Fb`);
      return answer(response, 202, '');
    }
    const present = repository.uploads.get(id);
    if (present === undefined || query.get('state') !== 'a/b') return fail(response, 404, 'BLOB_UPLOAD_UNKNOWN');
    response.setHeader('location', `/v2/${name}/blobs/uploads/${id}?state=a%2Fb`);
    if (asked.method === 'DELETE') {
      repository.uploads.delete(id);
      return answer(response, 204, '');
    }
    const range = (content: Uint8Array): string => `0-${Math.max(content.length - 1, 0)}`;
    if (asked.method === 'GET') {
      response.setHeader('range', range(present));
      return answer(response, 204, '');
    }
    const start = /^(\d+)-\d+$/.exec(asked.headers['content-range'] ?? '')?.[1];
    if (start !== undefined && Number(start) !== present.length) {
      response.setHeader('range', range(present));
      return fail(response, 416, 'RANGE_INVALID');
    }
    const content = Buffer.concat([present, asked.body]);
    if (asked.method === 'PATCH') {
      repository.uploads.set(id, content);
      response.setHeader('range', range(content));
      return answer(response, 202, '');
    }
    if (digest === null || hash(content, digest.split(':')[0] ?? '') !== digest)
      return fail(response, 400, 'DIGEST_INVALID');
    repository.uploads.delete(id);
    repository.blobs.set(digest, content);
    answer(response, 201, '');
  }

  #referrers(
    repository: Repository,
    name: string,
    subject: string,
    query: URLSearchParams,
    response: ServerResponse,
  ): void {
    const { referrers = true, filters = true, pageSize = 1000 } = this.options;
    if (!referrers) return fail(response, 404, 'NOT_FOUND');
    const all = [...repository.manifests].flatMap(([digest, { bytes, mediaType }]) => {
      const manifest = listedFields(bytes);
      if (manifest.subject?.digest !== subject) return [];
      const artifactType = manifest.artifactType ?? manifest.config?.mediaType;
      return [{ mediaType, digest, size: bytes.length, artifactType, annotations: manifest.annotations }];
    });
    const wanted = query.get('artifactType');
    const listed = filters && wanted !== null ? all.filter(({ artifactType }) => artifactType === wanted) : all;
    const start = Number(query.get('start') ?? '0');
    if (start + pageSize < listed.length) {
      const filter = wanted === null ? '' : `&artifactType=${encodeURIComponent(wanted)}`;
      response.setHeader('link', `</v2/${name}/referrers/${subject}?start=${start + pageSize}${filter}>; rel="next"`);
    }
    if (filters && wanted !== null) response.setHeader('oci-filters-applied', 'artifactType');
    response.setHeader('content-type', INDEX);
    const manifests = listed.slice(start, start + pageSize);
    answer(response, 200, JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
  }

  #tags(repository: Repository, name: string, query: URLSearchParams, response: ServerResponse): void {
    const { pageSize = 1000 } = this.options;
    const last = query.get('last') ?? '';
    const all = [...repository.tags.keys()].sort().filter((tag) => tag > last);
    const tags = all.slice(0, Math.min(pageSize, Number(query.get('n') ?? pageSize)));
    const end = tags.at(-1);
    if (tags.length < all.length && end !== undefined) {
      response.setHeader('link', `</v2/${name}/tags/list?n=${tags.length}&last=${end}>; rel="next"`);
    }
    answer(response, 200, JSON.stringify({ name, tags }));
  }
}

/** Starts a registry of our own on a free port. */
export function startTestRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  return new TestRegistry(options).start();
}

/** What a list of referrers is made of. */
interface ListedFields {
  readonly subject?: { readonly digest: string };
  readonly artifactType?: string;
  readonly config?: { readonly mediaType: string };
  readonly annotations?: object;
}

const parsed = new WeakMap<Uint8Array, ListedFields>();

/** Parsed once: a list is made from all the manifests of a repository, which may be thousands. */
function listedFields(bytes: Uint8Array): ListedFields {
  let found = parsed.get(bytes);
  if (found === undefined) parsed.set(bytes, (found = JSON.parse(Buffer.from(bytes).toString()) as ListedFields)); // a test's own
  return found;
}

function answer(
  response: ServerResponse,
  status: number,
  body: string | Uint8Array,
  length = Buffer.byteLength(body),
): void {
  response.writeHead(status, { ...(status !== 204 && { 'content-length': length }) }).end(body);
}

function fail(response: ServerResponse, status: number, code: string): void {
  response.setHeader('content-type', 'application/json');
  answer(response, status, JSON.stringify({ errors: [{ code, message: 'said by the test registry' }] }));
}

function sha256(bytes: Uint8Array): string {
  return hash(bytes, 'sha256');
}

function hash(bytes: Uint8Array, algorithm: string): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}
