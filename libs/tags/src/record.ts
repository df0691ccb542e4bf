import { encodeUtf8 } from '#libs/encoding';
import {
  digestOf,
  emptyConfig,
  mediaTypes,
  parseManifest,
  splitDigest,
  type Descriptor,
  type Digest,
  type ImageIndex,
  type ImageManifest,
  type ImageStore,
} from '#libs/oci';
import { TagError } from './error.js';
import type { SnapshotId } from './statement.js';

/** What of a repository is needed to verify. */
export type TagReader = Pick<ImageStore, 'manifest' | 'blob' | 'resolve'>;
/** And to publish, or to read the history. */
export type TagStore = TagReader & Pick<ImageStore, 'tags' | 'putBlob' | 'putManifest' | 'deleteManifest'>;

/** Where the newest snapshot is, in every repository. An underscore: no image is called so, and it sorts apart. */
export const HEAD_TAG = '_trusted-tags';
/** What the manifest of a snapshot is, among artifacts. */
export const SNAPSHOT_ARTIFACT_TYPE = 'application/vnd.chancery.trusted-tags.v1+json';
/** The manifest around a signature that waits for others. */
export const PENDING_ARTIFACT_TYPE = 'application/vnd.chancery.trusted-tags.pending.v1+json';

const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const SNAPSHOT_ANNOTATION = 'chancery.tags.snapshot';
const STATEMENT_ANNOTATION = 'chancery.tags.statement';
/** Hexadecimal digits of a digest that tags carry: enough that nobody finds two alike. */
const NAME_DIGITS = 32;

/** More bundles for one statement are not looked at, whoever pushed them. */
export const MAX_BUNDLES = 64;
/** A snapshot of 2000 tags has 1 MB, and base64 adds a third. */
const MAX_BUNDLE_BYTES = 4 * 1024 * 1024;

/** A snapshot in the registry: bundles, each with the statement that it signs. All that is said here are hints until a signature is verified. */
export interface SnapshotRecord {
  readonly descriptor: Descriptor;
  /** The digest of the snapshot's statement. */
  readonly snapshot: Digest;
  /** The bundles of each statement, the snapshot's own among them. */
  readonly bundles: ReadonlyMap<Digest, readonly Descriptor[]>;
}

/** The tag that a snapshot keeps for ever. */
export function snapshotTag({ version, statement }: SnapshotId): string {
  return `${HEAD_TAG}.v${version}.${splitDigest(statement).hex.slice(0, NAME_DIGITS)}`;
}

/** What the tag of a snapshot says of it: its version, and how its statement's digest begins. */
export function parseSnapshotTag(tag: string): { version: number; digits: string } | undefined {
  const [, version, digits] = /^_trusted-tags\.v([1-9]\d{0,15})\.([0-9a-f]{32})$/.exec(tag) ?? [];
  if (version === undefined || digits === undefined || !Number.isSafeInteger(Number(version))) return undefined;
  return { version: Number(version), digits };
}

/** The tag of one signature that waits for others: for each its own, so that no signer can overwrite another. */
export function pendingTag(statement: Digest, bundle: Digest): string {
  const digits = (digest: Digest, count: number) => splitDigest(digest).hex.slice(0, count);
  return `${HEAD_TAG}.p.${digits(statement, NAME_DIGITS)}.${digits(bundle, 16)}`;
}

export function isPendingTag(tag: string): boolean {
  return /^_trusted-tags\.p\.[0-9a-f]{32}\.[0-9a-f]{16}$/.test(tag);
}

/**
 * Reads the manifest of a snapshot.
 * @throws TagError `TAGS_MALFORMED`; OciError as the store
 */
export async function readRecord(store: TagReader, reference: string): Promise<SnapshotRecord> {
  const { descriptor, manifest } = await store.manifest(reference);
  return parseRecord(reference, descriptor, manifest);
}

function parseRecord(reference: string, descriptor: Descriptor, manifest: ImageManifest | ImageIndex): SnapshotRecord {
  const refuse = (state: string) => new TagError('TAGS_MALFORMED', `Cannot read the record ${reference}: ${state}`);
  if (manifest.kind !== 'image') throw refuse('it is an index');
  const snapshot = manifest.annotations?.[SNAPSHOT_ANNOTATION];
  const isPending = manifest.artifactType === PENDING_ARTIFACT_TYPE;
  if (manifest.artifactType !== SNAPSHOT_ARTIFACT_TYPE && !isPending) throw refuse('its artifactType is another');
  const bundles = new Map<Digest, Descriptor[]>();
  for (const layer of manifest.layers) {
    const statement = layer.annotations?.[STATEMENT_ANNOTATION];
    if (layer.mediaType !== BUNDLE_TYPE || statement === undefined || !isSha256(statement)) {
      throw refuse('a layer is not a bundle with the digest of its statement');
    }
    const others = bundles.get(statement) ?? [];
    if (others.length >= MAX_BUNDLES) throw refuse(`a statement has more than ${MAX_BUNDLES} bundles`);
    bundles.set(statement, [...others, layer]);
  }
  const [first] = bundles.keys();
  const named = isPending ? first : snapshot;
  if (named === undefined || !isSha256(named)) throw refuse('it does not name its statement');
  return { descriptor, snapshot: named, bundles };
}

function isSha256(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

/** The bytes of a bundle. @throws OciError as the store */
export async function readBundle(store: TagReader, layer: Descriptor): Promise<Uint8Array> {
  return store.blob(layer, MAX_BUNDLE_BYTES);
}

/** Stores a bundle; the descriptor says which statement it signs. */
export async function putBundle(store: TagStore, statement: Digest, bundle: Uint8Array): Promise<Descriptor> {
  const { digest, size } = await store.putBlob(bundle, { mediaType: BUNDLE_TYPE });
  return { mediaType: BUNDLE_TYPE, digest, size, annotations: { [STATEMENT_ANNOTATION]: statement } };
}

/** Stores the manifest of a snapshot under its own tag; nothing points to it yet. */
export async function putSnapshotRecord(
  store: TagStore,
  id: SnapshotId,
  layers: readonly Descriptor[],
): Promise<Uint8Array> {
  const bytes = encodeSnapshotRecord(id, layers);
  await store.putBlob(emptyConfig.bytes, { mediaType: mediaTypes.empty });
  await store.putManifest(bytes, mediaTypes.ociManifest, snapshotTag(id));
  return bytes;
}

/**
 * That the manifest of a snapshot will be read by those who verify: under {@link HEAD_TAG} one that cannot be read would shut out everybody,
 * publishers too.
 * @throws TagError `TAGS_MALFORMED`; OciError `OCI_LIMIT`
 */
export function checkSnapshotRecord(id: SnapshotId, layers: readonly Descriptor[]): void {
  const bytes = encodeSnapshotRecord(id, layers);
  const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(bytes), size: bytes.length };
  parseRecord(snapshotTag(id), descriptor, parseManifest(bytes, mediaTypes.ociManifest));
}

function encodeSnapshotRecord(id: SnapshotId, layers: readonly Descriptor[]): Uint8Array {
  return encodeManifest(SNAPSHOT_ARTIFACT_TYPE, layers, { [SNAPSHOT_ANNOTATION]: id.statement });
}

/** Makes a stored snapshot the newest one. */
export async function putHead(store: TagStore, manifest: Uint8Array): Promise<void> {
  await store.putManifest(manifest, mediaTypes.ociManifest, HEAD_TAG);
}

/** Stores one signature that waits for others. */
export async function putPending(store: TagStore, statement: Digest, layer: Descriptor): Promise<void> {
  await store.putBlob(emptyConfig.bytes, { mediaType: mediaTypes.empty });
  const bytes = encodeManifest(PENDING_ARTIFACT_TYPE, [layer], {});
  await store.putManifest(bytes, mediaTypes.ociManifest, pendingTag(statement, layer.digest));
}

function encodeManifest(
  artifactType: string,
  layers: readonly Descriptor[],
  annotations: Readonly<Record<string, string>>,
): Uint8Array {
  const config = { mediaType: mediaTypes.empty, digest: emptyConfig.descriptor.digest, size: 2 };
  const described = layers.map(({ mediaType, digest, size, annotations: own }) => ({
    mediaType,
    digest,
    size,
    annotations: own,
  }));
  return encodeUtf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      artifactType,
      config,
      layers: described,
      ...(Object.keys(annotations).length > 0 && { annotations }),
    }),
  );
}
