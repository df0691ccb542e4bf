import { mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TlogError } from './errors.js';
import { checkPath, folderObjects } from './objects.js';
import { objectStoreContract } from './object-store-contract.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'objects-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('folderObjects() keeps the contract of object stores', () => {
  for (const { name, run } of objectStoreContract) test(name, () => run(folderObjects(join(folder, 'new/objects'))));
});

describe('folderObjects()', () => {
  test('writes objects that nobody may change', async () => {
    await folderObjects(folder).putIfAbsent('log/tile/0/000', Uint8Array.of(1));
    expect(statSync(join(folder, 'log/tile/0/000')).mode & 0o777).toBe(0o444);
  });

  test('leaves no temporary files, also when it refuses', async () => {
    const objects = folderObjects(folder);
    await objects.putIfAbsent('log/a', Uint8Array.of(1));
    await expect(objects.putIfAbsent('log/a', Uint8Array.of(2))).rejects.toThrow('Cannot store object log/a');
    await objects.putCheckpoint('log/checkpoint', Uint8Array.of(3));
    expect(readdirSync(join(folder, 'log')).sort()).toEqual(['a', 'checkpoint']);
  });

  test('reports what is no absence: a file that cannot be read', async () => {
    symlinkSync('loop', join(folder, 'loop'));
    await expect(folderObjects(folder).get('loop')).rejects.toThrow('ELOOP');
    await expect(folderObjects(folder).has('loop')).rejects.toThrow('ELOOP');
  });

  test('fails where its folder is a file', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(folderObjects(join(folder, 'file')).putIfAbsent('a', Uint8Array.of(1))).rejects.toThrow();
  });
});

test('checkPath() accepts no path that leaves the folder', () => {
  const part = fc.constantFrom('..', '.', '', 'a', 'x001', '067.p', '~', '\\', 'con:', '\0', 'checkpoint');
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
      const path = parts.join('/');
      try {
        checkPath(path);
      } catch (error) {
        expect(error).toBeInstanceOf(TlogError);
        return;
      }
      expect(join('/root', path)).toBe(`/root/${path}`);
      expect(path).not.toContain('..');
    }),
  );
});
