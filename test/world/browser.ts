/**
 * A real browser: Debian's Chromium, without a window. Where it is not installed, stories that need it are skipped.
 *
 *     describe.skipIf(!hasBrowser)('…', () => { const browser = await startBrowser(); const page = await browser.open(url); … });
 *
 * And the other end of it: what stands in `BROWSER` hands the address it is given to the test, which opens it.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Page } from 'playwright-core';

const executablePath = '/usr/bin/chromium';

export const hasBrowser = existsSync(executablePath);
if (!hasBrowser)
  console.warn(`Skipped: what needs a browser, because there is no ${executablePath} (Debian: apt install chromium)`);

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export interface RealBrowser {
  /** A page with no memory of earlier ones. */
  open(url: string): Promise<Page>;
  close(): Promise<void>;
}

export async function startBrowser(): Promise<RealBrowser> {
  const browser = await chromium.launch({
    executablePath,
    // These flags and no others, but for the pipe through which it is driven.
    ignoreDefaultArgs: true,
    args: [...flags, '--remote-debugging-pipe'],
    timeout: 60_000,
  });
  return {
    open: async (url) => {
      const context = await browser.newContext();
      const page = await context.newPage();
      page.setDefaultTimeout(60_000);
      await page.goto(url);
      return page;
    },
    close: () => browser.close(),
  };
}

export interface BrowserHook {
  /** A value for the variable `BROWSER`: a program that tells this test the address it should open. */
  readonly command: string;
  /** The next address that a program wants opened. */
  nextUrl(): Promise<string>;
  close(): Promise<void>;
}

export async function startBrowserHook(): Promise<BrowserHook> {
  const folder = await mkdtemp(join(tmpdir(), 'chancery-browser-'));
  const script = join(folder, 'open.mjs');
  const waiting: ((url: string) => void)[] = [];
  const arrived: string[] = [];
  const server = createServer((request, response) => {
    let url = '';
    request.on('data', (chunk: Buffer) => (url += chunk.toString()));
    request.on('end', () => {
      response.end();
      const next = waiting.shift();
      if (next === undefined) arrived.push(url);
      else next(url);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // In the script, because BROWSER has colons between its commands.
  const { port } = server.address() as AddressInfo;
  await writeFile(script, `await fetch('http://127.0.0.1:${port}', { method: 'POST', body: process.argv[2] });\n`);
  return {
    command: `${process.execPath} ${script}`,
    nextUrl: () => {
      const known = arrived.shift();
      return known === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(known);
    },
    close: async () => {
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
