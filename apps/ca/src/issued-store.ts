import { existsSync } from 'node:fs';
import { setImmediate, setTimeout } from 'node:timers/promises';
import sqlite3 from 'sqlite3';
import { DataSource } from 'typeorm';
import { entities, migrations } from './issued-schema.js';

/** What is remembered of each certificate that left the CA. */
export interface IssuedCertificateRecord {
  /** 20 bytes, hex. */
  readonly serial: string;
  readonly notBeforeMs: number;
  /** The certificate's one name. */
  readonly identity: string;
  readonly sanKind: 'email' | 'uri' | 'other-name';
  /** As the certificate states it. */
  readonly issuer: string;
  readonly subject: string;
  /** Of the request that was answered with it: `X-Request-ID`, and in our log. */
  readonly requestId: string;
  /** SHA-256 of the certificate in DER, hex. */
  readonly fingerprint: string;
  readonly scts: readonly RecordedSct[];
}

/** Which CT log promised to show the certificate, and where it is there if the log said so. */
export interface RecordedSct {
  /** 32 bytes, hex. */
  readonly logId: string;
  readonly timestampMs: number;
  readonly leafIndex?: bigint;
}

export type IssuedErrorCode = 'ISSUED_MISSING' | 'ISSUED_CORRUPT' | 'ISSUED_STORE';

/**
 * - `ISSUED_MISSING`: no such file, and it is not to be made.
 * - `ISSUED_CORRUPT`: the file is not an issuing record, or is damaged.
 * - `ISSUED_STORE`: it cannot be opened, read or written now.
 */
export class IssuedError extends Error {
  override readonly name = 'IssuedError';

  constructor(
    readonly code: IssuedErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What is asked of the record; all that is given must hold, compared exactly. */
export interface IssuedQuery {
  readonly identity?: string;
  readonly issuer?: string;
  /** Hex, 20 bytes. */
  readonly serial?: string;
  readonly requestId?: string;
  /** Issued at this time or later. */
  readonly sinceMs?: number;
  /** Issued before this time. */
  readonly untilMs?: number;
  /** Most records of a page. */
  readonly limit: number;
  /** Where the last page ended: its `next`. */
  readonly before?: string;
}

/** Newest first. */
export interface IssuedPage {
  readonly records: readonly IssuedCertificateRecord[];
  /** To go on from; undefined when there is no more. */
  readonly next: string | undefined;
}

const writerSettings = [
  'PRAGMA busy_timeout = 10000',
  // Who reads never waits for the writer, nor it for them.
  'PRAGMA journal_mode = WAL',
  // Sync at each commit: with NORMAL a power cut could take back the record of a certificate that has left.
  'PRAGMA synchronous = FULL',
  'PRAGMA wal_autocheckpoint = 4000',
  // KiB, when negative
  'PRAGMA cache_size = -16384',
];

/**
 * While several certificates come at once: at least so long from one commit's beginning to the next one's, milliseconds. A commit costs a third of a
 * millisecond of a processor however few records it has, and at a thousand certificates a second there would be one for every second one.
 */
const COMMIT_INTERVAL_MS = 10;

/** Records of one statement. Above it the next batch begins: one that fails takes all of its requests with it. */
const BATCH_LIMIT = 512;

// One statement with one parameter, whatever the size of the batch: binding nine values a certificate would cost the thread that serves more
// than all the rest of recording.
const insert = `INSERT INTO "certificate" ("serial", "not_before_ms", "identity", "san_kind", "issuer", "subject", "request_id", "fingerprint", "scts")
  SELECT unhex("value" ->> 0), "value" ->> 1, "value" ->> 2, "value" ->> 3, "value" ->> 4, "value" ->> 5, "value" ->> 6, unhex("value" ->> 7), "value" -> 8
  FROM json_each(?)`;

interface Waiting {
  /** The record as a JSON array, in the order of `insert`. */
  readonly row: string;
  readonly done: () => void;
  readonly failed: (error: IssuedError) => void;
}

/**
 * The issuing record: every certificate that left the CA, in a SQLite file of its own. What arrives while a batch is being committed, or shortly after, is
 * the next batch, so that one sync serves many.
 *
 * A certificate is handed out only after `append` has returned. The other way round there may be records without a certificate in anybody's hands:
 * the answer was lost, or the commit's outcome was unknown.
 */
export class IssuedStore {
  /** What this record is called, 32 hex digits: made with it, and never changed. */
  readonly name: string;
  /** It was made just now. */
  readonly isNew: boolean;
  readonly #source: DataSource;
  readonly #insert: sqlite3.Statement;
  #waiting: Waiting[] = [];
  /** Resolves when nothing is being written. */
  #writing: Promise<void> | undefined;
  /** The last batch could not be written. */
  #isFailing = false;
  /** Resolves when it is known whether writing works again. */
  #trying: Promise<void> | undefined;

  private constructor(parts: { source: DataSource; insert: sqlite3.Statement; name: string; isNew: boolean }) {
    this.#source = parts.source;
    this.#insert = parts.insert;
    this.name = parts.name;
    this.isNew = parts.isNew;
  }

  /**
   * Opens the record in `file`. Only with `create` it may come into being.
   * @throws IssuedError
   */
  static async open({ file, create }: { file: string; create: boolean }): Promise<IssuedStore> {
    if (!create && !existsSync(file)) throw missing(file);
    const source = new DataSource({
      type: 'sqlite',
      database: file,
      entities,
      migrations,
      migrationsTransactionMode: 'each',
      // TypeORM switches the driver to its verbose mode, which records a stack trace for every statement.
      driver: { ...sqlite3, verbose: () => sqlite3 },
    });
    try {
      await source.initialize();
      for (const setting of writerSettings) await source.query(setting);
      const tables = await source.query<unknown[]>(`SELECT 1 FROM sqlite_master WHERE name = 'certificate'`);
      if (tables.length === 0 && !create) throw notARecord(file);
      await source.runMigrations();
      const database = driverOf(source);
      const name = await checkRecord(database, file);
      return new IssuedStore({ source, insert: await prepare(database, insert), name, isNew: tables.length === 0 });
    } catch (error) {
      if (source.isInitialized) await source.destroy();
      throw convert(`open issuing record ${file}`, error);
    }
  }

  /**
   * Remembers a certificate. Durable when it returns.
   * @throws IssuedError `ISSUED_STORE`: whether it was recorded is unknown; the certificate must not leave
   */
  append(record: IssuedCertificateRecord): Promise<void> {
    const row = encodeRow(record);
    return new Promise((done, failed) => {
      this.#waiting.push({ row, done, failed });
      this.#writing ??= this.#write();
    });
  }

  /**
   * Whether a certificate could be recorded now. While writing works that is known; after a failure it is tried, without leaving a trace: whoever asks is
   * perhaps the reason why nothing else would try, a balancer that sends no requests to a server that is not ready.
   */
  async isWorking(): Promise<boolean> {
    // One try for all who ask: a disk that hangs would else have as many threads hanging with it.
    if (this.#isFailing) await (this.#trying ??= this.#try());
    return !this.#isFailing;
  }

  async #try(): Promise<void> {
    try {
      await query(driverOf(this.#source), `UPDATE "record" SET "name" = "name"`);
      this.#isFailing = false;
    } catch {
      // Why, the requests that failed have said.
    }
    this.#trying = undefined;
  }

  /** Finishes what is being written. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#trying;
    await new Promise<void>((resolve) => this.#insert.finalize(() => resolve()));
    await this.#source.destroy();
  }

  async #write(): Promise<void> {
    // What the same turn of the event loop brings comes along: the CT log answers a batch of its own at once.
    await setImmediate();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH_LIMIT);
      // Who comes alone, or one after the other, never waits.
      const next = batch.length > 1 || this.#waiting.length > 0 ? setTimeout(COMMIT_INTERVAL_MS) : undefined;
      try {
        await run(this.#insert, `[${batch.map(({ row }) => row).join(',')}]`);
        this.#isFailing = false;
        for (const { done } of batch) done();
      } catch (cause) {
        this.#isFailing = true;
        const error = convert('record certificate', cause);
        for (const { failed } of batch) failed(error);
      }
      await next;
    }
    this.#writing = undefined;
  }
}

/** Reads an issuing record, also while a CA writes it. */
export class IssuedReader {
  private constructor(private readonly database: sqlite3.Database) {}

  /** @throws IssuedError */
  static async open(file: string): Promise<IssuedReader> {
    if (!existsSync(file)) throw missing(file);
    try {
      const database = await new Promise<sqlite3.Database>((resolve, reject) => {
        const opened = new sqlite3.Database(file, sqlite3.OPEN_READONLY, (error) =>
          error === null ? resolve(opened) : reject(error),
        );
      });
      try {
        await query(database, 'PRAGMA busy_timeout = 10000');
        await checkRecord(database, file);
      } catch (error) {
        await closeDatabase(database);
        throw error;
      }
      return new IssuedReader(database);
    } catch (error) {
      throw convert(`read issuing record ${file}`, error);
    }
  }

  /** A page of what matches, newest first. @throws IssuedError */
  async search(asked: IssuedQuery): Promise<IssuedPage> {
    const { sql, parameters } = searchStatement(asked);
    let rows: FoundRow[];
    try {
      // One more than asked for tells whether there is a next page.
      rows = await query<FoundRow>(this.database, sql, [...parameters, asked.limit + 1]);
    } catch (error) {
      throw convert('read issuing record', error);
    }
    const page = rows.slice(0, asked.limit);
    const last = page.at(-1);
    const next = rows.length > page.length && last ? `${last.not_before_ms}-${last.id}` : undefined;
    return { records: page.map(decodeRow), next };
  }

  close(): Promise<void> {
    return closeDatabase(this.database);
  }
}

/** Whether a text can be an `IssuedQuery.before`. */
export function isIssuedCursor(text: string): boolean {
  return cursorPattern.test(text);
}

const cursorPattern = /^(-?\d{1,16})-(\d{1,16})$/;

interface FoundRow {
  readonly id: number;
  readonly serial: string;
  readonly not_before_ms: number;
  readonly identity: string;
  readonly san_kind: IssuedCertificateRecord['sanKind'];
  readonly issuer: string;
  readonly subject: string;
  readonly request_id: string;
  readonly fingerprint: string;
  readonly scts: string;
}

function searchStatement(asked: IssuedQuery): { sql: string; parameters: (string | number)[] } {
  const conditions: string[] = [];
  const parameters: (string | number)[] = [];
  const add = (condition: string, ...values: (string | number)[]): void => {
    conditions.push(condition);
    parameters.push(...values);
  };
  // The one that leaves fewest rows goes by its index; a plus sign keeps the others from competing, without statistics SQLite could take the issuer's.
  const exact = [
    ['"serial"', 'unhex(?)', asked.serial],
    ['"identity"', '?', asked.identity],
    ['"issuer"', '?', asked.issuer],
    ['"request_id"', '?', asked.requestId],
  ] as const;
  for (const [column, placeholder, value] of exact) {
    if (value !== undefined) add(`${conditions.length === 0 ? '' : '+'}${column} = ${placeholder}`, value);
  }
  if (asked.sinceMs !== undefined) add('"not_before_ms" >= ?', asked.sinceMs);
  if (asked.untilMs !== undefined) add('"not_before_ms" < ?', asked.untilMs);
  const [, time, id] = cursorPattern.exec(asked.before ?? '') ?? [];
  if (time !== undefined && id !== undefined) add('("not_before_ms", "id") < (?, ?)', Number(time), Number(id));
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  // A request has no index. Without the plus signs every row would be fetched by way of the times', 25 times as slow from a cold disk.
  const isScan = asked.requestId !== undefined && conditions[0]?.startsWith('"request_id"') === true;
  const by = isScan ? '+' : '';
  return {
    sql: `SELECT "id", lower(hex("serial")) AS "serial", "not_before_ms", "identity", "san_kind", "issuer", "subject", "request_id",
      lower(hex("fingerprint")) AS "fingerprint", "scts" FROM "certificate" ${where} ORDER BY ${by}"not_before_ms" DESC, ${by}"id" DESC LIMIT ?`,
    parameters,
  };
}

function encodeRow(record: IssuedCertificateRecord): string {
  const { serial, notBeforeMs, identity, sanKind, issuer, subject, requestId, fingerprint } = record;
  const scts = record.scts.map(({ logId, timestampMs, leafIndex }) => [
    logId,
    timestampMs,
    leafIndex === undefined ? null : String(leafIndex),
  ]);
  return JSON.stringify([serial, notBeforeMs, identity, sanKind, issuer, subject, requestId, fingerprint, scts]);
}

function decodeRow(row: FoundRow): IssuedCertificateRecord {
  const scts = JSON.parse(row.scts) as [string, number, string | null][];
  return {
    serial: row.serial,
    notBeforeMs: row.not_before_ms,
    identity: row.identity,
    sanKind: row.san_kind,
    issuer: row.issuer,
    subject: row.subject,
    requestId: row.request_id,
    fingerprint: row.fingerprint,
    scts: scts.map(([logId, timestampMs, leafIndex]) => ({
      logId,
      timestampMs,
      ...(leafIndex !== null && { leafIndex: BigInt(leafIndex) }),
    })),
  };
}

/**
 * The record's name, after a look that takes as long for a large file as for a small one: a file that was cut off lacks its newest rows, which the
 * indexes still name.
 */
async function checkRecord(database: sqlite3.Database, file: string): Promise<string> {
  const tables = await query<{ count: number }>(
    database,
    `SELECT count(*) AS "count" FROM sqlite_master WHERE type = 'table' AND name IN ('certificate', 'record')`,
  );
  if (tables[0]?.count !== 2) throw notARecord(file);
  const names = await query<{ name: string }>(database, 'SELECT "name" FROM "record"');
  const [newest] = await query<{ id: number | null }>(database, 'SELECT max("id") AS "id" FROM "certificate"');
  const [latest] = await query<{ id: number; scts: string; found: number }>(
    database,
    `SELECT "c"."id", "c"."scts", (SELECT count(*) FROM "certificate" AS "s" WHERE "s"."serial" = "c"."serial") AS "found"
      FROM "certificate" AS "c" WHERE "c"."id" = ?`,
    [newest?.id ?? 0],
  );
  const name = names[0]?.name;
  const isWhole = (newest?.id ?? null) === null ? latest === undefined : latest?.found === 1;
  if (name === undefined || !isWhole) {
    throw new IssuedError(
      'ISSUED_CORRUPT',
      `Cannot use issuing record ${file}: it is damaged; restore it from a backup`,
    );
  }
  return name;
}

function missing(file: string): IssuedError {
  return new IssuedError(
    'ISSUED_MISSING',
    `Cannot open issuing record ${file}: there is none, and it is not to be created`,
  );
}

function notARecord(file: string): IssuedError {
  return new IssuedError('ISSUED_CORRUPT', `Cannot open issuing record ${file}: the file holds something else`);
}

function convert(action: string, cause: unknown): IssuedError {
  if (cause instanceof IssuedError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const isCorrupt = /SQLITE_(CORRUPT|NOTADB)/.test(reason);
  const state = isCorrupt ? 'it is damaged; restore it from a backup' : reason;
  return new IssuedError(isCorrupt ? 'ISSUED_CORRUPT' : 'ISSUED_STORE', `Cannot ${action}: ${state}`, { cause });
}

/** TypeORM connects, and keeps the tables up to date; statements go to the driver below it. */
function driverOf(source: DataSource): sqlite3.Database {
  const { databaseConnection } = source.driver as unknown as { databaseConnection: sqlite3.Database };
  return databaseConnection;
}

function query<Row>(
  database: sqlite3.Database,
  sql: string,
  parameters: readonly (string | number)[] = [],
): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    database.all(sql, parameters, (error: Error | null, rows: Row[]) =>
      error === null ? resolve(rows) : reject(error),
    );
  });
}

function prepare(database: sqlite3.Database, sql: string): Promise<sqlite3.Statement> {
  return new Promise((resolve, reject) => {
    const statement = database.prepare(sql, (error: Error | null) =>
      error === null ? resolve(statement) : reject(error),
    );
  });
}

function run(statement: sqlite3.Statement, parameter: string): Promise<void> {
  return new Promise((resolve, reject) => {
    statement.run([parameter], (error: Error | null) => (error === null ? resolve() : reject(error)));
  });
}

function closeDatabase(database: sqlite3.Database): Promise<void> {
  return new Promise((resolve, reject) => {
    database.close((error) => (error === null ? resolve() : reject(error)));
  });
}
