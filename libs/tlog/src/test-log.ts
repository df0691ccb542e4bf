import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CryptoPort } from '#libs/crypto';
import { encodeUtf8, equalBytes, parseUtf8 } from '#libs/encoding';
import {
  CompactRange,
  hashFromTile,
  leafHash,
  rootFromNodes,
  tilesOfSize,
  verifyConsistency,
  verifyInclusion,
} from '#libs/merkle';
import { ed25519NoteSigner, ed25519NoteVerifier, parseCheckpoint, parseNote, verifyCheckpoint } from '#libs/note';
import { generateSigner, opensslCrypto, sha256 } from '#libs/openssl';
import { encodeAnnexedEntry } from './annexed-entry.js';
import { entriesFormat, type TreeFormat } from './format.js';
import { folderObjects, type ObjectStore } from './objects.js';
import { keyOf } from './search-rows.js';
import { openSqlStore, type SqlStore } from './sql-store.js';
import type { Receipt } from './assign.js';
import { openTree, type Tree, type TreeOptions } from './tree.js';

const ORIGIN = 'log.example';

/** As a function of its own. */
export const hash: CryptoPort['hash'] = (algorithm, data) => opensslCrypto.hash(algorithm, data);

/**
 * A log in a folder of its own, with a clock that stands still, that remembers all it was told and can check that all
 * of it is still true.
 */
export class TestLog {
  readonly folder = mkdtempSync(join(tmpdir(), 'tlog-'));
  readonly key = generateSigner('ed25519');
  readonly signer = ed25519NoteSigner(ORIGIN, this.key, hash);
  readonly verifier = ed25519NoteVerifier(ORIGIN, this.key.publicKey, opensslCrypto);
  nowMs = 1_750_000_000_000;
  /** The log's own; a single `open` may try another one. */
  format: TreeFormat = entriesFormat;
  /** What was acknowledged: record by index. */
  readonly acknowledged = new Map<bigint, Uint8Array>();
  /** Every checkpoint that was seen. */
  readonly checkpoints = new Set<string>();
  #stores: SqlStore[] = [];
  #trees: Tree[] = [];

  static async create(options: Partial<TreeOptions> = {}): Promise<{ log: TestLog; tree: Tree }> {
    const log = new TestLog();
    if (options.format !== undefined) log.format = options.format;
    return { log, tree: await log.open({ create: true, ...options }) };
  }

  get databaseFile(): string {
    return join(this.folder, 'log.sqlite');
  }

  get objects(): ObjectStore {
    return folderObjects(join(this.folder, 'objects'));
  }

  async openStore(): Promise<SqlStore> {
    const store = await openSqlStore({ file: this.databaseFile, create: true });
    this.#stores.push(store);
    return store;
  }

  /** Another front end on the same files; `restart` first for the only one. */
  async open(options: Partial<TreeOptions> = {}): Promise<Tree> {
    const tree = await openTree({
      store: options.store ?? (await this.openStore()),
      objects: this.objects,
      name: 'log',
      origin: ORIGIN,
      format: this.format,
      signers: () => [this.signer],
      verifier: this.verifier,
      now: () => this.nowMs,
      scrubShare: 0,
      ...options,
    });
    this.#trees.push(tree);
    return tree;
  }

  /** Ends all front ends, whatever state they are in, as a process ends. */
  async stop(): Promise<void> {
    for (const tree of this.#trees.splice(0)) await tree.close();
    for (const store of this.#stores.splice(0)) await store.close();
  }

  async restart(options: Partial<TreeOptions> = {}): Promise<Tree> {
    await this.stop();
    return this.open(options);
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Copies the whole folder, or gives it back as it was. */
  copyTo(folder: string): void {
    cpSync(this.folder, folder, { recursive: true });
  }

  /** Adds an entry and remembers the receipt, which must hold. */
  async add(tree: Tree, text: string): Promise<Receipt> {
    const entry = encodeUtf8(text);
    const receipt = await tree.add({
      identity: leafHash(sha256, entry),
      encode: (_index, timestampMs) => this.#recordOf(text, timestampMs),
      keys: this.keysOf(text),
    });
    const { index, proof, record } = receipt;
    assert.equal(this.textOf(record), text);
    verifyInclusion(sha256, {
      index,
      size: proof.size,
      leafHash: leafHash(sha256, entry),
      proof: proof.hashes,
      root: proof.rootHash,
    });
    const { size, rootHash } = await verifyCheckpoint(receipt.checkpoint, [this.verifier], { origin: ORIGIN });
    assert.equal(size, proof.size);
    assert.deepEqual(rootHash, proof.rootHash);
    const before = this.acknowledged.get(index);
    assert.ok(before === undefined || equalBytes(before, record), `index ${index} was given to two entries`);
    this.acknowledged.set(index, record);
    this.checkpoints.add(receipt.checkpoint);
    return receipt;
  }

  /** By what an entry can be found: its text, one of a few groups, and a word that all have, twice. */
  keysOf(text: string): string[] {
    return ['all', `text:${text}`, `group:${text.at(-1) ?? ''}`, 'all'];
  }

  /** The entry of a record, as `add` was given it. */
  textOf(record: Uint8Array): string {
    return parseUtf8(this.format.leafInput(record));
  }

  #recordOf(text: string, timestampMs: bigint): Uint8Array {
    const entry = encodeUtf8(text);
    return this.format.sidecar
      ? encodeAnnexedEntry({ timestampMs, annex: encodeUtf8(`annex of ${text}`), entry })
      : entry;
  }

  /** Adds entries that arrive together. */
  addAll(tree: Tree, texts: readonly string[]): Promise<Receipt[]> {
    return Promise.all(texts.map((text) => this.add(tree, text)));
  }

  /**
   * Verifies the whole log again, as an auditor would who has kept everything: all leaves, all tiles, proofs, and that
   * each checkpoint ever seen is of a prefix of this tree.
   */
  async check(tree: Tree): Promise<void> {
    const head = tree.head();
    assert.equal(head.note, tree.checkpoint());
    const checkpoint = await verifyCheckpoint(head.note, [this.verifier], { origin: ORIGIN });
    assert.equal(checkpoint.size, head.size);
    assert.deepEqual(checkpoint.rootHash, head.rootHash);
    assert.equal(parseUtf8((await this.objects.get('log/checkpoint')) ?? new Uint8Array()), head.note);
    this.checkpoints.add(head.note);

    const records = await this.#readAllBundles(tree, head.size);
    assert.equal(BigInt(records.length), head.size, 'entries are missing');
    assert.deepEqual(await tree.readRecords(0n, head.size), records);
    for (const [index, record] of this.acknowledged) {
      assert.deepEqual(records[Number(index)], record, `acknowledged entry ${index} is not there`);
    }
    assert.equal(new Set(records.map((record) => this.textOf(record))).size, records.length, 'an entry is there twice');

    // The tree made anew from the records, against tiles and root.
    const nodes = new Map<string, Uint8Array>();
    const range = CompactRange.empty(sha256);
    for (const record of records) {
      range.append(leafHash(sha256, this.format.leafInput(record)), (level, index, hash) =>
        nodes.set(`${level}/${index}`, hash),
      );
    }
    const readNode = (level: number, index: bigint) => nodes.get(`${level}/${index}`) ?? assert.fail('no such node');
    assert.deepEqual(range.root(), head.rootHash);
    for (const { level, index, width } of tilesOfSize(head.size)) {
      const bytes = (await tree.readTile({ level, index, width })) ?? assert.fail(`tile ${level}/${index} is missing`);
      assert.equal(bytes.length, width * 32);
      for (let at = 0; at < width; at++) {
        const expected = readNode(8 * level, index * 256n + BigInt(at));
        assert.ok(equalBytes(hashFromTile(sha256, bytes, at, 1), expected), `tile ${level}/${index} hash ${at}`);
      }
      if (width < 256) assert.equal(await tree.readTile({ level, index, width: width + 1 }), undefined);
    }

    for (const note of this.checkpoints) {
      const { size, rootHash } = parseCheckpoint(parseNote(note).text);
      assert.ok(size <= head.size, `checkpoint of size ${size} was seen, the tree has ${head.size}`);
      assert.deepEqual(rootFromNodes(sha256, size, readNode), rootHash, `another root of size ${size} was seen`);
    }
    await this.checkProofs(tree, records);
  }

  /**
   * Verifies the search index against the records: complete up to the head, each key of each entry once, and nothing
   * else. For logs whose entries all came in by `add`.
   */
  async checkIndex(tree: Tree): Promise<void> {
    const { size } = tree.head();
    assert.equal(await tree.indexedSize(), size, 'the index is not complete');
    const records = await tree.readRecords(0n, size);
    const expected = records.flatMap((record, index) =>
      [...new Set(this.keysOf(this.textOf(record)))].map((text) => `${index} ${keyOf(text)}`),
    );
    assert.deepEqual((await this.searchRows()).sort(), expected.sort());
    for (const index of samples(size)) {
      const text = this.textOf(records[Number(index)] ?? assert.fail('no such record'));
      const found = await tree.findByKeys({ keys: [`text:${text}`, 'all'], match: 'all', below: size, limit: 10 });
      assert.deepEqual(found, { indexes: [index], reached: 0n });
    }
  }

  /** All that is in the search index, as `<index> <key>`. */
  async searchRows(): Promise<string[]> {
    const store = this.#stores.at(-1) ?? assert.fail('no store is open');
    const rows = await store.read<{ row: string }>(`SELECT idx || ' ' || key AS row FROM search_key`);
    return rows.map(({ row }) => row);
  }

  async #readAllBundles(tree: Tree, size: bigint): Promise<Uint8Array[]> {
    const { parseBundle, sidecar } = this.format;
    const records: Uint8Array[] = [];
    for (let index = 0n; index * 256n < size; index++) {
      const left = size - index * 256n;
      const width = left < 256n ? Number(left) : 256;
      const bytes = (await tree.readBundle(index, width)) ?? assert.fail(`bundle ${index} is missing`);
      const parts = parseBundle(bytes, width);
      const beside = await tree.readSidecar(index, width);
      assert.equal(beside === undefined, sidecar === undefined);
      records.push(
        ...(sidecar === undefined || beside === undefined
          ? parts
          : sidecar.join(parts, beside, { from: 0, to: width })),
      );
      if (width < 256) {
        assert.equal(await tree.readBundle(index, width + 1), undefined);
        assert.equal(await tree.readSidecar(index, width + 1), undefined);
      }
    }
    return records;
  }

  private async checkProofs(tree: Tree, records: readonly Uint8Array[]): Promise<void> {
    const { size: second, rootHash: secondRoot } = tree.head();
    for (const sample of samples(second)) {
      const record = records[Number(sample)] ?? assert.fail('no such record');
      const leaf = leafHash(sha256, this.format.leafInput(record));
      assert.equal(await tree.findIndex(leaf), sample);
      for (const size of [sample + 1n, second]) {
        const { rootHash, hashes } = await tree.proveInclusion(sample, size);
        verifyInclusion(sha256, { index: sample, size, leafHash: leaf, proof: hashes, root: rootHash });
      }
      const { hashes, firstRoot } = await tree.proveConsistency(sample + 1n, second);
      verifyConsistency(sha256, { first: sample + 1n, second, firstRoot, secondRoot, proof: hashes });
    }
  }
}

/** Indexes where trees have their corners. */
function samples(size: bigint): bigint[] {
  const corners = [
    0n,
    1n,
    2n,
    127n,
    254n,
    255n,
    256n,
    257n,
    511n,
    512n,
    65535n,
    65536n,
    size / 3n,
    size / 2n,
    size - 2n,
    size - 1n,
  ];
  return [...new Set(corners)].filter((index) => index >= 0n && index < size);
}

/** Where a store is to fail. */
export interface Fault {
  /** Which operation, counted from 0 over database and objects. */
  at: number;
  /** Whether the operation still takes effect. */
  when: 'before' | 'after';
  /** Once, or for good: as if the process had died there. */
  dies: boolean;
}

/** Counts the operations of both stores, and lets one of them fail. */
export class FaultyStores {
  count = 0;
  /** What each operation was, for messages. */
  readonly operations: string[] = [];
  /** Counts and fails only while it is on. */
  armed = false;
  fired = false;

  constructor(readonly fault: Fault | undefined) {}

  sql(inner: SqlStore): SqlStore {
    return {
      begin: async () => {
        const transaction = await this.#through(
          'begin',
          () => inner.begin(),
          (lost) => lost.rollback(),
        );
        return {
          query: (sql, parameters) => this.#through(sql.trim().slice(0, 30), () => transaction.query(sql, parameters)),
          // A process that dies takes its transaction with it: for the stand-in that goes on living, roll back.
          commit: () =>
            this.#through(
              'COMMIT',
              () => transaction.commit(),
              undefined,
              () => transaction.rollback(),
            ),
          rollback: () => this.#ending(() => transaction.rollback()),
        };
      },
      read: (sql, parameters) => this.#through(sql.trim().slice(0, 30), () => inner.read(sql, parameters)),
      close: () => inner.close(),
    };
  }

  objects(inner: ObjectStore): ObjectStore {
    return {
      get: (path) => this.#through(`get ${path}`, () => inner.get(path)),
      has: (path) => this.#through(`has ${path}`, () => inner.has(path)),
      putIfAbsent: (path, bytes) => this.#through(`put ${path}`, () => inner.putIfAbsent(path, bytes)),
      putCheckpoint: (path, bytes) => this.#through(`put ${path}`, () => inner.putCheckpoint(path, bytes)),
    };
  }

  async #through<T>(
    name: string,
    operation: () => Promise<T>,
    undo?: (result: T) => Promise<void>,
    instead?: () => Promise<void>,
  ): Promise<T> {
    if (!this.armed) return operation();
    const hit = this.fault !== undefined && this.count === this.fault.at;
    this.count++;
    this.operations.push(name);
    if (this.fired && this.fault?.dies) {
      await instead?.();
      throw new Error('the process is dead');
    }
    if (!hit) return operation();
    this.fired = true;
    if (this.fault.when === 'before') {
      await instead?.();
    } else {
      const result = await operation();
      await undo?.(result);
    }
    throw new Error(`fault ${this.fault.when} ${name}`);
  }

  /** A rollback always ends the transaction, also that of a dead process. */
  async #ending(operation: () => Promise<void>): Promise<void> {
    await operation();
    if (this.fired && this.fault?.dies) throw new Error('the process is dead');
  }
}
