import { TlogError } from './errors.js';
import { keyOf, newestFirst, RUN_LENGTH, runOf, selectAll, selectAny, selectRuns } from './search-rows.js';
import type { Query } from './sql-store.js';

/** What to look for in the search index. */
export interface KeyQuery {
  /** 1 to 64 texts. For `all`, the rarest first: its entries are gone through, and looked up under the others. */
  readonly keys: readonly string[];
  /** Whether an entry must carry all of them, or any. */
  readonly match: 'all' | 'any';
  /** Only entries with a smaller log index. */
  readonly below: bigint;
  /** Most entries to be found, 1 or more. */
  readonly limit: number;
  /** About how many rows of the index may be looked at, 1 or more. 20000. */
  readonly scan?: number;
}

/** What was found. */
export interface KeyMatches {
  /** Log indexes, the newest first. */
  indexes: bigint[];
  /** Where a further search goes on, as its `below`: all from here on was looked at. 0 if there is nothing older. */
  reached: bigint;
}

const MAX_QUERY_KEYS = 64;
/** Runs to be probed by one statement: few at first, as what is looked for is mostly recent. */
const FIRST_RUNS = 16;
const MOST_RUNS = 512;
/** Rows of one statement where most may miss. */
const ROWS_AT_ONCE = 1024;

/**
 * Finds entries of the tree of `size` entries by their search keys. Every statement looks at a bounded number of rows.
 * @throws TlogError `TLOG_RANGE`
 */
export async function findByKeys(read: Query, tree: number, size: bigint, search: KeyQuery): Promise<KeyMatches> {
  const { match, limit, scan = 20_000 } = search;
  const texts = [...new Set(search.keys)];
  if (texts.length < 1 || texts.length > MAX_QUERY_KEYS || !isCount(limit) || !isCount(scan)) {
    const state = `${texts.length} keys, limit ${limit} and scan ${scan} are not at least 1, and at most ${MAX_QUERY_KEYS} keys`;
    throw new TlogError('TLOG_RANGE', `Cannot search: ${state}`);
  }
  const keys = texts.map(keyOf);
  const indexes: bigint[] = [];
  // Of entries from here on all is known.
  let reached = search.below < size ? search.below : size;
  let budget = scan;
  for (
    let runs = FIRST_RUNS;
    reached > 0n && budget > 0 && indexes.length < limit;
    runs = Math.min(4 * runs, MOST_RUNS)
  ) {
    const newest = runOf(reached - 1n);
    const oldest = bigintMax(0n, newest + 1n - BigInt(Math.min(runs, budget)));
    budget -= Number(newest + 1n - oldest);
    for (const run of await selectRuns(read, tree, keys, { match, from: oldest, to: newest })) {
      reached = reached < (run + 1n) * RUN_LENGTH ? reached : (run + 1n) * RUN_LENGTH;
      do {
        const count = Math.max(
          1,
          Math.min(budget, match === 'all' && keys.length > 1 ? ROWS_AT_ONCE : limit - indexes.length),
        );
        const step = await (match === 'all' ? stepAll : stepAny)(read, tree, keys, { run, below: reached, count });
        budget -= step.looked;
        reached = step.reached;
        for (const index of step.hits) {
          indexes.push(index);
          if (indexes.length === limit) return { indexes, reached: index };
        }
        if (budget <= 0) return { indexes, reached };
      } while (reached > run * RUN_LENGTH);
    }
    reached = oldest * RUN_LENGTH;
  }
  return { indexes, reached };
}

type Step = (
  read: Query,
  tree: number,
  keys: readonly string[],
  at: { run: bigint; below: bigint; count: number },
) => Promise<{ hits: bigint[]; looked: number; reached: bigint }>;

const stepAll: Step = async (read, tree, keys, at) => {
  const { hits, looked, oldest } = await selectAll(read, tree, keys, at);
  return { hits, looked, reached: looked < at.count || oldest === undefined ? at.run * RUN_LENGTH : oldest };
};

const stepAny: Step = async (read, tree, keys, at) => {
  const count = Math.max(1, Math.floor(at.count / keys.length));
  const found = await selectAny(read, tree, keys, { ...at, count });
  // A key with more entries than were read hides what is older than the last of them.
  const reached = found
    .map((each) => (each.length < count ? undefined : each.at(-1)) ?? at.run * RUN_LENGTH)
    .reduce(bigintMax, 0n);
  const hits = [...new Set(found.flat())].filter((index) => index >= reached).sort(newestFirst);
  return { hits, looked: found.flat().length, reached };
};

function bigintMax(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1;
}
