import { leafHash, TILE_WIDTH, type Tile } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import type { Addition, Receipt, Waiter } from './assign.js';
import { storeError, TlogError } from './errors.js';
import { flushFull } from './flush.js';
import { findByKeys, type KeyMatches, type KeyQuery } from './find.js';
import { adoptHead, publishHead } from './head.js';
import { openState } from './open.js';
import { type ConsistencyProof, proveConsistency, proveInclusion, proveRecord, type Proof } from './prove.js';
import { readBundleRecords, readObject, readTileNodes, widthAt } from './read.js';
import { dropKeys, type ReindexOptions, reindexStep } from './reindex.js';
import { type Head, selectHead, selectIndexes } from './rows.js';
import { checkBundle } from './scrub.js';
import { encodeKeys, selectIndexedSize } from './search-rows.js';
import { sequence } from './sequence.js';
import { halt, type TreeParts, type TreeState } from './state.js';

export interface TreeOptions extends TreeParts {
  /** The tree may come into being now. */
  create?: boolean;
  /** Most additions that wait for a batch; beyond, `add` refuses with `TLOG_BUSY`. 4096. */
  maxWaiting?: number;
  /** Most additions of one batch. 512. */
  maxBatch?: number;
  /** The share of time that verifying stored objects may take while entries come in, 0 to 1. 0.01. */
  scrubShare?: number;
  /**
   * Hears of failures that no caller waits for: objects that could not be stored yet, and stored bytes that are wrong.
   */
  report?: (error: TlogError) => void;
}

/**
 * Opens a tree, and verifies what is stored before anything is signed on top of it.
 * @throws TlogError `TLOG_MISSING`, `TLOG_KEY`, `TLOG_ROLLED_BACK`, `TLOG_CORRUPT`, `TLOG_STORE`
 */
export async function openTree(options: TreeOptions): Promise<Tree> {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(options.name)) {
    throw new TlogError('TLOG_RANGE', `Cannot open tree ${JSON.stringify(options.name)}: a name is of a-z, 0-9 and -`);
  }
  const { create = false, maxWaiting = 4096, maxBatch = 512, scrubShare = 0.01, report = () => {}, ...parts } = options;
  const state = await openState(parts, create);
  return new Tree(state, { maxWaiting, maxBatch, scrubShare, report });
}

/** A log at work: it appends, proves and reads. All of it is safe to call concurrently. */
export class Tree {
  readonly #state: TreeState;
  readonly #limits: Required<Pick<TreeOptions, 'maxWaiting' | 'maxBatch' | 'scrubShare' | 'report'>>;
  #waiting: Waiter[] = [];
  #sequencing: Promise<void> | undefined;
  /** Publishing and proving the last batch. Never rejects. */
  #finishing: Promise<void> = Promise.resolve();
  /** The work on objects after the last batch. Never rejects. */
  #background: Promise<void> = Promise.resolve();
  /** The last step on the search keys. Never rejects. */
  #indexing: Promise<unknown> = Promise.resolve();
  #scrubCursor = 0n;
  /** In the milliseconds of `performance.now()` */
  #scrubNotBefore = 0;
  #closed = false;

  /** See `openTree`. */
  constructor(
    state: TreeState,
    limits: Required<Pick<TreeOptions, 'maxWaiting' | 'maxBatch' | 'scrubShare' | 'report'>>,
  ) {
    this.#state = state;
    this.#limits = limits;
  }

  get name(): string {
    return this.#state.name;
  }

  get origin(): string {
    return this.#state.origin;
  }

  /** Why the tree signs nothing any more, until it has been repaired and opened anew. */
  get halted(): TlogError | undefined {
    return this.#state.halted;
  }

  /** How many additions wait for the next batch. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Logs an entry, or finds the earlier one with this identity. Resolves when it is committed, published and proven:
   * with what came in while the batch before was being written, so in milliseconds when the log is idle.
   * @throws TlogError `TLOG_BUSY`, `TLOG_CLOSED`, `TLOG_RECORD`, `TLOG_STORE` (unknown whether it was stored: add it
   * again), `TLOG_CORRUPT` and `TLOG_ROLLED_BACK` (the tree is halted); whatever `addition.encode` throws
   */
  async add(addition: Addition): Promise<Receipt> {
    this.#checkOpen();
    if (this.#waiting.length >= this.#limits.maxWaiting) {
      throw new TlogError('TLOG_BUSY', `Cannot add entry: ${this.#waiting.length} are waiting already`);
    }
    const identity = addition.identity ?? leafHash(sha256, addition.leafInput);
    if (identity.length !== 32) {
      throw new TlogError('TLOG_RECORD', `Cannot add entry: its identity has ${identity.length} bytes, not 32`);
    }
    const keys = encodeKeys(addition.keys ?? []);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ addition, identity, keys, resolve, reject });
      this.#sequencing ??= this.#sequence();
    });
  }

  /** The newest published head. */
  head(): Head {
    const { size, rootHash, timestampMs, note } = this.#state.published;
    return { size, rootHash, timestampMs, note };
  }

  /** The newest published checkpoint, a signed note. */
  checkpoint(): string {
    return this.#state.published.note;
  }

  /**
   * Looks whether another process has appended, and makes its head ours. Only needed where several processes work on
   * one database; `add` does it by itself.
   * @throws TlogError as `add`
   */
  async refresh(): Promise<Head> {
    await this.#guarded('read head', async (state) => {
      const lock = await state.store.begin();
      try {
        const row = await selectHead(lock.query, state.id);
        if (row === undefined) throw new TlogError('TLOG_MISSING', `Cannot read tree ${state.name}: its row is gone`);
        if (row.head.note !== state.committed.note) await adoptHead(state, row);
      } finally {
        await lock.rollback();
      }
      const { committed } = state;
      if (state.published.note === committed.note) return;
      await publishHead(state, committed);
      state.published = committed;
    });
    return this.head();
  }

  /**
   * The bytes of a tile of the published tree, at its full width or any smaller one. Undefined beyond the tree.
   * @throws TlogError `TLOG_CORRUPT`, `TLOG_STORE`
   */
  async readTile({ level, index, width }: Tile): Promise<Uint8Array | undefined> {
    const head = this.#state.published;
    if (!isWidth(width) || width > widthAt(level, index, head.size)) return undefined;
    return this.#guarded('read tile', async (state) => {
      const { bytes } = await readTileNodes(state, head, level, index);
      return bytes.slice(0, width * 32);
    });
  }

  /**
   * The bytes of an entry bundle of the published tree, at its full width or any smaller one. Undefined beyond the
   * tree. A full one is handed out as it is stored, as by any web server that serves the folder: whoever reads it compares it
   * with the tiles, and so does `scrub`, which would stop the tree. To hash 256 entries for each reader again proves less.
   * @throws TlogError `TLOG_CORRUPT`, `TLOG_STORE`
   */
  async readBundle(index: bigint, width: number): Promise<Uint8Array | undefined> {
    const { bundlePath, encodeBundle } = this.#state.format;
    return this.#readSpan(index, width, bundlePath, encodeBundle);
  }

  /**
   * The bytes of what lies beside an entry bundle, see `TreeFormat.sidecar`, at the bundle's full width or any smaller
   * one. Undefined beyond the tree, or if the format has no sidecars. A full one is handed out as it is stored.
   * @throws TlogError `TLOG_CORRUPT`, `TLOG_STORE`
   */
  async readSidecar(index: bigint, width: number): Promise<Uint8Array | undefined> {
    const { sidecar } = this.#state.format;
    return sidecar && this.#readSpan(index, width, sidecar.path, sidecar.encode);
  }

  /**
   * The records of the entries [start, end) of the published tree.
   * @throws TlogError `TLOG_RANGE`, `TLOG_CORRUPT`, `TLOG_STORE`
   */
  async readRecords(start: bigint, end: bigint): Promise<Uint8Array[]> {
    const { size } = this.#state.published;
    if (start < 0n || start > end || end > size) {
      throw new TlogError('TLOG_RANGE', `Cannot read entries ${start} to ${end}: the tree has ${size}`);
    }
    return this.#guarded('read entries', async (state) => {
      const width = BigInt(TILE_WIDTH);
      const records: Uint8Array[] = [];
      for (let at = start; at < end; at = (at / width + 1n) * width) {
        const bundle = at / width;
        const until = end - bundle * width < width ? Number(end - bundle * width) : TILE_WIDTH;
        records.push(...(await readBundleRecords(state, bundle, until, Number(at % width))));
      }
      return records;
    });
  }

  /**
   * The log index of an identity or a leaf hash, if the published tree has it.
   * @throws TlogError `TLOG_STORE`
   */
  async findIndex(identity: Uint8Array): Promise<bigint | undefined> {
    const { size } = this.#state.published;
    return this.#guarded('find entry', async (state) => {
      const [index] = (await selectIndexes(state.store.read, state.id, [identity])).values();
      return index === undefined || index >= size ? undefined : index;
    });
  }

  /**
   * Log indexes of entries of the published tree by their search keys, the newest first. The index only suggests: another
   * text may share a key, so compare with the records. See `indexedSize` for how far back none is missing.
   * @throws TlogError `TLOG_RANGE`, `TLOG_STORE`
   */
  async findByKeys(query: KeyQuery): Promise<KeyMatches> {
    const { size } = this.#state.published;
    return this.#guarded('search', ({ store, id }) => findByKeys(store.read, id, size, query));
  }

  /**
   * Up to which size the search keys are complete: that of the published tree, unless `reindex` has work to do.
   * @throws TlogError `TLOG_STORE`
   */
  async indexedSize(): Promise<bigint> {
    // The index moves with the commit: what is read after the published size covers at least that.
    const { size } = this.#state.published;
    const indexed = await this.#guarded('search', ({ store, id }) => selectIndexedSize(store.read, id));
    return indexed < size ? indexed : size;
  }

  /**
   * Completes the search keys out of stored records, from `indexedSize` on, while entries keep coming in. Each step is a
   * transaction of its own: a crash leaves the steps before it, and the next call goes on there. Nothing to do takes no
   * time.
   * @throws TlogError `TLOG_CLOSED`, `TLOG_RECORD` for too many keys, `TLOG_CORRUPT`; `TLOG_STORE`, also with what
   * `keysOf` threw as its cause
   */
  async reindex({ keysOf, progress }: ReindexOptions): Promise<void> {
    let step: Awaited<ReturnType<typeof reindexStep>> | undefined;
    do {
      const ready = step?.ready;
      step = await this.#indexWork('rebuild search keys', (state) => reindexStep(state, keysOf, ready));
      progress?.(step.done, this.#state.committed.size);
    } while (!step.complete);
  }

  /**
   * Forgets all search keys of this tree: the index then is complete up to 0, until `reindex` has made it anew.
   * @throws TlogError `TLOG_CLOSED`, `TLOG_STORE`
   */
  async dropIndex(): Promise<void> {
    return this.#indexWork('drop search keys', dropKeys);
  }

  /**
   * Proves entry `index` in the published tree of `size` entries; verified before it is returned.
   * @throws TlogError `TLOG_RANGE`, `TLOG_CORRUPT`, `TLOG_STORE`
   */
  async proveInclusion(index: bigint, size: bigint): Promise<Proof & { leafHash: Uint8Array }> {
    return this.#guarded('prove inclusion', (state) => proveInclusion(state, state.published, index, size));
  }

  /**
   * Proves the tree of `first` entries to be a prefix of that of `second`; verified before it is returned.
   * @throws TlogError `TLOG_RANGE`, also for `first` 0; `TLOG_CORRUPT`, `TLOG_STORE`
   */
  async proveConsistency(first: bigint, second: bigint): Promise<ConsistencyProof> {
    return this.#guarded('prove consistency', (state) => proveConsistency(state, state.published, first, second));
  }

  /**
   * The receipt of an entry that is in the published tree, as `add` would give it again.
   * @throws TlogError `TLOG_RANGE`, `TLOG_CORRUPT`, `TLOG_STORE`
   */
  async receipt(index: bigint): Promise<Receipt> {
    return this.#guarded('read entry', async (state) => {
      const head = state.published;
      const { record, leafHash, proof } = await proveRecord(state, head, index);
      return { index, record, leafHash, duplicate: true, proof, checkpoint: head.note };
    });
  }

  /**
   * Verifies one more bundle of those in the object store, with its tiles; over and over, from the first to the last.
   * For the owner's idle hours; while entries come in, the tree does it by itself. Returns which bundle it was, or
   * undefined if there is none.
   * @throws TlogError `TLOG_CORRUPT`, and halts the tree; `TLOG_STORE`
   */
  async scrub(): Promise<bigint | undefined> {
    return this.#guarded('verify stored objects', async (state) => {
      if (state.durableBundles === 0n) return undefined;
      if (this.#scrubCursor >= state.durableBundles) this.#scrubCursor = 0n;
      const bundle = this.#scrubCursor++;
      await checkBundle(state, state.committed, bundle);
      return bundle;
    });
  }

  /**
   * Refuses new entries, finishes those that wait, and the work on objects. The stores stay open: they are their
   * owner's.
   */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#sequencing;
    await this.#finishing;
    await this.#background;
    await this.#indexing;
  }

  #checkOpen(action = 'add entry'): void {
    if (this.#closed) throw new TlogError('TLOG_CLOSED', `Cannot ${action}: tree ${this.name} is closed`);
    const { halted } = this.#state;
    if (halted === undefined) return;
    const { place, message } = halted;
    throw new TlogError(halted.code, `Cannot ${action}: the tree was stopped. ${message}`, {
      cause: halted,
      ...(place && { place }),
    });
  }

  async #sequence(): Promise<void> {
    let hurried = false;
    while (this.#waiting.length > 0) {
      // What arrived in the same turn of the event loop belongs to the same batch.
      await new Promise((resolve) => setImmediate(resolve));
      const batch = this.#waiting.splice(0, this.#limits.maxBatch);
      if (this.#state.halted !== undefined) {
        for (const waiter of batch) waiter.reject(this.#state.halted);
        continue;
      }
      const finish = await sequence(this.#state, batch, { hurried });
      hurried = true;
      // One batch ahead of its proofs, not more; and in order, so that no checkpoint is published before an older one.
      await this.#finishing;
      this.#finishing = finish();
      // One batch ahead of the objects, not more: or a slow object store would let the database grow without a bound.
      await this.#background;
      this.#background = this.#workOnObjects();
    }
    this.#sequencing = undefined;
  }

  /**
   * After a batch: full bundles to the object store, and now and then a look at an old one. What fails is tried again
   * after the next batch.
   */
  async #workOnObjects(): Promise<void> {
    if (this.#state.halted !== undefined) return;
    try {
      await this.#guarded('store objects', (state) => flushFull(state, state.committed));
      if (performance.now() < this.#scrubNotBefore || this.#limits.scrubShare <= 0) return;
      const start = performance.now();
      await this.scrub();
      const end = performance.now();
      this.#scrubNotBefore = end + (end - start) * (1 / this.#limits.scrubShare - 1);
    } catch (error) {
      this.#limits.report(storeError('store objects', error));
    }
  }

  /** A piece of work on the search keys, after the one before, that `close` waits for. */
  #indexWork<T>(action: string, work: (state: TreeState) => Promise<T>): Promise<T> {
    const next = this.#indexing.then(() => {
      this.#checkOpen(action);
      return this.#guarded(action, work);
    });
    this.#indexing = next.catch(() => undefined);
    return next;
  }

  /** A bundle or its sidecar: the object if it is durable and full, else made from the records. */
  async #readSpan(
    index: bigint,
    width: number,
    pathOf: (index: bigint, width: number) => string,
    encode: (records: readonly Uint8Array[]) => Uint8Array,
  ): Promise<Uint8Array | undefined> {
    if (!isWidth(width) || width > widthAt(0, index, this.#state.published.size)) return undefined;
    return this.#guarded('read bundle', async (state) => {
      if (width === TILE_WIDTH && index < state.durableBundles) return readObject(state, pathOf(index, width));
      return encode(await readBundleRecords(state, index, width));
    });
  }

  /** Gives errors their meaning: of a store, or of wrong bytes, which stop the tree. */
  async #guarded<T>(action: string, work: (state: TreeState) => Promise<T>): Promise<T> {
    try {
      return await work(this.#state);
    } catch (error) {
      throw halt(this.#state, storeError(`${action} of tree ${this.name}`, error));
    }
  }
}

function isWidth(width: number): boolean {
  return Number.isInteger(width) && width >= 1 && width <= TILE_WIDTH;
}
