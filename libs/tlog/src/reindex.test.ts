import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { annexedEntriesFormat, encodeAnnexedEntry } from './annexed-entry.js';
import { FaultyStores, TestLog } from './test-log.js';
import type { Tree } from './tree.js';

let log: TestLog;
let tree: Tree;
beforeEach(async () => {
  ({ log, tree } = await TestLog.create({ format: annexedEntriesFormat }));
});
afterEach(() => log.remove());

function numbers(start: number, end: number): string[] {
  return Array.from({ length: end - start }, (_, n) => String(start + n));
}

async function sql(...statements: string[]): Promise<void> {
  const transaction = await (await log.openStore()).begin();
  for (const statement of statements) await transaction.query(statement);
  await transaction.commit();
}

const keysOf = (record: Uint8Array) => log.keysOf(log.textOf(record));
const find = (on: Tree, key: string) => on.findByKeys({ keys: [key], match: 'all', below: on.head().size, limit: 20 });

describe('search keys', () => {
  test('can be found as soon as their entry is in the log, and stand in no other tree', async () => {
    await log.addAll(tree, ['a', 'b']);
    expect(await find(tree, 'text:b')).toEqual({ indexes: [1n], reached: 0n });
    expect(await find(tree, 'all')).toEqual({ indexes: [1n, 0n], reached: 0n });
    const second = await log.open({ name: 'second', create: true });
    expect(await second.indexedSize()).toBe(0n);
    const entry = encodeUtf8('c');
    await second.add({
      identity: leafHash(sha256, entry),
      encode: (_index, timestampMs) => encodeAnnexedEntry({ timestampMs, annex: entry, entry }),
      keys: ['all'],
    });
    expect(await find(second, 'all')).toEqual({ indexes: [0n], reached: 0n });
    expect(await find(tree, 'all')).toEqual({ indexes: [1n, 0n], reached: 0n });
    await second.dropIndex();
    expect(await find(second, 'all')).toEqual({ indexes: [], reached: 0n });
    await log.checkIndex(tree);
  });

  test('of an addition that is refused are not written; others of its batch are', async () => {
    const add = (text: string, keys: string[], fails = false) => {
      const entry = encodeUtf8(text);
      return tree.add({
        identity: leafHash(sha256, entry),
        keys,
        encode: (_index, timestampMs) => {
          if (fails) throw new Error('refused');
          return encodeAnnexedEntry({ timestampMs, annex: new Uint8Array(), entry });
        },
      });
    };
    const many = numbers(0, 1025);
    const results = await Promise.allSettled([
      add('a', ['all', 'a']),
      add('b', ['all', 'b'], true),
      add('c', many),
      add('d', ['all', 'd']),
      add('d', ['again']),
      add('e', many.slice(1)),
      add('f', []),
    ]);
    expect(results.map((each) => (each.status === 'fulfilled' ? each.value.index : String(each.reason)))).toEqual([
      0n,
      'Error: refused',
      'TlogError: Cannot index entry: it has 1025 search keys, at most 1024',
      1n,
      1n,
      2n,
      3n,
    ]);
    expect((await find(tree, 'all')).indexes).toEqual([1n, 0n]);
    expect((await find(tree, '1024')).indexes).toEqual([2n]);
    for (const key of ['b', '0', 'again']) expect((await find(tree, key)).indexes).toEqual([]);
    expect(await tree.indexedSize()).toBe(4n);
  });

  test('of entries that no checkpoint shows yet are not told of', async () => {
    await log.add(tree, 'a');
    const other = await log.open();
    await log.add(other, 'b');
    expect([await tree.indexedSize(), await other.indexedSize()]).toEqual([1n, 2n]);
    expect((await find(tree, 'all')).indexes).toEqual([0n]);
    expect((await tree.findByKeys({ keys: ['all'], match: 'all', below: 99n, limit: 9 })).indexes).toEqual([0n]);
  });
});

describe('an index that is not complete', () => {
  test('is not completed by entries that are appended, and is by reindex()', async () => {
    await log.addAll(tree, numbers(0, 700));
    await tree.dropIndex();
    expect(await log.searchRows()).toEqual([]);
    await log.addAll(tree, numbers(700, 710));
    expect(await tree.indexedSize()).toBe(0n);
    expect((await find(tree, 'all')).indexes).toHaveLength(10);
    const steps: [bigint, bigint][] = [];
    await tree.reindex({ keysOf, progress: (...step) => steps.push(step) });
    expect(steps.at(-1)).toEqual([710n, 710n]);
    await log.checkIndex(tree);
    await log.addAll(tree, numbers(710, 720));
    await log.checkIndex(tree);
    // Once more: there is nothing to do.
    await tree.reindex({ keysOf: () => expect.unreachable() });
    await log.checkIndex(await log.restart());
  });

  test('of a database from before there were search keys is made when told', async () => {
    await log.addAll(tree, numbers(0, 300));
    await log.stop();
    await sql(
      'DROP TABLE search_key',
      'DROP TABLE search_state',
      `DELETE FROM migrations WHERE name LIKE 'CreateSearchKeys%'`,
    );
    tree = await log.restart();
    expect(await tree.indexedSize()).toBe(0n);
    await log.add(tree, 'next');
    expect(await tree.indexedSize()).toBe(0n);
    await tree.reindex({ keysOf });
    await log.checkIndex(tree);
  });

  test('that claims more than the tree has is made anew', async () => {
    await log.addAll(tree, numbers(0, 10));
    await sql('DELETE FROM search_key', 'UPDATE search_state SET size = 1000');
    await tree.reindex({ keysOf });
    await log.checkIndex(tree);
  });
});

describe('reindex()', () => {
  test('reads the same entries that add() was given, with their index', async () => {
    await log.addAll(tree, numbers(0, 700));
    await tree.dropIndex();
    const seen: [string, bigint][] = [];
    await tree.reindex({
      keysOf: (record, index) => {
        seen.push([log.textOf(record), index]);
        return [];
      },
    });
    expect(seen).toEqual(numbers(0, 700).map((text) => [text, BigInt(text)]));
    expect(await log.searchRows()).toEqual([]);
    expect(await tree.indexedSize()).toBe(700n);
  });

  test('catches up with entries that keep coming in from two front ends', { timeout: 120_000 }, async () => {
    const other = await log.open();
    await log.addAll(tree, numbers(0, 3000));
    await tree.dropIndex();
    let at = 3000;
    let done = false;
    const adding = (async () => {
      while (!done) {
        for (const each of [tree, other]) await log.addAll(each, numbers(at, (at += 40)));
      }
    })();
    await Promise.all([tree.reindex({ keysOf }), other.reindex({ keysOf })]);
    done = true;
    await adding;
    for (const each of [tree, other]) {
      await each.refresh();
      await log.checkIndex(each);
    }
  });

  test('begins again when another front end drops the index meanwhile', { timeout: 120_000 }, async () => {
    const other = await log.open();
    for (const start of [0, 2500]) await log.addAll(tree, numbers(start, start + 2500));
    await other.refresh();
    await tree.dropIndex();
    const dropped: Promise<void>[] = [];
    await tree.reindex({
      keysOf,
      progress: (size) => {
        if (size > 2000n && dropped.length < 2) dropped.push(other.dropIndex());
      },
    });
    await Promise.all(dropped);
    expect(dropped).toHaveLength(2);
    await tree.reindex({ keysOf });
    await log.checkIndex(tree);
  });

  test('ends with the tree, and goes on in the next one', { timeout: 120_000 }, async () => {
    for (const start of [0, 2500]) await log.addAll(tree, numbers(start, start + 2500));
    await tree.dropIndex();
    let closing: Promise<void> | undefined;
    const reindexing = tree.reindex({ keysOf, progress: () => void (closing ??= tree.close()) });
    await expect(reindexing).rejects.toMatchObject({
      code: 'TLOG_CLOSED',
      message: 'Cannot rebuild search keys: tree log is closed',
    });
    await closing;
    expect(await tree.indexedSize()).toBe(2048n);
    await expect(tree.dropIndex()).rejects.toMatchObject({ code: 'TLOG_CLOSED' });
    tree = await log.restart();
    let first: bigint | undefined;
    await tree.reindex({
      keysOf: (record, index) => {
        first ??= index;
        return keysOf(record);
      },
    });
    expect(first).toBe(2048n);
    await log.checkIndex(tree);
  });

  test('passes on what keysOf() throws, and neither stops the tree nor loses what was done', async () => {
    await log.addAll(tree, numbers(0, 600));
    await tree.dropIndex();
    const cause = new Error('no such kind');
    const throwing = () => {
      throw cause;
    };
    await expect(tree.reindex({ keysOf: throwing })).rejects.toMatchObject({ code: 'TLOG_STORE', cause });
    await expect(tree.reindex({ keysOf: () => numbers(0, 1025) })).rejects.toMatchObject({ code: 'TLOG_RECORD' });
    expect(await tree.indexedSize()).toBe(0n);
    await log.add(tree, 'next');
    await tree.reindex({ keysOf });
    await log.checkIndex(tree);
  });

  test.each(['entries', 'annex', '0'])('takes no keys from %s that were changed, and stops the tree', async (name) => {
    await log.addAll(tree, numbers(0, 600));
    tree = await log.restart();
    await tree.dropIndex();
    const file = join(log.folder, `objects/log/tile/${name}/001`);
    const bytes = readFileSync(file);
    rmSync(file);
    bytes[1000]! ^= 1;
    writeFileSync(file, bytes);
    await expect(tree.reindex({ keysOf })).rejects.toMatchObject({ code: 'TLOG_CORRUPT' });
    expect(tree.halted).toMatchObject({ code: 'TLOG_CORRUPT' });
    expect(await log.searchRows()).toEqual([]);
    await expect(tree.reindex({ keysOf })).rejects.toThrow('Cannot rebuild search keys: the tree was stopped');
  });

  test('killed before or after any statement goes on where it was', { timeout: 240_000 }, async () => {
    await log.addAll(tree, numbers(0, 2900));
    await tree.dropIndex();
    await log.stop();
    const kept = mkdtempSync(join(tmpdir(), 'kept-'));
    const run = async (at: number, when: 'before' | 'after') => {
      for (const end of ['', '-wal', '-shm']) rmSync(log.databaseFile + end, { force: true });
      cpSync(kept, log.databaseFile.replace('log.sqlite', ''), { recursive: true });
      const stores = new FaultyStores({ at, when, dies: true });
      const faulty = await log.open({ store: stores.sql(await log.openStore()) });
      stores.armed = true;
      const outcome = await faulty.reindex({ keysOf }).then(
        () => 'complete',
        (error: unknown) => (error as { code: string }).code,
      );
      stores.armed = false;
      expect(outcome).toBe(stores.fired ? 'TLOG_STORE' : 'complete');
      const next = await log.restart();
      const begun = await next.indexedSize();
      expect([0n, 2048n, 2900n]).toContain(begun);
      expect(BigInt(new Set((await log.searchRows()).map((row) => row.split(' ')[0])).size)).toBe(begun);
      await next.reindex({ keysOf });
      await log.checkIndex(next);
      await log.stop();
      return stores.fired;
    };
    try {
      cpSync(log.databaseFile, join(kept, 'log.sqlite'));
      let at = 0;
      while (await run(at, 'before')) at++;
      // Two steps, each with its look, BEGIN, head, size, keys, size, COMMIT.
      expect(at).toBeGreaterThanOrEqual(14);
      for (at--; at >= 0; at--) expect(await run(at, 'after')).toBe(true);
    } finally {
      rmSync(kept, { recursive: true });
    }
  });
});
