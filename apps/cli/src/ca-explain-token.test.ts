import { Buffer } from 'node:buffer';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type IssuerServer, makeKey, makeToken, startIssuer } from '../../../libs/identity/testing/issuer-server.js';
import { explainTokenCommand, type ExplainTokenOptions } from './ca-explain-token.js';
import type { Terminal } from './config.js';
import { CliError } from './exit.js';

const now = Date.parse('2026-03-04T05:06:07Z');
const key = makeKey('k1');

let folder: string;
let server: IssuerServer;
let terminal: Terminal;
let out: string;
let err: string;
const at = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chancery-explain-'));
  server = await startIssuer();
  server.publish([key]);
  await writeFile(
    at('issuers.yaml'),
    `oidc-issuers:
  ${server.url}:
    issuer-url: ${server.url}
    client-id: sigstore
    type: github-workflow
  https://mail.example:
    issuer-url: https://mail.example
    client-id: sigstore
    type: email
meta-issuers:
  https://*.idp.example/id/*:
    client-id: sigstore
    type: email
`,
  );
  terminal = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    colours: { out: false, err: false },
    columns: undefined,
    env: {},
    fetch: () => Promise.reject(new Error('the wrong fetch')),
    now: () => now,
  };
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const job = (more: object = {}) => ({
  iss: server.url,
  aud: 'sigstore',
  exp: now / 1000 + 600,
  sub: 'repo:example/app:ref:refs/heads/main',
  job_workflow_ref: 'example/app/.github/workflows/release.yml@refs/heads/main',
  ...{ sha: 'a'.repeat(40), event_name: 'push', repository: 'example/app', workflow: 'release' },
  ...{ ref: 'refs/heads/main', job_workflow_sha: 'b'.repeat(40), runner_environment: 'github-hosted' },
  ...{ repository_id: '9007199254740993', repository_owner: 'example', repository_owner_id: '12345678901' },
  ...{ repository_visibility: 'private', workflow_ref: 'example/app/.github/workflows/release.yml@refs/heads/main' },
  ...{ workflow_sha: 'b'.repeat(40), run_id: '77', run_attempt: '1', jti: 'unique' },
  ...more,
});
const mail = (more: object = {}) => ({
  ...{ iss: 'https://mail.example', aud: 'sigstore', exp: now / 1000 + 600, sub: 's' },
  ...{ email: 'ann@example.com', email_verified: true, ...more },
});

const explain = (token: string, options: ExplainTokenOptions = {}, input: AsyncIterable<Uint8Array> | [] = []) => {
  out = '';
  err = '';
  const all = { config: at('issuers.yaml'), allowPrivate: ['localhost'], ...options };
  return explainTokenCommand(terminal, token, all, input as AsyncIterable<Uint8Array>);
};
const json = () => JSON.parse(out) as Record<string, never>;

describe('chancery ca explain-token', () => {
  it('says which issuer matched, which claims were used, and what the certificate would say', async () => {
    const token = makeToken(key, job());
    expect(await explain(token)).toBe(0);
    expect(out).toMatch(/^a certificate: the CA would accept this token\n/);
    expect(out).toContain(`matched                   ${server.url} (exactly)\n`);
    expect(out).toMatch(/ {2}signature +ok: found "ES256" with kid "k1"\n/);
    expect(out).toMatch(/ {2}audience +ok: found "sigstore", expected "sigstore"\n/);
    expect(out).toMatch(/ {2}repository_id +9007199254740993\n/);
    expect(out).toMatch(/claims not used\n.*\bjti\b/);
    expect(out).toMatch(
      / {2}2\.5\.29\.17 +uniformResourceIdentifier +https:\/\/github\.com\/example\/app\/\.github\/workflows\/release\.yml@refs\/heads\/main\n/,
    );
    const rows: [string, string, string][] = [
      ['1', 'issuer', server.url],
      ['2', 'githubWorkflowTrigger', 'push'],
      ['8', 'issuer', server.url],
      ['15', 'sourceRepositoryIdentifier', '9007199254740993'],
      ['24', 'subject', 'repo:example/app:ref:refs/heads/main'],
    ];
    for (const [number, name, value] of rows) {
      expect(out).toMatch(new RegExp(` {2}1\\.3\\.6\\.1\\.4\\.1\\.57264\\.1\\.${number} +${name} +${value}\n`));
    }
    expect(out).not.toMatch(/ \n/);
    for (const part of token.split('.')) expect(out + err).not.toContain(part);
  });

  it('says the same as JSON', async () => {
    expect(await explain(makeToken(key, job()), { json: true })).toBe(0);
    const result = json();
    expect(result).toMatchObject({
      ok: true,
      issuer: server.url,
      match: { issuerUrl: server.url, by: 'url', type: 'github-workflow', clientId: 'sigstore', challengeClaim: 'sub' },
      claims: { missing: [], unused: ['jti'] },
      certificate: { subjectAlternativeName: { type: 'uniformResourceIdentifier' } },
    });
    const { extensions } = result['certificate'] as unknown as { extensions: { oid: string; name: string }[] };
    const numbers = extensions.map(({ oid }) => Number(oid.replace('1.3.6.1.4.1.57264.1.', '')));
    expect(numbers).toEqual([1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 24]);
  });

  it.each<[string, number, RegExp, () => string]>([
    [
      'another audience',
      5,
      /audience +failed: audience is "foo", this CA expects "sigstore"/,
      () => makeToken(key, job({ aud: 'foo' })),
    ],
    [
      'an expired token',
      5,
      /expiry +failed: the token expired at 2026/,
      () => makeToken(key, job({ exp: now / 1000 - 1 })),
    ],
    ['a missing claim', 5, /claims missing\n {2}run_id {2}needed\n/, () => makeToken(key, job({ run_id: undefined }))],
    [
      'an unknown issuer',
      5,
      /issuer "https:\/\/other\.example" is not configured here, expected "http.*", "https:\/\/mail\.example", /,
      () => makeToken(key, job({ iss: 'https://other.example' })),
    ],
    [
      'a forged signature',
      1,
      /signature +failed: .* no key with kid "k1"/,
      () => makeToken({ ...makeKey('k1') }, job()),
    ],
    [
      'a forged signature and another audience',
      1,
      /audience +failed/,
      () => makeToken(makeKey('k1'), job({ aud: 'foo' })),
    ],
    ['an unknown key', 1, /no ES256 key with kid "k2"/, () => makeToken(makeKey('k2'), job())],
  ])('%s: exit code %i', async (_name, exit, text, token) => {
    expect(await explain(token())).toBe(exit);
    expect(out).toMatch(/^no certificate: the CA would refuse this token\n/);
    expect(out).toMatch(text);
    expect(await explain(token(), { json: true })).toBe(exit);
    expect(json()).toMatchObject({ ok: false });
  });

  it('ends with 4 when only the keys cannot be fetched, and says why', async () => {
    expect(await explain(makeToken(key, job()), { allowPrivate: [] })).toBe(4);
    expect(out).toMatch(/^could not tell: the issuer's keys cannot be fetched\n/);
    expect(out).toMatch(/is a loopback address/);
    expect(await explain(makeToken(key, job({ aud: 'foo' })), { allowPrivate: [] })).toBe(5);
    expect(server.connections()).toBe(0);
  });

  it('offline, asks nobody', async () => {
    expect(await explain(makeToken(makeKey('other'), job()), { offline: true })).toBe(0);
    expect(out).toMatch(/^a certificate, if the signature is good: it was not checked\n/);
    expect(server.connections()).toBe(0);
  });

  it('names the pattern, and the e-mail address', async () => {
    expect(await explain(makeToken(key, mail({ iss: 'https://eu.idp.example/id/7' })), { offline: true })).toBe(0);
    expect(out).toContain('https://*.idp.example/id/* (a pattern)');
    expect(out).toMatch(/2\.5\.29\.17 +rfc822Name +ann@example\.com\n/);
  });

  it('a token that is too old, and an issuer behind a broker that is not believed, as the CA would say', async () => {
    const old = makeToken(key, job({ iat: now / 1000 - 601 }));
    expect(await explain(old, { maxTokenAge: '11m' })).toBe(0);
    expect(await explain(old, { maxTokenAge: '10m' })).toBe(5);
    expect(out).toMatch(/expiry +failed: the token was issued at 2026.*this CA accepts tokens for 600 s/);
    await expect(explain(old, { maxTokenAge: '10' })).rejects.toMatchObject({ exit: 'usage' });

    const broker = { 'https://dex.example': { IssuerURL: 'https://dex.example', ClientID: 'sigstore', Type: 'email' } };
    Object.assign(broker['https://dex.example'], { IssuerClaim: '$.federated_claims.connector_id' });
    await writeFile(at('broker.json'), JSON.stringify({ OIDCIssuers: broker }));
    const claims = mail({ iss: 'https://dex.example', federated_claims: { connector_id: 'https://idp.example' } });
    const options = { config: at('broker.json'), offline: true };
    const token = makeToken(key, claims);
    expect(await explain(token, { ...options, upstreamIssuer: ['https://idp.example'] })).toBe(0);
    expect(await explain(token, { ...options, upstreamIssuer: ['https://other.example'] })).toBe(5);
    expect(out).toMatch(
      /claims +failed: issuer "https:\/\/idp\.example" behind "https:\/\/dex\.example" is not configured/,
    );
    await expect(explain(old, { upstreamIssuer: ['https://idp.example'] })).rejects.toMatchObject({ exit: 'usage' });
  });

  it('without a configuration, knows the issuers that a CA accepts by itself', async () => {
    const token = makeToken(key, mail({ iss: 'https://accounts.google.com' }));
    out = '';
    expect(await explainTokenCommand(terminal, token, { offline: true })).toBe(0);
    expect(out).toContain('https://accounts.google.com (exactly)');
  });

  it('prints nothing that drives a terminal', async () => {
    await explain(makeToken(key, mail({ name: 'x', '\u001b[2J': 1, sub: '\u001b[31mred\u202e', aud: '\u0007' })), {
      offline: true,
    });
    expect(out).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u);
  });

  it('takes the token from a file and from standard input', async () => {
    const token = makeToken(key, job());
    await writeFile(at('token'), `${token}\n`);
    expect(await explain(at('token'))).toBe(0);
    async function* input() {
      yield Buffer.from(token.slice(0, 10));
      yield Buffer.from(`${token.slice(10)}\n`);
    }
    expect(await explain('-', {}, input())).toBe(0);
  });

  it.each<[string, string, ExplainTokenOptions]>([
    ['no file', 'nothing-here', {}],
    ['an empty text', '', {}],
    ['no token', 'a.b.c', {}],
    ['a missing configuration', 'e30.e30.e30', { config: '/nonexistent/issuers.yaml' }],
    ['a configuration that is none', 'e30.e30.e30', { config: import.meta.filename }],
    ['a bad exception', 'e30.e30.e30', { allowPrivate: ['*.example'] }],
  ])('ends with 3 for %s, and does not repeat it', async (_name, token, options) => {
    const error: unknown = await explain(token, options).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CliError);
    expect((error as CliError).exit).toBe('unreadable');
    if (token !== '') expect((error as CliError).message).not.toContain(token);
    expect(out).toBe('');
  });

  it('stops reading standard input that is no token', async () => {
    async function* endless() {
      for (;;) yield Buffer.alloc(4096, 'x');
    }
    await expect(explain('-', {}, endless())).rejects.toThrow(/more than 16384 bytes/);
    await writeFile(at('large'), 'x'.repeat(20_000));
    await expect(explain(at('large'))).rejects.toThrow(/at most/);
  });
});
