import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  answerJson,
  answerRedirect,
  type IssuerServer,
  makeKey,
  makeTls,
  makeToken,
  startIssuer,
  type TestKey,
} from '../testing/issuer-server.js';
import {
  createIssuerFetch,
  createTokenVerifier,
  type IdentityError,
  type IssuerConfig,
  type IssuerFetchOptions,
  type TokenVerifierOptions,
} from './index.js';

const NOW = new Date('2026-03-04T05:06:07Z');
const seconds = NOW.getTime() / 1000;
const k1 = makeKey('k1');
const k2 = makeKey('k2');

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

async function start(options: Parameters<typeof startIssuer>[0] = {}): Promise<IssuerServer> {
  const server = await startIssuer(options);
  open.push(server);
  return server;
}

const config = (issuerUrl: string, more: Partial<IssuerConfig> = {}): IssuerConfig => ({
  issuerUrl,
  wildcard: issuerUrl.includes('*'),
  clientId: 'sigstore',
  type: 'email',
  ...more,
});

const tokenOf = (iss: string, key: TestKey = k1, more: object = {}) =>
  makeToken(key, {
    iss,
    aud: 'sigstore',
    sub: 'subject-1',
    exp: seconds + 600,
    email: 'ann@example.com',
    email_verified: true,
    ...more,
  });

function verifierFor(
  issuers: IssuerConfig[],
  options: Partial<IssuerFetchOptions> & Partial<TokenVerifierOptions> = {},
) {
  const fetch = createIssuerFetch({ issuers, allowPrivate: ['localhost'], ...options });
  open.push(fetch);
  const clock = { now: NOW };
  return { clock, ...createTokenVerifier({ issuers, fetch, now: () => clock.now, ...options }) };
}

async function failureOf(work: Promise<unknown>): Promise<{ code: string; message: string; shown: string }> {
  return work.then(
    () => ({ code: 'accepted', message: '', shown: '' }),
    (error: unknown) => error as IdentityError,
  );
}
const codeOf = async (work: Promise<unknown>) => (await failureOf(work)).code;

describe('over the network', () => {
  test('verifies the token of an issuer', async () => {
    const server = await start();
    server.publish([k1]);
    const { verify } = verifierFor([config(server.url)]);
    expect((await verify(tokenOf(server.url))).san).toEqual({ kind: 'email', value: 'ann@example.com' });
    expect(server.asked.map(({ path }) => path)).toEqual(['/.well-known/openid-configuration', '/jwks']);
  });

  test('starts while an issuer is down, and takes its tokens as soon as it is up', async () => {
    const server = await start();
    const { verify, clock } = verifierFor([config(server.url)]);
    expect(await codeOf(verify(tokenOf(server.url)))).toBe('IDENTITY_DISCOVERY');
    server.publish([k1]);
    clock.now = new Date(NOW.getTime() + 5_000);
    expect(await codeOf(verify(tokenOf(server.url)))).toBe('accepted');
  });

  test('an issuer at a private address is refused, and who sent the token does not learn why', async () => {
    const server = await start();
    server.publish([k1]);
    const { verify } = verifierFor([config(server.url)], { allowPrivate: [] });
    const failure = await failureOf(verify(tokenOf(server.url)));
    expect(failure.code).toBe('IDENTITY_DISCOVERY');
    expect(failure.message).toMatch(/"localhost", which is "(127\.0\.0\.1|::1)", is a loopback address/);
    expect(failure.shown).toBe(`the keys of issuer "${server.url}" could not be fetched`);
    expect(server.connections()).toBe(0);
  });

  test('every failure to fetch keys is shown in the same words', async () => {
    const server = await start();
    const discovery = '/.well-known/openid-configuration';
    const cases: [string, () => void][] = [
      ['IDENTITY_DISCOVERY', () => server.routes.clear()],
      ['IDENTITY_DISCOVERY', () => server.routes.set(discovery, answerRedirect('http://127.0.0.1:1/'))],
      ['IDENTITY_DISCOVERY', () => server.routes.set(discovery, answerJson({ issuer: 'https://other.example' }))],
      ['IDENTITY_DISCOVERY', () => server.publish([k1], 'file:///etc/passwd')],
      ['IDENTITY_DISCOVERY', () => server.publish([k1], 'http://user:secret@localhost/jwks')],
      ['IDENTITY_JWKS', () => server.publish([k1], 'http://127.0.0.1:1/jwks')],
      ['IDENTITY_JWKS', () => server.publish([k1], 'http://localhost:1/jwks')],
      ['IDENTITY_JWKS', () => server.publish([k1], `${server.url}/none`)],
    ];
    const shown = new Set<string>();
    for (const [code, prepare] of cases) {
      prepare();
      const failure = await failureOf(verifierFor([config(server.url)]).verify(tokenOf(server.url)));
      expect(failure.code).toBe(code);
      expect(failure.message.length).toBeGreaterThan(failure.shown.length);
      shown.add(failure.shown);
    }
    expect([...shown]).toEqual([`the keys of issuer "${server.url}" could not be fetched`]);
  });
});

describe('CVE-2026-49478: an issuer that sends us elsewhere', () => {
  let tls: Awaited<ReturnType<typeof makeTls>>;
  beforeAll(async () => {
    tls = await makeTls('localhost');
  });

  /** A Kubernetes issuer, whose requests have a credential, beside a server that must not get it. */
  async function setup(credential: boolean) {
    const [server, evil] = [await start({ tls }), await start({ tls })];
    server.publish([k1]);
    evil.publish([k1]);
    const issuer = config(server.url, credential ? { type: 'kubernetes' } : { caCert: tls.root });
    const issuers = [issuer, ...(credential ? [config('https://kubernetes.default.svc', { type: 'kubernetes' })] : [])];
    const readFile = async (path: string) => (path.endsWith('token') ? 'pod-token' : tls.root);
    const { verify } = verifierFor(issuers, { kubernetes: { readFile } });
    return { server, evil, attempt: () => failureOf(verify(tokenOf(server.url))) };
  }

  test.each([true, false])(
    'a redirect of the discovery document is not followed (credential: %s)',
    async (credential) => {
      const { server, evil, attempt } = await setup(credential);
      server.routes.set(
        '/.well-known/openid-configuration',
        answerRedirect(`${evil.url}/.well-known/openid-configuration`),
      );
      expect(await attempt()).toMatchObject({ code: 'IDENTITY_DISCOVERY', message: /redirects to another host/ });
      expect(evil.connections()).toBe(0);
    },
  );

  test.each([true, false])('nor one of the keys (credential: %s)', async (credential) => {
    const { server, evil, attempt } = await setup(credential);
    server.routes.set('/jwks', answerRedirect(`${evil.url}/jwks`));
    expect(await attempt()).toMatchObject({ code: 'IDENTITY_JWKS', message: /redirects to another host/ });
    expect(evil.connections()).toBe(0);
    expect(server.asked.map(({ authorization }) => authorization)).toEqual(
      credential ? ['Bearer pod-token', 'Bearer pod-token'] : [undefined, undefined],
    );
  });

  test('keys on another host get no credential: not even the request', async () => {
    const { server, evil, attempt } = await setup(true);
    server.publish([k1], `${evil.url}/jwks`);
    expect(await attempt()).toMatchObject({ code: 'IDENTITY_JWKS', message: /must not get the credential/ });
    expect(evil.connections()).toBe(0);
  });

  test('keys on another host are fetched where there is no credential', async () => {
    const { server, evil, attempt } = await setup(false);
    server.publish([k1], `${evil.url}/jwks`);
    expect((await attempt()).code).toBe('accepted');
    expect(evil.asked.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  test('a redirect from https to http of the same host is not followed', async () => {
    const { server, attempt } = await setup(false);
    const plain = await start();
    server.routes.set('/jwks', answerRedirect(`http://localhost:${plain.port}/jwks`));
    expect((await attempt()).code).toBe('IDENTITY_JWKS');
    expect(plain.connections()).toBe(0);
  });

  test('a redirect on the same host is followed, with the credential', async () => {
    const { server, attempt } = await setup(true);
    server.routes.set('/keys', server.routes.get('/jwks') ?? answerJson({}));
    server.routes.set('/jwks', answerRedirect('/keys'));
    // A Kubernetes token needs claims that this one has not: its signature was good.
    expect((await attempt()).code).toBe('IDENTITY_CLAIM');
    expect(server.asked.map(({ authorization }) => authorization)).toEqual(Array(3).fill('Bearer pod-token'));
  });

  test('a name that resolves to a private address a moment later is refused then', async () => {
    const server = await start({ host: 'issuer.example' });
    server.publish([k1]);
    // The first stands for a public address, the second is inside.
    const answers = [['127.0.0.1'], ['127.0.0.2']];
    const { verify } = verifierFor([config(server.url)], {
      allowPrivate: ['127.0.0.1'],
      lookup: async () => answers.shift() ?? [],
    });
    expect(await failureOf(verify(tokenOf(server.url)))).toMatchObject({
      code: 'IDENTITY_JWKS',
      message: /"127\.0\.0\.2", is a loopback address/,
    });
    expect(server.asked.length).toBe(1);
  });
});

describe('CVE-2026-22772: an issuer that only looks like one of ours', () => {
  test('is never asked for anything', async () => {
    const [server, evil] = [await start(), await start()];
    const path = '/id/';
    const issuers = [
      config(server.url),
      config(`${server.url}${path}*`),
      config(`http://*.idp.localhost:${server.port}/x`),
    ];
    const { verify } = verifierFor(issuers, { allowPrivate: ['localhost', '127.0.0.0/8'] });
    for (const iss of [
      `${evil.url}/?x=${server.url}`,
      `${evil.url}?${server.url}${path}a`,
      `${evil.url}#${server.url}${path}a`,
      `${server.url}.evil.example`,
      `${server.url}@127.0.0.1:${evil.port}`,
      `${server.url}:${evil.port}`,
      `${evil.url}/${server.url}${path}a`,
      `${server.url}${path}a?x=1`,
      `${server.url}${path}a#x`,
      `${server.url}${path}a/..`,
      `${server.url}${path}a%2f..`,
      `${server.url}${path}\\a`,
      `${server.url}${path}`,
      `x${server.url}`,
      `http://evil.example/.idp.localhost:${server.port}/x`,
      `http://.idp.localhost:${server.port}/x`,
      `http://a.b.idp.localhost:${server.port}/x`,
      `http://a.idp.localhost:${server.port}/x/`,
      server.url.toUpperCase(),
    ]) {
      const failure = await failureOf(verify(tokenOf(iss)));
      expect({ iss, code: failure.code }).toEqual({ iss, code: 'IDENTITY_ISSUER_UNKNOWN' });
    }
    expect([server.connections(), evil.connections()]).toEqual([0, 0]);
  });
});

describe('an issuer that is no good', () => {
  test('keys of 10 MB are cut off while they come', async () => {
    const server = await start();
    server.publish([k1]);
    let [written, whole] = [0, false];
    server.routes.set('/jwks', (_request, response) => {
      const chunk = Buffer.alloc(64 * 1024, 0x20);
      response.on('error', () => undefined);
      const send = async () => {
        for (let i = 0; i < 160 && !response.destroyed; i++) {
          written += chunk.length;
          await new Promise((resolve) => response.write(chunk, resolve));
        }
        whole = !response.destroyed;
        response.end();
      };
      void send();
    });
    const failure = await failureOf(verifierFor([config(server.url)]).verify(tokenOf(server.url)));
    expect(failure).toMatchObject({ code: 'IDENTITY_JWKS', message: /more than 524288 bytes/ });
    await vi.waitFor(() => expect(written).toBeGreaterThan(0));
    // What is in the buffers of both ends was sent before we stopped reading.
    expect({ whole, most: written < 8 * 1024 * 1024 }).toEqual({ whole: false, most: true });
  });

  test('keys of 10 MB that are announced as such are not read', async () => {
    const server = await start();
    server.publish([k1]);
    server.routes.set('/jwks', (_request, response) => {
      response.on('error', () => undefined);
      response.writeHead(200, { 'content-length': 10 * 1024 * 1024 });
      response.write(Buffer.alloc(600 * 1024));
    });
    expect(await codeOf(verifierFor([config(server.url)]).verify(tokenOf(server.url)))).toBe('IDENTITY_JWKS');
  });

  test('a slow one ends at the deadline, drop by drop too, and holds up no other', async () => {
    const [slow, dripping, good] = [await start(), await start(), await start()];
    good.publish([k1]);
    slow.routes.set('/.well-known/openid-configuration', () => undefined);
    let drops = 0;
    dripping.routes.set('/.well-known/openid-configuration', (_request, response) => {
      const timer = setInterval(() => (drops++, response.write(' ')), 5);
      response.on('close', () => clearInterval(timer));
    });
    const { verify } = verifierFor(
      [slow, dripping, good].map(({ url }) => config(url)),
      { timeoutMs: 1000 },
    );
    const held = [slow, slow, dripping].map(({ url }) => failureOf(verify(tokenOf(url))));
    let ended = 0;
    for (const each of held) void each.then(() => ended++);
    await vi.waitFor(() => expect(drops).toBeGreaterThan(2), { interval: 2 });
    expect(await codeOf(verify(tokenOf(good.url)))).toBe('accepted');
    expect(ended).toBe(0);
    for (const failure of await Promise.all(held)) {
      expect(failure).toMatchObject({ code: 'IDENTITY_DISCOVERY', message: /none in 1 s/ });
    }
    // One request for two tokens, and the connection is closed.
    expect(slow.asked.length).toBe(1);
    // Nobody waits for it again so soon.
    expect(await codeOf(verify(tokenOf(slow.url)))).toBe('IDENTITY_DISCOVERY');
    expect(slow.asked.length).toBe(1);
  });

  test('the deadline is for discovery and keys together', async () => {
    const server = await start();
    server.publish([k1]);
    server.routes.set('/jwks', () => undefined);
    const failure = await failureOf(verifierFor([config(server.url)], { timeoutMs: 500 }).verify(tokenOf(server.url)));
    expect(failure).toMatchObject({ code: 'IDENTITY_JWKS', message: /none in 0.5 s/ });
  });

  test('no more than 256 tokens wait for one, and those of another do not notice', async () => {
    const [slow, good] = [await start(), await start()];
    good.publish([k1]);
    slow.publish([k1]);
    const answer = slow.routes.get('/jwks') ?? answerJson({});
    let finish = () => undefined as void;
    slow.routes.set('/jwks', (request, response) => (finish = () => answer(request, response)));
    const { verify } = verifierFor([config(slow.url), config(good.url)]);
    const token = tokenOf(slow.url);
    const waiting = Array.from({ length: 256 }, () => codeOf(verify(token)));
    const over = await failureOf(verify(token));
    expect(over).toMatchObject({
      code: 'IDENTITY_BUSY',
      shown: `too many tokens wait for the keys of issuer "${slow.url}", try again`,
    });
    expect(await codeOf(verify(tokenOf(good.url)))).toBe('accepted');
    await vi.waitFor(() => expect(slow.asked.length).toBe(2), { interval: 2 });
    finish();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['accepted']));
    expect(slow.asked.length).toBe(2);
  });

  test('no more than 16 behind wildcards are asked at a time, and those that are known do not notice', async () => {
    const server = await start();
    const known = `${server.url}/id/known`;
    server.routes.set(
      '/id/known/.well-known/openid-configuration',
      answerJson({ issuer: known, jwks_uri: `${server.url}/jwks`, id_token_signing_alg_values_supported: ['ES256'] }),
    );
    server.routes.set('/jwks', answerJson({ keys: [k1.jwk] }));
    const { verify } = verifierFor([config(`${server.url}/id/*`)], { timeoutMs: 200 });
    expect(await codeOf(verify(tokenOf(known)))).toBe('accepted');
    for (let i = 0; i < 20; i++) server.routes.set(`/id/${i}/.well-known/openid-configuration`, () => undefined);
    const codes = Array.from({ length: 20 }, (_, i) => codeOf(verify(tokenOf(`${server.url}/id/${i}`))));
    expect(await codeOf(verify(tokenOf(known)))).toBe('accepted');
    const counted = await Promise.all(codes);
    expect(counted.filter((code) => code === 'IDENTITY_BUSY').length).toBe(4);
    expect(counted.filter((code) => code === 'IDENTITY_DISCOVERY').length).toBe(16);
  });
});

describe('key rotation', () => {
  test('in the middle of load: no token by a current key fails, and the keys are fetched once', async () => {
    const server = await start();
    server.publish([k1]);
    const { verify, clock } = verifierFor([config(server.url)]);
    expect(await codeOf(verify(tokenOf(server.url)))).toBe('accepted');
    clock.now = new Date(NOW.getTime() + 120_000);
    const [oldToken, newToken] = [tokenOf(server.url, k1), tokenOf(server.url, k2)];
    server.asked.length = 0;
    // The provider adds the new key, then signs with it; the old one stays good for what it signed.
    server.publish([k1, k2]);
    const results: Promise<string>[] = [];
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 5; i++) results.push(codeOf(verify(round > 10 && i % 2 === 0 ? newToken : oldToken)));
      await new Promise(setImmediate);
    }
    expect(new Set(await Promise.all(results))).toEqual(new Set(['accepted']));
    expect(server.asked.map(({ path }) => path)).toEqual(['/.well-known/openid-configuration', '/jwks']);
  });

  test('during the very fetch: the answer from before the change is not the last word', async () => {
    const server = await start();
    server.publish([k1]);
    const answer = server.routes.get('/jwks') ?? answerJson({});
    let finish: (() => void) | undefined;
    server.routes.set('/jwks', (request, response) => (finish = () => answer(request, response)));
    const { verify } = verifierFor([config(server.url)]);
    const early = codeOf(verify(tokenOf(server.url, k1)));
    await vi.waitFor(() => expect(finish).toBeDefined(), { interval: 2 });
    // The keys are on their way; now the provider changes them, and tokens of the new one come.
    server.publish([k1, k2]);
    const late = Array.from({ length: 10 }, () => codeOf(verify(tokenOf(server.url, k2))));
    finish?.();
    expect(await early).toBe('accepted');
    expect(new Set(await Promise.all(late))).toEqual(new Set(['accepted']));
    expect(server.asked.length).toBe(4);
  });

  test('a withdrawn key ends with the next fetch, and made-up key ids do not make more of them', async () => {
    const server = await start();
    server.publish([k1]);
    const { verify } = verifierFor([config(server.url)]);
    await verify(tokenOf(server.url));
    server.publish([k2]);
    expect(await codeOf(verify(tokenOf(server.url, k2)))).toBe('accepted');
    expect(await codeOf(verify(tokenOf(server.url, k1)))).toBe('IDENTITY_KEY_UNKNOWN');
    const madeUp = Array.from({ length: 50 }, (_, i) => codeOf(verify(tokenOf(server.url, { ...k1, kid: `x${i}` }))));
    expect(new Set(await Promise.all(madeUp))).toEqual(new Set(['IDENTITY_KEY_UNKNOWN']));
    expect(server.asked.length).toBe(4);
  });
});

describe('Dex CVE-2022-39222 and GHSA-7qjx: a broker that can be tricked', () => {
  const GITHUB = 'https://github.com/login/oauth';
  const broker = async (options: Partial<TokenVerifierOptions> = {}) => {
    const server = await start();
    server.publish([k1]);
    const issuer = config(server.url, { issuerClaim: '$.federated_claims.connector_id' });
    const { verify } = verifierFor([issuer], options);
    const from = (connector: string, more: object = {}) =>
      verify(tokenOf(server.url, k1, { federated_claims: { connector_id: connector }, ...more }));
    return { url: server.url, from };
  };

  test('the certificate names the issuer behind it, not the broker', async () => {
    const { from } = await broker();
    expect((await from(GITHUB)).issuer).toBe(GITHUB);
  });

  test('only the issuers behind it that are listed are accepted', async () => {
    const { url, from } = await broker({ upstreamIssuers: [GITHUB] });
    expect((await from(GITHUB)).issuer).toBe(GITHUB);
    // The broker is no exception: it is a name in a claim like any other.
    for (const other of ['https://accounts.google.com', `${GITHUB}/`, 'mock', url]) {
      expect(await failureOf(from(other))).toMatchObject({
        code: 'IDENTITY_ISSUER_UNKNOWN',
        shown: `issuer "${other}" behind "${url}" is not configured here`,
      });
    }
  });

  test('a list of issuers behind brokers says nothing about issuers themselves', async () => {
    const server = await start();
    server.publish([k1]);
    const { verify } = verifierFor([config(server.url)], { upstreamIssuers: [] });
    expect(await codeOf(verify(tokenOf(server.url)))).toBe('accepted');
  });

  test.each<[string, object, string]>([
    ['issued now', { iat: seconds }, 'accepted'],
    ['issued at the limit', { iat: seconds - 300 }, 'accepted'],
    ['issued before it, and not expired', { iat: seconds - 301 }, 'IDENTITY_EXPIRED'],
    ['issued five minutes ahead of our clock', { iat: seconds + 300 }, 'accepted'],
    ['issued later than that, which would never be too old', { iat: seconds + 301 }, 'IDENTITY_NOT_YET_VALID'],
    ['without iat', {}, 'IDENTITY_CLAIM'],
    ['with an iat that is no number', { iat: 'now' }, 'IDENTITY_CLAIM'],
  ])('with a longest age, a token %s: %3$s', async (_name, claims, code) => {
    const { from } = await broker({ maxTokenAgeMs: 300_000 });
    const failure = await failureOf(from(GITHUB, claims));
    expect(failure.code).toBe(code);
    if (code === 'IDENTITY_EXPIRED') {
      expect(failure.shown).toBe(
        'the token was issued at 2026-03-04T05:01:06.000Z, now it is 2026-03-04T05:06:07.000Z, this CA accepts tokens for 300 s',
      );
    }
  });
});
