import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeHex, encodeUtf8 } from '#libs/encoding';
import { CompactRange, encodeEntryBundle, leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { changeObject, flipBit, temporaryFolders, TestLog, TestServer, writeObject } from '../testing/test-log.js';
import {
  folderSource,
  fsck,
  readCheckpoint,
  textFilter,
  urlSource,
  type FsckReport,
  type Layout,
  type LogSource,
  type Picked,
} from './index.js';
import type * as Audit from './index.js';

const folders = temporaryFolders();
afterAll(folders.removeAll);

const check = async (log: TestLog, source: LogSource): Promise<FsckReport> => {
  const head = await readCheckpoint(await source.readNote(), { logKeys: [log.key], nowMs: 0 });
  return fsck({ source, layout: log.layout, head });
};
const checkFolder = (log: TestLog, folder: string): Promise<FsckReport> => check(log, folderSource(folder));

/** A log in a folder, with one thing done to it. */
const damaged = async (log: TestLog, harm: (folder: string) => void, annex = false): Promise<FsckReport> => {
  const folder = log.write(folders.make(), { annex });
  harm(folder);
  return checkFolder(log, folder);
};

describe.each<Layout>(['tlog-tiles', 'static-ct'])('fsck() of %s', (layout) => {
  it.each([0, 1, 2, 255, 256, 257, 511, 512, 700])(
    'finds a log of %d entries intact, in a folder and by URL',
    async (size) => {
      const log = new TestLog(layout).grow(size);
      const intact = { outcome: 'intact', problems: [], untold: [], entries: BigInt(size) };
      expect(await checkFolder(log, log.write(folders.make()))).toMatchObject(intact);
      const server = new TestServer(log.objects());
      expect(await check(log, urlSource('http://log.example', server.http))).toMatchObject(intact);
    },
  );

  const name = layout === 'static-ct' ? 'data' : 'entries';
  const log = new TestLog(layout).grow(600);
  const classes: [what: string, path: string, at: number][] = [
    ['a full tile', 'tile/0/001', 33],
    ['the partial tile', 'tile/0/002.p/88', 87 * 32],
    ['a tile above', 'tile/1/000.p/2', 40],
  ];
  it.each(classes)('names the hash in which a bit of %s was flipped', async (_, path, at) => {
    const { outcome, problems } = await damaged(log, (folder) => changeObject(folder, path, flipBit(at)));
    const start = Math.floor(at / 32) * 32;
    expect(outcome).toBe('damaged');
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ kind: 'wrong', object: path, offset: start, end: start + 32 });
  });

  it('says of which entry the hash was', async () => {
    const { problems } = await damaged(log, (folder) => changeObject(folder, 'tile/0/001', flipBit(5 * 32)));
    expect(problems[0]).toMatchObject({ logIndex: 261n });
  });

  it.each([
    [`tile/${name}/001`, 7],
    [`tile/${name}/002.p/88`, 20],
  ])('names the entry in which a bit of %s was flipped', async (path, entry) => {
    const bundle = Number(/\/(\d{3})/.exec(path)?.[1]);
    // Behind the lengths, within what is hashed.
    let at = layout === 'static-ct' ? 20 : 4;
    for (const record of log.entries.slice(bundle * 256, bundle * 256 + entry)) {
      at += record.length + (layout === 'tlog-tiles' ? 2 : 0);
    }
    const { outcome, problems } = await damaged(log, (folder) => changeObject(folder, path, flipBit(at)));
    expect(outcome).toBe('damaged');
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ kind: 'wrong', object: path, logIndex: BigInt(bundle * 256 + entry) });
    const { offset = -1, end = -1 } = problems[0] ?? {};
    expect(offset <= at && at < end).toBe(true);
  });

  it.each(['tile/0/001', 'tile/0/002.p/88', 'tile/1/000.p/2', `tile/${name}/000`, `tile/${name}/002.p/88`])(
    'says that %s is missing, too short or too long, and where it ends',
    async (path) => {
      const { length } = log.objects().get(path) ?? { length: 0 };
      const missing = await damaged(log, (folder) => rmSync(join(folder, path)));
      expect(missing.problems.map(({ kind, object }) => ({ kind, object }))).toEqual([
        { kind: 'missing', object: path },
      ]);
      const short = await damaged(log, (folder) =>
        changeObject(folder, path, (bytes) => bytes.subarray(0, length - 3)),
      );
      expect(short.problems).toMatchObject([{ kind: 'short', object: path, offset: length - 3 }]);
      const long = await damaged(log, (folder) => changeObject(folder, path, (bytes) => new Uint8Array([...bytes, 1])));
      expect(long.problems).toMatchObject([{ kind: 'long', object: path, offset: length }]);
    },
  );

  it.each(['tile/0', `tile/${name}`])('sees that two objects of %s changed places', async (path) => {
    const { outcome, problems } = await damaged(log, (folder) => {
      const at = (index: string) => join(folder, path, index);
      renameSync(at('000'), at('x'));
      renameSync(at('001'), at('000'));
      renameSync(at('x'), at('001'));
    });
    expect(outcome).toBe('damaged');
    expect(problems.map(({ object }) => object)).toEqual([`${path}/000`, `${path}/001`]);
    expect(problems[0]).toMatchObject({ kind: 'wrong', logIndex: 0n });
  });

  it('sees that tile and bundle were changed together', async () => {
    const other = new TestLog(layout).grow(256, 'other');
    const { problems } = await damaged(log, (folder) => {
      for (const path of ['tile/0/000', `tile/${name}/000`]) {
        writeObject(folder, path, other.objects().get(path) ?? new Uint8Array());
      }
    });
    expect(problems).toMatchObject([{ kind: 'wrong', object: 'tile/0/000', logIndex: 0n }]);
    expect(problems[0]?.reason).toContain('both were changed');
  });

  it('cannot tell which is wrong when checkpoint and tiles exclude each other', async () => {
    const folder = log.write(folders.make());
    writeObject(folder, 'checkpoint', log.note(600n, sha256(encodeUtf8('another root'))));
    const { outcome, problems } = await checkFolder(log, folder);
    expect(outcome).toBe('damaged');
    expect(problems).toMatchObject([{ kind: 'disagree', object: 'checkpoint' }]);
  });

  it('cannot tell the position when tile and entries are wrong in different places', async () => {
    const { outcome, problems } = await damaged(log, (folder) => {
      changeObject(folder, 'tile/0/000', flipBit(3 * 32));
      changeObject(folder, `tile/${name}/000`, flipBit(1000));
    });
    expect(outcome).toBe('damaged');
    // The right mixture of stored and computed hashes is found among all: both are named exactly.
    expect(problems.map(({ object, kind }) => ({ object, kind }))).toContainEqual({
      object: 'tile/0/000',
      kind: 'wrong',
    });
    expect(problems.map(({ object, kind }) => ({ object, kind }))).toContainEqual({
      object: `tile/${name}/000`,
      kind: 'wrong',
    });
  });

  it('takes the full objects where the partial ones are gone', async () => {
    const grown = log.fork(600).grow(200);
    const objects = new Map(log.objects());
    for (const [path, bytes] of grown.objects())
      if (!path.includes('.p/') && path !== 'checkpoint') objects.set(path, bytes);
    objects.delete('tile/0/002.p/88');
    objects.delete(`tile/${name}/002.p/88`);
    const server = new TestServer(objects);
    expect(await check(log, urlSource('http://log.example', server.http))).toMatchObject({ outcome: 'intact' });
  });

  it('finds any flipped bit of tiles, and of what is hashed in bundles, and names the object', async () => {
    const small = new TestLog(layout).grow(300);
    const objects = [...small.objects()].filter(([path]) => path.startsWith('tile/'));
    await fc.assert(
      fc.asyncProperty(fc.nat(objects.length - 1), fc.nat(), fc.nat(7), async (which, place, bit) => {
        const [path, bytes] = objects[which] as [string, Uint8Array];
        const at = place % bytes.length;
        const { outcome, problems } = await damaged(small, (folder) => changeObject(folder, path, flipBit(at, bit)));
        // A CT log's precertificates and fingerprints lie beside what is hashed: a wrong fingerprint names an issuer that is not there.
        if (layout === 'static-ct' && path.startsWith('tile/data/')) {
          expect(problems.every(({ object }) => object === path || object.startsWith('issuer/'))).toBe(true);
          return;
        }
        expect(outcome).toBe('damaged');
        expect(problems[0]?.object).toBe(path);
        // A changed length can only be told from a bundle that was cut off by its consequence.
        if (problems[0]?.kind !== 'short') expect((problems[0]?.offset ?? -1) <= at).toBe(true);
      }),
      { numRuns: 40 },
    );
  }, 120_000);
});

describe('fsck()', () => {
  it('checks three levels of tiles', async () => {
    const log = new TestLog().grow(66_000, 'e');
    const folder = log.write(folders.make());
    expect(await checkFolder(log, folder)).toMatchObject({ outcome: 'intact', entries: 66_000n });
    changeObject(folder, 'tile/1/000', flipBit(100 * 32 + 1));
    expect((await checkFolder(log, folder)).problems).toMatchObject([
      { kind: 'wrong', object: 'tile/1/000', offset: 3200, end: 3232, logIndex: 25_600n },
    ]);
    rmSync(join(folder, 'tile/1/000'));
    expect((await checkFolder(log, folder)).problems).toMatchObject([{ kind: 'missing', object: 'tile/1/000' }]);
  }, 120_000);

  it.each([
    ['tile/0', 300, 'untold'],
    ['tile/0', 200, 'untold'],
    ['tile/1', 512, 'intact'],
  ] as const)(
    'does not blame the folder of a log at work for what is unfinished: %s of %d',
    async (_, size, outcome) => {
      const log = new TestLog().grow(size);
      const folder = folders.make();
      for (const [path, bytes] of log.objects()) if (!path.includes('.p/')) writeObject(folder, path, bytes);
      const report = await checkFolder(log, folder);
      expect(report).toMatchObject({ outcome, problems: [] });
      expect(report.untold).toHaveLength(outcome === 'untold' ? 1 : 0);
      // By URL the log owes them.
      const served = new Map([...log.objects()].filter(([path]) => !path.includes('.p/')));
      const source = urlSource('http://log.example', new TestServer(served).http);
      expect(await check(log, source)).toMatchObject({ outcome: 'damaged' });
    },
  );

  it('does not blame a log at work for full objects that are on their way either', async () => {
    const log = new TestLog().grow(1200);
    const folder = folders.make();
    for (const [path, bytes] of log.objects()) if (!path.includes('.p/')) writeObject(folder, path, bytes);
    rmSync(join(folder, 'tile/0/003'));
    rmSync(join(folder, 'tile/0/002'));
    rmSync(join(folder, 'tile/entries/003'));
    const report = await checkFolder(log, folder);
    expect(report).toMatchObject({ outcome: 'untold', problems: [] });
    expect(report.untold[0]).toContain('the entries from 512 on');
    // In the middle nothing is on its way.
    rmSync(join(folder, 'tile/0/000'));
    expect((await checkFolder(log, folder)).problems).toMatchObject([{ kind: 'missing', object: 'tile/0/000' }]);
  });

  it('still finds damage in the folder of a log at work', async () => {
    const log = new TestLog().grow(600);
    const folder = folders.make();
    for (const [path, bytes] of log.objects()) if (!path.includes('.p/')) writeObject(folder, path, bytes);
    changeObject(folder, 'tile/entries/001', flipBit(50));
    const { outcome, problems } = await checkFolder(log, folder);
    expect(outcome).toBe('damaged');
    expect(problems).toMatchObject([{ kind: 'disagree', object: 'tile/entries/001', against: 'tile/0/001' }]);
  });

  it('checks annexes by their digest', async () => {
    const log = new TestLog().grow(300);
    expect(await damaged(log, () => {}, true)).toMatchObject({ outcome: 'intact' });
    const flipped = await damaged(log, (folder) => changeObject(folder, 'tile/annex/000', flipBit(9)), true);
    expect(flipped.problems).toMatchObject([{ kind: 'wrong', object: 'tile/annex/000', logIndex: 0n }]);
    const short = (bytes: Uint8Array) => {
      const rest = bytes.subarray(0, -32 - 12);
      return new Uint8Array([...rest, ...sha256(rest)]);
    };
    const few = await damaged(log, (folder) => changeObject(folder, 'tile/annex/001.p/44', short), true);
    expect(few.problems).toMatchObject([
      { object: 'tile/annex/001.p/44', reason: 'it does not have the annexes of 44 entries' },
    ]);
    const gone = await damaged(log, (folder) => rmSync(join(folder, 'tile/annex/000')), true);
    expect(gone).toMatchObject({ outcome: 'intact' });
  });

  it('checks the issuers of a CT log', async () => {
    const log = new TestLog('static-ct').grow(3);
    const issuer = `issuer/${encodeHex(sha256(encodeUtf8('a root')))}`;
    const missing = await damaged(log, (folder) => rmSync(join(folder, issuer)));
    expect(missing.problems).toMatchObject([{ kind: 'missing', object: issuer }]);
    const wrong = await damaged(log, (folder) => changeObject(folder, issuer, flipBit(0)));
    expect(wrong.problems).toMatchObject([{ kind: 'wrong', object: issuer }]);
  });

  it('says of a data tile that cannot be parsed where', async () => {
    const log = new TestLog('static-ct').grow(3);
    const { problems } = await damaged(log, (folder) => changeObject(folder, 'tile/data/000.p/3', flipBit(8, 7)));
    expect(problems).toMatchObject([{ kind: 'malformed', object: 'tile/data/000.p/3', offset: 8, logIndex: 0n }]);
  });

  it('finds the log of nothing wrong if its root is not that of nothing', async () => {
    const log = new TestLog();
    const folder = folders.make();
    writeObject(folder, 'checkpoint', log.note(0n, sha256(encodeUtf8('x'))));
    expect(await checkFolder(log, folder)).toMatchObject({ outcome: 'damaged', problems: [{ object: 'checkpoint' }] });
  });

  it('bounds what it keeps of a log that is all wrong', async () => {
    const log = new TestLog().grow(256 * 520, 'e');
    const folder = log.write(folders.make());
    const wrong = encodeEntryBundle(Array.from({ length: 256 }, () => encodeUtf8('wrong')));
    for (const path of log.objects().keys()) if (path.startsWith('tile/entries/')) writeObject(folder, path, wrong);
    const { problems, more, outcome } = await checkFolder(log, folder);
    expect({ outcome, more, problems: problems.length }).toEqual({ outcome: 'damaged', more: 20, problems: 500 });
  }, 120_000);

  it('does not read for ever what a checkpoint only claims', async () => {
    const log = new TestLog().grow(3);
    const objects = log.objects();
    objects.set('checkpoint', encodeUtf8(log.note(2n ** 62n, sha256(encodeUtf8('x')))));
    const report = await check(log, urlSource('http://log.example', new TestServer(objects).http));
    expect(report).toMatchObject({ outcome: 'damaged', problems: { length: 500 }, untold: { length: 1 } });
    expect(report.problems[0]).toMatchObject({ kind: 'missing', object: 'tile/entries/000', logIndex: 0n });
  }, 120_000);

  it('tells its progress, and stops when told', async () => {
    const log = new TestLog().grow(5000);
    const source = folderSource(log.write(folders.make()));
    const head = await readCheckpoint(await source.readNote(), { nowMs: 0 });
    const seen: bigint[] = [];
    await fsck({ source, layout: log.layout, head, progress: (done) => void seen.push(done) });
    expect(seen.at(-1)).toBe(5000n);
    const stop = new AbortController();
    const stopped = fsck({ source, layout: log.layout, head, signal: stop.signal, progress: () => stop.abort() });
    await expect(stopped).rejects.toMatchObject({ code: 'AUDIT_STOPPED' });
  });

  it('hands out the entries that contain a text, with their annexes', async () => {
    const log = new TestLog().grow(300);
    const source = folderSource(log.write(folders.make(), { annex: true }));
    const head = await readCheckpoint(await source.readNote(), { nowMs: 0 });
    const picked: Picked[] = [];
    const onPicked = (one: Picked) => void picked.push(one);
    await fsck({ source, layout: log.layout, head, filter: textFilter([['ENTRY 29']]), onPicked });
    expect(picked.map(({ index }) => index).sort()).toEqual([
      29n,
      ...Array.from({ length: 10 }, (_, i) => BigInt(290 + i)),
    ]);
    expect(picked[0]?.annex?.timestampMs).toBe(1_700_000_000_000n);
  });
});

describe('fsck() of a tree that is not the one under its checkpoint', () => {
  let log: TestLog;
  beforeAll(() => {
    log = new TestLog().grow(300);
  });

  it('believes a fork made with the log’s own key no more than its root', async () => {
    const fork = log.fork(299).grow(1, 'forged');
    const folder = log.write(folders.make());
    for (const [path, bytes] of fork.objects()) if (path.includes('.p/')) writeObject(folder, path, bytes);
    expect(await checkFolder(log, folder)).toMatchObject({ outcome: 'damaged' });
    // And with the fork's checkpoint it is intact: what shows the fork is comparing the two heads.
    writeObject(folder, 'checkpoint', fork.note());
    expect(await checkFolder(log, folder)).toMatchObject({ outcome: 'intact' });
  });

  it('recomputes the root as RFC 9162 §2.1.1 has it', () => {
    const tree = CompactRange.empty(sha256);
    for (const entry of log.entries) tree.append(leafHash(sha256, entry));
    expect(log.root()).toEqual(tree.root());
  });
});

// A thread runs compiled code: these need the build that `npm test` makes first.
const built = join(import.meta.dirname, '..', '..', '..', 'dist', 'libs', 'audit', 'src', 'index.js');
if (!existsSync(built)) console.warn('there is no build: the reading threads are not tested');

describe.skipIf(!existsSync(built))('fsck() with threads', async () => {
  const audit = (existsSync(built) ? await import(pathToFileURL(built).href) : {}) as typeof Audit;

  it('finds the same as without', async () => {
    const log = new TestLog().grow(9000, 'e');
    const folder = log.write(folders.make(), { annex: true });
    const run = async (threads: number) => {
      const source = audit.folderSource(folder);
      const head = await audit.readCheckpoint(await source.readNote(), { nowMs: 0 });
      const picked: bigint[] = [];
      const filter = audit.textFilter([['e 77']]);
      const onPicked = ({ index }: Picked) => void picked.push(index);
      const report = await audit.fsck({ source, layout: 'tlog-tiles', head, threads, filter, onPicked });
      return { report, picked: picked.sort() };
    };
    expect(await run(2)).toEqual(await run(0));
    changeObject(folder, 'tile/entries/012', flipBit(100));
    const harmed = await run(2);
    expect(harmed.report.problems).toMatchObject([{ kind: 'wrong', object: 'tile/entries/012' }]);
    expect(harmed).toEqual(await run(0));
    writeObject(folder, 'tile/entries/013', new Uint8Array(256 * 65_537 + 1));
    const huge = await run(2);
    expect(huge.report.problems).toMatchObject([
      { object: 'tile/entries/012' },
      { kind: 'long', object: 'tile/entries/013' },
    ]);
    expect(huge).toEqual(await run(0));
  });
});
