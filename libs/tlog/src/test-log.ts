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
import { entriesFormat } from './format.js';
import { folderObjects, type ObjectStore } from './objects.js';
import { openSqlStore, type SqlStore } from './sql-store.js';
import type { Receipt } from './sequence.js';
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
  /** What was acknowledged: record by index. */
  readonly acknowledged = new Map<bigint, Uint8Array>();
  /** Every checkpoint that was seen. */
  readonly checkpoints = new Set<string>();
  #stores: SqlStore[] = [];
  #trees: Tree[] = [];

  static async create(options: Partial<TreeOptions> = {}): Promise<{ log: TestLog; tree: Tree }> {
    const log = new TestLog();
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
      format: entriesFormat,
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
    const record = encodeUtf8(text);
    const receipt = await tree.add({ identity: leafHash(sha256, record), encode: () => record });
    assert.deepEqual(parseUtf8(receipt.record), text);
    const { index, proof } = receipt;
    verifyInclusion(sha256, {
      index,
      size: proof.size,
      leafHash: leafHash(sha256, record),
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

    const records = await readAllBundles(tree, head.size);
    assert.equal(BigInt(records.length), head.size, 'entries are missing');
    assert.deepEqual(await tree.readRecords(0n, head.size), records);
    for (const [index, record] of this.acknowledged) {
      assert.deepEqual(records[Number(index)], record, `acknowledged entry ${index} is not there`);
    }
    assert.equal(new Set(records.map((record) => parseUtf8(record))).size, records.length, 'an entry is there twice');

    // The tree made anew from the records, against tiles and root.
    const nodes = new Map<string, Uint8Array>();
    const range = CompactRange.empty(sha256);
    for (const record of records) {
      range.append(leafHash(sha256, record), (level, index, hash) => nodes.set(`${level}/${index}`, hash));
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

  private async checkProofs(tree: Tree, records: readonly Uint8Array[]): Promise<void> {
    const { size: second, rootHash: secondRoot } = tree.head();
    for (const sample of samples(second)) {
      const record = records[Number(sample)] ?? assert.fail('no such record');
      assert.equal(await tree.findIndex(leafHash(sha256, record)), sample);
      for (const size of [sample + 1n, second]) {
        const { rootHash, hashes } = await tree.proveInclusion(sample, size);
        verifyInclusion(sha256, {
          index: sample,
          size,
          leafHash: leafHash(sha256, record),
          proof: hashes,
          root: rootHash,
        });
      }
      const { hashes, firstRoot } = await tree.proveConsistency(sample + 1n, second);
      verifyConsistency(sha256, { first: sample + 1n, second, firstRoot, secondRoot, proof: hashes });
    }
  }
}

async function readAllBundles(tree: Tree, size: bigint): Promise<Uint8Array[]> {
  const records: Uint8Array[] = [];
  for (let index = 0n; index * 256n < size; index++) {
    const left = size - index * 256n;
    const width = left < 256n ? Number(left) : 256;
    const bytes = (await tree.readBundle(index, width)) ?? assert.fail(`bundle ${index} is missing`);
    records.push(...entriesFormat.parseBundle(bytes, width));
    if (width < 256) assert.equal(await tree.readBundle(index, width + 1), undefined);
  }
  return records;
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
