import { afterEach, describe, expect, it } from 'vitest';
import { lies, startLyingRegistry, type LyingRegistry } from '../../../test/world/lying-registry.js';
import {
  startTestRegistry,
  type AskedRequest,
  type TestRegistry,
  type TestRegistryOptions,
} from '../../../test/world/registry.js';
import { imageBytes, referrerBytes } from '../testing/store-contract.js';
import { mergeScopes } from './auth.js';
import {
  credentialsFor,
  mediaTypes,
  openRegistry,
  parseReference,
  type Credential,
  type Credentials,
  type RegistryOptions,
  type RegistryStore,
} from './index.js';

const open = <T extends TestRegistry>(
  registry: T,
  more: Partial<RegistryOptions> = {},
  name = 'ns/app',
): RegistryStore => {
  const store = openRegistry({
    repository: parseReference(`${registry.host}/${name}`),
    credentials: registry.credentials,
    patience: { attempts: 2, sleep: async () => undefined, ...more.patience },
    ...more,
  });
  closers.push(() => store.close());
  return store;
};
const closers: (() => Promise<void>)[] = [];
const start = async (options: TestRegistryOptions): Promise<LyingRegistry> => {
  const registry = await startLyingRegistry(options);
  closers.push(() => registry.close());
  return registry;
};
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const paths = (registry: TestRegistry) => registry.asked.map(({ method, path }) => `${method} ${path.split('?')[0]}`);
const seed = (registry: TestRegistry) => void registry.seed('ns/app', imageBytes('x'), mediaTypes.ociManifest, 'v1');
const authorizations = (asked: readonly AskedRequest[]) => asked.map(({ headers }) => headers.authorization);

describe('Basic', () => {
  it('answers a challenge, and then does not wait for another one', async () => {
    const registry = await start({ auth: 'basic' });
    seed(registry);
    const store = open(registry);
    await store.resolve('v1');
    await store.resolve('v1');
    expect(authorizations(registry.asked)).toEqual([
      undefined,
      ...Array<string>(2).fill(`Basic ${Buffer.from('alice:correct horse').toString('base64')}`),
    ]);
  });

  it('gives up after one try with a wrong password', async () => {
    const registry = await start({ auth: 'basic' });
    const credentials = credentialsFor(registry.host, { kind: 'basic', username: 'alice', password: 'wrong' });
    const error = await open(registry, { credentials })
      .resolve('v1')
      .catch((one: unknown) => one);
    expect(error).toMatchObject({ code: 'OCI_UNAUTHORIZED', status: 401 });
    expect(String(error)).not.toMatch(/wrong/);
    expect(registry.asked).toHaveLength(2);
  });

  it('sends nothing when there are no credentials, or only those of others', async () => {
    const registry = await start({ auth: 'basic' });
    const credentials = credentialsFor(`${registry.host}0`.replace(/:.*/, ':1'), {
      kind: 'basic',
      username: 'a',
      password: 'b',
    });
    await expect(open(registry, { credentials }).resolve('v1')).rejects.toMatchObject({ code: 'OCI_UNAUTHORIZED' });
    expect(authorizations(registry.asked)).toEqual([undefined]);
  });
});

describe('Bearer', () => {
  it('gets a token for what is asked, and uses it until it ends', async () => {
    const registry = await start({ auth: 'bearer', tokenSeconds: 100 });
    seed(registry);
    let nowMs = 0;
    const patience = { now: () => nowMs, attempts: 1 };
    const store = open(registry, { patience });
    await store.resolve('v1');
    expect(paths(registry)).toEqual(['GET /v2/ns/app/manifests/v1', 'GET /token', 'GET /v2/ns/app/manifests/v1']);
    expect(new URLSearchParams(registry.asked[1]?.path.split('?')[1]).getAll('scope')).toEqual([
      'repository:ns/app:pull',
    ]);
    nowMs = 94_000;
    await store.resolve('v1');
    expect(registry.asked).toHaveLength(4);
    nowMs = 96_000;
    await store.resolve('v1');
    expect(paths(registry).slice(4)).toEqual(['GET /token', 'GET /v2/ns/app/manifests/v1']);
  });

  it('gets another token to write, and one for both repositories to mount', async () => {
    const registry = await start({ auth: 'bearer' });
    const base = open(registry, {}, 'ns/base');
    const descriptor = await base.putBlob(imageBytes('a blob'));
    registry.asked.length = 0;
    await base.sibling('ns/app').putBlob({ descriptor, stream: () => fail() }, { mountFrom: 'ns/base' });
    expect(registry.repository('ns/app').blobs.has(descriptor.digest)).toBe(true);
    const scopes = registry.asked
      .filter(({ path }) => path.startsWith('/token'))
      .map(({ path }) => new URLSearchParams(path.split('?')[1]).getAll('scope'));
    expect(scopes).toEqual([['repository:ns/app:pull'], ['repository:ns/app:pull,push', 'repository:ns/base:pull']]);
  });

  it('asks for the right to delete only to delete', async () => {
    const registry = await start({ auth: 'bearer' });
    const store = open(registry);
    const { descriptor } = await store.putManifest(imageBytes('x'), mediaTypes.ociManifest);
    await store.putManifest(referrerBytes(descriptor, 'r'), mediaTypes.ociManifest);
    expect(registry.asked.some(({ path }) => /delete/.test(decodeURIComponent(path)))).toBe(false);
    await store.deleteManifest(descriptor.digest);
    expect(registry.asked.some(({ path }) => /delete,pull/.test(decodeURIComponent(path)))).toBe(true);
  });

  it('shares one token among requests at the same time', async () => {
    const registry = await start({ auth: 'bearer' });
    seed(registry);
    const store = open(registry);
    await Promise.all(Array.from({ length: 5 }, () => store.resolve('v1')));
    expect(paths(registry).filter((path) => path === 'GET /token')).toHaveLength(1);
  });

  it('gets a new one when the registry no longer takes the old one', async () => {
    const registry = await start({ auth: 'bearer', tokenSeconds: 3600 });
    seed(registry);
    const store = open(registry);
    await store.resolve('v1');
    registry.lie = (({ path, headers }, response) => {
      if (!path.includes('/manifests/') || headers.authorization !== first) return false;
      return lies.challenge(/./, `Bearer realm="${registry.url}/token",service="test registry"`)(
        { path, headers, method: 'GET', body: new Uint8Array() },
        response,
      );
    }) satisfies LyingRegistry['lie'];
    const first = registry.asked[2]?.headers.authorization;
    await store.resolve('v1');
    expect(paths(registry).filter((path) => path === 'GET /token')).toHaveLength(2);
  });

  it('uses an identity token in a POST, and the one that replaces it', async () => {
    const registry = await start({ auth: 'bearer', tokenSeconds: 10 });
    seed(registry);
    let nowMs = 0;
    const credential: Credential = { kind: 'identity-token', token: registry.identityToken };
    const store = open(registry, {
      credentials: credentialsFor(registry.host, credential),
      patience: { now: () => nowMs },
    });
    registry.lie = (asked, response) => {
      if (!asked.path.startsWith('/token') || Buffer.from(asked.body).toString().includes('rotated')) return false;
      response.end('{"access_token":"a-token","refresh_token":"rotated"}');
      return true;
    };
    await expect(store.resolve('v1')).rejects.toMatchObject({ code: 'OCI_UNAUTHORIZED' });
    nowMs = 1e6;
    await expect(store.resolve('v1')).rejects.toMatchObject({ code: 'OCI_UNAUTHORIZED' });
    const forms = registry.asked
      .filter(({ path }) => path === '/token')
      .map(({ body }) => new URLSearchParams(Buffer.from(body).toString()));
    expect(forms.map((form) => form.get('refresh_token'))).toEqual([
      registry.identityToken,
      ...Array<string>(forms.length - 1).fill('rotated'),
    ]);
    expect(Object.fromEntries(forms[0] ?? [])).toMatchObject({
      grant_type: 'refresh_token',
      scope: 'repository:ns/app:pull',
      service: 'test registry',
    });
    expect(registry.asked.every(({ headers }) => !headers.authorization?.includes(registry.identityToken))).toBe(true);
  });

  it('works with an identity token', async () => {
    const registry = await start({ auth: 'bearer' });
    seed(registry);
    const credential: Credential = { kind: 'identity-token', token: registry.identityToken };
    expect(
      await open(registry, { credentials: credentialsFor(registry.host, credential) }).resolve('v1'),
    ).toBeDefined();
  });

  it('sends a registry token as it is, once', async () => {
    const registry = await start({ auth: 'bearer' });
    const credentials = credentialsFor(registry.host, { kind: 'registry-token', token: 'opaque' });
    await expect(open(registry, { credentials }).resolve('v1')).rejects.toMatchObject({ code: 'OCI_UNAUTHORIZED' });
    expect(authorizations(registry.asked)).toEqual([undefined, 'Bearer opaque']);
  });

  it('reads without credentials what everybody may read', async () => {
    const registry = await start({ auth: 'bearer', anonymousPull: true });
    seed(registry);
    const anonymous: Credentials = { find: async () => undefined };
    expect(await open(registry, { credentials: anonymous }).resolve('v1')).toBeDefined();
    await expect(open(registry, { credentials: anonymous }).putBlob(imageBytes('b'))).rejects.toMatchObject({
      code: 'OCI_UNAUTHORIZED',
    });
  });

  it('does not go on forever when nothing is ever enough: a 401 loop', async () => {
    const registry = await start({ auth: 'bearer' });
    let count = 0;
    registry.lie = (asked, response) =>
      lies.challenge(
        /\/v2\//,
        `Bearer realm="${registry.url}/token",service="s",scope="repository:more${count++}:pull"`,
      )(asked, response);
    await expect(open(registry).resolve('v1')).rejects.toMatchObject({ code: 'OCI_UNAUTHORIZED' });
    expect(registry.asked.length).toBeLessThanOrEqual(5);
  });

  it('does not go on forever when a token service sends back to itself', async () => {
    const registry = await start({ auth: 'bearer' });
    registry.lie = lies.redirect(/\/token/, () => `${registry.url}/token`);
    await expect(open(registry).resolve('v1')).rejects.toMatchObject({ code: 'OCI_REDIRECT' });
    expect(registry.asked).toHaveLength(2);
  });

  it.each<[string, string, string]>([
    ['no JSON', 'a token', 'OCI_RESPONSE'],
    ['no token', '{}', 'OCI_RESPONSE'],
    ['a token with a new line', '{"token":"a\\nb"}', 'OCI_RESPONSE'],
    ['a token that is a number', '{"token":1}', 'OCI_RESPONSE'],
    ['a token of 100 kB', `{"token":"${'a'.repeat(100_000)}"}`, 'OCI_RESPONSE'],
    ['a megabyte', `{"token":"a","x":"${'a'.repeat(1_000_000)}"}`, 'OCI_RESPONSE'],
  ])('refuses a token service that gives %s', async (_, body, code) => {
    const registry = await start({ auth: 'bearer' });
    registry.lie = lies.otherContent(/\/token/, body, 'application/json');
    const error = await open(registry)
      .resolve('v1')
      .catch((one: unknown) => one);
    expect(error).toMatchObject({ code });
    expect(String(error)).not.toContain('correct horse');
  });

  it('refuses more scopes than eight', async () => {
    const registry = await start({ auth: 'bearer' });
    const scope = Array.from({ length: 9 }, (_, i) => `repository:r${i}:pull`).join(' ');
    registry.lie = lies.challenge(/\/v2\//, `Bearer realm="${registry.url}/token",scope="${scope}"`);
    await expect(open(registry).resolve('v1')).rejects.toMatchObject({ code: 'OCI_CHALLENGE' });
  });
});

describe('where credentials go', () => {
  const lookup = async (): Promise<readonly string[]> => ['127.0.0.1'];

  // CVE-2026-48501 (cli/cli): an Authorization header went to a host that it was not for.
  it('CVE-2026-48501: only the registry and its token service see them, and no cookies go anywhere', async () => {
    const storage = await start({});
    const tokens = await start({ auth: 'bearer' });
    const registry = await start({ auth: 'bearer', redirectBlobs: (digest) => `${storage.url}/v2/x/blobs/${digest}` });
    // The registry that admits has to know the tokens: they are its own, given at another address.
    registry.options = { ...registry.options, realm: `${tokens.url}/token` };
    tokens.lie = async ({ path, headers }, response) => {
      const answer = await fetch(`${registry.url}${path}`, { headers: { authorization: headers.authorization ?? '' } });
      response.setHeader('set-cookie', 'session=token-service');
      response.end(await answer.text());
      return true;
    };
    const store = open(registry);
    const descriptor = await store.putBlob(imageBytes('a blob'));
    storage.repository('x').blobs.set(descriptor.digest, imageBytes('a blob'));
    expect(await store.blob(descriptor)).toEqual(imageBytes('a blob'));
    expect(storage.asked.length).toBeGreaterThan(0);
    for (const { headers } of storage.asked) {
      expect(headers.authorization).toBeUndefined();
      expect(headers.cookie).toBeUndefined();
    }
    for (const { headers } of tokens.asked) expect(headers.authorization).toMatch(/^Basic /);
    for (const { path, headers } of registry.asked) {
      if (path.startsWith('/v2/')) expect(headers.authorization ?? 'Bearer').toMatch(/^Bearer/);
      expect(headers.cookie).toBeUndefined();
    }
  });

  // sigstore-js 85c58380
  it('sigstore-js 85c58380: a registry whose name only begins with that of another gets none of its', async () => {
    const registry = await start({ auth: 'basic', name: 'docker.io.evil' });
    const credentials = credentialsFor('docker.io', { kind: 'basic', username: 'hub', password: 'x' });
    const store = open(registry, { credentials, plainHttp: true, lookup });
    await expect(store.resolve('v1')).rejects.toMatchObject({ code: 'OCI_UNAUTHORIZED' });
    expect(authorizations(registry.asked)).toEqual([undefined]);
  });

  it('does not send them after a redirect has left the registry, also not back', async () => {
    const registry = await start({ auth: 'basic' });
    const other = await start({});
    seed(registry);
    const store = open(registry);
    await store.resolve('v1');
    registry.lie = lies.redirect(/manifests\/there$/, () => `${other.url}/v2/ns/app/manifests/back`);
    other.lie = lies.redirect(/back$/, () => `${registry.url}/v2/ns/app/manifests/v1`);
    registry.asked.length = 0;
    await expect(store.resolve('there')).rejects.toMatchObject({ code: 'OCI_UNAUTHORIZED' });
    expect(authorizations(other.asked)).toEqual([undefined]);
    expect(
      registry.asked.filter(({ path, headers }) => path.endsWith('/v1') && headers.authorization !== undefined),
    ).toEqual([]);
  });

  it('does not answer a challenge of whoever it was redirected to', async () => {
    const other = await start({});
    const registry = await start({ auth: 'basic' });
    other.lie = lies.challenge(/./, `Bearer realm="${other.url}/token"`);
    registry.lie = lies.redirect(/blobs/, () => `${other.url}/x`);
    await expect(open(registry).blob(await blobOf())).rejects.toMatchObject({ code: 'OCI_UNAUTHORIZED' });
    expect(other.asked).toHaveLength(1);
  });

  const blobOf = async () =>
    ({ mediaType: 'x/y', digest: parseReference(`a@sha256:${'0'.repeat(64)}`).digest ?? 'sha256:', size: 1 }) as const;

  it.each<[string, string, 'http' | 'public' | 'private']>([
    ['no URL', 'token', 'http'],
    ['another scheme', 'file:///etc/passwd', 'http'],
    ['a user name', 'http://a:b@127.0.0.1/token', 'http'],
    ['a fragment', 'http://127.0.0.1/token#x', 'http'],
    ['plain http elsewhere', 'http://auth.example/token', 'http'],
    ['this machine', 'http://127.0.0.1:1/token', 'public'],
    ['this machine by name', 'http://localhost:1/token', 'public'],
    ['this machine in another spelling', 'http://0x7f.1:1/token', 'public'],
    ['this machine in IPv6', 'http://[::1]:1/token', 'public'],
    ['this machine in both', 'http://[::ffff:127.0.0.1]:1/token', 'public'],
    ['the metadata of the cloud', 'http://169.254.169.254/latest/meta-data/', 'public'],
    ['a private network', 'http://10.1.2.3/token', 'public'],
    ['a private network of IPv6', 'http://[fd00::1]/token', 'public'],
  ])('does not look for a token at %s', async (_, realm, kind) => {
    const registry = await start({ auth: 'bearer', realm, ...(kind === 'public' && { name: 'registry.example' }) });
    const store = open(registry, kind === 'public' ? { plainHttp: true, lookup } : {});
    await expect(store.resolve('v1')).rejects.toMatchObject({ code: 'OCI_CHALLENGE' });
    expect(registry.asked).toHaveLength(1);
  });

  it('takes a token service at the very address of the registry, although it is private', async () => {
    const registry = await startTestRegistry({ auth: 'bearer' });
    closers.push(() => registry.close());
    seed(registry);
    expect(await open(registry).resolve('v1')).toBeDefined();
  });
});

describe('mergeScopes()', () => {
  it('names each resource once', () => {
    expect(
      mergeScopes(['repository:a:pull', 'repository:b:pull', 'repository:a:push,pull', 'registry:catalog:*']),
    ).toEqual(['registry:catalog:*', 'repository:a:pull,push', 'repository:b:pull']);
  });
});

function fail(): never {
  throw new Error('nothing should be uploaded');
}
