import { randomBytes } from 'node:crypto';
import { constants, readFile } from 'node:fs';
import { access, link, mkdir, open, rename, unlink } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { promisify } from 'node:util';
import { equalBytes } from '#libs/encoding';
import { TlogError } from './errors.js';

/**
 * Where full tiles, full bundles and the newest checkpoint lie: a folder, a bucket. Paths are relative, with `/`, of
 * the characters `A-Z a-z 0-9 . _ -`, and no part begins with a dot.
 */
export interface ObjectStore {
  /** The bytes, or undefined if there is no such object. */
  get(path: string): Promise<Uint8Array | undefined>;
  has(path: string): Promise<boolean>;
  /**
   * Stores an object for good: durable when it returns. An identical one that is there already is success, since after
   * a crash the same objects are derived and put again.
   * @throws TlogError `TLOG_CORRUPT` if another one is there
   */
  putIfAbsent(path: string, bytes: Uint8Array): Promise<void>;
  /**
   * Replaces the checkpoint as a whole: a reader sees the old or the new one. Need not be durable: the tree head is in
   * the database.
   */
  putCheckpoint(path: string, bytes: Uint8Array): Promise<void>;
}

/**
 * Objects as files below `folder`, which is made on first use. Files are written once and are read-only (0444), so that
 * any web server can serve them.
 */
export function folderObjects(folder: string): ObjectStore {
  const root = resolve(folder);
  const fileOf = (path: string): string => {
    checkPath(path);
    return join(root, ...path.split('/'));
  };
  return {
    async get(path) {
      return readIfPresent(fileOf(path));
    },

    async has(path) {
      try {
        await access(fileOf(path), constants.F_OK);
        return true;
      } catch (error) {
        if (isAbsence(error)) return false;
        throw error;
      }
    },

    async putIfAbsent(path, bytes) {
      const file = fileOf(path);
      await makeFolder(dirname(file), root);
      const temporary = temporaryName(file);
      try {
        await writeDurably(temporary, bytes, true);
        // `link` and not `rename`: it fails if the name is taken, so of two writers neither can replace the other's
        // file.
        await link(temporary, file).catch(async (error: unknown) => {
          if (!hasCode(error, 'EEXIST')) throw error;
          const present = await readIfPresent(file);
          if (present === undefined || !equalBytes(present, bytes)) throw differs(path, present?.length ?? 0, bytes);
        });
      } finally {
        await removeIfPresent(temporary);
      }
      // Without it the name may be gone after a power cut although the file's bytes are safe. Also when the file was
      // there: whoever linked it may have died before this line.
      await syncFolder(dirname(file));
    },

    async putCheckpoint(path, bytes) {
      const file = fileOf(path);
      await makeFolder(dirname(file), root);
      const temporary = temporaryName(file);
      try {
        await writeDurably(temporary, bytes, false);
        await rename(temporary, file);
      } catch (error) {
        await removeIfPresent(temporary);
        throw error;
      }
    },
  };
}

function differs(path: string, length: number, bytes: Uint8Array): TlogError {
  const state = `an object of ${length} bytes is there that differs from the ${bytes.length} bytes to be stored`;
  return new TlogError('TLOG_CORRUPT', `Cannot store object ${path}: ${state}`, {
    place: { tree: path.split('/', 1)[0] ?? '', at: path },
  });
}

/**
 * Paths that stay below the folder under every operating system: no empty, dotted or absolute parts, no backslash,
 * colon or NUL.
 * @throws TlogError `TLOG_RANGE`
 */
export function checkPath(path: string): void {
  if (path.length <= 512 && /^[A-Za-z0-9_-][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/.test(path)) return;
  throw new TlogError(
    'TLOG_RANGE',
    `Cannot open object: ${JSON.stringify(path.slice(0, 100))} is not an object's path`,
  );
}

/** In the same folder, or the rename would not be atomic; with a leading dot, which no object's path has. */
function temporaryName(file: string): string {
  return join(dirname(file), `.${randomBytes(8).toString('hex')}.tmp`);
}

async function writeDurably(file: string, bytes: Uint8Array, sync: boolean): Promise<void> {
  const handle = await open(file, 'wx', 0o444);
  try {
    await handle.writeFile(bytes);
    if (sync) await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a folder and its parents up to `root`, each of them durable. */
async function makeFolder(folder: string, root: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  // `first` is the topmost folder that was made: its name stands in its parent, and so on down.
  const made = folder.slice(dirname(first).length).split(sep).filter(Boolean);
  let at = first.startsWith(root) || root.startsWith(first) ? dirname(first) : root;
  for (const name of made) {
    await syncFolder(at);
    at = join(at, name);
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Readers wait for nothing else than this. With a file handle, as `node:fs/promises` has it, half as many were served. */
const readWhole = promisify(readFile);

async function readIfPresent(file: string): Promise<Uint8Array | undefined> {
  try {
    const bytes = await readWhole(file);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

async function removeIfPresent(file: string): Promise<void> {
  await unlink(file).catch((error: unknown) => {
    if (!isAbsence(error)) throw error;
  });
}

/** Also when a part of the path is a file, or the path a folder: then there is no such object. */
function isAbsence(error: unknown): boolean {
  return hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR') || hasCode(error, 'EISDIR');
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
