import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { OciError, openLayout, type Descriptor } from '#libs/oci';
import { ISSUER, SAN } from '../../../test/world/small-sigstore.js';
import { MemoryStore, pushImage, pushIndex, smallSign, SmallSigstore } from '../testing/small-registry.js';
import {
  choosePlatform,
  cleanImage,
  copyImage,
  legacyTag,
  listArtifacts,
  loadImage,
  saveImage,
  verifyImage,
  type VerifyImageOptions,
} from './index.js';

const world = new SmallSigstore();
const patience = { sleep: () => Promise.resolve() };
const demand = (layout: 'bundle' | 'legacy'): VerifyImageOptions => ({
  policy: { kind: 'identity', san: SAN, issuer: ISSUER },
  trustedRoot: world.trustedRoot(),
  layouts: [layout],
});

/** An index of two, each signed in both layouts, a signature of a signature, an attestation, and a referrer of a stranger. */
async function richImage(): Promise<{ store: MemoryStore; index: Descriptor; children: Descriptor[] }> {
  const store = new MemoryStore();
  const children = [await pushImage(store, 'amd64'), await pushImage(store, 'arm64')];
  const [amd64, arm64] = children as [Descriptor, Descriptor];
  const index = await pushIndex(
    store,
    [
      [amd64, { os: 'linux', architecture: 'amd64' }],
      [arm64, { os: 'linux', architecture: 'arm64' }],
    ],
    '1.0',
  );
  const signature = await smallSign(world, store, index, 'bundle');
  await smallSign(world, store, index, 'legacy');
  await smallSign(world, store, arm64, 'bundle');
  await smallSign(world, store, index, 'bundle', { predicateType: 'https://example.com/p' });
  await smallSign(world, store, (await store.manifest(signature)).descriptor, 'bundle');
  const empty = await store.putBlob(encodeUtf8('{}'));
  const { mediaType, digest, size } = index;
  const stranger = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    artifactType: 'application/vnd.example.notes',
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: empty.digest, size: 2 },
    layers: [],
    subject: { mediaType, digest, size },
  };
  await store.putManifest(encodeUtf8(JSON.stringify(stranger)), stranger.mediaType);
  return { store, index, children };
}

describe('copyImage()', () => {
  it('takes everything along, and tells how many of each', async () => {
    const { store, index } = await richImage();
    const target = new MemoryStore('target');
    const result = await copyImage(store, target, '1.0', { tag: 'latest' });
    expect(result).toMatchObject({
      descriptor: { digest: index.digest },
      manifests: 3,
      present: 0,
      attached: { signature: 4, attestation: 1, sbom: 0, referrer: 1 },
    });
    expect([...target.manifests.keys()].sort()).toEqual([...store.manifests.keys()].sort());
    expect(target.tagged.get('latest')).toBe(index.digest);
    for (const layout of ['bundle', 'legacy'] as const) {
      expect(await verifyImage(target, index.digest, demand(layout))).toMatchObject({ ok: true });
    }
    expect(await listArtifacts(target, index.digest)).toEqual(await listArtifacts(store, index.digest));
  });

  it('goes on where it stopped: what is there is not sent again, and the tag comes last', async () => {
    const { store } = await richImage();
    const target = new MemoryStore('target');
    let left = 5;
    target.before = (action) => {
      if (action === 'putBlob' && left-- === 0) throw new OciError('OCI_NETWORK', 'Cannot write: the cable broke');
    };
    await expect(copyImage(store, target, '1.0', { tag: 'latest' })).rejects.toMatchObject({ code: 'OCI_NETWORK' });
    expect(target.tagged.has('latest')).toBe(false);
    target.before = () => undefined;
    const sent = target.blobs.size;
    const second = await copyImage(store, target, '1.0', { tag: 'latest' });
    expect(second.present).toBe(sent);
    expect(second.blobs + second.present).toBe(target.blobs.size);
    expect((await copyImage(store, target, '1.0', { tag: 'latest' })).blobs).toBe(0);
  });

  it('adds to legacy signatures that the destination has of its own', async () => {
    const { store, index } = await richImage();
    const target = new MemoryStore('target');
    await copyImage(store, target, '1.0', { only: [] });
    await smallSign(world, target, index, 'legacy', { holder: world.issue({ san: 'other@example.com' }) });
    await copyImage(store, target, '1.0', { patience });
    const report = await verifyImage(target, index.digest, demand('legacy'));
    expect(report.candidates.map(({ state }) => state).sort()).toEqual(['accepted', 'rejected']);
  });

  it('copies one platform, only some kinds, and says which platforms there are', async () => {
    const { store, children } = await richImage();
    const target = new MemoryStore('target');
    const arm64 = await copyImage(store, target, '1.0', { platform: 'linux/arm64', only: ['attestation'] });
    expect(arm64).toMatchObject({
      descriptor: { digest: children[1]?.digest },
      manifests: 1,
      attached: { signature: 0 },
    });
    await expect(choosePlatform(store, '1.0', 'windows/amd64')).rejects.toMatchObject({
      code: 'IMAGE_LIMIT',
      cure: 'Its platforms are linux/amd64, linux/arm64',
    });
  });

  it('refuses content that is not what its digest says', async () => {
    const { store } = await richImage();
    const [blob] = store.blobs.keys();
    store.blobs.set(blob ?? '', encodeUtf8('something else'));
    await expect(copyImage(store, new MemoryStore(), '1.0')).rejects.toBeInstanceOf(OciError);
  });
});

describe('cleanImage()', () => {
  it.each([
    ['signature', 2],
    ['attestation', 1],
    ['referrer', 1],
    ['all', 4],
  ] as const)('removes by type %s, and leaves the rest', async (type, count) => {
    const { store, index } = await richImage();
    const before = (await listArtifacts(store, index.digest)).length;
    const removed = await cleanImage(store, index.digest, type);
    expect(Object.values(removed).flat()).toHaveLength(count);
    expect(await listArtifacts(store, index.digest)).toHaveLength(before - count);
    expect(await store.resolve('1.0')).toMatchObject({ digest: index.digest });
  });

  it('removes nothing when a signature tag is on an image', async () => {
    const { store, index, children } = await richImage();
    store.tagged.set(legacyTag(index.digest, 'signature'), children[0]?.digest ?? '');
    const before = store.manifests.size;
    await expect(cleanImage(store, index.digest, 'all')).rejects.toMatchObject({ code: 'IMAGE_LEGACY' });
    expect(store.manifests.size).toBe(before);
  });
});

describe('saveImage() and loadImage()', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'chancery-saved-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('bring everything through a folder, with the marks that cosign looks for', async () => {
    const { store, index } = await richImage();
    const layout = await openLayout(folder, { create: true });
    const saved = await saveImage(store, layout, '1.0', { tag: '1.0' });
    expect(saved.attached).toEqual({ signature: 4, attestation: 1, sbom: 0, referrer: 1 });
    const { manifests } = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as {
      manifests: { digest: string; annotations?: Record<string, string> }[];
    };
    const kinds = manifests.flatMap(({ annotations }) => annotations?.['kind'] ?? []);
    expect(kinds.sort()).toEqual(['dev.cosignproject.cosign/imageIndex', 'dev.cosignproject.cosign/sigs']);
    expect(existsSync(join(folder, 'index.json.annotated'))).toBe(false);

    const target = new MemoryStore('target');
    const loaded = await loadImage(await openLayout(folder), target, { tag: '2.0' });
    expect(loaded).toMatchObject({ descriptor: { digest: index.digest }, attached: saved.attached });
    expect([...target.manifests.keys()].sort()).toEqual([...store.manifests.keys()].sort());
  });

  it('loads what says nothing about itself, if it is one image', async () => {
    const { store, index } = await richImage();
    const layout = await openLayout(folder, { create: true });
    await copyImage(store, layout, '1.0', { tag: '1.0' });
    const target = new MemoryStore('target');
    expect(await loadImage(layout, target)).toMatchObject({ descriptor: { digest: index.digest } });
    await pushImage(store, 'second', 'second');
    await copyImage(store, layout, 'second', { tag: 'second' });
    await expect(loadImage(layout, target)).rejects.toMatchObject({ code: 'IMAGE_FOLDER' });
  });

  it('loads no image from an empty folder, nor a changed blob', async () => {
    const layout = await openLayout(folder, { create: true });
    await expect(loadImage(layout, new MemoryStore())).rejects.toMatchObject({ code: 'IMAGE_FOLDER' });
    const { store } = await richImage();
    await saveImage(store, layout, '1.0');
    const [blob] = [...store.blobs.keys()].slice(-1);
    await writeFile(join(folder, 'blobs', (blob ?? '').replace(':', '/')), 'x');
    await expect(loadImage(layout, new MemoryStore())).rejects.toBeInstanceOf(OciError);
  });
});
