import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CliError } from './exit.js';

/**
 * Reads a whole file of at most `maxBytes`. `what`: its name in messages, as `the bundle`.
 * @throws CliError `unreadable`
 */
export async function readInput(path: string, what: string, maxBytes: number): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > maxBytes)
      throw new CliError('unreadable', `Cannot read ${what} ${path}: ${size} bytes, at most ${maxBytes}`);
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError('unreadable', `Cannot read ${what} ${path}: ${fileReason(cause)}`, { cause });
  }
}

/** Whether there is a file or folder of this name. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Writes a file so that under its name there is either the old content or all of the new one, whatever happens in between.
 * @throws CliError `unreadable`
 */
export async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  try {
    const file = await open(temporary, 'wx', 0o644);
    try {
      await file.writeFile(text);
      // Before the rename: else a power cut may leave the new name with no content.
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new CliError('unreadable', `Cannot write ${path}: ${fileReason(cause)}`, { cause });
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is not a folder',
  ENOSPC: 'the disk is full',
  EROFS: 'the file system is read-only',
};

/** Why a file operation failed, in words where we have them. */
export function fileReason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (typeof code === 'string') return reasons[code] ?? code;
  return error instanceof Error ? error.message : 'unknown reason';
}
