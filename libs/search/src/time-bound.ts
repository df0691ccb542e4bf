import type { SearchableTree } from './walk.js';

const BUNDLE = 256n;
/** Times of first entries of bundles, which never change: without them each search by time would read a dozen bundles. */
const MAX_REMEMBERED = 65_536;
const remembered = new WeakMap<object, Map<bigint, bigint>>();

/**
 * The first of the entries [0, end) that was integrated at `timeMs` or later; `end` if there is none. By bisection, because the times of a
 * tree never run backwards: log2 of the number of bundles are read, and later searches find most of those remembered.
 */
export async function firstIndexFrom(of: SearchableTree, timeMs: bigint, end: bigint): Promise<bigint> {
  // The first bundle that begins at that time or later: what is searched for lies in the one before it, or is where it begins.
  let low = 0n;
  let high = (end + BUNDLE - 1n) / BUNDLE;
  while (low < high) {
    const middle = (low + high) / 2n;
    if ((await startOfBundle(of, middle)) >= timeMs) high = middle;
    else low = middle + 1n;
  }
  if (low === 0n) return 0n;
  const start = (low - 1n) * BUNDLE;
  const stop = low * BUNDLE < end ? low * BUNDLE : end;
  const records = await of.tree.readRecords(start, stop);
  let first = 0;
  let last = records.length;
  while (first < last) {
    const middle = (first + last) >> 1;
    const record = records[middle];
    if (record !== undefined && of.facts(record).timestampMs >= timeMs) last = middle;
    else first = middle + 1;
  }
  return start + BigInt(first);
}

async function startOfBundle(of: SearchableTree, bundle: bigint): Promise<bigint> {
  const times = remembered.get(of.tree) ?? new Map<bigint, bigint>();
  remembered.set(of.tree, times);
  const known = times.get(bundle);
  if (known !== undefined) return known;
  const [record] = await of.tree.readRecords(bundle * BUNDLE, bundle * BUNDLE + 1n);
  if (record === undefined) throw new Error(`Entry ${bundle * BUNDLE} of tree ${of.name} was not read`);
  const { timestampMs } = of.facts(record);
  if (times.size >= MAX_REMEMBERED) times.clear();
  times.set(bundle, timestampMs);
  return timestampMs;
}
