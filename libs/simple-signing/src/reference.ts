import { quoted, SimpleSigningError } from './error.js';

/**
 * An image reference in the fully expanded form that policies, registries.d and signatures are written in:
 * `busybox` is `docker.io/library/busybox`. Neither tag nor digest is added.
 */
export interface ImageName {
  /** Host, with a port if one was given; `docker.io` for Docker Hub in all its spellings. */
  readonly host: string;
  /** The repository within the host: `library/busybox`. */
  readonly path: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** A reference to one image: by tag or by digest, and never both, which would leave open what was asked for. */
export type ImageIdentity = ImageName & ({ readonly tag: string } | { readonly digest: string });

const DOCKER_HUB = 'docker.io';
const LEGACY_HUB = 'index.docker.io';
const OFFICIAL = 'library/';
/** Host and path together. */
const MAX_NAME = 255;
/** Name, tag and digest of their greatest lengths. */
const MAX_REFERENCE = 600;

const label = '(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)';
const host = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[0-9A-Fa-f:]{2,45}\\])(?::[0-9]+)?$`);
const path = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tag = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const digest = /^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/;
/** Would be taken for the identifier of an image. */
const identifier = /^[0-9a-f]{64}$/;

/**
 * Reads a reference as Docker and containers/image do (`ParseNormalizedNamed`): the part before the first slash is a host if
 * it has a dot, a colon or a capital letter, or is `localhost`; else the image is one of Docker Hub.
 * @throws SimpleSigningError `SIMPLE_REFERENCE`
 */
export function parseImageName(text: string): ImageName {
  if (text.length > MAX_REFERENCE || identifier.test(text)) throw refuse(text, 'it is no name of an image');
  const [beforeDigest, digestText, ...more] = text.split('@') as [string, ...string[]];
  if (more.length > 0 || (digestText !== undefined && !isDigest(digestText)))
    throw refuse(text, 'its digest is malformed');
  const colon = beforeDigest.lastIndexOf(':');
  const tagged = colon > beforeDigest.lastIndexOf('/');
  const tagText = tagged ? beforeDigest.slice(colon + 1) : undefined;
  if (tagText !== undefined && !tag.test(tagText)) throw refuse(text, 'its tag is malformed');
  const name = expand(tagged ? beforeDigest.slice(0, colon) : beforeDigest);
  if (!host.test(name.host) || !path.test(name.path)) throw refuse(text, 'its name is malformed');
  if (name.host.length + 1 + name.path.length > MAX_NAME)
    throw refuse(text, `its name is longer than ${MAX_NAME} characters`);
  return {
    ...name,
    ...(tagText !== undefined && { tag: tagText }),
    ...(digestText !== undefined && { digest: digestText }),
  };
}

function expand(name: string): { host: string; path: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  const given = isHost ? first : DOCKER_HUB;
  const rest = isHost ? name.slice(slash + 1) : name;
  const hub = given === LEGACY_HUB ? DOCKER_HUB : given;
  return { host: hub, path: hub === DOCKER_HUB && !rest.includes('/') ? OFFICIAL + rest : rest };
}

/**
 * The reference to one image: with the tag `latest` if there is neither tag nor digest.
 * @throws SimpleSigningError `SIMPLE_REFERENCE`, also for a reference with tag and digest, as skopeo and podman refuse it
 */
export function parseImageIdentity(text: string): ImageIdentity {
  const name = parseImageName(text);
  if (name.tag !== undefined && name.digest !== undefined) {
    throw refuse(text, 'it has a tag and a digest, and only one of them can be meant');
  }
  return (name.tag === undefined && name.digest === undefined ? { ...name, tag: 'latest' } : name) as ImageIdentity;
}

/** `docker.io/library/busybox:latest` */
export function formatImageName(name: ImageName): string {
  return `${repositoryName(name)}${name.tag === undefined ? '' : `:${name.tag}`}${name.digest === undefined ? '' : `@${name.digest}`}`;
}

/** `docker.io/library/busybox` */
export function repositoryName({ host, path }: ImageName): string {
  return `${host}/${path}`;
}

/** Whether this is a digest of SHA-256, SHA-384 or SHA-512, in lower case. */
export function isDigest(text: string): boolean {
  return digest.test(text);
}

/** Whether this is a host with an optional port. */
export function isHost(text: string): boolean {
  return text.length <= MAX_NAME && host.test(text);
}

/**
 * The keys under which something about an image may be configured, from the most specific: the reference, the repository, its
 * parents, the host with its port, and then `*.` and each domain above the host, which has no port.
 * @see containers-policy.json(5), containers-registries.d(5)
 */
export function scopesOf(image: ImageIdentity): string[] {
  const scopes = [formatImageName(image)];
  for (let name = repositoryName(image); ; name = name.slice(0, name.lastIndexOf('/'))) {
    scopes.push(name);
    if (!name.includes('/')) break;
  }
  const labels = image.host.replace(/:[0-9]+$/, '').split('.');
  for (let i = 1; i < labels.length; i++) scopes.push(`*.${labels.slice(i).join('.')}`);
  return scopes;
}

function refuse(text: string, state: string): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_REFERENCE', `Cannot read image reference ${quoted(text)}: ${state}`);
}
