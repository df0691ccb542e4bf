// Registries that lie about signatures, seen through the whole client: each lie has its answer, in bounded time and memory.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { legacyTag, verifyAttestations, verifyImage, type VerifyImageOptions } from '#libs/image';
import { openRegistry, parseReference, type Descriptor, type RegistryStore } from '#libs/oci';
import { MemoryStore, pushImage, smallSign } from '../../libs/image/testing/small-registry.js';
import { copyImage } from '#libs/image';
import { lies, startLyingRegistry, type Lie, type LyingRegistry } from '../world/lying-registry.js';
import { ISSUER, SAN, SmallSigstore } from '../world/small-sigstore.js';

const world = new SmallSigstore();
const MiB = 1024 * 1024;
const demand: VerifyImageOptions = {
  policy: { kind: 'identity', san: SAN, issuer: ISSUER },
  trustedRoot: world.trustedRoot(),
  layouts: ['bundle', 'legacy'],
};

let registry: LyingRegistry;
let store: RegistryStore;
let image: Descriptor;
/** Of one bundle, and of the legacy manifest. */
let bundle: Descriptor;
let legacy: Descriptor;

beforeAll(async () => {
  registry = await startLyingRegistry();
  const memory = new MemoryStore();
  image = await pushImage(memory, 'hello', '1.0');
  bundle = (await memory.manifest(await smallSign(world, memory, image, 'bundle'))).descriptor;
  await smallSign(world, memory, image, 'legacy');
  legacy = (await memory.manifest(legacyTag(image.digest, 'signature'))).descriptor;
  store = openRegistry({
    repository: parseReference(`${registry.host}/ns/app`),
    patience: { attempts: 2, sleep: () => Promise.resolve() },
  });
  await copyImage(memory, store, '1.0', { tag: '1.0' });
}, 60_000);
afterAll(async () => {
  await store.close();
  await registry.close();
});
beforeEach(() => {
  registry.lie = undefined;
});

/** Verifies under a lie, and says what that cost. */
async function under(lie: Lie, options: Partial<VerifyImageOptions> = {}) {
  registry.lie = lie;
  const begun = performance.now();
  let peak = 0;
  const before = process.memoryUsage().rss;
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss - before)), 10);
  try {
    return await verifyImage(store, image.digest, { ...demand, ...options });
  } finally {
    clearInterval(watch);
    expect(performance.now() - begun).toBeLessThan(15_000);
    expect(peak).toBeLessThan(200 * MiB);
  }
}

it('accepts both signatures from a registry that does not lie', async () => {
  const report = await verifyImage(store, image.digest, demand);
  expect(report).toMatchObject({ ok: true, layouts: ['bundle', 'legacy'] });
});

describe('CVE-2023-46737, CVE-2024-29902, CVE-2024-29903: answers without measure', () => {
  const manifests = /\/manifests\//;
  const blobs = /\/blobs\//;
  const bounded: Record<string, [Lie, 'rejected' | 'none']> = {
    'endless manifests': [lies.endlessBody(manifests), 'rejected'],
    'endless blobs': [lies.endlessBody(blobs, 'application/octet-stream'), 'rejected'],
    'an endless list of referrers': [lies.endlessBody(/\/referrers\//), 'rejected'],
    'a million layers': [lies.manyLayers(manifests), 'rejected'],
    'layers of a gigabyte': [lies.hugeBody(blobs, 1024 * MiB), 'rejected'],
    'manifests of a gigabyte': [lies.hugeBody(manifests, 1024 * MiB), 'rejected'],
    'pages without end': [lies.endlessPages(), 'rejected'],
  };
  it.each(Object.entries(bounded))('%s', async (name, [lie]) => {
    // A lie about the list is told of the list alone: what is under the legacy tag is then found, and rightly accepted.
    const isList = name.includes('list') || name.includes('pages');
    const report = await under(lie, isList ? { layouts: ['bundle'] } : {});
    expect(report).toMatchObject({ ok: false, failure: 'none-matching', accepted: [] });
    expect(report.candidates.every(({ state }) => state === 'rejected')).toBe(true);
    expect(report.candidates).toMatchObject(
      report.candidates.map(() => ({ check: 'readable', reason: expect.stringMatching(/./) as string })),
    );
  });

  it('attestations likewise', async () => {
    registry.lie = lies.manyLayers(manifests);
    expect(await verifyAttestations(store, image.digest, demand)).toMatchObject({ ok: false, accepted: [] });
  });
});

it('another manifest under the digest of a referrer, and other blobs', async () => {
  const other = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType: bundle.mediaType, config: {}, layers: [] }));
  for (const lie of [
    lies.otherContent(new RegExp(`manifests/${bundle.digest}`), other),
    lies.otherContent(/\/blobs\//, 'x', 'application/octet-stream'),
  ]) {
    const report = await under(lie, { layouts: ['bundle'] });
    expect(report).toMatchObject({ ok: false, candidates: [{ state: 'rejected', check: 'readable' }] });
  }
});

it('a referrer of another image, listed as one of ours', async () => {
  const memory = new MemoryStore();
  const evil = await pushImage(memory, 'evil', 'evil');
  await copyImage(memory, store, 'evil', { tag: 'evil' });
  registry.lie = lies.referrers([
    {
      mediaType: bundle.mediaType,
      digest: bundle.digest,
      size: bundle.size,
      artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    },
  ]);
  const report = await verifyImage(store, evil.digest, demand);
  expect(report).toMatchObject({ ok: false, candidates: [{ check: 'readable' }] });
  expect(report.candidates[0]).toMatchObject({
    reason: expect.stringContaining(`refers to ${image.digest}`) as string,
  });
  // The same by the legacy tag: whole, valid, and about another digest.
  registry.lie = lies.otherContent(/\.sig$/, await fetchBytes(legacy), legacy.mediaType);
  const swapped = await verifyImage(store, evil.digest, { ...demand, layouts: ['legacy'] });
  expect(swapped).toMatchObject({
    ok: false,
    candidates: [{ check: 'payload', reason: expect.stringContaining(image.digest) as string }],
  });
});

async function fetchBytes({ digest }: Descriptor): Promise<Uint8Array> {
  registry.lie = undefined;
  return (await store.manifest(digest)).bytes;
}

it('hidden referrers: nothing is found, and nothing falls back to a layout that was not allowed', async () => {
  expect(await under(lies.hidesReferrers(), { layouts: ['bundle'] })).toMatchObject({
    ok: false,
    failure: 'none-found',
  });
});

it('CVE-2022-47633: a tag that means another image at each request; one digest is verified', async () => {
  const { digest } = await store.resolve('1.0');
  registry.lie = lies.otherContent(/\/manifests\/1\.0$/, '{"schemaVersion":2}');
  expect(await verifyImage(store, digest, demand)).toMatchObject({ ok: true, digest: image.digest });
});

it('no answer is not "unsigned": the failure of the registry is told', async () => {
  registry.lie = lies.failing(/\/blobs\//, 1000, 503);
  await expect(verifyImage(store, image.digest, demand)).rejects.toMatchObject({
    name: 'OciError',
    code: 'OCI_UNAVAILABLE',
  });
  registry.lie = lies.failing(/\/referrers\//, 1000, 500);
  await expect(verifyImage(store, image.digest, demand)).rejects.toMatchObject({ name: 'OciError' });
});
