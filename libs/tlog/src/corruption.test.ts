import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
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
