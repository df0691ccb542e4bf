import { statusError, type RegistryHttp } from './http.js';
import { mediaTypes } from './manifest.js';
import type { Answer } from './transport.js';

/** What manifests we ask for. */
export const ACCEPT = [
  mediaTypes.ociManifest,
  mediaTypes.ociIndex,
  mediaTypes.dockerManifest,
  mediaTypes.dockerList,
].join(', ');

/** Requests about one repository. */
export class RepositoryHttp {
  readonly http: RegistryHttp;
  /** For messages. */
  readonly name: string;
  /** How much of a manifest or a list is read. */
  readonly manifestBytes: number;
  /** `…/v2/<name>/` */
  readonly base: URL;
  readonly #repository: string;

  constructor(options: { http: RegistryHttp; name: string; repository: string; manifestBytes: number; origin: URL }) {
    this.http = options.http;
    this.name = options.name;
    this.manifestBytes = options.manifestBytes;
    this.base = new URL(`/v2/${options.repository}/`, options.origin);
    this.#repository = options.repository;
  }

  url(path: string): URL {
    return new URL(`${this.base.pathname}${path}`, this.base);
  }

  scopes(actions: string): readonly string[] {
    return [`repository:${this.#repository}:${actions}`];
  }

  /** Whether a manifest or a blob is there. */
  async has(path: string, action: string): Promise<boolean> {
    const request = { action, method: 'HEAD' as const, url: this.url(path), headers: { accept: ACCEPT } };
    const answer = await this.http.send({ ...request, scopes: this.scopes('pull'), redirects: 'anywhere' });
    if (answer.status !== 200 && answer.status !== 404) throw await statusError(action, answer);
    await answer.discard();
    return answer.status === 200;
  }

  /** Sends a manifest; the answer is the caller's to judge. */
  putManifest(
    action: string,
    reference: string,
    bytes: Uint8Array,
    mediaType: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    return this.http.send({
      action,
      method: 'PUT',
      url: this.url(`manifests/${reference}`),
      headers: { ...headers, 'content-type': mediaType },
      body: bytes,
      scopes: this.scopes('pull,push'),
    });
  }
}

/** Without parameters, in lower case. */
export function contentType(answer: Answer): string | undefined {
  const value = answer.header('content-type');
  return typeof value === 'string' ? value.split(';', 1)[0]?.trim().toLowerCase() : undefined;
}
