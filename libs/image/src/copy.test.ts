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
  openSaved,
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

  it('lets no index under a signature tag of the source replace the signatures at the destination', async () => {
    const { store, index } = await richImage();
    const target = new MemoryStore('target');
    await copyImage(store, target, '1.0', { tag: '1.0' });
    const tag = legacyTag(index.digest, 'signature');
    const before = target.tagged.get(tag);
    store.tagged.set(tag, index.digest);
    await expect(copyImage(store, target, '1.0', { tag: '1.0' })).rejects.toMatchObject({ code: 'IMAGE_LEGACY' });
    expect(target.tagged.get(tag)).toBe(before);
    expect(await verifyImage(target, index.digest, demand('legacy'))).toMatchObject({ ok: true });
  });

  it('fetches each manifest once, however often indexes list it', async () => {
    const store = new MemoryStore();
    let at = await pushImage(store, 'one', 'one');
    const platform = { os: 'linux', architecture: 'amd64' };
    for (let i = 0; i < 3; i++) at = await pushIndex(store, Array(1000).fill([at, platform]) as never, 'many');
    let asked = 0;
    store.before = (action) => void (asked += action === 'manifest' ? 1 : 0);
    await copyImage(store, new MemoryStore('target'), 'many');
    // The four, and what is asked for under the legacy tags of each.
    expect(asked).toBeLessThan(20);
    asked = 0;
    await expect(choosePlatform(store, 'many', 'windows/amd64')).rejects.toMatchObject({ code: 'IMAGE_LIMIT' });
    expect(asked).toBe(4);
  });

  it('passes over what a list of referrers names and is not there, or is about something else', async () => {
    const { store, index } = await richImage();
    const { descriptor: foreign } = await store.manifest(
      await smallSign(world, store, await pushImage(store, 'x'), 'bundle'),
    );
    const gone = { ...foreign, digest: `sha256:${'0'.repeat(64)}` } as Descriptor;
    const listed = store.referrers.bind(store);
    store.referrers = async function* (digest) {
      if (digest === index.digest) yield* [gone, foreign];
      yield* listed(digest);
    };
    const target = new MemoryStore('target');
    expect((await copyImage(store, target, '1.0')).attached).toMatchObject({ signature: 4, attestation: 1 });
    expect(target.manifests.has(foreign.digest)).toBe(false);
    // Above all nothing of another image is removed.
    await cleanImage(store, index.digest, 'all');
    expect(store.manifests.has(foreign.digest)).toBe(true);
  });

  it('takes along what is attached in another repository too, beside the image at the destination', async () => {
    const store = new MemoryStore();
    const image = await pushImage(store, 'app', '1.0');
    await smallSign(world, store, image, 'bundle', { predicateType: 'https://example.com/p' });
    const elsewhere = new MemoryStore('elsewhere');
    for (const layout of ['bundle', 'legacy'] as const) await smallSign(world, elsewhere, image, layout);
    const target = new MemoryStore('target');
    const result = await copyImage(store, target, '1.0', { signatures: elsewhere, mountFrom: 'ns/app' });
    expect(result.attached).toEqual({ signature: 2, attestation: 1, sbom: 0, referrer: 0 });
    for (const layout of ['bundle', 'legacy'] as const) {
      expect(await verifyImage(target, image.digest, demand(layout))).toMatchObject({ ok: true });
    }
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

describe('listArtifacts()', () => {
  it('ends where a registry attaches something new to everything, without end', async () => {
    const store = new MemoryStore();
    const image = await pushImage(store, 'app');
    const empty = await store.putBlob(encodeUtf8('{}'));
    let made = 0;
    store.referrers = async function* (digest) {
      for (let i = 0; i < 40; i++) {
        const manifest = {
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          config: { mediaType: 'application/x', digest: empty.digest, size: 2 },
          layers: [],
          subject: { mediaType: image.mediaType, digest, size: 1 },
          annotations: { n: String(made++) },
        };
        yield (await store.putManifest(encodeUtf8(JSON.stringify(manifest)), manifest.mediaType)).descriptor;
      }
    };
    await expect(listArtifacts(store, image.digest)).rejects.toMatchObject({ code: 'IMAGE_LIMIT' });
    expect(made).toBe(10_001);
  });
});

describe('cleanImage(), whose manifests go with all their tags', () => {
  it.each<[string, 'signature' | 'attestation', string[]]>([
    ['a chart', 'signature', ['application/vnd.cncf.helm.chart.content.v1.tar+gzip']],
    ['a chart among signatures', 'signature', ['application/vnd.dev.cosign.simplesigning.v1+json', 'application/x']],
    ['signatures where attestations belong', 'attestation', ['application/vnd.dev.cosign.simplesigning.v1+json']],
    ['nothing at all', 'signature', []],
  ])('removes nothing when a tag of signatures is on %s', async (_, kind, types) => {
    const store = new MemoryStore();
    const image = await pushImage(store, 'app', '1.0');
    const blob = await store.putBlob(encodeUtf8('x'));
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/x', digest: blob.digest, size: 1 },
      layers: types.map((mediaType) => ({ mediaType, digest: blob.digest, size: 1 })),
    };
    const { descriptor } = await store.putManifest(encodeUtf8(JSON.stringify(manifest)), manifest.mediaType, 'chart');
    store.tagged.set(legacyTag(image.digest, kind), descriptor.digest);
    await expect(cleanImage(store, image.digest, 'all')).rejects.toMatchObject({ code: 'IMAGE_LEGACY' });
    expect(store.tagged.get('chart')).toBe(descriptor.digest);
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

  it('mean the same image as whoever verifies the folder, and only the one that is expected', async () => {
    const store = new MemoryStore();
    const good = await pushImage(store, 'good', 'good');
    const evil = await pushImage(store, 'evil', 'evil');
    const layout = await openLayout(folder, { create: true });
    await copyImage(store, layout, 'good', { tag: 'good' });
    // Under the name of an attachment, an image is none: if another one is marked, nobody sees this one.
    await copyImage(store, layout, 'evil', { tag: legacyTag(good.digest, 'sbom') });
    await layout.annotate(({ digest }) => (digest === good.digest ? { kind: 'evil/image' } : undefined));
    expect((await openSaved(layout)).root.digest).toBe(good.digest);
    expect((await loadImage(layout, new MemoryStore(), { expected: good.digest })).descriptor.digest).toBe(good.digest);
    await expect(loadImage(layout, new MemoryStore(), { expected: evil.digest })).rejects.toMatchObject({
      code: 'IMAGE_FOLDER',
      message: expect.stringContaining(`it holds ${good.digest}, expected ${evil.digest}`) as string,
    });
  });

  it("cosign's folders, whose signatures have a kind and no tag, can be verified", async () => {
    const { store, index } = await richImage();
    const layout = await openLayout(folder, { create: true });
    await saveImage(store, layout, '1.0');
    const path = join(folder, 'index.json');
    await writeFile(path, (await readFile(path, 'utf8')).replaceAll('org.opencontainers.image.ref.name', 'other'));
    const saved = await openSaved(await openLayout(folder));
    expect(saved.root.digest).toBe(index.digest);
    expect(await verifyImage(saved.store, index.digest, demand('legacy'))).toMatchObject({ ok: true });
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
