import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findBrowser } from './browser.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chancery-open-'));
  await writeFile(
    join(folder, 'open.mjs'),
    `import { writeFileSync, renameSync } from 'node:fs';
writeFileSync('${folder}/part', JSON.stringify(process.argv.slice(2)));
renameSync('${folder}/part', '${folder}/opened');`,
  );
});
afterEach(() => rm(folder, { recursive: true }));

/** What the program was called with. */
async function opened(): Promise<unknown> {
  await expect.poll(() => existsSync(join(folder, 'opened')), { timeout: 20_000 }).toBe(true);
  return JSON.parse(await readFile(join(folder, 'opened'), 'utf8'));
}

const hostile = 'https://login.example/?a=b&c=$(touch x);`y`|z "q" \'r\' %s';

describe('findBrowser()', () => {
  it.each([
    ['linux', {}, false],
    ['linux', { DISPLAY: ':0' }, true],
    ['linux', { WAYLAND_DISPLAY: 'wayland-0' }, true],
    ['linux', { DISPLAY: ':0', SSH_CONNECTION: '192.0.2.1 1 192.0.2.2 22' }, false],
    ['linux', { DISPLAY: '' }, false],
    ['linux', { BROWSER: 'w3m' }, true],
    ['linux', { BROWSER: 'w3m', SSH_TTY: '/dev/pts/0' }, true],
    ['linux', { BROWSER: '' }, false],
    ['darwin', {}, true],
    ['darwin', { SSH_TTY: '/dev/ttys0' }, false],
    ['win32', {}, true],
  ] as const)('on %s with %j: %s', (platform, env, found) => {
    expect(findBrowser({ platform, env }) !== undefined).toBe(found);
  });

  it('runs what BROWSER names without a shell, with the address at the end', async () => {
    const BROWSER = `${process.execPath} ${join(folder, 'open.mjs')} --new-window`;
    await findBrowser({ platform: 'linux', env: { BROWSER } })?.(hostile);
    expect(await opened()).toEqual(['--new-window', hostile]);
  });

  it('puts the address where BROWSER says, and takes the first command that starts', async () => {
    const BROWSER = `/nonexistent/browser:${process.execPath} ${join(folder, 'open.mjs')} --url=%s --done`;
    await findBrowser({ platform: 'linux', env: { BROWSER } })?.(hostile);
    expect(await opened()).toEqual([`--url=${hostile}`, '--done']);
  });

  it('says what does not start', async () => {
    const open = findBrowser({ platform: 'linux', env: { BROWSER: '/nonexistent/browser' } });
    await expect(open?.('https://login.example')).rejects.toThrow('/nonexistent/browser: ENOENT');
  });
});
