import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseUtf8 } from '#libs/encoding';
import { temporaryFolders, TestLog, TestServer, flipBit } from '../testing/test-log.js';
import { AuditError, followLog, readCheckpoint, urlSource, type FollowOptions, type LogHead } from './index.js';

const folders = temporaryFolders();
afterEach(folders.removeAll);
let log: TestLog;
let server: TestServer;
beforeEach(() => {
  log = new TestLog().grow(5);
  server = new TestServer(log.objects({ annex: true }));
});

const options = (more: Partial<FollowOptions> = {}): FollowOptions => ({
  source: urlSource('http://log.example', { ...server.http, attempts: 1 }),
  trust: { logKeys: [log.key] },
  now: () => 0,
  from: () => 0n,
  sleep: async () => undefined,
  evidenceFolder: folders.make(),
  ...more,
});
const follow = async (more: Partial<FollowOptions> = {}): Promise<string[]> => {
  const seen: string[] = [];
  for await (const one of followLog(options(more))) {
    seen.push(one.kind === 'head' ? `head ${one.head.size}` : parseUtf8(one.entry.record));
  }
  return seen;
};

describe('followLog()', () => {
  it('gives the entries of one look in order, with their annexes, and then the head', async () => {
    expect(await follow({ from: (size) => size - 2n })).toEqual(['entry 3', 'entry 4', 'head 5']);
    log.grow(700);
    server.objects = log.objects();
    expect(await follow({ from: () => 250n })).toEqual([
      ...Array.from({ length: 455 }, (_, i) => `entry ${250 + i}`),
      'head 705',
    ]);
    for await (const one of followLog(options({ from: () => 0n }))) {
      if (one.kind === 'entry') expect(one.entry.annex).toBeUndefined();
    }
  });

  it('gives each entry once as the log grows, through moments in which it cannot be read', async () => {
    const stop = new AbortController();
    const troubles: string[] = [];
    const pauses: number[] = [];
    let looks = 0;
    const seen = await follow({
      intervalMs: 1000,
      signal: stop.signal,
      onTrouble: ({ code }) => void troubles.push(code),
      sleep: async (milliseconds) => {
        pauses.push(milliseconds);
        looks++;
        if (looks === 1) server.answer = () => new Response('', { status: 503 });
        if (looks === 3) server.answer = () => undefined;
        if (looks === 3) server.objects = log.grow(2).objects();
        // Published before its tiles can be read everywhere.
        if (looks === 4)
          server.objects = new Map([...log.grow(300).objects()].filter(([path]) => path === 'checkpoint'));
        if (looks === 5) server.objects = log.objects();
        if (looks === 6) stop.abort();
      },
    });
    expect(troubles).toEqual(['AUDIT_UNAVAILABLE', 'AUDIT_UNAVAILABLE', 'AUDIT_MISSING']);
    expect(pauses.slice(0, 4)).toEqual([1000, 2000, 4000, 1000]);
    expect(seen.filter((one) => one.startsWith('entry'))).toEqual(Array.from({ length: 307 }, (_, i) => `entry ${i}`));
  });

  it.each([
    ['fork', () => log.fork(4).grow(1, 'forged')],
    ['rollback', () => log.fork(4)],
    ['foreign', () => new TestLog('tlog-tiles', 'other.example').grow(9)],
  ] as const)('ends at a %s, with evidence', async (kind, next) => {
    const other = next();
    const trust = { logKeys: [log.key, other.key] };
    const work = follow({ intervalMs: 1, trust, sleep: async () => void (server.objects = other.objects()) });
    await expect(work).rejects.toMatchObject({
      code: 'AUDIT_INCONSISTENT',
      evidence: expect.stringContaining(kind) as string,
    });
  });

  it('goes on from a head that was seen before, which must be a prefix', async () => {
    const after: LogHead = await readCheckpoint(log.note(), { logKeys: [log.key], nowMs: 0 });
    server.objects = log.fork(5).grow(2).objects();
    expect(await follow({ after, from: () => 5n })).toEqual(['entry 5', 'entry 6', 'head 7']);
    server.objects = log.fork(3).grow(9, 'forged').objects();
    await expect(follow({ after, from: () => 5n })).rejects.toMatchObject({ code: 'AUDIT_INCONSISTENT' });
  });

  it('gives no entry that is not in the tree', async () => {
    const objects = log.objects();
    objects.set('tile/entries/000.p/5', flipBit(4)(objects.get('tile/entries/000.p/5') ?? new Uint8Array()));
    server.objects = objects;
    const seen: string[] = [];
    const work = (async () => {
      for await (const one of followLog(options({ intervalMs: 1 }))) if (one.kind === 'entry') seen.push('entry');
    })();
    await expect(work).rejects.toMatchObject({ code: 'AUDIT_ENTRY' });
    expect(seen).toEqual([]);
  });

  it('fails at the first trouble when it looks only once', async () => {
    server.answer = () => new Response('', { status: 503 });
    await expect(follow()).rejects.toBeInstanceOf(AuditError);
  });

  it('finds out what a log is once it has entries', async () => {
    const ct = new TestLog('static-ct');
    server.objects = ct.objects();
    const stop = new AbortController();
    let looks = 0;
    const kinds: string[] = [];
    const sleep = async () => {
      server.objects = ct.grow(1).objects();
      if (++looks === 2) stop.abort();
    };
    for await (const one of followLog(
      options({ intervalMs: 1, trust: { logKeys: [ct.key] }, signal: stop.signal, sleep }),
    )) {
      if (one.kind === 'entry') kinds.push(one.layout);
    }
    expect(kinds).toEqual(['static-ct']);
  });
});
