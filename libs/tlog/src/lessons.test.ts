import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { encodeUtf8, parseUtf8 } from '#libs/encoding';
import { leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { entriesFormat } from './format.js';
import { folderObjects } from './objects.js';
import type { SqlStore } from './sql-store.js';
import { TestLog } from './test-log.js';

// How other logs have died or lied, each with what it would have taken to notice.

let log: TestLog;
const folders: string[] = [];
afterEach(async () => {
  await log.remove();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function numbers(start: number, end: number): string[] {
  return Array.from({ length: end - start }, (_, n) => String(start + n));
}

describe('Yeti 2022: one bit of one leaf hash flipped before the root over it was signed', () => {
  /** Flips a bit of the nth blob of a statement on its way to the database, as memory or bus might. */
  const flipping = (
    store: SqlStore,
    flip: { statement: string; blob: number; bit: number },
    state: { armed: boolean },
  ): SqlStore => ({
    ...store,
    read: (sql, parameters) => store.read(sql, parameters),
    close: () => store.close(),
    begin: async () => {
      const transaction = await store.begin();
      return {
        ...transaction,
        query: (sql, parameters = []) => {
          if (!state.armed || !sql.startsWith(flip.statement)) return transaction.query(sql, parameters);
          const blobs = parameters.filter((each) => each instanceof Uint8Array);
          const victim = blobs[flip.blob % blobs.length]!;
          const at = flip.bit % (victim.length * 8);
          const copy = victim.map((byte, index) => (index === at >> 3 ? byte ^ (1 << (at & 7)) : byte));
          return transaction.query(
            sql,
            parameters.map((each) => (each === victim ? copy : each)),
          );
        },
      };
    },
  });

  test(
    'on the way to a record or to the edge: nothing is signed, committed or published',
    { timeout: 120_000 },
    async () => {
      const { log: created, tree } = await TestLog.create();
      log = created;
      await log.addAll(tree, numbers(0, 250));
      const statement = fc.constantFrom('INSERT INTO entry', 'INSERT INTO edge');
      const flip = fc.record({ statement, blob: fc.nat(1000), bit: fc.nat(1_000_000) });
      await fc.assert(
        fc.asyncProperty(flip, async (flip) => {
          await log.stop();
          const state = { armed: false };
          const shaky = await log.open({ store: flipping(await log.openStore(), flip, state) });
          const before = shaky.checkpoint();
          state.armed = true;
          const results = await Promise.allSettled(numbers(250, 260).map((text) => log.add(shaky, text)));
          expect(results.map(({ status }) => status)).toEqual(Array<string>(10).fill('rejected'));
          expect(results[0]).toMatchObject({
            reason: { code: 'TLOG_CORRUPT', place: { at: expect.stringMatching(/row/) as string } },
          });
          expect(shaky.halted).toBeDefined();
          state.armed = false;
          await expect(log.add(shaky, 'x')).rejects.toMatchObject({ code: 'TLOG_CORRUPT' });
          const again = await log.restart();
          expect(again.checkpoint()).toBe(before);
          await log.check(again);
        }),
        { numRuns: 30 },
      );
    },
  );
});

describe('Venafi 2017: two signed heads that are not consistent', () => {
  test('an older copy of the database beside newer tiles refuses to sign', async () => {
    const { log: created, tree } = await TestLog.create();
    log = created;
    await log.addAll(tree, numbers(0, 250));
    await log.stop();
    const copy = keep('log.sqlite');
    await log.addAll(await log.open(), numbers(250, 300));
    await log.stop();
    restore(copy, 'log.sqlite');
    await expect(log.open()).rejects.toMatchObject({
      code: 'TLOG_ROLLED_BACK',
      message: 'Cannot open tree log: size 300 is published, but the database has size 250',
    });
    // The checkpoint may be lost: a full tile beyond the head tells as well.
    rmSync(join(log.folder, 'objects/log/checkpoint'));
    await expect(log.open()).rejects.toMatchObject({
      code: 'TLOG_ROLLED_BACK',
      message: 'Cannot open tree log: object log/tile/0/000 lies beyond size 250 of the database',
    });
  });

  test('also if only a handful of entries are newer', async () => {
    const { log: created, tree } = await TestLog.create();
    log = created;
    await log.addAll(tree, numbers(0, 3));
    await log.stop();
    const copy = keep('log.sqlite');
    await log.add(await log.open(), 'one more');
    await log.stop();
    restore(copy, 'log.sqlite');
    await expect(log.open()).rejects.toMatchObject({ code: 'TLOG_ROLLED_BACK' });
  });

  test('another root of the same size is refused', async () => {
    const { log: created, tree } = await TestLog.create();
    log = created;
    await log.addAll(tree, numbers(0, 3));
    await log.stop();
    const copy = keep('.');
    await log.add(await log.open(), 'this');
    await log.stop();
    const objects = keep('objects');
    restore(copy, '.');
    await log
      .open()
      .then((forked) =>
        forked.add({ identity: leafHash(sha256, encodeUtf8('that')), encode: () => encodeUtf8('that') }),
      );
    await log.stop();
    restore(objects, 'objects');
    await expect(log.open()).rejects.toMatchObject({
      code: 'TLOG_ROLLED_BACK',
      message: 'Cannot open tree log: another root of size 4 is published than the database has',
    });
  });

  test('a head that goes back under a running log stops it', async () => {
    const { log: created, tree } = await TestLog.create();
    log = created;
    await log.add(tree, 'a');
    const old = tree.head();
    await log.addAll(tree, numbers(0, 3));
    const transaction = await (await log.openStore()).begin();
    await transaction.query('UPDATE tree SET size = 1, root_hash = ?, note = ?', [old.rootHash, old.note]);
    await transaction.commit();
    await expect(log.add(tree, 'b')).rejects.toMatchObject({ code: 'TLOG_ROLLED_BACK' });
    await expect(log.add(tree, 'c')).rejects.toMatchObject({ code: 'TLOG_ROLLED_BACK' });
    await expect(tree.refresh()).rejects.toMatchObject({ code: 'TLOG_ROLLED_BACK' });
  });

  test('two front ends on one database append in turn: no fork and no gap', async () => {
    const { log: created, tree } = await TestLog.create();
    log = created;
    const other = await log.open();
    const trees = [tree, other];
    const receipts = await Promise.all(
      trees.flatMap((each, n) =>
        Array.from({ length: 20 }, async (_, round) => {
          for (let turn = 0; turn < round % 4; turn++) await each.refresh();
          return log.addAll(
            each,
            numbers(round * 40, round * 40 + 40).map((text) => (Number(text) % 3 === 0 ? text : `${n} ${text}`)),
          );
        }),
      ),
    );
    const indexes = receipts.flat().map(({ index }) => index);
    // 800 texts each; every third one is the same for both.
    const size = 267 + 2 * 533;
    expect(new Set(indexes).size).toBe(size);
    for (const each of trees) {
      expect((await each.refresh()).size).toBe(BigInt(size));
      await log.check(each);
    }
    await log.check(await log.restart());
  });
});

test('Mammoth 2025h1: a clock that goes back or leaps makes no head older than its entries', async () => {
  const { log: created, tree } = await TestLog.create();
  log = created;
  const start = log.nowMs;
  const times: number[] = [];
  for (const now of [start, start - 5000, start + 1, start + 3_600_000, start + 2]) {
    log.nowMs = now;
    const record = encodeUtf8(String(times.length));
    let entryTime = 0n;
    await tree.add({
      identity: leafHash(sha256, record),
      encode: (_index, timestampMs) => {
        entryTime = timestampMs;
        return record;
      },
    });
    expect(tree.head().timestampMs).toBe(entryTime);
    times.push(Number(entryTime) - start);
  }
  expect(times).toEqual([0, 0, 1, 3_600_000, 3_600_000]);
  // Nor does a restart forget.
  const again = await log.restart();
  await log.add(again, 'after');
  expect(Number(again.head().timestampMs) - start).toBe(3_600_000);
});

test('Sunlight ANT-2026-88EWBS43: keys that agree in all but the last bit are two entries', async () => {
  log = new TestLog();
  const { identity: _, ...format } = entriesFormat;
  const tree = await log.open({ create: true, format });
  const identity = new Uint8Array(32).fill(0xaa);
  const near = Array.from({ length: 32 }, (_, at) => identity.map((byte, index) => (index === at ? byte ^ 1 : byte)));
  const first = await tree.add({ identity, encode: () => encodeUtf8('first') });
  const receipts = await Promise.all(
    near.map((key, at) => tree.add({ identity: key, encode: () => encodeUtf8(`near ${at}`) })),
  );
  expect([first, ...receipts].map(({ index, duplicate }) => [index, duplicate])).toEqual(
    Array.from({ length: 33 }, (_, at) => [BigInt(at), false]),
  );
  expect(await tree.findIndex(near[31]!)).toBe(32n);
});

test('tesseract#38: a resubmission gets the stored record byte for byte, not a new one', async () => {
  const { identity: _, ...format } = entriesFormat;
  const { log: created, tree } = await TestLog.create({ format });
  log = created;
  const submit = (on: typeof tree) =>
    on.add({
      identity: sha256(encodeUtf8('certificate')),
      encode: (index, timestampMs) => encodeUtf8(`certificate, entry ${index} at ${timestampMs}`),
    });
  const [first, second] = await Promise.all([submit(tree), submit(tree)]);
  log.nowMs += 60_000;
  await Promise.all(
    numbers(0, 300).map((text) => tree.add({ identity: sha256(encodeUtf8(text)), encode: () => encodeUtf8(text) })),
  );
  const third = await submit(tree);
  const fourth = await submit(await log.restart({ format }));
  expect(parseUtf8(first.record)).toBe(`certificate, entry 0 at ${log.nowMs - 60_000}`);
  for (const again of [second, third, fourth]) {
    expect(again).toMatchObject({ index: 0n, duplicate: true });
    expect(again.record).toEqual(first.record);
  }
  expect(third.proof.size).toBe(301n);
  expect(await folderObjects(join(log.folder, 'objects')).has('log/tile/entries/000')).toBe(true);
});

/** A copy of a file or folder of the log, for later. */
function keep(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'kept-'));
  folders.push(folder);
  cpSync(join(log.folder, name), join(folder, 'kept'), { recursive: true });
  return join(folder, 'kept');
}

function restore(copy: string, name: string): void {
  rmSync(join(log.folder, name), { recursive: true, force: true });
  for (const end of ['-wal', '-shm']) rmSync(log.databaseFile + end, { force: true });
  cpSync(copy, join(log.folder, name), { recursive: true });
}
