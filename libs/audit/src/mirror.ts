import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { encodeHex, equalBytes } from '#libs/encoding';
import { encodeTilePath, partialWidth, TILE_HEIGHT, TILE_WIDTH, tilesOfSize } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { AuditError } from './error.js';
import { checkFollows } from './follows.js';
import { folderError, listFolder, makeFolder, syncFolder, writeDurably, writeOnce } from './files.js';
import { annexFault } from './inspect.js';
import { bundlePath, issuerFingerprints, issuerPath, type Layout } from './layout.js';
import { annexPath, detectLayout, folderSource, type LogSource, MAX_ANNEX_BYTES } from './source.js';
import { VerifiedTree } from './tiles.js';
import { readCheckpoint, type LogHead, type LogTrust } from './trust.js';

export interface MirrorOptions {
  source: LogSource;
  /** What lies in the bundles; found out if not given. */
  layout?: Layout;
  /** The folder that is, or becomes, the copy. */
  folder: string;
  trust: LogTrust;
  /** Hears how many entries are copied. */
  progress?: (done: bigint, total: bigint) => void;
  signal?: AbortSignal;
}

export interface MirrorReport {
  head: LogHead;
  layout: Layout;
  /** The size of the copy before; 0 if there was none. */
  from: bigint;
  /** Objects written now. */
  written: number;
}

const MAX_ISSUER_BYTES = 1 << 17;
const TEMPORARY = '.mirror-unfinished';

/**
 * Brings a copy of a log up to date, in the layout of C2SP tlog-tiles or static-ct-api: a static log by itself. Nothing is stored that was not verified.
 *
 * 1. The newest head must follow the copy's own, which was verified when it was stored. If it does not, nothing is changed, and both are kept as evidence.
 * 2. Tiles, bundles, issuers and annexes, each verified against the new head, written aside, synchronised and renamed. Whoever is killed here leaves
 *    whole objects under their names, which the next run verifies and uses; the copy is still that of the old checkpoint.
 * 3. All folders synchronised, then the checkpoint: now the copy is the new one.
 * 4. Partial objects whose full ones exist are removed.
 *
 * @throws AuditError `AUDIT_INCONSISTENT` (with `evidence`), `AUDIT_STOPPED`, and those of `readCheckpoint`, `VerifiedTree`, `LogSource.read`
 */
export async function mirror(options: MirrorOptions): Promise<MirrorReport> {
  const { source, trust } = options;
  const folder = resolve(options.folder);
  await makeFolder(folder);
  const copy = folderSource(folder);
  const head = await readCheckpoint(await source.readNote(), trust);
  const previous = await readPrevious(folder, trust);
  if (previous !== undefined) {
    const seen = new Date(trust.nowMs);
    const action = `go on with the copy in ${folder}, which stays as it is`;
    await checkFollows({ source, previous, head, seen, action, evidenceFolder: folder });
  }
  // The copy knows what it is of.
  const known = previous !== undefined && previous.size > 0n ? previous.size : undefined;
  const layout =
    options.layout ?? (await (known === undefined ? detectLayout(source, head.size) : detectLayout(copy, known)));

  const writer = await ObjectWriter.open(folder);
  // What the copy has is tried first, and fetched again if it does not fit.
  const tree = new VerifiedTree([copy, source], head);
  await tree.checkRoot();
  const from = previous?.size ?? 0n;
  if (from < head.size) await copyEntries(options, { tree, layout, head, writer, from });
  for (const { level, index, width } of tilesOfSize(head.size, from)) {
    if (level > 0) await writer.write(encodeTilePath({ level, index, width }), await tree.tile(level, index));
  }
  await writer.finish();
  await writeDurably(join(folder, 'checkpoint'), head.note, writer.temporary);
  await writer.close();
  await removePartials(folder, layout, from, head.size);
  return { head, layout, from, written: writer.written };
}

async function readPrevious(folder: string, trust: LogTrust): Promise<LogHead | undefined> {
  const note = await folderSource(folder).read('checkpoint', 1 << 16);
  if (note === undefined) return undefined;
  try {
    return await readCheckpoint(note, trust);
  } catch (cause) {
    if (!(cause instanceof AuditError)) throw cause;
    throw new AuditError('AUDIT_STATE', `Cannot go on with the copy in ${folder}: ${cause.message}`, {
      cause,
      cure: 'Give the keys with which it was begun; a checkpoint that somebody changed makes the copy worthless',
    });
  }
}

interface Copying {
  tree: VerifiedTree;
  layout: Layout;
  head: LogHead;
  writer: ObjectWriter;
  from: bigint;
}

async function copyEntries(options: MirrorOptions, copying: Copying): Promise<void> {
  const { source, progress, signal } = options;
  const { head, from } = copying;
  const bundles = (head.size + BigInt(TILE_WIDTH) - 1n) / BigInt(TILE_WIDTH);
  const withAnnex = copying.layout === 'tlog-tiles' && head.size > 0n && (await hasAnnex(source, head.size));
  const issuers = new Map<string, Promise<void>>();
  let next = from / BigInt(TILE_WIDTH);
  let done = from;
  const work = async (): Promise<void> => {
    while (next < bundles) {
      if (signal?.aborted)
        throw new AuditError('AUDIT_STOPPED', 'Cannot finish the copy: it was stopped', {
          cure: 'Run it again: it goes on where it was',
        });
      const index = next++;
      const width = await copyBundle(source, copying, index, withAnnex, issuers);
      done += BigInt(width);
      progress?.(done < head.size ? done : head.size, head.size);
    }
  };
  const workers = Array.from({ length: source.concurrency }, work);
  // All of them end before a failure is reported, so that nobody writes any more.
  const failed = (await Promise.allSettled(workers)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

async function copyBundle(
  source: LogSource,
  { tree, layout, writer }: Copying,
  index: bigint,
  withAnnex: boolean,
  issuers: Map<string, Promise<void>>,
): Promise<number> {
  const { bytes, spans } = await tree.bundle(layout, index);
  const width = spans.length;
  if (layout === 'static-ct') {
    // Whoever reads an entry must find its issuers.
    const needed = spans.flatMap(({ start, end }) =>
      issuerFingerprints(bytes.subarray(start, end)).map((one) => encodeHex(one)),
    );
    for (const fingerprint of new Set(needed)) {
      let copied = issuers.get(fingerprint);
      if (copied === undefined) issuers.set(fingerprint, (copied = copyIssuer(source, writer, fingerprint)));
      await copied;
    }
  }
  if (withAnnex) {
    const path = annexPath(index, width);
    const annex = await source.read(path, MAX_ANNEX_BYTES);
    // Once its bundle is full, a partial annex gives way to the full one, which has entries of a later tree.
    if (annex !== undefined) {
      const fault = annexFault(annex, width);
      if (fault !== undefined)
        throw new AuditError('AUDIT_ENTRY', `Cannot believe ${source.location}/${path}: ${fault}`);
      await writer.write(path, annex);
    }
  }
  await writer.write(bundlePath(layout, index, width), bytes);
  await writer.write(encodeTilePath({ level: 0, index, width }), await tree.tile(0, index));
  return width;
}

async function hasAnnex(source: LogSource, size: bigint): Promise<boolean> {
  const width = size < BigInt(TILE_WIDTH) ? Number(size) : TILE_WIDTH;
  return (await source.read(annexPath(0n, width), MAX_ANNEX_BYTES)) !== undefined;
}

async function copyIssuer(source: LogSource, writer: ObjectWriter, fingerprint: string): Promise<void> {
  const path = issuerPath(fingerprint);
  const bytes = await source.read(path, MAX_ISSUER_BYTES);
  if (bytes === undefined) {
    throw new AuditError(
      'AUDIT_MISSING',
      `Cannot read ${source.location}/${path}: entries refer to it, and it is not there`,
    );
  }
  if (encodeHex(sha256(bytes)) !== fingerprint) {
    throw new AuditError('AUDIT_ENTRY', `Cannot believe ${source.location}/${path}: its SHA-256 is not its name`);
  }
  await writer.write(path, bytes);
}

/** A log must keep a partial object until the full one exists; whoever has an older checkpoint takes the full one then. */
async function removePartials(folder: string, layout: Layout, from: bigint, to: bigint): Promise<void> {
  const remove = (path: string) => rm(join(folder, dirname(path)), { recursive: true, force: true });
  for (let level = 0; from >> BigInt(TILE_HEIGHT * level) > 0n; level++) {
    const width = partialWidth(level, from);
    const index = (from >> BigInt(TILE_HEIGHT * level)) / BigInt(TILE_WIDTH);
    const isFullNow = to >> BigInt(TILE_HEIGHT * level) >= (index + 1n) * BigInt(TILE_WIDTH);
    if (width === 0 || !isFullNow) continue;
    await remove(encodeTilePath({ level, index, width }));
    if (level > 0) continue;
    await remove(bundlePath(layout, index, width));
    await remove(annexPath(index, width));
  }
}

/** Writes objects into the copy; those that are there already stay. */
class ObjectWriter {
  written = 0;
  readonly #folders = new Set<string>();

  private constructor(
    readonly folder: string,
    readonly temporary: string,
  ) {}

  static async open(folder: string): Promise<ObjectWriter> {
    const temporary = join(folder, TEMPORARY);
    await makeFolder(temporary);
    // What a run that was killed left half written. Of another run that is at work only what it is writing this moment is lost, and it says so.
    for (const name of await listFolder(temporary)) await rm(join(temporary, name), { force: true });
    return new ObjectWriter(folder, temporary);
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    const file = join(this.folder, ...path.split('/'));
    const present = await readFile(file).catch(() => undefined);
    this.#note(dirname(file));
    if (present !== undefined && equalBytes(present, bytes)) return;
    await mkdir(dirname(file), { recursive: true }).catch((cause: unknown) => {
      throw folderError('make', dirname(file), cause);
    });
    await writeOnce(file, bytes, this.temporary);
    this.written++;
  }

  /** Makes all names durable that were written, those of folders too. */
  async finish(): Promise<void> {
    for (const folder of this.#folders) await syncFolder(folder);
  }

  async close(): Promise<void> {
    await rm(this.temporary, { recursive: true, force: true });
  }

  #note(folder: string): void {
    const parts = relative(this.folder, folder).split(sep);
    for (let depth = 0; depth <= parts.length; depth++) this.#folders.add(join(this.folder, ...parts.slice(0, depth)));
  }
}
