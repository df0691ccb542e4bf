import { EntitySchema, type MigrationInterface, type QueryRunner } from 'typeorm';
import { sqlite as dialect } from './dialect.js';

// 64-bit numbers travel as decimal strings in both directions: the driver's numbers are doubles, exact only to 2^53.

/** A tree and its newest signed head. */
export interface TreeRow {
  id: number;
  name: string;
  origin: string;
  format: string;
  /** 32 bytes: the log's id, which is a digest of its public key */
  log_id: Uint8Array;
  size: string;
  root_hash: Uint8Array;
  timestamp_ms: string;
  /** The signed checkpoint */
  note: string;
}

/** The partial tile at the right edge of a level, and full ones that are not yet objects. */
export interface EdgeRow {
  tree: number;
  level: number;
  tile: string;
  /** 32 bytes each */
  hashes: Uint8Array;
}

/** Records of the unfinished bundle, and of full ones that are not yet objects. */
export interface EntryRow {
  tree: number;
  idx: string;
  record: Uint8Array;
}

/** Which log index a deduplication key has. */
export interface LeafIndexRow {
  tree: number;
  /** 32 bytes: all of it, never a prefix */
  identity: Uint8Array;
  idx: string;
}

/** That an entry carries a search key, see `search-rows.ts`. */
export interface SearchKeyRow {
  tree: number;
  run: string;
  key: string;
  idx: string;
}

/** Up to which size the search keys of a tree are complete. */
export interface SearchStateRow {
  tree: number;
  size: string;
}

const { integer, bytes, text } = dialect.types as { integer: 'bigint'; bytes: 'blob'; text: 'text' };

export const entities = [
  new EntitySchema<TreeRow>({
    name: 'tree',
    columns: {
      id: { type: 'integer', primary: true },
      name: { type: text, unique: true },
      origin: { type: text },
      format: { type: text },
      log_id: { type: bytes },
      size: { type: integer },
      root_hash: { type: bytes },
      timestamp_ms: { type: integer },
      note: { type: text },
    },
  }),
  new EntitySchema<EdgeRow>({
    name: 'edge',
    columns: {
      tree: { type: 'integer', primary: true },
      level: { type: 'integer', primary: true },
      tile: { type: integer, primary: true },
      hashes: { type: bytes },
    },
  }),
  new EntitySchema<EntryRow>({
    name: 'entry',
    columns: {
      tree: { type: 'integer', primary: true },
      idx: { type: integer, primary: true },
      record: { type: bytes },
    },
  }),
  new EntitySchema<LeafIndexRow>({
    name: 'leaf_index',
    withoutRowid: true,
    columns: {
      tree: { type: 'integer', primary: true },
      identity: { type: bytes, primary: true },
      idx: { type: integer },
    },
  }),
  new EntitySchema<SearchKeyRow>({
    name: 'search_key',
    withoutRowid: true,
    columns: {
      tree: { type: 'integer', primary: true },
      run: { type: integer, primary: true },
      key: { type: integer, primary: true },
      idx: { type: integer, primary: true },
    },
  }),
  new EntitySchema<SearchStateRow>({
    name: 'search_state',
    columns: {
      tree: { type: 'integer', primary: true },
      size: { type: integer },
    },
  }),
];

/** The tables as of the first release. Never edited: a change is another migration. */
class CreateTrees1790000000000 implements MigrationInterface {
  readonly name = 'CreateTrees1790000000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "tree" ("id" integer PRIMARY KEY NOT NULL, "name" ${text} NOT NULL UNIQUE, "origin" ${text} NOT NULL, "format" ${text} NOT NULL,
        "log_id" ${bytes} NOT NULL, "size" ${integer} NOT NULL, "root_hash" ${bytes} NOT NULL, "timestamp_ms" ${integer} NOT NULL, "note" ${text} NOT NULL)`,
    );
    await runner.query(
      `CREATE TABLE "edge" ("tree" integer NOT NULL, "level" integer NOT NULL, "tile" ${integer} NOT NULL, "hashes" ${bytes} NOT NULL,
        PRIMARY KEY ("tree", "level", "tile"))`,
    );
    await runner.query(
      `CREATE TABLE "entry" ("tree" integer NOT NULL, "idx" ${integer} NOT NULL, "record" ${bytes} NOT NULL, PRIMARY KEY ("tree", "idx"))`,
    );
    await runner.query(
      `CREATE TABLE "leaf_index" ("tree" integer NOT NULL, "identity" ${bytes} NOT NULL, "idx" ${integer} NOT NULL,
        PRIMARY KEY ("tree", "identity")) ${dialect.clustered}`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['leaf_index', 'entry', 'edge', 'tree']) await runner.query(`DROP TABLE "${table}"`);
  }
}

/** Entries of before have no keys: the index is complete up to 0, and made by `Tree.reindex`. */
class CreateSearchKeys1790000000001 implements MigrationInterface {
  readonly name = 'CreateSearchKeys1790000000001';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "search_key" ("tree" integer NOT NULL, "run" ${integer} NOT NULL, "key" ${integer} NOT NULL, "idx" ${integer} NOT NULL,
        PRIMARY KEY ("tree", "run", "key", "idx")) ${dialect.clustered}`,
    );
    await runner.query(`CREATE TABLE "search_state" ("tree" integer PRIMARY KEY NOT NULL, "size" ${integer} NOT NULL)`);
    await runner.query(`INSERT INTO "search_state" ("tree", "size") SELECT "id", 0 FROM "tree"`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['search_state', 'search_key']) await runner.query(`DROP TABLE "${table}"`);
  }
}

export const migrations = [CreateTrees1790000000000, CreateSearchKeys1790000000001];
