import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import sqlite3 from 'sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type IssuedCertificateRecord, type IssuedQuery, IssuedReader, IssuedStore } from './issued-store.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chancery-issued-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let files = 0;
const newFile = (): string => join(folder, `ca${++files}.db`);
const time = Date.parse('2026-03-04T05:06:07Z');

function recordOf(n: number, change: Partial<IssuedCertificateRecord> = {}): IssuedCertificateRecord {
  return {
    serial: n.toString(16).padStart(40, '0'),
    notBeforeMs: time + n * 1000,
    identity: `user${n}@example.com`,
    sanKind: 'email',
    issuer: 'https://accounts.example',
    subject: String(n),
    requestId: `request-${n}`,
    fingerprint: n.toString(16).padStart(64, 'f'),
    scts: [{ logId: 'ab'.repeat(32), timestampMs: time + n, leafIndex: BigInt(n) }],
    ...change,
  };
}

async function search(file: string, query: Partial<IssuedQuery> = {}) {
  const reader = await IssuedReader.open(file);
  try {
    return await reader.search({ limit: 100, ...query });
  } finally {
    await reader.close();
  }
}

/** Runs statements past the store, as somebody else's hand in the file. */
async function tamper(file: string, sql: string): Promise<void> {
  const database = new sqlite3.Database(file);
  await new Promise<void>((resolve, reject) =>
    database.exec(sql, (error) => (error === null ? resolve() : reject(error))),
  );
  await new Promise<void>((resolve) => database.close(() => resolve()));
}

describe('IssuedStore', () => {
  test('remembers certificates, which can be read while it is open and after', async () => {
    const file = newFile();
    const store = await IssuedStore.open({ file, create: true });
    expect(store.isNew).toBe(true);
    const records = [1, 2, 3].map((n) => recordOf(n));
    await Promise.all(records.map((record) => store.append(record)));
    const expected = { records: records.toReversed(), next: undefined };
    expect(await search(file)).toEqual(expected);
    await store.close();
    expect(await search(file)).toEqual(expected);
    const again = await IssuedStore.open({ file, create: false });
    expect([again.name, again.isNew]).toEqual([store.name, false]);
    await again.append(recordOf(4));
    await again.close();
    expect((await search(file)).records).toHaveLength(4);
  });

  test('has written when append returns: another connection sees it at once', async () => {
    const file = newFile();
    const store = await IssuedStore.open({ file, create: true });
    for (let n = 1; n <= 3; n++) {
      await store.append(recordOf(n));
      expect((await search(file, { serial: recordOf(n).serial })).records).toEqual([recordOf(n)]);
    }
    await store.close();
  });

  test('finishes what is being written before it closes', async () => {
    const file = newFile();
    const store = await IssuedStore.open({ file, create: true });
    const appended = Promise.all(Array.from({ length: 2000 }, (_, n) => store.append(recordOf(n))));
    await store.close();
    await appended;
    expect((await search(file, { limit: 3000 })).records).toHaveLength(2000);
  });

  test('keeps any text and number as it is', async () => {
    const file = newFile();
    const store = await IssuedStore.open({ file, create: true });
    let n = 0;
    const text = fc.string({ unit: 'binary', maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(
        fc.record({ identity: text, issuer: text, subject: text, requestId: text }),
        fc.option(fc.bigInt({ min: 0n, max: (1n << 40n) - 1n }), { nil: undefined }),
        async (change, leafIndex) => {
          const scts = [{ logId: '00'.repeat(32), timestampMs: 1, ...(leafIndex !== undefined && { leafIndex }) }];
          const record = recordOf(++n, { ...change, scts });
          await store.append(record);
          const { serial, identity, issuer, requestId } = record;
          expect((await search(file, { serial, identity, issuer, requestId })).records).toEqual([record]);
        },
      ),
      { numRuns: 30 },
    );
    await store.close();
  });

  test('refuses a serial that was given before', async () => {
    const file = newFile();
    const store = await IssuedStore.open({ file, create: true });
    await store.append(recordOf(1));
    await expect(store.append(recordOf(1, { identity: 'another@example.com' }))).rejects.toMatchObject({
      code: 'ISSUED_STORE',
    });
    await store.append(recordOf(2));
    await store.close();
    expect((await search(file)).records).toEqual([recordOf(2), recordOf(1)]);
  });

  test('refuses while it cannot write, and goes on when it can', async () => {
    const file = newFile();
    const store = await IssuedStore.open({ file, create: true });
    await tamper(
      file,
      `CREATE TRIGGER full BEFORE INSERT ON certificate BEGIN SELECT RAISE(ABORT, 'disk is full'); END`,
    );
    const refused = await Promise.allSettled([1, 2, 3].map((n) => store.append(recordOf(n))));
    expect(refused.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await expect(store.append(recordOf(1))).rejects.toMatchObject({
      code: 'ISSUED_STORE',
      message: expect.stringContaining('disk is full'),
    });
    await tamper(file, 'DROP TRIGGER full');
    await store.append(recordOf(1));
    expect(await store.isWorking()).toBe(true);
    await store.close();
    expect((await search(file)).records).toEqual([recordOf(1)]);
  });

  test('says whether it works: tries it while nothing else does, and leaves no trace', async () => {
    const file = newFile();
    const store = await IssuedStore.open({ file, create: true });
    expect(await store.isWorking()).toBe(true);
    await tamper(file, 'ALTER TABLE record RENAME TO elsewhere');
    // Nothing has failed, so nothing is tried.
    expect(await store.isWorking()).toBe(true);
    const full = `BEGIN SELECT RAISE(ABORT, 'disk is full'); END`;
    await tamper(file, `CREATE TRIGGER a BEFORE INSERT ON certificate ${full}`);
    await expect(store.append(recordOf(1))).rejects.toMatchObject({ code: 'ISSUED_STORE' });
    expect(await Promise.all([store.isWorking(), store.isWorking()])).toEqual([false, false]);
    await tamper(file, 'ALTER TABLE elsewhere RENAME TO record');
    expect(await store.isWorking()).toBe(true);
    await tamper(file, 'DROP TRIGGER a');
    await store.close();
    const again = await IssuedStore.open({ file, create: false });
    expect([again.name, (await search(file)).records]).toEqual([store.name, []]);
    await again.close();
  });

  test('closes while somebody asks whether it works', async () => {
    const file = newFile();
    const store = await IssuedStore.open({ file, create: true });
    await tamper(file, `CREATE TRIGGER a BEFORE INSERT ON certificate BEGIN SELECT RAISE(ABORT, 'disk is full'); END`);
    await expect(store.append(recordOf(1))).rejects.toMatchObject({ code: 'ISSUED_STORE' });
    const asked = store.isWorking();
    await store.close();
    expect(await asked).toBe(true);
    await tamper(file, 'DROP TRIGGER a');
    const again = await IssuedStore.open({ file, create: false });
    await tamper(file, 'ALTER TABLE certificate RENAME TO elsewhere');
    await expect(again.append(recordOf(1))).rejects.toMatchObject({ code: 'ISSUED_STORE' });
    await again.close();
    expect(await again.isWorking()).toBe(false);
  });

  test('comes into being only when told', async () => {
    const file = newFile();
    for (const open of [() => IssuedStore.open({ file, create: false }), () => IssuedReader.open(file)]) {
      await expect(open()).rejects.toMatchObject({ code: 'ISSUED_MISSING' });
    }
    await expect(readFile(file)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('two records have two names', async () => {
    const stores = await Promise.all([newFile(), newFile()].map((file) => IssuedStore.open({ file, create: true })));
    expect(new Set(stores.map(({ name }) => name)).size).toBe(2);
    expect(stores.every(({ name }) => /^[0-9a-f]{32}$/.test(name))).toBe(true);
    for (const store of stores) await store.close();
  });

  describe('refuses', () => {
    async function filled(): Promise<string> {
      const file = newFile();
      const store = await IssuedStore.open({ file, create: true });
      await Promise.all(Array.from({ length: 500 }, (_, n) => store.append(recordOf(n))));
      await store.close();
      return file;
    }
    const damages: [string, (file: string) => Promise<void>][] = [
      [
        'a file of something else',
        (file) => writeFile(file, 'this is no database, but it is long enough to be one'.repeat(100)),
      ],
      ['a database of something else', (file) => tamper(file, 'DROP TABLE certificate; DROP TABLE record')],
      [
        'one whose end is cut off',
        async (file) => truncate(file, Math.floor((await readFile(file)).length / 4096 / 2) * 4096),
      ],
      ['one without its name', (file) => tamper(file, 'DELETE FROM record')],
      [
        'one whose newest row the index does not find',
        async (file) => {
          const bytes = await readFile(file);
          // The serial is in the table and in the index: one of the two is changed.
          const serial = Buffer.from(recordOf(499).serial, 'hex');
          const at = bytes.lastIndexOf(serial);
          bytes[at] = 0x55;
          await writeFile(file, bytes);
        },
      ],
    ];
    test.each(damages)('%s', async (_name, damage) => {
      const file = await filled();
      await damage(file);
      await expect(IssuedStore.open({ file, create: false })).rejects.toMatchObject({ code: 'ISSUED_CORRUPT' });
      await expect(IssuedReader.open(file)).rejects.toMatchObject({ code: 'ISSUED_CORRUPT' });
    });
  });
});

describe('IssuedReader.search()', () => {
  let file: string;
  const records = Array.from({ length: 60 }, (_, n) =>
    recordOf(n, {
      identity: `user${n % 4}@example.com`,
      issuer: `https://issuer${n % 3}.example`,
      requestId: `request-${n % 30}`,
      // Ten in one second, and a clock that goes back once.
      notBeforeMs: time + Math.floor(n / 10) * 1000 - (n === 45 ? 3000 : 0),
    }),
  );
  const newestFirst = records
    .map((record, n) => ({ record, n }))
    .sort((a, b) => b.record.notBeforeMs - a.record.notBeforeMs || b.n - a.n)
    .map(({ record }) => record);

  beforeAll(async () => {
    file = newFile();
    const store = await IssuedStore.open({ file, create: true });
    for (const record of records) void store.append(record);
    await store.close();
  });

  test.each<[string, Partial<IssuedQuery>, (record: IssuedCertificateRecord) => boolean]>([
    ['everything', {}, () => true],
    ['an identity', { identity: 'user1@example.com' }, ({ identity }) => identity === 'user1@example.com'],
    ['an identity in capitals, which is another', { identity: 'User1@example.com' }, () => false],
    ['an issuer', { issuer: 'https://issuer2.example' }, ({ issuer }) => issuer === 'https://issuer2.example'],
    ['a serial', { serial: recordOf(17).serial }, ({ serial }) => serial === recordOf(17).serial],
    ['a request', { requestId: 'request-7' }, ({ requestId }) => requestId === 'request-7'],
    ['a time from', { sinceMs: time + 3000 }, ({ notBeforeMs }) => notBeforeMs >= time + 3000],
    ['a time before', { untilMs: time + 3000 }, ({ notBeforeMs }) => notBeforeMs < time + 3000],
    [
      'all at once',
      { identity: 'user1@example.com', issuer: 'https://issuer2.example', sinceMs: time, untilMs: time + 4000 },
      ({ identity, issuer, notBeforeMs }) =>
        identity === 'user1@example.com' && issuer === 'https://issuer2.example' && notBeforeMs < time + 4000,
    ],
    [
      'an identity and a serial that do not belong together',
      { identity: 'user2@example.com', serial: recordOf(1).serial },
      () => false,
    ],
  ])('finds by %s, newest first, whatever the size of a page', async (_name, query, matches) => {
    const expected = newestFirst.filter(matches);
    for (const limit of [1, 7, 100]) {
      const found: IssuedCertificateRecord[] = [];
      let before: string | undefined;
      do {
        const page = await search(file, { ...query, limit, ...(before !== undefined && { before }) });
        expect(page.records.length).toBeLessThanOrEqual(limit);
        found.push(...page.records);
        before = page.next;
      } while (before !== undefined);
      expect(found).toEqual(expected);
    }
  });

  test('goes by an index, and sorts nothing', async () => {
    const database = new sqlite3.Database(file, sqlite3.OPEN_READONLY);
    const plan = (where: string) =>
      new Promise<string>((resolve, reject) =>
        database.all<{ detail: string }>(
          `EXPLAIN QUERY PLAN SELECT * FROM certificate ${where} ORDER BY not_before_ms DESC, id DESC LIMIT 5`,
          (error, rows) => (error === null ? resolve(rows.map(({ detail }) => detail).join()) : reject(error)),
        ),
      );
    expect(await plan(`WHERE identity = 'a' AND +issuer = 'b' AND not_before_ms >= 3`)).toMatch(
      /^SEARCH certificate USING INDEX certificate_identity \(identity=\? AND not_before_ms>\?\)$/,
    );
    expect(await plan(`WHERE issuer = 'b'`)).toMatch(/USING INDEX certificate_issuer \(issuer=\?\)$/);
    expect(await plan('WHERE (not_before_ms, id) < (5, 6)')).toMatch(/USING INDEX certificate_time/);
    await new Promise((resolve) => database.close(resolve));
  });
});
