import { mkdtemp, readdir, readFile, rm, stat, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliError } from './exit.js';
import { readInput, writeAtomically } from './files.js';

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'chancery-files-'))));
afterEach(() => rm(folder, { recursive: true }));

describe('writeAtomically()', () => {
  it('replaces a file and leaves nothing else behind', async () => {
    const path = join(folder, 'file');
    await writeFile(path, 'old');
    await writeAtomically(path, 'new');
    expect(await readFile(path, 'utf8')).toBe('new');
    expect(await readdir(folder)).toEqual(['file']);
    expect((await stat(path)).mode & 0o111).toBe(0);
  });

  it('keeps the old file and cleans up when it fails', async () => {
    const path = join(folder, 'taken');
    await mkdir(join(path, 'full'), { recursive: true });
    await expect(writeAtomically(path, 'new')).rejects.toThrow(CliError);
    expect(await readdir(folder)).toEqual(['taken']);
    await expect(writeAtomically(join(folder, 'no', 'where'), 'new')).rejects.toThrow(
      /there is no such file or folder$/,
    );
  });
});

describe('readInput()', () => {
  it('has a limit, and says in words what is wrong', async () => {
    await writeFile(join(folder, 'big'), '12345');
    expect(Buffer.from(await readInput(join(folder, 'big'), 'the thing', 5)).toString()).toBe('12345');
    await expect(readInput(join(folder, 'big'), 'the thing', 4)).rejects.toThrow(/5 bytes, at most 4$/);
    await expect(readInput(folder, 'the thing', 1e6)).rejects.toThrow(/it is a folder$/);
    await expect(readInput(join(folder, 'none'), 'the thing', 4)).rejects.toThrow(
      /^Cannot read the thing .*none: there is no such file or folder$/,
    );
  });
});
