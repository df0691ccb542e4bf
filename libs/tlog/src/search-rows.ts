import { hash } from 'node:crypto';
import { TlogError } from './errors.js';
import type { Query } from './sql-store.js';

// The search index: which entries carry a text, and up to which size of the tree that is complete. Every statement on
// its tables.
//
// A text's key is the first 60 bits of its SHA-256. So the index only ever suggests: two texts may share a key, and who
// reads compares with the record. 60 and not 64, because 15 hex digits are a JSON5 integer that SQLite reads by itself
// and never a negative one; making decimal numbers of the digests here would take twice as long as the digests.
//
// Keys are random numbers. In one table of all of them, each new key would change a page of its own, and that page is
// written twice: with a million entries of 8 keys that is most of what a batch costs. So the table is made of *runs*,
// each of 8192 entries in their order: the run that grows is a megabyte, which stays in memory, and its pages are
// written once for many keys, however long the log. The price is a look into every run for a key that is nowhere: 4 µs
// each, half a millisecond for a million entries.

/** Entries of a run: 2^13. */
const RUN_BITS = 13;
export const RUN_LENGTH = 1n << BigInt(RUN_BITS);

/** The run that entry `index` is in. */
export function runOf(index: bigint): bigint {
  return index >> BigInt(RUN_BITS);
}

/** Most texts by which one entry can be found. */
export const MAX_KEYS = 1024;

const KEY_DIGITS = 15;

/**
 * The keys of texts, as a list of JSON5 numbers: `0x0123456789abcde,0x…`.
 * @throws TlogError `TLOG_RECORD` if they are more than 1024
 */
export function encodeKeys(texts: readonly string[]): string {
  if (texts.length > MAX_KEYS) {
    throw new TlogError('TLOG_RECORD', `Cannot index entry: it has ${texts.length} search keys, at most ${MAX_KEYS}`);
  }
  return texts.map((text) => `0x${digits(text)}`).join();
}

/** The key of a text as SQL takes 64-bit numbers. */
export function keyOf(text: string): string {
  return BigInt(`0x${digits(text)}`).toString();
}

function digits(text: string): string {
  return hash('sha256', text, 'hex').slice(0, KEY_DIGITS);
}

/**
 * Writes the keys of the entries from `start` on, as `encodeKeys` made them; those that are there already stay. One
 * statement with one text, which SQLite takes apart and sorts on its own thread.
 */
export async function insertKeys(query: Query, tree: number, start: bigint, keys: readonly string[]): Promise<void> {
  if (keys.every((list) => list === '')) return;
  await query(
    `INSERT OR IGNORE INTO search_key (tree, run, key, idx)
     SELECT ?1, (CAST(?2 AS integer) + entry.key) >> ${RUN_BITS}, list.value, CAST(?2 AS integer) + entry.key
     FROM json_each(?3) AS entry, json_each(entry.value) AS list ORDER BY 2, 3, 4`,
    [tree, String(start), `[${keys.map((list) => `[${list}]`).join()}]`],
  );
}

/** The size up to which the keys of all entries are there. */
export async function selectIndexedSize(query: Query, tree: number): Promise<bigint> {
  const [row] = await query<{ size: string }>('SELECT CAST(size AS text) AS size FROM search_state WHERE tree = ?', [
    tree,
  ]);
  return row === undefined ? 0n : BigInt(row.size);
}

export async function updateIndexedSize(query: Query, tree: number, size: bigint): Promise<void> {
  await query(
    'INSERT INTO search_state (tree, size) VALUES (?, ?) ON CONFLICT (tree) DO UPDATE SET size = excluded.size',
    [tree, String(size)],
  );
}

/** Moves the size along with the head, if it stood there before: where keys are missing, later ones close no gap. */
export async function advanceIndexedSize(query: Query, tree: number, from: bigint, to: bigint): Promise<void> {
  await query('UPDATE search_state SET size = ? WHERE tree = ? AND size = ?', [String(to), tree, String(from)]);
}

/** The first run from `run` on that has any keys. */
export async function selectRunFrom(query: Query, tree: number, run: bigint): Promise<bigint | undefined> {
  const [row] = await query<{ run: string | null }>(
    'SELECT CAST(MIN(run) AS text) AS run FROM search_key WHERE tree = ? AND run >= ?',
    [tree, String(run)],
  );
  return row === undefined || row.run === null ? undefined : BigInt(row.run);
}

export async function deleteRun(query: Query, tree: number, run: bigint): Promise<void> {
  await query('DELETE FROM search_key WHERE tree = ? AND run = ?', [tree, String(run)]);
}

/** Which of the runs [from, to] have all of these keys, or any of them; the newest first. */
export async function selectRuns(
  query: Query,
  tree: number,
  keys: readonly string[],
  { match, from, to }: { match: 'all' | 'any'; from: bigint; to: bigint },
): Promise<bigint[]> {
  const has = keys.map(() => `EXISTS (SELECT 1 FROM search_key WHERE tree = ? AND run = n AND key = ?)`);
  const rows = await query<{ run: string }>(
    `WITH RECURSIVE runs (n) AS (SELECT CAST(? AS integer) UNION ALL SELECT n - 1 FROM runs WHERE n > CAST(? AS integer))
     SELECT CAST(n AS text) AS run FROM runs WHERE ${has.join(match === 'all' ? ' AND ' : ' OR ')} ORDER BY n DESC`,
    [String(to), String(from), ...keys.flatMap((key) => [tree, key])],
  );
  return rows.map(({ run }) => BigInt(run));
}

/**
 * Of the newest `count` entries of a run below `below` that have the first key, those that have all others as well;
 * with how many were looked at, and the oldest of those.
 */
export async function selectAll(
  query: Query,
  tree: number,
  [first, ...others]: readonly string[],
  { run, below, count }: { run: bigint; below: bigint; count: number },
): Promise<{ hits: bigint[]; looked: number; oldest: bigint | undefined }> {
  const has = others.map(
    () => 'EXISTS (SELECT 1 FROM search_key WHERE tree = ? AND run = ? AND key = ? AND idx = one.idx)',
  );
  const [row] = await query<{ hits: string | null; looked: number; oldest: string | null }>(
    `SELECT group_concat(CASE WHEN ${['TRUE', ...has].join(' AND ')} THEN idx END) AS hits, COUNT(*) AS looked, CAST(MIN(idx) AS text) AS oldest
     FROM (SELECT idx FROM search_key WHERE tree = ? AND run = ? AND key = ? AND idx < ? ORDER BY idx DESC LIMIT ?) AS one`,
    [...others.flatMap((key) => [tree, String(run), key]), tree, String(run), first ?? '', String(below), count],
  );
  return {
    hits: (row?.hits ?? '').split(',').filter(Boolean).map(BigInt).sort(newestFirst),
    looked: row?.looked ?? 0,
    oldest: row === undefined || row.oldest === null ? undefined : BigInt(row.oldest),
  };
}

/** For each key the newest `count` entries of a run below `below` that have it, the newest first. */
export async function selectAny(
  query: Query,
  tree: number,
  keys: readonly string[],
  { run, below, count }: { run: bigint; below: bigint; count: number },
): Promise<bigint[][]> {
  const rows = await query<{ at: number; idx: string }>(
    keys
      .map(
        (_, at) =>
          `SELECT ${at} AS at, CAST(idx AS text) AS idx FROM (SELECT idx FROM search_key WHERE tree = ? AND run = ? AND key = ? AND idx < ? ORDER BY idx DESC LIMIT ?)`,
      )
      .join(' UNION ALL '),
    keys.flatMap((key) => [tree, String(run), key, String(below), count]),
  );
  const found = keys.map((): bigint[] => []);
  for (const { at, idx } of rows) found[at]?.push(BigInt(idx));
  for (const each of found) each.sort(newestFirst);
  return found;
}

/** An order for `sort`. */
export function newestFirst(a: bigint, b: bigint): number {
  return a < b ? 1 : a > b ? -1 : 0;
}
