import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { annexedEntriesFormat } from './annexed-entry.js';
import type { SqlStore } from './sql-store.js';
import { TestLog } from './test-log.js';
import type { Tree } from './tree.js';

let log: TestLog;
let tree: Tree;
// 600 entries: two full bundles as objects, 88 entries and two levels of edge in rows.
beforeEach(async () => {
  ({ log, tree } = await TestLog.create());
  await log.addAll(tree, numbers(0, 300));
  await log.addAll(tree, numbers(300, 600));
  // Both bundles are durable once the tree is closed, and the next batch deletes their rows.
  tree = await log.restart();
  await log.addAll(tree, numbers(600, 601));
});
afterEach(() => log.remove());

function numbers(start: number, end: number): string[] {
  return Array.from({ length: end - start }, (_, n) => String(start + n));
}

async function sql(statement: string, ...parameters: (string | number | Uint8Array)[]): Promise<void> {
  const store = await log.openStore();
  const transaction = await store.begin();
  await transaction.query(statement, parameters);
  await transaction.commit();
}

/** Flips one bit of a blob in the database. */
async function flipRow(table: string, column: string, where: string, at: number): Promise<void> {
  const store = await log.openStore();
  const [row] = await store.read<{ blob: Uint8Array }>(`SELECT ${column} AS blob FROM ${table} WHERE ${where}`);
  await sql(`UPDATE ${table} SET ${column} = ? WHERE ${where}`, flipped(row!.blob, at));
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  return bytes.map((byte, index) => (index === at ? byte ^ 0x10 : byte));
}

function rewriteObject(path: string, change: (bytes: Uint8Array) => Uint8Array): void {
  const file = join(log.folder, 'objects', path);
  const bytes = new Uint8Array(readFileSync(file));
  rmSync(file);
  writeFileSync(file, change(bytes));
}

const published = () => readFileSync(join(log.folder, 'objects/log/checkpoint'), 'utf8');

/** The next entry is refused, for good, and nothing of it gets out; nor does the tree open again. */
async function expectStopped(error: object): Promise<void> {
  const before = published();
  await expect(log.add(tree, 'next')).rejects.toMatchObject(error);
  expect(tree.halted).toMatchObject(error);
  await expect(log.add(tree, 'and another')).rejects.toMatchObject(error);
  expect(published()).toBe(before);
  expect(tree.checkpoint()).toBe(before);
  await expectRefused(error);
}

async function expectRefused(error: object): Promise<void> {
  const before = published();
  await expect(log.restart()).rejects.toMatchObject(error);
  expect(published()).toBe(before);
}

describe('one flipped bit stops the tree, and the error says where:', () => {
  test('a record of the unfinished bundle', async () => {
    await flipRow('entry', 'record', 'idx = 555', 1);
    await expect(log.add(tree, 'next')).rejects.toMatchObject({
      code: 'TLOG_CORRUPT',
      message: expect.stringMatching(
        /^Cannot trust tree log: entry row 555 \(entry 555\) does not have the leaf hash/,
      ) as string,
      place: { tree: 'log', at: 'entry row 555', index: 555n },
    });
    await expectStopped({ code: 'TLOG_CORRUPT', place: { index: 555n } });
  });

  test('a leaf hash in the edge', async () => {
    await flipRow('edge', 'hashes', 'level = 0', 5);
    await expect(log.add(tree, 'next')).rejects.toMatchObject({ place: { at: 'edge row 0/2' } });
    await expectStopped({ code: 'TLOG_CORRUPT' });
  });

  test('a hash higher up in the edge', async () => {
    await flipRow('edge', 'hashes', 'level = 1', 40);
    await expect(log.add(tree, 'next')).rejects.toMatchObject({ place: { at: 'edge row 1/0' } });
    await expectStopped({ code: 'TLOG_CORRUPT' });
  });

  test('the root hash of the head', async () => {
    await flipRow('tree', 'root_hash', 'id = 1', 3);
    await expectStopped({ code: expect.stringMatching(/^TLOG_(CORRUPT|ROLLED_BACK)$/) as string });
  });

  test('the signature of the head', async () => {
    const note = tree.checkpoint();
    await sql('UPDATE tree SET note = ?', note.slice(0, -8) + (note.at(-8) === 'A' ? 'B' : 'A') + note.slice(-7));
    await expectStopped({ code: 'TLOG_KEY' });
  });

  test('a stored entry bundle', async () => {
    // Entry 300 is the 44th: each is 2 bytes of length and 3 of text.
    rewriteObject('log/tile/entries/001', (bytes) => flipped(bytes, 5 * 44 + 2));
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/entries/001', index: 300n } });
  });

  test('a length in a stored entry bundle', async () => {
    rewriteObject('log/tile/entries/000', (bytes) => flipped(bytes, 0));
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/entries/000' } });
  });

  test('a stored tile', async () => {
    rewriteObject('log/tile/0/001', (bytes) => flipped(bytes, 8000));
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/0/001' } });
  });

  test.each(['log/tile/0/000', 'log/tile/entries/000'])('%s that is missing or cut short', async (path) => {
    rewriteObject(path, (bytes) => bytes.slice(0, -32));
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: path } });
    rmSync(join(log.folder, 'objects', path));
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: path } });
  });

  test.each([
    ['DELETE FROM entry WHERE idx = 520', 'entry rows'],
    ['DELETE FROM entry WHERE idx = 600', 'entry rows'],
    ['DELETE FROM edge WHERE level = 1', 'edge row 1/0'],
    [`INSERT INTO edge (tree, level, tile, hashes) VALUES (1, 3, 0, x'00')`, 'edge row 3/0'],
  ])('after %s', async (statement, at) => {
    await sql(statement);
    await expectStopped({ code: 'TLOG_CORRUPT', place: { at: expect.stringContaining(at) as string } });
  });

  test('rows beyond the end', async () => {
    await sql(`INSERT INTO entry (tree, idx, record) VALUES (1, 601, x'00')`);
    // The index is taken: the insert of the next entry fails, and so does opening.
    await expect(log.add(tree, 'next')).rejects.toMatchObject({ code: 'TLOG_STORE' });
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: 'entry rows from 512' } });
  });
});

describe('objects that go bad while the log runs', () => {
  test('are found by scrub(), bundle by bundle, which stops the tree', async () => {
    expect([await tree.scrub(), await tree.scrub(), await tree.scrub()]).toEqual([0n, 1n, 0n]);
    rewriteObject('log/tile/entries/001', (bytes) => flipped(bytes, 2));
    await expect(tree.scrub()).rejects.toMatchObject({
      code: 'TLOG_CORRUPT',
      place: { at: 'log/tile/entries/001', index: 256n },
    });
    await expectStopped({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/entries/001' } });
  });

  test('are found by the look that follows a batch', async () => {
    const reports: unknown[] = [];
    tree = await log.restart({ scrubShare: 1, report: (error) => reports.push(error) });
    rewriteObject('log/tile/0/000', (bytes) => flipped(bytes, 0));
    await log.add(tree, 'one');
    await expect(async () => {
      for (let n = 0; n < 5; n++) await log.add(tree, `more ${n}`);
    }).rejects.toMatchObject({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/0/000' } });
    expect(reports).toMatchObject([{ code: 'TLOG_CORRUPT', place: { at: 'log/tile/0/000' } }]);
  });

  test('give no wrong proofs', async () => {
    tree = await log.restart();
    rewriteObject('log/tile/0/000', (bytes) => flipped(bytes, 32 * 7));
    tree = await log.open().catch(() => tree);
    await expect(tree.proveInclusion(6n, 601n)).rejects.toMatchObject({
      code: 'TLOG_CORRUPT',
      place: { at: 'log/tile/0/000' },
    });
    await expect(log.add(tree, 'next')).rejects.toMatchObject({ code: 'TLOG_CORRUPT' });
  });

  test('give no wrong receipt for a duplicate', async () => {
    rewriteObject('log/tile/entries/000', (bytes) => flipped(bytes, 2));
    await expect(tree.receipt(0n)).rejects.toMatchObject({ code: 'TLOG_CORRUPT', place: { index: 0n } });
  });
});

test('a deduplication key that points to another entry gives no receipt for that one', async () => {
  const identity = leafHash(sha256, encodeUtf8('17'));
  await sql('UPDATE leaf_index SET idx = 18 WHERE identity = ?', identity);
  await expect(log.add(tree, '17')).rejects.toMatchObject({ code: 'TLOG_CORRUPT', place: { at: 'leaf_index row' } });
  await log.stop();
  tree = await log.open();
  await sql('UPDATE leaf_index SET idx = 601 WHERE identity = ?', identity);
  await expect(log.add(tree, '17')).rejects.toMatchObject({ code: 'TLOG_CORRUPT', place: { at: 'leaf_index row' } });
});

describe('the published checkpoint', () => {
  test.each([
    ['empty', new Uint8Array()],
    ['zeroed', new Uint8Array(200)],
  ])('that a power cut left %s is replaced', async (_, bytes) => {
    rewriteObject('log/checkpoint', () => bytes);
    await log.check(await log.restart());
  });

  test('that is older than the head is replaced', async () => {
    const older = published();
    await log.add(tree, 'next');
    rewriteObject('log/checkpoint', () => encodeUtf8(older));
    await log.check(await log.restart());
  });

  test('that is something else is not overwritten', async () => {
    rewriteObject('log/checkpoint', () => encodeUtf8('hello\n'));
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: 'log/checkpoint' } });
  });
});

describe('entries with annexes', () => {
  /** Time, length, then the annex: `annex of <n>` of entry n. */
  const lengthOf = (n: number) => 10 + `annex of ${n}`.length;
  /** Where in its sidecar the annex of entry 300 begins. */
  const at300 = Array.from({ length: 44 }, (_, n) => lengthOf(256 + n)).reduce((a, b) => a + b);

  beforeEach(async () => {
    await log.remove();
    ({ log, tree } = await TestLog.create({ format: annexedEntriesFormat }));
    await log.addAll(tree, numbers(0, 600));
    tree = await log.restart();
    await log.addAll(tree, numbers(600, 601));
    tree = await log.restart();
  });

  test.each([
    ['time', at300 + 3],
    ['length of an annex', at300 + 9],
    ['byte of an annex', at300 + 12],
    ['byte of the digest', -5],
  ])('a sidecar with another %s is believed nowhere', async (_, at) => {
    rewriteObject('log/tile/annex/001', (bytes) => flipped(bytes, at < 0 ? bytes.length + at : at));
    const error = { code: 'TLOG_CORRUPT', place: { at: 'log/tile/annex/001' } };
    await expect(tree.readRecords(300n, 301n)).rejects.toMatchObject(error);
    await expect(tree.receipt(300n)).rejects.toMatchObject(error);
    await expect(tree.readSidecar(1n, 100)).rejects.toMatchObject(error);
    expect(await tree.scrub()).toBe(0n);
    await expect(tree.scrub()).rejects.toMatchObject(error);
    await expectStopped(error);
  });

  test('a sidecar that is missing or cut short is not made up for', async () => {
    rewriteObject('log/tile/annex/000', (bytes) => bytes.slice(0, -32));
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/annex/000' } });
    rmSync(join(log.folder, 'objects/log/tile/annex/000'));
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/annex/000' } });
  });

  test('the annexes of another bundle, in another order, are no sidecar of this one', async () => {
    // Shorter: 256 annexes of one to three digits beside 256 of three.
    const other = new Uint8Array(readFileSync(join(log.folder, 'objects/log/tile/annex/001')));
    rewriteObject('log/tile/annex/001', () => other.slice(0, at300));
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/annex/001' } });
  });

  test('a bundle is still compared with the tree', async () => {
    rewriteObject('log/tile/entries/001', (bytes) => flipped(bytes, 5 * 44 + 2));
    await expectRefused({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/entries/001', index: 300n } });
  });

  test('a sidecar beyond the head shows that the database is an older copy', async () => {
    writeFileSync(join(log.folder, 'objects/log/tile/annex/002'), 'x');
    await expectRefused({ code: 'TLOG_ROLLED_BACK' });
  });

  test('a row that is no record any more stops the tree', async () => {
    // The length of an annex, which then ends beyond the record.
    await flipRow('entry', 'record', 'idx = 555', 8);
    await expectStopped({ code: 'TLOG_CORRUPT', place: { index: 555n } });
  });

  test('an annex that changes on its way to the database stops the tree, though no hash covers it', async () => {
    const store = await log.openStore();
    const annex = 10;
    const shaky: SqlStore = {
      read: store.read,
      close: () => store.close(),
      begin: async () => {
        const transaction = await store.begin();
        return {
          ...transaction,
          query: (statement, parameters = []) =>
            transaction.query(
              statement,
              statement.startsWith('INSERT INTO entry')
                ? parameters.map((each) => (each instanceof Uint8Array ? flipped(each, annex) : each))
                : parameters,
            ),
        };
      },
    };
    tree = await log.open({ store: shaky });
    const before = published();
    await expect(log.add(tree, 'next')).rejects.toMatchObject({
      code: 'TLOG_CORRUPT',
      message: 'Cannot trust tree log: entry row 601 (entry 601) is not what was written to it',
    });
    expect(published()).toBe(before);
    await log.check(await log.restart());
  });

  test('rows with times that run backwards become no object', async () => {
    await log.addAll(tree, numbers(601, 700));
    const store = await log.openStore();
    const [row] = await store.read<{ record: Uint8Array }>('SELECT record FROM entry WHERE idx = 520');
    await sql('UPDATE entry SET record = ? WHERE idx = 520', flipped(row!.record, 0));
    const reports: unknown[] = [];
    tree = await log.restart({ report: (error) => reports.push(error) });
    await log.addAll(tree, numbers(700, 768));
    await tree.close();
    expect(reports).toMatchObject([{ code: 'TLOG_CORRUPT', place: { at: 'entry rows of bundle 2' } }]);
    expect(await log.objects.has('log/tile/annex/002')).toBe(false);
    expect(await log.objects.has('log/tile/entries/002')).toBe(false);
  });
});

test('a process that dies between sidecar and bundle leaves one that is taken up again', async () => {
  await log.remove();
  log = new TestLog();
  log.format = annexedEntriesFormat;
  const inner = log.objects;
  const dying = {
    ...inner,
    putIfAbsent: (path: string, bytes: Uint8Array) =>
      path.includes('entries') ? Promise.reject(new Error('dead')) : inner.putIfAbsent(path, bytes),
  };
  tree = await log.open({ create: true, objects: dying });
  await log.addAll(tree, numbers(0, 300));
  await tree.close();
  expect([await inner.has('log/tile/annex/000'), await inner.has('log/tile/entries/000')]).toEqual([true, false]);
  await log.check(tree);
  tree = await log.restart();
  await tree.close();
  expect(await inner.has('log/tile/entries/000')).toBe(true);
  await log.check(await log.restart());
});
