import { equalBytes } from '#libs/encoding';
import { sqlite as dialect } from './dialect.js';
import type { EdgeRow, EntryRow, LeafIndexRow, TreeRow } from './schema.js';
import type { Query } from './sql-store.js';

// Every statement on the tables of a tree. Numbers come back through CAST as decimal strings, exact at any size.

/** The newest signed head of a tree, as stored. */
export interface Head {
  size: bigint;
  /** 32 bytes */
  rootHash: Uint8Array;
  timestampMs: bigint;
  /** The signed checkpoint */
  note: string;
}

/** A tile of the right edge as stored: partial, or full and not yet an object. */
export interface StoredTile {
  level: number;
  index: bigint;
  hashes: Uint8Array;
}

export interface TreeIdentity {
  id: number;
  origin: string;
  format: string;
  logId: Uint8Array;
}

const FULL_TILE_BYTES = 256 * 32;

export async function findTree(query: Query, name: string): Promise<TreeIdentity | undefined> {
  const [row] = await query<TreeRow>('SELECT id, origin, format, log_id FROM tree WHERE name = ?', [name]);
  return row && { id: row.id, origin: row.origin, format: row.format, logId: row.log_id };
}

export async function insertTree(query: Query, tree: Omit<TreeIdentity, 'id'> & { name: string }, head: Head) {
  await query(
    `INSERT INTO tree (id, name, origin, format, log_id, size, root_hash, timestamp_ms, note)
     SELECT COALESCE(MAX(id), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ? FROM tree`,
    [
      tree.name,
      tree.origin,
      tree.format,
      tree.logId,
      String(head.size),
      head.rootHash,
      String(head.timestampMs),
      head.note,
    ],
  );
  await query('INSERT INTO search_state (tree, size) SELECT id, size FROM tree WHERE name = ?', [tree.name]);
}

/** Head and partial tiles of one moment: one statement sees one state of the database, whoever writes meanwhile. */
export async function selectHead(
  query: Query,
  tree: number,
  { lock = false } = {},
): Promise<{ head: Head; edge: StoredTile[] } | undefined> {
  type Row = Pick<TreeRow, 'size' | 'root_hash' | 'timestamp_ms' | 'note'> & {
    level: number | null;
    tile: string;
    hashes: Uint8Array;
  };
  const rows = await query<Row>(
    `SELECT CAST(tree.size AS text) AS size, tree.root_hash, CAST(tree.timestamp_ms AS text) AS timestamp_ms, tree.note,
            edge.level, CAST(edge.tile AS text) AS tile, edge.hashes
     FROM tree LEFT JOIN edge ON edge.tree = tree.id AND length(edge.hashes) < ${FULL_TILE_BYTES}
     WHERE tree.id = ? ORDER BY edge.level, edge.tile ${lock ? dialect.lockHead : ''}`,
    [tree],
  );
  const [first] = rows;
  if (first === undefined) return undefined;
  const head = {
    size: BigInt(first.size),
    rootHash: first.root_hash,
    timestampMs: BigInt(first.timestamp_ms),
    note: first.note,
  };
  const edge = rows.flatMap(({ level, tile, hashes }) =>
    level === null ? [] : [{ level, index: BigInt(tile), hashes }],
  );
  return { head, edge };
}

export async function updateHead(query: Query, tree: number, head: Head): Promise<void> {
  await query('UPDATE tree SET size = ?, root_hash = ?, timestamp_ms = ?, note = ? WHERE id = ?', [
    String(head.size),
    head.rootHash,
    String(head.timestampMs),
    head.note,
    tree,
  ]);
}

/** The stored indexes of those deduplication keys that have one, by `key` of the identity. */
export async function selectIndexes(
  query: Query,
  tree: number,
  identities: readonly Uint8Array[],
): Promise<Map<string, bigint>> {
  const found = new Map<string, bigint>();
  for (const part of chunks(identities, dialect.maxParameters - 1)) {
    const rows = await query<LeafIndexRow>(
      `SELECT identity, CAST(idx AS text) AS idx FROM leaf_index WHERE tree = ? AND identity IN (${marks(part.length)})`,
      [tree, ...part],
    );
    for (const { identity, idx } of rows) found.set(key(identity), BigInt(idx));
  }
  return found;
}

/** A map's key for 32 bytes: all of them, one character a byte. */
export function key(identity: Uint8Array): string {
  return String.fromCharCode(...identity);
}

export async function insertEntries(
  query: Query,
  tree: number,
  entries: readonly { index: bigint; identity: Uint8Array; leafHash: Uint8Array; record: Uint8Array }[],
): Promise<void> {
  const rowsAtOnce = Math.min(500, Math.floor(dialect.maxParameters / 6));
  // All given at once: they run in this order, and the event loop is not waited for between them.
  await Promise.all(
    chunks(entries, rowsAtOnce).flatMap((part) => {
      // Readers ask by leaf hash. Where the identity is another digest, both stand in one table: no two SHA-256 digests
      // are ever the same.
      const keys = part.flatMap(({ index, identity, leafHash }) =>
        (equalBytes(identity, leafHash) ? [identity] : [identity, leafHash]).map((digest) => [
          tree,
          digest,
          String(index),
        ]),
      );
      return [
        query(
          `INSERT INTO entry (tree, idx, record) VALUES ${rowMarks(part.length, 3)}`,
          part.flatMap(({ index, record }) => [tree, String(index), record]),
        ),
        query(`INSERT INTO leaf_index (tree, identity, idx) VALUES ${rowMarks(keys.length, 3)}`, keys.flat()),
      ];
    }),
  );
}

export async function upsertTiles(query: Query, tree: number, tiles: readonly StoredTile[]): Promise<void> {
  await Promise.all(
    chunks(tiles, 500).map((part) =>
      query(
        `INSERT INTO edge (tree, level, tile, hashes) VALUES ${rowMarks(part.length, 4)}
         ON CONFLICT (tree, level, tile) DO UPDATE SET hashes = excluded.hashes`,
        part.flatMap(({ level, index, hashes }) => [tree, level, String(index), hashes]),
      ),
    ),
  );
}

/**
 * The records of the entries [start, end), in order. If there are `end - start` of them none is missing: the primary
 * key allows no index twice.
 */
export async function selectRecords(query: Query, tree: number, start: bigint, end: bigint): Promise<Uint8Array[]> {
  const rows = await query<EntryRow>('SELECT record FROM entry WHERE tree = ? AND idx >= ? AND idx < ? ORDER BY idx', [
    tree,
    String(start),
    String(end),
  ]);
  return rows.map(({ record }) => record);
}

/** Of each level the tiles from the given one on: `from[level]`. */
export async function selectTilesFrom(query: Query, tree: number, from: readonly bigint[]): Promise<StoredTile[]> {
  const levels = from.map(() => '(level = ? AND tile >= ?)').join(' OR ');
  return tilesOf(
    await query<EdgeRow>(
      `SELECT level, CAST(tile AS text) AS tile, hashes FROM edge WHERE tree = ? AND (${levels}) ORDER BY level, edge.tile`,
      [tree, ...from.flatMap((index, level) => [level, String(index)])],
    ),
  );
}

export async function selectTile(query: Query, tree: number, level: number, index: bigint) {
  const rows = await query<EdgeRow>(
    'SELECT level, CAST(tile AS text) AS tile, hashes FROM edge WHERE tree = ? AND level = ? AND tile = ?',
    [tree, level, String(index)],
  );
  return tilesOf(rows)[0];
}

/** The lowest index whose record is still a row. */
export async function firstEntryRow(query: Query, tree: number): Promise<bigint | undefined> {
  const [row] = await query<{ idx: string | null }>('SELECT CAST(MIN(idx) AS text) AS idx FROM entry WHERE tree = ?', [
    tree,
  ]);
  return row === undefined || row.idx === null ? undefined : BigInt(row.idx);
}

/** Deletes the rows of what is durable as objects: the first `bundles` bundles and all full tiles above them. */
export async function deleteDurable(query: Query, tree: number, bundles: bigint): Promise<void> {
  const tiles: [number, bigint][] = [];
  for (let level = 0, count = bundles; count > 0n; level++, count >>= 8n) tiles.push([level, count]);
  if (tiles.length === 0) return;
  const below = tiles.map(() => '(level = ? AND tile < ?)').join(' OR ');
  await Promise.all([
    query('DELETE FROM entry WHERE tree = ? AND idx < ?', [tree, String(bundles << 8n)]),
    query(`DELETE FROM edge WHERE tree = ? AND (${below})`, [
      tree,
      ...tiles.flatMap(([level, count]) => [level, String(count)]),
    ]),
  ]);
}

function tilesOf(rows: readonly EdgeRow[]): StoredTile[] {
  return rows.map(({ level, tile, hashes }) => ({ level, index: BigInt(tile), hashes }));
}

function chunks<T>(items: readonly T[], length: number): (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / length) }, (_, at) =>
    items.slice(at * length, (at + 1) * length),
  );
}

function marks(count: number): string {
  return Array<string>(count).fill('?').join(',');
}

function rowMarks(rows: number, columns: number): string {
  return Array<string>(rows)
    .fill(`(${marks(columns)})`)
    .join(',');
}
