// The development issuer, driven by a certified OpenID Connect client and by what a browser does with its consent page.
import { execFileSync } from 'node:child_process';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startWorld, type World } from '../world/index.js';

const redirectUri = 'http://localhost:9999/callback';

describe('the development issuer', () => {
  let world: World;
  let offsetMs = 0;
  beforeAll(async () => {
    world = await startWorld({ now: () => new Date(Date.now() + offsetMs) });
  });
  afterAll(() => world.close());
  beforeEach(() => {
    offsetMs = 0;
  });

  const discover = () =>
    oidc.discovery(new URL(world.issuer), 'sigstore', undefined, oidc.None(), {
      execute: [oidc.allowInsecureRequests],
    });

  interface Login {
    config: oidc.Configuration;
    url: URL;
    checks: { pkceCodeVerifier: string; expectedState: string; expectedNonce: string };
  }

  async function startLogin(change: Record<string, string> = {}): Promise<Login> {
    const config = await discover();
    const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
    const expectedState = oidc.randomState();
    const expectedNonce = oidc.randomNonce();
    const url = oidc.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri,
      scope: 'openid email',
      code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: expectedState,
      nonce: expectedNonce,
      ...change,
    });
    return { config, url, checks: { pkceCodeVerifier, expectedState, expectedNonce } };
  }

  const unescapeHtml = (text: string) =>
    text.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));

  /** Opens the consent page, fills in the address and sends the form, with the headers that a browser adds. */
  async function consent(url: URL | string, email = 'alice@example.com'): Promise<Response> {
    const page = await fetch(url);
    expect(page.status).toBe(200);
    const html = await page.text();
    const form = /<form method="post" action="([^"]*)">/.exec(html);
    const inputs = html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g);
    const fields = new URLSearchParams(
      [...inputs].map(([, name = '', value = '']): [string, string] => [name, unescapeHtml(value)]),
    );
    fields.set('email', email);
    // Fetch, "append a request Origin header": a page that sends no referrer does not say its origin either.
    const origin = page.headers.get('referrer-policy') === 'no-referrer' ? 'null' : new URL(page.url).origin;
    return fetch(new URL(unescapeHtml(form?.[1] ?? ''), page.url), {
      method: 'POST',
      redirect: 'manual',
      headers: { origin, 'content-type': 'application/x-www-form-urlencoded' },
      body: fields.toString(),
    });
  }

  async function codeOf(url: URL): Promise<URL> {
    const answer = await consent(url);
    expect(answer.status).toBe(303);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    return new URL(answer.headers.get('location') ?? '');
  }

  it('describes itself, and its keys', async () => {
    const metadata = (await discover()).serverMetadata();
    expect(metadata).toMatchObject({
      issuer: world.issuer,
      authorization_endpoint: `${world.issuer}/authorize`,
      token_endpoint: `${world.issuer}/token`,
      code_challenge_methods_supported: ['S256'],
      response_types_supported: ['code'],
    });
    const { keys } = (await (await fetch(metadata.jwks_uri ?? '')).json()) as { keys: Record<string, unknown>[] };
    expect(keys).toHaveLength(1);
    expect(Object.keys(keys[0] ?? {}).sort()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
  });

  it('authorization code with PKCE: the token says what the person said, and gets a certificate’s audience', async () => {
    const { config, url, checks } = await startLogin();
    const callback = await codeOf(url);
    expect(callback.origin + callback.pathname).toBe(redirectUri);
    expect(callback.searchParams.get('state')).toBe(checks.expectedState);
    const tokens = await oidc.authorizationCodeGrant(config, callback, { ...checks, idTokenExpected: true });
    expect(tokens.claims()).toMatchObject({
      iss: world.issuer,
      aud: 'sigstore',
      sub: 'alice@example.com',
      email: 'alice@example.com',
      email_verified: true,
      nonce: checks.expectedNonce,
    });
    expect(tokens.access_token).toBe(tokens.id_token);
    expect(tokens.token_type).toBe('bearer');
  });

  it('shows the code on a page when the client takes it out of band', async () => {
    const { config, url, checks } = await startLogin({ redirect_uri: 'urn:ietf:wg:oauth:2.0:oob' });
    const page = await consent(url);
    expect(page.status).toBe(200);
    const code = /<code>([\w-]+)<\/code>/.exec(await page.text())?.[1] ?? '';
    const tokens = await oidc.genericGrantRequest(config, 'authorization_code', {
      code,
      redirect_uri: 'urn:ietf:wg:oauth:2.0:oob',
      code_verifier: checks.pkceCodeVerifier,
    });
    expect(tokens.id_token).toBeTypeOf('string');
  });

  /** The token endpoint's refusal, in OAuth's words. */
  async function expectGrantRefused(config: oidc.Configuration, callback: URL, checks: Login['checks']): Promise<void> {
    await expect(oidc.authorizationCodeGrant(config, callback, checks)).rejects.toMatchObject({
      error: 'invalid_grant',
      status: 400,
    });
  }

  it('refuses another code verifier, and none', async () => {
    for (const change of [{ pkceCodeVerifier: oidc.randomPKCECodeVerifier() }, { pkceCodeVerifier: '' }]) {
      const { config, url, checks } = await startLogin();
      await expectGrantRefused(config, await codeOf(url), { ...checks, ...change });
    }
    const { config, url } = await startLogin();
    const code = (await codeOf(url)).searchParams.get('code') ?? '';
    const grant = oidc.genericGrantRequest(config, 'authorization_code', { code, redirect_uri: redirectUri });
    await expect(grant).rejects.toMatchObject({ error: 'invalid_grant' });
  });

  it('gives a token for a code once, and not after a try that failed', async () => {
    const { config, url, checks } = await startLogin();
    const callback = await codeOf(url);
    await oidc.authorizationCodeGrant(config, callback, checks);
    await expectGrantRefused(config, callback, checks);

    const other = await startLogin();
    const spoiled = await codeOf(other.url);
    await expectGrantRefused(config, spoiled, { ...other.checks, pkceCodeVerifier: oidc.randomPKCECodeVerifier() });
    await expectGrantRefused(config, spoiled, other.checks);
  });

  it('forgets a code after two minutes', async () => {
    const { config, url, checks } = await startLogin();
    const callback = await codeOf(url);
    offsetMs = 121_000;
    await expectGrantRefused(config, callback, checks);

    const inTime = await startLogin();
    const code = await codeOf(inTime.url);
    offsetMs += 100_000;
    const tokens = await fetchGrant(code.searchParams.get('code') ?? '', inTime.checks.pkceCodeVerifier);
    expect(tokens.status).toBe(200);
  });

  function fetchGrant(code: string, verifier: string, change: Record<string, string> = {}): Promise<Response> {
    return fetch(`${world.issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        code_verifier: verifier,
        redirect_uri: redirectUri,
        client_id: 'sigstore',
        ...change,
      }),
    });
  }

  it('refuses another redirect URI than the code was made for, an unknown code, and another grant', async () => {
    for (const [change, error] of [
      [{ redirect_uri: 'http://localhost:9999/other' }, 'invalid_grant'],
      [{ redirect_uri: '' }, 'invalid_grant'],
      [{ code: 'unknown' }, 'invalid_grant'],
      [{ grant_type: 'client_credentials' }, 'unsupported_grant_type'],
      [{ grant_type: '' }, 'unsupported_grant_type'],
    ] as const) {
      const { url, checks } = await startLogin();
      const code = (await codeOf(url)).searchParams.get('code') ?? '';
      const response = await fetchGrant(code, checks.pkceCodeVerifier, change);
      expect([response.status, await response.json()]).toMatchObject([400, { error }]);
      expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
    }
  });

  const wrongRequests: Record<string, Record<string, string>> = {
    'a redirect to another host': { redirect_uri: 'http://evil.example/callback' },
    'a redirect to a host that begins with localhost': { redirect_uri: 'http://localhost.evil.example/' },
    'a redirect with localhost as user': { redirect_uri: 'http://localhost@evil.example/' },
    'a redirect to a script': { redirect_uri: 'javascript:alert(1)' },
    'a redirect to a file': { redirect_uri: 'file:///etc/passwd' },
    'no redirect': { redirect_uri: '' },
    'no client': { client_id: '' },
    'a client of 3000 characters': { client_id: 'x'.repeat(3000) },
    'another response type': { response_type: 'token' },
    'PKCE in plain': { code_challenge_method: 'plain' },
  };
  for (const [name, change] of Object.entries(wrongRequests)) {
    it(`shows no page for ${name}, and takes no such form`, async () => {
      const { url } = await startLogin(change);
      const response = await fetch(url);
      expect(response.status).toBe(400);
      expect(((await response.json()) as { error: string }).error).toBe('invalid_request');
      const fields = url.searchParams;
      fields.set('email', 'alice@example.com');
      const form = await fetch(`${world.issuer}/authorize`, { method: 'POST', redirect: 'manual', body: fields });
      expect(form.status).toBe(400);
    });
  }

  it('refuses what is no e-mail address', async () => {
    for (const email of ['', 'alice', 'a@b@c', 'a b@example.com', `${'x'.repeat(70)}@example.com`, '<a>@example.com']) {
      expect((await consent((await startLogin()).url, email)).status).toBe(400);
    }
  });

  it('refuses requests that a page of another origin sends', async () => {
    const { url, checks } = await startLogin();
    const code = (await codeOf(url)).searchParams.get('code') ?? '';
    const fields = url.searchParams;
    fields.set('email', 'alice@example.com');
    for (const origin of ['http://evil.example', 'null', 'http://localhost:1', `${world.url}.evil.example`]) {
      const headers = { origin };
      const post = (path: string, body: string | URLSearchParams) =>
        fetch(`${world.issuer}/${path}`, { method: 'POST', redirect: 'manual', headers, body });
      for (const response of [
        await post('token', '{"email":"alice@example.com"}'),
        await post('token', new URLSearchParams({ grant_type: 'authorization_code', code })),
        await post('authorize', fields),
      ]) {
        expect(response.status).toBe(403);
        expect(await response.text()).not.toMatch(/id_token|eyJ/);
      }
    }
    // None of that has used up the code.
    expect((await fetchGrant(code, checks.pkceCodeVerifier)).status).toBe(200);
  });

  it('escapes what it shows, and lets no script run', async () => {
    const attack = '"><script>alert(1)</script><img src=x onerror=alert(1)>\'&';
    const { url } = await startLogin({ client_id: attack, state: attack, nonce: attack });
    const page = await fetch(url);
    const html = await page.text();
    expect(html).not.toMatch(/<script|<img|onerror=alert\(1\)>/);
    expect(unescapeHtml(html)).toContain(attack);
    expect(page.headers.get('content-security-policy')).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
    expect(page.headers.get('cache-control')).toBe('no-store');
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    // It comes back to the client as it was sent.
    expect((await codeOf(url)).searchParams.get('state')).toBe(attack);
  });

  const payloadOf = (token: string): Record<string, unknown> =>
    JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;

  it('POST token with claims: each claim can be said, the rest has defaults', async () => {
    const plain = payloadOf(await world.token({ email: 'alice@example.com' }));
    const seconds = Math.floor(Date.now() / 1000);
    expect(plain).toMatchObject({ iss: world.issuer, aud: 'sigstore', sub: 'alice@example.com', email_verified: true });
    expect(Number(plain['exp']) - Number(plain['iat'])).toBe(600);
    expect(Math.abs(Number(plain['iat']) - seconds)).toBeLessThan(10);
    const given = {
      exp: 1,
      aud: ['a', 'b'],
      email: 'b@example.com',
      email_verified: false,
      sub: 'x',
      iss: 'https://i.example',
    };
    expect(payloadOf(await world.token(given))).toMatchObject(given);
    expect(payloadOf(await world.token({}))).toMatchObject({ sub: 'developer' });
    const workflow = { repository: 'o/r', ref: 'refs/heads/main' };
    expect(payloadOf(await world.token(workflow))).toMatchObject({ sub: 'repo:o/r:ref:refs/heads/main' });
    expect(payloadOf(await world.token(workflow))).not.toHaveProperty('email_verified');
  });

  it('POST token works as people write it with curl, whatever type that claims', async () => {
    const body = '{"email":"alice@example.com"}';
    for (const contentType of ['application/x-www-form-urlencoded', 'application/json', 'text/plain']) {
      const headers = { 'content-type': contentType };
      const response = await fetch(`${world.issuer}/token`, { method: 'POST', headers, body });
      expect(response.status).toBe(200);
      expect(response.headers.get('cache-control')).toBe('no-store');
      const { id_token } = (await response.json()) as { id_token: string };
      expect(payloadOf(id_token)['email']).toBe('alice@example.com');
    }
  });

  const hasCurl = (() => {
    try {
      execFileSync('curl', ['--version'], { stdio: 'ignore' });
      return true;
    } catch {
      console.warn('curl is not installed: its check is skipped');
      return false;
    }
  })();
  it.skipIf(!hasCurl)('curl -d itself', async () => {
    // Not execFileSync: the server is in this process.
    const { execFile } = await import('node:child_process');
    const output = await new Promise<string>((resolve, reject) => {
      execFile('curl', ['-sS', '-d', ' {"email":"alice@example.com"}', `${world.issuer}/token`], (error, stdout) => {
        if (error) reject(new Error(error.message));
        else resolve(stdout);
      });
    });
    expect(JSON.parse(output)).toMatchObject({ token_type: 'Bearer', expires_in: 600 });
  });

  it('refuses claims that are no JSON object, and bodies that are no text', async () => {
    const bodies = ['[]', 'null', '"x"', '{', '{"a":1}{', '7', Buffer.of(0xff, 0xfe), `${'['.repeat(50_000)}`];
    for (const body of bodies) {
      const response = await fetch(`${world.issuer}/token`, { method: 'POST', body });
      expect([response.status, ((await response.json()) as { error: string }).error]).toEqual([400, 'invalid_request']);
    }
    for (const body of [undefined, '', Buffer.of(0xff, 0xfe)]) {
      const options = { method: 'POST', ...(body !== undefined && { body }) };
      expect((await fetch(`${world.issuer}/authorize`, options)).status).toBe(400);
    }
  });

  it('405 for other methods with Allow, 404 for other paths', async () => {
    for (const [path, allow] of [
      ['token', 'POST'],
      ['jwks', 'GET, HEAD'],
      ['authorize', 'GET, HEAD, POST'],
    ] as const) {
      const response = await fetch(`${world.issuer}/${path}`, { method: 'DELETE' });
      expect([response.status, response.headers.get('allow')]).toEqual([405, allow]);
    }
    expect((await fetch(`${world.issuer}/token`)).status).toBe(405);
    for (const path of ['/', '', '/userinfo', '/.well-known/']) {
      expect((await fetch(world.issuer + path)).status).toBe(404);
    }
  });

  it('bounds the logins that wait for their exchange', async () => {
    const { url } = await startLogin();
    const fields = url.searchParams;
    fields.set('email', 'alice@example.com');
    const send = () => fetch(`${world.issuer}/authorize`, { method: 'POST', redirect: 'manual', body: fields });
    let last = 303;
    for (let sent = 0; last === 303 && sent <= 1000; sent += 50) {
      const answers = await Promise.all(Array.from({ length: 50 }, send));
      last = Math.max(...answers.map(({ status }) => status));
    }
    expect(last).toBe(400);
    // When they have expired there is room again.
    offsetMs = 130_000;
    expect((await send()).status).toBe(303);
  });
});
