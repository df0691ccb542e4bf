import { dirname } from 'node:path';
import { followLog, readCheckpoint, type LogHead, type LogTrust } from '#libs/audit';
import { parseJson } from '#libs/encoding';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { exists, readInput, writeAtomically } from './files.js';
import { entryJson, entryLine, entryRow, readEntry, type ShownEntry } from './log-entries.js';
import { openTiles, type LogOptions } from './log-open.js';
import { jsonLine, printable, style } from './style.js';
import { readMatcher } from './matcher.js';

export interface TailCommand extends LogOptions {
  follow?: boolean;
  from?: bigint;
  interval: number;
  identity?: string;
  sanRegexp?: string;
  issuer?: string;
  state?: string;
}

const POSITION_FORMAT = 'chancery-log-position/v1';
const MAX_POSITION_BYTES = 1 << 18;
/** Entries shown without `--from`, as tail(1) shows lines. */
const LAST = 10n;
/** How often the position is written while many entries come. */
const SAVE_EVERY = 1000n;

/** `log tail`: entries as they come, each proven to be in the log. */
export async function tailLog(terminal: Terminal, options: TailCommand): Promise<ExitCode> {
  const isWanted = await readFilter(options);
  const { source, trust, layoutOf } = await openTiles(terminal, options);
  const position = options.state === undefined ? undefined : await readPosition(options.state, trust);
  const signal = options.follow === true ? terminal.stopSignal?.() : undefined;
  const paint = style(terminal.colours.err);
  const say = (what: string) => terminal.err(`${paint.warn('note:')} ${printable(what)}\n`);
  let saved = position?.next ?? 0n;
  const save = async (next: bigint, head: LogHead): Promise<void> => {
    if (options.state !== undefined) await writeAtomically(options.state, positionText(next, head));
    saved = next;
  };
  const entries = followLog({
    source,
    ...(options.url !== undefined && { layout: await layoutOf(0n) }),
    trust,
    now: terminal.now,
    from: (size) => position?.next ?? options.from ?? (size > LAST ? size - LAST : 0n),
    ...(position && { after: position.head }),
    ...(options.follow === true && { intervalMs: options.interval * 1000 }),
    sleep: (milliseconds) => pause(milliseconds, signal),
    onTrouble: (error) => say(`${error.message}; trying again`),
    evidenceFolder: options.state === undefined ? '.' : dirname(options.state),
    ...(signal && { signal }),
  });
  let isFirst = true;
  // Written after the entries before it: whoever is killed in between sees entries twice, and misses none.
  for await (const followed of entries) {
    if (isFirst && followed.head.signedBy === undefined && !options.json) {
      say('signatures are not verified: give --trusted-root or --verifier-key to know that the log itself signed this');
    }
    isFirst = false;
    if (followed.kind === 'head') {
      await save(followed.head.size, followed.head);
      continue;
    }
    const { entry, layout, head } = followed;
    const shown = readEntry(layout, entry);
    if (isWanted(shown)) terminal.out(options.json ? jsonLine(entryJson(shown)) : entryLine(entryRow(shown)));
    if (entry.index + 1n - saved >= SAVE_EVERY) await save(entry.index + 1n, head);
  }
  return exitCodes.ok;
}

/** All that is asked must hold of one and the same certificate: who signs with one has nothing to do with the issuer of another. */
async function readFilter({ identity, sanRegexp, issuer }: TailCommand): Promise<(entry: ShownEntry) => boolean> {
  const san = await readMatcher(identity, sanRegexp, { exact: '--identity', pattern: '--san-regexp' });
  if (issuer === '') throw new CliError('usage', 'Cannot filter: the value of --issuer is empty');
  if (san === undefined && issuer === undefined) return () => true;
  const isNamed = (value: string) => san === undefined || (typeof san === 'string' ? value === san : san(value));
  return ({ facts }) =>
    facts.signers.some(
      ({ identities = [], issuers = [] }) =>
        (san === undefined || identities.some(({ value }) => isNamed(value))) &&
        (issuer === undefined || issuers.includes(issuer)),
    );
}

function positionText(next: bigint, head: LogHead): string {
  return `${JSON.stringify({ format: POSITION_FORMAT, next: next.toString(), checkpoint: head.note }, null, 2)}\n`;
}

/** The place to go on from, and the head that was verified there. @throws CliError `unreadable` */
async function readPosition(path: string, trust: LogTrust): Promise<{ next: bigint; head: LogHead } | undefined> {
  if (!(await exists(path))) return undefined;
  const bytes = await readInput(path, 'the position', MAX_POSITION_BYTES);
  try {
    const file = parseJson(bytes);
    if (file === null || typeof file !== 'object' || Array.isArray(file) || file['format'] !== POSITION_FORMAT) {
      throw new Error(`its format is not ${POSITION_FORMAT}`);
    }
    const { next, checkpoint } = file;
    if (typeof next !== 'string' || !/^(0|[1-9]\d{0,18})$/.test(next)) throw new Error('next is no index');
    if (typeof checkpoint !== 'string') throw new Error('it has no checkpoint');
    const head = await readCheckpoint(checkpoint, trust);
    if (BigInt(next) > head.size) throw new Error('next is beyond its checkpoint');
    return { next: BigInt(next), head };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'malformed';
    throw new CliError('unreadable', `Cannot go on from the position in ${path}: ${reason}`, {
      cause,
      cure: 'Give the file that --state wrote for this log, or remove it to begin anew',
    });
  }
}

/** Waits, but no longer than until it is stopped. */
function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done);
  });
}
