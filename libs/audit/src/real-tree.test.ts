// A tree that the engine of our own logs wrote: what it serves is intact, and so is what it keeps in its folder, as far as that goes.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { CryptoPort } from '#libs/crypto';
import { encodeUtf8 } from '#libs/encoding';
import { leafHash, parseEntryBundlePath, parseTilePath } from '#libs/merkle';
import { ed25519NoteSigner, ed25519NoteVerifier, encodeVerifierKey } from '#libs/note';
import { generateSigner, opensslCrypto, sha256 } from '#libs/openssl';
import {
  annexedEntriesFormat,
  encodeAnnexedEntry,
  folderObjects,
  openSqlStore,
  openTree,
  type SqlStore,
  type Tree,
} from '#libs/tlog';
import { changeObject, flipBit, temporaryFolders, writeObject } from '../testing/test-log.js';
import {
  folderSource,
  fsck,
  mirror,
  parseLogKey,
  readCheckpoint,
  type FsckReport,
  type LogSource,
  type LogTrust,
} from './index.js';

const hash: CryptoPort['hash'] = (algorithm, data) => opensslCrypto.hash(algorithm, data);
const origin = 'log.example';
const folders = temporaryFolders();
const key = generateSigner('ed25519');
const trust: LogTrust = {
  logKeys: [parseLogKey(encodeVerifierKey({ kind: 'ed25519', name: origin, key: key.publicKey }, hash))],
  nowMs: 0,
};
let folder: string;
let store: SqlStore;
let tree: Tree;

beforeAll(async () => {
  folder = folders.make();
  store = await openSqlStore({ file: join(folder, 'log.sqlite'), create: true });
  tree = await openTree({
    store,
    objects: folderObjects(join(folder, 'tiles')),
    name: 'log',
    origin,
    format: annexedEntriesFormat,
    signers: () => [ed25519NoteSigner(origin, key, hash)],
    verifier: ed25519NoteVerifier(origin, key.publicKey, opensslCrypto),
    now: Date.now,
    create: true,
  });
  await grow(600);
}, 120_000);
afterAll(async () => {
  await tree.close();
  await store.close();
  folders.removeAll();
});

const grow = (count: number) => {
  const from = Number(tree.head().size);
  const texts = Array.from({ length: count }, (_, i) => `entry ${from + i}`);
  return Promise.all(
    texts.map((text) => {
      const entry = encodeUtf8(text);
      const encode = (_index: bigint, timestampMs: bigint) =>
        encodeAnnexedEntry({ timestampMs, annex: encodeUtf8(`of ${text}`), entry });
      return tree.add({ identity: leafHash(sha256, entry), encode });
    }),
  );
};

/** The tree as a server would serve it. */
const served: LogSource = {
  location: 'http://log.example',
  folder: undefined,
  concurrency: 4,
  read: (path) => {
    if (path.startsWith('tile/entries/')) {
      const { index, width } = parseEntryBundlePath(path);
      return tree.readBundle(index, width);
    }
    if (path.startsWith('tile/annex/')) {
      const { index, width } = parseEntryBundlePath(path.replace('annex', 'entries'));
      return tree.readSidecar(index, width);
    }
    return tree.readTile(parseTilePath(path));
  },
  readNote: async () => encodeUtf8(tree.checkpoint()),
};
const check = async (source: LogSource): Promise<FsckReport> => {
  const head = await readCheckpoint(await source.readNote(), trust);
  return fsck({ source, layout: 'tlog-tiles', head });
};

describe('a tree of our own engine', () => {
  it('is intact as it is served, and when it grew', async () => {
    expect(await check(served)).toMatchObject({ outcome: 'intact', problems: [], entries: tree.head().size });
    await grow(30);
    expect(await check(served)).toMatchObject({ outcome: 'intact', entries: 630n });
  });

  it('is copied, byte for byte, with its annexes', async () => {
    const copy = folders.make();
    expect(await mirror({ source: served, folder: copy, trust })).toMatchObject({ head: { size: 630n } });
    expect(await check(folderSource(copy))).toMatchObject({ outcome: 'intact' });
    expect(new Uint8Array(readFileSync(join(copy, 'tile/annex/001')))).toEqual(await tree.readSidecar(1n, 256));
    await grow(200);
    expect(await mirror({ source: served, folder: copy, trust })).toMatchObject({ from: 630n, head: { size: 830n } });
    expect(await check(folderSource(copy))).toMatchObject({ outcome: 'intact', entries: 830n });
  });

  it('cannot be told intact from its folder, where the unfinished end is missing; damage can', async () => {
    const source = folderSource(join(folder, 'tiles', 'log'));
    // Full objects are stored in the background.
    await vi.waitFor(async () => expect(await source.read('tile/0/002', 1 << 13)).toBeDefined(), 10_000);
    const report = await check(source);
    expect(report).toMatchObject({ outcome: 'untold', problems: [] });
    expect(report.untold).toHaveLength(1);
    const copy = folders.make();
    for (const path of ['checkpoint', ...[0, 1, 2].flatMap((n) => [`tile/0/00${n}`, `tile/entries/00${n}`])]) {
      const bytes = (await source.read(path, 1 << 25)) ?? new Uint8Array();
      writeObject(copy, path, bytes);
    }
    changeObject(copy, 'tile/entries/002', flipBit(5));
    expect(await check(folderSource(copy))).toMatchObject({
      outcome: 'damaged',
      problems: [{ kind: 'disagree', object: 'tile/entries/002', logIndex: 512n }],
    });
  });
});
