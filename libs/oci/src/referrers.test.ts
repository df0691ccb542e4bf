import { afterEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { lies, startLyingRegistry, type LyingRegistry } from '../../../test/world/lying-registry.js';
import { hasDockerRegistry, startDockerRegistry, type TestRegistryOptions } from '../../../test/world/registry.js';
import { imageBytes, listAll, referrerBytes } from '../testing/store-contract.js';
import {
  digestOf,
  emptyConfig,
  fallbackTag,
  mediaTypes,
  openRegistry,
  parseManifest,
  parseReference,
  readReferrer,
  type Descriptor,
  type RegistryOptions,
  type RegistryStore,
} from './index.js';

const { ociIndex, ociManifest } = mediaTypes;
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
const start = async (options: TestRegistryOptions = {}): Promise<LyingRegistry> => {
  const registry = await startLyingRegistry(options);
  closers.push(() => registry.close());
  return registry;
};
const open = (host: string, more: Partial<RegistryOptions> = {}): RegistryStore => {
  const patience = { jitter: () => 0.1 };
  const store = openRegistry({ repository: parseReference(`${host}/ns/app`), patience, ...more });
  closers.push(() => store.close());
  return store;
};
/** The same registry under another name: for us another one, so that writers know as little of each other as two processes. */
const asStranger = (host: string, name: string): RegistryStore =>
  open(host.replace(/^[^:]*/, `${name}.localhost`), { lookup: async () => ['127.0.0.1'], patience: {} });

const push = async (store: RegistryStore, bytes: Uint8Array, tag?: string): Promise<Descriptor> =>
  (await store.putManifest(bytes, ociManifest, tag)).descriptor;
const namesOf = async (store: RegistryStore, subject: Descriptor) =>
  (await listAll(store.referrers(subject.digest))).map(({ annotations }) => annotations?.['name']).sort();
const subjectBytes = imageBytes('subject');

describe('the fallback tag', () => {
  it('is the digest with a dash, at most 32 and 64 characters', () => {
    expect(fallbackTag(`sha256:${'a'.repeat(64)}`)).toBe(`sha256-${'a'.repeat(64)}`);
    expect(fallbackTag(`sha512:${'a'.repeat(128)}`)).toBe(`sha512-${'a'.repeat(64)}`);
  });

  it('lists what was pushed, as the specification wants it', async () => {
    const registry = await start({ referrers: false });
    const store = open(registry.host);
    const subject = await push(store, subjectBytes);
    const result = await store.putManifest(referrerBytes(subject, 'a', 'application/a'), ociManifest);
    expect(result.subjectProcessed).toBe(false);
    const { manifest } = await store.manifest(fallbackTag(subject.digest));
    const { digest, size } = result.descriptor;
    expect(manifest).toEqual({
      kind: 'index',
      mediaType: ociIndex,
      manifests: [{ mediaType: ociManifest, digest, size, artifactType: 'application/a', annotations: { name: 'a' } }],
    });
  });

  it('is not written where the referrers API is', async () => {
    const registry = await start();
    const store = open(registry.host);
    const subject = await push(store, subjectBytes);
    const result = await store.putManifest(referrerBytes(subject, 'a'), ociManifest);
    expect(result.subjectProcessed).toBe(true);
    expect([...registry.repository('ns/app').tags]).toEqual([]);
    // The question whether there is such an API is asked once.
    await push(store, referrerBytes(subject, 'b'));
    expect(registry.asked.filter(({ path }) => path.includes('/referrers/'))).toHaveLength(1);
  });

  it('keeps what others wrote there, also what we do not know', async () => {
    const registry = await start({ referrers: false });
    const store = open(registry.host);
    const subject = await push(store, subjectBytes);
    const theirs = { mediaType: 'application/x', digest: digestOf(encodeUtf8('theirs')), size: 6, future: { a: 1 } };
    const index = { schemaVersion: 2, mediaType: ociIndex, manifests: [theirs], annotations: { a: 'b' }, future: true };
    registry.seed('ns/app', encodeUtf8(JSON.stringify(index)), ociIndex, fallbackTag(subject.digest));
    await push(store, referrerBytes(subject, 'ours'));
    const { bytes } = await store.manifest(fallbackTag(subject.digest));
    expect(JSON.parse(Buffer.from(bytes).toString())).toMatchObject({
      ...index,
      manifests: [theirs, { mediaType: ociManifest }],
    });
  });

  it.each([
    ['an image', imageBytes('x'), ociManifest],
    ['an image that is called an index', imageBytes('x'), ociIndex],
    ['no JSON', encodeUtf8('x'), ociIndex],
    ['an index without a list', encodeUtf8('{"schemaVersion":2,"manifests":{}}'), ociIndex],
  ])('that is %s is left alone', async (_, bytes, type) => {
    const registry = await start({ referrers: false });
    const store = open(registry.host);
    const subject = await push(store, subjectBytes);
    const before = registry.seed('ns/app', bytes, type, fallbackTag(subject.digest));
    await expect(push(store, referrerBytes(subject, 'ours'))).rejects.toMatchObject({ code: 'OCI_MANIFEST' });
    await expect(listAll(store.referrers(subject.digest))).rejects.toMatchObject({ code: 'OCI_MANIFEST' });
    expect(registry.repository('ns/app').tags.get(fallbackTag(subject.digest))).toBe(before);
  });

  it.each([
    ['400', lies.failing(/referrers/, 1000, 400)],
    ['404', lies.failing(/referrers/, 1000, 404)],
    ['405', lies.failing(/referrers/, 1000, 405)],
    ['406', lies.failing(/referrers/, 1000, 406)],
    ['501', lies.failing(/referrers/, 1000, 501)],
    ['a web page', lies.otherContent(/referrers/, '<html>', 'text/html')],
    ['an answer of another type', lies.otherContent(/referrers/, '{}', 'application/json')],
  ])('is read where the API gives %s', async (_, lie) => {
    const registry = await start();
    registry.lie = lie;
    const store = open(registry.host);
    const subject = await push(store, subjectBytes);
    await push(store, referrerBytes(subject, 'a'));
    expect(await namesOf(store, subject)).toEqual(['a']);
  });

  it.each([401, 403, 500, 503])('is not read where the API gives %i: that is no answer', async (status) => {
    const registry = await start();
    registry.lie = lies.failing(/referrers/, 1000, status);
    await expect(
      listAll(open(registry.host, { patience: { attempts: 1 } }).referrers(digestOf(subjectBytes))),
    ).rejects.toMatchObject({ status });
  });

  it('can be written while a list has something in it that was deleted', async () => {
    const registry = await start({ referrers: false });
    const store = open(registry.host);
    const subject = await push(store, subjectBytes);
    const gone = await push(store, referrerBytes(subject, 'gone'));
    await push(store, referrerBytes(subject, 'kept'));
    registry.repository('ns/app').manifests.delete(gone.digest);
    // As docker-registry does: it takes no list of what it does not have.
    registry.lie = ({ method, path, body }, response) => {
      if (method !== 'PUT' || !path.includes(fallbackTag(subject.digest))) return false;
      const list = parseManifest(body, ociIndex);
      const known = registry.repository('ns/app').manifests;
      if (list.kind === 'index' && list.manifests.every(({ digest }) => known.has(digest))) return false;
      response.writeHead(400).end();
      return true;
    };
    await push(store, referrerBytes(subject, 'new'));
    expect(await namesOf(store, subject)).toEqual(['kept', 'new']);
  });
});

describe('writers at the same time', () => {
  const manyWriters = async (host: string, count: number): Promise<void> => {
    await open(host).putBlob(emptyConfig.bytes);
    const subject = await push(open(host), subjectBytes, 'subject');
    const names = Array.from({ length: count }, (_, i) => `writer ${i}`);
    await Promise.all(names.map((name, i) => push(asStranger(host, `w${i}`), referrerBytes(subject, name))));
    expect(await namesOf(open(host), subject)).toEqual(names);
  };

  it.each([
    ['heeds ETags', { etags: true }],
    ['takes the last one', {}],
    ['says OCI-Subject without having the API', { saysSubject: true }],
  ])('lose nothing at a registry that %s', async (_, options) => {
    const registry = await start({ referrers: false, ...options });
    // Between reading and writing there is time for others.
    registry.lie = async ({ method, path }) => {
      if (path.includes('/manifests/sha256-')) await new Promise((done) => setTimeout(done, method === 'PUT' ? 30 : 5));
      return false;
    };
    await manyWriters(registry.host, 5);
  });

  it.skipIf(!hasDockerRegistry)("lose nothing at Debian's docker-registry", async () => {
    const registry = await startDockerRegistry();
    closers.push(() => registry.close());
    await manyWriters(registry.host, 5);
  });

  it.skipIf(!hasDockerRegistry)("one adds and one deletes at Debian's docker-registry", async () => {
    const registry = await startDockerRegistry();
    closers.push(() => registry.close());
    await open(registry.host).putBlob(emptyConfig.bytes);
    const subject = await push(open(registry.host), subjectBytes, 'subject');
    const old = await push(open(registry.host), referrerBytes(subject, 'old'));
    await Promise.all([
      asStranger(registry.host, 'a').deleteManifest(old.digest),
      push(asStranger(registry.host, 'b'), referrerBytes(subject, 'new')),
    ]);
    expect(await namesOf(open(registry.host), subject)).toEqual(['new']);
  });

  it('write again what was lost between their writing and their second look', async () => {
    const registry = await start({ referrers: false });
    const store = open(registry.host);
    const subject = await push(store, subjectBytes);
    const tag = fallbackTag(subject.digest);
    let overwrites = 2;
    const patience = {
      // While we wait, somebody writes a list without us.
      sleep: async () => {
        if (overwrites-- > 0)
          registry.seed(
            'ns/app',
            encodeUtf8(`{"schemaVersion":2,"mediaType":"${ociIndex}","manifests":[]}`),
            ociIndex,
            tag,
          );
      },
    };
    await push(open(registry.host, { patience }), referrerBytes(subject, 'ours'));
    expect(await namesOf(store, subject)).toEqual(['ours']);
    expect(registry.asked.filter(({ method, path }) => method === 'PUT' && path.includes(tag))).toHaveLength(3);
  });

  it('try again when the registry says that the list has changed', async () => {
    const registry = await start({ referrers: false, etags: true });
    const store = open(registry.host);
    const subject = await push(store, subjectBytes);
    await push(store, referrerBytes(subject, 'first'));
    let races = 2;
    registry.lie = ({ method, path, headers }) => {
      if (method === 'PUT' && path.includes(fallbackTag(subject.digest)) && races-- > 0) {
        expect(headers['if-match']).toMatch(/^"sha256:/);
        const { tags, manifests } = registry.repository('ns/app');
        const present = manifests.get(tags.get(fallbackTag(subject.digest)) ?? '')?.bytes ?? new Uint8Array();
        registry.seed(
          'ns/app',
          encodeUtf8(`${Buffer.from(present).toString()} `),
          ociIndex,
          fallbackTag(subject.digest),
        );
      }
      return false;
    };
    await push(store, referrerBytes(subject, 'second'));
    expect(await namesOf(store, subject)).toEqual(['first', 'second']);
  });

  it('give up when others always win', async () => {
    const registry = await start({ referrers: false });
    const subject = await push(open(registry.host), subjectBytes);
    registry.lie = ({ method, path }, response) => {
      if (method !== 'PUT' || !path.includes(fallbackTag(subject.digest))) return false;
      response.writeHead(412).end();
      return true;
    };
    const store = open(registry.host, { patience: { sleep: async () => undefined } });
    await expect(push(store, referrerBytes(subject, 'ours'))).rejects.toMatchObject({ code: 'OCI_CONFLICT' });
  });
});

describe('a list of referrers', () => {
  it('comes in pages, and is filtered by us too', async () => {
    for (const filters of [true, false]) {
      const registry = await start({ pageSize: 2, filters });
      const store = open(registry.host);
      const subject = await push(store, subjectBytes);
      for (let i = 0; i < 7; i++)
        await push(store, referrerBytes(subject, `${i}`, i % 2 === 0 ? 'application/even' : 'application/odd'));
      const even = await listAll(store.referrers(subject.digest, { artifactType: 'application/even' }));
      expect(even.map(({ annotations }) => annotations?.['name'])).toEqual(['0', '2', '4', '6']);
      expect(await namesOf(store, subject)).toHaveLength(7);
    }
  });

  it('does not name anything twice', async () => {
    const registry = await start();
    const one = { mediaType: ociManifest, digest: digestOf(encodeUtf8('x')), size: 1 };
    registry.lie = lies.referrers([one, { ...one, size: 2 }, one]);
    expect(await listAll(open(registry.host).referrers(digestOf(subjectBytes)))).toEqual([one]);
  });

  it('of more than the limit is refused', async () => {
    const registry = await start();
    registry.lie = lies.referrers(
      Array.from({ length: 1000 }, (_, i) => ({
        mediaType: ociManifest,
        digest: digestOf(encodeUtf8(`${i}`)),
        size: 1,
      })),
    );
    expect(await listAll(open(registry.host).referrers(digestOf(subjectBytes)))).toHaveLength(1000);
    const limits = { referrers: 999 };
    await expect(listAll(open(registry.host, { limits }).referrers(digestOf(subjectBytes)))).rejects.toMatchObject({
      code: 'OCI_LIMIT',
    });
  });

  it.each<[string, (subject: Descriptor, other: Descriptor) => Uint8Array]>([
    ['for another subject', (_, other) => referrerBytes(other, 'for another')],
    ['for nobody', () => imageBytes('no subject')],
  ])('may have something in it that is %s, which is not taken for one', async (_, make) => {
    const registry = await start();
    const store = open(registry.host);
    const subject = await push(store, subjectBytes);
    const foreign = await push(store, make(subject, await push(store, imageBytes('other'))));
    const own = await push(store, referrerBytes(subject, 'own'));
    registry.lie = lies.referrers([foreign, own]);
    const [first, second] = await listAll(store.referrers(subject.digest));
    await expect(readReferrer(store, subject.digest, first ?? own)).rejects.toMatchObject({ code: 'OCI_SUBJECT' });
    await expect(readReferrer(store, subject.digest, second ?? foreign)).resolves.toMatchObject({ descriptor: own });
  });
});
