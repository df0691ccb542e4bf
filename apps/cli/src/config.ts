import type { Interface, ReadLineOptions } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { findBrowser } from './browser.js';

/**
 * Everything the commands know of the world around them, so that tests can give them another one. Only this file reads the process.
 */
export interface Terminal {
  /** Results: what a program reads. */
  out(text: string): void;
  /** Progress, warnings, errors. */
  err(text: string): void;
  /** Whether results, and whether progress, may have colours. */
  colours: { out: boolean; err: boolean };
  /** Columns of the terminal that results go to; undefined when they go elsewhere. */
  columns: number | undefined;
  /** Columns of the terminal that progress goes to; undefined when it goes elsewhere. */
  errColumns?: number | undefined;
  env: Readonly<Record<string, string | undefined>>;
  fetch: typeof globalThis.fetch;
  now: () => number;
  /** Asks the person at the terminal; absent when nobody is there. An empty answer when they end the input. */
  ask?: (question: string) => Promise<string>;
  /** The same without showing what is typed. */
  askSecret?: (question: string) => Promise<string>;
  /** Opens a page in the browser of this machine; absent when the person would not see it. */
  openBrowser?: (url: string) => Promise<void>;
  /** From now on the process does not end at SIGINT and SIGTERM, but says so here; at the second one it ends. Absent: nobody can stop it. */
  stopSignal?: () => AbortSignal;
}

/** The terminal this process was started from. */
export function processTerminal(): Terminal {
  const { stdin, stdout, stderr, env, platform } = process;
  // https://no-color.org: set and not empty
  const wanted = (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  const openBrowser = findBrowser({ platform, env });
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    colours: { out: wanted && stdout.isTTY, err: wanted && stderr.isTTY },
    columns: stdout.isTTY ? stdout.columns : undefined,
    errColumns: stderr.isTTY ? stderr.columns : undefined,
    env,
    fetch: globalThis.fetch,
    now: Date.now,
    // Questions go where progress goes: the results may be read by a program.
    ...(stdin.isTTY && stderr.isTTY && { ask, askSecret }),
    ...(openBrowser && { openBrowser }),
    stopSignal: () => {
      const stop = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
      return stop.signal;
    },
  };
}

async function ask(question: string): Promise<string> {
  // Not `terminal: true`: then ^C would come here as a key and not end the program.
  const lines = await openLines({ input: process.stdin, output: process.stderr, terminal: false });
  const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
  try {
    return await Promise.race([lines.question(question), ended]);
  } finally {
    lines.close();
  }
}

async function askSecret(question: string): Promise<string> {
  process.stderr.write(question);
  // With `terminal: true` the terminal no longer echoes, and what readline echoes instead goes nowhere.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = await openLines({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 });
  lines.once('SIGINT', () => {
    lines.close();
    process.kill(process.pid, 'SIGINT');
  });
  const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
  try {
    return await Promise.race([lines.question(''), ended]);
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}

/** Loaded for who asks: most commands ask nothing. */
async function openLines(options: ReadLineOptions): Promise<Interface> {
  return (await import('node:readline/promises')).createInterface(options);
}
