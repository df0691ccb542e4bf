// GET /api/search over HTTP, inside the real stack: one question, answered from the trees of Rekor v1, Rekor v2 and the CT log.
import { createHash, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeHex, parseBase64 } from '#libs/encoding';
import { leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { type SearchAnswerJson, searchAnswerSchema, SearchError, type SearchErrorCode } from '#libs/search';
import { TlogError } from '#libs/tlog';
import { obtainCertificate } from '../../../test/world/entries.js';
import { gitHubClaims, startWorld, type World } from '../../../test/world/index.js';
import { base64, certificate, hashedRekord, intoto2, statement } from '../testing/proposals.js';
import { searchShape } from './search-errors.js';

let world: World;
const mail = 'Auditor@example.com';
const artifact = Buffer.from('an artifact in both logs');
const subject = createHash('sha256').update('a subject').digest('hex');

beforeAll(async () => {
  world = await startWorld();
  const { pem, privateKey } = await certificate([{ type: 'email', value: mail }]);
  // v1 0, v1 1, v2 0, and two precertificates in the CT log.
  await post('/api/v1/log/entries', hashedRekord(artifact, pem, privateKey));
  await post('/api/v1/log/entries', intoto2(statement(subject)));
  await post('/api/v2/log/entries', hashedRekord2(pem, privateKey));
  await obtainCertificate(world.url, await world.token({ email: mail, email_verified: true }), mail);
  await obtainCertificate(world.url, await world.token(gitHubClaims), gitHubClaims.sub);
});
afterAll(() => world.close());

async function post(path: string, body: unknown): Promise<void> {
  const response = await fetch(world.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(response.status, await response.text()).toBe(201);
}

function hashedRekord2(pem: string, key: KeyObject) {
  return {
    hashedRekordRequestV002: {
      digest: createHash('sha256').update(artifact).digest('base64'),
      signature: {
        content: base64(sign('sha256', artifact, key)),
        verifier: {
          x509Certificate: { rawBytes: base64(new X509Certificate(pem).raw) },
          keyDetails: 'PKIX_ECDSA_P256_SHA_256',
        },
      },
    },
  };
}

function ask(params: Record<string, string> | string): Promise<Response> {
  return fetch(`${world.url}/api/search?${new URLSearchParams(params).toString()}`);
}

async function search(params: Record<string, string>): Promise<SearchAnswerJson> {
  const response = await ask(params);
  const text = await response.text();
  expect(response.status, text).toBe(200);
  expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
  expect(response.headers.get('cache-control')).toBe('no-store');
  return searchAnswerSchema.parse(JSON.parse(text));
}

const places = ({ entries }: SearchAnswerJson): string[] => entries.map(({ tree, logIndex }) => `${tree} ${logIndex}`);

describe('GET /api/search', () => {
  const uri = `https://github.com/${gitHubClaims.job_workflow_ref}`;
  const repository = `https://github.com/${gitHubClaims.repository}`;
  const digest = createHash('sha256').update(artifact).digest('hex');

  it.each([
    [{ email: mail.toLowerCase() }, ['ct 0', 'v1 0', 'v2 0']],
    [{ email: mail, tree: 'ct' }, ['ct 0']],
    [{ san: uri }, ['ct 1']],
    [{ uri }, ['ct 1']],
    [{ email: uri }, []],
    [{ repository }, ['ct 1']],
    [{ repository: gitHubClaims.repository }, ['ct 1']],
    [{ workflow: uri }, ['ct 1']],
    [{ workflow: gitHubClaims.workflow }, ['ct 1']],
    [{ digest }, ['v1 0', 'v2 0']],
    [{ digest: subject }, ['v1 1']],
    [{ subject }, ['v1 1']],
    [{ subject: digest }, []],
    [{ tree: 'v1' }, ['v1 0', 'v1 1']],
    [{ logIndex: '1' }, ['ct 1', 'v1 1']],
    [{ before: '2020-01-01T00:00:00Z' }, []],
  ])('%j', async (params, expected) => {
    const found = places(await search(params));
    expect([...found].sort()).toEqual(expected);
  });

  it('says of a certificate in the CT log what it says, and what was hashed', async () => {
    const { entries } = await search({ uri });
    const [entry] = entries;
    expect(entry).toMatchObject({
      tree: 'ct',
      kind: 'precert_entry',
      apiVersion: 'v1',
      identities: [{ kind: 'uri', value: uri }],
      issuer: world.issuer,
      digests: [],
    });
    if (entry === undefined) throw new Error('no entry');
    expect(encodeHex(leafHash(sha256, parseBase64(entry.body)))).toBe(entry.leafHash);
    expect(places(await search({ certificate: entry.certificateFingerprints[0] ?? '' }))).toEqual(['ct 1']);
    expect(places(await search({ key: entry.keyFingerprints[0] ?? '' }))).toEqual(['ct 1']);
    expect(places(await search({ uuid: entry.leafHash }))).toEqual(['ct 1']);
    expect(places(await search({ issuer: world.issuer, uri }))).toEqual(['ct 1']);
    // The CT log's own key of a submission, the digest of the precertificate, is no leaf hash.
    expect(places(await search({ uuid: entry.certificateFingerprints[0] ?? '' }))).toEqual([]);
  });

  it('finds the entry IDs that Rekor v1 gives', async () => {
    const { entries } = await search({ tree: 'v1', digest });
    const id = entries[0]?.uuid ?? '';
    expect(id).toMatch(/^[0-9a-f]{80}$/);
    expect(Object.keys((await (await fetch(`${world.url}/api/v1/log/entries/${id}`)).json()) as object)).toEqual([id]);
    expect(places(await search({ uuid: id }))).toEqual(['v1 0']);
    expect(places(await search({ uuid: id.slice(16) }))).toEqual(['v1 0']);
  });

  it('names for each tree the checkpoint that is served, and its size and root', async () => {
    const { complete } = await search({ email: mail });
    const urls = { ct: '/ct/checkpoint', v1: '/api/v1/checkpoint', v2: '/api/v2/checkpoint' };
    expect(complete.map(({ tree }) => tree)).toEqual(['ct', 'v1', 'v2']);
    for (const { tree, origin, treeSize, rootHash, checkpoint, consistency } of complete) {
      expect(checkpoint).toBe(await (await fetch(world.url + urls[tree])).text());
      const root = Buffer.from(rootHash, 'hex').toString('base64');
      expect(checkpoint.split('\n').slice(0, 3)).toEqual([origin, treeSize, root]);
      expect(consistency).toEqual([]);
    }
  });

  it('goes on from a cursor', async () => {
    const found: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page: SearchAnswerJson = await search({ email: mail, limit: '1', ...(cursor && { cursor }) });
      found.push(...places(page));
      cursor = page.next;
    }
    expect(found).toEqual(places(await search({ email: mail })));
  });

  it.each<[string, number, SearchErrorCode, RegExp]>([
    ['', 400, 'SEARCH_QUERY', /no parameter/],
    ['emial=a', 400, 'SEARCH_QUERY', /emial is not a parameter/],
    ['email=a@b.c&email=d@e.f', 400, 'SEARCH_QUERY', /email must be given once/],
    ['email[]=a', 400, 'SEARCH_QUERY', /email\[\] is not a parameter/],
    ['__proto__=a', 400, 'SEARCH_QUERY', /__proto__ is not a parameter|no parameter/],
    ['key=http://127.0.0.1/', 400, 'SEARCH_QUERY', /key: must be/],
    ['email=a&cursor=AAAA', 400, 'SEARCH_CURSOR', /cursor/],
    ['email=a&limit=1000000', 400, 'SEARCH_QUERY', /limit: /],
  ])('refuses ?%s with %i %s', async (query, status, code, message) => {
    const response = await fetch(`${world.url}/api/search?${query}`);
    const body = (await response.json()) as { code: string; message: string };
    expect([response.status, body.code]).toEqual([status, code]);
    expect(body.message).toMatch(message);
    expect(Object.keys(body)).toEqual(['code', 'message']);
    expect(response.headers.get('cache-control')).toBe('no-store');
  });

  it('answers another method with 405, and another path as before', async () => {
    const response = await fetch(`${world.url}/api/search`, { method: 'POST', body: '{}' });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    expect(await response.json()).toMatchObject({ code: 'METHOD_NOT_ALLOWED' });
    expect((await fetch(`${world.url}/api/search?tree=v1`, { method: 'HEAD' })).status).toBe(200);
    expect((await fetch(`${world.url}/api/search/x`)).status).toBe(404);
  });
});

describe('searchShape', () => {
  it.each<[Error, number | undefined, string]>([
    [new SearchError('SEARCH_QUERY', 'wrong'), 400, 'SEARCH_QUERY'],
    [new SearchError('SEARCH_CURSOR', 'wrong'), 400, 'SEARCH_CURSOR'],
    [new SearchError('SEARCH_INDEX', 'later'), 503, 'SEARCH_INDEX'],
    [new TlogError('TLOG_STORE', 'Cannot read /secret/path'), 503, 'SEARCH_UNAVAILABLE'],
    [new TlogError('TLOG_CORRUPT', 'Cannot read /secret/path'), 503, 'SEARCH_UNAVAILABLE'],
    [new SearchError('SEARCH_ANNEX', 'ours'), undefined, ''],
    [new Error('a bug'), undefined, ''],
  ])('answers %s', (error, status, code) => {
    const answer = searchShape.answer(error, 'r1');
    expect(answer?.status).toBe(status);
    if (answer === undefined) return;
    expect(answer.body).not.toContain('secret');
    expect(JSON.parse(answer.body)).toMatchObject({ code });
    expect(answer.headers?.['retry-after'] !== undefined).toBe(status === 503);
  });

  it('says no more of a fault of ours than the request', () => {
    expect(JSON.parse(searchShape.internal('r1').body)).toEqual({
      code: 'INTERNAL',
      message: 'internal error (request r1)',
    });
  });
});
