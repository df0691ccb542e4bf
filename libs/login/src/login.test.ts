import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { connect as connectTo, type AddressInfo } from 'node:net';
import { beforeEach, describe, expect, it } from 'vitest';
import { createFakeIssuer, json, type FakeIssuer } from '../testing/issuer.js';
import { LoginError, type LoginErrorCode } from './error.js';
import { offersLogin } from './issuer.js';
import { login } from './login.js';
import type { Login, LoginOptions } from './options.js';

let fake: FakeIssuer;
let shown: string[];
/** What the browser saw in the end. */
let page: { status: number; text: string; headers: Headers } | undefined;

beforeEach(() => {
  fake = createFakeIssuer();
  shown = [];
  visits = [];
  page = undefined;
});

let visits: Promise<void>[];

/** Goes where the issuer sends it. */
function visit(callback: URL): Promise<void> {
  const visited = fetch(callback).then(async (response) => {
    page = { status: response.status, text: await response.text(), headers: response.headers };
  });
  visits.push(visited);
  return visited;
}

function options(change: Partial<LoginOptions> = {}): LoginOptions {
  return {
    issuer: fake.issuer,
    clientId: 'sigstore',
    flow: 'browser',
    fetch: fake.fetch,
    now: () => fake.nowMs,
    show: (line) => void shown.push(line),
    openBrowser: (url) => visit(fake.authorize(url)),
    sleep: async (milliseconds) => {
      fake.nowMs += milliseconds;
    },
    ...change,
  };
}

/** Until the browser has its page too. */
const signIn = (change: Partial<LoginOptions> = {}): Promise<Login> =>
  login(options(change)).finally(() => Promise.allSettled(visits));

async function expectFailure(
  work: Promise<unknown>,
  code: LoginErrorCode,
  message: RegExp = /^Cannot /,
): Promise<LoginError> {
  const error = await work.then(
    () => new Error('it succeeded'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(LoginError);
  expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  return error as LoginError;
}

describe('login() in the browser', () => {
  it('sends the person to the issuer, and gives the verified token', async () => {
    let seen: URL | undefined;
    const done = await signIn({
      openBrowser: (url) => {
        seen = new URL(url);
        return visit(fake.authorize(url));
      },
    });
    expect(done).toMatchObject({
      issuer: fake.issuer,
      subject: 'alice',
      email: 'alice@example.com',
      emailVerified: true,
      expiresAt: new Date((Math.floor(fake.nowMs / 1000) + 600) * 1000),
    });
    expect(done.token.split('.')).toHaveLength(3);
    expect(seen?.origin).toBe(fake.issuer);
    expect(Object.fromEntries(seen?.searchParams ?? [])).toEqual({
      client_id: 'sigstore',
      response_type: 'code',
      scope: 'openid email',
      redirect_uri: expect.stringMatching(/^http:\/\/localhost:\d+\/auth\/callback$/) as string,
      state: expect.stringMatching(/^[\w-]{43}$/) as string,
      nonce: expect.stringMatching(/^[\w-]{43}$/) as string,
      code_challenge: expect.stringMatching(/^[\w-]{43}$/) as string,
      code_challenge_method: 'S256',
    });
    expect(shown.join()).toContain(seen?.href);
  });

  it('shows a page that needs nothing else, and is kept nowhere', async () => {
    await signIn();
    expect(page?.status).toBe(200);
    expect(page?.text).toContain('You may close this window');
    expect(page?.text).not.toMatch(/<script|src=|href=|http|url\(/);
    expect(page?.headers.get('cache-control')).toBe('no-store');
    expect(page?.headers.get('referrer-policy')).toBe('no-referrer');
    expect(page?.headers.get('content-security-policy')).toMatch(
      /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
    );
  });

  it('sends what the settings say, and demands the audience', async () => {
    let seen: URLSearchParams | undefined;
    fake.claims = (usual) => ({ ...usual, aud: ['cli', 'sigstore'], azp: 'cli' });
    const done = await signIn({
      clientId: 'cli',
      clientSecret: 's&cret',
      scopes: ['openid', 'audience:server:client_id:sigstore'],
      audience: 'sigstore',
      connectorId: 'https://github.com/login/oauth',
      extra: { prompt: 'login' },
      openBrowser: (url) => {
        seen = new URL(url).searchParams;
        return visit(fake.authorize(url));
      },
    });
    expect(Object.fromEntries(seen ?? [])).toMatchObject({
      client_id: 'cli',
      scope: 'openid audience:server:client_id:sigstore',
      audience: 'sigstore',
      connector_id: 'https://github.com/login/oauth',
      prompt: 'login',
    });
    const exchange = fake.calls.find(({ path }) => path === '/token');
    // RFC 6749 §2.3.1: form-encoded, then base64.
    expect(exchange?.headers.get('authorization')).toBe(`Basic ${btoa('cli:s%26cret')}`);
    expect(done.subject).toBe('alice');

    fake.claims = (usual) => ({ ...usual, aud: 'cli' });
    await expectFailure(signIn({ clientId: 'cli', audience: 'sigstore' }), 'LOGIN_TOKEN', /it is for "cli", wanted is/);
  });

  it('sends the secret in the form where the issuer takes it only there', async () => {
    fake.metadata['token_endpoint_auth_methods_supported'] = ['client_secret_post'];
    await signIn({ clientSecret: 'secret' });
    const exchange = fake.calls.find(({ path }) => path === '/token');
    expect(exchange?.headers.get('authorization')).toBeNull();
    expect(exchange?.form.get('client_secret')).toBe('secret');
  });

  it('asks for nothing but its own path, and once', async () => {
    const statuses: number[] = [];
    let callback: URL | undefined;
    await signIn({
      openBrowser: async (url) => {
        callback = fake.authorize(url);
        const at = (path: string, init?: RequestInit) => fetch(new URL(path, callback), init);
        for (const response of [
          await at('/'),
          await at('/favicon.ico'),
          await at('/auth/callback/'),
          await fetch(callback, { method: 'POST' }),
          await fetch(callback, { method: 'HEAD' }),
          await fetch(callback, { method: 'OPTIONS' }),
        ]) {
          statuses.push(response.status);
        }
        // Another name for this machine, as a page would use that had its own name resolve to 127.0.0.1.
        statuses.push(await statusFor(callback, 'evil.example'));
        await visit(callback);
      },
    });
    expect(statuses).toEqual([404, 404, 404, 404, 404, 404, 404]);
    expect(page?.status).toBe(200);
    await expect(fetch(callback ?? '')).rejects.toThrow();
  });

  it('comes back to the port and path that were set', async () => {
    const port = await freePort();
    let redirect: string | null = null;
    const openBrowser = (url: string): Promise<void> => {
      redirect = new URL(url).searchParams.get('redirect_uri');
      return visit(fake.authorize(url));
    };
    await signIn({ redirectUrl: `http://localhost:${port}/callback`, openBrowser });
    expect(redirect).toBe(`http://localhost:${port}/callback`);
    await signIn({ redirectUrl: `http://127.0.0.1:${port}/`, openBrowser });
    expect(redirect).toBe(`http://127.0.0.1:${port}/`);
  });

  it('closed port: says so when the port is taken', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await expectFailure(signIn({ redirectUrl: `http://localhost:${port}/cb` }), 'LOGIN_PORT', /EADDRINUSE/);
    await new Promise((resolve) => server.close(resolve));
  });

  it.each([
    'https://localhost:8080/cb',
    'http://example.com/cb',
    'http://localhost.example.com/cb',
    'http://localhost/cb?x=y',
    'urn:ietf:wg:oauth:2.0:oob',
    'nonsense',
  ])('does not let the browser come back to %s', async (redirectUrl) => {
    await expectFailure(signIn({ redirectUrl }), 'LOGIN_SETTINGS');
  });

  it('works with no browser that opens: the address is shown', async () => {
    const done = login(
      options({
        openBrowser: () => Promise.reject(new Error('xdg-open: ENOENT')),
        show: (line) => {
          shown.push(line);
          const url = /https:\/\/\S+/.exec(line)?.[0];
          if (url?.includes('code_challenge') === true) void visit(fake.authorize(url));
        },
      }),
    );
    expect((await done).subject).toBe('alice');
    expect(shown.join('\n')).toContain('xdg-open: ENOENT');
  });

  it('time-out: ends, and says what else there is', async () => {
    const error = await expectFailure(signIn({ openBrowser: async () => undefined, timeoutMs: 1 }), 'LOGIN_TIMEOUT');
    expect(error.cure).toContain('--auth-flow device');
  });

  it('time-out: lets the person at the terminal copy a code instead', async () => {
    const done = await signIn({
      openBrowser: async () => undefined,
      timeoutMs: 1,
      ask: async () => {
        const url = /https:\/\/\S+/.exec(shown.at(-1) ?? '')?.[0] ?? '';
        expect(new URL(url).searchParams.get('redirect_uri')).toBe('urn:ietf:wg:oauth:2.0:oob');
        return ` ${fake.authorize(url).searchParams.get('code')}\n`;
      },
    });
    expect(done.email).toBe('alice@example.com');
  });

  it.each(['state', 'nonce', 'redirect_uri', 'client_id', 'code_challenge', 'request_uri', 'response_mode'])(
    'does not let %s be set from outside',
    async (name) => {
      await expectFailure(signIn({ extra: { [name]: 'x' } }), 'LOGIN_SETTINGS', new RegExp(name));
    },
  );
});

describe('login() refuses', () => {
  const markup = '"><script>alert(1)</script>';

  it('GHSA-hm8f sigstore-python 4.2.0: an answer with the wrong state', async () => {
    fake.callback = (usual) => ({ ...usual, state: 'x'.repeat(43) });
    await expectFailure(signIn(), 'LOGIN_STATE', /its state is not the one of this sign-in/);
    expect(page?.status).toBe(400);
    expect(fake.calls.some(({ path }) => path === '/token')).toBe(false);
  });

  it('GHSA-hm8f sigstore-python 4.2.0: an answer with no state, an empty one, and two', async () => {
    fake.callback = ({ code, iss }) => ({ code: code ?? '', iss: iss ?? '' });
    await expectFailure(signIn(), 'LOGIN_STATE', /it has no state/);
    fake.callback = (usual) => ({ ...usual, state: '' });
    await expectFailure(signIn(), 'LOGIN_STATE');
    fake.callback = (usual) => usual;
    const openBrowser = (url: string): Promise<void> => {
      const callback = fake.authorize(url);
      callback.searchParams.append('state', callback.searchParams.get('state') ?? '');
      return visit(callback);
    };
    await expectFailure(signIn({ openBrowser }), 'LOGIN_STATE', /"state" is there twice/);
  });

  it('GHSA-hm8f sigstore-python 4.2.0: a code that was injected from another session', async () => {
    // The attacker's own sign-in, with the state of the victim: what an attacker has who learned the state.
    let other: URL | undefined;
    const capture = signIn({
      openBrowser: async (url) => {
        other = fake.authorize(url);
        await visit(
          new URL(
            `${other.origin}${other.pathname}?error=access_denied&state=${other.searchParams.get('state')}&iss=${fake.issuer}`,
          ),
        );
      },
    });
    await expectFailure(capture, 'LOGIN_DENIED');
    const injected = (url: string): Promise<void> => {
      const callback = fake.authorize(url);
      callback.searchParams.set('code', other?.searchParams.get('code') ?? '');
      return visit(callback);
    };
    // PKCE: the code was made for another verifier.
    await expectFailure(signIn({ openBrowser: injected }), 'LOGIN_REFUSED', /invalid_grant/);
    expect(page?.status).toBe(400);
  });

  it('a code that was used already', async () => {
    let first: URL | undefined;
    await signIn({ openBrowser: (url) => visit((first = fake.authorize(url))) });
    const replay = (url: string): Promise<void> => {
      const callback = fake.authorize(url);
      callback.searchParams.set('code', first?.searchParams.get('code') ?? '');
      return visit(callback);
    };
    const error = await expectFailure(signIn({ openBrowser: replay }), 'LOGIN_REFUSED', /invalid_grant/);
    expect(error.cure).toContain('a code is good once');
  });

  it('RFC 9207: an answer of another issuer, and one that does not say whose it is although it should', async () => {
    fake.callback = (usual) => ({ ...usual, iss: 'https://evil.example' });
    await expectFailure(signIn(), 'LOGIN_STATE', /from "https:\/\/evil.example", expected "https:\/\/login.example"/);
    fake.callback = ({ code, state }) => ({ code: code ?? '', state: state ?? '' });
    await expectFailure(signIn(), 'LOGIN_STATE', /does not say from whom/);
    expect(fake.calls.some(({ path }) => path === '/token')).toBe(false);
    // An issuer that does not know RFC 9207 says nothing.
    delete fake.metadata['authorization_response_iss_parameter_supported'];
    expect((await signIn()).subject).toBe('alice');
  });

  it('consent that was denied, without showing anybody’s markup', async () => {
    fake.callback = ({ state, iss }) => ({
      error: 'access_denied',
      error_description: `not today${markup}\u001b[31m`,
      state: state ?? '',
      iss: iss ?? '',
    });
    const error = await expectFailure(signIn(), 'LOGIN_DENIED', /access_denied/);
    expect(error.message).not.toContain('\u001b');
    expect(page?.status).toBe(400);
    expect(page?.text).not.toContain('alert');
    expect(page?.text).not.toContain('access_denied');
  });

  it('any other error of the issuer', async () => {
    fake.callback = ({ state, iss }) => ({ error: 'invalid_scope', state: state ?? '', iss: iss ?? '' });
    const error = await expectFailure(signIn(), 'LOGIN_REFUSED', /"invalid_scope"/);
    expect(error.cure).toContain('--oidc-scope');
  });

  const wrongClaims: [string, (usual: Record<string, unknown>) => Record<string, unknown>, RegExp][] = [
    ['a nonce of another session', (usual) => ({ ...usual, nonce: 'n'.repeat(43) }), /nonce/],
    ['no nonce', ({ nonce: _, ...usual }) => usual, /nonce/],
    ['another issuer', (usual) => ({ ...usual, iss: 'https://evil.example' }), /iss/],
    ['another audience', (usual) => ({ ...usual, aud: 'other' }), /aud/],
    ['one audience too many', (usual) => ({ ...usual, aud: ['sigstore', 'other'] }), /aud/],
    ['another authorized party', (usual) => ({ ...usual, aud: ['sigstore', 'other'], azp: 'other' }), /azp/],
    ['a time that is over', (usual) => ({ ...usual, exp: Number(usual['iat']) - 10 }), /exp/],
    ['no expiry', ({ exp: _, ...usual }) => usual, /exp/],
    ['a time that is to come', (usual) => ({ ...usual, nbf: Number(usual['iat']) + 60 }), /nbf/],
    ['no subject', ({ sub: _, ...usual }) => usual, /sub/],
    ['the hash of another access token', (usual) => ({ ...usual, at_hash: 'A'.repeat(22) }), /at_hash/],
    ['a hash that is no text', (usual) => ({ ...usual, at_hash: 7 }), /at_hash/],
  ];
  it.each(wrongClaims)('an ID token with %s', async (_, claims, message) => {
    fake.claims = claims;
    await expectFailure(signIn(), 'LOGIN_TOKEN', message);
    expect(page?.status).toBe(400);
  });

  it('an ID token without at_hash is fine in this flow', async () => {
    fake.claims = ({ at_hash: _, ...usual }) => usual;
    expect((await signIn()).subject).toBe('alice');
  });

  it('an ID token that somebody else signed, or nobody', async () => {
    fake.signingKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    await expectFailure(signIn(), 'LOGIN_TOKEN', /signature/i);
    fake.header = { alg: 'none' };
    await expectFailure(signIn(), 'LOGIN_TOKEN', /alg/);
    // Even if the issuer says so.
    fake.metadata['id_token_signing_alg_values_supported'] = ['none'];
    await expectFailure(signIn(), 'LOGIN_TOKEN');
  });

  it('an ID token signed with a secret, or with a key that is not in the set', async () => {
    fake.metadata['id_token_signing_alg_values_supported'] = ['HS256', 'ES256'];
    fake.header = { alg: 'HS256' };
    await expectFailure(signIn({ clientSecret: 'secret' }), 'LOGIN_TOKEN');
    fake.header = { alg: 'ES256', kid: 'two' };
    await expectFailure(signIn(), 'LOGIN_TOKEN', /key/);
  });

  it('an answer with no ID token', async () => {
    fake.tokenAnswer = ({ id_token: _, ...usual }) => usual;
    await expectFailure(signIn(), 'LOGIN_TOKEN', /id_token/);
    expect(JSON.stringify(shown)).not.toContain('eyJ');
  });

  it('a wrong client, with a cure', async () => {
    fake.before = ({ path }) => (path === '/token' ? json({ error: 'invalid_client' }, 401) : undefined);
    const error = await expectFailure(signIn(), 'LOGIN_REFUSED', /"invalid_client"/);
    expect(error.cure).toContain('--oidc-client-id');
  });

  it('never repeats the token or the code', async () => {
    for (const [, claims] of wrongClaims) {
      fake.claims = claims;
      const error = await signIn().catch((thrown: unknown) => thrown as LoginError);
      expect(`${(error as LoginError).message} ${shown.join(' ')}`).not.toContain('eyJ');
    }
  });
});

describe('login() and the issuer’s description', () => {
  it.each([
    ['http://login.example', 'LOGIN_ISSUER'],
    ['ftp://login.example', 'LOGIN_ISSUER'],
    ['login.example', 'LOGIN_ISSUER'],
    ['https://user@login.example', 'LOGIN_ISSUER'],
    ['https://login.example?x=https://allowed.example', 'LOGIN_ISSUER'],
    ['https://login.example#x', 'LOGIN_ISSUER'],
    ['https://login.example/.well-known/openid-configuration', 'LOGIN_ISSUER'],
    ['https://*.login.example', 'LOGIN_ISSUER'],
    ['http://localhost.example.com', 'LOGIN_ISSUER'],
    ['http://127.0.0.1.example.com', 'LOGIN_ISSUER'],
  ] as const)('does not ask %s', async (issuer, code) => {
    await expectFailure(signIn({ issuer }), code);
    expect(fake.calls).toEqual([]);
  });

  it('takes http within this machine', async () => {
    fake = createFakeIssuer('http://127.0.0.1:8700/dev/oidc');
    expect((await signIn()).issuer).toBe('http://127.0.0.1:8700/dev/oidc');
  });

  it('does not go from an encrypted issuer, or from this machine, to somewhere in the clear', async () => {
    for (const name of ['authorization_endpoint', 'token_endpoint', 'jwks_uri']) {
      fake = createFakeIssuer();
      fake.metadata[name] = 'http://127.0.0.1/x';
      await expectFailure(signIn(), 'LOGIN_DISCOVERY', /not https/);
      fake = createFakeIssuer('http://localhost:1');
      fake.metadata[name] = 'http://login.example/x';
      await expectFailure(signIn(), 'LOGIN_DISCOVERY', /not https/);
    }
  });

  it.each(['file:///etc/passwd', 'javascript:alert(1)', 'zoommtg://x', 'nonsense'])(
    'does not open %s in the browser',
    async (endpoint) => {
      fake.metadata['authorization_endpoint'] = endpoint;
      let opened = false;
      const openBrowser = async (): Promise<void> => void (opened = true);
      await expectFailure(signIn({ openBrowser }), 'LOGIN_DISCOVERY');
      expect(opened).toBe(false);
    },
  );

  it('wants the issuer to call itself exactly so', async () => {
    fake.metadata['issuer'] = 'https://evil.example';
    await expectFailure(signIn(), 'LOGIN_DISCOVERY', /it calls itself "https:\/\/evil.example"/);
    fake.metadata['issuer'] = `${fake.issuer}/`;
    await expectFailure(signIn(), 'LOGIN_DISCOVERY', /it calls itself "https:\/\/login.example\/"/);
  });

  it('Entra: names the tenant in the cure', async () => {
    const common = 'https://login.microsoftonline.com/common/v2.0';
    const response = json({ ...fake.metadata, issuer: 'https://login.microsoftonline.com/{tenantid}/v2.0' });
    const error = await expectFailure(signIn({ issuer: common, fetch: async () => response }), 'LOGIN_DISCOVERY');
    expect(error.cure).toContain('<tenant id>');
  });

  it('CVE-2026-49478 GHSA-f5mr fulcio 1.8.6: follows no redirect', async () => {
    for (const path of ['/.well-known/openid-configuration', '/jwks', '/token']) {
      fake.before = (call) =>
        call.path === path
          ? new Response(null, { status: 302, headers: { location: 'https://evil.example/' } })
          : undefined;
      await expectFailure(signIn(), 'LOGIN_RESPONSE', /redirect/);
    }
    expect(fake.calls.some(({ path }) => path.includes('evil'))).toBe(false);
  });

  it('reads no endless answer', async () => {
    const chunk = new Uint8Array(64 * 1024).fill(0x20);
    let sent = 0;
    fake.before = () =>
      new Response(
        new ReadableStream({
          pull: (controller) => {
            sent += chunk.length;
            controller.enqueue(chunk);
          },
        }),
        { headers: { 'content-type': 'application/json' } },
      );
    await expectFailure(signIn(), 'LOGIN_RESPONSE', /more than \d+ bytes/);
    expect(sent).toBeLessThan(2 ** 20);
  });

  it.each([
    ['a web page', () => new Response('<html>', { headers: { 'content-type': 'text/html' } })],
    ['no JSON', () => new Response('{', { headers: { 'content-type': 'application/json' } })],
    ['a list', () => json([])],
    ['404', () => json({}, 404)],
    ['500', () => json({}, 500)],
  ])('says that it cannot read %s', async (_, answer) => {
    fake.before = answer;
    await expectFailure(signIn(), 'LOGIN_DISCOVERY');
  });

  it('says why it cannot be reached', async () => {
    fake.before = () => {
      throw new TypeError('fetch failed', { cause: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }) });
    };
    await expectFailure(signIn(), 'LOGIN_NETWORK', /Cannot reach the issuer at https:\/\/login.example: ECONNREFUSED/);
  });

  it('offersLogin() tells people’s issuers from those of machines', async () => {
    const edge = { fetch: fake.fetch, now: () => fake.nowMs };
    expect(await offersLogin(fake.issuer, edge)).toBe(true);
    delete fake.metadata['authorization_endpoint'];
    expect(await offersLogin(fake.issuer, edge)).toBe(true);
    delete fake.metadata['device_authorization_endpoint'];
    expect(await offersLogin(fake.issuer, edge)).toBe(false);
    expect(await offersLogin('https://oidc.eks.*.amazonaws.com/id/*', edge)).toBe(false);
    fake.before = () => json({}, 503);
    expect(await offersLogin(fake.issuer, edge)).toBeUndefined();
  });
});

describe('login() with a device', () => {
  const device = (change: Partial<LoginOptions> = {}): Promise<Login> => signIn({ flow: 'device', ...change });

  it('shows the address and the code, and asks until the person has confirmed', async () => {
    fake.deviceAnswers = ['authorization_pending', 'authorization_pending'];
    expect(await device()).toMatchObject({ subject: 'alice', email: 'alice@example.com' });
    expect(shown.join('\n')).toContain('https://login.example/activate?user_code=WDJB-MJHT');
    expect(shown.join('\n')).toContain('shows the code WDJB-MJHT');
    const polls = fake.calls.filter(({ path }) => path === '/token');
    expect(polls).toHaveLength(3);
    expect(polls[0]?.form.get('device_code')).toBe('the-device-code');
  });

  it('Dex: sends a challenge and its verifier', async () => {
    await device();
    const [start] = fake.calls.filter(({ path }) => path === '/device');
    expect(Object.fromEntries(start?.form ?? [])).toMatchObject({
      client_id: 'sigstore',
      scope: 'openid email',
      code_challenge_method: 'S256',
    });
    const [poll] = fake.calls.filter(({ path }) => path === '/token');
    expect(poll?.form.get('code_verifier')).toMatch(/^[\w-]{43}$/);
  });

  it('Dex: asks on when it says 401 and means wait', async () => {
    fake.deviceStatus = 401;
    fake.deviceAnswers = ['authorization_pending', 'slow_down'];
    expect((await device()).subject).toBe('alice');
  });

  it('asks at the interval of the issuer, and five seconds less often when told to slow down', async () => {
    const pauses: number[] = [];
    const sleep = async (milliseconds: number): Promise<void> => {
      pauses.push(milliseconds);
      fake.nowMs += milliseconds;
    };
    fake.deviceAnswers = ['authorization_pending', 'slow_down', 'authorization_pending', 'slow_down'];
    await device({ sleep });
    expect(pauses).toEqual([5000, 5000, 10_000, 10_000, 15_000]);
  });

  it('asks on, less often, when the connection fails', async () => {
    let failures = 2;
    fake.before = ({ path }) => {
      if (path === '/token' && failures-- > 0) throw new TypeError('fetch failed');
      return undefined;
    };
    const startMs = fake.nowMs;
    await device();
    expect(fake.nowMs - startMs).toBe(35_000);
  });

  it('ends when the person says no, when the code is over, and when nobody comes', async () => {
    fake.deviceAnswers = ['authorization_pending', 'access_denied'];
    await expectFailure(device(), 'LOGIN_DENIED');
    fake.deviceAnswers = ['expired_token'];
    await expectFailure(device(), 'LOGIN_EXPIRED');
    fake.deviceAnswers = new Array<string>(1000).fill('authorization_pending');
    const startMs = fake.nowMs;
    await expectFailure(device(), 'LOGIN_EXPIRED', /nobody confirmed/);
    expect(fake.nowMs - startMs).toBe(600_000);
  });

  it('verifies the token as in the browser', async () => {
    fake.claims = (usual) => ({ ...usual, at_hash: 'A'.repeat(22) });
    await expectFailure(device(), 'LOGIN_TOKEN', /at_hash/);
    fake.claims = (usual) => ({ ...usual, aud: 'other' });
    await expectFailure(device(), 'LOGIN_TOKEN', /aud/);
    fake.tokenAnswer = ({ id_token: _, ...usual }) => usual;
    await expectFailure(device(), 'LOGIN_TOKEN', /no ID token/);
  });

  it.each([
    ['an address that is not encrypted', { verification_uri: 'http://login.example/' }],
    ['an address that is no page', { verification_uri_complete: 'javascript:alert(1)' }],
    ['a code that drives the terminal', { user_code: 'AB\u001b[2J' }],
    ['no code', { user_code: '' }],
  ])('refuses %s', async (_, change) => {
    fake.before = ({ path }) =>
      path === '/device'
        ? json({
            device_code: 'x',
            user_code: 'ABCD',
            verification_uri: 'https://login.example/',
            expires_in: 9,
            ...change,
          })
        : undefined;
    await expectFailure(device(), 'LOGIN_RESPONSE');
    expect(shown).toEqual([]);
  });

  it('says that the issuer does not offer it', async () => {
    delete fake.metadata['device_authorization_endpoint'];
    await expectFailure(device(), 'LOGIN_FLOW', /does not offer the device flow/);
  });
});

describe('login() out of band', () => {
  const copied = (answer: (url: string) => string, change: Partial<LoginOptions> = {}): Promise<Login> =>
    signIn({ flow: 'oob', ask: async () => answer(/https:\/\/\S+/.exec(shown.at(-1) ?? '')?.[0] ?? ''), ...change });

  it('takes a code that was copied', async () => {
    const done = await copied((url) => fake.authorize(url).searchParams.get('code') ?? '');
    expect(done.subject).toBe('alice');
  });

  it('takes the address of the page that could not be shown, and checks it', async () => {
    const redirectUrl = 'http://localhost:1/auth/callback';
    expect((await copied((url) => fake.authorize(url).href, { redirectUrl })).subject).toBe('alice');
    fake.callback = (usual) => ({ ...usual, state: 'other' });
    await expectFailure(
      copied((url) => fake.authorize(url).href, { redirectUrl }),
      'LOGIN_STATE',
    );
  });

  it('refuses a code of another session, and none', async () => {
    let other = '';
    await copied((url) => {
      other = fake.authorize(url).searchParams.get('code') ?? '';
      return fake.authorize(url).searchParams.get('code') ?? '';
    });
    await expectFailure(
      copied(() => other),
      'LOGIN_REFUSED',
      /invalid_grant/,
    );
    await expectFailure(
      copied(() => ''),
      'LOGIN_TIMEOUT',
    );
  });

  it('needs a terminal', async () => {
    await expectFailure(signIn({ flow: 'oob' }), 'LOGIN_SETTINGS', /no terminal/);
  });
});

describe('login() with client credentials', () => {
  const program = (change: Partial<LoginOptions> = {}): Promise<Login> =>
    signIn({ flow: 'client-credentials', clientSecret: 'secret', ...change });

  it('takes an access token that is a JWT for us', async () => {
    expect(await program()).toMatchObject({ subject: 'a-program', issuer: fake.issuer });
    const [request] = fake.calls.filter(({ path }) => path === '/token');
    expect(Object.fromEntries(request?.form ?? [])).toEqual({ grant_type: 'client_credentials' });
  });

  it('Keycloak: takes one with further audiences', async () => {
    fake.claims = (usual) => ({ ...usual, aud: ['sigstore', 'account'], azp: 'ci' });
    expect((await program({ clientId: 'ci', audience: 'sigstore' })).subject).toBe('a-program');
  });

  it('refuses one for somebody else, one that is over, one that is no JWT, and one of another key', async () => {
    await expectFailure(program({ audience: 'other' }), 'LOGIN_TOKEN', /aud/);
    fake.claims = (usual) => ({ ...usual, exp: Number(usual['iat']) - 10 });
    await expectFailure(program(), 'LOGIN_TOKEN', /exp/);
    fake.claims = (usual) => usual;
    fake.tokenAnswer = (usual) => ({ ...usual, access_token: 'opaque' });
    const error = await expectFailure(program(), 'LOGIN_TOKEN');
    expect(error.message).not.toContain('opaque');
    fake.tokenAnswer = (usual) => usual;
    fake.signingKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    await expectFailure(program(), 'LOGIN_TOKEN');
  });

  it('needs a secret', async () => {
    await expectFailure(signIn({ flow: 'client-credentials' }), 'LOGIN_SETTINGS', /no client secret/);
  });

  it('says what the issuer says', async () => {
    fake.before = ({ path }) => (path === '/token' ? json({ error: 'unauthorized_client' }, 400) : undefined);
    await expectFailure(program(), 'LOGIN_REFUSED', /unauthorized_client/);
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** `fetch` sets the header Host itself. */
function statusFor(url: URL, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connectTo(Number(url.port), '127.0.0.1');
    socket.once('error', reject);
    socket.once('data', (data) => {
      resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(data.toString())?.[1]));
      socket.destroy();
    });
    socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${host}:${url.port}\r\n\r\n`);
  });
}
