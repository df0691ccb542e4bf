import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFakeIssuer, json, type FakeIssuer } from '../../../libs/login/testing/issuer.js';
import { createWorld, type World } from '../../../libs/sign/testing/world.js';
import type { Terminal } from './config.js';
import { run } from './program.js';

let world: World;
let fake: FakeIssuer;
let folder: string;
let terminal: Terminal;
let out: string;
let err: string;
/** What the browser was sent to, and what the person was asked. */
let opened: string[];
let asked: string[];
const at = (name: string) => join(folder, name);
const addressOf = (input: string | URL | Request) => (input instanceof Request ? input.url : input.toString());

beforeEach(async () => {
  world = createWorld();
  fake = createFakeIssuer();
  fake.nowMs = world.clock.nowMs;
  folder = await mkdtemp(join(tmpdir(), 'chancery-cli-login-'));
  await mkdir(at('run'), { mode: 0o700 });
  await writeFile(at('file'), 'some file');
  opened = [];
  asked = [];
  terminal = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    colours: { out: false, err: false },
    columns: undefined,
    env: {},
    fetch: async (input, init) => {
      const { origin } = new URL(addressOf(input));
      return (origin === fake.issuer ? fake.fetch : world.fetch)(input, init);
    },
    now: world.now,
  };
});
afterEach(() => rm(folder, { recursive: true }));

/** There is a person, and (unless over SSH) a browser. */
function atTerminal({ browser = true, answer = '' } = {}): void {
  terminal.ask = async (question) => {
    asked.push(question);
    return answer;
  };
  if (!browser) return;
  terminal.openBrowser = async (url) => {
    opened.push(url);
    await fetch(fake.authorize(url));
  };
}

const chancery = (...argv: string[]) => {
  out = '';
  err = '';
  return run(argv, terminal);
};
const sign = (...more: string[]) => chancery('sign', at('file'), '--url', world.baseUrl, ...more);
const output = () => JSON.parse(out) as Record<string, unknown>;
const parameters = () => Object.fromEntries(new URL(opened.at(-1) ?? 'x:').searchParams);
const tokenRequest = () => fake.calls.findLast(({ path }) => path === '/token');

describe('chancery sign, where the token comes from', () => {
  it('signs a person in with the browser when there is one', async () => {
    atTerminal();
    expect(await sign('--oidc-issuer', fake.issuer)).toBe(0);
    expect(out).toContain('alice@example.com');
    expect(err).toContain('Signed in as alice@example.com, https://login.example says');
    expect(err).toContain(opened[0]);
    expect(out + err).not.toContain('eyJ');
  });

  it('and with a code that they confirm elsewhere when there is none', async () => {
    atTerminal({ browser: false });
    fake.before = ({ path }) =>
      path === '/device'
        ? json({
            ...{ device_code: 'x', user_code: 'AB', verification_uri: 'https://l.example' },
            expires_in: 9,
            interval: 0.001,
          })
        : path === '/token'
          ? json({ error: 'access_denied' }, 400)
          : undefined;
    expect(await sign('--oidc-issuer', fake.issuer)).toBe(5);
    expect(err).toContain('Enter the code AB');
  });

  it('and with a code that they copy when the issuer has nothing else', async () => {
    atTerminal({ browser: false });
    delete fake.metadata['device_authorization_endpoint'];
    terminal.ask = async () => fake.authorize(/Sign in at: (\S+)/.exec(err)?.[1] ?? '').searchParams.get('code') ?? '';
    expect(await sign('--oidc-issuer', fake.issuer)).toBe(0);
    // Not when the device flow was asked for.
    expect(await sign('--oidc-issuer', fake.issuer, '--auth-flow', 'device')).toBe(2);
  });

  it('signs nobody in without a terminal, unless told how', async () => {
    expect(await sign('--oidc-issuer', fake.issuer)).toBe(2);
    expect(err).toContain('SIGSTORE_ID_TOKEN');
    expect(err).toContain('--auth-flow');
    expect(fake.calls).toEqual([]);
    atTerminal();
    delete terminal.ask;
    expect(await sign('--oidc-issuer', fake.issuer, '--auth-flow', 'normal')).toBe(0);
    expect(await sign('--oidc-issuer', fake.issuer, '--fulcio-auth-flow', 'normal')).toBe(0);
  });

  it('--auth-flow token asks nobody', async () => {
    atTerminal();
    expect(await sign('--oidc-issuer', fake.issuer, '--auth-flow', 'token')).toBe(2);
    expect(opened).toEqual([]);
    terminal.env = { SIGSTORE_ID_TOKEN: world.token() };
    expect(await sign('--auth-flow', 'token')).toBe(0);
  });

  it('takes what the environment offers before asking a person, and not when told not to', async () => {
    atTerminal();
    terminal.env = { SIGSTORE_ID_TOKEN: world.token({ email: 'ci@example.com' }) };
    expect(await sign()).toBe(0);
    expect(out).toContain('ci@example.com');
    expect(opened).toEqual([]);
    expect(await sign('--oidc-issuer', fake.issuer, '--oidc-disable-ambient-providers')).toBe(0);
    expect(out).toContain('alice@example.com');
    expect(await sign('--oidc-issuer', fake.issuer, '--auth-flow', 'normal')).toBe(0);
    expect(out).toContain('alice@example.com');
  });

  it('does not sign as the machine when told to sign in with another issuer', async () => {
    atTerminal();
    terminal.env = { SIGSTORE_ID_TOKEN: world.token() };
    expect(await sign('--oidc-issuer', fake.issuer)).toBe(2);
    expect(err).toContain('the environment (env) offers a token of');
    expect(err).toContain('--oidc-disable-ambient-providers');
  });

  it('--oidc-provider takes that one, by our name or another', async () => {
    terminal.env = { SIGSTORE_ID_TOKEN: world.token() };
    expect(await sign('--oidc-provider', 'env')).toBe(0);
    expect(await sign('--oidc-provider', 'github-actions')).toBe(2);
    expect(err).toContain('id-token: write');
    expect(await sign('--oidc-provider', 'nobody')).toBe(2);
    expect(err).toContain('github-actions');
  });

  it.each([
    [['--identity-token', 'x', '--oidc-provider', 'env']],
    [['--identity-token', 'x', '--auth-flow', 'device']],
    [['--oidc-provider', 'env', '--oidc-disable-ambient-providers']],
    [['--oidc-provider', 'env', '--auth-flow', 'normal']],
    [['--auth-flow', 'telepathy']],
    [['--auth-flow', 'normal', '--oidc-issuer', 'http://login.example']],
    [['--auth-flow', 'normal', '--oidc-issuer', 'https://login.example', '--oidc-redirect-url', 'https://x.example']],
    [['--auth-flow', 'normal', '--oidc-issuer', 'https://login.example', '--oidc-param', 'x']],
    [['--auth-flow', 'normal', '--oidc-issuer', 'https://login.example', '--oidc-param', 'state=x']],
    [['--auth-flow', 'oob', '--oidc-issuer', 'https://login.example']],
    [['--auth-flow', 'client_credentials', '--oidc-issuer', 'https://login.example']],
  ])('exits with 2 for %j', async (flags) => {
    expect(await sign(...flags)).toBe(2);
    expect(err).not.toBe('');
  });
});

describe('chancery login', () => {
  beforeEach(() => atTerminal());

  it('says who you are', async () => {
    expect(await chancery('login', '--issuer', fake.issuer)).toBe(0);
    expect(out).toBe(
      '  issuer   https://login.example\n  subject  alice\n  e-mail   alice@example.com\n  expires  2026-06-01T12:10:00.000Z\n',
    );
    expect(await chancery('login', '--oidc-issuer', fake.issuer, '--json')).toBe(0);
    expect(output()).toEqual({
      ok: true,
      issuer: fake.issuer,
      subject: 'alice',
      email: 'alice@example.com',
      emailVerified: true,
      expiresAt: '2026-06-01T12:10:00.000Z',
    });
  });

  it('says when the issuer does not vouch for the address, or gives none', async () => {
    fake.claims = ({ email_verified: _, ...usual }) => usual;
    await chancery('login', '--issuer', fake.issuer);
    expect(out).toContain('alice@example.com (the issuer does not say that it is verified)');
    fake.claims = (usual) => ({ ...usual, email_verified: 'true' });
    await chancery('login', '--issuer', fake.issuer);
    expect(out).toContain('alice@example.com\n');
    fake.claims = ({ email: _, ...usual }) => usual;
    await chancery('login', '--issuer', fake.issuer);
    expect(out).not.toContain('e-mail');
    expect(err).toContain('Signed in as alice,');
  });

  it('prints the token when told to, and nothing else there', async () => {
    expect(await chancery('login', '--issuer', fake.issuer, '--token')).toBe(0);
    expect(out).toMatch(/^eyJ[\w-]+\.[\w-]+\.[\w-]+\n$/);
    expect(err).toContain('alice@example.com');
    expect(await chancery('login', '--issuer', fake.issuer, '--token', '--json')).toBe(0);
    expect(output()['token']).toMatch(/^eyJ/);
  });

  it('passes the settings on', async () => {
    await writeFile(at('secret'), 's3cret\n');
    fake.claims = (usual) => ({ ...usual, aud: ['cli', 'ca'], azp: 'cli' });
    const flags = [
      ...['--oidc-client-id', 'cli', '--oidc-client-secret-file', at('secret'), '--oidc-audience', 'ca'],
      ...[
        '--oidc-scope',
        'openid',
        '--oidc-scope',
        'profile',
        '--oidc-connector-id',
        'github',
        '--oidc-param',
        'a=b=c',
      ],
    ];
    expect(await chancery('login', '--issuer', fake.issuer, ...flags)).toBe(0);
    expect(parameters()).toMatchObject({
      ...{ client_id: 'cli', audience: 'ca', scope: 'openid profile', connector_id: 'github', a: 'b=c' },
    });
    expect(tokenRequest()?.headers.get('authorization')).toBe(`Basic ${btoa('cli:s3cret')}`);
    await writeFile(at('secret'), '\n');
    expect(await chancery('login', '--issuer', fake.issuer, ...flags)).toBe(3);
  });

  it('client credentials', async () => {
    await writeFile(at('secret'), 's3cret');
    const flags = ['--auth-flow', 'client_credentials', '--oidc-client-secret-file', at('secret')];
    expect(await chancery('login', '--issuer', fake.issuer, ...flags)).toBe(0);
    expect(out).toContain('a-program');
    expect(opened).toEqual([]);
  });

  /** A signing configuration that names these issuers. */
  async function configWith(...urls: string[]): Promise<string> {
    await chancery('trust', 'export', '--url', world.baseUrl, '--out', folder);
    const path = at('signing_config.v0.2.json');
    const config = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    const oidcUrls = urls.map((url) => ({
      ...{ url, majorApiVersion: 1, validFor: { start: '2026-01-01T00:00:00Z' }, operator: url },
    }));
    await writeFile(path, JSON.stringify({ ...config, oidcUrls }));
    return path;
  }
  const machine = 'https://ci.example';

  it('finds the issuer in the signing configuration, past those that no person can sign in with', async () => {
    const fetchBoth = terminal.fetch;
    terminal.fetch = async (input, init) =>
      addressOf(input).startsWith(machine)
        ? json({ issuer: machine, jwks_uri: `${machine}/jwks` })
        : fetchBoth(input, init);
    const config = await configWith(machine, fake.issuer, 'https://*.wild.example');
    expect(await chancery('login', '--signing-config', config)).toBe(0);
    expect(out).toContain(fake.issuer);
    expect(asked).toEqual([]);
  });

  it('asks which one where there is a choice, and lists them where there is nobody', async () => {
    const fetchBoth = terminal.fetch;
    terminal.fetch = async (input, init) =>
      addressOf(input).startsWith(machine) ? json({}, 503) : fetchBoth(input, init);
    const config = await configWith(machine, fake.issuer);
    atTerminal({ answer: ' 2 ' });
    expect(await chancery('login', '--signing-config', config)).toBe(0);
    expect(err).toContain(`  1  ${machine}\n  2  ${fake.issuer}\n`);
    for (const answer of ['', '0', '3', 'x']) {
      atTerminal({ answer });
      expect(await chancery('login', '--signing-config', config)).toBe(2);
    }
    delete terminal.ask;
    expect(await chancery('login', '--signing-config', config)).toBe(2);
    expect(err).toContain(`${machine}, ${fake.issuer}`);
    expect(err).toContain('--oidc-issuer');
  });

  it('says that there is no issuer', async () => {
    expect(await chancery('login', '--signing-config', await configWith())).toBe(2);
    expect(await chancery('login')).toBe(2);
    expect(await chancery('login', '--issuer', fake.issuer, '--auth-flow', 'token')).toBe(2);
    expect(await chancery('login', '--url', world.baseUrl, '--signing-config', 'x')).toBe(2);
  });

  it.each([
    [
      'LOGIN_NETWORK',
      4,
      () => {
        throw new TypeError('fetch failed');
      },
    ],
    ['LOGIN_DISCOVERY', 4, () => json({}, 404)],
  ] as const)('exits with %s: %d', async (code, exit, answer) => {
    fake.before = answer;
    expect(await chancery('login', '--issuer', fake.issuer, '--json')).toBe(exit);
    expect(output()).toMatchObject({ ok: false, error: { code } });
  });

  it('exits with 1 for an answer that does not belong here, and 5 for a refusal', async () => {
    fake.callback = (usual) => ({ ...usual, state: 'x' });
    expect(await chancery('login', '--issuer', fake.issuer, '--json')).toBe(1);
    expect(output()).toMatchObject({ error: { code: 'LOGIN_STATE', cure: expect.any(String) as string } });
    fake.callback = ({ state, iss }) => ({ error: 'access_denied', state: state ?? '', iss: iss ?? '' });
    expect(await chancery('login', '--issuer', fake.issuer)).toBe(5);
  });
});

describe('the token cache of chancery', () => {
  beforeEach(() => {
    atTerminal();
    terminal.env = { XDG_RUNTIME_DIR: at('run'), XDG_CACHE_HOME: at('cache') };
  });

  it('is used only when asked for, by flag or by variable', async () => {
    expect(await chancery('login', '--issuer', fake.issuer, '--cache-token')).toBe(0);
    expect(opened).toHaveLength(1);
    expect(await sign('--oidc-issuer', fake.issuer, '--cache-token')).toBe(0);
    expect(opened).toHaveLength(1);
    expect(await sign('--oidc-issuer', fake.issuer)).toBe(0);
    expect(opened).toHaveLength(2);
    terminal.env = { ...terminal.env, CHANCERY_TOKEN_CACHE: '1' };
    delete terminal.ask;
    expect(await sign('--oidc-issuer', fake.issuer)).toBe(0);
    expect(opened).toHaveLength(2);
    expect(await sign('--oidc-issuer', fake.issuer, '--no-cache-token')).toBe(2);
  });

  it('logout', async () => {
    expect(await chancery('logout')).toBe(0);
    expect(out).toBe('Removed 0 cached tokens.\n');
    await chancery('login', '--issuer', fake.issuer, '--cache-token');
    expect(await chancery('logout', '--json')).toBe(0);
    expect(output()).toEqual({ ok: true, removed: 1 });
    terminal.env = {};
    expect(await chancery('logout')).toBe(3);
    expect(err).toContain('XDG_RUNTIME_DIR');
  });
});
