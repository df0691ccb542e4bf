// Signing in as a person does: `chancery` as a process, a browser that is one, a company login that we did not write, and a stack that believes it.
import { spawn, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { login, type LoginErrorCode, type LoginOptions } from '#libs/login';
import { hasBrowser, startBrowser, startBrowserHook, type BrowserHook, type RealBrowser } from '../world/browser.js';
import { startCompanyLogin, type CompanyLogin } from '../world/company-login.js';
import { startWorld, type World } from '../world/index.js';
import { chancery, cleanEnvironment, ensureBuilt, executable, type Ran } from '../world/process.js';

// Processes, a browser and a person's clicks: seconds on an idle machine.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let company: CompanyLogin;
let world: World;
let folder: string;
let hook: BrowserHook;
let browser: RealBrowser | undefined;
const at = (name: string) => join(folder, name);
const addressOf = (input: string | URL | Request) => (input instanceof Request ? input.url : input.toString());

beforeAll(async () => {
  ensureBuilt();
  folder = await mkdtemp(join(tmpdir(), 'chancery-login-'));
  company = await startCompanyLogin();
  await writeFile(at('issuers.json'), company.fulcioConfig);
  world = await startWorld({
    environment: { CHANCERY_OIDC_CONFIG: at('issuers.json'), CHANCERY_OIDC_PRIVATE: '127.0.0.1,localhost' },
  });
  await writeFile(at('trusted_root.json'), await world.trustedRoot());
  await writeFile(at('README.md'), 'a file to sign\n');
  await mkdir(at('run'), { mode: 0o700 });
  hook = await startBrowserHook();
  if (hasBrowser) browser = await startBrowser();
});
afterAll(async () => {
  await browser?.close();
  await hook.close();
  await world.close();
  await company.close();
  await rm(folder, { recursive: true, force: true });
});

/** As on a person's machine, where `BROWSER` is the browser of this test. */
function environment(more: Record<string, string> = {}): Record<string, string> {
  return {
    BROWSER: hook.command,
    XDG_RUNTIME_DIR: at('run'),
    XDG_CACHE_HOME: at('cache'),
    SSH_CONNECTION: '',
    SSH_TTY: '',
    DISPLAY: '',
    WAYLAND_DISPLAY: '',
    ...more,
  };
}

const run = (args: string[], more: Record<string, string> = {}): Promise<Ran> =>
  chancery(args, { cwd: folder, environment: environment(more) });

const signArgs = (...more: string[]): string[] => [
  ...['sign', 'README.md', '--url', world.url, '--trusted-root', 'trusted_root.json', '--bundle', 'bundle.json'],
  ...more,
];

async function expectSignedBy(email: string, issuer: string): Promise<void> {
  const verified = await run([
    ...['verify', 'README.md', '--bundle', 'bundle.json', '--trusted-root', 'trusted_root.json'],
    ...['--certificate-identity', email, '--certificate-oidc-issuer', issuer],
  ]);
  expect(verified).toMatchObject({ exit: 0 });
  expect(verified.out).toContain(email);
}

describe.skipIf(!hasBrowser)('in a real browser', () => {
  /** Signs in at the company with the pages that it shows. */
  async function driveCompany(email: string, answer: 'allow' | 'deny' = 'allow'): Promise<string> {
    const page = await (browser as RealBrowser).open(await hook.nextUrl());
    await page.fill('#email', email);
    await page.click('#sign-in');
    await page.click(`#${answer}`);
    await page.waitForURL(/\/auth\/callback/);
    const text = (await page.textContent('body')) ?? '';
    await page.context().close();
    return text;
  }

  it('signs with the company login: the certificate carries the e-mail address, and the bundle verifies offline', async () => {
    const signing = run(signArgs('--oidc-issuer', company.issuer, '--auth-flow', 'normal'));
    const page = await driveCompany('alice@example.com');
    const { exit, out, err } = await signing;
    expect({ exit, err }).toMatchObject({ exit: 0 });
    expect(page).toContain('You are signed in');
    expect(page).toContain('You may close this window');
    expect(err).toContain(`Signed in as alice@example.com, ${company.issuer} says`);
    expect(out).toContain('alice@example.com');
    expect(out + err).not.toMatch(/eyJ/);
    await expectSignedBy('alice@example.com', company.issuer);
  });

  it('signs nothing when the person says no', async () => {
    const signing = run(signArgs('--oidc-issuer', company.issuer, '--auth-flow', 'normal', '--bundle', 'never.json'));
    const page = await driveCompany('alice@example.com', 'deny');
    const { exit, err } = await signing;
    expect(exit).toBe(5);
    expect(err).toContain('access_denied');
    expect(page).toContain('You are not signed in');
    expect(page).not.toContain('The person said no');
    await expect(readFile(at('never.json'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('device flow: the code is confirmed on another device', async () => {
    const child = spawn(
      process.execPath,
      [executable, ...signArgs('--oidc-issuer', company.issuer, '--auth-flow', 'device')],
      {
        cwd: folder,
        env: cleanEnvironment(environment()),
      },
    );
    let err = '';
    const address = new Promise<string>((resolve) => {
      child.stderr.on('data', (chunk: Buffer) => {
        err += chunk.toString();
        const shown = /Sign in on any device: (\S+)\n.*the code (\S+)\n/.exec(err);
        if (shown?.[1] !== undefined) resolve(shown[1]);
      });
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    const page = await (browser as RealBrowser).open(await address);
    // The code goes along in the address, and the page shows it for comparison.
    expect(err).toContain((await page.textContent('#code')) ?? '?');
    await page.click('#confirm');
    await page.fill('#email', 'bob@example.com');
    await page.click('#sign-in');
    await page.click('#allow');
    await page.waitForSelector('#done');
    expect([await ended, err]).toEqual([0, expect.stringContaining('Signed in as bob@example.com')]);
    await expectSignedBy('bob@example.com', company.issuer);
  });

  it('the development issuer: its page, its address, its certificate', async () => {
    const signing = run(signArgs('--oidc-issuer', world.issuer, '--auth-flow', 'normal'));
    const page = await (browser as RealBrowser).open(await hook.nextUrl());
    await page.fill('#email', 'dev@example.com');
    await page.click('button');
    await page.waitForURL(/\/auth\/callback/);
    expect(await page.textContent('h1')).toBe('You are signed in');
    expect(await signing).toMatchObject({ exit: 0 });
    await expectSignedBy('dev@example.com', world.issuer);
  });
});

describe('chancery login', () => {
  /** What a browser does, quicker. */
  async function comeBack(email = 'alice@example.com'): Promise<void> {
    const response = await fetch(await company.signInOverHttp(await hook.nextUrl(), { email }));
    await response.text();
  }

  it('says who you are, and gives the token only when told to', async () => {
    const first = run(['login', '--issuer', company.issuer]);
    await comeBack();
    const { exit, out, err } = await first;
    expect(exit).toBe(0);
    expect(out).toMatch(
      /issuer +http:\/\/127.*\n +subject +alice@example.com\n +e-mail +alice@example.com\n +expires +20/,
    );
    expect(out + err).not.toMatch(/eyJ/);

    const second = run(['login', '--issuer', company.issuer, '--token']);
    await comeBack('bob@example.com');
    const withToken = await second;
    expect(withToken.out).toMatch(/^eyJ[\w-]+\.[\w-]+\.[\w-]+\n$/);
    expect(await run(signArgs('--identity-token', withToken.out.trim()))).toMatchObject({ exit: 0 });
    await expectSignedBy('bob@example.com', company.issuer);
  });

  it('with several issuers and nobody to ask names them', async () => {
    const { exit, out, err } = await run(['login', '--url', world.url, '--json']);
    expect({ exit, err }).toEqual({ exit: 2, err: '' });
    expect(JSON.parse(out)).toMatchObject({
      error: {
        message: expect.stringContaining(company.issuer) as string,
        cure: expect.stringContaining('--oidc-issuer') as string,
      },
    });
    expect(out).toContain(world.issuer);
  });

  it('keeps the token for the session when asked to, so that nobody is asked again; logout forgets it', async () => {
    const kept = run(['login', '--issuer', company.issuer, '--cache-token']);
    await comeBack('carol@example.com');
    expect(await kept).toMatchObject({ exit: 0 });
    const cached = { CHANCERY_TOKEN_CACHE: '1' };
    expect(await run(signArgs('--oidc-issuer', company.issuer), cached)).toMatchObject({ exit: 0 });
    await expectSignedBy('carol@example.com', company.issuer);
    // Not without being asked to.
    expect(await run(signArgs('--oidc-issuer', company.issuer))).toMatchObject({ exit: 2 });
    expect(await run(['logout'])).toMatchObject({ exit: 0, out: 'Removed 1 cached token.\n' });
    expect(await run(signArgs('--oidc-issuer', company.issuer), cached)).toMatchObject({ exit: 2 });
  });

  it('refuses to keep a token where the session has no place of its own', async () => {
    const { exit, err } = await run(['login', '--issuer', company.issuer, '--cache-token'], { XDG_RUNTIME_DIR: '' });
    expect(exit).toBe(3);
    expect(err).toContain('XDG_RUNTIME_DIR');
  });

  const hasScript = spawnSync('script', ['--version']).status === 0;
  it.skipIf(!hasScript)('sign at a terminal: asks which issuer, and signs the person in', async () => {
    const command = [process.execPath, executable, ...signArgs()].join(' ');
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      cwd: folder,
      env: cleanEnvironment(environment()),
    });
    let out = '';
    const asked = new Promise<void>((resolve) => {
      child.stdout.on('data', (chunk: Buffer) => {
        out += chunk.toString();
        if (out.includes('Sign in with which one?')) resolve();
      });
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    await asked;
    const choice = new RegExp(`(\\d)  ${company.issuer}\\s`).exec(out)?.[1] ?? '';
    child.stdin.write(`${choice}\n`);
    await comeBack('dora@example.com');
    expect([await ended, out]).toEqual([0, expect.stringContaining('the bundle verifies')]);
    await expectSignedBy('dora@example.com', company.issuer);
  });
});

describe('a token that is over', () => {
  it('is refused by the client, and by the certificate authority', async () => {
    const seconds = Math.floor(Date.now() / 1000);
    const email = { email: 'alice@example.com', email_verified: true };
    const token = await company.sign({
      ...{ iss: company.issuer, aud: 'sigstore', sub: 'alice@example.com', iat: seconds - 1200, exp: seconds - 600 },
      ...email,
    });
    const { exit, out } = await run(signArgs('--identity-token', token, '--json'));
    expect(exit).toBe(3);
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'SIGN_TOKEN_EXPIRED' } });
    const response = await fetch(`${world.url}/api/v2/signingCert`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        credentials: { oidcIdentityToken: token },
        publicKeyRequest: { publicKey: { algorithm: 'ECDSA', content: 'x' }, proofOfPossession: 'eA==' },
      }),
    });
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(response.status).toBeLessThan(500);
    const answer = await response.text();
    expect(answer).toContain('identity token');
    expect(answer).not.toContain(token);
  });
});

describe('attacks on a sign-in with the company login', () => {
  let redirectUri = '';
  let page: Response | undefined;

  /** Signs in, with `change` between the company and the browser's return. */
  function signIn(change: (callback: URL) => void = () => undefined, more: Partial<LoginOptions> = {}) {
    page = undefined;
    let visited = Promise.resolve();
    return login({
      issuer: company.issuer,
      clientId: 'sigstore',
      flow: 'browser',
      fetch,
      now: Date.now,
      show: () => undefined,
      openBrowser: (url) => {
        visited = (async () => {
          redirectUri = new URL(url).searchParams.get('redirect_uri') ?? '';
          const callback = await company.signInOverHttp(url, { email: 'alice@example.com' });
          change(callback);
          page = await fetch(callback);
          await page.text();
        })();
        return visited;
      },
      ...more,
    }).finally(() => visited);
  }

  const set =
    (name: string, value: string) =>
    (callback: URL): void =>
      callback.searchParams.set(name, value);

  async function expectRefused(work: Promise<unknown>, code: LoginErrorCode, message: RegExp): Promise<void> {
    await expect(work).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(page?.status ?? 400).toBe(400);
    await expect(fetch(redirectUri)).rejects.toThrow();
  }

  it('without an attack it works', async () => {
    expect(await signIn()).toMatchObject({ email: 'alice@example.com', issuer: company.issuer });
    expect(page?.status).toBe(200);
  });

  it('GHSA-hm8f sigstore-python 4.2.0: the browser comes back with another state', async () => {
    await expectRefused(signIn(set('state', 's'.repeat(43))), 'LOGIN_STATE', /its state is not the one/);
    await expectRefused(
      signIn((callback) => callback.searchParams.delete('state')),
      'LOGIN_STATE',
      /no state/,
    );
  });

  it('a code that was replayed', async () => {
    let code = '';
    await signIn((callback) => (code = callback.searchParams.get('code') ?? ''));
    await expectRefused(
      signIn((callback) => callback.searchParams.set('code', code)),
      'LOGIN_REFUSED',
      /invalid_grant/,
    );
  });

  it('Dex CVE-2022-39222: a code that was stolen is worth nothing without the verifier', async () => {
    const attacker = await oidc.discovery(new URL(company.issuer), 'sigstore', undefined, oidc.None(), {
      execute: [oidc.allowInsecureRequests],
    });
    let stolen = '';
    const victim = signIn((callback) => {
      stolen = callback.searchParams.get('code') ?? '';
      // The victim's browser never comes back with it.
      callback.searchParams.set('code', 'lost');
    });
    await expectRefused(victim, 'LOGIN_REFUSED', /invalid_grant/);
    for (const verifier of [undefined, oidc.randomPKCECodeVerifier()]) {
      const grant = oidc.genericGrantRequest(attacker, 'authorization_code', {
        code: stolen,
        redirect_uri: redirectUri,
        ...(verifier !== undefined && { code_verifier: verifier }),
      });
      await expect(grant).rejects.toMatchObject({ error: 'invalid_grant' });
    }
  });

  it('a code injected from the attacker’s own session', async () => {
    let theirs = '';
    await expectRefused(
      signIn((callback) => {
        theirs = callback.searchParams.get('code') ?? '';
        callback.searchParams.set('code', 'x');
      }),
      'LOGIN_REFUSED',
      /invalid_grant/,
    );
    await expectRefused(signIn(set('code', theirs)), 'LOGIN_REFUSED', /invalid_grant/);
  });

  it('RFC 9207: an answer that says it is from another issuer, or does not say', async () => {
    await expectRefused(signIn(set('iss', 'https://evil.example')), 'LOGIN_STATE', /from "https:\/\/evil.example"/);
    await expectRefused(
      signIn((callback) => callback.searchParams.delete('iss')),
      'LOGIN_STATE',
      /from whom/,
    );
  });

  /** The company signs what an attacker between us and it makes of a token. */
  const between =
    (change: (claims: Record<string, unknown>) => Record<string, unknown>): typeof fetch =>
    async (input, init) => {
      const response = await fetch(input, init);
      if (!addressOf(input).endsWith('/token')) return response;
      const answer = (await response.json()) as { id_token: string };
      const claims = JSON.parse(Buffer.from(answer.id_token.split('.')[1] ?? '', 'base64url').toString()) as Record<
        string,
        unknown
      >;
      return Response.json({ ...answer, id_token: await company.sign(change(claims)) });
    };

  it.each<[string, (claims: Record<string, unknown>) => Record<string, unknown>, RegExp]>([
    ['the nonce of another session', (claims) => ({ ...claims, nonce: 'n'.repeat(43) }), /nonce/],
    ['the hash of another access token', (claims) => ({ ...claims, at_hash: 'A'.repeat(22) }), /at_hash/],
    ['another issuer', (claims) => ({ ...claims, iss: 'https://evil.example' }), /iss/],
    ['another audience', (claims) => ({ ...claims, aud: 'another' }), /aud/],
    ['a time that is over', (claims) => ({ ...claims, exp: 1 }), /exp/],
  ])('an ID token with %s, well signed', async (_, change, message) => {
    await expectRefused(signIn(undefined, { fetch: between(change) }), 'LOGIN_TOKEN', message);
  });

  it('an ID token that was changed after it was signed', async () => {
    const tampered: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (!addressOf(input).endsWith('/token')) return response;
      const answer = (await response.json()) as { id_token: string };
      const [header, payload = '', signature] = answer.id_token.split('.');
      const claims = Buffer.from(payload, 'base64url').toString().replaceAll('alice@', 'admin@');
      return Response.json({
        ...answer,
        id_token: `${header}.${Buffer.from(claims).toString('base64url')}.${signature}`,
      });
    };
    await expectRefused(signIn(undefined, { fetch: tampered }), 'LOGIN_TOKEN', /signature/i);
  });

  it('time-out: after it the port is closed', async () => {
    const waiting = signIn(undefined, {
      timeoutMs: 1,
      openBrowser: async (url) => {
        redirectUri = new URL(url).searchParams.get('redirect_uri') ?? '';
      },
    });
    await expectRefused(waiting, 'LOGIN_TIMEOUT', /nobody did so in time/);
  });

  it('device flow: the person says no', async () => {
    const config = await oidc.discovery(new URL(company.issuer), 'sigstore', undefined, oidc.None(), {
      execute: [oidc.allowInsecureRequests],
    });
    expect(config.serverMetadata().device_authorization_endpoint).toBeTypeOf('string');
    let answered: Promise<unknown> = Promise.resolve();
    const refused = login({
      issuer: company.issuer,
      clientId: 'sigstore',
      flow: 'device',
      fetch,
      now: Date.now,
      // Asked as soon as the person has answered.
      sleep: () => answered.then(() => undefined),
      show: (line) => {
        const url = /http\S+/.exec(line)?.[0];
        if (url !== undefined) answered = company.signInOverHttp(url, { email: 'bob@example.com', consent: 'deny' });
      },
    });
    await expect(refused).rejects.toMatchObject({ code: 'LOGIN_DENIED' });
  });
});
