import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { entities, migrations } from './schema.js';
import { openSqlStore } from './sql-store.js';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sql-'));
  file = join(folder, 'log.sqlite');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('openSqlStore()', () => {
  test('creates a database only when told', async () => {
    await expect(openSqlStore({ file })).rejects.toMatchObject({ code: 'TLOG_MISSING' });
    expect(existsSync(file)).toBe(false);
    await (await openSqlStore({ file, create: true })).close();
    await (await openSqlStore({ file })).close();
  });

  test('does not take an empty file for a database', async () => {
    writeFileSync(file, '');
    await expect(openSqlStore({ file })).rejects.toMatchObject({ code: 'TLOG_MISSING' });
  });

  test('says that a file is no database', async () => {
    writeFileSync(file, 'x'.repeat(10_000));
    await expect(openSqlStore({ file })).rejects.toMatchObject({ code: 'TLOG_STORE' });
  });

  test('syncs every commit, and lets readers read meanwhile', async () => {
    const store = await openSqlStore({ file, create: true });
    const transaction = await store.begin();
    expect(await transaction.query('PRAGMA synchronous')).toEqual([{ synchronous: 2 }]);
    expect(await transaction.query('PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
    await transaction.query('INSERT INTO entry (tree, idx, record) VALUES (1, 2, ?)', [Uint8Array.of(1, 2, 3)]);
    expect(await store.read('SELECT * FROM entry')).toEqual([]);
    await transaction.commit();
    expect(await store.read('SELECT * FROM entry')).toEqual([{ tree: 1, idx: 2, record: Uint8Array.of(1, 2, 3) }]);
    await expect(store.read('DELETE FROM entry')).rejects.toThrow('readonly');
    await store.close();
  });

  test('keeps 64-bit numbers exact', async () => {
    const store = await openSqlStore({ file, create: true });
    const transaction = await store.begin();
    const index = String(2n ** 63n - 1n);
    await transaction.query('INSERT INTO entry (tree, idx, record) VALUES (1, ?, ?)', [index, new Uint8Array()]);
    await transaction.commit();
    expect(await store.read('SELECT CAST(idx AS text) AS idx FROM entry WHERE idx = ?', [index])).toEqual([
      { idx: index },
    ]);
    expect(await store.read('SELECT 1 AS found FROM entry WHERE idx < ?', [index])).toEqual([]);
    await store.close();
  });

  test('gives the write lock to one transaction at a time, in the order of asking', async () => {
    const store = await openSqlStore({ file, create: true });
    const order: number[] = [];
    await Promise.all(
      [1, 2, 3, 4].map(async (n) => {
        const transaction = await store.begin();
        order.push(n);
        await transaction.query('SELECT 1');
        order.push(n);
        await (n % 2 === 0 ? transaction.commit() : transaction.rollback());
      }),
    );
    expect(order).toEqual([1, 1, 2, 2, 3, 3, 4, 4]);
    await store.close();
  });

  test('goes on after a commit that failed with its transaction open', async () => {
    const store = await openSqlStore({ file, create: true });
    const first = await store.begin();
    await first.query('CREATE TABLE parent (id integer PRIMARY KEY)');
    await first.query('CREATE TABLE child (id integer REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)');
    await first.query('INSERT INTO child (id) VALUES (7)');
    // The constraint is checked at the COMMIT, which fails and leaves the transaction open.
    await expect(first.commit()).rejects.toThrow('FOREIGN KEY');
    const second = await store.begin();
    expect(await second.query(`SELECT name FROM sqlite_master WHERE name = 'child'`)).toEqual([]);
    await second.commit();
    await store.close();
  });

  test('keeps entries out of its errors', async () => {
    const store = await openSqlStore({ file, create: true });
    const failure: unknown = await store
      .read('SELECT ? FROM nowhere', ['a whole body'])
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
    expect(JSON.stringify(failure, Object.getOwnPropertyNames(failure))).not.toContain('a whole body');
    await store.close();
  });
});

test('the migrations make the tables that the entities declare', async () => {
  const source = new DataSource({ type: 'sqlite', database: file, entities, migrations });
  await source.initialize();
  await source.runMigrations();
  const { upQueries } = await source.driver.createSchemaBuilder().log();
  expect(upQueries.map(({ query }) => query)).toEqual([]);
  for (const _ of migrations) await source.undoLastMigration();
  const left = await source.query<{ name: string }[]>(`SELECT name FROM sqlite_master WHERE type = 'table'`);
  expect(left.map(({ name }) => name).filter((name) => !/^(migrations|sqlite_.*)$/.test(name))).toEqual([]);
  await source.destroy();
});
