import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import type { Login, LoginSettings } from './options.js';
import { openTokenCache, type TokenCache } from './token-cache.js';

let folder: string;
let nowMs: number;
let notes: string[];
const runtime = () => join(folder, 'run');
const tokens = () => join(folder, 'cache', 'chancery', 'tokens');
const keyPath = () => join(runtime(), 'chancery', 'token-key');
const open = (env = {}): Promise<TokenCache> =>
  openTokenCache({
    env: { XDG_RUNTIME_DIR: runtime(), XDG_CACHE_HOME: join(folder, 'cache'), ...env },
    now: () => nowMs,
    note: (message) => void notes.push(message),
  });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chancery-cache-'));
  await mkdir(runtime(), { mode: 0o700 });
  nowMs = Date.UTC(2026, 5, 1);
  notes = [];
});
afterEach(() => rm(folder, { recursive: true }));

const settings: LoginSettings = { issuer: 'https://login.example', clientId: 'sigstore', flow: 'browser' };
const token = `eyJhbGciOiJFUzI1NiJ9.${'e'.repeat(40)}.sig`;
const aLogin = (change: Partial<Login> = {}): Login => ({
  token,
  expiresAt: new Date(nowMs + 600_000),
  issuer: 'https://login.example',
  subject: 'alice',
  email: 'alice@example.com',
  emailVerified: true,
  ...change,
});
const onlyFile = async (): Promise<string> => {
  const names = await readdir(tokens());
  expect(names).toHaveLength(1);
  return join(tokens(), names[0] ?? '');
};

describe('the token cache', () => {
  it('gives back what it was given, also to the next process', async () => {
    await (await open()).write(settings, aLogin());
    expect(await (await open()).read(settings)).toEqual(aLogin());
    expect(notes).toEqual([]);
  });

  it('creates nothing before there is a token, and is empty then', async () => {
    const cache = await open();
    expect(await cache.read(settings)).toBeUndefined();
    expect(await cache.clear()).toBe(0);
    expect(await readdir(folder)).toEqual(['run']);
    expect(await readdir(runtime())).toEqual([]);
  });

  it('keeps the token encrypted, the key elsewhere, and both to this user', async () => {
    await (await open()).write(settings, aLogin());
    const file = await onlyFile();
    const sealed = await readFile(file, 'latin1');
    for (const word of [token, 'alice', 'login.example', 'eyJ']) expect(sealed).not.toContain(word);
    expect((await readFile(keyPath())).length).toBe(32);
    for (const path of [file, keyPath()]) expect((await stat(path)).mode & 0o777).toBe(0o600);
    for (const path of [tokens(), join(runtime(), 'chancery')]) expect((await stat(path)).mode & 0o777).toBe(0o700);
    // The same token twice is not the same bytes.
    await (await open()).write(settings, aLogin());
    expect(await readFile(await onlyFile(), 'latin1')).not.toBe(sealed);
  });

  it.each<[string, Partial<LoginSettings>]>([
    ['issuer', { issuer: 'https://login.example/' }],
    ['client', { clientId: 'other' }],
    ['scopes', { scopes: ['openid', 'email', 'groups'] }],
    ['audience', { audience: 'other' }],
    ['upstream login', { connectorId: 'github' }],
    ['login hint', { extra: { login_hint: 'bob@example.com' } }],
    ['kind of identity', { flow: 'client-credentials' }],
  ])('has nothing for another %s', async (_, change) => {
    const cache = await open();
    await cache.write(settings, aLogin());
    expect(await cache.read({ ...settings, ...change })).toBeUndefined();
    await cache.write({ ...settings, ...change }, aLogin({ subject: 'bob' }));
    expect((await cache.read(settings))?.subject).toBe('alice');
  });

  it('asks for no other scopes by another order', async () => {
    const cache = await open();
    await cache.write({ ...settings, scopes: ['openid', 'email'] }, aLogin());
    expect(await cache.read({ ...settings, scopes: ['email', 'openid'], flow: 'device' })).toBeDefined();
  });

  it('forgets a token when it expires, and gives none that is about to', async () => {
    const cache = await open();
    await cache.write(settings, aLogin());
    nowMs += 571_000;
    expect(await cache.read(settings)).toBeUndefined();
    expect(await readdir(tokens())).toHaveLength(1);
    nowMs += 29_000;
    // Asked for anything at all.
    expect(await cache.read({ ...settings, clientId: 'other' })).toBeUndefined();
    expect(await readdir(tokens())).toEqual([]);
  });

  it('keeps one token for each', async () => {
    const cache = await open();
    await cache.write(settings, aLogin());
    nowMs += 1000;
    await cache.write(settings, aLogin({ subject: 'new' }));
    await onlyFile();
    expect((await cache.read(settings))?.subject).toBe('new');
  });

  it('logout removes tokens and key', async () => {
    const cache = await open();
    await cache.write(settings, aLogin());
    await cache.write({ ...settings, clientId: 'other' }, aLogin());
    expect(await cache.clear()).toBe(2);
    expect(await readdir(tokens())).toEqual([]);
    await expect(stat(keyPath())).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await cache.read(settings)).toBeUndefined();
  });

  it('after the session nothing opens what it left', async () => {
    await (await open()).write(settings, aLogin());
    await rm(runtime(), { recursive: true });
    await mkdir(runtime(), { mode: 0o700 });
    expect(await (await open()).read(settings)).toBeUndefined();
    expect(await readdir(tokens())).toEqual([]);
  });

  it('ignores what was changed, says so and removes it', async () => {
    const cache = await open();
    await cache.write(settings, aLogin());
    const whole = await readFile(await onlyFile());
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        notes = [];
        const changed = Buffer.from(whole);
        changed[at] = (changed[at] ?? 0) ^ flip;
        await writeFile(join(tokens(), (await nameOf(cache)) ?? ''), changed);
        expect(await cache.read(settings)).toBeUndefined();
        expect(notes).toEqual(['a cached token could not be read and was removed']);
        expect(await readdir(tokens())).toEqual([]);
      }),
      { numRuns: 30 },
    );
    for (const bad of [Buffer.alloc(0), whole.subarray(0, 20), Buffer.alloc(70_000)]) {
      await writeFile(join(tokens(), (await nameOf(cache)) ?? ''), bad);
      expect(await cache.read(settings)).toBeUndefined();
    }
  });

  /** Where a token of `settings` lies. */
  async function nameOf(cache: TokenCache): Promise<string | undefined> {
    await cache.write(settings, aLogin());
    return (await readdir(tokens()))[0];
  }

  it('opens no token under the name of another, nor for longer than it lives', async () => {
    const cache = await open();
    const name = (await nameOf(cache)) ?? '';
    await rename(join(tokens(), name), join(tokens(), `${name}0`));
    nowMs += 700_000;
    expect(await cache.read(settings)).toBeUndefined();
    nowMs -= 700_000;
    const mine = (await nameOf(cache)) ?? '';
    await cache.clear();
    const bob = { ...settings, clientId: 'bob' };
    await cache.write(bob, aLogin({ subject: 'bob' }));
    const theirs = (await readdir(tokens()))[0] ?? '';
    await rename(join(tokens(), theirs), join(tokens(), mine));
    expect(await cache.read(settings)).toBeUndefined();
  });

  it('makes a new key for a damaged one', async () => {
    const cache = await open();
    await cache.write(settings, aLogin());
    await writeFile(keyPath(), 'short');
    expect(await cache.read(settings)).toBeUndefined();
    await cache.write(settings, aLogin());
    expect(await cache.read(settings)).toEqual(aLogin());
    expect(notes.join()).toContain('damaged');
  });

  it('two that make the key at once use the same', async () => {
    const caches = await Promise.all([open(), open(), open(), open()]);
    await Promise.all(caches.map((cache, at) => cache.write({ ...settings, clientId: String(at) }, aLogin())));
    for (const at of [0, 1, 2, 3]) expect(await caches[0]?.read({ ...settings, clientId: String(at) })).toBeDefined();
    expect(await readdir(join(runtime(), 'chancery'))).toEqual(['token-key']);
  });

  it.each([
    ['there is no runtime folder', { XDG_RUNTIME_DIR: undefined }],
    ['its name is empty', { XDG_RUNTIME_DIR: '' }],
    ['its name is not absolute', { XDG_RUNTIME_DIR: 'run' }],
    ['it does not exist', { XDG_RUNTIME_DIR: '/nonexistent/run' }],
    ['there is no home', { XDG_CACHE_HOME: undefined, HOME: undefined }],
  ])('refuses when %s', async (_, env) => {
    await expect(open(env)).rejects.toMatchObject({ code: 'LOGIN_CACHE', cure: expect.any(String) as string });
  });

  it('refuses a runtime folder or a key that others may read', async () => {
    await (await open()).write(settings, aLogin());
    await chmod(keyPath(), 0o640);
    await expect((await open()).read(settings)).rejects.toMatchObject({ code: 'LOGIN_CACHE' });
    await chmod(keyPath(), 0o600);
    await chmod(runtime(), 0o755);
    await expect(open()).rejects.toMatchObject({
      code: 'LOGIN_CACHE',
      message: expect.stringMatching(/open to other/) as string,
    });
  });

  it('falls back to ~/.cache', async () => {
    await (await open({ XDG_CACHE_HOME: undefined, HOME: folder })).write(settings, aLogin());
    expect(await readdir(join(folder, '.cache', 'chancery', 'tokens'))).toHaveLength(1);
  });
});
