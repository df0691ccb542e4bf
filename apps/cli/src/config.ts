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
  /** From now on the process does not end at SIGINT and SIGTERM, but says so here; at the second one it ends. Absent: nobody can stop it. */
  stopSignal?: () => AbortSignal;
}

/** The terminal this process was started from. */
export function processTerminal(): Terminal {
  const { stdout, stderr, env } = process;
  // https://no-color.org: set and not empty
  const wanted = (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    colours: { out: wanted && stdout.isTTY, err: wanted && stderr.isTTY },
    columns: stdout.isTTY ? stdout.columns : undefined,
    errColumns: stderr.isTTY ? stderr.columns : undefined,
    env,
    fetch: globalThis.fetch,
    now: Date.now,
    stopSignal: () => {
      const stop = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
      return stop.signal;
    },
  };
}
