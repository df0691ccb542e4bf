import { describe, expect, test } from 'vitest';
import { makeKey, makeToken } from '../testing/issuer-server.js';
import {
  builtInIssuers,
  type ExplainOptions,
  explainToken,
  type Fetch,
  type IssuerConfig,
  issuerKinds,
  type TokenExplanation,
} from './index.js';

const NOW = new Date('2026-03-04T05:06:07Z');
const seconds = NOW.getTime() / 1000;
const ISSUER = 'https://issuer.example';
const key = makeKey('k1');

const issuer = (more: Partial<IssuerConfig> = {}): IssuerConfig => ({
  issuerUrl: ISSUER,
  wildcard: false,
  clientId: 'sigstore',
  type: 'email',
  ...more,
});
const claims = (more: object = {}) => ({
  iss: ISSUER,
  aud: 'sigstore',
  sub: 'subject-1',
  exp: seconds + 60,
  email: 'ann@example.com',
  email_verified: true,
  ...more,
});

/** Answers as any issuer. */
function issuerFetch(answer: (url: string) => object): { fetch: Fetch; asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    fetch: async (url) => {
      asked.push(url);
      return new Response(JSON.stringify(answer(url)));
    },
  };
}
const honest = () =>
  issuerFetch((url) =>
    url.endsWith('/jwks')
      ? { keys: [key.jwk] }
      : {
          issuer: url.replace('/.well-known/openid-configuration', ''),
          jwks_uri: `${ISSUER}/jwks`,
          id_token_signing_alg_values_supported: ['ES256'],
        },
  );

const explain = (token: string, options: Partial<ExplainOptions> = {}) =>
  explainToken(token, { issuers: [issuer()], fetch: honest().fetch, now: () => NOW, ...options });
const states = ({ checks }: TokenExplanation) => Object.fromEntries(checks.map(({ name, ok }) => [name, ok]));
const messageOf = ({ checks }: TokenExplanation, wanted: string) => checks.find(({ name }) => name === wanted)?.message;

const allPass = {
  issuer: true,
  signature: true,
  audience: true,
  expiry: true,
  'not-before': true,
  subject: true,
  claims: true,
};

describe('explainToken()', () => {
  test('of a good token', async () => {
    const explanation = await explain(makeToken(key, claims({ nonce: 'n', groups: ['a'] })));
    expect(explanation).toMatchObject({
      ok: true,
      issuer: ISSUER,
      match: { config: { issuerUrl: ISSUER, type: 'email', challengeClaim: 'email' }, by: 'url' },
      principal: { issuer: ISSUER, subject: 'subject-1', san: { kind: 'email', value: 'ann@example.com' } },
    });
    expect(states(explanation)).toEqual(allPass);
    expect(explanation.claims).toEqual({
      used: [
        { name: 'iss', value: ISSUER },
        { name: 'aud', value: 'sigstore' },
        { name: 'sub', value: 'subject-1' },
        { name: 'exp', value: String(seconds + 60) },
        { name: 'email', value: 'ann@example.com' },
        { name: 'email_verified', value: 'true' },
      ],
      missing: [],
      unused: ['nonce', 'groups'],
    });
    expect(explanation.checks[2]).toEqual({
      name: 'audience',
      ok: true,
      found: '"sigstore"',
      expected: '"sigstore"',
    });
  });

  test('never contains the token', async () => {
    const token = makeToken(key, claims({ aud: 'other', email_verified: false }));
    const text = JSON.stringify(await explain(token));
    for (const part of token.split('.')) expect(text).not.toContain(part);
  });

  test('tells every failure, not only the first', async () => {
    const token = makeToken(makeKey('k1'), {
      ...{ iss: ISSUER, aud: 'other', sub: 'subject-1', exp: seconds - 1, nbf: seconds + 999 },
      ...{ email: 'ann@example.com', email_verified: false },
    });
    const explanation = await explain(token);
    expect(explanation.ok).toBe(false);
    expect(states(explanation)).toEqual({
      ...{ issuer: true, signature: false, audience: false, expiry: false, 'not-before': false },
      ...{ subject: true, claims: false },
    });
    expect(messageOf(explanation, 'audience')).toBe('audience is "other", this CA expects "sigstore"');
    expect(messageOf(explanation, 'claims')).toBe('claim email_verified is false, it must be true');
    expect(explanation.principal).toBeUndefined();
  });

  test('names every claim that is missing', async () => {
    const explanation = await explain(makeToken(key, { iss: ISSUER, sub: 's', repository: 'a/b', sha: '' }), {
      issuers: [issuer({ type: 'github-workflow' })],
    });
    expect(explanation.claims.missing).toEqual(
      expect.arrayContaining(['aud', 'exp', 'sha', 'job_workflow_ref', 'run_id', 'repository_owner_id']),
    );
    expect(explanation.claims.missing).not.toContain('repository');
    expect(explanation.claims.used.map(({ name }) => name)).toEqual(['iss', 'sub', 'repository']);
  });

  test('of an issuer that is not configured: asks nobody', async () => {
    const { fetch, asked } = honest();
    const explanation = await explain(
      makeToken(key, claims({ iss: 'https://evil.example/?x=https://issuer.example' })),
      {
        fetch,
      },
    );
    expect(asked).toEqual([]);
    expect(explanation).toMatchObject({ ok: false });
    expect(explanation.match).toBeUndefined();
    expect(states(explanation)).toEqual({
      ...{ issuer: false, signature: 'skipped', audience: 'skipped', expiry: true, 'not-before': true },
      ...{ subject: true, claims: 'skipped' },
    });
    expect(explanation.checks[0]?.expected).toBe(`"${ISSUER}"`);
  });

  test('says which pattern matched', async () => {
    const wildcard = issuer({ issuerUrl: 'https://*.idp.example/id/*', wildcard: true });
    const explanation = await explain(makeToken(key, claims({ iss: 'https://eu.idp.example/id/1' })), {
      issuers: [wildcard],
    });
    expect(explanation).toMatchObject({
      ok: true,
      match: { by: 'pattern', config: { issuerUrl: wildcard.issuerUrl } },
    });
  });

  test('offline: does all but the signature', async () => {
    const explanation = await explain(makeToken(makeKey('other'), claims()), { fetch: undefined });
    expect(explanation.ok).toBe(true);
    expect(states(explanation)).toEqual({ ...allPass, signature: 'skipped' });
  });

  test('tells the operator why keys could not be fetched', async () => {
    const { fetch } = issuerFetch(() => ({ issuer: 'https://other.example' }));
    const explanation = await explain(makeToken(key, claims()), { fetch });
    expect(states(explanation)).toEqual({ ...allPass, signature: false });
    expect(messageOf(explanation, 'signature')).toMatch(/discovery document says issuer "https:\/\/other.example"$/);
    expect(explanation.checks[1]?.code).toBe('IDENTITY_DISCOVERY');
  });

  test('without a subject there are no claims to read', async () => {
    const explanation = await explain(makeToken(key, claims({ sub: undefined })));
    expect(states(explanation)).toEqual({ ...allPass, subject: false, claims: 'skipped' });
    expect(explanation.claims.missing).toEqual(['sub']);
  });

  test('has the rules of the verifier', async () => {
    const token = makeToken(key, claims({ iat: seconds - 301, broker: 'https://up.example' }));
    const issuers = [issuer({ issuerClaim: '$.broker' })];
    expect(states(await explain(token, { issuers }))).toEqual(allPass);
    const strict = await explain(token, { issuers, maxTokenAgeMs: 300_000, upstreamIssuers: [] });
    expect(states(strict)).toEqual({ ...allPass, expiry: false, claims: false });
  });

  test('counts what a kind reads beyond what it declares, unless it reads everything', async () => {
    const kinds = (read: (all: Readonly<Record<string, unknown>>) => unknown) => ({
      email: issuerKinds['email'] ?? expect.fail('no kind email'),
      mine: {
        challengeClaim: 'sub',
        fields: [],
        claims: () => ({ required: ['email'], optional: [] }),
        principal: (token: { issuer: string; subject: string; claims: Readonly<Record<string, unknown>> }) => {
          read(token.claims);
          return {
            ...token,
            challenge: 's',
            challengeClaim: 'sub',
            san: { kind: 'uri' as const, value: 'urn:x' },
            extensions: {},
          };
        },
      },
    });
    const token = makeToken(key, claims({ extra: 'x' }));
    const issuers = [issuer({ type: 'mine' })];
    const unusedWith = async (read: (all: Readonly<Record<string, unknown>>) => unknown) =>
      (await explain(token, { issuers, kinds: kinds(read) })).claims.unused;
    expect(await unusedWith((all) => all['extra'])).toEqual(['email_verified']);
    expect(await unusedWith((all) => ({ ...all }))).toEqual(['email_verified', 'extra']);
  });

  test('shortens long values, and writes objects as JSON', async () => {
    const payload = claims({ 'kubernetes.io': { namespace: 'a', big: 1 } });
    const explanation = await explain(makeToken(key, { ...payload, email: `${'x'.repeat(300)}@example.com` }), {
      issuers: [issuer({ type: 'kubernetes' })],
    });
    const used = Object.fromEntries(explanation.claims.used.map(({ name, value }) => [name, value]));
    expect(used['kubernetes.io']).toBe('{"namespace":"a","big":1}');
    const long = await explain(makeToken(key, { ...payload, email: `${'x'.repeat(300)}@example.com` }));
    expect(long.claims.used.find(({ name }) => name === 'email')?.value).toBe(`${'x'.repeat(256)}...`);
  });

  test('refuses what is no token, and a configuration that is none', async () => {
    await expect(explain('a.b')).rejects.toMatchObject({ code: 'IDENTITY_TOKEN_MALFORMED' });
    await expect(explain('')).rejects.toMatchObject({ code: 'IDENTITY_TOKEN_MISSING' });
    await expect(explain(makeToken(key, claims()), { issuers: [issuer(), issuer()] })).rejects.toMatchObject({
      code: 'IDENTITY_CONFIG',
    });
  });

  test('of the built-in issuers', async () => {
    const explanation = await explain(makeToken(key, claims({ iss: 'https://oauth2.sigstore.dev/auth' })), {
      issuers: builtInIssuers,
      fetch: undefined,
    });
    expect(explanation.match?.config.issuerClaim).toBe('$.federated_claims.connector_id');
    expect(explanation.claims.missing).toEqual(['federated_claims']);
  });
});
