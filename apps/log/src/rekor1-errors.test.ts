// What Rekor v1 refuses, with which status, headers and words.
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TlogError, type TlogErrorCode, type Tree } from '#libs/tlog';
import { type LogServer, startLogServer } from '../testing/log-server.js';
import { base64, dsse, hashedRekord, hexSha256, pemOf, type Proposal, publicPem } from '../testing/proposals.js';
import { type Reply, send as sendTo } from '../testing/send.js';
import { rekor1BodyLimit } from './rekor1-errors.js';

type Json = Record<string, unknown>;

let server: LogServer;
beforeAll(async () => {
  server = await startLogServer();
});
afterAll(() => server.close());

const json = { 'content-type': 'application/json' };
const send = (
  method: string,
  path: string,
  { base = server.url, ...options }: { base?: string } & Parameters<typeof sendTo>[3] = {},
): Promise<Reply> => sendTo(base, method, path, options);
const post = (path: string, body: unknown, base = server.url): Promise<Reply> =>
  sendTo(base, 'POST', path, {
    body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    headers: json,
  });

const entries = '/api/v1/log/entries';
const retrieve = '/api/v1/log/entries/retrieve';
const index = '/api/v1/index/retrieve';
const size = (): bigint => server.shard.tree.head().size;

function expectError(reply: Reply, status: number, message: string | RegExp, code = status): void {
  expect([reply.status, reply.body]).toEqual([status, expect.any(String)]);
  expect(reply.headers['content-type']).toMatch(/^application\/json\b/);
  const error = JSON.parse(reply.body) as { code: number; message: string };
  expect(Object.keys(error)).toEqual(['code', 'message']);
  if (typeof message === 'string') expect(error).toEqual({ code, message });
  else {
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  }
  expect(reply.headers['cache-control']).toBe('no-store');
}

type Row = [name: string, ask: () => Promise<Reply>, status: number, message: string | RegExp, code?: number];
const bad = (change: (spec: Json) => void, propose: () => Proposal = hashedRekord): unknown => {
  const proposal = structuredClone(propose());
  change(proposal.spec);
  return proposal;
};

const pairs = Array.from({ length: 11 }, () => generateKeyPairSync('ec', { namedCurve: 'P-256' }));
/** Signed by so many keys, which are listed in the order that takes the most attempts. */
function backwards(count: number): unknown {
  const payload = randomBytes(8);
  const message = Buffer.concat([Buffer.from(`DSSEv1 1 x ${payload.length} `), payload]);
  const signers = pairs.slice(0, count);
  const signatures = signers.map(({ privateKey }) => ({ sig: base64(sign('sha256', message, privateKey)) }));
  const envelope = JSON.stringify({ payload: base64(payload), payloadType: 'x', signatures });
  const verifiers = signers.map(({ publicKey }) => base64(pemOf(publicKey))).reverse();
  return { kind: 'dsse', apiVersion: '0.0.1', spec: { proposedContent: { envelope, verifiers } } };
}

describe('the table of errors', () => {
  const uuid64 = hexSha256('nothing');
  const rows: Row[] = [
    // 400 of creating
    [
      'a signature of something else',
      () =>
        post(
          entries,
          bad((spec) => {
            spec['data'] = { hash: { algorithm: 'sha256', value: uuid64 } };
          }),
        ),
      400,
      /^error processing entry: verifying signature: /,
    ],
    [
      'an algorithm that is not allowed',
      () => post(entries, secp384WithSha256()),
      400,
      'error processing entry: entry algorithms are not allowed',
    ],
    [
      'a kind that is left out',
      () => post(entries, { ...hashedRekord(), kind: 'jar' }),
      400,
      "error processing entry: entry kind 'jar' is not enabled for submission on this server",
    ],
    [
      'an unknown version',
      () => post(entries, { ...hashedRekord(), apiVersion: '0.0.9' }),
      400,
      /^error processing entry: .*0\.0\.9/,
    ],
    [
      'a stored form',
      () => post(entries, { kind: 'dsse', apiVersion: '0.0.1', spec: storedDsse }),
      400,
      /^error processing entry: entry not insertable into log: /,
    ],
    [
      'a key that is none',
      () =>
        post(
          entries,
          bad((spec) => {
            (spec['signature'] as Json)['publicKey'] = { content: base64('x') };
          }),
        ),
      400,
      /^error processing entry: invalid public key: failure decoding PEM$/,
    ],
    [
      'an entry that is too long',
      () =>
        post(
          entries,
          bad((spec) => {
            (spec['signature'] as Json)['content'] = base64(randomBytes(90_000));
          }),
        ),
      400,
      /^error processing entry: /,
    ],
    ['no JSON', () => post(entries, '{'), 400, /^parsing proposedEntry body from "" failed, because /],
    ['no UTF-8', () => post(entries, Uint8Array.of(0x22, 0xff, 0x22)), 400, /^parsing proposedEntry body /],
    // 400 of proofs and keys
    [
      'a proof backwards',
      () => send('GET', '/api/v1/log/proof?firstSize=3&lastSize=2'),
      400,
      'firstSize(3) must be less than lastSize(2)',
    ],
    [
      'a proof beyond the tree',
      () => send('GET', '/api/v1/log/proof?lastSize=1000'),
      400,
      /^the tree size requested\(1000\) was greater than what is currently observable\(\d+\)$/,
    ],
    [
      'a tree ID of 64 bits',
      () => send('GET', '/api/v1/log/proof?lastSize=1&treeID=9223372036854775808'),
      400,
      'invalid tree ID specified: 9223372036854775808',
    ],
    [
      'a tree ID without end',
      () => send('GET', `/api/v1/log/proof?lastSize=1&treeID=${'9'.repeat(9000)}`),
      400,
      /^invalid tree ID specified: 9{100}$/,
    ],
    [
      'another tree',
      () => send('GET', '/api/v1/log/proof?lastSize=1&treeID=7'),
      400,
      'no log range found for tree ID 7',
    ],
    ['the key of another tree', () => send('GET', '/api/v1/log/publicKey?treeID=7'), 400, 'Bad Request'],
    [
      'the key of an impossible tree',
      () => send('GET', '/api/v1/log/publicKey?treeID=9223372036854775808'),
      400,
      'Bad Request',
    ],
    // 400 of reading
    [
      'a tree ID beyond 63 bits in an entry ID',
      () => send('GET', `${entries}/${'f'.repeat(16)}${uuid64}`),
      400,
      /^validation error: /,
    ],
    [
      'tree ID 0 in an entry ID',
      () => send('GET', `${entries}/${'0'.repeat(16)}${uuid64}`),
      400,
      /^validation error: /,
    ],
    [
      'the same in a query',
      () => post(retrieve, { entryUUIDs: [`${'0'.repeat(16)}${uuid64}`] }),
      400,
      `invalid entryID ${'0'.repeat(16)}${uuid64}`,
    ],
    [
      'a proposal that does not verify, in a query',
      () =>
        post(retrieve, {
          entries: [
            bad((spec) => {
              spec['data'] = { hash: { algorithm: 'sha256', value: uuid64 } };
            }),
          ],
        }),
      400,
      /^verifying signature: /,
    ],
    [
      'proposals of which too many signatures fail, in a query',
      () => post(retrieve, { entries: [backwards(11), backwards(11), backwards(11)] }),
      400,
      'too many signatures do not fit the keys they are tried with',
    ],
    ['a query that is no JSON', () => post(retrieve, '{'), 400, /^parsing entry body from "" failed, because /],
    ['a search that is no JSON', () => post(index, 'x'), 400, /^parsing query body from "" failed, because /],
    // 400 of searching
    [
      'a search by a key of an unknown format',
      () => post(index, { publicKey: { format: 'tuf', content: 'AAAA' } }),
      400,
      /PKI format requested is not supported by this server$/,
    ],
    [
      'a search by a key that is none',
      () => post(index, { publicKey: { format: 'x509', content: 'AAAA' } }),
      400,
      'public key provided could not be parsed',
    ],
    [
      'a search by a key in base64 of two meanings',
      () => post(index, { publicKey: { format: 'x509', content: 'AB==' } }),
      400,
      'public key provided could not be parsed',
    ],
    [
      'a search by a key without content',
      () => post(index, { publicKey: { format: 'x509' } }),
      400,
      'public key provided could not be parsed',
    ],
    // 422 with numbers
    [
      'an entry without spec',
      () => post(entries, { kind: 'hashedrekord', apiVersion: '0.0.1' }),
      422,
      'spec in body is required',
      602,
    ],
    [
      'an entry without kind',
      () => post(entries, { apiVersion: '0.0.1', spec: {} }),
      422,
      'kind in body is required',
      602,
    ],
    [
      'an entry of an unknown kind',
      () => post(entries, { ...hashedRekord(), kind: 'x' }),
      422,
      'invalid kind value: "x"',
    ],
    [
      'a member too many',
      () => post(entries, { ...hashedRekord(), more: 1 }),
      422,
      /more in body is a forbidden property$/,
      616,
    ],
    ['no body', () => send('POST', entries), 422, 'proposedEntry in body is required', 602],
    ['no query', () => send('POST', retrieve), 422, 'entry in body is required', 602],
    ['no search', () => send('POST', index), 422, 'query in body is required', 602],
    ['an entry that is a list', () => post(entries, []), 422, /must be of type object/, 601],
    [
      'a UUID of the wrong length',
      () => send('GET', `${entries}/abc`),
      422,
      "entryUUID in path should match '^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$'",
      605,
    ],
    [
      'a UUID of other letters',
      () => send('GET', `${entries}/${'g'.repeat(64)}`),
      422,
      /^entryUUID in path should match /,
      605,
    ],
    ['no log index', () => send('GET', entries), 422, 'logIndex in query is required', 602],
    [
      'a log index below 0',
      () => send('GET', `${entries}?logIndex=-1`),
      422,
      'logIndex in query should be greater than or equal to 0',
      609,
    ],
    [
      'a log index that is none',
      () => send('GET', `${entries}?logIndex=abc`),
      422,
      /^logIndex in query must be of type int64/,
      601,
    ],
    [
      'a log index in hex',
      () => send('GET', `${entries}?logIndex=0x1`),
      422,
      /^logIndex in query must be of type int64/,
      601,
    ],
    ['an empty log index', () => send('GET', `${entries}?logIndex=`), 422, 'logIndex in query is required', 602],
    [
      'a log index that is empty the last time',
      () => send('GET', `${entries}?logIndex=0&logIndex=`),
      422,
      'logIndex in query is required',
      602,
    ],
    ...['9223372036854775808', '-9223372036854775809', '9'.repeat(30)].map((text): Row => [
      `a log index of more than 64 bits, ${text}`,
      () => send('GET', `${entries}?logIndex=${text}`),
      422,
      /^logIndex in query must be of type int64/,
      601,
    ]),
    [
      'a log index far below 0',
      () => send('GET', `${entries}?logIndex=-9223372036854775808`),
      422,
      'logIndex in query should be greater than or equal to 0',
      609,
    ],
    [
      'an empty lastSize',
      () => send('GET', '/api/v1/log/proof?firstSize=1&lastSize='),
      422,
      'lastSize in query is required',
      602,
    ],
    [
      'a proof far beyond any tree',
      () => send('GET', '/api/v1/log/proof?firstSize=9223372036854775807&lastSize=9223372036854775807'),
      400,
      /was greater than what is currently observable\(\d+\)$/,
    ],
    ['a proof without lastSize', () => send('GET', '/api/v1/log/proof'), 422, 'lastSize in query is required', 602],
    [
      'a proof to size 0',
      () => send('GET', '/api/v1/log/proof?lastSize=0'),
      422,
      'lastSize in query should be greater than or equal to 1',
      609,
    ],
    [
      'a proof from size 0',
      () => send('GET', '/api/v1/log/proof?firstSize=0&lastSize=1'),
      422,
      'firstSize in query should be greater than or equal to 1',
      609,
    ],
    [
      'a tree ID in hex',
      () => send('GET', '/api/v1/log/proof?lastSize=1&treeID=abc'),
      422,
      "treeID in query should match '^[0-9]+$'",
      605,
    ],
    [
      'the same for the key',
      () => send('GET', '/api/v1/log/publicKey?treeID=-1'),
      422,
      "treeID in query should match '^[0-9]+$'",
      605,
    ],
    [
      'more than ten UUIDs',
      () => post(retrieve, { entryUUIDs: Array.from({ length: 11 }, () => uuid64) }),
      422,
      'entryUUIDs in body should have at most 10 items',
      611,
    ],
    [
      'more than ten of everything',
      () => post(retrieve, { entryUUIDs: Array.from({ length: 6 }, () => uuid64), logIndexes: [0, 1, 2, 3, 4] }),
      422,
      'more than max allowed 10 entries in request',
    ],
    ['no UUIDs', () => post(retrieve, { entryUUIDs: [] }), 422, 'entryUUIDs in body should have at least 1 items', 612],
    [
      'a UUID that is none',
      () => post(retrieve, { entryUUIDs: [uuid64, 'x'] }),
      422,
      /^entryUUIDs\.1 in body should match /,
      605,
    ],
    [
      'indexes that are texts',
      () => post(retrieve, { logIndexes: ['1'] }),
      422,
      'logIndexes.0 in body must be of type int64: "string"',
      601,
    ],
    [
      'indexes below 0',
      () => post(retrieve, { logIndexes: [-1] }),
      422,
      'logIndexes.0 in body should be greater than or equal to 0',
      609,
    ],
    [
      'a proposal without spec in a query',
      () => post(retrieve, { entries: [{ kind: 'dsse', apiVersion: '0.0.1' }] }),
      422,
      'spec in body is required',
      602,
    ],
    [
      'a hash of another length',
      () => post(index, { hash: 'abc' }),
      422,
      /^hash in body should match '\^\(sha512:\)/,
      605,
    ],
    [
      'a hash by SHA-384',
      () => post(index, { hash: `sha384:${'a'.repeat(96)}` }),
      422,
      /^hash in body should match /,
      605,
    ],
    [
      'an e-mail address that is none',
      () => post(index, { email: 'x' }),
      422,
      'email in body must be of type email',
      601,
    ],
    [
      'an operator that is none',
      () => post(index, { operator: 'xor' }),
      422,
      'operator in body should be one of [and or]',
      606,
    ],
    [
      'a format that is none',
      () => post(index, { publicKey: { format: 'pem' } }),
      422,
      'publicKey.format in body should be one of [pgp x509 minisign ssh tuf]',
      606,
    ],
    [
      'a key without format',
      () => post(index, { publicKey: { content: 'AAAA' } }),
      422,
      'publicKey.format in body is required',
      602,
    ],
    [
      'a subject of nothing',
      () => post(index, { subject: '' }),
      422,
      'subject in body should be at least 1 chars long',
      604,
    ],
    [
      'a subject too long',
      () => post(index, { subject: 'x'.repeat(513) }),
      422,
      'subject in body should be at most 512 chars long',
      603,
    ],
    // 404 and 405
    ['an unknown path', () => send('GET', '/api/v1/log/x'), 404, 'path /api/v1/log/x was not found'],
    ['another unknown path', () => post('/api/v1/index/y', {}), 404, 'path /api/v1/index/y was not found'],
    ['a path below an entry', () => send('GET', `${entries}/${uuid64}/x`), 404, /was not found$/],
    // 413
    [
      'a body over the limit',
      () => post(entries, 'x'.repeat(rekor1BodyLimit + 1)),
      413,
      `Request Entity Too Large. Limit set to ${rekor1BodyLimit}`,
    ],
  ];

  it.each(rows)('%s', async (_name, ask, status, message, code) => {
    const before = size();
    expectError(await ask(), status, message, code);
    expect(size()).toBe(before);
  });

  it('what a client sends is not in a 4xx but what the table has', async () => {
    const { body } = await post(
      entries,
      bad((spec) => void (spec['signature'] = 'a secret')),
    );
    expect(body).not.toContain('a secret');
  });

  const methods: [path: string, allowed: string][] = [
    ['/api/v1/log', 'GET'],
    ['/api/v1/log/', 'GET'],
    ['/api/v1/log/publicKey', 'GET'],
    ['/api/v1/log/proof', 'GET'],
    [entries, 'GET,POST'],
    [`${entries}/${uuid64}`, 'GET'],
    [retrieve, 'GET,POST'],
    [index, 'POST'],
    ['/api/v1/checkpoint', 'GET'],
    ['/api/v1/tile/0/000', 'GET'],
    ['/ping', 'GET'],
    ['/', 'GET'],
    ['/swagger.json', 'GET'],
  ];
  it.each(methods)('%s takes %s alone', async (path, allowed) => {
    for (const method of ['PUT', 'DELETE', 'PATCH', ...(allowed.includes('POST') ? [] : ['POST'])]) {
      const reply = await send(method, path, { headers: json });
      expectError(reply, 405, `method ${method} is not allowed, but [${allowed}] are`);
      expect(reply.headers['allow']).toBe(allowed);
    }
    if (!allowed.includes('GET')) {
      expect((await send('GET', path)).headers['allow']).toBe(allowed);
    }
  });

  const storedDsse = {
    envelopeHash: { algorithm: 'sha256', value: uuid64 },
    payloadHash: { algorithm: 'sha256', value: uuid64 },
    signatures: [{ signature: base64('xyz'), verifier: base64(publicPem) }],
  };
});

/** A P-384 key may sign SHA-384 only. */
function secp384WithSha256(): Proposal {
  return hashedRekord(randomBytes(16), p384.pem, p384.privateKey);
}
const p384 = (() => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  return { pem: publicKey.export({ type: 'spki', format: 'pem' }).toString(), privateKey };
})();

describe('transport', () => {
  const uuid = hexSha256('nothing');

  it('a body must be JSON and say so, with any parameters', async () => {
    const body = JSON.stringify({ logIndexes: [0] });
    const unsupported = (type: string) => `unsupported media type "${type}", only [application/json] are allowed`;
    for (const path of [entries, retrieve, index]) {
      expectError(await send('POST', path, { body }), 415, unsupported('application/octet-stream'));
      for (const type of ['text/plain', 'application/x-yaml', 'application/jsonx', 'application/json-patch+json']) {
        expectError(await send('POST', path, { body, headers: { 'content-type': type } }), 415, unsupported(type));
      }
    }
    for (const type of [
      'application/json',
      'Application/JSON',
      'application/json; charset=utf-8',
      'application/json;charset=UTF-8;x=y',
    ]) {
      const { status } = await send('POST', retrieve, { body, headers: { 'content-type': type } });
      expect([type, status]).toEqual([type, 200]);
    }
  });

  it('Accept must include what is answered', async () => {
    const asks: [method: string, path: string, types: string][] = [
      ['GET', '/api/v1/log', 'application/json'],
      ['GET', '/api/v1/log/proof?lastSize=1', 'application/json'],
      ['GET', '/api/v1/log/publicKey', 'application/json application/x-pem-file'],
      ['GET', `${entries}/${uuid}`, 'application/json'],
      ['GET', `${entries}?logIndex=999999`, 'application/json'],
    ];
    for (const [method, path, types] of asks) {
      for (const accept of [
        'text/html',
        'application/xml, text/*',
        'application/json;q=0, application/x-pem-file;q=0',
        'x',
      ]) {
        const reply = await send(method, path, { headers: { accept } });
        expectError(reply, 406, `unsupported media type requested, only [${types}] are available`);
      }
      for (const accept of ['*/*', 'application/*', 'text/html, application/json;q=0.1', 'APPLICATION/JSON', '']) {
        expect([path, accept, (await send(method, path, { headers: { accept } })).status]).not.toContain(406);
      }
    }
    const headers = { accept: 'application/x-pem-file' };
    expect((await send('GET', '/api/v1/log/publicKey', { headers })).status).toBe(200);
    expect((await send('GET', '/api/v1/log', { headers })).status).toBe(406);
  });

  it('HEAD is GET without its body', async () => {
    for (const path of ['/api/v1/log', '/ping', '/', '/api/v1/log/publicKey', '/api/v1/checkpoint']) {
      const reply = await send('HEAD', path);
      expect([path, reply.status, reply.body]).toEqual([path, 200, '']);
    }
  });

  it('the paths outside the API', async () => {
    const ping = await send('GET', '/ping');
    expect([ping.status, ping.body, ping.headers['content-type']]).toEqual([200, '.', 'text/plain']);
    const home = await send('GET', '/');
    expect(home.headers['content-type']).toMatch(/^text\/html/);
    expect(home.body).toContain('href="/api/v1/log"');
    const swagger = await send('GET', '/swagger.json');
    const document = JSON.parse(swagger.body) as { paths: Json };
    expect(Object.keys(document.paths)).toContain('/api/v1/log/entries/{entryUUID}');
    expect((await send('GET', '/openapi/log.json')).body).toBe(swagger.body);
  });
});

describe('when the engine cannot', () => {
  const secret = '/var/lib/secret/chancery.db: SQLITE_IOERR at Object.<anonymous> (/app/tree.ts:1)';
  const expected: Record<TlogErrorCode, [status: number, retryAfter: boolean]> = {
    TLOG_BUSY: [503, true],
    TLOG_STORE: [503, true],
    TLOG_CLOSED: [503, true],
    TLOG_CORRUPT: [503, true],
    TLOG_ROLLED_BACK: [503, true],
    TLOG_LOCKED: [503, true],
    TLOG_KEY: [500, false],
    TLOG_MISSING: [500, false],
    TLOG_RANGE: [500, false],
    TLOG_RECORD: [400, false],
  };
  const cases: [name: string, error: Error, status: number, retryAfter: boolean][] = [
    ...Object.entries(expected).map(([code, row]): [string, Error, number, boolean] => [
      code,
      new TlogError(code as TlogErrorCode, secret),
      ...row,
    ]),
    ['a bug of ours', new Error(secret), 500, false],
  ];

  it.each(cases)('rekor#2801, tiles#707: %s says nothing of the inside', async (_name, error, status, retryAfter) => {
    const reject = () => Promise.reject(error);
    // A tree at the end of its strength: everything else is real.
    const tree = {
      add: reject,
      receipt: reject,
      findIndex: reject,
      findByKeys: reject,
      indexedSize: () => Promise.resolve(9n),
      proveConsistency: reject,
      readTile: reject,
      readBundle: reject,
      readSidecar: reject,
      close: () => Promise.resolve(),
      head: () => ({ size: 9n, rootHash: new Uint8Array(32), timestampMs: 0n, note: '' }),
    } as unknown as Tree;
    const failing = await startLogServer({ tree: (real) => Object.assign(tree, { close: () => real.close() }) });
    try {
      const base = failing.url;
      const uuid = hexSha256('x');
      for (const reply of [
        await post(entries, hashedRekord(), base),
        await post(retrieve, { logIndexes: [1] }, base),
        await post(retrieve, { entries: [dsse()] }, base),
        await post(index, { hash: uuid }, base),
        await send('GET', `${entries}/${uuid}`, { base }),
        await send('GET', `${entries}?logIndex=1`, { base }),
        await send('GET', '/api/v1/log/proof?firstSize=1&lastSize=2', { base }),
        await send('GET', '/api/v1/tile/0/000', { base }),
        await send('GET', '/api/v1/tile/entries/000', { base }),
        await send('GET', '/api/v1/tile/annex/000', { base }),
      ]) {
        expectError(reply, status, /./);
        expect(reply.headers['retry-after'] !== undefined).toBe(retryAfter);
        expect(reply.body).not.toMatch(/secret|SQLITE|\.ts|\.js|at |\/var|node_modules/);
      }
      // Whoever runs the server reads what it was.
      expect(failing.lines.join('')).toContain('SQLITE_IOERR');
    } finally {
      await failing.close();
    }
  });

  it('a search while its index is being rebuilt is not answered with less than there is', async () => {
    const real = await startLogServer();
    try {
      const artifact = randomBytes(8);
      await post(entries, hashedRekord(artifact), real.url);
      await real.shard.tree.dropIndex();
      const reply = await post(index, { hash: hexSha256(artifact) }, real.url);
      expectError(reply, 503, 'unexpected result from searching index');
      expect(reply.headers['retry-after']).toBe('60');
    } finally {
      await real.close();
    }
  });
});
