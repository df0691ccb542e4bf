import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findByKeys, type KeyQuery } from './find.js';
import { encodeKeys, insertKeys, keyOf, RUN_LENGTH } from './search-rows.js';
import { openSqlStore, type SqlStore } from './sql-store.js';

let folder: string;
let store: SqlStore;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'find-'));
  store = await openSqlStore({ file: join(folder, 'log.sqlite'), create: true });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Keys of entries by index. */
async function write(tree: number, entries: ReadonlyMap<bigint, readonly string[]>): Promise<void> {
  const transaction = await store.begin();
  for (const [index, texts] of entries) await insertKeys(transaction.query, tree, index, [encodeKeys(texts)]);
  await transaction.commit();
}

/** Goes on until there is nothing older. */
async function findAll(size: bigint, query: KeyQuery): Promise<{ indexes: bigint[]; calls: number }> {
  const indexes: bigint[] = [];
  let { below } = query;
  for (let calls = 1; ; calls++) {
    const found = await findByKeys(store.read, 1, size, { ...query, below });
    expect(found.indexes.length).toBeLessThanOrEqual(query.limit);
    expect(found.reached, 'goes on').toBeLessThan(below);
    for (const index of found.indexes) expect(index).toBeGreaterThanOrEqual(found.reached);
    indexes.push(...found.indexes);
    if (found.reached === 0n) return { indexes, calls };
    below = found.reached;
  }
}

test('a key is the first 60 bits of the SHA-256 of its text, exact in the database', async () => {
  // SHA-256("abc") = ba7816bf8f01cfea… (FIPS 180-2, appendix B.1)
  expect(keyOf('abc')).toBe(String(0xba7816bf8f01cfen));
  await write(1, new Map([[2n ** 53n + 1n, ['abc', 'abc']]]));
  expect(await store.read('SELECT CAST(key AS text) AS key, CAST(idx AS text) AS idx FROM search_key')).toEqual([
    { key: String(0xba7816bf8f01cfen), idx: String(2n ** 53n + 1n) },
  ]);
});

test('insertKeys() numbers entries from the first on, skips those without keys, and leaves what is there', async () => {
  const transaction = await store.begin();
  for (let times = 0; times < 2; times++) {
    await insertKeys(transaction.query, 1, RUN_LENGTH - 1n, [
      encodeKeys(['a', 'b']),
      encodeKeys([]),
      encodeKeys(['a']),
    ]);
  }
  await insertKeys(transaction.query, 1, 5n, ['', '']);
  await transaction.commit();
  const find = (key: string) =>
    findByKeys(store.read, 1, 2n * RUN_LENGTH, { keys: [key], match: 'all', below: 2n * RUN_LENGTH, limit: 9 });
  expect(await find('a')).toEqual({ indexes: [RUN_LENGTH + 1n, RUN_LENGTH - 1n], reached: 0n });
  expect(await find('b')).toEqual({ indexes: [RUN_LENGTH - 1n], reached: 0n });
  expect(await store.read('SELECT DISTINCT run FROM search_key ORDER BY run')).toEqual([{ run: 0 }, { run: 1 }]);
});

describe('findByKeys()', () => {
  test(
    'finds what a walk through all entries finds, whatever the limits, page by page',
    { timeout: 120_000 },
    async () => {
      const words = ['a', 'b', 'c', 'd'];
      const entries = new Map<bigint, string[]>();
      // Dense and thin places, over 40 runs, with the last entry of one and the first of the next.
      for (let n = 0n; n < 300n; n++)
        entries.set(
          n * 7n,
          words.filter((_, at) => (Number(n) * (at + 3)) % (at + 2) === 0),
        );
      for (let n = 0n; n < 40n; n++) {
        entries.set(n * RUN_LENGTH + RUN_LENGTH - 1n, ['a', 'edge']);
        entries.set((n + 1n) * RUN_LENGTH, n % 7n === 0n ? ['b', 'rare'] : ['b']);
      }
      const end = 41n * RUN_LENGTH;
      await write(1, entries);
      await write(2, new Map([...entries.keys()].map((index) => [index + 1n, [...words, 'other']])));
      const query = fc.record({
        keys: fc.array(fc.constantFrom(...words, 'edge', 'rare', 'nowhere'), { minLength: 1, maxLength: 4 }),
        match: fc.constantFrom('all' as const, 'any' as const),
        below: fc.oneof(fc.bigInt({ min: 1n, max: end + 5n }), fc.bigInt({ min: 1n, max: 2200n })),
        limit: fc.integer({ min: 1, max: 50 }),
        scan: fc.oneof(fc.integer({ min: 40, max: 300 }), fc.constant(20_000)),
      });
      await fc.assert(
        fc.asyncProperty(query, fc.bigInt({ min: 1n, max: end }), async (query, size) => {
          const expected = [...entries]
            .filter(([index]) => index < query.below && index < size)
            .filter(([, texts]) =>
              query.match === 'all'
                ? query.keys.every((key) => texts.includes(key))
                : query.keys.some((key) => texts.includes(key)),
            )
            .map(([index]) => index)
            .sort((a, b) => Number(b - a));
          expect((await findAll(size, { ...query, below: query.below < size ? query.below : size })).indexes).toEqual(
            expected,
          );
        }),
        { numRuns: 60 },
      );
    },
  );

  test('looks at no more rows than it may, and says how far it came', async () => {
    const entries = new Map<bigint, string[]>();
    for (let n = 0n; n < 3000n; n++) entries.set(n, n === 0n ? ['hot', 'cold'] : n % 2n === 0n ? ['hot'] : ['cold']);
    await write(1, entries);
    const search = { keys: ['hot', 'cold'], match: 'all' as const, below: 3000n, limit: 5 };
    // One row for the look into the run.
    expect(await findByKeys(store.read, 1, 3000n, { ...search, scan: 101 })).toEqual({ indexes: [], reached: 2800n });
    expect(await findByKeys(store.read, 1, 3000n, { ...search, scan: 1 })).toEqual({ indexes: [], reached: 2998n });
    expect(await findByKeys(store.read, 1, 3000n, search)).toEqual({ indexes: [0n], reached: 0n });
    expect((await findAll(3000n, { ...search, scan: 300 })).calls).toBe(6);
    // Empty runs are looked into as well.
    const far = 1000n * RUN_LENGTH;
    expect(await findByKeys(store.read, 1, far, { ...search, below: far, scan: 100 })).toEqual({
      indexes: [],
      reached: 900n * RUN_LENGTH,
    });
  });

  test('gives the published tree only', async () => {
    await write(
      1,
      new Map([
        [4n, ['a']],
        [5n, ['a']],
      ]),
    );
    const search = { keys: ['a'], match: 'any' as const, below: 100n, limit: 5 };
    expect(await findByKeys(store.read, 1, 5n, search)).toEqual({ indexes: [4n], reached: 0n });
    expect(await findByKeys(store.read, 1, 0n, search)).toEqual({ indexes: [], reached: 0n });
    expect(await findByKeys(store.read, 1, 5n, { ...search, below: 0n })).toEqual({ indexes: [], reached: 0n });
  });

  test.each([
    ['no keys', { keys: [] }],
    ['65 keys', { keys: Array.from({ length: 65 }, (_, n) => String(n)) }],
    ['limit 0', { limit: 0 }],
    ['half a limit', { limit: 1.5 }],
    ['scan 0', { scan: 0 }],
  ])('refuses %s', async (_, wrong) => {
    const search = { keys: ['a'], match: 'all' as const, below: 9n, limit: 5, ...wrong };
    await expect(findByKeys(store.read, 1, 9n, search)).rejects.toMatchObject({ code: 'TLOG_RANGE' });
  });
});
