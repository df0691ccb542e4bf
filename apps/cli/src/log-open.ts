import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import {
  AuditError,
  detectLayout,
  folderSource,
  parseLogKey,
  readCheckpoint,
  rekorLog,
  tilesLog,
  urlSource,
  type Layout,
  type LogHead,
  type LogSource,
  type LogTrust,
  type ProvableLog,
  type RekorLog,
} from '#libs/audit';
import type { Terminal } from './config.js';
import { CliError } from './exit.js';
import { exists, readInput } from './files.js';
import { readTrustedRoot } from './trust-files.js';

/** Which log, and whom to believe about it. */
export interface LogOptions {
  url?: string;
  /** With `url`: which of the service's trees. */
  log?: LogName;
  tiles?: string;
  trustedRoot?: string;
  verifierKey?: string[];
  origin?: string;
  json?: boolean;
}

export const logNames = ['v2', 'v1', 'ct'] as const;
export type LogName = (typeof logNames)[number];

/** Where each tree of a service is served, and what its bundles are. */
export const treePrefixes: Readonly<Record<LogName, { path: string; layout: Layout }>> = {
  v2: { path: '/api/v2', layout: 'tlog-tiles' },
  v1: { path: '/api/v1', layout: 'tlog-tiles' },
  ct: { path: '/ct', layout: 'static-ct' },
};

/** A log that can be read: by its tiles, or else (Rekor v1 without tiles) by its API. */
export interface OpenLog {
  location: string;
  /** Undefined if the log serves no tiles. */
  source: LogSource | undefined;
  rekor: RekorLog | undefined;
  provable: ProvableLog;
  trust: LogTrust;
  /** The newest head, believed as far as `trust` goes, and of the origin that was asked for. */
  readHead: () => Promise<LogHead>;
  /** Undefined until it has been found out. */
  layoutOf: (size: bigint) => Promise<Layout>;
}

const MAX_KEY_BYTES = 16 * 1024;

/** Opens the log that the flags name. @throws CliError `usage`, `unreadable`; AuditError */
export async function openLog(terminal: Terminal, options: LogOptions): Promise<OpenLog> {
  const { url, tiles, log = 'v2' } = options;
  if ((url === undefined) === (tiles === undefined)) {
    throw new CliError(
      'usage',
      'Cannot choose a log: give either --url (a service) or --tiles (a prefix or folder of a log)',
    );
  }
  if (tiles !== undefined && options.log !== undefined) {
    throw new CliError('usage', 'Cannot choose a log: --log belongs to --url; --tiles names one log by itself');
  }
  const trust = await readLogTrust(terminal, options);
  const http = { fetch: terminal.fetch, now: terminal.now };
  if (tiles !== undefined) {
    const source = /^https?:\/\//.test(tiles) ? urlSource(tiles, http) : await openFolder(tiles);
    return fromTiles(source, trust, options.origin);
  }
  const base = (url ?? '').replace(/\/+$/, '');
  const { path, layout } = treePrefixes[log];
  const source = urlSource(`${base}${path}`, http);
  if (log !== 'v1' || (await servesTiles(source))) return fromTiles(source, trust, options.origin, layout);
  const rekor = rekorLog(base, http);
  const readHead = async () => {
    const [note = ''] = await rekor.readNotes();
    return ofOrigin(await readCheckpoint(note, trust), options.origin);
  };
  const { location } = rekor;
  return { location, source: undefined, rekor, provable: rekor, trust, readHead, layoutOf: async () => layout };
}

/** As `openLog`, for commands that need tiles. */
export async function openTiles(terminal: Terminal, options: LogOptions): Promise<OpenLog & { source: LogSource }> {
  const log = await openLog(terminal, options);
  if (log.source !== undefined) return { ...log, source: log.source };
  throw new CliError('usage', `Cannot read all of the log: ${log.location} serves no tiles`, {
    cure: 'Only info, get, prove and consistency work by the API of Rekor v1',
  });
}

/** Whom the flags say to believe. @throws CliError `unreadable`; AuditError `AUDIT_KEY` */
export async function readLogTrust(
  terminal: Terminal,
  { trustedRoot, verifierKey }: Pick<LogOptions, 'trustedRoot' | 'verifierKey'>,
): Promise<LogTrust> {
  const keys = await Promise.all((verifierKey ?? []).map(readVerifierKey));
  return {
    nowMs: terminal.now(),
    ...(trustedRoot !== undefined && { trustedRoot: await readTrustedRoot(trustedRoot) }),
    ...(keys.length > 0 && { logKeys: keys.map(parseLogKey) }),
  };
}

/** Where what is remembered of logs is kept, unless the flags say otherwise. @see XDG Base Directory Specification */
export function stateFolder(terminal: Terminal, state: string | undefined): string {
  if (state !== undefined) return state;
  const { XDG_STATE_HOME: xdg = '', HOME: home = '' } = terminal.env;
  // A relative path in the variable is to be ignored.
  if (xdg.startsWith('/')) return join(xdg, 'chancery', 'logs');
  if (home !== '') return join(home, '.local', 'state', 'chancery', 'logs');
  throw new CliError('usage', 'Cannot remember the log: neither XDG_STATE_HOME nor HOME is set', {
    cure: 'Give --state',
  });
}

/** How many threads may read a folder. From its sources the program has none: a thread needs compiled code. */
export function readingThreads(wanted: number | undefined): number {
  return import.meta.url.endsWith('.js') ? (wanted ?? availableParallelism()) : 0;
}

/** That a question has no answer is an end of its own: only what a log did is held against it. Other errors rise as they are. */
export async function orUntold<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof AuditError) || !untold.has(error.code)) throw error;
    const { message, cure, code } = error;
    throw new CliError('untold', message, { cause: error, code, ...(cure !== undefined && { cure }) });
  }
}

const untold: ReadonlySet<string> = new Set([
  ...['AUDIT_NETWORK', 'AUDIT_REDIRECT', 'AUDIT_REFUSED', 'AUDIT_UNAVAILABLE', 'AUDIT_TOO_LARGE', 'AUDIT_RESPONSE'],
  ...['AUDIT_MISSING', 'AUDIT_SIGNER', 'AUDIT_TILES', 'AUDIT_STOPPED'],
]);

function fromTiles(source: LogSource, trust: LogTrust, origin: string | undefined, layout?: Layout): OpenLog {
  const provable = tilesLog(source);
  const readHead = async () => ofOrigin(await readCheckpoint(await source.readNote(), trust), origin);
  const layoutOf = async (size: bigint) => layout ?? detectLayout(source, size);
  return { location: source.location, source, rekor: undefined, provable, trust, readHead, layoutOf };
}

async function openFolder(folder: string): Promise<LogSource> {
  if (await exists(folder)) return folderSource(folder);
  throw new CliError('unreadable', `Cannot read the log in ${resolve(folder)}: there is no such folder`);
}

/** The public Rekor v1 has none; it answers 404 in its own words. */
async function servesTiles(source: LogSource): Promise<boolean> {
  try {
    await source.readNote();
    return true;
  } catch (error) {
    if (error instanceof AuditError && error.code === 'AUDIT_REFUSED') return false;
    throw error;
  }
}

function ofOrigin(head: LogHead, origin: string | undefined): LogHead {
  if (origin === undefined || head.origin === origin) return head;
  throw new CliError(
    'failed',
    `Cannot believe the checkpoint of the log: its origin is ${JSON.stringify(head.origin)}, not ${JSON.stringify(origin)}`,
  );
}

/** A verifier key itself, or a file that has it. */
async function readVerifierKey(given: string): Promise<string> {
  if (/^[^+\s]+\+[0-9a-f]{8}\+/.test(given)) return given;
  return Buffer.from(await readInput(given, 'the verifier key', MAX_KEY_BYTES)).toString('utf8');
}
