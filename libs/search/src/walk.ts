import { leafHash as leafHashOf } from '#libs/merkle';
import { equalBytes, encodeHex } from '#libs/encoding';
import { sha256 } from '#libs/openssl';
import type { Tree } from '#libs/tlog';
import type { RecordFacts } from './facts.js';
import { inTime, matches, type SearchQuery, type TreeName } from './query.js';
import { firstIndexFrom } from './time-bound.js';

/** What a search asks of a tree. */
export type SearchedTree = Pick<
  Tree,
  'origin' | 'head' | 'readRecords' | 'findIndex' | 'findByKeys' | 'indexedSize' | 'proveConsistency'
>;

/** A tree that can be searched. */
export interface SearchableTree {
  readonly name: TreeName;
  readonly tree: SearchedTree;
  readonly facts: (record: Uint8Array) => RecordFacts;
  /** What the tree's API calls an entry; the leaf hash in hex if it has no name of its own. */
  readonly uuidOf?: (leafHash: Uint8Array) => string;
}

/** An entry that was searched for: read from its tree, and compared with the query. */
export interface FoundEntry {
  readonly tree: TreeName;
  readonly logIndex: bigint;
  readonly uuid: string;
  /** 32 bytes */
  readonly leafHash: Uint8Array;
  readonly facts: RecordFacts;
}

/** How much of the trees one page may look at, shared by all trees. */
export interface Budget {
  /** Records that may still be read. */
  records: number;
}

/**
 * Candidates are read so many at a time: a page of the usual size. Each is likely to lie in a bundle of its own, and every file takes four turns of the event
 * loop, which is busy with entries that come in: together they take these turns once.
 */
const READ_AT_ONCE = 24;
/** Entries of a listing, which lie side by side, are read so many at a time. */
const LIST_AT_ONCE = 32n;
const BUNDLE = 256n;

/** The entries of one tree that match a query, newest first. */
export class TreeWalk {
  readonly size: bigint;
  #below: bigint;
  /** Found, not taken yet; newest first. */
  #found: FoundEntry[] = [];
  /** Suggested by the index, not read yet; newest first. */
  #suggested: bigint[] = [];
  /** From where the index is to be asked next. */
  #unsuggested: bigint;
  /** The index gave up before it found as many as were asked for. */
  #tired = false;

  private constructor(
    private readonly of: SearchableTree,
    private readonly query: SearchQuery,
    private readonly budget: Budget,
    { size, below }: { size: bigint; below: bigint },
  ) {
    this.size = size;
    this.#below = below;
    this.#unsuggested = below;
  }

  /** Entries of the first `size`, and below `below`; `first`: of a first page, which has yet to find the end of the time range. */
  static async start(
    of: SearchableTree,
    query: SearchQuery,
    budget: Budget,
    position: { size: bigint; below: bigint; first: boolean },
  ): Promise<TreeWalk> {
    const { size, first } = position;
    let { below } = position;
    if (first && query.beforeMs !== undefined && !isDirect(query)) {
      const bound = await firstIndexFrom(of, query.beforeMs, below);
      if (bound < below) below = bound;
    }
    return new TreeWalk(of, query, budget, { size, below });
  }

  get name(): TreeName {
    return this.of.name;
  }

  /** From where the next page goes on; 0 if there is nothing more. */
  get below(): bigint {
    const [next] = this.#found;
    return next === undefined ? this.#below : next.logIndex + 1n;
  }

  /** Nothing more, as opposed to: nothing more was looked for. */
  get ended(): boolean {
    return this.#found.length === 0 && this.#below === 0n;
  }

  /** The newest entry not taken. Undefined at the end, and where this page has looked at enough. */
  async peek(): Promise<FoundEntry | undefined> {
    while (this.#found.length === 0 && this.#below > 0n && this.budget.records > 0) {
      const indexes = await this.#nextIndexes();
      if (indexes.length > 0) this.#found = this.#matching(await this.#read(indexes));
      else if (this.#tired) break;
    }
    return this.#found[0];
  }

  take(): void {
    this.#found.shift();
  }

  /** The next candidates, newest first, and everything above the last of them is then dealt with. */
  async #nextIndexes(): Promise<bigint[]> {
    if (isDirect(this.query)) {
      const index = await this.#directIndex();
      const below = this.#below;
      this.#below = 0n;
      return index === undefined || index >= below ? [] : [index];
    }
    const keys = lookupKeys(this.query);
    return keys.length > 0 ? this.#suggestedIndexes(keys) : this.#adjacentIndexes();
  }

  async #directIndex(): Promise<bigint | undefined> {
    const { logIndex, leafHash } = this.query;
    return logIndex ?? (leafHash === undefined ? undefined : this.of.tree.findIndex(leafHash));
  }

  async #suggestedIndexes(keys: readonly string[]): Promise<bigint[]> {
    if (this.#suggested.length === 0) {
      if (this.#tired) return [];
      const limit = this.query.limit + 1;
      const below = this.#unsuggested;
      const { indexes, reached } = await this.of.tree.findByKeys({ keys, match: 'all', below, limit });
      if (reached >= below) throw new Error(`The index of tree ${this.name} did not get below ${below}`);
      this.#suggested = indexes;
      this.#unsuggested = reached;
      this.#tired = indexes.length < limit && reached > 0n;
      if (indexes.length === 0) this.#below = reached;
    }
    const indexes = this.#suggested.splice(0, Math.min(READ_AT_ONCE, this.budget.records));
    const last = indexes.at(-1);
    if (last !== undefined) this.#below = this.#suggested.length === 0 ? this.#unsuggested : last;
    return indexes;
  }

  #adjacentIndexes(): bigint[] {
    const end = this.#below;
    const bundleStart = ((end - 1n) / BUNDLE) * BUNDLE;
    const start = end - bundleStart > LIST_AT_ONCE ? end - LIST_AT_ONCE : bundleStart;
    this.#below = start;
    return Array.from({ length: Number(end - start) }, (_, at) => end - 1n - BigInt(at));
  }

  /** Reads each bundle once. */
  async #read(indexes: readonly bigint[]): Promise<{ index: bigint; record: Uint8Array }[]> {
    this.budget.records -= indexes.length;
    const groups = new Map<bigint, bigint[]>();
    for (const index of indexes) {
      const group = groups.get(index / BUNDLE);
      if (group === undefined) groups.set(index / BUNDLE, [index]);
      else group.push(index);
    }
    const read = [...groups.values()].map(async (group) => {
      const first = group.at(-1) ?? 0n; // newest first
      const records = await this.of.tree.readRecords(first, (group[0] ?? 0n) + 1n);
      return group.map((index) => {
        const record = records[Number(index - first)];
        if (record === undefined) throw new Error(`Entry ${index} of tree ${this.name} was not read`);
        return { index, record };
      });
    });
    return (await Promise.all(read)).flat();
  }

  /** The index only suggests: what is given was compared with the query. */
  #matching(read: readonly { index: bigint; record: Uint8Array }[]): FoundEntry[] {
    const { query } = this;
    const found: FoundEntry[] = [];
    for (const { index, record } of read) {
      const facts = this.of.facts(record);
      if (query.afterMs !== undefined && facts.timestampMs < query.afterMs) {
        this.#below = 0n; // times never run backwards: all that is older is too old
        break;
      }
      if (!inTime(facts, query) || !matches(facts, query)) continue;
      const leafHash = leafHashOf(sha256, facts.leaf);
      if (query.leafHash !== undefined && !equalBytes(leafHash, query.leafHash)) continue;
      const uuid = this.of.uuidOf?.(leafHash) ?? encodeHex(leafHash);
      if (query.entryId !== undefined && uuid !== query.entryId) continue;
      found.push({ tree: this.name, logIndex: index, uuid, leafHash, facts });
    }
    return found;
  }
}

/** Whether the place of the entry follows from the query without the index of search keys. */
export function isDirect(query: SearchQuery): boolean {
  return query.logIndex !== undefined || query.leafHash !== undefined;
}

/** The search keys that an entry has if it matches, the rarest first; none if the query is about time alone, or says where the entry is. */
export function lookupKeys(query: SearchQuery): string[] {
  if (isDirect(query)) return [];
  return [...new Set([...query.entry, ...query.signer].map(({ key }) => key))];
}
