import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { changeObject, flipBit, temporaryFolders, TestLog, TestServer } from '../testing/test-log.js';
import {
  AuditError,
  checkEvidence,
  folderSource,
  fsck,
  mirror,
  readCheckpoint,
  urlSource,
  type Layout,
  type LogTrust,
  type MirrorReport,
} from './index.js';

const folders = temporaryFolders();
let folder: string;
beforeEach(() => (folder = folders.make()));
afterEach(folders.removeAll);

const run = (log: TestLog, server: TestServer, trust: Partial<LogTrust> = {}): Promise<MirrorReport> =>
  mirror({
    source: urlSource('http://log.example', { ...server.http, attempts: 1 }),
    folder,
    trust: { logKeys: [log.key], nowMs: 0, ...trust },
  });

/** The copy is intact, has the objects of the log, and nothing besides that is not owed to readers of earlier checkpoints. */
const isCopy = async (log: TestLog, annex = false): Promise<void> => {
  const source = folderSource(folder);
  const head = await readCheckpoint(await source.readNote(), { logKeys: [log.key], nowMs: 0 });
  expect(await fsck({ source, layout: log.layout, head })).toMatchObject({ outcome: 'intact', entries: log.size });
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(folder, name)).isFile(),
  );
  const paths = new Set(log.objects({ annex }).keys());
  // Partial objects of earlier checkpoints stay until the full ones exist.
  const isEarlier = (file: string) => /\.p\/\d+$/.test(file) && !files.includes(file.replace(/\.p\/\d+$/, ''));
  expect(files.filter((file) => !paths.has(file) && !isEarlier(file))).toEqual([]);
  for (const [path, bytes] of log.objects({ annex })) {
    if (path !== 'checkpoint') expect(new Uint8Array(readFileSync(join(folder, path)))).toEqual(bytes);
  }
};

describe.each<Layout>(['tlog-tiles', 'static-ct'])('mirror() of %s', (layout) => {
  it('copies a log, and then only what is new', async () => {
    const log = new TestLog(layout).grow(300);
    const server = new TestServer(log.objects());
    expect(await run(log, server)).toMatchObject({ layout, from: 0n, head: { size: 300n } });
    await isCopy(log);

    server.requests.length = 0;
    expect(await run(log, server)).toMatchObject({ from: 300n, written: 0 });
    expect(server.requests.filter((path) => path.startsWith('tile/'))).toEqual([]);

    // Beyond the end of a bundle: its partial objects give way to the full ones.
    server.objects = log.grow(400).objects();
    expect(await run(log, server)).toMatchObject({ from: 300n, head: { size: 700n } });
    await isCopy(log);
    server.requests.length = 0;
    server.objects = log.grow(3).objects();
    await run(log, server);
    expect(server.requests.filter((path) => /tile\/(0|data|entries)\/00[01]$/.test(path))).toEqual([]);
    expect(existsSync(join(folder, 'tile/0/002.p/188'))).toBe(true);
  });

  it('goes on after being killed at any request, with what it has', async () => {
    const log = new TestLog(layout).grow(900);
    const objects = log.objects();
    let at = 0;
    for (let killed = true; killed; at += 3) {
      const server = new TestServer(objects);
      server.answer = () => {
        if (server.requests.length <= at) return undefined;
        throw new Error('killed');
      };
      killed = await run(log, server).then(
        () => false,
        (error: unknown) => {
          expect(error).toBeInstanceOf(AuditError);
          // Until the very end there is no checkpoint: an unfinished copy does not pass for a log.
          expect(existsSync(join(folder, 'checkpoint'))).toBe(false);
          return true;
        },
      );
    }
    await isCopy(log);
    expect(at).toBeGreaterThan(9);
  });

  it('uses again what an unfinished run left, but not what is wrong in it', async () => {
    const log = new TestLog(layout).grow(600);
    const server = new TestServer(log.objects());
    const name = layout === 'static-ct' ? 'data' : 'entries';
    await run(log, server);
    rmSync(join(folder, 'checkpoint'));
    changeObject(folder, `tile/${name}/001`, flipBit(40));
    changeObject(folder, 'tile/0/000', flipBit(0));
    changeObject(folder, 'tile/1/000.p/2', flipBit(0));
    server.requests.length = 0;
    await run(log, server);
    await isCopy(log);
    expect(server.requests).toContain(`tile/${name}/001`);
    expect(server.requests).not.toContain('tile/0/001');
  });

  it.each([
    ['a flipped bit in a tile', 'tile/0/001', flipBit(77), 'AUDIT_TILES'],
    ['a flipped bit in the edge', 'tile/1/000.p/2', flipBit(7), 'AUDIT_TILES'],
    ['a flipped bit in a bundle', 'bundle', flipBit(40), 'AUDIT_ENTRY'],
    ['a short tile', 'tile/0/000', (bytes: Uint8Array) => bytes.subarray(32), 'AUDIT_TILES'],
    ['a short bundle', 'bundle', (bytes: Uint8Array) => bytes.subarray(0, -1), 'AUDIT_ENTRY'],
    ['a tile too long', 'tile/0/000', () => new Uint8Array(8193), 'AUDIT_TOO_LARGE'],
    ['nothing', 'tile/0/000', () => undefined, 'AUDIT_MISSING'],
  ] as const)('stores nothing of a log that serves %s', async (_, what, change, code) => {
    const log = new TestLog(layout).grow(600);
    const objects = log.objects();
    const path = what === 'bundle' ? `tile/${layout === 'static-ct' ? 'data' : 'entries'}/001` : what;
    const changed = change(new Uint8Array(objects.get(path) ?? []));
    if (changed === undefined) objects.delete(path);
    else objects.set(path, changed);
    await expect(run(log, new TestServer(objects))).rejects.toMatchObject({ code });
    expect(existsSync(join(folder, path))).toBe(false);
    expect(existsSync(join(folder, 'checkpoint'))).toBe(false);
  });
});

describe('mirror()', () => {
  it.each([
    ['fork', (log: TestLog) => log.fork(299).grow(1, 'forged')],
    ['rewritten', (log: TestLog) => log.fork(100).grow(500, 'forged')],
    ['rollback', (log: TestLog) => log.fork(100)],
  ] as const)('refuses to go on after a %s, keeps the copy as it is, and evidence', async (kind, next) => {
    const log = new TestLog().grow(300);
    const server = new TestServer(log.objects());
    await run(log, server);
    server.objects = next(log).objects();
    const error: unknown = await run(log, server).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'AUDIT_INCONSISTENT', evidence: expect.stringContaining(kind) as string });
    const file = (error as AuditError).evidence ?? '';
    expect(relative(folder, file)).toMatch(/^evidence-/);
    expect(await checkEvidence(readFileSync(file), { logKeys: [log.key], nowMs: 0 })).toMatchObject({ holds: true });
    rmSync(file);
    await isCopy(log);
  });

  it('refuses another log in the same folder', async () => {
    const log = new TestLog().grow(3);
    await run(log, new TestServer(log.objects()));
    const other = new TestLog('tlog-tiles', 'other.example').grow(5);
    const both = { logKeys: [log.key, other.key] };
    const foreign = run(other, new TestServer(other.objects()), both);
    await expect(foreign).rejects.toMatchObject({ code: 'AUDIT_INCONSISTENT' });
  });

  it('refuses a copy whose checkpoint somebody changed', async () => {
    const log = new TestLog().grow(30);
    const server = new TestServer(log.objects());
    await run(log, server);
    writeFileSync(join(folder, 'checkpoint'), log.note().replace('\n30\n', '\n20\n'));
    await expect(run(log, server)).rejects.toMatchObject({ code: 'AUDIT_STATE' });
  });

  it('copies annexes where there are some, and believes only their digest', async () => {
    const log = new TestLog().grow(300);
    const objects = log.objects({ annex: true });
    await run(log, new TestServer(objects));
    await isCopy(log, true);
    objects.set('tile/annex/000', flipBit(3)(objects.get('tile/annex/000') ?? new Uint8Array()));
    folder = folders.make();
    await expect(run(log, new TestServer(objects))).rejects.toMatchObject({ code: 'AUDIT_ENTRY' });
  });

  it('believes no issuer that is not the one of that name', async () => {
    const log = new TestLog('static-ct').grow(3);
    const objects = log.objects();
    for (const path of objects.keys()) if (path.startsWith('issuer/')) objects.set(path, encodeUtf8('another'));
    await expect(run(log, new TestServer(objects))).rejects.toMatchObject({ code: 'AUDIT_ENTRY' });
  });

  it('stops when told, and goes on later', async () => {
    const log = new TestLog().grow(3000);
    const server = new TestServer(log.objects());
    const source = urlSource('http://log.example', { ...server.http, concurrency: 2 });
    const stop = new AbortController();
    const options = { source, folder, trust: { logKeys: [log.key], nowMs: 0 }, signal: stop.signal };
    const stopped = mirror({ ...options, progress: () => stop.abort() });
    await expect(stopped).rejects.toMatchObject({ code: 'AUDIT_STOPPED' });
    const seen: bigint[] = [];
    await mirror({ ...options, signal: new AbortController().signal, progress: (done) => void seen.push(done) });
    expect(seen.at(-1)).toBe(3000n);
    await isCopy(log);
  });

  it('copies a log without entries', async () => {
    const log = new TestLog();
    await run(log, new TestServer(log.objects()));
    await isCopy(log);
  });
});
