import { TILE_WIDTH } from '#libs/merkle';
import type { Checkpoint } from '#libs/note';
import { AuditError, type AuditErrorCode } from './error.js';
import { checkFollows } from './follows.js';
import { annexFault, splitAnnex } from './inspect.js';
import type { Layout } from './layout.js';
import { annexPath, detectLayout, MAX_ANNEX_BYTES, type LogSource } from './source.js';
import { VerifiedTree } from './tiles.js';
import { readCheckpoint, type LogHead, type LogTrust } from './trust.js';

/** An entry that is in the tree. */
export interface LoggedEntry {
  index: bigint;
  /** The entry; of a CT log the TileLeaf. */
  record: Uint8Array;
  /** When the log says that it took the entry, and what it keeps beside it; not every log has such objects, and the tree does not vouch for them. */
  annex: { timestampMs: bigint; bytes: Uint8Array } | undefined;
}

/** Bundles that are fetched before they are asked for. */
const AHEAD = 4;

/**
 * The entries from `from` up to the head's size, in order, each proven to be in the tree under the head.
 * @throws AuditError as `VerifiedTree`
 */
export async function* readEntries(
  source: LogSource,
  layout: Layout,
  head: Checkpoint,
  from: bigint,
): AsyncGenerator<LoggedEntry> {
  const tree = new VerifiedTree([source], head);
  await tree.checkRoot();
  const annexes = new AnnexReader(source, layout);
  const read = async (index: bigint): Promise<LoggedEntry[]> => {
    const { bytes, spans, first } = await tree.bundle(layout, index);
    const beside = await annexes.read(index, spans.length);
    return spans.map(({ start, end }, at) => ({
      index: first + BigInt(at),
      record: bytes.subarray(start, end),
      annex: beside?.[at],
    }));
  };
  const end = (head.size + BigInt(TILE_WIDTH) - 1n) / BigInt(TILE_WIDTH);
  const under: Promise<LoggedEntry[]>[] = [];
  for (let next = from / BigInt(TILE_WIDTH), at = next; at < end; at++) {
    for (; next < end && under.length < AHEAD; next++) {
      const bundle = read(next);
      // Heard when it is its turn.
      bundle.catch(() => undefined);
      under.push(bundle);
    }
    for (const entry of (await under.shift()) ?? []) if (entry.index >= from) yield entry;
  }
}

/** Asks for annexes only where the first answer shows that the log has some. */
class AnnexReader {
  #exists: boolean;

  constructor(
    private readonly source: LogSource,
    layout: Layout,
  ) {
    this.#exists = layout === 'tlog-tiles';
  }

  async read(index: bigint, width: number): Promise<{ timestampMs: bigint; bytes: Uint8Array }[] | undefined> {
    if (!this.#exists) return undefined;
    const bytes = await this.source.read(annexPath(index, width), MAX_ANNEX_BYTES);
    if (bytes === undefined) {
      this.#exists = false;
      return undefined;
    }
    // A wrong one says nothing; `fsck` reports it.
    return annexFault(bytes, width) === undefined ? splitAnnex(bytes, width) : undefined;
  }
}

export interface FollowOptions {
  source: LogSource;
  /** What lies in the bundles; found out if not given. */
  layout?: Layout;
  trust: Omit<LogTrust, 'nowMs'>;
  now: () => number;
  /** The first entry that is wanted, given the first head: so that a follower can begin at the end. */
  from: (size: bigint) => bigint;
  /** A head that was verified before: the first one now must follow it. */
  after?: LogHead;
  /** Milliseconds between two looks; undefined: only one look. */
  intervalMs?: number;
  /** Waits, or returns early when the signal says so. */
  sleep: (milliseconds: number) => Promise<void>;
  /** Hears that the log cannot be read at the moment. */
  onTrouble?: (error: AuditError) => void;
  /** Where evidence is kept of a log that contradicts itself. */
  evidenceFolder: string;
  signal?: AbortSignal;
}

/** What a follower gets: an entry, or at the end of each look the head under which all entries up to now were. */
export type Followed =
  | { kind: 'entry'; entry: LoggedEntry; head: LogHead; layout: Layout }
  | { kind: 'head'; head: LogHead; layout: Layout };

/** What passes: a log that follows these is asked again. */
const passing: ReadonlySet<AuditErrorCode> = new Set([
  'AUDIT_NETWORK',
  'AUDIT_UNAVAILABLE',
  'AUDIT_MISSING',
  'AUDIT_REFUSED',
]);
const MAX_PAUSE_MS = 5 * 60_000;

/**
 * Gives the entries of a log as they come, each once, in order and proven; every new head must follow the one before. Ends after one look, or when the
 * signal says so.
 * @throws AuditError `AUDIT_INCONSISTENT` (with `evidence`); what `readCheckpoint` and `VerifiedTree` throw; with an interval nothing that may pass
 */
export async function* followLog(options: FollowOptions): AsyncGenerator<Followed> {
  const { source, intervalMs, signal } = options;
  let previous = options.after;
  let next: bigint | undefined;
  let layout = options.layout;
  let failures = 0;
  while (!signal?.aborted) {
    try {
      const trust = { ...options.trust, nowMs: options.now() };
      const head = await readCheckpoint(await source.readNote(), trust);
      if (previous !== undefined) {
        const { evidenceFolder } = options;
        await checkFollows({
          source,
          previous,
          head,
          seen: new Date(trust.nowMs),
          action: 'follow the log',
          evidenceFolder,
        });
      }
      next ??= options.from(head.size);
      if (layout === undefined && head.size > 0n) layout = await detectLayout(source, head.size);
      const known = layout ?? 'tlog-tiles';
      if (next < head.size) {
        for await (const entry of readEntries(source, known, head, next)) {
          yield { kind: 'entry', entry, head, layout: known };
          next = entry.index + 1n;
          if (signal?.aborted) return;
        }
      }
      yield { kind: 'head', head, layout: known };
      previous = head;
      failures = 0;
    } catch (error) {
      if (intervalMs === undefined || !(error instanceof AuditError) || !passing.has(error.code)) throw error;
      options.onTrouble?.(error);
      failures++;
    }
    if (intervalMs === undefined) return;
    // Who is overloaded or down is asked less often.
    await options.sleep(Math.min(intervalMs * 2 ** Math.min(failures, 10), Math.max(intervalMs, MAX_PAUSE_MS)));
  }
}
