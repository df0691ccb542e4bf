import { afterEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { makeTls } from '../../identity/testing/issuer-server.js';
import { lies, startLyingRegistry, type LyingRegistry } from '../../../test/world/lying-registry.js';
import type { TestRegistryOptions } from '../../../test/world/registry.js';
import { content, imageBytes, listAll } from '../testing/store-contract.js';
import { isInside, isLoopback, isOwnMachine } from './network.js';
import {
  digestOf,
  mediaTypes,
  openRegistry,
  parseReference,
  type RegistryOptions,
  type RegistryStore,
} from './index.js';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
const start = async (options: TestRegistryOptions = {}): Promise<LyingRegistry> => {
  const registry = await startLyingRegistry(options);
  closers.push(() => registry.close());
  registry.seed('ns/app', imageBytes('x'), mediaTypes.ociManifest, 'v1');
  return registry;
};
const pauses: number[] = [];
const open = (registry: LyingRegistry, more: Partial<RegistryOptions> = {}): RegistryStore => {
  pauses.length = 0;
  const store = openRegistry({
    repository: parseReference(`${registry.host}/ns/app`),
    credentials: registry.credentials,
    ...more,
    patience: { sleep: async (ms) => void pauses.push(ms), jitter: () => 0.5, ...more.patience },
  });
  closers.push(() => store.close());
  return store;
};
const lookup = async (): Promise<readonly string[]> => ['127.0.0.1'];
const blob = encodeUtf8('a blob');
const descriptor = { mediaType: 'text/plain', digest: digestOf(blob), size: blob.length };

describe('redirects', () => {
  it('of a blob may lead to another host', async () => {
    const storage = await start();
    const registry = await start({ redirectBlobs: () => `${storage.url}/bucket/blob?signed=x` });
    registry.repository('ns/app').blobs.set(descriptor.digest, blob);
    storage.lie = lies.otherContent(/^\/bucket\/blob\?signed=x$/, blob);
    expect(await open(registry).blob(descriptor)).toEqual(blob);
  });

  it('are followed five times, not six', async () => {
    const registry = await start();
    const hop = lies.redirect(/blobs\/|hop/, ({ path }) => `/hop${Number(/hop(\d)/.exec(path)?.[1] ?? 0) + 1}`);
    registry.lie = lies.all(lies.otherContent(/hop5/, blob), hop);
    expect(await open(registry).blob(descriptor)).toEqual(blob);
    registry.lie = lies.all(lies.otherContent(/hop6/, blob), hop);
    await expect(open(registry).blob(descriptor)).rejects.toMatchObject({
      code: 'OCI_REDIRECT',
      message: expect.stringContaining('6th') as string,
    });
  });

  it.each<[string, RegExp, string, (store: RegistryStore) => Promise<unknown>]>([
    ['of a list of tags', /tags/, 'http://localhost:1/', (store) => listAll(store.tags())],
    [
      'of a list of referrers',
      /referrers/,
      'http://localhost:1/',
      (store) => listAll(store.referrers(descriptor.digest)),
    ],
    ['of a blob to nowhere', /blobs/, 'http://', (store) => store.blob(descriptor)],
    ['of a blob to a file', /blobs/, 'file:///etc/passwd', (store) => store.blob(descriptor)],
    ['of a blob with a password', /blobs/, 'http://a:b@127.0.0.1:1/', (store) => store.blob(descriptor)],
    ['of an upload', /blobs\/uploads/, '/v2/other/blobs/uploads/', (store) => store.putBlob(encodeUtf8('new'))],
    [
      'of a manifest that is written',
      /manifests/,
      '/elsewhere',
      (store) => store.putManifest(imageBytes('y'), mediaTypes.ociManifest),
    ],
  ])('%s are refused', async (_, path, location, act) => {
    const registry = await start();
    registry.lie = lies.redirect(path, () => location);
    await expect(act(open(registry))).rejects.toMatchObject({ code: 'OCI_REDIRECT' });
  });

  it('do not lead from https to http', async () => {
    const tls = await makeTls('registry.example');
    const storage = await start();
    const registry = await start({ tls, name: 'registry.example', redirectBlobs: () => `${storage.url}/x` });
    registry.repository('ns/app').blobs.set(descriptor.digest, blob);
    const store = open(registry, { caPem: tls.root, lookup });
    await expect(store.blob(descriptor)).rejects.toMatchObject({
      code: 'OCI_REDIRECT',
      message: expect.stringContaining('https to http') as string,
    });
    expect(storage.asked).toEqual([]);
  });

  it.each([
    'http://127.0.0.1:1/',
    'http://localhost:1/',
    'http://169.254.169.254/latest/meta-data',
    'http://[::ffff:7f00:1]:1/',
    'http://0:1/',
  ])('do not lead from a host elsewhere to this machine: %s', async (location) => {
    const registry = await start({ name: 'registry.example' });
    registry.lie = lies.redirect(/blobs/, () => location);
    const store = open(registry, { plainHttp: true, lookup });
    await expect(store.blob(descriptor)).rejects.toMatchObject({ code: 'OCI_REDIRECT' });
  });
});

describe('TLS', () => {
  it('is spoken unless the host is this machine', async () => {
    const registry = await start({ name: 'registry.example' });
    await expect(open(registry, { lookup, patience: { attempts: 1 } }).resolve('v1')).rejects.toMatchObject({
      code: 'OCI_NETWORK',
    });
    await expect(open(registry, { lookup, plainHttp: true }).resolve('v1')).resolves.toBeDefined();
    const local = await start();
    await expect(open(local, { plainHttp: false, patience: { attempts: 1 } }).resolve('v1')).rejects.toMatchObject({
      code: 'OCI_NETWORK',
    });
    await expect(open(local).resolve('v1')).resolves.toBeDefined();
  });

  it('believes the roots that are given, for the name that is meant', async () => {
    const tls = await makeTls('registry.example');
    const registry = await start({ tls, name: 'registry.example' });
    const attempt = (more: Partial<RegistryOptions>) =>
      open(registry, { lookup, patience: { attempts: 1 }, ...more }).resolve('v1');
    await expect(attempt({ caPem: tls.root })).resolves.toBeDefined();
    await expect(attempt({})).rejects.toMatchObject({ code: 'OCI_NETWORK' });
    await expect(attempt({ insecureTls: true })).resolves.toBeDefined();
    await expect(attempt({ caPem: (await makeTls('registry.example')).root })).rejects.toMatchObject({
      code: 'OCI_NETWORK',
    });
    await expect(attempt({ caPem: tls.root, serverName: 'other.example' })).rejects.toMatchObject({
      code: 'OCI_NETWORK',
    });
  });

  it('can believe a certificate for another name, if told which', async () => {
    const tls = await makeTls('inner.example');
    const registry = await start({ tls, name: 'registry.example' });
    await expect(
      open(registry, { lookup, caPem: tls.root, serverName: 'inner.example' }).resolve('v1'),
    ).resolves.toBeDefined();
  });

  it('shows a client certificate to the registry, not to whoever that redirects to; neither are exceptions for them', async () => {
    const tls = await makeTls('registry.example');
    const storageTls = await makeTls('storage.example');
    const seen: boolean[] = [];
    const storage = await start({ tls: { ...storageTls, wantsClient: true }, name: 'storage.example' });
    const registry = await start({
      tls: { ...tls, wantsClient: true },
      name: 'registry.example',
      redirectBlobs: () => `${storage.url}/x`,
    });
    registry.repository('ns/app').blobs.set(descriptor.digest, blob);
    const note: LyingRegistry['lie'] = (_, response) => {
      const { socket } = response as { socket: { getPeerCertificate?: () => object } | null };
      seen.push(Object.keys(socket?.getPeerCertificate?.() ?? {}).length > 0);
      return false;
    };
    registry.lie = note;
    storage.lie = lies.all(note, lies.otherContent(/./, blob));
    const client = { certPem: tls.cert, keyPem: tls.key };
    expect(await open(registry, { lookup, caPem: tls.root + storageTls.root, ...client }).blob(descriptor)).toEqual(
      blob,
    );
    expect(seen).toEqual([true, false]);
    const insecure = open(registry, { lookup, insecureTls: true, ...client, patience: { attempts: 1 } });
    await expect(insecure.blob(descriptor)).rejects.toMatchObject({ code: 'OCI_NETWORK' });
  });

  it('refuses certificates that are none', async () => {
    const registry = await start();
    for (const wrong of [{ certPem: 'x', keyPem: 'y' }, { caPem: 'x' }, { caPem: '' }]) {
      expect(() => open(registry, wrong)).toThrow(expect.objectContaining({ code: 'OCI_CREDENTIALS' }) as Error);
    }
  });
});

describe('patience', () => {
  it.each([429, 500, 502, 503, 504, 0])('tries again after %i, a little later each time', async (status) => {
    const registry = await start();
    registry.lie = lies.failing(/manifests/, 2, status);
    await expect(open(registry).resolve('v1')).resolves.toBeDefined();
    expect(pauses).toEqual([250, 500]);
  });

  it('gives up after four attempts', async () => {
    const registry = await start();
    registry.lie = lies.failing(/manifests/, 100);
    await expect(open(registry).resolve('v1')).rejects.toMatchObject({ code: 'OCI_UNAVAILABLE', status: 503 });
    expect(registry.asked).toHaveLength(4);
  });

  it.each([400, 403, 404, 418, 501])('does not try again after %i', async (status) => {
    const registry = await start();
    registry.lie = lies.failing(/manifests/, 100, status);
    await expect(open(registry).resolve('v1')).rejects.toMatchObject({ status });
    expect(registry.asked).toHaveLength(1);
  });

  it('waits as long as it is asked to, within reason', async () => {
    const registry = await start();
    const nowMs = Date.parse('2026-01-01T00:00:00Z');
    for (const [value, ms] of [
      ['7', 7000],
      ['Thu, 01 Jan 2026 00:00:09 GMT', 9000],
      ['999999', 30_000],
      ['soon', 250],
    ] as const) {
      registry.lie = lies.failing(/manifests/, 1, 429, { 'retry-after': value });
      await open(registry, { patience: { now: () => nowMs } }).resolve('v1');
      expect(pauses).toEqual([ms]);
    }
  });

  it('ends when nothing comes: neither a head nor the rest of a body', async () => {
    const registry = await start();
    const patience = { attempts: 1, idleMs: 300, timeoutMs: 3000 };
    registry.lie = () => true;
    await expect(open(registry, { patience }).resolve('v1')).rejects.toMatchObject({ code: 'OCI_NETWORK' });
    registry.lie = (_, response) => {
      response.writeHead(200, { 'content-type': mediaTypes.ociManifest }).write('{');
      return true;
    };
    await expect(open(registry, { patience }).resolve('v1')).rejects.toMatchObject({ code: 'OCI_NETWORK' });
  });

  it('ends when a body drips', async () => {
    const registry = await start();
    registry.lie = (_, response) => {
      response.writeHead(200, { 'content-type': mediaTypes.ociManifest });
      const drip = setInterval(() => response.write(' '), 50);
      response.on('close', () => clearInterval(drip));
      return true;
    };
    const started = Date.now();
    await expect(open(registry, { patience: { attempts: 1, timeoutMs: 700 } }).resolve('v1')).rejects.toMatchObject({
      code: 'OCI_NETWORK',
      message: expect.stringContaining('too long') as string,
    });
    expect(Date.now() - started).toBeLessThan(10_000);
  });

  it('ends when it is told to', async () => {
    const registry = await start();
    registry.lie = () => true;
    const stop = new AbortController();
    const work = open(registry, { signal: stop.signal }).resolve('v1');
    setTimeout(() => stop.abort(), 50);
    await expect(work).rejects.toMatchObject({
      code: 'OCI_NETWORK',
      message: expect.stringContaining('called off') as string,
      cause: { name: 'AbortError' },
    });
  });

  it('ends between two tries too, and leaves no timer behind', async () => {
    const registry = await start();
    registry.lie = lies.failing(/manifests/, 100, 503, { 'retry-after': '30' });
    const store = openRegistry({
      repository: parseReference(`${registry.host}/ns/app`),
      signal: AbortSignal.timeout(200),
    });
    const timersBefore = process.getActiveResourcesInfo().filter((one) => one === 'Timeout').length;
    const started = Date.now();
    await expect(store.resolve('v1')).rejects.toMatchObject({
      code: 'OCI_NETWORK',
      message: expect.stringContaining('the time that there was for all of it is over') as string,
    });
    expect(Date.now() - started).toBeLessThan(10_000);
    expect(registry.asked).toHaveLength(1);
    await store.close();
    const timersAfter = process.getActiveResourcesInfo().filter((one) => one === 'Timeout').length;
    expect(timersAfter).toBeLessThanOrEqual(timersBefore);
  });

  it('refuses a head of 40 kB', async () => {
    const registry = await start();
    registry.lie = lies.otherContent(/./, '', undefined, { 'x-long': 'a'.repeat(40_000) });
    await expect(open(registry).resolve('v1')).rejects.toMatchObject({ code: 'OCI_LIMIT' });
  });

  it('goes on with a blob where the connection broke', async () => {
    const registry = await start();
    const { descriptor: large, stream } = content('broken', 1_000_000);
    await open(registry).putBlob({ descriptor: large, stream });
    const whole = registry.repository('ns/app').blobs.get(large.digest) ?? new Uint8Array();
    let breaks = 2;
    const ranges: (string | undefined)[] = [];
    registry.lie = ({ method, path, headers }, response) => {
      if (method !== 'GET' || !path.includes('/blobs/sha256')) return false;
      ranges.push(headers.range);
      if (breaks-- <= 0) return false;
      const from = Number(/\d+/.exec(headers.range ?? '')?.[0] ?? 0);
      response.writeHead(from === 0 ? 200 : 206, from === 0 ? {} : { 'content-range': `bytes ${from}-999999/1000000` });
      response.write(whole.subarray(from, from + 100_000), () => setTimeout(() => response.destroy(), 50));
      return true;
    };
    expect(await open(registry).blob(large)).toHaveLength(1_000_000);
    expect(ranges).toEqual([undefined, 'bytes=100000-', 'bytes=200000-']);
  });

  it('takes nothing that goes on from elsewhere', async () => {
    const registry = await start();
    let first = true;
    registry.lie = ({ path }, response) => {
      if (!path.includes('/blobs/sha256')) return false;
      if (first) response.writeHead(200).write(blob.subarray(0, 3), () => setTimeout(() => response.destroy(), 50));
      else response.writeHead(206, { 'content-range': 'bytes 2-5/6' }).end(blob.subarray(2));
      first = false;
      return true;
    };
    await expect(open(registry).blob(descriptor)).rejects.toMatchObject({ code: 'OCI_REFUSED' });
  });

  it('reads a blob from its beginning again where ranges are not known', async () => {
    const registry = await start();
    let first = true;
    registry.lie = ({ path }, response) => {
      if (!path.includes('/blobs/sha256')) return false;
      if (first) response.writeHead(200).write(blob.subarray(0, 3), () => setTimeout(() => response.destroy(), 50));
      else response.writeHead(200).end(blob);
      first = false;
      return true;
    };
    expect(await open(registry).blob(descriptor)).toEqual(blob);
  });
});

describe('messages', () => {
  it("quote the registry's words, without what could drive a terminal or be a token", async () => {
    const registry = await start();
    const body = JSON.stringify({
      errors: [{ code: 'DENIED', message: `no\u001b[31m for eyJhbGciOi.eyJzdWIi.c2ln\n${'x'.repeat(500)}` }],
    });
    registry.lie = (_, response) => {
      response.writeHead(403).end(body);
      return true;
    };
    const error = await open(registry)
      .resolve('v1')
      .catch((one: unknown) => one);
    expect(error).toMatchObject({ code: 'OCI_DENIED', status: 403 });
    expect((error as Error).message).toMatch(/answered 403, DENIED: no \[31m for \(token removed\) x{100,200}…$/);
  });

  it('do without them when there is too much, or nothing', async () => {
    const registry = await start();
    for (const body of ['<html>', '{}', '{"errors":[]}', '{"errors":[{"message":1}]}', 'x'.repeat(1e6)]) {
      registry.lie = (_, response) => {
        response.writeHead(400).end(body);
        return true;
      };
      await expect(open(registry).resolve('v1')).rejects.toThrow(/answered 400$/);
    }
  });
});

describe('lists', () => {
  it('of tags come in pages', async () => {
    const registry = await start({ pageSize: 3 });
    for (let i = 10; i < 20; i++) registry.seed('ns/app', imageBytes('x'), mediaTypes.ociManifest, `t${i}`);
    expect(await listAll(open(registry).tags())).toEqual([...Array.from({ length: 10 }, (_, i) => `t${i + 10}`), 'v1']);
    await expect(listAll(open(registry, { limits: { tags: 10 } }).tags())).rejects.toMatchObject({ code: 'OCI_LIMIT' });
  });

  it('do not lead elsewhere', async () => {
    const registry = await start();
    const link = (target: string) =>
      lies.otherContent(/tags/, '{"tags":["a"]}', 'application/json', { link: `<${target}>; rel="next"` });
    for (const target of [
      'http://127.0.0.1:1/v2/ns/app/tags/list',
      '//evil.example/',
      'https://evil.example/x',
      `http://a:b@${registry.host}/`,
    ]) {
      registry.lie = link(target);
      await expect(listAll(open(registry).tags())).rejects.toMatchObject({ code: 'OCI_REDIRECT' });
    }
  });

  it('end somewhere', async () => {
    const registry = await start();
    registry.lie = lies.endlessPages();
    const limits = { pages: 20 };
    await expect(listAll(open(registry, { limits }).tags())).rejects.toMatchObject({ code: 'OCI_LIMIT' });
    await expect(listAll(open(registry, { limits }).referrers(descriptor.digest))).rejects.toMatchObject({
      code: 'OCI_LIMIT',
    });
    expect(registry.asked).toHaveLength(40);
  });

  it.each([['{"tags":{}}'], ['{"tags":[1]}'], ['{"tags":["../x"]}'], ['{"tags":["a\\nb"]}']])(
    'refuses tags like %s',
    async (body) => {
      const registry = await start();
      registry.lie = lies.otherContent(/tags/, body);
      await expect(listAll(open(registry).tags())).rejects.toMatchObject({ code: 'OCI_RESPONSE' });
    },
  );
});

describe('openRegistry()', () => {
  it('opens a repository beside another one', async () => {
    const registry = await start();
    const store = open(registry);
    expect(store.sibling('other/app').name).toBe(`${registry.host}/other/app`);
    expect(() => store.sibling('../app')).toThrow(expect.objectContaining({ code: 'OCI_REFERENCE' }) as Error);
    await expect(store.putBlob(blob, { mountFrom: 'A' })).rejects.toMatchObject({ code: 'OCI_REFERENCE' });
  });

  it('asks nothing twice that cannot have changed', async () => {
    const registry = await start();
    const store = open(registry);
    const found = await store.resolve('v1');
    await store.manifest(found);
    await store.manifest(found.digest);
    expect(registry.asked).toHaveLength(1);
    await store.resolve('v1');
    await store.resolve(found.digest);
    expect(registry.asked).toHaveLength(3);
    for (let i = 0; i < 20; i++)
      await store.resolve(registry.seed('ns/app', imageBytes(`${i}`), mediaTypes.ociManifest));
    await store.manifest(found);
    expect(registry.asked).toHaveLength(24);
  });

  it('says when it was closed', async () => {
    const registry = await start();
    const store = open(registry, { patience: { attempts: 1 } });
    await store.close();
    await expect(store.resolve('v1')).rejects.toMatchObject({ code: 'OCI_NETWORK' });
  });

  it('says when nobody is there', async () => {
    const registry = await start();
    await registry.close();
    await expect(open(registry).resolve('v1')).rejects.toMatchObject({
      code: 'OCI_NETWORK',
      message: expect.stringMatching(/: ECONNREFUSED$/) as string,
    });
    expect(pauses).toHaveLength(3);
  });
});

describe('addresses', () => {
  it('are told apart', () => {
    expect(['localhost', 'a.localhost', '127.0.0.9', '[::1]', '[::ffff:7f00:1]'].every(isLoopback)).toBe(true);
    expect(['localhost.evil', 'notlocalhost', '10.0.0.1', '[::2]', '128.0.0.1'].some(isLoopback)).toBe(false);
    expect(['169.254.169.254', '0.0.0.0', '[fe80::1]', '[fd00:ec2::254]'].every(isOwnMachine)).toBe(true);
    expect(['10.0.0.1', '172.31.0.1', '192.168.1.1', '[fd12::1]', '100.64.0.1', '[::ffff:a00:1]'].every(isInside)).toBe(
      true,
    );
    expect(['172.32.0.1', '8.8.8.8', '[2001:db8::1]', 'registry.example'].some(isInside)).toBe(false);
  });
});
