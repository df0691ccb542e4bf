import { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { encodeBase64Url, encodeHex, encodeUtf8, parseBase64Url } from '#libs/encoding';
import { CompactRange, leafHash, verifyConsistency } from '#libs/merkle';
import { parseCheckpoint, parseNote } from '#libs/note';
import { generateSigner, sha256 } from '#libs/openssl';
import { parseAnnexedEntry } from '#libs/tlog';
import {
  encodeSearchAnswer,
  type FoundEntry,
  parseSearchQuery,
  recordKeysV1,
  recordKeysV2,
  type SearchAnswer,
  searchAnswerSchema,
  type SearchedTree,
  searchTrees,
} from './index.js';
import { bodyKinds, bodyOf, email, entryIdOf, freshDigest, makeCertificate, TestTrees } from '../testing/trees.js';

const at = (entry: FoundEntry): string => `${entry.tree} ${entry.logIndex}`;

function search(trees: TestTrees, params: Record<string, string>): Promise<SearchAnswer> {
  return searchTrees(trees.searchable, parseSearchQuery(params));
}

async function find(trees: TestTrees, params: Record<string, string>): Promise<string[]> {
  return (await search(trees, params)).entries.map(at);
}

/** All pages, and how many. */
async function findAll(trees: TestTrees, params: Record<string, string>): Promise<{ found: string[]; pages: number }> {
  const found: string[] = [];
  let cursor: string | undefined;
  for (let pages = 1; ; pages++) {
    const answer = await search(trees, { ...params, ...(cursor !== undefined && { cursor }) });
    found.push(...answer.entries.map(at));
    if (answer.next === undefined) return { found, pages };
    cursor = answer.next;
  }
}

const refusedWith = (code: string) => expect.objectContaining({ code }) as Error;

describe('searchTrees() finds by one parameter, and not by another value of it:', () => {
  let trees: TestTrees;
  const digest = freshDigest();
  const bare = generateSigner('P-256');
  const certificate = makeCertificate({
    sans: [
      email('Alice@Example.com'),
      { kind: 'uri', value: 'https://forge.example/a/.ci/w@main' },
      { kind: 'dns', value: 'host.example' },
      { kind: 'other-name', oid: '1.3.6.1.4.1.57264.1.7', value: 'alice!realm' },
    ],
    told: {
      8: 'https://issuer.example',
      12: 'https://forge.example/Owner/Name',
      5: 'Owner/Name',
      9: 'https://forge.example/sign@main',
      18: 'https://forge.example/config@main',
      4: 'Release',
    },
    signer: generateSigner('P-256'),
  });
  const bodyOfAlice = bodyOf('hashedrekord 0.0.2', [certificate], digest);
  const hex = (bytes: Uint8Array): string => encodeHex(sha256(bytes));
  const leaf = encodeHex(leafHash(sha256, bodyOfAlice));

  beforeAll(async () => {
    trees = await TestTrees.create();
    // v1 0 and v2 0: somebody else. v2 1: Alice. v1 1: an attestation by a bare key. v1 2: a key of OpenPGP.
    const bob = makeCertificate({ sans: [email('bob@example.com')], told: { 8: 'https://other.example' } });
    await trees.add('v1', bodyOf('hashedrekord 0.0.1', [bob]));
    await trees.add('v2', bodyOf('hashedrekord 0.0.2', [bob]));
    trees.nowMs += 60_000;
    await trees.add('v2', bodyOfAlice);
    trees.nowMs += 60_000;
    await trees.add('v1', bodyOf('dsse 0.0.1', [bare]), { unlogged: [`sha256:${'12'.repeat(32)}`, 'gitcommit:abcd'] });
    trees.nowMs += 60_000;
    await trees.add('v1', bodyOf('rekord 0.0.1', [generateSigner('P-256')]), { unlogged: ['pgp@example.com'] });
  });
  afterAll(() => trees.remove());

  const alice = ['v2 1'];
  const attestation = ['v1 1'];
  test.each<[string, string, string[], string]>([
    ['email', 'alice@example.com', alice, 'alice@example.co'],
    ['email', 'ALICE@EXAMPLE.COM', alice, 'host.example'],
    ['email', 'pgp@example.com', ['v1 2'], 'https://forge.example/a/.ci/w@main'],
    ['uri', 'https://forge.example/a/.ci/w@main', alice, 'alice@example.com'],
    ['san', 'alice@example.com', alice, 'https://issuer.example'],
    ['san', 'https://forge.example/a/.ci/W@main', alice, 'https://forge.example/owner/name'],
    ['san', 'host.example', alice, 'example'],
    ['san', 'alice!realm', alice, 'alice'],
    ['issuer', 'https://issuer.example', alice, 'https://issuer.example/'],
    ['digest', `sha256:${encodeHex(digest)}`, alice, `sha256:${'00'.repeat(32)}`],
    ['digest', encodeHex(digest).toUpperCase(), alice, '00'.repeat(32)],
    ['digest', '12'.repeat(32), attestation, '12'.repeat(20)],
    ['subject', `sha256:${'12'.repeat(32)}`, attestation, `sha256:${encodeHex(digest)}`],
    ['subject', 'gitCommit:abcd', attestation, 'gitCommit:ab'],
    ['key', hex(bare.publicKey.spki), attestation, hex(certificate.der)],
    ['key', hex(certificate.spki), alice, '00'.repeat(32)],
    ['certificate', hex(certificate.der), alice, hex(certificate.spki)],
    ['repository', 'https://forge.example/owner/name', alice, 'name'],
    ['repository', 'owner/name', alice, 'https://forge.example/sign@main'],
    ['workflow', 'https://forge.example/sign@main', alice, 'owner/name'],
    ['workflow', 'https://forge.example/config@main', alice, 'https://forge.example/a/.ci/w@main'],
    ['workflow', 'release', alice, 'releas'],
    ['logIndex', '2', ['v1 2'], '3'],
    ['uuid', leaf, alice, '00'.repeat(32)],
  ])('%s=%s', async (name, value, found, another) => {
    expect(await find(trees, { [name]: value })).toEqual(found);
    expect(await find(trees, { [name]: another })).toEqual([]);
  });

  test('uuid, of an entry ID of Rekor v1, in its tree alone', async () => {
    const [first] = await trees.v1.readRecords(0n, 1n);
    const hash = leafHash(sha256, parseAnnexedEntry(first ?? new Uint8Array()).entry);
    expect(await find(trees, { uuid: entryIdOf(hash) })).toEqual(['v1 0']);
    expect(await find(trees, { uuid: entryIdOf(hash).toUpperCase() })).toEqual(['v1 0']);
    expect(await find(trees, { uuid: `00000000000004d3${encodeHex(hash)}` })).toEqual([]);
    // The log of Rekor v2 has no such IDs.
    expect(await find(trees, { uuid: `00000000000004d2${leaf}` })).toEqual([]);
  });

  test.each([
    [{ after: '2026-03-01T12:01:00Z' }, ['v1 2', 'v1 1', 'v2 1']],
    [{ after: '2026-03-01T12:01:00.001Z' }, ['v1 2', 'v1 1']],
    [{ before: '2026-03-01T12:01:00Z' }, ['v1 0', 'v2 0']],
    [{ before: '2026-03-01T12:01:00.001Z' }, ['v2 1', 'v1 0', 'v2 0']],
    [{ after: '2026-03-01T12:01:00Z', before: '2026-03-01T12:02:00Z' }, ['v2 1']],
    [{ before: '2026-03-01T12:00:00Z' }, []],
    [{ after: '2026-03-01T12:03:00.001Z' }, []],
    [{ tree: 'v2' }, ['v2 1', 'v2 0']],
    [{ tree: 'v1', after: '2026-03-01T12:03:00Z' }, ['v1 2']],
    [{ logIndex: '1' }, ['v1 1', 'v2 1']],
    [{ logIndex: '1', tree: 'v2' }, ['v2 1']],
  ])('%j', async (params, found) => {
    expect(await find(trees, params as unknown as Record<string, string>)).toEqual(found);
  });

  test.each<[Record<string, string>, string[]]>([
    [{ email: 'alice@example.com', issuer: 'https://issuer.example' }, alice],
    [{ email: 'alice@example.com', issuer: 'https://other.example' }, []],
    [{ email: 'alice@example.com', digest: encodeHex(digest) }, alice],
    [{ email: 'bob@example.com', digest: encodeHex(digest) }, []],
    [{ email: 'alice@example.com', uri: 'https://forge.example/a/.ci/w@main' }, alice],
    [{ email: 'alice@example.com', after: '2026-03-01T12:01:00Z' }, alice],
    [{ email: 'alice@example.com', after: '2026-03-01T12:01:01Z' }, []],
    [{ email: 'alice@example.com', before: '2026-03-01T12:01:00Z' }, []],
    [{ email: 'alice@example.com', tree: 'v1' }, []],
    [{ email: 'bob@example.com' }, ['v1 0', 'v2 0']],
    [{ email: 'alice@example.com', logIndex: '1' }, alice],
    [{ email: 'alice@example.com', logIndex: '0' }, []],
    [{ uuid: leaf, logIndex: '1' }, alice],
    [{ uuid: leaf, logIndex: '0' }, []],
    [{ uuid: leaf, email: 'bob@example.com' }, []],
    [{ uuid: leaf, before: '2026-03-01T12:01:00Z' }, []],
  ])('all that is given must hold: %j', async (params, found) => {
    expect(await find(trees, params)).toEqual(found);
  });

  test('says what was found, as the schema has it', async () => {
    const answer = encodeSearchAnswer(await search(trees, { email: 'alice@example.com' }));
    expect(searchAnswerSchema.parse(JSON.parse(JSON.stringify(answer)))).toEqual(answer);
    expect(answer.entries).toEqual([
      {
        tree: 'v2',
        logIndex: '1',
        uuid: leaf,
        leafHash: leaf,
        integratedTime: '2026-03-01T12:01:00.000Z',
        kind: 'hashedrekord',
        apiVersion: '0.0.2',
        identities: [
          { kind: 'email', value: 'Alice@Example.com' },
          { kind: 'uri', value: 'https://forge.example/a/.ci/w@main' },
          { kind: 'dns', value: 'host.example' },
          { kind: 'username', value: 'alice!realm' },
        ],
        issuer: 'https://issuer.example',
        repository: 'Owner/Name',
        workflow: 'Release',
        digests: [`sha256:${encodeHex(digest)}`],
        subjects: [],
        keyFingerprints: [hex(certificate.spki)],
        certificateFingerprints: [hex(certificate.der)],
        body: Buffer.from(bodyOfAlice).toString('base64'),
      },
    ]);
    expect(answer.complete.map(({ tree, origin, treeSize }) => [tree, origin, treeSize])).toEqual([
      ['v1', 'log-v1.example', '3'],
      ['v2', 'log.example', '2'],
    ]);
    for (const [index, tree] of [trees.v1, trees.v2].entries()) {
      expect(answer.complete[index]?.rootHash).toBe(encodeHex(tree.head().rootHash));
      expect(answer.complete[index]?.checkpoint).toBe(tree.checkpoint());
    }
    expect(answer.next).toBeNull();
  });

  test('a tree that is not served here is a wrong query, not an empty answer', async () => {
    await expect(search(trees, { tree: 'ct' })).rejects.toThrow(refusedWith('SEARCH_QUERY'));
  });
});

describe('searchTrees() on a log that grows', () => {
  let trees: TestTrees;
  beforeEach(async () => {
    trees = await TestTrees.create();
  });
  afterEach(() => trees.remove());

  const alice = makeCertificate({ sans: [email('alice@example.com')] });
  const bob = makeCertificate({ sans: [email('bob@example.com')] });

  /** Entries of Alice and Bob by turns, over both trees; several a millisecond. */
  async function grow(count: number): Promise<void> {
    for (let done = 0; done < count; done += 64) {
      trees.nowMs += 1000;
      const batch = Array.from({ length: Math.min(64, count - done) }, (_, n) =>
        n % 3 === 0
          ? trees.add('v1', bodyOf('hashedrekord 0.0.1', [n % 2 === 0 ? alice : bob]))
          : trees.add('v2', bodyOf('hashedrekord 0.0.2', [n % 2 === 0 ? alice : bob])),
      );
      await Promise.all(batch);
    }
  }

  test.each<[string, Record<string, string>]>([
    ['of one person', { email: 'alice@example.com', limit: '17' }],
    ['of one person in one tree', { email: 'alice@example.com', tree: 'v2', limit: '17' }],
    ['of a range of time', { after: '2026-03-01T12:00:02Z', before: '2026-03-01T12:00:06Z', limit: '40' }],
    ['of one person in a range of time', { email: 'bob@example.com', before: '2026-03-01T12:00:04Z', limit: '20' }],
    ['of one tree', { tree: 'v1', limit: '40' }],
  ])('pages through all entries %s: each once, newest first, while entries are added', async (_name, params) => {
    await grow(420);
    const { limit: _limit, ...rest } = params;
    const whole = await findAll(trees, { ...rest, limit: '100' });
    const sizes = [trees.v1.head().size, trees.v2.head().size].map(String);

    const found: FoundEntry[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const answer = await search(trees, { ...params, ...(cursor !== undefined && { cursor }) });
      found.push(...answer.entries);
      for (const { tree, treeSize } of answer.complete) expect(String(treeSize)).toBe(sizes[tree === 'v1' ? 0 : 1]);
      cursor = answer.next;
      pages++;
      await grow(8);
    } while (cursor !== undefined);

    expect(pages).toBeGreaterThan(2);
    expect(found.map(at)).toEqual(whole.found);
    expect(new Set(found.map(at)).size).toBe(found.length);
    const order = found.map(({ facts, tree, logIndex }) => ({ time: facts.timestampMs, tree, logIndex }));
    const sorted = [...order].sort(
      (a, b) =>
        Number(b.time - a.time) || (a.tree < b.tree ? -1 : a.tree > b.tree ? 1 : 0) || Number(b.logIndex - a.logIndex),
    );
    expect(order).toEqual(sorted);
  });

  test('finds all that a scan finds, and names the root of exactly the entries it is complete for', async () => {
    await grow(300);
    const first = await search(trees, { email: 'alice@example.com', limit: '1' });
    await grow(300);
    const second = await search(trees, { email: 'alice@example.com', cursor: first.next ?? '', limit: '1' });
    for (const [index, tree] of [trees.v1, trees.v2].entries()) {
      const before = first.complete[index];
      const after = second.complete[index];
      if (before === undefined || after === undefined) throw new Error('a tree is missing');
      expect(after.treeSize).toBe(before.treeSize);
      expect(after.rootHash).toEqual(before.rootHash);
      expect(before.consistency).toEqual([]);
      const range = CompactRange.empty(sha256);
      const records = await tree.readRecords(0n, after.treeSize);
      for (const record of records) range.append(leafHash(sha256, parseAnnexedEntry(record).entry));
      expect(range.root()).toEqual(after.rootHash);
      // The checkpoint is newer, and the proof leads to it.
      const checkpoint = parseCheckpoint(parseNote(after.checkpoint).text);
      expect(checkpoint.size).toBeGreaterThan(after.treeSize);
      verifyConsistency(sha256, {
        first: after.treeSize,
        second: checkpoint.size,
        firstRoot: after.rootHash,
        secondRoot: checkpoint.rootHash,
        proof: after.consistency,
      });
    }
    const everything = await findAll(trees, { email: 'alice@example.com', limit: '100' });
    const scanned: string[] = [];
    for (const { name, tree, facts } of trees.searchable) {
      const records = await tree.readRecords(0n, tree.head().size);
      for (const [index, record] of records.entries()) {
        if (facts(record).identities.some(({ value }) => value === 'alice@example.com'))
          scanned.push(`${name} ${index}`);
      }
    }
    expect([...everything.found].sort()).toEqual(scanned.sort());
  });

  test('an empty log: nothing, complete up to nothing', async () => {
    const answer = await search(trees, { email: 'alice@example.com' });
    expect(answer).toMatchObject({ entries: [], next: undefined });
    expect(answer.complete.map(({ treeSize, rootHash }) => [treeSize, encodeHex(rootHash)])).toEqual([
      [0n, encodeHex(sha256(new Uint8Array()))],
      [0n, encodeHex(sha256(new Uint8Array()))],
    ]);
    expect(await find(trees, { tree: 'v1' })).toEqual([]);
    expect(await find(trees, { before: '2030-01-01T00:00:00Z' })).toEqual([]);
    expect(await find(trees, { logIndex: '0' })).toEqual([]);
  });

  test('the end of a range of time at every place of a bundle', async () => {
    const times: number[] = [];
    // Whole seconds for most, so that bounds fall between, on, and beside entries; both sides of a bundle's end.
    for (let n = 0; n < 262; n++) {
      if (n % 5 === 0) trees.nowMs += 1000;
      await trees.add('v2', bodyOf('hashedrekord 0.0.2', [alice]));
      times.push(trees.nowMs);
    }
    for (const ms of new Set(
      [...times.slice(-20), ...times.slice(0, 10)].flatMap((time) => [time - 1, time, time + 1]),
    )) {
      const before = new Date(ms).toISOString();
      const [newest] = await find(trees, { tree: 'v2', before, limit: '1' });
      const expected = times.filter((time) => time < ms).length - 1;
      expect(newest, before).toBe(expected < 0 ? undefined : `v2 ${expected}`);
    }
  });

  test('an index row that does not belong to its entry is not an answer', async () => {
    await trees.add('v1', bodyOf('hashedrekord 0.0.1', [bob]), {
      more: ['alice@example.com', `sha256:${'12'.repeat(32)}`, 'issuer:https://issuer.example'],
    });
    expect(
      (await trees.v1.findByKeys({ keys: ['alice@example.com'], match: 'all', below: 1n, limit: 5 })).indexes,
    ).toEqual([0n]);
    expect(await find(trees, { email: 'alice@example.com' })).toEqual([]);
    expect(await find(trees, { digest: '12'.repeat(32) })).toEqual([]);
    expect(await find(trees, { issuer: 'https://issuer.example' })).toEqual([]);
    await trees.add('v1', bodyOf('hashedrekord 0.0.1', [alice]));
    expect(await find(trees, { email: 'alice@example.com' })).toEqual(['v1 1']);
  });

  test('many rows that do not belong to their entries: short pages, and the entry behind them in the end', async () => {
    await trees.add('v1', bodyOf('hashedrekord 0.0.1', [alice]));
    await Promise.all(
      Array.from({ length: 600 }, () =>
        trees.add('v1', bodyOf('hashedrekord 0.0.1', [bob]), { more: ['alice@example.com'] }),
      ),
    );
    const first = await search(trees, { email: 'alice@example.com' });
    expect(first.entries).toEqual([]);
    expect(first.next).toBeDefined();
    const { found, pages } = await findAll(trees, { email: 'alice@example.com' });
    expect(found).toEqual(['v1 0']);
    expect(pages).toBeGreaterThan(2);
    expect(pages).toBeLessThan(10);
  });

  test('a key of 100,000 entries of two people stays bounded', async () => {
    // 100,000 entries take minutes to make: what a search may read of them is counted instead, on a tree that seems so large.
    await grow(64);
    const [record] = await trees.v2.readRecords(0n, 1n);
    if (record === undefined) throw new Error('no record');
    let read = 0;
    let asked = 0;
    const size = 100_000n;
    const tree: SearchedTree = {
      origin: 'large.example',
      head: () => ({ ...trees.v2.head(), size }),
      indexedSize: async () => size,
      findIndex: async () => undefined,
      proveConsistency: () => Promise.reject(new Error('not asked for')),
      readRecords: async (start, end) => {
        read += Number(end - start);
        return Array.from({ length: Number(end - start) }, () => record);
      },
      findByKeys: async ({ below, limit }) => {
        asked++;
        const count = Number(below < BigInt(limit) ? below : BigInt(limit));
        const indexes = Array.from({ length: count }, (_, n) => below - 1n - BigInt(n));
        return { indexes, reached: indexes.at(-1) ?? 0n };
      },
    };
    const [, of] = trees.searchable;
    if (of === undefined) throw new Error('no tree');
    const answer = await searchTrees(
      [{ ...of, tree }],
      parseSearchQuery({ email: 'bob@example.com', issuer: 'https://x' }),
    );
    expect(answer.entries).toEqual([]);
    expect(answer.next).toBeDefined();
    expect(read).toBeLessThanOrEqual(256);
    expect(asked).toBeLessThanOrEqual(256 / 20 + 1);
  });

  test('hostile cursors: an error of their own, or a page of the same query', async () => {
    await grow(64);
    const params = { email: 'alice@example.com', limit: '5' };
    const { next = '' } = await search(trees, params);
    const bytes = parseBase64Url(next);
    const rejected = async (cursor: string, more: Record<string, string> = {}) =>
      expect(search(trees, { ...params, ...more, cursor })).rejects.toThrow(refusedWith('SEARCH_CURSOR'));
    await rejected('AAAA');
    await rejected(next, { email: 'bob@example.com' });
    await rejected(next, { tree: 'v1' });
    await rejected(encodeBase64Url(encodeUtf8('{"v1":{"below":1}}')));
    await rejected(encodeBase64Url(Uint8Array.from([...bytes, 0])));
    await rejected(encodeBase64Url(bytes.slice(0, -1)));
    await rejected(encodeBase64Url(bytes.with(17, 0xff))); // a size of 2^63 and more
    const all = new Set((await findAll(trees, { email: 'alice@example.com' })).found);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const cursor = encodeBase64Url(bytes.with(bit >> 3, (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))));
      const answer = await search(trees, { ...params, cursor }).catch((error: unknown) => error as Error);
      if (answer instanceof Error) expect(answer).toMatchObject({ code: 'SEARCH_CURSOR' });
      else for (const entry of answer.entries) expect(all).toContain(at(entry));
    }
  });

  test('the order of pages does not depend on how long they are', async () => {
    await grow(200);
    const whole = await findAll(trees, { san: 'alice@example.com', limit: '100' });
    for (const limit of ['1', '2', '31', '99']) {
      expect((await findAll(trees, { san: 'alice@example.com', limit })).found).toEqual(whole.found);
    }
  });

  test('"Public search index: 80 % SLO, gaps": dropped and rebuilt from the tiles, the index is equal, and says meanwhile how far it is', async () => {
    for (const kind of bodyKinds) {
      const tree = kind.endsWith('2') && kind !== 'intoto 0.0.2' ? 'v2' : 'v1';
      await trees.add(tree, bodyOf(kind, [alice]), {
        unlogged: [`sha256:${encodeHex(freshDigest())}`, 'pgp@example.com'],
      });
      await trees.add(tree, bodyOf(kind, [generateSigner('P-256')]));
    }
    await grow(900);
    const rows = await trees.indexRows();
    expect(rows.length).toBeGreaterThan(3000);
    const before = await findAll(trees, { email: 'alice@example.com' });
    const { next = '' } = await search(trees, { email: 'alice@example.com', limit: '1' });

    await trees.v1.dropIndex();
    await trees.v2.dropIndex();
    expect(await trees.indexRows()).toEqual([]);
    const dropped = await search(trees, { email: 'alice@example.com' });
    expect(dropped.entries).toEqual([]);
    expect(dropped.complete.map(({ treeSize }) => treeSize)).toEqual([0n, 0n]);
    // What needs no index is complete all the same.
    expect((await search(trees, { tree: 'v1' })).complete[0]?.treeSize).toBe(trees.v1.head().size);
    // A page of a larger index cannot be followed by one of an empty one.
    await expect(search(trees, { email: 'alice@example.com', limit: '1', cursor: next })).rejects.toThrow(
      refusedWith('SEARCH_INDEX'),
    );

    await trees.v1.reindex({ keysOf: recordKeysV1 });
    await trees.v2.reindex({ keysOf: recordKeysV2 });
    expect(await trees.indexRows()).toEqual(rows);
    expect(await findAll(trees, { email: 'alice@example.com' })).toEqual(before);
    expect((await search(trees, { email: 'alice@example.com', limit: '1', cursor: next })).entries).toHaveLength(1);
  });
});

test('"CVE-2026-24117": no search can make the server connect anywhere', async () => {
  const connect = vi.spyOn(Socket.prototype, 'connect').mockImplementation(() => {
    throw new Error('a search opened a connection');
  });
  const trees = await TestTrees.create();
  try {
    const certificate = makeCertificate({ sans: [{ kind: 'uri', value: 'http://127.0.0.1:1/san' }] });
    await trees.add('v2', bodyOf('hashedrekord 0.0.2', [certificate]));
    const url = 'http://127.0.0.1:1/key';
    for (const name of ['email', 'uri', 'san', 'issuer', 'repository', 'workflow']) {
      expect(await find(trees, { [name]: url })).toEqual([]);
    }
    expect(await find(trees, { uri: 'http://127.0.0.1:1/san' })).toEqual(['v2 0']);
    for (const name of ['key', 'certificate', 'digest', 'subject', 'uuid', 'cursor', 'publicKey']) {
      expect(() => parseSearchQuery({ [name]: url })).toThrow(refusedWith('SEARCH_QUERY'));
    }
    expect(connect).not.toHaveBeenCalled();
  } finally {
    connect.mockRestore();
    await trees.remove();
  }
});
