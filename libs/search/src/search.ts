import { emptyRoot } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { bindCursor, encodeCursor, parseCursor, type Position } from './cursor.js';
import { SearchError } from './error.js';
import type { SearchQuery, TreeName } from './query.js';
import { type Budget, type FoundEntry, lookupKeys, type SearchableTree, type SearchedTree, TreeWalk } from './walk.js';

/** Up to where nothing was left out, in one tree. */
export interface Completeness {
  readonly tree: TreeName;
  readonly origin: string;
  /** Every matching entry of the first so many is on this page, on an earlier one, or will be on a later one. */
  readonly treeSize: bigint;
  /** The root of exactly these entries, 32 bytes. */
  readonly rootHash: Uint8Array;
  /** The newest signed checkpoint; of this size or a larger one. */
  readonly checkpoint: string;
  /** Proves the tree of `treeSize` to be a prefix of the checkpoint's (RFC 6962 §2.1.2); empty if it is the same, or empty. */
  readonly consistency: readonly Uint8Array[];
}

export interface SearchAnswer {
  /** Newest first; entries of the same time by the name of their tree, then by index. */
  readonly entries: readonly FoundEntry[];
  readonly complete: readonly Completeness[];
  /** Where the next page begins; undefined if this is the last one. Before that, a page may be short, or even empty. */
  readonly next: string | undefined;
}

/** Records that a page may read: enough for the longest page, and a bound for what was suggested and does not match. */
const MAX_RECORDS = 256;

/**
 * Answers a query from the trees it names, or all.
 * @throws SearchError `SEARCH_CURSOR`, `SEARCH_INDEX`; `SEARCH_QUERY` for a tree that is not served here
 * @throws TlogError `TLOG_STORE`, `TLOG_CORRUPT`
 */
export async function searchTrees(trees: readonly SearchableTree[], query: SearchQuery): Promise<SearchAnswer> {
  // 1. What is searched: the trees as they are now, or as they were when the first page was made.
  const searched = trees.filter(({ name }) => query.tree === undefined || name === query.tree).sort(byName);
  if (searched.length === 0) throw new SearchError('SEARCH_QUERY', `Cannot search: this log has no tree ${query.tree}`);
  const usesIndex = lookupKeys(query).length > 0;
  const binding = bindCursor(
    query.identity,
    searched.map(({ tree }) => tree.origin),
  );
  const published = searched.map(({ tree }) => tree.head().size);
  const positions =
    query.cursor === undefined
      ? await Promise.all(searched.map(({ tree }, at) => firstPosition(tree, published[at] ?? 0n, usesIndex)))
      : parseCursor(query.cursor, binding, published);

  // 2. The matching entries of each tree, newest first, merged until the page is full or enough was looked at.
  const budget: Budget = { records: MAX_RECORDS };
  const walks = await Promise.all(
    searched.map((of, at) => {
      const { size, below } = positions[at] ?? { size: 0n, below: 0n };
      return TreeWalk.start(of, query, budget, { size, below, first: query.cursor === undefined });
    }),
  );
  const entries = await mergeNewest(walks, query.limit);

  // 3. An index that was dropped meanwhile may have left out anything.
  if (usesIndex) await Promise.all(searched.map(({ tree }, at) => checkIndexed(tree, walks[at]?.size ?? 0n)));

  // 4. What the answer is the whole of.
  const complete = await Promise.all(searched.map((of, at) => completeness(of, walks[at]?.size ?? 0n)));
  const next = walks.every(({ ended }) => ended) ? undefined : encodeCursor(binding, walks);
  return { entries, complete, next };
}

async function firstPosition(tree: SearchedTree, published: bigint, usesIndex: boolean): Promise<Position> {
  const indexed = usesIndex ? await tree.indexedSize() : published;
  const size = indexed < published ? indexed : published;
  return { size, below: size };
}

async function mergeNewest(walks: readonly TreeWalk[], limit: number): Promise<FoundEntry[]> {
  const entries: FoundEntry[] = [];
  while (entries.length < limit) {
    const heads = await Promise.all(walks.map((walk) => walk.peek()));
    // What a tree has next is not known, and may be newer than all the others have: the page ends here.
    if (walks.some(({ ended }, at) => heads[at] === undefined && !ended)) return entries;
    // Walks are in the order of their names, and the first of equal times wins.
    const newest = heads.reduce((a, b) =>
      a === undefined || (b && b.facts.timestampMs > a.facts.timestampMs) ? b : a,
    );
    if (newest === undefined) break;
    walks[heads.indexOf(newest)]?.take();
    entries.push(newest);
  }
  return entries;
}

async function checkIndexed(tree: SearchedTree, size: bigint): Promise<void> {
  const indexed = await tree.indexedSize();
  if (indexed >= size) return;
  throw new SearchError(
    'SEARCH_INDEX',
    `Cannot search: the index is being rebuilt and has ${indexed} of ${size} entries`,
  );
}

async function completeness({ name, tree }: SearchableTree, treeSize: bigint): Promise<Completeness> {
  const { size, rootHash, note: checkpoint } = tree.head();
  const same = { tree: name, origin: tree.origin, treeSize, checkpoint };
  if (treeSize === size) return { ...same, rootHash, consistency: [] };
  if (treeSize === 0n) return { ...same, rootHash: emptyRoot(sha256), consistency: [] };
  const { firstRoot, hashes } = await tree.proveConsistency(treeSize, size);
  return { ...same, rootHash: firstRoot, consistency: hashes };
}

function byName(a: SearchableTree, b: SearchableTree): number {
  return a.name < b.name ? -1 : 1;
}
