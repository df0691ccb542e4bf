import { describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { OciError, type Descriptor } from '#libs/oci';
import { MemoryStore, pushImage } from '../testing/small-registry.js';
import { attachLayers, legacyTag, type LegacyLayer } from './index.js';

const layer = (name: string): LegacyLayer => ({
  mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
  bytes: encodeUtf8('{}'),
  annotations: { by: name },
});

async function layersOf(store: MemoryStore, tag: string): Promise<readonly Descriptor[]> {
  const { manifest } = await store.manifest(tag);
  if (manifest.kind !== 'image') throw new Error('an index');
  return manifest.layers;
}

describe('attachLayers()', () => {
  it('adds to what is there, also two signatures over one payload, and one only once', async () => {
    const store = new MemoryStore();
    const { digest } = await pushImage(store, 'x');
    const patience = { sleep: () => Promise.resolve() };
    for (const name of ['a', 'b', 'a']) await attachLayers(store, digest, 'signature', [layer(name)], patience);
    const layers = await layersOf(store, legacyTag(digest, 'signature'));
    expect(layers.map(({ annotations }) => annotations?.['by'])).toEqual(['a', 'b']);
  });

  it.each([2, 5])('keeps the layers of %s writers who take turns at every step', async (count) => {
    const store = new MemoryStore();
    const { digest } = await pushImage(store, 'x');
    // Each request lets all other writers go first.
    store.before = () => new Promise((done) => setImmediate(done));
    const sleep = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds / 10));
    const names = Array.from({ length: count }, (_, i) => `writer ${i}`);
    await Promise.all(names.map((name) => attachLayers(store, digest, 'signature', [layer(name)], { sleep })));
    const layers = await layersOf(store, legacyTag(digest, 'signature'));
    expect(layers.map(({ annotations }) => annotations?.['by']).sort()).toEqual(names);
  });

  it('gives up with an error when others always replace it', async () => {
    const store = new MemoryStore();
    const { digest } = await pushImage(store, 'x');
    const tag = legacyTag(digest, 'signature');
    const sleep = () => Promise.resolve(void store.tagged.delete(tag));
    await expect(attachLayers(store, digest, 'signature', [layer('a')], { sleep })).rejects.toMatchObject({
      code: 'IMAGE_CONFLICT',
    });
  });

  it('refuses to replace an index, and to go on where the registry does not answer', async () => {
    const store = new MemoryStore();
    const { digest } = await pushImage(store, 'x');
    const type = 'application/vnd.oci.image.index.v1+json';
    const index = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: [] }));
    await store.putManifest(index, type, legacyTag(digest, 'signature'));
    await expect(attachLayers(store, digest, 'signature', [layer('a')])).rejects.toMatchObject({
      code: 'IMAGE_LEGACY',
    });
    store.before = (action) => {
      if (action === 'manifest') throw new OciError('OCI_UNAVAILABLE', 'Cannot read');
    };
    await expect(attachLayers(store, digest, 'attestation', [layer('a')])).rejects.toMatchObject({
      code: 'OCI_UNAVAILABLE',
    });
  });
});
