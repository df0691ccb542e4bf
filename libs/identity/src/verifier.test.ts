import { createHash, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { CompactSign, exportJWK, type JWK, UnsecuredJWT } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { encodeBase64Url, encodeUtf8, parseBase64Url } from '#libs/encoding';
import { createTokenVerifier, type Fetch, type IssuerConfig, type TokenVerifier } from './index.js';

const NOW = new Date('2026-03-04T05:06:07Z');
const seconds = Math.floor(NOW.getTime() / 1000);
const ISSUER = 'https://issuer.example';

interface Pair {
  jwk: JWK;
  key: KeyObject;
}

async function pair(alg: string, kid?: string): Promise<Pair> {
  const { privateKey, publicKey } = alg.startsWith('ES')
    ? generateKeyPairSync('ec', { namedCurve: { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[alg] as string })
    : alg === 'EdDSA'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { key: privateKey, jwk: { ...(await exportJWK(publicKey)), ...(kid !== undefined && { kid }) } };
}

const claims = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  iss: ISSUER,
  aud: 'sigstore',
  sub: 'subject-1',
  exp: seconds + 60,
  email: 'ann@example.com',
  email_verified: true,
  ...more,
});

/** `payload` may be text, for numbers that JavaScript cannot write. */
async function token(signer: Pair, payload: unknown, header: Record<string, unknown> = {}): Promise<string> {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
  return new CompactSign(encodeUtf8(text))
    .setProtectedHeader({ alg: 'ES256', ...(signer.jwk.kid !== undefined && { kid: signer.jwk.kid }), ...header })
    .sign(signer.key);
}

type Route = () => Response;
const json =
  (value: unknown): Route =>
  () =>
    new Response(JSON.stringify(value), { status: 200 });
const redirect =
  (location: string): Route =>
  () =>
    new Response(null, { status: 302, headers: { location } });

/** A web of fixed answers that counts what was asked. */
class Web {
  readonly asked: string[] = [];
  readonly routes = new Map<string, Route>();
  readonly fetch: Fetch = async (url, init) => {
    this.asked.push(url);
    expect(init.redirect).toBe('manual');
    expect(init.signal).toBeInstanceOf(AbortSignal);
    const route = this.routes.get(url);
    if (route === undefined) throw new TypeError(`no route to ${url}`);
    return route();
  };
  issuer(
    issuer: string,
    keys: JWK[],
    more: Record<string, unknown> = { id_token_signing_alg_values_supported: ['ES256'] },
  ) {
    const base = issuer.replace(/\/$/, '');
    this.routes.set(`${base}/.well-known/openid-configuration`, json({ issuer, jwks_uri: `${base}/jwks`, ...more }));
    this.routes.set(`${base}/jwks`, json({ keys }));
    return this;
  }
}

const email = (more: Partial<IssuerConfig> = {}): IssuerConfig => ({
  issuerUrl: ISSUER,
  wildcard: false,
  clientId: 'sigstore',
  type: 'email',
  ...more,
});

let signer: Pair;
let other: Pair;
beforeAll(async () => {
  signer = await pair('ES256', 'k1');
  other = await pair('ES256', 'k2');
});

function setup(options: { issuers?: IssuerConfig[]; keys?: JWK[]; discovery?: Record<string, unknown> } = {}) {
  const web = new Web().issuer(ISSUER, options.keys ?? [signer.jwk], options.discovery);
  const clock = { now: NOW };
  const verifier = createTokenVerifier({
    issuers: options.issuers ?? [email()],
    fetch: web.fetch,
    now: () => clock.now,
  });
  return { web, clock, verifier };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => ({ code: 'accepted' }),
    (reason: unknown) => reason as { code?: string },
  );
  return error.code ?? 'an error without code';
}

describe('createTokenVerifier()', () => {
  test('gives the principal of a good token', async () => {
    const { verifier } = setup();
    expect(await verifier.verify(await token(signer, claims()))).toEqual({
      issuer: ISSUER,
      subject: 'subject-1',
      challenge: 'ann@example.com',
      challengeClaim: 'email',
      san: { kind: 'email', value: 'ann@example.com' },
      extensions: {},
    });
  });

  test.each(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])(
    'accepts %s when the provider lists it',
    async (alg) => {
      const key = await pair(alg, 'k');
      const { verifier } = setup({ keys: [key.jwk], discovery: { id_token_signing_alg_values_supported: [alg] } });
      expect((await verifier.verify(await token(key, claims(), { alg }))).subject).toBe('subject-1');
    },
  );

  test.each<[string, string, Record<string, unknown>]>([
    ['audience is a list without ours', 'IDENTITY_AUDIENCE', { aud: ['kubernetes', 'sigstore2'] }],
    ['audience is another', 'IDENTITY_AUDIENCE', { aud: 'sigstor' }],
    ['audience is missing', 'IDENTITY_AUDIENCE', { aud: undefined }],
    ['audience is an object', 'IDENTITY_AUDIENCE', { aud: { sigstore: 'sigstore' } }],
    ['exp is a second ago', 'IDENTITY_EXPIRED', { exp: seconds - 1 }],
    ['exp is missing', 'IDENTITY_CLAIM', { exp: undefined }],
    ['exp is text', 'IDENTITY_CLAIM', { exp: String(seconds + 60) }],
    ['nbf is 301 seconds ahead', 'IDENTITY_NOT_YET_VALID', { nbf: seconds + 301 }],
    ['nbf is null', 'IDENTITY_CLAIM', { nbf: null }],
    ['nbf is far beyond dates', 'IDENTITY_NOT_YET_VALID', { nbf: 1e300 }],
    ['sub is empty', 'IDENTITY_CLAIM', { sub: '' }],
    ['sub is missing', 'IDENTITY_CLAIM', { sub: undefined }],
    ['sub is a number', 'IDENTITY_CLAIM', { sub: 7 }],
    ['email is missing', 'IDENTITY_CLAIM', { email: undefined }],
    ['email is no address', 'IDENTITY_CLAIM', { email: 'ann' }],
    ['email_verified is false', 'IDENTITY_EMAIL_UNVERIFIED', { email_verified: false }],
    ['email_verified is missing', 'IDENTITY_EMAIL_UNVERIFIED', { email_verified: undefined }],
    ['email_verified is "False"', 'IDENTITY_EMAIL_UNVERIFIED', { email_verified: 'False' }],
    ['email_verified is another text', 'IDENTITY_CLAIM', { email_verified: 'yes' }],
    ['issuer is unknown', 'IDENTITY_ISSUER_UNKNOWN', { iss: 'https://other.example' }],
    ['issuer has a slash more', 'IDENTITY_ISSUER_UNKNOWN', { iss: `${ISSUER}/` }],
    ['issuer is missing', 'IDENTITY_TOKEN_MALFORMED', { iss: undefined }],
  ])('refuses a token whose %s', async (_name, code, change) => {
    const { verifier } = setup();
    expect(await codeOf(verifier.verify(await token(signer, claims(change))))).toBe(code);
  });

  test.each<[string, Record<string, unknown>]>([
    ['an audience list with ours', { aud: ['x', 'sigstore'] }],
    ['exp now', { exp: seconds }],
    ['exp with a fraction', { exp: seconds + 0.5 }],
    ['nbf 300 seconds ahead', { nbf: seconds + 300 }],
    ['email_verified "true"', { email_verified: 'true' }],
    ['email_verified "True"', { email_verified: 'True' }],
    ['an iat in the future', { iat: seconds + 9999 }],
  ])('accepts a token with %s', async (_name, change) => {
    const { verifier } = setup();
    expect(await codeOf(verifier.verify(await token(signer, claims(change))))).toBe('accepted');
  });

  test('names claim, found and expected, and never holds the token', async () => {
    const { verifier } = setup();
    const compact = await token(signer, claims({ aud: `wrong\n${'x'.repeat(500)}` }));
    const error = await verifier.verify(compact).catch((reason: unknown) => reason as Error);
    expect((error as Error).message).toMatch(
      /^Cannot accept identity token: claim aud is "wrong\?x{74}\.\.\.", expected "sigstore"$/,
    );
    expect((error as Error).message).not.toContain(compact.split('.')[2]);
  });

  test('refuses alg none and HMAC with the public key', async () => {
    const { verifier } = setup();
    expect(await codeOf(verifier.verify(new UnsecuredJWT(claims()).encode()))).toBe('IDENTITY_ALGORITHM');
    const part = (value: unknown) => encodeBase64Url(encodeUtf8(JSON.stringify(value)));
    const forged = `${part({ alg: 'HS256', kid: 'k1' })}.${part(claims())}.${encodeBase64Url(new Uint8Array(32))}`;
    expect(await codeOf(verifier.verify(forged))).toBe('IDENTITY_ALGORITHM');
  });

  test('never accepts none or HS256, even if the provider lists them', async () => {
    const { verifier } = setup({ discovery: { id_token_signing_alg_values_supported: ['none', 'HS256'] } });
    expect(await codeOf(verifier.verify(new UnsecuredJWT(claims()).encode()))).toBe('IDENTITY_ALGORITHM');
    expect(await codeOf(verifier.verify(await token(signer, claims())))).toBe('IDENTITY_ALGORITHM');
  });

  test('accepts RS256 only where the provider lists nothing', async () => {
    const rsa = await pair('RS256', 'r');
    const { verifier } = setup({ keys: [rsa.jwk, signer.jwk], discovery: {} });
    expect(await codeOf(verifier.verify(await token(rsa, claims(), { alg: 'RS256' })))).toBe('accepted');
    expect(await codeOf(verifier.verify(await token(signer, claims())))).toBe('IDENTITY_ALGORITHM');
  });

  test('refuses a signature by another key under the same kid, and a changed payload', async () => {
    const { verifier } = setup();
    const forged = await token({ ...other, jwk: { ...other.jwk, kid: 'k1' } }, claims());
    expect(await codeOf(verifier.verify(forged))).toBe('IDENTITY_SIGNATURE');
    const [header, , signature] = (await token(signer, claims())).split('.');
    const payload = encodeBase64Url(encodeUtf8(JSON.stringify(claims({ sub: 'subject-2' }))));
    expect(await codeOf(verifier.verify(`${header}.${payload}.${signature}`))).toBe('IDENTITY_SIGNATURE');
  });

  test('refuses RSA keys under 2048 bits', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const part = (value: unknown) => encodeBase64Url(encodeUtf8(JSON.stringify(value)));
    const data = `${part({ alg: 'RS256' })}.${part(claims())}`;
    const weak = `${data}.${encodeBase64Url(createSign('sha256').update(data).sign(privateKey))}`;
    const { verifier } = setup({ keys: [await exportJWK(publicKey)], discovery: {} });
    expect(await codeOf(verifier.verify(weak))).toBe('IDENTITY_SIGNATURE');
  });

  test('refuses RSA keys with the exponent 1, with which everybody can sign', async () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwk = { ...(await exportJWK(publicKey)), e: 'AQ' };
    const part = (value: unknown) => encodeBase64Url(encodeUtf8(JSON.stringify(value)));
    const data = `${part({ alg: 'RS256' })}.${part(claims())}`;
    // RFC 8017 §9.2: with exponent 1 the encoded message is its own signature.
    const info = Buffer.from('3031300d060960864801650304020105000420', 'hex');
    const digest = createHash('sha256').update(data).digest();
    const padding = Buffer.alloc(256 - 3 - info.length - digest.length, 0xff);
    const signature = Buffer.concat([Buffer.from([0, 1]), padding, Buffer.from([0]), info, digest]);
    const { verifier } = setup({ keys: [jwk], discovery: {} });
    expect(await codeOf(verifier.verify(`${data}.${encodeBase64Url(signature)}`))).toBe('IDENTITY_SIGNATURE');
  });

  test.each<[string, string]>([
    ['DER, as other formats have it', 'der'],
    ['a byte more', 'longer'],
    ['nothing', 'empty'],
    ['zeros', 'zeros'],
  ])('refuses an ECDSA signature that is %s', async (_name, change) => {
    const good = await token(signer, claims());
    const data = good.slice(0, good.lastIndexOf('.'));
    const raw = parseBase64Url(good.slice(data.length + 1));
    const made = {
      der: createSign('sha256').update(data).sign(signer.key),
      longer: Uint8Array.from([...raw, 0]),
      empty: new Uint8Array(),
      zeros: new Uint8Array(64),
    }[change];
    const { verifier } = setup();
    expect(await codeOf(verifier.verify(`${data}.${encodeBase64Url(made ?? raw)}`))).toBe('IDENTITY_SIGNATURE');
  });

  test.each<[string, Record<string, unknown>, string]>([
    ['key_ops has verify', { key_ops: ['verify'] }, 'accepted'],
    ['key_ops has no verify', { key_ops: ['encrypt'] }, 'IDENTITY_KEY_UNKNOWN'],
    ['key_ops is no list', { key_ops: 'verify' }, 'IDENTITY_KEY_UNKNOWN'],
    ['use is sig', { use: 'sig' }, 'accepted'],
    ['use is enc', { use: 'enc' }, 'IDENTITY_KEY_UNKNOWN'],
    ['alg is that of the token', { alg: 'ES256' }, 'accepted'],
    ['alg is another', { alg: 'ES384' }, 'IDENTITY_KEY_UNKNOWN'],
    ['alg is none', { alg: 'none' }, 'IDENTITY_KEY_UNKNOWN'],
  ])('looks at what a key is for: %s', async (_name, member, code) => {
    const { verifier } = setup({ keys: [{ ...signer.jwk, ...member }] });
    expect(await codeOf(verifier.verify(await token(signer, claims())))).toBe(code);
  });

  test('fetches nothing for a token that could not be accepted anyway', async () => {
    const { web, verifier } = setup();
    for (const change of [{ aud: 'x' }, { exp: 1 }, { nbf: seconds + 999 }, { sub: '' }]) {
      await codeOf(verifier.verify(await token(signer, claims(change))));
    }
    expect(web.asked).toEqual([]);
  });

  test('tries every key for a token without kid', async () => {
    const { verifier } = setup({ keys: [other.jwk, signer.jwk] });
    expect(await codeOf(verifier.verify(await token(signer, claims(), { kid: undefined })))).toBe('accepted');
  });

  test('ignores keys that are not for signatures, and keys it cannot read', async () => {
    const { verifier } = setup({ keys: [{ ...signer.jwk, use: 'enc' }] });
    expect(await codeOf(verifier.verify(await token(signer, claims())))).toBe('IDENTITY_KEY_UNKNOWN');
    const mixed = setup({
      keys: [{ kty: 'oct', k: 'AAAA', kid: 'k1' }, { kty: 'EC', crv: 'P-256', kid: 'k1' }, signer.jwk],
    });
    expect(await codeOf(mixed.verifier.verify(await token(signer, claims())))).toBe('accepted');
  });

  test('reads the issuer from a claim, with every digit of a number', async () => {
    const issuers = [email({ issuerClaim: "$.federated['connector_id']" })];
    const { verifier } = setup({ issuers });
    const payload = (value: string) =>
      JSON.stringify(claims()).replace(/}$/, `,"federated":{"connector_id":${value}}}`);
    const issuerOf = async (value: string) => (await verifier.verify(await token(signer, payload(value)))).issuer;
    expect(await issuerOf('"https://github.com/login/oauth"')).toBe('https://github.com/login/oauth');
    expect(await issuerOf('9007199254740993')).toBe('9007199254740993');
    expect(await issuerOf('12345678901')).toBe('12345678901');
    expect(await issuerOf('1753000000.0')).toBe('1753000000');
    for (const bad of ['""', 'null', '{}', '["x"]']) {
      expect(await codeOf(verifier.verify(await token(signer, payload(bad))))).toBe('IDENTITY_CLAIM');
    }
    expect(await codeOf(verifier.verify(await token(signer, claims())))).toBe('IDENTITY_CLAIM');
  });

  test('accepts an unverified address only where the configuration says so', async () => {
    const { verifier } = setup({ issuers: [email({ skipEmailVerification: true })] });
    expect(await codeOf(verifier.verify(await token(signer, claims({ email_verified: undefined }))))).toBe('accepted');
  });

  test('keeps numbers of GitHub tokens exact', async () => {
    const { verifier } = setup({ issuers: [email({ type: 'github-workflow' })] });
    const names =
      'job_workflow_ref sha event_name repository workflow ref job_workflow_sha runner_environment repository_owner repository_visibility workflow_ref workflow_sha run_attempt';
    const payload = JSON.stringify({
      ...claims(),
      ...Object.fromEntries(names.split(' ').map((name) => [name, name])),
    });
    const numbers = ',"repository_id":9007199254740993,"repository_owner_id":12345678901,"run_id":1}';
    const { extensions } = await verifier.verify(await token(signer, payload.replace(/}$/, numbers)));
    expect(extensions.sourceRepositoryIdentifier).toBe('9007199254740993');
    expect(extensions.sourceRepositoryOwnerIdentifier).toBe('12345678901');
  });

  test('uses the kinds it is given', async () => {
    const web = new Web().issuer(ISSUER, [signer.jwk]);
    const verifier: TokenVerifier = createTokenVerifier({
      issuers: [email({ type: 'mine' })],
      kinds: {
        mine: {
          challengeClaim: 'sub',
          fields: [],
          claims: () => ({ required: [], optional: [] }),
          principal: ({ issuer, subject }) => ({
            issuer,
            subject,
            challenge: subject,
            challengeClaim: 'sub',
            san: { kind: 'uri', value: 'urn:mine' },
            extensions: {},
          }),
        },
      },
      fetch: web.fetch,
      now: () => NOW,
    });
    expect((await verifier.verify(await token(signer, claims()))).san.value).toBe('urn:mine');
    expect(verifier.issuers.map(({ challengeClaim }) => challengeClaim)).toEqual(['sub']);
  });

  test.each(['constructor', '__proto__', 'toString'])('does not take the inherited name %s for a kind', (type) => {
    expect(() => setup({ issuers: [email({ type })] })).toThrow(/issuer type ".*" is not supported/);
  });

  test('refuses the same issuer twice', () => {
    expect(() => setup({ issuers: [email(), email({ type: 'github-workflow' })] })).toThrow(/configured twice/);
  });
});

describe('wildcard issuers', () => {
  const wildcard = email({ issuerUrl: 'https://*.idp.example/id/*', wildcard: true });
  const verifyAs = async (iss: string, issuers: IssuerConfig[] = [wildcard]) => {
    const web = new Web().issuer(iss, [signer.jwk]);
    const verifier = createTokenVerifier({ issuers, fetch: web.fetch, now: () => NOW });
    return { code: await codeOf(verifier.verify(await token(signer, claims({ iss })))), asked: web.asked };
  };

  test('match what the stars stand for', async () => {
    expect((await verifyAs('https://eu-1.idp.example/id/A_b')).code).toBe('accepted');
  });

  test.each([
    'https://eu.idp.example/id/a/b',
    'https://eu.west.idp.example/id/a',
    'https://.idp.example/id/a',
    'https://eu.idp.example/id/',
    'https://evil.example/?x=https://eu.idp.example/id/a',
    'http://localhost:3000?https://eu.idp.example/id/a',
    'https://eu.idp.example/id/a ',
    ' https://eu.idp.example/id/a',
    'https://eu.idp.example/id/a\n',
    'https://eu.idp.example/id/a%2e',
    'https://euxidpxexample/id/a',
    'http://eu.idp.example/id/a',
  ])('do not match %j, which is never fetched', async (iss) => {
    expect(await verifyAs(iss)).toEqual({ code: 'IDENTITY_ISSUER_UNKNOWN', asked: [] });
  });

  test('come after exact issuers, the most specific first', async () => {
    const issuers = [
      email({ issuerUrl: 'https://idp.example/*/*', wildcard: true, clientId: 'loose' }),
      email({ issuerUrl: 'https://idp.example/team/*', wildcard: true, clientId: 'team' }),
      email({ issuerUrl: 'https://idp.example/team/a', clientId: 'sigstore' }),
    ];
    const clientOf = async (iss: string) => {
      const web = new Web().issuer(iss, [signer.jwk]);
      const verifier = createTokenVerifier({ issuers, fetch: web.fetch, now: () => NOW });
      const reason = await verifier
        .verify(await token(signer, claims({ iss, aud: 'nobody' })))
        .catch((error: unknown) => error as Error);
      return /expected "(.*)"/.exec((reason as Error).message)?.[1];
    };
    expect(await clientOf('https://idp.example/team/a')).toBe('sigstore');
    expect(await clientOf('https://idp.example/team/b')).toBe('team');
    expect(await clientOf('https://idp.example/crew/b')).toBe('loose');
  });

  test('are remembered up to a bound, and those that answered outlive those that did not', async () => {
    const web = new Web().issuer('https://good.idp.example/id/1', [signer.jwk]);
    const verifier = createTokenVerifier({ issuers: [wildcard], fetch: web.fetch, now: () => NOW });
    const good = await token(signer, claims({ iss: 'https://good.idp.example/id/1' }));
    await verifier.verify(good);
    for (let i = 0; i < 250; i++) {
      const bad = await token(signer, claims({ iss: `https://made-up.idp.example/id/${i}` }));
      expect(await codeOf(verifier.verify(bad))).toBe('IDENTITY_DISCOVERY');
    }
    const before = web.asked.length;
    await verifier.verify(good);
    expect(web.asked.length).toBe(before);
  });
});

describe('discovery', () => {
  const config = `${ISSUER}/.well-known/openid-configuration`;
  const attempt = async (change: (web: Web) => void) => {
    const { web, verifier } = setup();
    change(web);
    return { code: await codeOf(verifier.verify(await token(signer, claims()))), asked: web.asked };
  };

  test.each<[string, string, (web: Web) => void]>([
    ['another issuer in the document', 'IDENTITY_DISCOVERY', (web) => web.issuer(ISSUER, [], { issuer: `${ISSUER}/` })],
    ['no jwks_uri', 'IDENTITY_DISCOVERY', (web) => web.issuer(ISSUER, [], { jwks_uri: undefined })],
    [
      'a jwks_uri without TLS',
      'IDENTITY_DISCOVERY',
      (web) => web.issuer(ISSUER, [], { jwks_uri: 'http://a.example/' }),
    ],
    ['a jwks_uri on disk', 'IDENTITY_DISCOVERY', (web) => web.issuer(ISSUER, [], { jwks_uri: 'file:///etc/passwd' })],
    ['status 404', 'IDENTITY_DISCOVERY', (web) => web.routes.set(config, () => new Response('{}', { status: 404 }))],
    ['status 201', 'IDENTITY_DISCOVERY', (web) => web.routes.set(config, () => new Response('{}', { status: 201 }))],
    ['no JSON', 'IDENTITY_DISCOVERY', (web) => web.routes.set(config, () => new Response('<html>'))],
    ['a JSON list', 'IDENTITY_DISCOVERY', (web) => web.routes.set(config, json([]))],
    ['64 KiB and a byte', 'IDENTITY_DISCOVERY', (web) => web.issuer(ISSUER, [signer.jwk], { x: 'x'.repeat(65536) })],
    ['no answer', 'IDENTITY_DISCOVERY', (web) => web.routes.delete(config)],
    [
      'a redirect to another host',
      'IDENTITY_DISCOVERY',
      (web) => web.routes.set(config, redirect('https://evil.example/')),
    ],
    [
      'a redirect to another port',
      'IDENTITY_DISCOVERY',
      (web) => web.routes.set(config, redirect('https://issuer.example:8443/')),
    ],
    [
      'a redirect to plain HTTP',
      'IDENTITY_DISCOVERY',
      (web) => web.routes.set(config, redirect('http://issuer.example/')),
    ],
    ['a redirect to itself', 'IDENTITY_DISCOVERY', (web) => web.routes.set(config, redirect(config))],
    [
      'keys that redirect away',
      'IDENTITY_JWKS',
      (web) => web.routes.set(`${ISSUER}/jwks`, redirect('https://evil.example/')),
    ],
    ['keys that are no list', 'IDENTITY_JWKS', (web) => web.routes.set(`${ISSUER}/jwks`, json({ keys: {} }))],
    [
      'keys over 512 KiB',
      'IDENTITY_JWKS',
      (web) => web.routes.set(`${ISSUER}/jwks`, json({ keys: [], x: 'x'.repeat(524288) })),
    ],
    [
      '101 keys',
      'IDENTITY_JWKS',
      (web) => web.routes.set(`${ISSUER}/jwks`, json({ keys: Array(101).fill(signer.jwk) })),
    ],
    [
      'duplicate members',
      'IDENTITY_JWKS',
      (web) => web.routes.set(`${ISSUER}/jwks`, () => new Response('{"keys":[],"keys":[]}')),
    ],
  ])('refuses %s', async (_name, code, change) => {
    const { code: found, asked } = await attempt(change);
    expect(found).toBe(code);
    expect(asked.every((url) => url.startsWith(`${ISSUER}/`))).toBe(true);
  });

  test('follows redirects on the same host, and keys on another host', async () => {
    const { code, asked } = await attempt((web) => {
      web.routes.set('https://keys.example/jwks', json({ keys: [signer.jwk] }));
      web.routes.set(
        `${ISSUER}/elsewhere`,
        json({
          issuer: ISSUER,
          jwks_uri: 'https://keys.example/jwks',
          id_token_signing_alg_values_supported: ['ES256'],
        }),
      );
      web.routes.set(config, redirect('/elsewhere'));
    });
    expect(code).toBe('accepted');
    expect(asked).toEqual([config, `${ISSUER}/elsewhere`, 'https://keys.example/jwks']);
  });

  test('strips exactly one trailing slash for the address, and none for the comparison', async () => {
    const iss = 'https://issuer.example/tenant//';
    const web = new Web();
    web.routes.set(
      'https://issuer.example/tenant//.well-known/openid-configuration',
      json({ issuer: iss, jwks_uri: `${ISSUER}/jwks`, id_token_signing_alg_values_supported: ['ES256'] }),
    );
    web.routes.set(`${ISSUER}/jwks`, json({ keys: [signer.jwk] }));
    const verifier = createTokenVerifier({ issuers: [email({ issuerUrl: iss })], fetch: web.fetch, now: () => NOW });
    expect(await codeOf(verifier.verify(await token(signer, claims({ iss }))))).toBe('accepted');
  });

  test('fetches keys once for many tokens', async () => {
    const { web, verifier } = setup();
    const good = await token(signer, claims());
    await Promise.all(Array.from({ length: 20 }, () => verifier.verify(good)));
    expect(web.asked.length).toBe(2);
  });

  test('fetches again for an unknown kid, at most twice in a minute', async () => {
    const { web, clock, verifier } = setup();
    await verifier.verify(await token(signer, claims()));
    const rotated = await token(other, claims());
    web.issuer(ISSUER, [other.jwk]);
    expect(await codeOf(verifier.verify(rotated))).toBe('accepted');
    expect(web.asked.length).toBe(4);
    expect(await codeOf(verifier.verify(await token(signer, claims())))).toBe('IDENTITY_KEY_UNKNOWN');
    clock.now = new Date(NOW.getTime() + 59_999);
    web.issuer(ISSUER, [signer.jwk]);
    expect(await codeOf(verifier.verify(await token(signer, claims())))).toBe('IDENTITY_KEY_UNKNOWN');
    expect(web.asked.length).toBe(4);
    clock.now = new Date(NOW.getTime() + 60_000);
    expect(await codeOf(verifier.verify(await token(signer, claims())))).toBe('accepted');
    expect(web.asked.length).toBe(6);
  });

  test('a clock that was set back does not keep keys from being fetched', async () => {
    const { web, clock, verifier } = setup();
    await verifier.verify(await token(signer, claims()));
    clock.now = new Date(NOW.getTime() - 3600_000);
    web.issuer(ISSUER, [other.jwk]);
    expect(await codeOf(verifier.verify(await token(other, claims())))).toBe('accepted');
  });

  test('serves old keys while the provider is down, for a day', async () => {
    const { web, clock, verifier } = setup();
    const good = await token(signer, claims({ exp: seconds + 1e6 }));
    await verifier.verify(good);
    web.routes.clear();
    clock.now = new Date(NOW.getTime() + 3600_000);
    expect(await codeOf(verifier.verify(good))).toBe('accepted');
    expect(web.asked.length).toBe(3);
    clock.now = new Date(NOW.getTime() + 25 * 3600_000);
    expect(await codeOf(verifier.verify(good))).toBe('IDENTITY_DISCOVERY');
  });

  test('notices that the provider withdrew a key', async () => {
    const { web, clock, verifier } = setup();
    const good = await token(signer, claims({ exp: seconds + 1e6 }));
    await verifier.verify(good);
    web.issuer(ISSUER, [other.jwk]);
    clock.now = new Date(NOW.getTime() + 601_000);
    await verifier.verify(good);
    // The first token after ten minutes starts the fetch and does not wait for it; some later one meets its result.
    for (let turn = 0; turn < 1000 && web.asked.length < 4; turn++) await Promise.resolve();
    await expect.poll(() => codeOf(verifier.verify(good)), { interval: 1 }).toBe('IDENTITY_KEY_UNKNOWN');
  });

  test('waits five seconds before it asks a provider that failed again', async () => {
    const { web, clock, verifier } = setup();
    const routes = [...web.routes];
    web.routes.clear();
    const good = await token(signer, claims());
    expect(await codeOf(verifier.verify(good))).toBe('IDENTITY_DISCOVERY');
    for (const [url, route] of routes) web.routes.set(url, route);
    expect(await codeOf(verifier.verify(good))).toBe('IDENTITY_DISCOVERY');
    expect(web.asked.length).toBe(1);
    clock.now = new Date(NOW.getTime() + 5_000);
    expect(await codeOf(verifier.verify(good))).toBe('accepted');
  });
});
