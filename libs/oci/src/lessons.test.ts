import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { lies, startLyingRegistry, type LyingRegistry } from '../../../test/world/lying-registry.js';
import { imageBytes, listAll, referrerBytes } from '../testing/store-contract.js';
import {
  digestOf,
  mediaTypes,
  openRegistry,
  parseReference,
  readReferrer,
  type Descriptor,
  type Digest,
  type RegistryOptions,
  type RegistryStore,
} from './index.js';

/**
 * A registry that lies, and what that costs. Registry and client share this process, so what is measured is what both need.
 * Seen beyond what the process had before, on two cores: 20 MB and 0.2 s for an answer without end, 7 MB and 0.03 s for a
 * million layers, 9 MB and 2.1 s for a layer of 1 GB, 49 MB for an upload in chunks of 8 MiB. The bounds are some times that.
 */
const MB = 1024 * 1024;
const GB = 1024 * MB;

let registry: LyingRegistry;
const stores: RegistryStore[] = [];
beforeAll(async () => void (registry = await startLyingRegistry()));
afterAll(() => registry.close());
afterEach(async () => {
  registry.lie = undefined;
  registry.asked.length = 0;
  for (const store of stores.splice(0)) await store.close();
});
const open = (more: Partial<RegistryOptions> = {}): RegistryStore => {
  const store = openRegistry({
    repository: parseReference(`${registry.host}/ns/app`),
    patience: { attempts: 1 },
    ...more,
  });
  stores.push(store);
  return store;
};

/** What `work` came to, and how far the memory of the process grew meanwhile, in MB. */
async function measured<T>(work: () => Promise<T>): Promise<{ result: T | Error; grownMb: number; ms: number }> {
  const before = process.memoryUsage().rss;
  let peak = before;
  const look = (): void => void (peak = Math.max(peak, process.memoryUsage().rss));
  const timer = setInterval(look, 5);
  const started = performance.now();
  const result = await work().catch((error: unknown) => error as Error);
  look();
  clearInterval(timer);
  const ms = performance.now() - started;
  const grownMb = (peak - before) / MB;
  return { result, grownMb, ms };
}

const digestOfZeros = (size: number): Digest => {
  const hash = createHash('sha256');
  const chunk = Buffer.alloc(MB);
  for (let left = size; left > 0; left -= chunk.length) hash.update(chunk.subarray(0, Math.min(left, chunk.length)));
  return `sha256:${hash.digest('hex')}`;
};
const gigabyte: Descriptor = {
  mediaType: 'application/octet-stream',
  digest: 'sha256:49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14',
  size: GB,
};

describe('CVE-2023-46737, CVE-2024-29902, CVE-2024-29903 (cosign): answers without end, and sizes that the registry chooses', () => {
  it.each<[string, RegExp, (store: RegistryStore) => Promise<unknown>, string]>([
    ['a manifest', /manifests/, (store) => store.resolve('v1'), 'OCI_LIMIT'],
    ['a manifest of a digest', /manifests/, (store) => store.manifest(gigabyte.digest), 'OCI_LIMIT'],
    ['a list of referrers', /referrers/, (store) => listAll(store.referrers(gigabyte.digest)), 'OCI_LIMIT'],
    ['a list of tags', /tags/, (store) => listAll(store.tags()), 'OCI_LIMIT'],
    ['a blob', /blobs/, (store) => store.blob({ ...gigabyte, size: 1000 }), 'OCI_SIZE'],
  ])('%s without end is cut off', async (_, path, read, code) => {
    registry.lie = lies.endlessBody(path, path.source === 'tags' ? 'application/json' : mediaTypes.ociIndex);
    const { result, grownMb, ms } = await measured(() => read(open()));
    expect(result).toMatchObject({ code });
    expect(grownMb).toBeLessThan(100);
    expect(ms).toBeLessThan(10_000);
  });

  it.each([401, 403, 500, 404])('an error %i without end is cut off', async (status) => {
    registry.lie = (asked, response) => {
      response.writeHead = (
        (write) => () =>
          write(status, {})
      )(response.writeHead.bind(response));
      return lies.endlessBody(/./)(asked, response);
    };
    const { result, grownMb, ms } = await measured(() => open().resolve('v1'));
    expect(result).toMatchObject({ name: 'OciError', status });
    expect(grownMb).toBeLessThan(100);
    expect(ms).toBeLessThan(10_000);
  });

  it('a million layers are counted, not read', async () => {
    registry.lie = lies.manyLayers(/manifests/);
    const { result, grownMb, ms } = await measured(() => open().resolve('v1'));
    expect(result).toMatchObject({ code: 'OCI_LIMIT', message: expect.stringContaining('150000 values') as string });
    expect(grownMb).toBeLessThan(100);
    expect(ms).toBeLessThan(10_000);
  });

  it('a million referrers on one page are counted, not read', async () => {
    registry.lie = lies.otherContent(
      /referrers/,
      `{"schemaVersion":2,"manifests":[${'{},'.repeat(1_000_000)}{}]}`,
      mediaTypes.ociIndex,
    );
    const { result, grownMb } = await measured(() => listAll(open().referrers(gigabyte.digest)));
    expect(result).toMatchObject({ code: 'OCI_LIMIT' });
    expect(grownMb).toBeLessThan(100);
  });

  it('a layer of 1 GB is not fetched into memory: it is refused by what its descriptor says', async () => {
    registry.lie = lies.hugeBody(/blobs/, GB);
    await expect(open().blob(gigabyte)).rejects.toMatchObject({ code: 'OCI_LIMIT' });
    await expect(open().manifest({ ...gigabyte, mediaType: mediaTypes.ociManifest })).rejects.toMatchObject({
      code: 'OCI_LIMIT',
    });
    expect(registry.asked).toEqual([]);
  });

  it('a layer of 1 GB passes through flat memory', async () => {
    registry.lie = lies.hugeBody(/blobs/, GB);
    let size = 0;
    const { result, grownMb } = await measured(async () => {
      for await (const chunk of open().blobStream(gigabyte)) size += chunk.length;
      return size;
    });
    expect(result).toBe(GB);
    expect(grownMb).toBeLessThan(250);
  });

  it('a layer of 1 GB with another digest fails before its end was given', async () => {
    registry.lie = lies.hugeBody(/blobs/, GB);
    let size = 0;
    const { result, grownMb } = await measured(async () => {
      for await (const chunk of open().blobStream({ ...gigabyte, digest: digestOf(encodeUtf8('other')) }))
        size += chunk.length;
    });
    expect(result).toMatchObject({ code: 'OCI_DIGEST' });
    expect(size).toBeLessThan(GB);
    expect(grownMb).toBeLessThan(250);
  });

  it('a layer of 1 GB that should be small, or larger, fails at the announced length already', async () => {
    registry.lie = lies.hugeBody(/blobs/, GB);
    for (const size of [1000, GB - 1, GB + 1]) {
      const { result, ms } = await measured(async () => {
        for await (const _ of open().blobStream({ ...gigabyte, size }));
      });
      expect(result).toMatchObject({ code: 'OCI_SIZE' });
      expect(ms).toBeLessThan(10_000);
    }
  });

  it('a layer of 300 MB is uploaded through flat memory', async () => {
    const size = 300 * MB;
    const chunk = Buffer.alloc(MB);
    const stream = async function* () {
      for (let left = size; left > 0; left -= chunk.length) yield chunk;
    };
    // The registry keeps nothing of it.
    registry.lie = ({ method }, response) => {
      if (method !== 'PATCH' && method !== 'PUT') return false;
      registry.asked.length = 0;
      response.writeHead(method === 'PATCH' ? 202 : 201, { location: '/v2/ns/app/blobs/uploads/x?state=a%2Fb' }).end();
      return true;
    };
    const { result, grownMb } = await measured(() =>
      open().putBlob({ descriptor: { ...gigabyte, digest: digestOfZeros(size), size }, stream }),
    );
    expect(result).toMatchObject({ size });
    expect(grownMb).toBeLessThan(250);
  });

  it('a size that no disk has is no reason to wait for it, or to make room', async () => {
    registry.lie = lies.otherContent(/blobs/, 'short');
    const size = Number.MAX_SAFE_INTEGER;
    await expect(open().blob({ ...gigabyte, size }, size)).rejects.toMatchObject({ code: 'OCI_SIZE' });
  });

  it('a header that is announced as larger than it may be is not waited for', async () => {
    registry.lie = lies.hugeBody(/manifests/, GB, mediaTypes.ociManifest);
    const { result, ms } = await measured(() => open().resolve('v1'));
    expect(result).toMatchObject({ code: 'OCI_LIMIT' });
    expect(ms).toBeLessThan(10_000);
  });
});

// CVE-2024-23332 (notation: an outdated image with an old signature) is about tags: a digest never grows old. What is newest is told by libs/tags, under "rollback".
describe('CVE-2023-33959 (notation): registries that answer something else than was asked for', () => {
  const right = imageBytes('right');
  const other = imageBytes('other');

  it.each<[string, Record<string, string>]>([
    ['without saying so', {}],
    ['saying that it is the right one', { 'docker-content-digest': digestOf(right) }],
    ['saying its real digest', { 'docker-content-digest': digestOf(other) }],
  ])('another manifest for a digest is refused, %s', async (_, headers) => {
    registry.lie = lies.otherContent(/manifests/, other, mediaTypes.ociManifest, headers);
    await expect(open().manifest(digestOf(right))).rejects.toMatchObject({ code: 'OCI_DIGEST' });
    await expect(open().resolve(digestOf(right))).rejects.toMatchObject({ code: 'OCI_DIGEST' });
  });

  it('CVE-2023-47630 (Kyverno): a tag means the digest of the bytes, whatever the header says', async () => {
    registry.lie = lies.otherContent(/manifests/, right, mediaTypes.ociManifest);
    expect((await open().resolve('v1')).digest).toBe(digestOf(right));
    registry.lie = lies.otherContent(/manifests/, right, mediaTypes.ociManifest, {
      'docker-content-digest': digestOf(other),
    });
    await expect(open().resolve('v1')).rejects.toMatchObject({ code: 'OCI_DIGEST' });
    registry.lie = lies.otherContent(/manifests/, right, mediaTypes.ociManifest, {
      'docker-content-digest': 'x'.repeat(1000),
    });
    expect((await open().resolve('v1')).digest).toBe(digestOf(right));
  });

  it('another blob of the same size is refused', async () => {
    registry.lie = lies.otherContent(/blobs/, 'b blob');
    const descriptor: Descriptor = { mediaType: 'text/plain', digest: digestOf(encodeUtf8('a blob')), size: 6 };
    await expect(open().blob(descriptor)).rejects.toMatchObject({ code: 'OCI_DIGEST' });
  });

  it('a manifest under another media type is refused', async () => {
    registry.lie = lies.otherContent(/manifests/, right, mediaTypes.ociIndex);
    await expect(open().resolve('v1')).rejects.toMatchObject({ code: 'OCI_MANIFEST' });
  });

  it('a registry that says it stored something else is not believed to have stored ours', async () => {
    registry.lie = ({ method }, response) => {
      if (method !== 'PUT') return false;
      response.writeHead(201, { 'docker-content-digest': digestOf(other) }).end();
      return true;
    };
    await expect(open().putManifest(right, mediaTypes.ociManifest, 'v1')).rejects.toMatchObject({ code: 'OCI_DIGEST' });
  });
});

describe('CVE-2023-33957, CVE-2023-33958 (notation): signatures without end', () => {
  it('referrers beyond the limit end the list', async () => {
    let page = 0;
    registry.lie = ({ path }, response) => {
      if (!path.includes('/referrers/')) return false;
      const manifests = Array.from({ length: 1000 }, (_, i) => ({
        mediaType: mediaTypes.ociManifest,
        digest: digestOf(encodeUtf8(`${page} ${i}`)),
        size: 1,
      }));
      response.setHeader('link', `</v2/ns/app/referrers/x?page=${++page}>; rel="next"`);
      response
        .writeHead(200, { 'content-type': mediaTypes.ociIndex })
        .end(JSON.stringify({ schemaVersion: 2, manifests }));
      return true;
    };
    const { result, grownMb, ms } = await measured(() => listAll(open().referrers(gigabyte.digest)));
    expect(result).toMatchObject({ code: 'OCI_LIMIT' });
    expect(page).toBe(11);
    expect(grownMb).toBeLessThan(100);
    expect(ms).toBeLessThan(10_000);
  });

  it('a referrer of something else, among a thousand, is told apart', async () => {
    const store = open();
    const { descriptor: subject } = await store.putManifest(imageBytes('subject'), mediaTypes.ociManifest);
    const { descriptor: foreign } = await store.putManifest(referrerBytes(gigabyte, 'foreign'), mediaTypes.ociManifest);
    registry.lie = lies.referrers([foreign]);
    const [listed] = await listAll(store.referrers(subject.digest));
    await expect(readReferrer(store, subject.digest, listed ?? subject)).rejects.toMatchObject({ code: 'OCI_SUBJECT' });
  });
});
