import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAnyBase64, parseJson, parseUtf8, type JsonValue } from '#libs/encoding';
import { askHelper, helperRunner, type RunHelper } from './credential-helper.js';
import { checkCredential, type Credential, type Credentials } from './credentials.js';
import { OciError, quote } from './error.js';
import { isObject } from './manifest.js';
import { DOCKER_HUB, parseRegistry } from './reference.js';

/** Where credentials may be. */
export interface CredentialSources {
  /** `DOCKER_CONFIG`, `REGISTRY_AUTH_FILE`, `XDG_RUNTIME_DIR` and `XDG_CONFIG_HOME` count; helpers get all of it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The user's folder; without it only what `env` names is read. */
  readonly home?: string;
  /** Only this file, which must exist. */
  readonly file?: string;
  /**
   * Whose order: cosign's (`docker`, the default), which takes Docker's file and only without one the first of podman's;
   * or podman's (`containers`), which takes the first file that knows the registry.
   */
  readonly order?: 'docker' | 'containers';
  /** The content of a file; undefined if there is none. Default: from the file system. */
  readonly readFile?: (path: string) => Promise<Uint8Array | undefined>;
  /** Default: as a program, without a shell, by the `PATH` of `env`. */
  readonly runHelper?: RunHelper;
}

/** What one file says. Secrets are decoded only when they are used. */
export interface AuthFile {
  /** By registry, or registry and path: `docker.io`, `registry.example.com/ns`. */
  readonly auths: ReadonlyMap<string, { readonly [name: string]: JsonValue }>;
  /** Names of helpers, by registry. */
  readonly helpers: ReadonlyMap<string, string>;
  readonly store: string | undefined;
}

const MAX_FILE_BYTES = 1024 * 1024;
const MAX_ENTRIES = 10_000;
/** What Docker calls the registry of Docker Hub, in its file and to its helpers. */
const HUB_KEY = 'https://index.docker.io/v1/';

/**
 * Credentials as Docker and podman keep them. A registry gets those that are kept under its exact host and port, or under
 * it and a leading part of the repository's path; the longest counts.
 * @throws OciError `OCI_CREDENTIALS`, when credentials are looked for
 * @see containers-auth.json(5); docker/cli: cli/config
 */
export function loadCredentials(sources: CredentialSources): Credentials {
  const runHelper = sources.runHelper ?? helperRunner(sources.env);
  let files: Promise<readonly AuthFile[]> | undefined;
  return {
    find: async (registry, repository) => {
      files ??= readFiles(sources);
      for (const file of await files) {
        const credential = await findInFile(file, registry, repository, runHelper);
        if (credential !== undefined) return credential;
      }
      return undefined;
    },
  };
}

async function readFiles(sources: CredentialSources): Promise<readonly AuthFile[]> {
  const { env, home, order = 'docker', readFile = readLimited } = sources;
  const inHome = (...path: string[]): string[] => (home === undefined || home === '' ? [] : [join(home, ...path)]);
  const inFolder = (folder: string | undefined, ...path: string[]): string[] =>
    folder === undefined || folder === '' ? [] : [join(folder, ...path)];
  const named = (file: string | undefined): string[] => (file === undefined || file === '' ? [] : [file]);
  if (sources.file !== undefined) {
    const content = await readFile(sources.file);
    if (content === undefined) {
      throw new OciError('OCI_CREDENTIALS', `Cannot read the credentials in ${sources.file}: there is no such file`);
    }
    return [parseAuthFile(content, sources.file)];
  }
  const dockerFolder = env['DOCKER_CONFIG'];
  const docker = dockerFolder ? inFolder(dockerFolder, 'config.json') : inHome('.docker', 'config.json');
  const configFolder = env['XDG_CONFIG_HOME'];
  const containers = [
    ...named(env['REGISTRY_AUTH_FILE']),
    ...inFolder(env['XDG_RUNTIME_DIR'], 'containers', 'auth.json'),
    ...(configFolder
      ? inFolder(configFolder, 'containers', 'auth.json')
      : inHome('.config', 'containers', 'auth.json')),
  ];
  const isDocker = order === 'docker';
  const paths = isDocker ? [...docker, ...containers] : [...containers, ...docker];
  const found: AuthFile[] = [];
  for (const path of paths) {
    const content = await readFile(path);
    if (content === undefined) continue;
    found.push(parseAuthFile(content, path));
    if (isDocker) return found;
  }
  if (!isDocker) {
    for (const path of inHome('.dockercfg')) {
      const content = await readFile(path);
      if (content !== undefined) found.push(parseAuthFile(content, path, 'dockercfg'));
    }
  }
  return found;
}

/**
 * Reads `config.json` or `auth.json`; with `dockercfg`, the older file that has only what is under `auths` in those.
 * `path`: for messages.
 * @throws OciError `OCI_CREDENTIALS`; nothing of the content is in the message
 */
export function parseAuthFile(content: Uint8Array, path: string, format: 'config' | 'dockercfg' = 'config'): AuthFile {
  const fail = (state: string): OciError =>
    new OciError('OCI_CREDENTIALS', `Cannot read the credentials in ${path}: ${state}`);
  if (content.length > MAX_FILE_BYTES) throw fail(`it is larger than ${MAX_FILE_BYTES} bytes`);
  let root: JsonValue;
  try {
    root = parseJson(content, { maxDepth: 32 });
  } catch {
    throw fail('it is not JSON'); // without the cause, which is about the content
  }
  if (!isObject(root)) throw fail('it is not a JSON object');
  const member = (name: string): { readonly [name: string]: JsonValue } => {
    const value = root[name];
    if (value === undefined || value === null) return {};
    if (!isObject(value)) throw fail(`${name} is not an object`);
    if (Object.keys(value).length > MAX_ENTRIES) throw fail(`${name} has more than ${MAX_ENTRIES} entries`);
    return value;
  };
  const auths = new Map<string, { readonly [name: string]: JsonValue }>();
  for (const [key, entry] of Object.entries(format === 'dockercfg' ? root : member('auths'))) {
    const place = parseKey(key);
    // One of several spellings may be a leftover without anything in it.
    if (place === undefined || !isObject(entry) || Object.keys(entry).length === 0) continue;
    if (!auths.has(place) || key === HUB_KEY) auths.set(place, entry);
  }
  const helpers = new Map<string, string>();
  for (const [key, name] of Object.entries(format === 'dockercfg' ? {} : member('credHelpers'))) {
    const place = parseKey(key);
    if (typeof name !== 'string') throw fail('the name of a credential helper is no text');
    if (place !== undefined && name !== '') helpers.set(place, name);
  }
  const store = format === 'dockercfg' ? undefined : root['credsStore'];
  if (store !== undefined && store !== null && typeof store !== 'string') throw fail('credsStore is no text');
  return { auths, helpers, store: store === null || store === '' ? undefined : store };
}

/**
 * What a key is about: host and port, and maybe the beginning of a path; undefined if it can be about no registry. Docker
 * has written URLs, with the version of its protocol: those are about the host.
 */
function parseKey(key: string): string | undefined {
  if (key.length > 1024) return undefined;
  const bare = key.replace(/^https?:\/\//, '');
  const slash = bare.indexOf('/');
  const host = slash === -1 ? bare : bare.slice(0, slash);
  const path = slash === -1 ? '' : bare.slice(slash + 1).replace(/\/$/, '');
  let registry: string;
  try {
    registry = parseRegistry(host);
  } catch {
    return undefined; // not a host: somebody else's entry
  }
  if (path === '' || path === 'v1' || path === 'v2') return registry;
  return bare === key ? `${registry}/${path}` : undefined;
}

async function findInFile(
  file: AuthFile,
  registry: string,
  repository: string,
  runHelper: RunHelper,
): Promise<Credential | undefined> {
  const places = placesOf(registry, repository);
  const server = registry === DOCKER_HUB ? HUB_KEY : registry;
  const helper = file.helpers.get(registry) ?? file.store;
  const entry = places.map((place) => file.auths.get(place)).find((one) => one !== undefined);
  if (helper !== undefined) {
    const credential = await askHelper(helper, server, runHelper);
    if (credential !== undefined) return credential;
  }
  return entry === undefined ? undefined : parseEntry(entry, registry);
}

/** `host/ns/repo`, `host/ns`, `host`. */
function placesOf(registry: string, repository: string): string[] {
  const parts = repository.split('/');
  return [...parts.map((_, i) => [registry, ...parts.slice(0, parts.length - i)].join('/')), registry];
}

function parseEntry(entry: { readonly [name: string]: JsonValue }, registry: string): Credential | undefined {
  const text = (name: string): string | undefined => {
    const value = entry[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const identityToken = text('identitytoken');
  if (identityToken !== undefined) return checkCredential({ kind: 'identity-token', token: identityToken });
  const registryToken = text('registrytoken');
  if (registryToken !== undefined) return checkCredential({ kind: 'registry-token', token: registryToken });
  const auth = text('auth');
  if (auth === undefined) {
    const username = text('username');
    const password = text('password');
    if (username === undefined || password === undefined) return undefined;
    return checkCredential({ kind: 'basic', username, password });
  }
  let pair: string;
  try {
    pair = parseUtf8(parseAnyBase64(auth));
  } catch {
    throw malformed(registry); // without the cause, which is about the secret
  }
  const colon = pair.indexOf(':');
  if (colon === -1) throw malformed(registry);
  // Docker's own reader drops these from the end.
  const password = pair.slice(colon + 1).replace(/\0+$/, '');
  return checkCredential({ kind: 'basic', username: pair.slice(0, colon), password });
}

function malformed(registry: string): OciError {
  return new OciError(
    'OCI_CREDENTIALS',
    `Cannot use the credentials for ${quote(registry)}: expected base64 of a name, a colon and a password`,
  );
}

async function readLimited(path: string): Promise<Uint8Array | undefined> {
  try {
    const file = await open(path, 'r');
    try {
      const buffer = new Uint8Array(MAX_FILE_BYTES + 1);
      let length = 0;
      for (;;) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length);
        length += bytesRead;
        if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length);
      }
    } finally {
      await file.close();
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new OciError('OCI_CREDENTIALS', `Cannot read the credentials in ${path}: ${code ?? 'unreadable'}`, { cause });
  }
}
