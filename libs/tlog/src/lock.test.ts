import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lockFolder } from './lock.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('lockFolder()', () => {
  test('makes the folder, and refuses a second lock until the first is released', async () => {
    const inner = join(folder, 'new/data');
    const first = await lockFolder(inner);
    await expect(lockFolder(inner)).rejects.toMatchObject({
      code: 'TLOG_LOCKED',
      message: `Cannot lock folder ${inner}: another process is working in it`,
    });
    await first.release();
    await (await lockFolder(inner)).release();
  });

  test('is refused while another process holds it, and free as soon as that was killed', async () => {
    // Another process, with the same statements as `lockFolder`: it cannot load TypeScript.
    const sqlite3 = createRequire(import.meta.url).resolve('sqlite3');
    const child = spawn(
      process.execPath,
      [
        '-e',
        `const { Database } = require(${JSON.stringify(sqlite3)});
         const database = new Database(process.argv[1]);
         database.serialize(() => {
           database.run('PRAGMA journal_mode = DELETE');
           database.run('BEGIN EXCLUSIVE', () => console.log('locked'));
         });
         setInterval(() => {}, 1000);`,
        join(folder, 'lock'),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(child.stdout, 'data');
    await expect(lockFolder(folder)).rejects.toMatchObject({ code: 'TLOG_LOCKED' });
    child.kill('SIGKILL');
    await once(child, 'exit');
    await (await lockFolder(folder)).release();
  });

  test('says that it cannot where the folder is no database folder', async () => {
    const lock = await lockFolder(folder);
    await lock.release();
    rmSync(join(folder, 'lock'));
    mkdirSync(join(folder, 'lock'));
    await expect(lockFolder(folder)).rejects.toMatchObject({ code: 'TLOG_STORE' });
  });
});
