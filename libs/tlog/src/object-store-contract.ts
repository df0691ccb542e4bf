import assert from 'node:assert/strict';
import { TlogError } from './errors.js';
import type { ObjectStore } from './objects.js';

/** What every object store must do. `run` throws if a fresh, empty `store` does not. */
export interface ContractCase {
  name: string;
  run: (store: ObjectStore) => Promise<void>;
}

const bytes = (...values: number[]) => Uint8Array.from(values);

/** One suite for all stores: each case wants an empty one. */
export const objectStoreContract: readonly ContractCase[] = [
  {
    name: 'get() and has() know nothing of an object that was not stored',
    async run(store) {
      assert.equal(await store.get('log/tile/0/000'), undefined);
      assert.equal(await store.has('log/tile/0/000'), false);
    },
  },
  {
    name: 'putIfAbsent() stores bytes that get() returns',
    async run(store) {
      await store.putIfAbsent('log/tile/0/x001/067', bytes(1, 2, 3));
      assert.deepEqual(await store.get('log/tile/0/x001/067'), bytes(1, 2, 3));
      assert.equal(await store.has('log/tile/0/x001/067'), true);
    },
  },
  {
    name: 'putIfAbsent() stores an empty object',
    async run(store) {
      await store.putIfAbsent('log/empty', bytes());
      assert.deepEqual(await store.get('log/empty'), bytes());
    },
  },
  {
    name: 'a folder of objects is no object',
    async run(store) {
      await store.putIfAbsent('log/tile/0/000', bytes(1));
      assert.equal(await store.get('log/tile/0'), undefined);
      assert.equal(await store.get('log/tile/0/000/000'), undefined);
    },
  },
  {
    name: 'putIfAbsent() of an identical object succeeds',
    async run(store) {
      await store.putIfAbsent('log/tile/0/000', bytes(1, 2, 3));
      await store.putIfAbsent('log/tile/0/000', bytes(1, 2, 3));
      assert.deepEqual(await store.get('log/tile/0/000'), bytes(1, 2, 3));
    },
  },
  {
    name: 'putIfAbsent() refuses another object of the same name, and keeps the first',
    async run(store) {
      await store.putIfAbsent('log/tile/0/000', bytes(1, 2, 3));
      for (const other of [bytes(1, 2, 4), bytes(1, 2), bytes(1, 2, 3, 4)]) {
        await assert.rejects(store.putIfAbsent('log/tile/0/000', other), isCode('TLOG_CORRUPT'));
      }
      assert.deepEqual(await store.get('log/tile/0/000'), bytes(1, 2, 3));
    },
  },
  {
    name: 'putIfAbsent() from several sides at once: one object wins, and only its like succeed',
    async run(store) {
      const results = await Promise.allSettled(
        Array.from({ length: 16 }, (_, n) => store.putIfAbsent('log/race', bytes(n % 2, 7))),
      );
      const winner = (await store.get('log/race'))?.[0];
      for (const [n, { status }] of results.entries()) {
        assert.equal(status, n % 2 === winner ? 'fulfilled' : 'rejected');
      }
    },
  },
  {
    name: 'putCheckpoint() replaces as a whole',
    async run(store) {
      for (const length of [500, 3, 900]) {
        await store.putCheckpoint('log/checkpoint', new Uint8Array(length).fill(length & 255));
        const read = await store.get('log/checkpoint');
        assert.deepEqual(read, new Uint8Array(length).fill(length & 255));
      }
    },
  },
  {
    name: 'readers of a checkpoint that is being replaced see the old or the new one',
    async run(store) {
      await store.putCheckpoint('log/checkpoint', new Uint8Array(5000).fill(0));
      const writing = (async () => {
        for (let n = 1; n < 50; n++) await store.putCheckpoint('log/checkpoint', new Uint8Array(5000).fill(n));
      })();
      for (let n = 0; n < 50; n++) {
        const read = await store.get('log/checkpoint');
        assert.equal(read?.length, 5000);
        assert.ok(read.every((byte) => byte === read[0]));
      }
      await writing;
    },
  },
  {
    name: 'paths that could leave the store are refused',
    async run(store) {
      const paths = [
        '',
        '.',
        '..',
        '/etc/passwd',
        '../x',
        'a/../../x',
        'a/./b',
        'a//b',
        'a/',
        '/a',
        'a\\..\\b',
        'C:x',
        'a\0b',
        '.hidden',
        'a/.tmp',
        'ä',
        'a b',
        '%2e%2e/x',
        'x'.repeat(513),
      ];
      for (const path of paths) {
        for (const call of [
          () => store.get(path),
          () => store.has(path),
          () => store.putIfAbsent(path, bytes(1)),
          () => store.putCheckpoint(path, bytes(1)),
        ]) {
          await assert.rejects(call, isCode('TLOG_RANGE'), JSON.stringify(path));
        }
      }
    },
  },
];

function isCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof TlogError && error.code === code;
}
