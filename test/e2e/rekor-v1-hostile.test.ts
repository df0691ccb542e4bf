// What strangers send to the v1 API of the real stack: shapes made to keep it busy, connections that do not end as they should, names that
// lead elsewhere. Each gets its answer, nobody else waits for long, nothing is stored, and nothing of the inside is told.
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { connect, Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { LogEntry } from '../../apps/log/src/rekor1-log.js';
import { base64, dsse, hashedRekord, intoto1, intoto2, pemOf, statement } from '../../apps/log/testing/proposals.js';
import { type Reply, send } from '../../apps/log/testing/send.js';
import { startWorld, type World } from '../world/index.js';

const entries = '/api/v1/log/entries';
const retrieve = '/api/v1/log/entries/retrieve';
const index = '/api/v1/index/retrieve';
const json = { 'content-type': 'application/json' };
const page = { origin: 'https://page.example' };

type EntryMap = Record<string, LogEntry>;

let world: World;
let seeded: { id: string; entry: LogEntry };
/** Every answer of this file. */
const answers: string[] = [];

beforeAll(async () => {
  world = await startWorld({
    environment: { CHANCERY_LOG_ATTESTATIONS: 'true', CHANCERY_LOG_MAX_ATTESTATION_SIZE: '10000' },
  });
  seeded = await append(hashedRekord());
  for (let i = 0; i < 4; i++) await append(hashedRekord());
});
afterAll(() => world.close());

async function ask(method: string, path: string, options: Parameters<typeof send>[3] = {}): Promise<Reply> {
  const reply = await send(world.url, method, path, options);
  answers.push(`${JSON.stringify(reply.headers)}\n${reply.body}`);
  return reply;
}
const post = (path: string, body: unknown, headers: Record<string, string> = json): Promise<Reply> =>
  ask('POST', path, {
    body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    headers,
  });

async function append(proposal: unknown): Promise<{ id: string; entry: LogEntry }> {
  const { status, body } = await post(entries, proposal);
  expect(status, body).toBe(201);
  return onlyEntry(body);
}

function onlyEntry(body: string): { id: string; entry: LogEntry } {
  const [[id, entry] = []] = Object.entries(JSON.parse(body) as EntryMap);
  if (id === undefined || entry === undefined) throw new Error('not an entry');
  return { id, entry };
}

const jsonOf = (reply: Reply): unknown => JSON.parse(reply.body);
const messageOf = (reply: Reply): unknown => (jsonOf(reply) as { message?: unknown }).message;

interface LogInfo {
  readonly inactiveShards: unknown;
  readonly rootHash: string;
  readonly signedTreeHead: string;
  readonly treeID: string;
  readonly treeSize: number;
}
const info = async (): Promise<LogInfo> => jsonOf(await ask('GET', '/api/v1/log')) as LogInfo;
const logKey = async (): Promise<KeyObject> => createPublicKey((await ask('GET', '/api/v1/log/publicKey')).body);

/** Every test of a describe that calls this must leave the tree as it was. */
function storesNothing(): void {
  let before: LogInfo;
  beforeEach(async () => {
    before = await info();
  });
  afterEach(async () => {
    const { treeSize, rootHash } = await info();
    expect({ treeSize, rootHash }).toEqual({ treeSize: before.treeSize, rootHash: before.rootHash });
  });
}

/** What the server answers to bytes on a connection, of which it is the one that ends it; `rest` is sent after the first answer. */
function askRaw(...parts: readonly (string | Buffer)[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(world.url).port), '127.0.0.1');
    let answer = '';
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
    socket.on('error', reject).on('close', () => {
      answers.push(answer);
      resolve(answer);
    });
    for (const part of parts) socket.write(part);
  });
}
const head = (path: string, ...headers: readonly string[]): string =>
  [`POST ${path} HTTP/1.1`, 'Host: x', 'Connection: close', 'Content-Type: application/json', ...headers, '', ''].join(
    '\r\n',
  );

describe('a body of very many values', () => {
  storesNothing();
  const about = 4_000_000;
  const fill = (item: string): string => item.repeat(Math.floor(about / item.length));
  const members = (count: number): string => Array.from({ length: count }, (_, i) => `"k${i}":0`).join();
  const enveloped = (text: string): string =>
    JSON.stringify({
      kind: 'dsse',
      apiVersion: '0.0.1',
      spec: { proposedContent: { envelope: text, verifiers: ['AAAA'] } },
    });
  const shapes: [name: string, path: string, parameter: string, body: () => string][] = [
    ['a million entry IDs', retrieve, 'entry', () => `{"entryUUIDs":[${fill('1,')}1]}`],
    ['a million entries', retrieve, 'entry', () => `{"entries":[${fill('{},')}{}]}`],
    ['arrays that never close', retrieve, 'entry', () => fill('[')],
    ['arrays in arrays', retrieve, 'entry', () => `{"entries":${'['.repeat(about / 2)}${']'.repeat(about / 2)}}`],
    ['objects in objects', entries, 'proposedEntry', () => fill('{"a":')],
    ['members that nobody knows', entries, 'proposedEntry', () => `{${members(300_000)}}`],
    ['members of a query that nobody knows', index, 'query', () => `{"publicKey":{${members(300_000)}}}`],
    [
      'signatures',
      entries,
      'proposedEntry',
      () => `{"kind":"dsse","apiVersion":"0.0.1","spec":{"signatures":[${fill('{},')}{}]}}`,
    ],
    [
      'an envelope of objects',
      entries,
      'proposedEntry',
      () => enveloped(`{"payload":"","payloadType":"","signatures":[${fill('{},')}{}]}`),
    ],
    ['an envelope of numbers', entries, 'proposedEntry', () => enveloped(`{"x":[${fill('0,')}0]}`)],
    [
      'an envelope of objects, all escaped',
      entries,
      'proposedEntry',
      () => enveloped('').replace('"envelope":""', `"envelope":"${fill('\\u007b\\u007d\\u002c')}"`),
    ],
  ];
  it.each(shapes)('is not even read: %s', async (_name, path, parameter, body) => {
    const reply = await post(path, body());
    expect([reply.status, jsonOf(reply)]).toEqual([
      400,
      { code: 400, message: `parsing ${parameter} body from "" failed, because it has too many values` },
    ]);
  });

  it('while one that is long for its base64 is', async () => {
    // Some writers escape the slash.
    const content = base64(randomBytes(2_900_000)).replaceAll('/', '\\/');
    const reply = await post(index, `{"publicKey":{"format":"x509","content":"${content}"}}`);
    expect([reply.status, messageOf(reply)]).toEqual([400, 'public key provided could not be parsed']);
  });
});

describe('text without end', () => {
  storesNothing();
  const long = 'a'.repeat(4_000_000);
  const proposal = { kind: 'hashedrekord', apiVersion: '0.0.1', spec: {} };
  it.each<[string, string, unknown, number]>([
    ['a kind', entries, { ...proposal, kind: long }, 422],
    ['a version', entries, { ...proposal, apiVersion: `0.0.${'1'.repeat(4_000_000)}` }, 422],
    ['a name of a member', entries, { ...proposal, [long]: 1 }, 422],
    ['a name of a member of a key', index, { publicKey: { format: 'x509', [long]: 1 } }, 422],
    ['a signature', entries, { ...proposal, spec: { data: {}, signature: { content: long } } }, 400],
    ['an entry ID', retrieve, { entryUUIDs: [long] }, 422],
    ['a hash', index, { hash: long }, 422],
    ['a subject', index, { subject: long }, 422],
    ['half an e-mail address', index, { email: long }, 422],
    ['at signs', index, { email: 'a@'.repeat(2_000_000) }, 422],
    ['a key in base64', index, { publicKey: { format: 'x509', content: long } }, 400],
    ['a key in nearly base64', index, { publicKey: { format: 'x509', content: `${long}!` } }, 422],
    ['a number', retrieve, `{"logIndexes":[${'9'.repeat(4_000_000)}]}`, 422],
  ])('%s does not come back, and is not in our log', async (_name, path, body, status) => {
    const lines = world.log.length;
    const reply = await post(path, body);
    expect([reply.status, reply.body.length < 500], reply.body.slice(0, 500)).toEqual([status, true]);
    for (const line of world.log.slice(lines)) expect(line.length).toBeLessThan(2000);
  });
});

/** As many signatures as are tried in any order, by as many keys, the keys in the order that takes the most attempts. */
function manySigned(count = 11): unknown {
  const payload = randomBytes(8);
  const message = Buffer.concat([Buffer.from(`DSSEv1 1 x ${payload.length} `), payload]);
  const pairs = Array.from({ length: count }, () => generateKeyPairSync('ec', { namedCurve: 'P-521' }));
  const signatures = pairs.map(({ privateKey }) => ({ sig: base64(sign('sha256', message, privateKey)) }));
  return {
    kind: 'dsse',
    apiVersion: '0.0.1',
    spec: {
      proposedContent: {
        envelope: JSON.stringify({ payload: base64(payload), payloadType: 'x', signatures }),
        verifiers: pairs.map(({ publicKey }) => base64(pemOf(publicKey))).reverse(),
      },
    },
  };
}

describe('proposals that take long to verify', () => {
  storesNothing();
  it('keep nobody else waiting', async () => {
    const proposals = [manySigned(), manySigned()];
    let isOver = false;
    const asked = post(retrieve, { entries: proposals }).finally(() => (isOver = true));
    let others = 0;
    for (; !isOver; others++) expect((await ask('GET', '/ping')).status).toBe(200);
    expect(await asked).toMatchObject({ status: 200, body: '[]' });
    // Were it verified in one go, the first ping would be answered after it.
    expect(others).toBeGreaterThan(5);
  });

  it('are given up: one proposal of too many attempts, and many of not so many', async () => {
    const words = 'too many signatures do not fit the keys they are tried with';
    const one = await post(entries, manySigned(12));
    expect([one.status, messageOf(one)]).toEqual([400, `error processing entry: ${words}`]);
    const many = await post(retrieve, { entries: [manySigned(), manySigned(), manySigned()] });
    expect([many.status, messageOf(many)]).toEqual([400, words]);
  });
});

describe('JSON of several meanings', () => {
  storesNothing();
  const indexes = async (text: string): Promise<unknown> => {
    const reply = await post(retrieve, text);
    if (reply.status !== 200) return reply.status;
    return (jsonOf(reply) as EntryMap[]).map((map) => Object.values(map)[0]?.logIndex);
  };
  it.each<[string, unknown]>([
    ['{"logIndexes":[-0]}', [0]],
    ['{"logIndexes":[1.0]}', [1]],
    ['{"logIndexes":[1e0]}', [1]],
    ['{"logIndexes":[1e3]}', []],
    ['{"logIndexes":[9007199254740993,9223372036854775807,0]}', [0]],
    ['{"logIndexes":[0],"logIndexes":[1]}', [1]],
    ['{"logIndexes":null,"entryUUIDs":null,"entries":null}', []],
    ['{"__proto__":{"logIndexes":[0]}}', []],
    ['{"logIndexes":[1.5]}', 422],
    ['{"logIndexes":[-1]}', 422],
    ['{"logIndexes":["0"]}', 422],
    ['{"logIndexes":[null]}', 422],
    ['{"logIndexes":[1e400]}', 422],
    ['{"logIndexes":[]}', 422],
    ['{"logIndexes":{"0":0}}', 422],
    ['{"logIndexes":[0]}x', 400],
    ['{"logIndexes":[0]}{}', 400],
    ['{"logIndexes":[+0]}', 400],
    ['{"logIndexes":[00]}', 400],
    ['{"logIndexes":[NaN]}', 400],
    ['{"logIndexes":[0,]}', 400],
    ["{'logIndexes':[0]}", 400],
    ['', 422],
    [' ', 400],
    ['null', 422],
    ['[]', 422],
  ])('%s', async (text, expected) => {
    expect(await indexes(text)).toEqual(expected);
  });

  it.each<[string, Uint8Array]>([
    ['UTF-16', Buffer.from('{}', 'utf16le')],
    ['half a character', Buffer.from([0x7b, 0x22, 0xc3, 0x22, 0x3a, 0x30, 0x7d])],
    ['a surrogate in UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
    ['gzip', gzipSync('{}')],
  ])('%s is not JSON, whatever the request says', async (_name, body) => {
    for (const path of [entries, retrieve, index]) {
      expect((await post(path, body, { ...json, 'content-encoding': 'gzip' })).status).toBe(400);
    }
  });
});

describe('what a proof is asked for', () => {
  storesNothing();
  const proof = (query: string): Promise<Reply> => ask('GET', `/api/v1/log/proof?${query}`);
  it.each<[string, number, unknown]>([
    ['lastSize=0', 422, 'lastSize in query should be greater than or equal to 1'],
    ['firstSize=0&lastSize=1', 422, 'firstSize in query should be greater than or equal to 1'],
    ['lastSize=-1', 422, 'lastSize in query should be greater than or equal to 1'],
    ['firstSize=3&lastSize=2', 400, 'firstSize(3) must be less than lastSize(2)'],
    ['lastSize=1.0', 422, expect.stringMatching(/^lastSize in query must be of type int64/)],
    ['lastSize=1e0', 422, expect.stringMatching(/^lastSize in query must be of type int64/)],
    ['lastSize=0x1', 422, expect.stringMatching(/^lastSize in query must be of type int64/)],
    ['lastSize=%201', 422, expect.stringMatching(/^lastSize in query must be of type int64/)],
    [`lastSize=${'9'.repeat(5000)}`, 422, expect.stringMatching(/^lastSize in query must be of type int64/)],
    [
      'lastSize=1000',
      400,
      expect.stringMatching(/^the tree size requested\(1000\) was greater than what is currently observable/),
    ],
    [
      'lastSize=9223372036854775807',
      400,
      expect.stringMatching(/^the tree size requested\(\d+\) was greater than what is currently observable/),
    ],
    ['lastSize=9223372036854775808', 422, expect.stringMatching(/^lastSize in query must be of type int64/)],
    ['firstSize=1&lastSize=', 422, 'lastSize in query is required'],
    ['lastSize=1&treeID=1', 400, 'no log range found for tree ID 1'],
    ['lastSize=1&treeID=9223372036854775808', 400, 'invalid tree ID specified: 9223372036854775808'],
    ['lastSize=1&treeID=-1', 422, "treeID in query should match '^[0-9]+$'"],
  ])('%s', async (query, status, message) => {
    const reply = await proof(query);
    expect([reply.status, messageOf(reply)]).toEqual([status, message]);
  });

  it('of one size and itself has nothing to prove', async () => {
    const { treeID, rootHash, treeSize } = await info();
    for (const size of [1, 2, treeSize]) {
      const reply = await proof(`firstSize=${size}&lastSize=${size}&treeID=${treeID}`);
      expect([reply.status, jsonOf(reply)]).toEqual([200, { hashes: [], rootHash }]);
    }
  });
});

describe('transport', () => {
  storesNothing();
  const routes = [
    '/api/v1/log',
    '/api/v1/log/publicKey',
    '/api/v1/log/proof',
    entries,
    `${entries}/x`,
    retrieve,
    index,
  ];

  it('every route answers a preflight, also with a slash at its end or twice', async () => {
    for (const route of routes.flatMap((path) => [path, `${path}/`, path.replace('/log', '//log')])) {
      const asked = {
        ...page,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type',
      };
      const { status, headers, body } = await ask('OPTIONS', route, { headers: asked });
      expect([route, status, body]).toEqual([route, 204, '']);
      expect(headers['access-control-allow-origin']).toBe('*');
      expect(headers['access-control-allow-methods']).toBe('GET, POST, HEAD');
      expect(headers['access-control-allow-headers']).toMatch(/\bcontent-type\b/);
    }
  });

  it.each<[number, () => Promise<Reply>]>([
    [200, () => ask('GET', '/api/v1/log', { headers: page })],
    [400, () => post(entries, '{', { ...json, ...page })],
    [404, () => ask('GET', `${entries}?logIndex=999`, { headers: page })],
    [404, () => ask('GET', '/api/v1/log/x', { headers: page })],
    [405, () => ask('PUT', '/api/v1/log', { headers: page })],
    [406, () => ask('GET', '/api/v1/log', { headers: { ...page, accept: 'text/html' } })],
    [413, () => post(entries, 'x'.repeat((1 << 22) + 1), { ...json, ...page })],
    [415, () => post(entries, '{}', { ...page, 'content-type': 'text/plain' })],
    [422, () => post(entries, '{}', { ...json, ...page })],
  ])('a page may read an answer %d', async (status, request) => {
    const reply = await request();
    expect([reply.status, reply.headers['access-control-allow-origin']]).toEqual([status, '*']);
    expect(reply.headers['access-control-allow-credentials']).toBeUndefined();
  });

  it('HEAD is GET without its body, also of what is not there', async () => {
    for (const path of [
      '/api/v1/log',
      `${entries}?logIndex=0`,
      `${entries}?logIndex=999`,
      `${entries}/${seeded.id}`,
      '/api/v1/log/proof',
    ]) {
      const [got, headed] = [await ask('GET', path), await ask('HEAD', path)];
      expect([path, headed.status, headed.body]).toEqual([path, got.status, '']);
      expect(headed.headers['content-type']).toBe(got.headers['content-type']);
    }
  });

  it('a body in chunks, and one that waits to be asked for', async () => {
    const chunks = '1\r\n{\r\n1\r\n}\r\n0\r\n\r\n';
    expect(await askRaw(head(index, 'Transfer-Encoding: chunked'), chunks)).toMatch(/^HTTP\/1.1 200 .*\r\n\r\n\[\]$/s);
    expect(await askRaw(head(index, 'Expect: 100-continue', 'Content-Length: 2'), '{}')).toMatch(
      /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 .*\r\n\r\n\[\]$/s,
    );
    expect(await askRaw(head(index, 'Expect: something', 'Content-Length: 2'), '{}')).toMatch(/^HTTP\/1.1 417 /);
    expect(await askRaw(head(index, 'Content-Length: 99999999'))).toMatch(/^HTTP\/1.1 413 .*Limit set to 4194304"\}$/s);
  });

  it('a body of two lengths is none', async () => {
    for (const headers of [
      ['Content-Length: 2', 'Content-Length: 3'],
      ['Content-Length: 2', 'Transfer-Encoding: chunked'],
      ['Content-Length: -2'],
      ['Content-Length: 2x'],
    ]) {
      expect(await askRaw(head(index, ...headers), '{}'), headers.join()).toMatch(/^HTTP\/1.1 400 /);
    }
  });

  it('requests one after the other on one connection get their answers in this order', async () => {
    const proposal = JSON.stringify({ entries: [manySigned()] });
    const keep = (path: string, body: string): string =>
      `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    const answer = await askRaw(
      keep(retrieve, proposal) + keep(index, '{"x":') + 'GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    );
    expect([...answer.matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => status)).toEqual(['200', '400', '200']);
    expect(answer.endsWith('\r\n\r\n.')).toBe(true);
  });

  it('a body that ends early is no request, and no fault of ours', async () => {
    const body = JSON.stringify(hashedRekord());
    const lines = world.log.length;
    for (const sent of [0, 1, body.length - 1]) {
      const socket = new Socket().connect(Number(new URL(world.url).port), '127.0.0.1');
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.on('error', () => undefined);
      await new Promise<void>((resolve) =>
        socket.write(head(entries, `Content-Length: ${body.length}`) + body.slice(0, sent), () => resolve()),
      );
      await ask('GET', '/ping');
      socket.resetAndDestroy();
      await closed;
    }
    await ask('GET', '/ping');
    expect(world.log.slice(lines).filter((line) => line.includes('"severity":"error"'))).toEqual([]);
  });

  it('paths that lead elsewhere lead nowhere', async () => {
    for (const path of [
      '/api/v1/log/../../../../etc/passwd',
      `${entries}/..%2f..%2f..%2fkeys%2flog-v1.pem`,
      `${entries}/%2e%2e/%2e%2e/keys`,
      `${entries}/%00`,
      `${entries}/${'a'.repeat(15_000)}`,
      '/api/v1/tile/../../../keys/log-v1.pem',
      '/api/v1/tile/attestations/sha256/x',
      '/api/v1/log\\proof',
    ]) {
      const answer = await askRaw(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      expect([path, answer.split(' ', 2)[1]]).toEqual([path, expect.stringMatching(/^4/)]);
    }
  });
});

describe('what the log promises', () => {
  /** The signed text of a checkpoint, and the line of its one signature. */
  function parts(note: string): { signed: string; name: string; keyHash: string; signature: Buffer } {
    const [, text, name, blob] = /^([^]*\n)\n— (\S+) (\S+)\n$/.exec(note) ?? [];
    if (text === undefined || name === undefined || blob === undefined) throw new Error(`Not a checkpoint: ${note}`);
    const bytes = Buffer.from(blob, 'base64');
    return { signed: text, name, keyHash: bytes.subarray(0, 4).toString('hex'), signature: bytes.subarray(4) };
  }

  it('is signed as others verify it: promise, checkpoint and log ID', async () => {
    const key = await logKey();
    const logID = createHash('sha256')
      .update(key.export({ type: 'spki', format: 'der' }))
      .digest('hex');
    const { treeID, signedTreeHead, treeSize, rootHash, inactiveShards } = await info();
    expect(inactiveShards).toBeNull();
    const { id, entry } = onlyEntry((await ask('GET', `${entries}/${seeded.id}`)).body);
    expect([id, entry.logID]).toEqual([seeded.id, logID]);
    expect(id.slice(0, 16)).toBe(BigInt(treeID).toString(16).padStart(16, '0'));
    const leaf = createHash('sha256').update(Buffer.of(0)).update(Buffer.from(entry.body, 'base64')).digest('hex');
    expect(id.slice(16)).toBe(leaf);

    const { body, integratedTime, logIndex } = entry;
    const { signedEntryTimestamp, inclusionProof } = entry.verification;
    const promised = `{"body":"${body}","integratedTime":${integratedTime},"logID":"${logID}","logIndex":${logIndex}}`;
    expect(verify('sha256', Buffer.from(promised), key, Buffer.from(signedEntryTimestamp, 'base64'))).toBe(true);
    expect(verify('sha256', Buffer.from(`${promised} `), key, Buffer.from(signedEntryTimestamp, 'base64'))).toBe(false);

    for (const [note, size, root] of [
      [signedTreeHead, treeSize, rootHash],
      [inclusionProof.checkpoint, inclusionProof.treeSize, inclusionProof.rootHash],
    ] as const) {
      const { signed, name, keyHash, signature } = parts(note);
      expect(signed).toBe(`${name} - ${treeID}\n${size}\n${Buffer.from(root, 'hex').toString('base64')}\n`);
      expect(keyHash).toBe(logID.slice(0, 8));
      expect(verify('sha256', Buffer.from(signed), key, signature)).toBe(true);
    }
  });

  it('the same entry again is a conflict: within one batch, later, and after a restart', async () => {
    const proposal = hashedRekord();
    const before = (await info()).treeSize;
    const replies = await Promise.all(Array.from({ length: 8 }, () => post(entries, proposal)));
    const created = replies.filter(({ status }) => status === 201);
    expect(created).toHaveLength(1);
    const { id } = onlyEntry(created[0]?.body ?? '');
    const conflict = {
      code: 409,
      message: `an equivalent entry already exists in the transparency log with UUID ${id}`,
    };
    const expectConflict = (reply: Reply): void => {
      expect([reply.status, jsonOf(reply), reply.headers['location']]).toEqual([409, conflict, `${entries}/${id}`]);
    };
    replies.filter(({ status }) => status !== 201).forEach(expectConflict);
    expectConflict(await post(`${entries}/`, proposal));
    await world.restart();
    expectConflict(await post(entries, proposal));
    expect((await info()).treeSize).toBe(before + 1);
  });
});

describe('GET /api/search', () => {
  storesNothing();
  const search = (query: string): Promise<Reply> => ask('GET', `/api/search?${query}`);
  it.each([
    'tree=v1&tree=v2',
    'tree=__proto__',
    '__proto__=1',
    'constructor=1',
    'limit=0&tree=v1',
    'limit=1e1&tree=v1',
    'after=2026-02-30T00:00:00Z',
    'after=2016-12-31T23:59:60Z',
    'after=2026-01-01T24:00:00Z',
    'logIndex=-1',
    'logIndex=1000000000000000000',
    'uuid=..%2f..',
    `email=${'a'.repeat(2049)}`,
    `digest=${'ab'.repeat(65)}`,
    'url=http://127.0.0.1:1/',
    'cursor=AAAA&tree=v1',
    `cursor=${'A'.repeat(66)}&tree=v1`,
    'cursor=%00&tree=v1',
  ])('refuses %s', async (query) => {
    const reply = await search(query);
    expect([reply.status, jsonOf(reply)]).toEqual([
      400,
      { code: expect.stringMatching(/^SEARCH_(?:QUERY|CURSOR)$/), message: expect.stringMatching(/^Cannot /) },
    ]);
    expect(reply.body.length).toBeLessThan(1000);
  });

  it('names some of very many wrong parameters', async () => {
    const reply = await search(Array.from({ length: 4000 }, (_, i) => `k${i}`).join('&'));
    expect([reply.status, reply.body.length < 2000]).toEqual([400, true]);
    expect(messageOf(reply)).toBe(
      'Cannot search: k0 is not a parameter; k1 is not a parameter; k2 is not a parameter; k3 is not a parameter; k4 is not a parameter; and 3995 more',
    );
  });

  it('takes any time there is', async () => {
    for (const query of [
      'after=0000-01-01T00:00:00%2B23:59',
      'before=9999-12-31T23:59:59Z',
      `after=2020-01-01T00:00:00.${'9'.repeat(5000)}Z`,
    ]) {
      expect((await search(query)).status).toBe(200);
    }
  });

  it('a cursor that was changed is refused, or leads to another page of the same', async () => {
    const { next } = jsonOf(await search('tree=v1&limit=1')) as { next: string };
    const bytes = Buffer.from(next, 'base64url');
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 0x81;
      const reply = await search(`tree=v1&limit=1&cursor=${changed.toString('base64url')}`);
      expect([200, 400], `${at}: ${reply.body}`).toContain(reply.status);
    }
    for (const cursor of [bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.of(0)])]) {
      expect((await search(`tree=v1&limit=1&cursor=${cursor.toString('base64url')}`)).status).toBe(400);
    }
    expect((await search(`tree=v2&limit=1&cursor=${next}`)).status).toBe(400);
  });
});

describe('statements that are kept beside the log', () => {
  const kept = async (): Promise<string[]> =>
    (await readdir(world.folder, { recursive: true })).filter((name) => /attestations.*[0-9a-f]{60}/.test(name));
  const padded = (length: number): string => {
    const text = statement();
    return text.replace('{', `{${' '.repeat(length - text.length)}`);
  };

  it('have the name of their digest, and come with their entries', async () => {
    const before = await kept();
    const text = statement();
    const { id } = await append(intoto2(text));
    const added = (await kept()).filter((name) => !before.includes(name));
    expect(added).toHaveLength(1);
    const digest = createHash('sha256').update(text).digest('hex');
    expect(added[0]?.replaceAll(/[\\/]/g, '')).toContain(digest);
    const { entry } = onlyEntry((await ask('GET', `${entries}/${id}`)).body);
    expect(entry.attestation).toEqual({ data: base64(text) });
  });

  it('are not kept of what is refused, of what is only looked up, and above the limit', async () => {
    const before = await kept();
    const wrong = intoto2();
    const { envelope } = (wrong.spec as { content: { envelope: { payload: string } } }).content;
    envelope.payload = base64(base64(statement()));
    expect((await post(entries, wrong)).status).toBe(400);
    // Who would choose the name: it is the log that computes it.
    const named = intoto2();
    const content = named.spec['content'] as Record<string, unknown>;
    content['payloadHash'] = { algorithm: 'sha256', value: '../../../../x' };
    expect((await post(entries, named)).status).toBe(400);
    expect((await post(retrieve, { entries: [intoto2(), intoto1()] })).status).toBe(200);
    await append(dsse());
    const { id } = await append(intoto2(padded(10_001)));
    const { entry } = onlyEntry((await ask('GET', `${entries}/${id}`)).body);
    expect(entry.attestation).toBeUndefined();
    expect(await kept()).toEqual(before);
    await append(intoto2(padded(10_000)));
    expect(await kept()).toHaveLength(before.length + 1);
  });

  it('are kept once, however often they are sent and by however many entries', async () => {
    const text = statement();
    const proposal = intoto1(text);
    await append(proposal);
    const before = await kept();
    expect((await post(entries, proposal)).status).toBe(409);
    await append(intoto2(text));
    expect(await kept()).toEqual(before);
  });
});

describe('afterwards', () => {
  it('no answer tells anything of the inside', () => {
    expect(answers.length).toBeGreaterThan(100);
    const inside =
      /node_modules|\bat [\w.]+ \(|\.[jt]s:\d+|file:\/\/|SQLITE|ECONN|ZodError|TypeError|RangeError|SyntaxError|Cannot read propert/;
    for (const answer of answers) {
      expect(answer).not.toMatch(inside);
      expect(answer).not.toContain(world.folder);
    }
  });

  it('nothing was a fault of ours', () => {
    expect(world.log.filter((line) => line.includes('"severity":"error"'))).toEqual([]);
  });

  it('and the log goes on', async () => {
    const { id } = await append(hashedRekord());
    expect((await ask('GET', `${entries}/${id}`)).status).toBe(200);
  });
});
