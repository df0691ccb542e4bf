import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { encodeHex, encodeUtf8, parseUtf8 } from '#libs/encoding';
import { encodeTilePath, entryBundlePath, leafHash, nodeHash } from '#libs/merkle';
import { ed25519NoteSigner, ed25519NoteVerifier, rfc6962NoteSigner, rfc6962NoteVerifier } from '#libs/note';
import { generateSigner, opensslCrypto, sha256 } from '#libs/openssl';
import { annexedEntriesFormat, encodeAnnexedEntry } from './annexed-entry.js';
import { entriesFormat, type TreeFormat } from './format.js';
import type { ObjectStore } from './objects.js';
import { hash, TestLog } from './test-log.js';
import type { Tree } from './tree.js';

let log: TestLog;
afterEach(() => log.remove());

async function create(...options: Parameters<typeof TestLog.create>): Promise<Tree> {
  const created = await TestLog.create(...options);
  ({ log } = created);
  return created.tree;
}

const addition = (text: string) => {
  const record = encodeUtf8(text);
  return { identity: leafHash(sha256, record), encode: () => record };
};
const numbers = (start: number, end: number) => Array.from({ length: end - start }, (_, n) => String(start + n));

describe('openTree()', () => {
  test('creates an empty log with a signed checkpoint, and only when told', async () => {
    log = new TestLog();
    await expect(log.open()).rejects.toMatchObject({ code: 'TLOG_MISSING' });
    const tree = await log.open({ create: true });
    expect(tree.head()).toMatchObject({ size: 0n, timestampMs: BigInt(log.nowMs) });
    expect(tree.checkpoint()).toMatch(
      /^log\.example\n0\n47DEQpj8HBSa\+\/TImW\+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— log\.example /,
    );
    await log.check(tree);
    await expect(tree.proveConsistency(0n, 0n)).rejects.toMatchObject({ code: 'TLOG_RANGE' });
    const again = await log.restart();
    expect(again.checkpoint()).toBe(tree.checkpoint());
  });

  test.each(['', 'Log', '../log', 'a/b', '-a', 'a.b', 'a'.repeat(64)])('refuses the name %j', async (name) => {
    log = new TestLog();
    await expect(log.open({ name, create: true })).rejects.toMatchObject({ code: 'TLOG_RANGE' });
  });

  test('refuses another key, origin or format than the tree was created with', async () => {
    await create();
    await log.stop();
    const key = generateSigner('ed25519');
    const other = {
      signers: () => [ed25519NoteSigner('log.example', key, hash)],
      verifier: ed25519NoteVerifier('log.example', key.publicKey, opensslCrypto),
    };
    await expect(log.open(other)).rejects.toMatchObject({
      code: 'TLOG_KEY',
      message: expect.stringContaining('its log id is') as string,
    });
    await expect(log.open({ origin: 'other.example' })).rejects.toThrow('its origin is log.example');
    const format = { ...entriesFormat, name: 'ct' };
    await expect(log.open({ format })).rejects.toThrow('its format is entries, but ct is configured');
    await log.open();
  });

  test('refuses a verifier that does not belong to the signer', async () => {
    log = new TestLog();
    const verifier = ed25519NoteVerifier('log.example', generateSigner('ed25519').publicKey, opensslCrypto);
    await expect(log.open({ create: true, verifier })).rejects.toMatchObject({ code: 'TLOG_KEY' });
  });

  test('does not create a tree whose checkpoint is published already: then the database is lost', async () => {
    const tree = await create();
    await log.add(tree, 'a');
    await log.stop();
    for (const end of ['', '-wal', '-shm']) rmSync(log.databaseFile + end, { force: true });
    await expect(log.open({ create: true })).rejects.toMatchObject({ code: 'TLOG_ROLLED_BACK' });
  });

  test('keeps several trees in one database and one object store apart', async () => {
    const tree = await create();
    await log.stop();
    const store = await log.openStore();
    const first = await log.open({ store });
    const second = await log.open({ store, name: 'second', create: true });
    expect(tree.name).toBe('log');
    const both = await Promise.all([
      ...numbers(0, 300).map((text) => log.add(first, text)),
      ...numbers(0, 300).map((text) => second.add(addition(`second ${text}`))),
    ]);
    expect(both.filter(({ duplicate }) => duplicate)).toEqual([]);
    expect([first.head().size, second.head().size]).toEqual([300n, 300n]);
    await log.check(first);
    expect(parseUtf8((await second.readRecords(299n, 300n))[0]!)).toBe('second 299');
    expect(await log.objects.has('second/tile/entries/000')).toBe(true);
    expect(await second.findIndex(addition('1').identity)).toBeUndefined();
  });
});

describe('Tree.add()', () => {
  test('gives index, proof and checkpoint of the first entry', async () => {
    const tree = await create();
    const receipt = await log.add(tree, 'a');
    expect(receipt).toMatchObject({ index: 0n, duplicate: false, checkpoint: tree.checkpoint() });
    expect(receipt.proof).toEqual({ size: 1n, rootHash: addition('a').identity, hashes: [] });
    await log.check(tree);
  });

  test('gives the same entry, a thousand times at once, one index', async () => {
    const tree = await create();
    const receipts = await log.addAll(tree, Array<string>(1000).fill('same'));
    expect(new Set(receipts.map(({ index }) => index))).toEqual(new Set([0n]));
    expect(receipts.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    expect(tree.head().size).toBe(1n);
  });

  test('signs and commits nothing for duplicates alone', async () => {
    const tree = await create();
    await log.addAll(tree, numbers(0, 600));
    const before = tree.checkpoint();
    log.nowMs += 1000;
    const receipts = await log.addAll(tree, ['0', '255', '256', '599']);
    expect(receipts.map(({ index, duplicate }) => [index, duplicate])).toEqual([
      [0n, true],
      [255n, true],
      [256n, true],
      [599n, true],
    ]);
    expect(tree.checkpoint()).toBe(before);
  });

  test('refuses a record whose identity is another, and one that is too long, without using up an index', async () => {
    const tree = await create();
    const results = await Promise.allSettled([
      tree.add(addition('a')),
      tree.add({ ...addition('b'), identity: addition('c').identity }),
      tree.add(addition('x'.repeat(65_536))),
      tree.add({
        identity: addition('d').identity,
        encode: () => {
          throw new Error('cannot encode');
        },
      }),
      tree.add({ ...addition('e'), identity: new Uint8Array(31) }),
      tree.add(addition('x'.repeat(65_535))),
    ]);
    const codes = results.map((result) =>
      result.status === 'fulfilled' ? result.value.index : ((result.reason as { code?: string }).code ?? 'its own'),
    );
    expect(codes).toEqual([0n, 'TLOG_RECORD', 'TLOG_RECORD', 'its own', 'TLOG_RECORD', 1n]);
    await log.check(tree);
  });

  test('logs an empty entry', async () => {
    const tree = await create();
    await log.add(tree, '');
    await log.check(await log.restart());
  });

  test('refuses more than may wait, writes nothing of it, and takes entries again later', async () => {
    const tree = await create({ maxWaiting: 3 });
    const results = await Promise.allSettled(['a', 'b', 'c', 'd', 'e'].map((text) => log.add(tree, text)));
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    expect(results[4]).toMatchObject({ reason: { code: 'TLOG_BUSY' } });
    expect(tree.head().size).toBe(3n);
    expect((await log.add(tree, 'd')).index).toBe(3n);
  });

  test('splits what waits into batches', async () => {
    const tree = await create({ maxBatch: 10 });
    const receipts = await log.addAll(tree, numbers(0, 35));
    expect(new Set(receipts.map(({ proof }) => proof.size))).toEqual(new Set([10n, 20n, 30n, 35n]));
    await log.check(tree);
  });

  test('after close() refuses, but finishes what was waiting', async () => {
    const tree = await create();
    const waiting = log.add(tree, 'a');
    const closing = tree.close();
    await expect(tree.add(addition('b'))).rejects.toMatchObject({ code: 'TLOG_CLOSED' });
    expect((await waiting).index).toBe(0n);
    await closing;
  });

  test('verifies each signature before it leaves', async () => {
    const key = generateSigner('ed25519');
    let faulty = false;
    const signer = ed25519NoteSigner('log.example', key, hash);
    const shaky = {
      ...signer,
      sign: (text: string) => signer.sign(text).map((byte, at) => (faulty && at === 40 ? byte ^ 1 : byte)),
    };
    const verifier = ed25519NoteVerifier('log.example', key.publicKey, opensslCrypto);
    const tree = await create({ signers: () => [shaky], verifier });
    faulty = true;
    await expect(tree.add(addition('a'))).rejects.toMatchObject({ code: 'TLOG_KEY' });
    expect(tree.head().size).toBe(0n);
  });
});

describe('reading', () => {
  test('gives tiles and bundles at every width up to the published one, and nothing beyond', async () => {
    const tree = await create();
    await log.addAll(tree, numbers(0, 260));
    const hashes = numbers(0, 260).map((text) => addition(text).identity);
    for (const width of [1, 2, 255, 256]) {
      expect(await tree.readTile({ level: 0, index: 0n, width })).toEqual(concat(hashes.slice(0, width)));
      expect(await tree.readBundle(0n, width)).toEqual(entriesFormat.encodeBundle(numbers(0, width).map(encodeUtf8)));
    }
    expect(await tree.readTile({ level: 0, index: 1n, width: 3 })).toEqual(concat(hashes.slice(256, 259)));
    for (const [level, index, width] of [
      [0, 1n, 5],
      [0, 1n, 256],
      [0, 2n, 1],
      [1, 0n, 2],
      [2, 0n, 1],
      [0, -1n, 1],
      [-1, 0n, 1],
      [63, 0n, 1],
      [0, 0n, 0],
      [0, 0n, 257],
      [0, 0n, 1.5],
    ] as const) {
      expect(await tree.readTile({ level, index, width }), `${level}/${index}.p/${width}`).toBeUndefined();
      if (level === 0) expect(await tree.readBundle(index, width)).toBeUndefined();
    }
    await expect(tree.readRecords(0n, 261n)).rejects.toMatchObject({ code: 'TLOG_RANGE' });
    expect(await tree.readRecords(260n, 260n)).toEqual([]);
  });

  test('hands out a full bundle and its sidecar as they are stored, once they are', async () => {
    log = new TestLog();
    log.format = annexedEntriesFormat;
    let tree = await log.open({ create: true });
    await log.addAll(tree, numbers(0, 260));
    const read = async () => [await tree.readBundle(0n, 256), await tree.readSidecar(0n, 256)];
    const before = await read();
    tree = await log.restart();
    const stored = ['entries', 'annex'].map((name) => join(log.folder, `objects/log/tile/${name}/000`));
    expect(await read()).toEqual(before);
    expect(stored.map((file) => new Uint8Array(readFileSync(file)))).toEqual(before);
    // As a web server over the same folder would: who reads compares them with the tiles, and so does `scrub`.
    for (const file of stored) {
      rmSync(file);
      writeFileSync(file, 'x');
    }
    expect(await read()).toEqual([encodeUtf8('x'), encodeUtf8('x')]);
    await expect(tree.readBundle(0n, 255)).rejects.toMatchObject({ code: 'TLOG_CORRUPT' });
    rmSync(stored[1]!);
    await expect(tree.readSidecar(0n, 256)).rejects.toMatchObject({
      code: 'TLOG_CORRUPT',
      place: { at: 'log/tile/annex/000' },
    });
  });

  test('gives sidecars of any width, and none where the format has none', async () => {
    const plain = await create();
    await log.add(plain, 'a');
    expect(await plain.readSidecar(0n, 1)).toBeUndefined();
    const tree = await log.open({ name: 'annexed', format: annexedEntriesFormat, create: true });
    const entries = numbers(0, 260).map((text) => ({
      timestampMs: BigInt(log.nowMs),
      annex: encodeUtf8(`annex ${text}`),
      entry: encodeUtf8(text),
    }));
    await Promise.all(
      entries.map((each) =>
        tree.add({ identity: leafHash(sha256, each.entry), encode: () => encodeAnnexedEntry(each) }),
      ),
    );
    const { encode } = annexedEntriesFormat.sidecar!;
    for (const [index, width] of [
      [0, 1],
      [0, 255],
      [0, 256],
      [1, 4],
    ] as const) {
      const expected = encode(entries.slice(index * 256, index * 256 + width).map(encodeAnnexedEntry));
      expect(await tree.readSidecar(BigInt(index), width)).toEqual(expected);
    }
    expect(await tree.readSidecar(1n, 5)).toBeUndefined();
    expect(await tree.readSidecar(-1n, 5)).toBeUndefined();
    await tree.close();
  });

  test('proves for every earlier size, and refuses what is out of range', async () => {
    const tree = await create();
    await log.addAll(tree, numbers(0, 5));
    const [a, b] = [addition('0').identity, addition('1').identity];
    expect((await tree.proveInclusion(1n, 2n)).rootHash).toEqual(nodeHash(sha256, a, b));
    for (const [index, size] of [
      [5n, 5n],
      [-1n, 5n],
      [0n, 6n],
      [0n, 0n],
    ] as const) {
      await expect(tree.proveInclusion(index, size)).rejects.toMatchObject({ code: 'TLOG_RANGE' });
    }
    for (const [first, second] of [
      [0n, 5n],
      [3n, 2n],
      [1n, 6n],
    ] as const) {
      await expect(tree.proveConsistency(first, second)).rejects.toMatchObject({ code: 'TLOG_RANGE' });
    }
    expect((await tree.proveConsistency(4n, 4n)).hashes).toEqual([]);
    expect(await tree.receipt(3n)).toMatchObject({ index: 3n, record: encodeUtf8('3'), checkpoint: tree.checkpoint() });
  });

  test('is right while a bundle moves from rows to objects', async () => {
    const tree = await create();
    await log.addAll(tree, numbers(0, 250));
    let reading = true;
    const reader = (async () => {
      while (reading) {
        const { size } = tree.head();
        expect((await tree.readRecords(0n, size)).map((record) => parseUtf8(record))).toEqual(numbers(0, Number(size)));
        await tree.proveInclusion(3n, size);
      }
    })();
    for (let at = 250; at < 1100; at += 50) await log.addAll(tree, numbers(at, at + 50));
    reading = false;
    await reader;
    await log.check(tree);
  });
});

describe('objects', () => {
  test('are full tiles and bundles only, written once', async () => {
    const written: string[] = [];
    log = new TestLog();
    const inner = log.objects;
    const objects: ObjectStore = {
      ...inner,
      putIfAbsent: (path, bytes) => {
        written.push(path);
        return inner.putIfAbsent(path, bytes);
      },
    };
    const tree = await log.open({ create: true, objects });
    for (let at = 0; at < 600; at += 30) await log.addAll(tree, numbers(at, at + 30));
    await tree.close();
    const expected = [0n, 1n].flatMap((index) => [
      `log/${entryBundlePath(index, 256)}`,
      `log/${encodeTilePath({ level: 0, index, width: 256 })}`,
    ]);
    expect(written.sort()).toEqual(expected.sort());
  });

  test('that cannot be stored stay rows, are readable, and are stored later', async () => {
    log = new TestLog();
    const inner = log.objects;
    let down = true;
    const reports: string[] = [];
    const objects: ObjectStore = {
      ...inner,
      putIfAbsent: async (path, bytes) => {
        if (down) throw new Error('no space left');
        return inner.putIfAbsent(path, bytes);
      },
    };
    const report = (error: Error) => void reports.push(error.message);
    const tree = await log.open({ create: true, objects, report });
    for (let at = 0; at < 1000; at += 250) await log.addAll(tree, numbers(at, at + 250));
    await log.check(tree);
    expect(reports).toContain('Cannot store objects of tree log: no space left');
    expect(await inner.has('log/tile/0/000')).toBe(false);
    down = false;
    await log.add(tree, 'one more');
    await tree.close();
    expect(await inner.has('log/tile/0/002')).toBe(true);
    await log.check(await log.restart());
  });
});

describe('time', () => {
  test('of heads and of records is that of the clock, and never runs back', async () => {
    const seen: bigint[] = [];
    const tree = await create();
    const add = async (text: string) => {
      const { identity, encode } = addition(text);
      await tree.add({
        identity,
        encode: (_index, timestampMs) => {
          seen.push(timestampMs);
          return encode();
        },
      });
      seen.push(tree.head().timestampMs);
    };
    const start = log.nowMs;
    await add('a');
    log.nowMs = start + 100;
    await add('b');
    log.nowMs = start - 5000;
    await add('c');
    log.nowMs = start + 101;
    await add('d');
    expect(seen.map((time) => Number(time) - start)).toEqual([0, 0, 100, 100, 100, 100, 101, 101]);
  });
});

describe('a format of its own, and RFC 6962 tree heads', () => {
  /** Entries of fixed length, whose leaf leaves out the first byte. */
  const fixed: TreeFormat = {
    name: 'fixed',
    leafInput: (record) => record.subarray(1),
    encodeBundle: concat,
    parseBundle: (bytes, count) => Array.from({ length: count }, (_, at) => bytes.slice(at * 5, at * 5 + 5)),
    bundlePath: (index, width) => entryBundlePath(index, width).replace('entries', 'data'),
  };

  test('work like the built-in ones', async () => {
    const key = generateSigner('P-256');
    const origin = 'log.example';
    let signedAt = 0n;
    const tree = await create({
      format: fixed,
      signers: (timestampMs) => {
        signedAt = timestampMs;
        return [rfc6962NoteSigner(origin, key, hash, { timestampMs: () => timestampMs })];
      },
      verifier: rfc6962NoteVerifier(origin, key.publicKey, opensslCrypto),
    });
    const receipts = await Promise.all(
      numbers(0, 300).map((text) =>
        tree.add({
          identity: sha256(encodeUtf8(text)),
          encode: (index) => encodeUtf8(`#${text.padStart(4, '0')}`.slice(0, 5) + String(index).slice(0, 0)),
        }),
      ),
    );
    expect(signedAt).toBe(BigInt(log.nowMs));
    expect(parseUtf8(receipts[299]!.record)).toBe('#0299');
    expect((await tree.proveInclusion(299n, 300n)).leafHash).toEqual(leafHash(sha256, encodeUtf8('0299')));
    expect(await tree.findIndex(sha256(encodeUtf8('7')))).toBe(7n);
    expect(await tree.findIndex(leafHash(sha256, encodeUtf8('0007')))).toBe(7n);
    await tree.close();
    expect(await log.objects.has('log/tile/data/000')).toBe(true);
  });
});

test(
  'a log of 70000 entries has the known roots, tiles and bundles, whichever way it grew',
  { timeout: 240_000 },
  async () => {
    // Leaf i is the decimal i. Computed by an independent recursive implementation of RFC 9162 §2.1.1.
    const roots = {
      255: '32f85bcaa87d7bcd05728f09e9aeba350ba6a2f733830087f0597682848be5cb',
      256: '828515d033c19d8c901f37eccb8aed919667703486f8d2fff1cf7040321c5db1',
      257: '1eda049a4351d86f76252bd7ec0b7746ad75b7fa0316ad5f541dbda458a312c4',
      511: '5f3d69e102370be409122d11a2e605e6b653b071b8b4b4bd2833fae40652f11d',
      512: 'd4b2162495ca609dc06390d353ca0c55107765c609e0226eb747d89105dc8d55',
      65535: '74f13a0e1a75689372efb990cf68c664e44c763d9304844955b2eaff624e8df1',
      65536: 'f025d06ed804859fd274a1bdacadd6e48ea87634aa91e1edb20143f9498cd02b',
      65537: 'dc8795a25fd4bd52a0b84f639fd3139ba160824023d188e428eb5db0f3ce221a',
      70000: '1a4cdfcb66374a0c0dcbef49acbd4976d13ee864fb3cb241fc943cad04f02f7e',
    };
    let tree = await create({ maxBatch: 4096, maxWaiting: 70_000 });
    let at = 0;
    for (const [size, root] of Object.entries(roots)) {
      await Promise.all(numbers(at, Number(size)).map((text) => tree.add(addition(text))));
      at = Number(size);
      expect(tree.head().size).toBe(BigInt(at));
      expect(encodeHex(tree.head().rootHash)).toBe(root);
      log.checkpoints.add(tree.checkpoint());
      tree = await log.restart({ maxBatch: 4096, maxWaiting: 70_000 });
    }
    const digest = (bytes: Uint8Array | undefined) => bytes && createHash('sha256').update(bytes).digest('hex');
    for (const [level, index, width, expected] of [
      [0, 0n, 256, 'b9704a8bfbee2c61185ceb38904a49f3f703c81e194b5b2ccdc254c2bdaaa62b'],
      [0, 272n, 256, 'c2f1c18b351a6cde9fbab7bd56276cb209b7dabaf10512b6fc863db3ef9a76b2'],
      [0, 273n, 112, '4d21244557c976993a9a89bf928a46b5a876585228df279878239fd84489e5a5'],
      [1, 0n, 256, 'ea7b038bc73489c89c31a27ac355aaca65a4ed73f0dd7484e68deb29d30f10a2'],
      [1, 1n, 17, 'adfaca2731630fe7944a4b98a0f98ef3e98685eafda09e6f81070218fb759ce4'],
      [2, 0n, 1, 'f0113c8bad855b49f9a5dd661d50012cd94f19aae87a45eb8334666835e3caea'],
    ] as const) {
      expect(digest(await tree.readTile({ level, index, width }))).toBe(expected);
    }
    expect(digest(await tree.readBundle(0n, 256))).toBe(
      '94693d5c6d6a0355ec07bac8214516c1ce6a5100b0588f226fd95f26571157d7',
    );
    expect(digest(await tree.readBundle(273n, 112))).toBe(
      '36c3ec44895d1b8098dbe8523078d6750bf09e0f12cd64671ebfe165b7647405',
    );
    expect((await tree.proveInclusion(12345n, 70000n)).hashes).toHaveLength(17);
    expect((await tree.proveConsistency(257n, 70000n)).hashes).toHaveLength(18);
    await log.check(tree);
    for (let bundle = 0n; bundle < 273n; bundle++) expect(await tree.scrub()).toBe(bundle);
    expect(await tree.scrub()).toBe(0n);

    // A flipped bit in an upper tile shows at the tile below it, but is blamed on the upper one.
    const file = join(log.folder, 'objects/log/tile/1/000');
    const bytes = new Uint8Array(readFileSync(file));
    rmSync(file);
    writeFileSync(
      file,
      bytes.map((byte, at) => (at === 32 + 5 ? byte ^ 4 : byte)),
    );
    await expect(tree.scrub()).rejects.toMatchObject({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/1/000' } });
    await expect(log.restart()).rejects.toMatchObject({ code: 'TLOG_CORRUPT', place: { at: 'log/tile/1/000' } });
  },
);

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
