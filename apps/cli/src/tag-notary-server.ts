import { encodeBase64, encodeUtf8, EncodingError, parseJson } from '#libs/encoding';
import type { NotarySource } from '#libs/notary';
import type { Credentials, Reference } from '#libs/oci';
import { callService, type HttpOptions, type ServiceResponse } from '#libs/sign';
import { CliError } from './exit.js';

export interface NotaryServerOptions {
  /** Base URL. */
  readonly server: string;
  readonly gun: string;
  readonly reference: Reference;
  readonly fetch: HttpOptions['fetch'];
  readonly credentials: Credentials;
}

const MAX_TOKEN_BYTES = 256 * 1024;

/**
 * The roles of one repository on a Notary server. Where the server asks for a token, it is got as registries' clients do, once.
 * @throws CliError `usage` for a server without TLS elsewhere than on this machine
 */
export function notaryServer(options: NotaryServerOptions): NotarySource {
  const base = checkedUrl(options.server, 'the Notary server');
  const prefix = `${base.href.replace(/\/$/, '')}/v2/${options.gun}/_trust/tuf`;
  let authorization: string | undefined;

  async function get(url: string, maxBytes: number): Promise<ServiceResponse> {
    const headers = authorization === undefined ? {} : { authorization };
    const request = { service: 'Notary server', url, headers, maxBytes, accept: [401, 404] };
    return callService(request, { fetch: options.fetch });
  }

  return {
    async read(name, maxBytes) {
      const url = `${prefix}/${name}.json`;
      let answer = await get(url, maxBytes);
      if (answer.status === 401 && authorization === undefined) {
        authorization = await authorize(answer.headers.get('www-authenticate') ?? '', base, options);
        answer = await get(url, maxBytes);
      }
      if (answer.status === 404) return undefined;
      if (answer.status === 401) {
        throw new CliError('network', `Cannot read ${options.gun}: the Notary server refuses the credentials`, {
          cure: 'Log in to the Notary server, as with `docker login`',
        });
      }
      return answer.body;
    },
  };
}

/** A token for reading, by the challenge of the server (distribution: docs/spec/auth/token.md). */
async function authorize(header: string, base: URL, options: NotaryServerOptions): Promise<string> {
  const { gun } = options;
  const login = await findLogin(base, options);
  if (/^basic\b/i.test(header) && login !== undefined) return login;
  const parameter = (name: string) => new RegExp(`[ ,]${name}="([^"\\\\]{1,2000})"`, 'i').exec(header)?.[1];
  const realm = parameter('realm');
  if (!/^bearer\b/i.test(header) || realm === undefined) {
    throw new CliError('network', `Cannot read ${gun}: the Notary server wants credentials in a way that is not known`);
  }
  const url = checkedUrl(realm, 'the token service');
  // A server on the net must not have us ask, with a password, something on this machine.
  if (isLoopback(url) && !isLoopback(base)) {
    throw new CliError('network', 'Cannot get a token: the Notary server sends for it to this machine');
  }
  const service = parameter('service');
  if (service !== undefined) url.searchParams.set('service', service);
  url.searchParams.set('scope', `repository:${gun}:pull`);
  const { body } = await callService(
    {
      service: 'token service',
      url: url.href,
      headers: login === undefined ? {} : { authorization: login },
      maxBytes: MAX_TOKEN_BYTES,
    },
    { fetch: options.fetch },
  );
  return `Bearer ${tokenIn(body)}`;
}

/** The login for this very server. That of the registry is for the registry: a Notary server elsewhere could send it anywhere. */
async function findLogin(base: URL, { reference, credentials }: NotaryServerOptions): Promise<string | undefined> {
  const { registry, repository } = reference;
  const isOwn = registry === 'docker.io' ? base.hostname.endsWith('.docker.io') : base.host === registry;
  const found = await credentials.find(isOwn ? registry : base.host, repository);
  if (found?.kind !== 'basic') return undefined;
  return `Basic ${encodeBase64(encodeUtf8(`${found.username}:${found.password}`))}`;
}

function tokenIn(body: Uint8Array): string {
  try {
    const { token, access_token: other } = parseJson(body) as { token?: unknown; access_token?: unknown }; // or anything: the types are checked
    const found = token ?? other;
    if (typeof found === 'string' && /^[\w.~+/=-]+$/.test(found)) return found;
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
  }
  throw new CliError('network', 'Cannot get a token: the answer of the token service has none');
}

function checkedUrl(text: string, what: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url));
  if (url !== undefined && isSafe && url.username === '' && url.search === '' && url.hash === '') return url;
  throw new CliError('usage', `Cannot use ${what}: it must be an https:// URL, or http:// on this machine`);
}

function isLoopback({ hostname }: URL): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}
