import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { parseAuthFile } from './credential-files.js';
import { helperRunner } from './credential-helper.js';
import {
  credentialsFor,
  loadCredentials,
  OciError,
  parseReference,
  type CredentialSources,
  type RunHelper,
} from './index.js';

const b64 = (text: string): string => Buffer.from(text).toString('base64');
const basic = (username: string, password: string) => ({ kind: 'basic', username, password });

/** What would be found for an image, with these files. */
function find(image: string, files: Record<string, unknown>, more: Partial<CredentialSources> = {}) {
  const { registry, repository } = parseReference(image);
  const readFile = async (path: string): Promise<Uint8Array | undefined> => {
    const file = files[path];
    return file === undefined ? undefined : encodeUtf8(typeof file === 'string' ? file : JSON.stringify(file));
  };
  return loadCredentials({ env: {}, home: '/home/me', readFile, ...more }).find(registry, repository);
}
const inDocker = (config: unknown) => ({ '/home/me/.docker/config.json': config });
const auths = (...entries: [string, string][]) => ({
  auths: Object.fromEntries(entries.map(([key, pair]) => [key, { auth: b64(pair) }])),
});

describe('loadCredentials()', () => {
  it("takes cosign's order: Docker's file alone, and without one the first of podman's", async () => {
    const all = {
      '/docker/config.json': auths(['r.io', 'docker-env:x']),
      '/home/me/.docker/config.json': auths(['r.io', 'docker-home:x']),
      '/auth.json': auths(['r.io', 'auth-file:x']),
      '/run/containers/auth.json': auths(['r.io', 'runtime:x']),
      '/home/me/.config/containers/auth.json': auths(['r.io', 'config:x']),
    };
    const env = { DOCKER_CONFIG: '/docker', REGISTRY_AUTH_FILE: '/auth.json', XDG_RUNTIME_DIR: '/run' };
    const from = async (files: Record<string, unknown>, variables: Record<string, string> = env) =>
      ((await find('r.io/a', files, { env: variables })) as { username: string } | undefined)?.username;
    expect(await from(all)).toBe('docker-env');
    expect(await from(all, {})).toBe('docker-home');
    const { '/docker/config.json': _, '/home/me/.docker/config.json': __, ...podman } = all;
    expect(await from(podman)).toBe('auth-file');
    expect(await from(podman, { XDG_RUNTIME_DIR: '/run' })).toBe('runtime');
    expect(await from(podman, {})).toBe('config');
    expect(await from(podman, { XDG_CONFIG_HOME: '/elsewhere' })).toBeUndefined();
    expect(await from({ ...podman, ...inDocker({ auths: {} }) }, {})).toBeUndefined();
    expect(await from({})).toBeUndefined();
  });

  it("takes podman's order: the first file that knows the registry", async () => {
    const files = {
      '/run/containers/auth.json': auths(['other.io', 'runtime:x']),
      '/home/me/.docker/config.json': auths(['r.io', 'docker:x']),
      '/home/me/.dockercfg': { 'old.io': { auth: b64('old:x') }, auths: { auth: b64('no:no') } },
    };
    const more = { env: { XDG_RUNTIME_DIR: '/run' }, order: 'containers' } as const;
    expect(await find('other.io/a', files, more)).toMatchObject({ username: 'runtime' });
    expect(await find('r.io/a', files, more)).toMatchObject({ username: 'docker' });
    expect(await find('old.io/a', files, more)).toMatchObject({ username: 'old' });
  });

  it('reads one file only when it is named, which must exist', async () => {
    const files = { '/my.json': auths(['r.io', 'mine:x']), ...inDocker(auths(['r.io', 'docker:x'])) };
    expect(await find('r.io/a', files, { file: '/my.json' })).toMatchObject({ username: 'mine' });
    await expect(find('r.io/a', files, { file: '/none.json' })).rejects.toMatchObject({ code: 'OCI_CREDENTIALS' });
  });

  it('takes the longest path that fits, at the borders of its parts', async () => {
    const file = inDocker(auths(['r.io', 'host:x'], ['r.io/ns', 'ns:x'], ['r.io/ns/app', 'app:x']));
    const who = async (image: string) => ((await find(image, file)) as { username: string }).username;
    expect(await who('r.io/ns/app')).toBe('app');
    expect(await who('r.io/ns/application')).toBe('ns');
    expect(await who('r.io/ns/app/x')).toBe('app');
    expect(await who('r.io/nsx/app')).toBe('host');
  });

  it.each([
    ['https://index.docker.io/v1/', 'alpine'],
    ['index.docker.io', 'docker.io/me/app'],
    ['docker.io', 'index.docker.io/library/alpine'],
    ['https://r.io', 'r.io/a'],
    ['https://r.io/', 'r.io/a'],
    ['http://r.io/v2/', 'r.io/a'],
    ['r.io/v1/', 'r.io/a'],
    ['R.io', 'r.io/a'],
    ['r.io:5000', 'r.io:5000/a'],
    ['[::1]:5000', '[::1]:5000/a'],
  ])('knows %s as the key of %s', async (key, image) => {
    expect(await find(image, inDocker(auths([key, 'me:pass:word'])))).toEqual(basic('me', 'pass:word'));
  });

  // sigstore-js 85c58380: credentials were chosen by a part of the name.
  describe('sigstore-js 85c58380: gives nothing to a host that only looks alike', () => {
    const file = inDocker(
      auths(
        ['https://index.docker.io/v1/', 'hub:x'],
        ['docker.io', 'hub:x'],
        ['r.io', 'r:x'],
        ['r.io:5000', 'r:x'],
        ['ghcr.io/me', 'g:x'],
      ),
    );
    it.each([
      'docker.io.evil/a',
      'docker.io.evil.com/library/alpine',
      'evil-docker.io/a',
      'index.docker.io.evil/a',
      'registry-1.docker.io/a',
      'docker.io:443/a',
      'evil.com/docker.io/a',
      'evil.com/index.docker.io/v1/a',
      'r.io.evil/a',
      'xr.io/a',
      'sub.r.io/a',
      'r.io:50001/a',
      'r.io:443/a',
      'ghcr.io/other/me',
      'ghcr.io/menot/a',
      'evil.io/ghcr.io/me',
    ])('%s', async (image) => {
      expect(await find(image, file)).toBeUndefined();
    });
  });

  it('reads all forms of an entry', async () => {
    const entry = (value: object) => find('r.io/a', inDocker({ auths: { 'r.io': value } }));
    expect(await entry({ auth: b64('u:p\0\0') })).toEqual(basic('u', 'p'));
    expect(await entry({ auth: b64('u:') })).toEqual(basic('u', ''));
    expect(await entry({ username: 'u', password: 'p' })).toEqual(basic('u', 'p'));
    expect(await entry({ auth: b64('u:p'), identitytoken: 'abc' })).toEqual({ kind: 'identity-token', token: 'abc' });
    expect(await entry({ registrytoken: 'abc' })).toEqual({ kind: 'registry-token', token: 'abc' });
    expect(await entry({ email: 'me@x.example' })).toBeUndefined();
    expect(await entry({})).toBeUndefined();
  });

  it.each([
    ['is no base64', 's3cr3t!!'],
    ['has no colon', b64('s3cr3t')],
    ['is not UTF-8', Buffer.from([0x73, 0xff, 0x3a]).toString('base64')],
    ['has a new line', b64('user:s3cr3t\r\nX-Evil: 1')],
  ])('tells of an entry that %s, and nothing of what is in it', async (_, auth) => {
    const error = await find('r.io/a', inDocker({ auths: { 'r.io': { auth } } })).catch((one: unknown) => one);
    expect(error).toMatchObject({ code: 'OCI_CREDENTIALS' });
    expect(`${String(error)} ${String((error as Error).cause)}`).not.toMatch(/s3cr3t|user:|c2NyM3/);
    // An entry for somebody else does not matter.
    expect(await find('other.io/a', inDocker({ auths: { 'r.io': { auth } } }))).toBeUndefined();
  });

  it.each([
    ['is no JSON', '{"auths": {"r.io": {"auth": "c2VjcmV0OnNlY3JldA=="}'],
    ['has a key twice', '{"auths": {"r.io": {"auth": "YQ=="}, "r.io": {"auth": "c2VjcmV0OnNlY3JldA=="}}}'],
    ['is a list', '["c2VjcmV0OnNlY3JldA=="]'],
    ['has a list of auths', '{"auths": ["c2VjcmV0OnNlY3JldA=="]}'],
    ['has a helper that is no text', '{"credHelpers": {"r.io": 1}}'],
    ['has a store that is no text', '{"credsStore": {}}'],
    ['is larger than 1 MiB', `{"x":"${'c2VjcmV0'.repeat(150_000)}"}`],
  ])('tells of a file that %s, and nothing of what is in it', async (_, text) => {
    const error = await find('r.io/a', inDocker(text)).catch((one: unknown) => one);
    expect(error).toMatchObject({
      code: 'OCI_CREDENTIALS',
      message: expect.stringContaining('/home/me/.docker/config.json') as string,
    });
    expect(`${String(error)} ${String((error as Error).cause)}`).not.toMatch(/c2Vj/);
  });

  it('property: any file is read or refused with OciError', () => {
    const key = fc.oneof(
      fc.string(),
      fc.constantFrom('auths', 'credHelpers', 'credsStore', 'r.io', 'https://r.io/v1/'),
    );
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.constant(null));
    const value = fc.dictionary(key, fc.oneof(leaf, fc.dictionary(key, fc.oneof(leaf, fc.dictionary(key, leaf)))));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          value.map((one) => encodeUtf8(JSON.stringify(one).replace(/\\ud[89a-f]../gi, ''))),
        ),
        (bytes) => {
          try {
            const { auths: read } = parseAuthFile(bytes, 'x');
            for (const place of read.keys()) expect(place).toMatch(/^[a-z0-9.[\]:-]+(\/.*)?$/s);
          } catch (error) {
            expect(error).toBeInstanceOf(OciError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('credential helpers', () => {
  const said =
    (value: unknown): RunHelper =>
    async () => ({ code: 0, stdout: encodeUtf8(JSON.stringify(value)) });
  const login = { ServerURL: 'x', Username: 'u', Secret: 'p' };

  it('are chosen by host before the store, and that before what is in the file', async () => {
    const asked: string[] = [];
    const runHelper: RunHelper = async (program, input) => {
      asked.push(`${program} ${input}`);
      return said(login)(program, input);
    };
    const file = inDocker({
      ...auths(['r.io', 'file:x'], ['other.io', 'file:x']),
      credHelpers: { 'r.io': 'special', 'docker.io': 'hub' },
      credsStore: 'all',
    });
    expect(await find('r.io/a', file, { runHelper })).toEqual(basic('u', 'p'));
    await find('other.io/a', file, { runHelper });
    await find('alpine', file, { runHelper });
    await find('r.io.evil/a', file, { runHelper });
    expect(asked).toEqual([
      'docker-credential-special r.io',
      'docker-credential-all other.io',
      'docker-credential-hub https://index.docker.io/v1/',
      'docker-credential-all r.io.evil',
    ]);
  });

  it('may have nothing: then what is in the file counts', async () => {
    const stdout = encodeUtf8('credentials not found in native keychain\n');
    const runHelper: RunHelper = async () => ({ code: 1, stdout });
    const file = inDocker({ ...auths(['r.io', 'file:x']), credsStore: 'all' });
    expect(await find('r.io/a', file, { runHelper })).toEqual(basic('file', 'x'));
    expect(await find('other.io/a', file, { runHelper })).toBeUndefined();
  });

  it('may give an identity token', async () => {
    const file = inDocker({ credsStore: 'all' });
    expect(await find('r.io/a', file, { runHelper: said({ ...login, Username: '<token>' }) })).toEqual({
      kind: 'identity-token',
      token: 'p',
    });
  });

  it.each(['../../bin/sh', 'a/b', 'a b', '', '-x', 'x;y', '$(x)', 'x'.repeat(65)])(
    'are not called %j',
    async (name) => {
      const runHelper: RunHelper = async () => {
        throw new Error('it ran');
      };
      const found = find('r.io/a', inDocker({ credHelpers: { 'r.io': name } }), { runHelper });
      await (name === ''
        ? expect(found).resolves.toBeUndefined()
        : expect(found).rejects.toMatchObject({
            code: 'OCI_CREDENTIALS',
            message: expect.stringContaining('malformed') as string,
          }));
    },
  );

  it.each<[string, RunHelper]>([
    ['no JSON', async () => ({ code: 0, stdout: encodeUtf8('s3cr3t') })],
    ['no secret', said({ Username: 's3cr3t' })],
    ['a list', said(['s3cr3t'])],
    ['an exit code', async () => ({ code: 1, stdout: encodeUtf8('s3cr3t') })],
    ['a secret with a new line', said({ ...login, Secret: 's3cr3t\n' })],
  ])('that give %s are an error, which says nothing of it', async (_, runHelper) => {
    const error = await find('r.io/a', inDocker({ credsStore: 'all' }), { runHelper }).catch((one: unknown) => one);
    expect(error).toMatchObject({ code: 'OCI_CREDENTIALS' });
    expect(`${String(error)} ${String((error as Error).cause)}`).not.toContain('s3cr3t');
  });

  describe('as programs', () => {
    let folder: string;
    beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'helper-'))));
    afterEach(() => rmSync(folder, { recursive: true }));
    const install = (script: string, timeoutMs = 30_000): RunHelper => {
      mkdirSync(join(folder, 'bin'), { recursive: true });
      const file = join(folder, 'bin', 'docker-credential-test');
      writeFileSync(file, `#!/bin/sh\n${script}\n`);
      chmodSync(file, 0o755);
      return helperRunner({ PATH: `${join(folder, 'bin')}:/usr/bin:/bin` }, timeoutMs);
    };
    const run = (runHelper: RunHelper) => find('r.io:5000/a', inDocker({ credsStore: 'test' }), { runHelper });

    it('are run with the environment that they are given, without a shell', async () => {
      const script = `printf '{"Username":"%s","Secret":"%s"}' "$#" "$(env | grep -c '^HOME=')"`;
      expect(await run(install(script))).toEqual(basic('1', '0'));
    });

    it('are told the server exactly as it is', async () => {
      const script = `printf '{"Username":"%s","Secret":"%s"}' "$(od -An -c | tr -d ' \\\\\\n')" "$1"`;
      expect(await find('r.io/a', inDocker({ credsStore: 'test' }), { runHelper: install(script) })).toEqual(
        basic('r.io', 'get'),
      );
    });

    it.each([
      ['does not end', 'sleep 30'],
      ['leaves a child behind that holds its output', 'sleep 30 & sleep 30'],
      ['says too much', 'yes'],
      ['does not end and says too much', 'head -c 70000 /dev/zero; sleep 30'],
    ])('one that %s is stopped', async (_, script) => {
      const started = Date.now();
      await expect(run(install(script, 1500))).rejects.toMatchObject({ code: 'OCI_CREDENTIALS' });
      expect(Date.now() - started).toBeLessThan(15_000);
    });

    it('one that is not installed is named', async () => {
      const missing = run(helperRunner({ PATH: folder }));
      await expect(missing).rejects.toMatchObject({
        message: expect.stringMatching(/docker-credential-test: it is not installed$/) as string,
      });
    });
  });
});

describe('credentialsFor()', () => {
  it('is for one registry, by its exact name', async () => {
    const credentials = credentialsFor('index.docker.io', { kind: 'basic', username: 'u', password: 'p' });
    expect(await credentials.find('docker.io', 'library/alpine')).toEqual(basic('u', 'p'));
    expect(await credentials.find('docker.io.evil', 'library/alpine')).toBeUndefined();
    expect(await credentials.find('docker.io:443', 'library/alpine')).toBeUndefined();
  });

  it.each([
    { kind: 'basic', username: 'a:b', password: 's3cr3t' },
    { kind: 'basic', username: 'a', password: 's3cr3t\n' },
    { kind: 'basic', username: 'a', password: 's3cr3t'.repeat(20_000) },
    { kind: 'registry-token', token: 's3cr3t x' },
    { kind: 'identity-token', token: '' },
  ] as const)('refuses what HTTP cannot carry, and does not repeat it', (credential) => {
    expect(() => credentialsFor('r.io', credential)).toThrow(/^Cannot use the (?:(?!s3cr3t).)*$/);
  });
});
