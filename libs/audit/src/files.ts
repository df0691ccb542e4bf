import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AuditError } from './error.js';

/**
 * Writes a file so that under its name there is either what was there before or all of the new content, whatever happens in between, also to the
 * machine's power. `temporary`: a folder on the same file system, by default the file's own.
 * @throws AuditError `AUDIT_FOLDER`
 */
export async function writeDurably(
  file: string,
  content: Uint8Array | string,
  temporary = dirname(file),
): Promise<void> {
  await writeOnce(file, content, temporary);
  await syncFolder(dirname(file));
}

/** As `writeDurably`, but the name itself is durable only when the caller has synchronised its folder. */
export async function writeOnce(file: string, content: Uint8Array | string, temporary: string): Promise<void> {
  const name = join(temporary, `.${basename(file)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    const handle = await open(name, 'wx', 0o644);
    try {
      await handle.writeFile(content);
      // Before the rename: else a power cut may leave the new name with no content.
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(name, file);
  } catch (cause) {
    await rm(name, { force: true });
    throw folderError('write', file, cause);
  }
}

/** Makes the names in a folder durable. @throws AuditError `AUDIT_FOLDER` */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw folderError('write', folder, cause);
  }
}

/** @throws AuditError `AUDIT_FOLDER` */
export async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw folderError('make', folder, cause);
  });
}

/** The names in a folder; none if it does not exist. @throws AuditError `AUDIT_FOLDER` */
export async function listFolder(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw folderError('read', folder, cause);
  }
}

export function folderError(verb: string, file: string, cause: unknown): AuditError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'failed';
  const cures: Readonly<Record<string, string>> = {
    ENOSPC: 'Free some space, and run the command again: it goes on where it was',
    EACCES: 'Give this user the right to it, or name another folder',
    EROFS: 'Name a folder that can be written',
    ENOTDIR: 'A part of the path is a file: name another folder',
  };
  const cure = cures[code];
  return new AuditError('AUDIT_FOLDER', `Cannot ${verb} ${file}: ${code}`, { cause, ...(cure && { cure }) });
}
