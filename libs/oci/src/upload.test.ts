import { afterEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { lies, startLyingRegistry, type Lie, type LyingRegistry } from '../../../test/world/lying-registry.js';
import type { TestRegistryOptions } from '../../../test/world/registry.js';
import { content } from '../testing/store-contract.js';
import { openRegistry, parseReference, type RegistryOptions, type RegistryStore } from './index.js';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
const start = async (options: TestRegistryOptions = {}): Promise<LyingRegistry> => {
  const registry = await startLyingRegistry(options);
  closers.push(() => registry.close());
  return registry;
};
const open = (registry: LyingRegistry, more: Partial<RegistryOptions> = {}): RegistryStore => {
  const store = openRegistry({
    repository: parseReference(`${registry.host}/ns/app`),
    limits: { chunkBytes: 400_000 },
    patience: { sleep: async () => undefined },
    ...more,
  });
  closers.push(() => store.close());
  return store;
};
const requests = (registry: LyingRegistry) =>
  registry.asked.map(({ method, headers }) => (method === 'PATCH' ? `PATCH ${headers['content-range']}` : method));
const large = content('large', 1_000_000);
const isThere = (registry: LyingRegistry) =>
  registry.repository('ns/app').blobs.get(large.descriptor.digest)?.length === 1_000_000;

describe('uploads', () => {
  it('go in one request when they are small, and in chunks when they are large', async () => {
    const registry = await start();
    await open(registry).putBlob(encodeUtf8('small'));
    expect(requests(registry)).toEqual(['HEAD', 'POST', 'PUT']);
    registry.asked.length = 0;
    await open(registry).putBlob(large);
    expect(requests(registry)).toEqual([
      'HEAD',
      'POST',
      'PATCH 0-399999',
      'PATCH 400000-799999',
      'PATCH 800000-999999',
      'PUT',
    ]);
    expect(isThere(registry)).toBe(true);
  });

  it('go in chunks as large as the registry wants', async () => {
    const registry = await start({ minChunkBytes: 600_000 });
    await open(registry).putBlob(large);
    expect(requests(registry)).toEqual(['HEAD', 'POST', 'PATCH 0-599999', 'PATCH 600000-999999', 'PUT']);
  });

  it('are not made of what is there already', async () => {
    const registry = await start();
    await open(registry).putBlob(large);
    registry.asked.length = 0;
    await open(registry).putBlob(large);
    expect(requests(registry)).toEqual(['HEAD']);
  });

  it('are not needed for what another repository has', async () => {
    const registry = await start();
    await open(registry).sibling('ns/base').putBlob(large);
    registry.asked.length = 0;
    await open(registry).putBlob(large, { mountFrom: 'ns/base' });
    expect(requests(registry)).toEqual(['HEAD', 'POST']);
    expect(isThere(registry)).toBe(true);
  });

  it('are made when the other repository has it not', async () => {
    const registry = await start();
    await open(registry).putBlob(large, { mountFrom: 'ns/base' });
    expect(isThere(registry)).toBe(true);
  });

  it('go on where the registry is, after a connection broke', async () => {
    const registry = await start();
    let breaks = 1;
    registry.lie = (asked, response) => {
      if (asked.method !== 'PATCH' || !asked.headers['content-range']?.startsWith('400000') || breaks-- <= 0)
        return false;
      // It got a part of the chunk.
      const uploads = registry.repository('ns/app').uploads;
      for (const [id, present] of uploads) uploads.set(id, Buffer.concat([present, asked.body.subarray(0, 123_456)]));
      response.destroy();
      return true;
    };
    await open(registry).putBlob(large);
    expect(isThere(registry)).toBe(true);
    expect(requests(registry)).toEqual([
      ...[
        'HEAD',
        'POST',
        'PATCH 0-399999',
        'PATCH 400000-799999',
        'GET',
        'PATCH 523456-799999',
        'PATCH 800000-999999',
        'PUT',
      ],
    ]);
  });

  it.each<[string, () => Lie]>([
    ['fails once at each request', () => lies.all(...['POST', 'PATCH', 'PUT'].map((method) => once(method, 503)))],
    ['forgets the upload once', () => once('PATCH', 404)],
    ['forgets it at the end', () => once('PUT', 404)],
    ['closes the connection at the end', () => once('PUT', 0)],
  ])('come to an end at a registry that %s', async (_, lie) => {
    const registry = await start();
    registry.lie = lie();
    await open(registry).putBlob(large);
    expect(isThere(registry)).toBe(true);
  });

  const once = (method: string, status: number): Lie => {
    const failing = lies.failing(/./, 1, status);
    return (asked, response) => asked.method === method && failing(asked, response);
  };

  it('end at a registry that never takes them', async () => {
    const registry = await start();
    registry.lie = ({ method }, response) => {
      if (method !== 'PATCH') return false;
      response.writeHead(503).end();
      return true;
    };
    await expect(open(registry).putBlob(large)).rejects.toMatchObject({ code: 'OCI_UNAVAILABLE' });
    expect(registry.asked.length).toBeLessThan(60);
  });

  it('are cancelled when the content is wrong', async () => {
    const registry = await start();
    const wrong = { descriptor: { ...large.descriptor, size: 999_999 }, stream: large.stream };
    await expect(open(registry).putBlob(wrong)).rejects.toMatchObject({ code: 'OCI_SIZE' });
    expect(requests(registry).at(-1)).toBe('DELETE');
    expect(registry.repository('ns/app').uploads.size).toBe(0);
  });

  it.each([
    ['nowhere', '', 'OCI_RESPONSE'],
    ['another host', 'http://localhost:1/upload', 'OCI_REDIRECT'],
    ['another scheme', 'https://127.0.0.1/upload', 'OCI_REDIRECT'],
    ['a password', 'http://a:b@HOST/upload', 'OCI_REDIRECT'],
  ])('do not go to %s', async (_, location, code) => {
    const registry = await start();
    registry.lie = ({ method }, response) => {
      if (method !== 'POST') return false;
      response.writeHead(202, location === '' ? {} : { location: location.replace('HOST', registry.host) }).end();
      return true;
    };
    await expect(open(registry).putBlob(large)).rejects.toMatchObject({ code });
    expect(requests(registry)).toEqual(['HEAD', 'POST']);
  });

  it('end when the registry claims to have bytes that were never sent', async () => {
    const registry = await start();
    registry.lie = ({ method }, response) => {
      if (method === 'PATCH') response.writeHead(416).end();
      else if (method === 'GET') response.writeHead(204, { location: '/x', range: '0-9999999' }).end();
      else return false;
      return true;
    };
    await expect(open(registry).putBlob(large)).rejects.toMatchObject({ code: 'OCI_RESPONSE' });
  });
});
