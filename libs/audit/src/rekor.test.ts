import { beforeEach, describe, expect, it } from 'vitest';
import { encodeBase64, encodeHex, encodeUtf8 } from '#libs/encoding';
import { temporaryFolders, TestLog } from '../testing/test-log.js';
import { checkConsistency, rekorLog, type LogTrust, type RekorLog } from './index.js';

/** Rekor v1 as its API shows it: one shard that ended, and one that grows. */
let ended: TestLog;
let active: TestLog;
let trust: LogTrust;
let shards: TestLog[];
let asked: string[];
let change: (answer: Record<string, unknown>) => void;
let rekor: RekorLog;
beforeEach(() => {
  const first = new TestLog('tlog-tiles', 'rekor.example');
  const shard = (tree: string) =>
    new TestLog('tlog-tiles', `rekor.example - ${tree}`, { signer: first.signer, key: first.key });
  ended = shard('11').grow(20);
  active = shard('22').grow(30);
  shards = [active, ended];
  trust = { logKeys: [first.key], nowMs: 0 };
  asked = [];
  change = () => undefined;
  rekor = rekorLog('http://rekor.example/', { fetch: answer, sleep: async () => undefined, attempts: 2 });
});

const answer: typeof globalThis.fetch = async (input) => {
  const url = new URL(input instanceof Request ? input.url : input);
  asked.push(url.pathname + url.search);
  const json = (value: Record<string, unknown>): Response => {
    change(value);
    return Response.json(value);
  };
  const [current, ...inactive] = shards as [TestLog, ...TestLog[]];
  if (url.pathname === '/api/v1/log') {
    const info = (log: TestLog) => ({
      rootHash: encodeHex(log.root()),
      signedTreeHead: log.note(),
      treeSize: Number(log.size),
    });
    return json({ ...info(current), inactiveShards: inactive.length === 0 ? null : inactive.map(info) });
  }
  if (url.pathname === '/api/v1/log/proof') {
    const of = shards.find(({ origin }) => origin.endsWith(` - ${url.searchParams.get('treeID')}`));
    const [a, b] = ['firstSize', 'lastSize'].map((name) => BigInt(url.searchParams.get(name) ?? '1')) as [
      bigint,
      bigint,
    ];
    return json({ rootHash: '', hashes: (of?.consistency(a, b) ?? []).map((hash) => encodeHex(hash)) });
  }
  const index = BigInt(url.searchParams.get('logIndex') ?? '0') - ended.size;
  const body = current.entries[Number(index)];
  if (url.pathname !== '/api/v1/log/entries' || body === undefined) return new Response('', { status: 404 });
  const inclusionProof = {
    checkpoint: current.note(),
    hashes: current.inclusion(index, current.size).map((hash) => encodeHex(hash)),
    logIndex: Number(index),
    treeSize: Number(current.size),
  };
  const entry = { body: encodeBase64(body), logIndex: Number(index + ended.size), verification: { inclusionProof } };
  change(entry);
  return Response.json({ ['0'.repeat(80)]: entry });
};

describe('rekorLog()', () => {
  it('proves an entry by its index through all shards', async () => {
    const { record, indexInTree, head } = await rekor.proveEntry(25n, trust);
    expect(Buffer.from(record).toString()).toBe('entry 5');
    expect({ indexInTree, origin: head.origin }).toEqual({ indexInTree: 5n, origin: 'rekor.example - 22' });
    await expect(rekor.proveEntry(50n, trust)).rejects.toMatchObject({ code: 'AUDIT_RANGE' });
  });

  it.each([
    [
      'another entry',
      (entry: Record<string, unknown>) => (entry['body'] = encodeBase64(encodeUtf8('other'))),
      'AUDIT_PROOF',
    ],
    ['another index', (entry: Record<string, unknown>) => (entry['logIndex'] = 26), 'AUDIT_PROOF'],
    ['no proof', (entry: Record<string, unknown>) => delete entry['verification'], 'AUDIT_RESPONSE'],
    ['no base64', (entry: Record<string, unknown>) => (entry['body'] = '*'), 'AUDIT_RESPONSE'],
    ['no number', (entry: Record<string, unknown>) => (entry['logIndex'] = -1), 'AUDIT_RESPONSE'],
  ])('refuses an answer with %s', async (_, wrong, code) => {
    change = wrong;
    await expect(rekor.proveEntry(25n, trust)).rejects.toMatchObject({ code });
  });

  it('refuses heads and proofs that are none', async () => {
    change = (log) => delete log['signedTreeHead'];
    await expect(rekor.readNotes()).rejects.toMatchObject({ code: 'AUDIT_RESPONSE' });
    change = (proof) => (proof['hashes'] = Array(65).fill('0'.repeat(64)));
    const [first, second] = [5n, 30n].map((size) => ({
      origin: active.origin,
      size,
      rootHash: active.root(size),
      extensions: [],
    }));
    if (first === undefined || second === undefined) throw new Error('no heads');
    await expect(rekor.proveConsistency(first, second)).rejects.toMatchObject({ code: 'AUDIT_RESPONSE' });
    const html = rekorLog('http://x', { fetch: async () => new Response('<html>') });
    await expect(html.readNotes()).rejects.toMatchObject({ code: 'AUDIT_RESPONSE' });
    const refusing = rekorLog('http://x', { fetch: async () => new Response('{"message":"no"}', { status: 400 }) });
    await expect(refusing.readNotes()).rejects.toMatchObject({
      code: 'AUDIT_REFUSED',
      message: expect.stringContaining('no') as string,
    });
  });
});

describe('checkConsistency() of Rekor v1', () => {
  const folders = temporaryFolders();
  it('asks for the proof of the shard that it is about, and goes on when another shard begins', async () => {
    const folder = folders.make();
    const check = () => checkConsistency({ log: rekor, trust, folder });
    shards = [ended];
    expect(await check()).toMatchObject({ outcome: 'pinned', head: { origin: 'rekor.example - 11' } });
    ended.grow(5);
    expect(await check()).toMatchObject({ outcome: 'consistent', head: { size: 25n } });
    expect(asked).toContain('/api/v1/log/proof?firstSize=20&lastSize=25&treeID=11');
    // The old shard ends with more entries than were seen: that it only grew must be proven before the new one is pinned.
    ended.grow(5);
    shards = [active, ended];
    expect(await check()).toMatchObject({ outcome: 'pinned', head: { origin: 'rekor.example - 22' } });
    expect(asked).toContain('/api/v1/log/proof?firstSize=25&lastSize=30&treeID=11');
    active.grow(5);
    expect(await check()).toMatchObject({ outcome: 'consistent', head: { origin: 'rekor.example - 22', size: 35n } });
    // A frozen shard must never change.
    shards = [active, ended.fork(29).grow(1, 'forged')];
    expect(await check()).toMatchObject({ outcome: 'inconsistent', kind: 'fork' });
    shards = [new TestLog('tlog-tiles', 'rekor.example - 33', { signer: active.signer, key: active.key }).grow(1)];
    expect(await check()).toMatchObject({ outcome: 'inconsistent', kind: 'foreign' });
    folders.removeAll();
  });
});
