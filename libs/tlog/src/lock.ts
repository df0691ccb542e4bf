import { join } from 'node:path';
import { mkdir } from 'node:fs/promises';
import sqlite3 from 'sqlite3';
import { TlogError } from './errors.js';

/** Held until released, or until the process ends in whatever way. */
export interface FolderLock {
  release(): Promise<void>;
}

/**
 * Makes this process the only one that works in `folder`. The lock is an open exclusive transaction on the small SQLite
 * database `lock` in it: the operating system drops it with the process, so `kill -9` leaves nothing behind, and no
 * process id has to be guessed at. Nobody else may open that file within this process: POSIX locks vanish when any
 * descriptor of a file is closed.
 * @throws TlogError `TLOG_LOCKED`, `TLOG_STORE`
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  await mkdir(folder, { recursive: true });
  const database = await openDatabase(join(folder, 'lock'));
  try {
    // The rollback journal, since its exclusive lock keeps out everyone; under WAL, readers would still get in. No
    // waiting.
    await run(database, 'PRAGMA journal_mode = DELETE');
    await run(database, 'BEGIN EXCLUSIVE');
  } catch (error) {
    await close(database);
    if (isBusy(error)) {
      throw new TlogError('TLOG_LOCKED', `Cannot lock folder ${folder}: another process is working in it`, {
        cause: error,
      });
    }
    throw new TlogError('TLOG_STORE', `Cannot lock folder ${folder}: the file system refuses`, { cause: error });
  }
  return { release: () => close(database) };
}

function openDatabase(file: string): Promise<sqlite3.Database> {
  return new Promise((resolve, reject) => {
    const database: sqlite3.Database = new sqlite3.Database(file, (error) => {
      if (error === null) {
        database.configure('busyTimeout', 0);
        resolve(database);
      } else {
        reject(new TlogError('TLOG_STORE', `Cannot lock with file ${file}: ${error.message}`, { cause: error }));
      }
    });
  });
}

function run(database: sqlite3.Database, statement: string): Promise<void> {
  return new Promise((resolve, reject) => {
    database.run(statement, (error: Error | null) => (error === null ? resolve() : reject(error)));
  });
}

function close(database: sqlite3.Database): Promise<void> {
  return new Promise((resolve, reject) => {
    database.close((error) => (error === null ? resolve() : reject(error)));
  });
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'SQLITE_BUSY' || error.code === 'SQLITE_LOCKED');
}
