import { encodeHex, equalBytes } from '#libs/encoding';
import { emptyRoot, encodeTilePath, partialWidth, TILE_HEIGHT, TILE_WIDTH } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { AuditError } from './error.js';
import type { Picked, Suspect, WrongAnnex } from './inspect.js';
import { inspectLog } from './inspect-log.js';
import { judge, type Problem, type StoredTile } from './judge.js';
import { bundlePath, issuerPath, type Layout } from './layout.js';
import {
  annexPath,
  hasPartialBundle,
  MAX_TILE_BYTES,
  readBundle,
  readPartialOrFull,
  type LogSource,
} from './source.js';
import type { TextFilter } from './text-filter.js';
import type { LogHead } from './trust.js';

export interface FsckOptions {
  source: LogSource;
  layout: Layout;
  /** What all is measured by: `readCheckpoint` of the source's note, or of another of the same log. */
  head: LogHead;
  /** Threads that read a folder; of a URL none. 0: this thread alone. They need compiled code. Default 0. */
  threads?: number;
  /** Hears how far reading has come, in entries. */
  progress?: (done: bigint, total: bigint) => void;
  /** Entries that contain these texts are handed to `onPicked`, in no order. */
  filter?: TextFilter;
  onPicked?: (picked: Picked) => void;
  signal?: AbortSignal;
}

/** What is known about a log after reading all of it. */
export interface FsckReport {
  /** `intact`: every entry and every tile is what the checkpoint says. `untold`: nothing is wrong, but not all of it is here. */
  outcome: 'intact' | 'damaged' | 'untold';
  /** In the order of the log. */
  problems: Problem[];
  /** Bundles that are wrong too, beyond those in `problems`. */
  more: number;
  /** What could not be told, in sentences. */
  untold: string[];
  entries: bigint;
  bytes: number;
}

const MAX_SUSPECTS = 500;
/** Beyond so many more bundles that are wrong or not there, nothing is gained by reading on; a checkpoint can claim 2^63 entries. */
const MAX_SKIPPED = 10_000;
const MAX_ISSUER_BYTES = 1 << 17;

/**
 * Recomputes a log from its entries: every entry's leaf hash against the tiles of level 0, every tile against the one above, up to the root of the
 * checkpoint. Says which object is wrong and where, as far as that can be told. Annexes are checked by the digest that they end with, issuers of a CT log by their
 * fingerprint.
 *
 * @throws AuditError as `LogSource.read`, and `AUDIT_STOPPED`
 */
export async function fsck(options: FsckOptions): Promise<FsckReport> {
  const { source, layout, head } = options;
  const { size } = head;
  if (size === 0n) return emptyReport(head);

  // 1. All entries, in parallel, against the tiles of level 0.
  const suspects = new Map<bigint, Suspect>();
  const skipped = new Set<bigint>();
  const annexes: WrongAnnex[] = [];
  const issuers = new Set<string>();
  // Kept as it comes: a checkpoint can claim any size, and memory is for what was read.
  const stretches: { start: bigint; folds: Uint8Array }[] = [];
  const reader = { source, layout, size, filter: options.filter, threads: options.threads ?? 0 };
  const counted = { entries: 0, bytes: 0 };
  for await (const { places, findings } of inspectLog({
    ...reader,
    ...(options.signal && { signal: options.signal }),
  })) {
    stretches.push({ start: places.first, folds: findings.folds });
    for (const suspect of findings.suspects) {
      if (suspects.size < MAX_SUSPECTS) suspects.set(suspect.index, suspect);
      else skipped.add(suspect.index);
    }
    annexes.push(...findings.annexes.slice(0, MAX_SUSPECTS - annexes.length));
    for (const issuer of findings.issuers) issuers.add(issuer);
    for (const picked of findings.picked) options.onPicked?.(picked);
    counted.entries += findings.entries;
    counted.bytes += findings.bytes;
    options.progress?.(BigInt(counted.entries), size);
    if (skipped.size > MAX_SKIPPED) return hopelessReport(layout, suspects, skipped, counted);
  }
  const folds = new Uint8Array(Number(size / BigInt(TILE_WIDTH)) * 32);
  for (const { start, folds: part } of stretches) {
    const at = Number(start) * 32;
    folds.set(part.subarray(0, folds.length - at), at);
  }

  // 2. The tiles above, and what they say about the suspects.
  const isAtWork = source.folder !== undefined && (await hasNoPartials(source, layout, size));
  const unfinishedFrom = isAtWork ? firstUnfinished(size, suspects) : undefined;
  const { problems, rootHolds } = judge({
    head,
    layout,
    folds,
    suspects,
    skipped,
    lastTile: await readLastTile(source, size),
    tiles: await readUpperTiles(source, size),
    unfinishedFrom,
  });

  // 3. What the tree does not hash.
  for (const { index, width, length, reason } of annexes) {
    const object = annexPath(index, width);
    problems.push({ kind: 'wrong', object, offset: 0, end: length, logIndex: index * BigInt(TILE_WIDTH), reason });
  }
  for (const issuer of issuers) {
    const problem = await checkIssuer(source, issuer);
    if (problem !== undefined) problems.push(problem);
  }

  const untold: string[] = [];
  if (!rootHolds && unfinishedFrom !== undefined) {
    const from = unfinishedFrom * BigInt(TILE_WIDTH);
    untold.push(
      `the entries from ${from} on and the tiles over them are not here: a log keeps what is unfinished elsewhere, so nothing leads up to the root`,
    );
  }
  const damaged = problems.length > 0 || skipped.size > 0;
  return {
    outcome: damaged ? 'damaged' : rootHolds ? 'intact' : 'untold',
    problems,
    more: skipped.size,
    untold,
    entries: BigInt(counted.entries),
    bytes: counted.bytes,
  };
}

/** A log without entries has no tiles; its root is known. */
function emptyReport({ rootHash }: LogHead): FsckReport {
  const root = emptyRoot(sha256);
  const fits = equalBytes(rootHash, root);
  const reason = `the root of a log without entries is ${encodeHex(root)}, the checkpoint has ${encodeHex(rootHash)}`;
  return {
    outcome: fits ? 'intact' : 'damaged',
    problems: fits ? [] : [{ kind: 'wrong', object: 'checkpoint', reason }],
    more: 0,
    untold: [],
    entries: 0n,
    bytes: 0,
  };
}

/** What is said of a log in which so much is wrong that it was not read to its end. */
function hopelessReport(
  layout: Layout,
  suspects: ReadonlyMap<bigint, Suspect>,
  skipped: ReadonlySet<bigint>,
  { entries, bytes }: { entries: number; bytes: number },
): FsckReport {
  const problems = [...suspects.values()].map(({ index, bundle, bundleWidth }): Problem => {
    const object = bundlePath(layout, index, bundleWidth);
    const logIndex = index * BigInt(TILE_WIDTH);
    if (bundle === 'missing') return { kind: 'missing', object, logIndex, reason: 'it is not there' };
    if (bundle === 'whole') return { kind: 'disagree', object, logIndex, reason: 'it does not fit its tile' };
    return { kind: bundle.kind, object, offset: bundle.offset, logIndex, reason: bundle.reason };
  });
  problems.sort((a, b) => ((a.logIndex ?? 0n) < (b.logIndex ?? 0n) ? -1 : 1));
  const untold = ['reading stopped before the end of the log, because too much of it is wrong or not there'];
  return { outcome: 'damaged', problems, more: skipped.size, untold, entries: BigInt(entries), bytes };
}

/** Whether nothing of what is unfinished is there: then it is the folder of a log at work, not that of a mirror. */
async function hasNoPartials(source: LogSource, layout: Layout, size: bigint): Promise<boolean> {
  for (let level = 0; size >> BigInt(TILE_HEIGHT * level) > 0n; level++) {
    const width = partialWidth(level, size);
    const index = (size >> BigInt(TILE_HEIGHT * level)) / BigInt(TILE_WIDTH);
    if (width > 0 && (await readTile(source, level, index, width)) !== undefined) return false;
  }
  return !hasPartialBundle(size) || (await readBundle(source, layout, size / BigInt(TILE_WIDTH), size)) === undefined;
}

/** A log stores a tile after its bundle, and publishes before it stores: behind the last tile all may still be on its way. */
function firstUnfinished(size: bigint, suspects: ReadonlyMap<bigint, Suspect>): bigint {
  let first = size / BigInt(TILE_WIDTH);
  while (first > 0n && suspects.get(first - 1n)?.tile === 'missing') first--;
  return first;
}

async function readLastTile(source: LogSource, size: bigint): Promise<Uint8Array | undefined> {
  const width = partialWidth(0, size);
  if (width === 0) return undefined;
  return (await readTile(source, 0, size / BigInt(TILE_WIDTH), width))?.bytes;
}

async function readUpperTiles(source: LogSource, size: bigint): Promise<Map<string, StoredTile>> {
  const tiles = new Map<string, StoredTile>();
  for (let level = 1; size >> BigInt(TILE_HEIGHT * level) > 0n; level++) {
    const count = size >> BigInt(TILE_HEIGHT * level);
    const names = Array.from({ length: Number((count + BigInt(TILE_WIDTH) - 1n) / BigInt(TILE_WIDTH)) }, (_, at) =>
      BigInt(at),
    );
    await Promise.all(
      names.map(async (index) => {
        const isLast = index === count / BigInt(TILE_WIDTH);
        const width = isLast ? partialWidth(level, size) : TILE_WIDTH;
        const found = await readTile(source, level, index, width);
        tiles.set(`${level}/${index}`, { bytes: found?.bytes, objectWidth: found?.objectWidth ?? width });
      }),
    );
  }
  return tiles;
}

/** Cut to the width that the tree has, where the full tile stands in for a partial one. */
async function readTile(
  source: LogSource,
  level: number,
  index: bigint,
  width: number,
): Promise<{ bytes: Uint8Array; objectWidth: number } | undefined> {
  const pathOf = (wide: number) => encodeTilePath({ level, index, width: wide });
  const found = await readPartialOrFull(source, pathOf, width, MAX_TILE_BYTES).catch((error: unknown) => {
    if (!(error instanceof AuditError) || error.code !== 'AUDIT_TOO_LARGE') throw error;
    // One byte too long is as wrong as a million.
    return { bytes: new Uint8Array(MAX_TILE_BYTES + 1), width };
  });
  if (found === undefined) return undefined;
  if (found.width !== width && found.bytes.length === MAX_TILE_BYTES) {
    return { bytes: found.bytes.subarray(0, width * 32), objectWidth: width };
  }
  return { bytes: found.bytes, objectWidth: found.width };
}

async function checkIssuer(source: LogSource, fingerprint: string): Promise<Problem | undefined> {
  const object = issuerPath(fingerprint);
  let bytes: Uint8Array | undefined;
  try {
    bytes = await source.read(object, MAX_ISSUER_BYTES);
  } catch (error) {
    if (!(error instanceof AuditError) || error.code !== 'AUDIT_TOO_LARGE') throw error;
    return { kind: 'long', object, offset: MAX_ISSUER_BYTES, reason: 'it is larger than any certificate' };
  }
  if (bytes === undefined) return { kind: 'missing', object, reason: 'entries refer to it, and it is not there' };
  if (encodeHex(sha256(bytes)) === fingerprint) return undefined;
  return { kind: 'wrong', object, offset: 0, end: bytes.length, reason: 'its SHA-256 is not its name' };
}
