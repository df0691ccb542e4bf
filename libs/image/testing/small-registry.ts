/** An image in memory, and signatures of it by a small Sigstore: what tests of this lib start from. */
import { encodeUtf8 } from '#libs/encoding';
import { encodeEnvelope } from '#libs/sign';
import { digestOf, mediaTypes, type Descriptor, type Digest } from '#libs/oci';
import { SmallSigstore, type Holder, type SignOptions } from '../../../test/world/small-sigstore.js';
import {
  attachBundle,
  attachLayers,
  attestationStatement,
  encodePayload,
  layerOfBundle,
  signatureStatement,
  SIGN_PREDICATE_TYPE,
} from '../src/index.js';
import { MemoryStore } from './memory-store.js';

export const repository = 'registry.example.com/ns/app';

/** Pushes an image whose one layer is this text. */
export async function pushImage(store: MemoryStore, text: string, tag?: string): Promise<Descriptor> {
  const config = await store.putBlob(
    encodeUtf8(`{"architecture":"amd64","os":"linux","config":{"Labels":{"t":"${text}"}}}`),
  );
  const layer = await store.putBlob(encodeUtf8(text));
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: config.digest, size: config.size },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer.digest, size: layer.size }],
  };
  return (await store.putManifest(encodeUtf8(JSON.stringify(manifest)), mediaTypes.ociManifest, tag)).descriptor;
}

/** Pushes an index of these. */
export async function pushIndex(
  store: MemoryStore,
  children: readonly (readonly [Descriptor, object])[],
  tag?: string,
): Promise<Descriptor> {
  const manifests = children.map(([{ mediaType, digest, size }, platform]) => ({ mediaType, digest, size, platform }));
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
  return (await store.putManifest(encodeUtf8(JSON.stringify(index)), mediaTypes.ociIndex, tag)).descriptor;
}

export interface SmallSignOptions extends SignOptions {
  annotations?: Record<string, string>;
  /** What the signature is about, if not what it is attached to. */
  about?: Digest;
  /** Instead of the statement of a signature. */
  payload?: Uint8Array;
  predicateType?: string;
  predicate?: unknown;
}

/** Signs as `signImage` does, without services. */
export async function smallSign(
  world: SmallSigstore,
  store: MemoryStore,
  target: Descriptor,
  layout: 'bundle' | 'legacy',
  options: SmallSignOptions = {},
): Promise<Digest> {
  const { annotations, about = target.digest, predicateType, predicate = {} } = options;
  const patience = { sleep: () => Promise.resolve(), jitter: () => 0.5 };
  const statement =
    options.payload ??
    (predicateType === undefined
      ? signatureStatement(about, annotations)
      : attestationStatement(about, { name: repository, predicateType, predicate }));
  if (layout === 'bundle') {
    const bundle = world.signStatement(new Uint8Array(), { ...options, payload: statement });
    return attachBundle(store, target, bundle, {
      predicateType: predicateType ?? SIGN_PREDICATE_TYPE,
      now: world.now.getTime(),
    });
  }
  const chain = [world.intermediate.certificate, world.root.certificate];
  if (predicateType !== undefined) {
    const bundle = world.signStatement(new Uint8Array(), { ...options, log: 'v1', payload: statement });
    if (bundle.content.kind !== 'dsse') throw new Error('no envelope');
    const bytes = encodeUtf8(encodeEnvelope(bundle.content.envelope));
    return attachLayers(
      store,
      target.digest,
      'attestation',
      [layerOfBundle(bundle, { bytes, chain, predicateType })],
      patience,
    );
  }
  const bytes =
    options.payload ?? encodePayload(about, { dockerReference: repository, ...(annotations && { annotations }) });
  const bundle = world.signMessage(bytes, { timestamp: true, ...options, log: 'v1' });
  return attachLayers(store, target.digest, 'signature', [layerOfBundle(bundle, { bytes, chain })], patience);
}

export { digestOf, MemoryStore, SmallSigstore, type Holder };
