import { isIPv4 } from 'node:net';
import { isDigest, parseDigest, type Digest } from './digest.js';
import { OciError, quote } from './error.js';

/** Where an image is. */
export interface Reference {
  /** Host, and port if one was named; lower case; `docker.io` for Docker Hub whatever its spelling was. */
  readonly registry: string;
  /** Path within the registry; official images of Docker Hub have their `library/`. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** Which of Docker Hub's two names to write: Docker's own, or that of go-containerregistry and so cosign. */
export interface SpellingOptions {
  readonly hub?: 'docker.io' | 'index.docker.io';
}

/** The registry of references that name none. */
export const DOCKER_HUB = 'docker.io';
/** Where Docker Hub really answers, among its names. */
const HUB_HOST = 'index.docker.io';
const HUB_NAMES: readonly string[] = [DOCKER_HUB, HUB_HOST];

const MAX_NAME = 255;
const MAX_REFERENCE = 600;
// distribution-spec: spec.md, Pulling manifests: the grammars of <name> and <reference>.
const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const repositoryGrammar = new RegExp(`^${component}(?:/${component})*$`);
const tagGrammar = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const hostLabel = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const hostGrammar = new RegExp(`^${hostLabel}(?:\\.${hostLabel})*$`);

/**
 * Reads `[host[:port]/]repository[:tag][@digest]`. The first component is a host if there is a dot or a colon in it, or if
 * it is `localhost`; without a host the image is on Docker Hub. No tag is made up: see `withDefaultTag`.
 * @throws OciError `OCI_REFERENCE`
 */
export function parseReference(text: string): Reference {
  const fail = (state: string): OciError =>
    new OciError('OCI_REFERENCE', `Cannot parse image reference ${quote(withoutUser(text))}: ${state}`);
  if (text.length > MAX_REFERENCE) throw fail(`it is longer than ${MAX_REFERENCE} characters`);
  if (/^[a-z]+:\/\//i.test(text)) throw fail('it must not start with a scheme');

  const [named = '', digestText, ...more] = text.split('@');
  if (more.length > 0) throw fail('there is more than one "@"');
  if (digestText !== undefined && !isDigest(digestText)) {
    throw fail('after "@" must come sha256: and 64, or sha512: and 128 hexadecimal digits');
  }
  const digest: Digest | undefined = digestText;

  const slash = named.indexOf('/');
  const first = slash === -1 ? '' : named.slice(0, slash);
  const hasHost = /[.:]/.test(first) || first === 'localhost';
  const registry = hasHost ? parseHost(first, fail) : DOCKER_HUB;
  const rest = hasHost ? named.slice(slash + 1) : named;

  const colon = rest.indexOf(':');
  const path = colon === -1 ? rest : rest.slice(0, colon);
  const tag = colon === -1 ? undefined : rest.slice(colon + 1);
  if (tag !== undefined && !isTag(tag)) throw fail('a tag is 1 to 128 letters, digits, "_", "." and "-"');
  const repository = registry === DOCKER_HUB && !path.includes('/') ? `library/${path}` : path;
  if (!isRepository(repository)) {
    throw fail('a repository is lower-case letters and digits, separated by ".", "_", "__", "-" or "/"');
  }
  if (registry.length + 1 + repository.length > MAX_NAME) throw fail(`its name is longer than ${MAX_NAME} characters`);
  return { registry, repository, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
}

/** A URL that somebody gave instead may have a password in it, and messages go into logs. */
function withoutUser(text: string): string {
  return text.replace(/\/\/[^/]*@/, '//(removed)@');
}

/**
 * Reads `host[:port]`, with Docker Hub's names as `docker.io`.
 * @throws OciError `OCI_REFERENCE`
 */
export function parseRegistry(text: string): string {
  return parseHost(
    text,
    (state) => new OciError('OCI_REFERENCE', `Cannot parse registry ${quote(withoutUser(text))}: ${state}`),
  );
}

function parseHost(text: string, fail: (state: string) => OciError): string {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(text.toLowerCase());
  const [, host = '', port] = match ?? [];
  if (match === null || host.length > 253) throw fail('its host is malformed');
  const isLiteral = host.startsWith('[') || isIPv4(host);
  // What a URL makes of it must be the same host: it reads 127.1 and 0x7f.0.0.1 as addresses.
  const url = `http://${host}/`;
  if (!(isLiteral || hostGrammar.test(host)) || !URL.canParse(url) || new URL(url).hostname !== host) {
    throw fail('its host is neither a name nor an address in its usual spelling');
  }
  if (port !== undefined && (!/^[1-9][0-9]{0,4}$/.test(port) || Number(port) > 65_535)) {
    throw fail('its port is not a number from 1 to 65535');
  }
  const registry = port === undefined ? host : `${host}:${port}`;
  return HUB_NAMES.includes(registry) ? DOCKER_HUB : registry;
}

/** Whether `text` is a repository's path, without a registry. */
export function isRepository(text: string): boolean {
  return text.length <= MAX_NAME && repositoryGrammar.test(text);
}

/** Whether `text` is a tag. */
export function isTag(text: string): boolean {
  return tagGrammar.test(text);
}

/** What a store is asked for: a tag or a digest. @throws OciError `OCI_REFERENCE` */
export function parseTagOrDigest(text: string): { readonly tag: string } | { readonly digest: Digest } {
  if (text.includes(':')) return { digest: parseDigest(text) };
  if (isTag(text)) return { tag: text };
  throw new OciError('OCI_REFERENCE', `Cannot look up ${quote(text)}: it is neither a tag nor a digest`);
}

/** The reference with the tag `latest` if it has neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: 'latest' } : reference;
}

/** `registry/repository[:tag][@digest]`, in full. */
export function formatReference(reference: Reference, options: SpellingOptions = {}): string {
  const { tag, digest } = reference;
  return (
    repositoryOf(reference, options) + (tag === undefined ? '' : `:${tag}`) + (digest === undefined ? '' : `@${digest}`)
  );
}

/** `registry/repository`, in full: `docker.io/library/alpine`, or `index.docker.io/library/alpine` if asked for. */
export function repositoryOf({ registry, repository }: Reference, options: SpellingOptions = {}): string {
  return `${registry === DOCKER_HUB ? (options.hub ?? DOCKER_HUB) : registry}/${repository}`;
}

/** The host and port that answer for a registry. */
export function endpointOf(registry: string): string {
  return registry === DOCKER_HUB ? HUB_HOST : registry;
}
