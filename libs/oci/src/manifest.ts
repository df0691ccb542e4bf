import { encodeUtf8, parseBase64, parseJson, type JsonValue } from '#libs/encoding';
import { digestOf, isDigest, splitDigest, type ContentId } from './digest.js';
import { OciError, quote } from './error.js';

/** The media types of what a registry keeps as manifests, and of an empty config. */
export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  empty: 'application/vnd.oci.empty.v1+json',
} as const;

/** The content of an empty config: `{}`, two bytes (image-spec: manifest.md, Guidance for an Empty Descriptor). */
export const emptyConfig: { readonly bytes: Uint8Array; readonly descriptor: Descriptor } = {
  bytes: encodeUtf8('{}'),
  descriptor: { mediaType: mediaTypes.empty, digest: digestOf(encodeUtf8('{}')), size: 2 },
};

/** Which machine an image runs on, in the spelling of the image specification. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly 'os.version'?: string;
}

/** Says what content is, and which (image-spec: descriptor.md). */
export interface Descriptor extends ContentId {
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
  readonly urls?: readonly string[];
  /** The content itself; already found to have the digest and the size. */
  readonly data?: Uint8Array;
}

/** An image, or an artifact in an image's form. */
export interface ImageManifest {
  readonly kind: 'image';
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A list of manifests, usually one for each platform. */
export interface ImageIndex {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What a registry keeps as a manifest; `kind` tells which. */
export type Manifest = ImageManifest | ImageIndex;

/** distribution-spec: spec.md, Pushing Manifests: registries should take 4 MiB at least, and many take no more. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** Layers of an image, or manifests of an index. */
export const MAX_DESCRIPTORS = 4096;
const MAX_VALUES = 150_000;
const MAX_DEPTH = 16;
const MAX_URLS = 64;

const kinds: Readonly<Record<string, Manifest['kind']>> = {
  [mediaTypes.ociManifest]: 'image',
  [mediaTypes.dockerManifest]: 'image',
  [mediaTypes.ociIndex]: 'index',
  [mediaTypes.dockerList]: 'index',
};

type JsonObject = { readonly [name: string]: JsonValue };

/**
 * Reads a manifest or an index, of OCI or of Docker (version 2). Strict: at most 4 MiB and 4096 descriptors, one media
 * type, no member twice, not both an image and an index. Members it does not know are allowed, as the specification wants.
 * `mediaType`: what the sender calls it; without it the document itself must tell.
 * @throws OciError `OCI_LIMIT`, `OCI_MANIFEST`
 * @see image-spec: manifest.md, image-index.md
 */
export function parseManifest(bytes: Uint8Array, mediaType?: string): Manifest {
  const root = parseBoundedObject(bytes, 'manifest');
  const said = optionalString(root, 'mediaType');
  if (said !== undefined && mediaType !== undefined && said !== mediaType) {
    throw fail(`it calls itself ${quote(said)}, and was sent as ${quote(mediaType)}`);
  }
  const type = said ?? mediaType;
  if (type === undefined) throw fail('nothing says which media type it has');
  const kind = Object.hasOwn(kinds, type) ? kinds[type] : undefined;
  if (kind === undefined) throw fail(`${quote(type)} is no media type of an image or an index`);
  if (root['schemaVersion'] !== 2) throw fail('its schemaVersion is not 2');
  // Readers that differ on which of the two it is would see two different contents under one digest.
  if ((kind === 'image' ? ['manifests'] : ['config', 'layers']).some((name) => name in root) || 'fsLayers' in root) {
    throw fail('it has members of both an image and an index');
  }
  const artifactType = optionalString(root, 'artifactType');
  const subject = present(root['subject']) ? parseDescriptor(root['subject'], 'subject') : undefined;
  const annotations = parseAnnotations(root['annotations'], 'annotations');
  const common = {
    mediaType: type,
    ...(artifactType !== undefined && { artifactType }),
    ...(subject !== undefined && { subject }),
    ...(annotations !== undefined && { annotations }),
  };
  if (kind === 'index') return { kind, ...common, manifests: parseDescriptors(root['manifests'], 'manifests') };
  return {
    kind,
    ...common,
    config: parseDescriptor(root['config'], 'config'),
    layers: parseDescriptors(root['layers'], 'layers'),
  };
}

/** What kind of artifact a manifest is: its artifactType, else its config's media type; undefined for an index without. */
export function artifactTypeOf(manifest: Manifest): string | undefined {
  if (manifest.artifactType !== undefined && manifest.artifactType !== '') return manifest.artifactType;
  return manifest.kind === 'image' ? manifest.config.mediaType : undefined;
}

/** Whether a media type is that of an image or an index. */
export function isManifestType(mediaType: string): boolean {
  return Object.hasOwn(kinds, mediaType);
}

/**
 * The JSON object in `bytes`, after counting what is in it: a million empty layers fit in 4 MiB of text, and not in memory.
 * @throws OciError `OCI_LIMIT`, `OCI_MANIFEST`
 */
export function parseBoundedObject(bytes: Uint8Array, what: string): JsonObject {
  if (bytes.length > MAX_MANIFEST_BYTES) {
    throw new OciError('OCI_LIMIT', `Cannot parse ${what}: it is larger than ${MAX_MANIFEST_BYTES} bytes`);
  }
  if (exceedsValues(bytes, MAX_VALUES)) {
    throw new OciError('OCI_LIMIT', `Cannot parse ${what}: it has more than ${MAX_VALUES} values`);
  }
  let root: JsonValue;
  try {
    root = parseJson(bytes, { maxDepth: MAX_DEPTH });
  } catch (cause) {
    throw new OciError('OCI_MANIFEST', `Cannot parse ${what}: it is not JSON`, { cause });
  }
  if (!isObject(root)) throw new OciError('OCI_MANIFEST', `Cannot parse ${what}: it is not a JSON object`);
  return root;
}

/** Whether a JSON text has more values than `most`. Each follows an opening bracket, a colon or a comma. */
function exceedsValues(bytes: Uint8Array, most: number): boolean {
  let count = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === 0x22) inString = !inString;
    else if (inString) {
      if (byte === 0x5c) i++; // what is escaped never ends the string
    } else if (byte === 0x2c || byte === 0x5b || byte === 0x7b) {
      if (++count > most) return true;
    }
  }
  return false;
}

/** @throws OciError `OCI_LIMIT`, `OCI_MANIFEST` */
export function parseDescriptors(value: JsonValue | undefined, where: string): Descriptor[] {
  if (!present(value)) return []; // what an empty list becomes in Go
  if (!Array.isArray(value)) throw fail(`${where} is not a list`);
  if (value.length > MAX_DESCRIPTORS) {
    throw new OciError(
      'OCI_LIMIT',
      `Cannot parse manifest: ${where} has ${value.length} entries, at most ${MAX_DESCRIPTORS} are read`,
    );
  }
  return value.map((one, i) => parseDescriptor(one, `${where}[${i}]`));
}

/** @throws OciError `OCI_MANIFEST` */
export function parseDescriptor(value: JsonValue | undefined, where: string): Descriptor {
  if (!isObject(value)) throw fail(`${where} is not a descriptor`);
  const { mediaType, digest, size } = value;
  if (typeof mediaType !== 'string' || !/^[\x21-\x7e][\x20-\x7e]{0,254}$/.test(mediaType)) {
    throw fail(`${where} has no media type`);
  }
  if (typeof digest !== 'string' || !isDigest(digest)) throw fail(`${where} has no digest of sha256 or sha512`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw fail(`${where} has no size in bytes`);
  const artifactType = optionalString(value, 'artifactType');
  const annotations = parseAnnotations(value['annotations'], `${where}.annotations`);
  const platform = parsePlatform(value['platform'], `${where}.platform`);
  const urls = parseUrls(value['urls'], `${where}.urls`);
  const data = parseData(value['data'], { digest, size }, `${where}.data`);
  return {
    mediaType,
    digest,
    size,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations !== undefined && { annotations }),
    ...(platform !== undefined && { platform }),
    ...(urls !== undefined && { urls }),
    ...(data !== undefined && { data }),
  };
}

/** @throws OciError `OCI_MANIFEST` */
function parseAnnotations(value: JsonValue | undefined, where: string): Record<string, string> | undefined {
  if (!present(value)) return undefined;
  if (!isObject(value)) throw fail(`${where} is not an object`);
  for (const one of Object.values(value))
    if (typeof one !== 'string') throw fail(`${where} has a value that is no text`);
  return value as Record<string, string>; // all were looked at
}

function parsePlatform(value: JsonValue | undefined, where: string): Platform | undefined {
  if (!present(value)) return undefined;
  if (!isObject(value)) throw fail(`${where} is not an object`);
  const variant = optionalString(value, 'variant');
  const version = optionalString(value, 'os.version');
  return {
    os: optionalString(value, 'os') ?? '',
    architecture: optionalString(value, 'architecture') ?? '',
    ...(variant !== undefined && { variant }),
    ...(version !== undefined && { 'os.version': version }),
  };
}

function parseUrls(value: JsonValue | undefined, where: string): string[] | undefined {
  if (!present(value)) return undefined;
  if (!Array.isArray(value) || value.length > MAX_URLS)
    throw fail(`${where} is not a list of at most ${MAX_URLS} URLs`);
  return value.map((one) => {
    if (typeof one !== 'string') throw fail(`${where} has a URL that is no text`);
    return one;
  });
}

function parseData(value: JsonValue | undefined, expected: ContentId, where: string): Uint8Array | undefined {
  if (!present(value)) return undefined;
  let data: Uint8Array;
  try {
    data = parseBase64(typeof value === 'string' ? value : '-');
  } catch (cause) {
    throw fail(`${where} is not base64`, cause);
  }
  const { algorithm } = splitDigest(expected.digest);
  if (data.length !== expected.size || digestOf(data, algorithm) !== expected.digest) {
    throw fail(`${where} has not the size and the digest that it should have`);
  }
  return data;
}

/** The descriptor as the specification writes it. */
export function encodeDescriptor(descriptor: Descriptor): JsonObject {
  const { mediaType, digest, size, artifactType, annotations, platform, urls } = descriptor;
  return {
    mediaType,
    digest,
    size,
    ...(urls !== undefined && { urls: [...urls] }),
    ...(annotations !== undefined && { annotations: { ...annotations } }),
    ...(platform !== undefined && { platform: { ...platform } }),
    ...(artifactType !== undefined && { artifactType }),
  };
}

function optionalString(object: JsonObject, name: string): string | undefined {
  const value = object[name];
  if (!present(value)) return undefined;
  if (typeof value !== 'string') throw fail(`${name} is no text`);
  return value;
}

function present<T>(value: T): value is Exclude<T, null | undefined> {
  return value !== undefined && value !== null;
}

export function isObject(value: JsonValue | undefined): value is { [name: string]: JsonValue } {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function fail(state: string, cause?: unknown): OciError {
  return new OciError('OCI_MANIFEST', `Cannot parse manifest: ${state}`, { cause });
}
