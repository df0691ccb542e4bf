import { existsSync } from 'node:fs';
import sqlite3 from 'sqlite3';
import { DataSource } from 'typeorm';
import { sqlite as dialect } from './dialect.js';
import { storeError, TlogError } from './errors.js';
import { entities, migrations } from './schema.js';

/** Runs one statement. Blobs come and go as `Uint8Array`, 64-bit numbers as decimal strings. */
export type Query = <Row>(sql: string, parameters?: readonly (string | number | Uint8Array)[]) => Promise<Row[]>;

/**
 * A transaction that holds the write lock until one of `commit` and `rollback` has returned or thrown. Its statements run in the order in which they are
 * given, also when they are not awaited one by one.
 */
export interface SqlTransaction {
  readonly query: Query;
  /** Durable when it returns. If it throws, the outcome is unknown: read the head again before anything else. */
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

/** The database of all trees. */
export interface SqlStore {
  /** Waits for the write lock, in this process and among processes. */
  begin(): Promise<SqlTransaction>;
  /** Reads what is committed, and waits for no writer. */
  readonly read: Query;
  close(): Promise<void>;
}

/**
 * Opens the database `file`. Only with `create` it may come into being; its tables are made and brought up to date by
 * migrations.
 * @throws TlogError `TLOG_MISSING`, `TLOG_STORE`
 */
export async function openSqlStore({ file, create = false }: { file: string; create?: boolean }): Promise<SqlStore> {
  if (!create && !existsSync(file)) {
    throw new TlogError('TLOG_MISSING', `Cannot open database ${file}: there is none, and it is not to be created`);
  }
  const writer = await connect(file, dialect.settings.writer);
  try {
    await migrate(writer, file, create);
    // Statements in the order in which they are given; sqlite3 would run them on whichever thread is free.
    driverOf(writer).serialize();
    const reader = await connect(file, dialect.settings.reader);
    return new SqliteStore(writer, reader);
  } catch (error) {
    await writer.destroy();
    throw storeError(`open database ${file}`, error);
  }
}

async function connect(file: string, settings: readonly string[]): Promise<DataSource> {
  const source = new DataSource({
    type: 'sqlite',
    database: file,
    entities,
    migrations,
    migrationsTransactionMode: 'each',
    // TypeORM switches the driver to its verbose mode, which records a stack trace for every statement. Not on this
    // road.
    driver: { ...sqlite3, verbose: () => sqlite3 },
  });
  try {
    await source.initialize();
    for (const setting of settings) await source.query(setting);
    return source;
  } catch (error) {
    if (source.isInitialized) await source.destroy();
    throw storeError(`open database ${file}`, error);
  }
}

/** TypeORM connects, and keeps the tables up to date; statements go to the driver below it, which does not weigh each of them. */
function driverOf(source: DataSource): sqlite3.Database {
  const { databaseConnection } = source.driver as unknown as { databaseConnection: sqlite3.Database };
  return databaseConnection;
}

async function migrate(writer: DataSource, file: string, create: boolean): Promise<void> {
  const tables = await writer.query<unknown[]>(`SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'tree'`);
  if (tables.length === 0 && !create) {
    throw new TlogError('TLOG_MISSING', `Cannot open database ${file}: it has no trees, and is not to be created`);
  }
  await writer.runMigrations();
}

class SqliteStore implements SqlStore {
  readonly read: Query;
  readonly #writer: DataSource;
  readonly #reader: DataSource;
  readonly #write: Query;
  /** Resolves when the last transaction that was asked for has ended. */
  #turn: Promise<void> = Promise.resolve();
  /** After a statement of `begin`, `commit` or `rollback` failed: SQLite may still have a transaction open. */
  #doubtful = false;

  constructor(writer: DataSource, reader: DataSource) {
    this.#writer = writer;
    this.#reader = reader;
    this.#write = queryOf(driverOf(writer));
    this.read = queryOf(driverOf(reader));
  }

  async begin(): Promise<SqlTransaction> {
    const before = this.#turn;
    let end = (): void => {};
    this.#turn = new Promise((resolve) => (end = resolve));
    await before;
    try {
      if (this.#doubtful) await this.#clear();
      await this.#write(dialect.begin);
    } catch (error) {
      end();
      throw error;
    }
    const finish = async (statement: string): Promise<void> => {
      try {
        await this.#write(statement);
      } catch (error) {
        this.#doubtful = true;
        throw error;
      } finally {
        end();
      }
    };
    return { query: this.#write, commit: () => finish('COMMIT'), rollback: () => finish('ROLLBACK') };
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#reader.destroy();
    await this.#writer.destroy();
  }

  /**
   * Ends a transaction that may or may not be open. A ROLLBACK that finds none is refused, and BEGIN would be refused
   * if there was one.
   */
  async #clear(): Promise<void> {
    await this.#write('ROLLBACK').catch((error: unknown) => {
      if (!(error instanceof Error && error.message.includes('no transaction is active'))) throw error;
    });
    this.#doubtful = false;
  }
}

function queryOf(database: sqlite3.Database): Query {
  return <Row>(sql: string, parameters: readonly (string | number | Uint8Array)[] = []) =>
    new Promise<Row[]>((resolve, reject) => {
      database.all(sql, parameters, (error: Error | null, rows: Record<string, unknown>[]) => {
        if (error !== null) {
          reject(error);
          return;
        }
        // The statement says which columns there are; blobs are views of pooled memory of their own, and not `Buffer` to the outside.
        for (const row of rows) {
          for (const column in row) {
            const value = row[column];
            if (value instanceof Uint8Array)
              row[column] = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
          }
        }
        resolve(rows as Row[]);
      });
    });
}
