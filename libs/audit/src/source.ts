import { open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { entryBundlePath, partialWidth, TILE_WIDTH, tileOfSize } from '#libs/merkle';
import { AuditError } from './error.js';
import { answered, createHttpReader, parseLogUrl, type HttpOptions } from './http.js';
import { bundlePath, MAX_BUNDLE_BYTES, type Layout } from './layout.js';

/** Where the objects of a log's tree are: `checkpoint`, `tile/…`, `issuer/…`, below a URL or in a folder. */
export interface LogSource {
  /** The URL without a slash at its end, or the folder's absolute path. */
  readonly location: string;
  /** The folder, if it is one: then threads can read it by themselves. */
  readonly folder: string | undefined;
  /** How many reads are worth having under way. */
  readonly concurrency: number;
  /**
   * The bytes of an object, undefined if there is none.
   * @throws AuditError `AUDIT_FOLDER`, `AUDIT_TOO_LARGE`, `AUDIT_REFUSED`, and those of `HttpReader.get`
   */
  read(path: string, maxBytes: number): Promise<Uint8Array | undefined>;
  /**
   * The newest checkpoint, a signed note.
   * @throws AuditError as `read`, and `AUDIT_MISSING`, `AUDIT_REFUSED` where there is none
   */
  readNote(): Promise<Uint8Array>;
}

/** Bytes of a checkpoint that are read at most. @see C2SP signed-note; sixteen post-quantum cosignatures stay below. */
export const MAX_CHECKPOINT_BYTES = 64 * 1024;
/** Bytes of an annex object: 256 annexes of 65 535 bytes behind their times and lengths, and a digest. */
export const MAX_ANNEX_BYTES = 256 * (10 + 0xffff) + 32;
/** Bytes of a tile of hashes. */
export const MAX_TILE_BYTES = 256 * 32;

const HTTP_NOT_FOUND = 404;

/**
 * A log at the prefix `url` under which its objects are served, as `https://log.example/api/v2`.
 * @throws AuditError `AUDIT_URL`
 */
export function urlSource(url: string, http: HttpOptions): LogSource {
  const location = parseLogUrl(url).href.replace(/\/+$/, '');
  const reader = createHttpReader(http);
  const get = async (path: string, maxBytes: number) => {
    const at = `${location}/${path}`;
    const { status, body } = await reader.get(at, maxBytes);
    if (status === HTTP_NOT_FOUND || (status >= 200 && status < 300)) return { status, body };
    throw refused(at, status, body);
  };
  return {
    location,
    folder: undefined,
    concurrency: reader.concurrency,
    async read(path, maxBytes) {
      const { status, body } = await get(path, maxBytes);
      return status === HTTP_NOT_FOUND ? undefined : body;
    },
    async readNote() {
      const { status, body } = await get('checkpoint', MAX_CHECKPOINT_BYTES);
      if (status === HTTP_NOT_FOUND) throw refused(`${location}/checkpoint`, status, body);
      return body;
    },
  };
}

/** A log whose objects are files: a mirror, or the folder that a log writes its tiles to. */
export function folderSource(folder: string): LogSource {
  const root = resolve(folder);
  const read = async (path: string, maxBytes: number) => readFileUpTo(join(root, ...path.split('/')), maxBytes);
  return {
    location: root,
    folder: root,
    concurrency: 4,
    read,
    async readNote() {
      const note = await read('checkpoint', MAX_CHECKPOINT_BYTES);
      if (note !== undefined) return note;
      throw new AuditError('AUDIT_MISSING', `Cannot read the log in ${root}: there is no file checkpoint`, {
        cure: 'Name the folder that has the files checkpoint and tile/…',
      });
    },
  };
}

/**
 * What the entry bundles of a log are, found by looking for the first one. A log without entries has no layout yet: it is taken for `tlog-tiles`.
 * @throws AuditError as `read`, and `AUDIT_MISSING` if there is neither
 */
export async function detectLayout(source: LogSource, size: bigint): Promise<Layout> {
  if (size === 0n) return 'tlog-tiles';
  // The folder of a log at work has no unfinished bundle, and this one has no other: then there is nothing to read in either layout.
  if (source.folder !== undefined && size < BigInt(TILE_WIDTH) && !(await hasFirstBundle(source, size)))
    return 'tlog-tiles';
  for (const layout of ['tlog-tiles', 'static-ct'] as const) {
    if ((await readBundle(source, layout, 0n, size)) !== undefined) return layout;
  }
  throw new AuditError('AUDIT_MISSING', `Cannot read the log at ${source.location}: it has no entry bundles`, {
    cure: 'Check that this is a log in the layout of C2SP tlog-tiles (tile/entries/…) or static-ct-api (tile/data/…)',
  });
}

async function hasFirstBundle(source: LogSource, size: bigint): Promise<boolean> {
  const found = await Promise.all(
    (['tlog-tiles', 'static-ct'] as const).map((layout) => readBundle(source, layout, 0n, size)),
  );
  return found.some((bundle) => bundle !== undefined);
}

/** An object of a tree, as wide as it was found. */
export interface FoundObject {
  path: string;
  bytes: Uint8Array;
  /** 256 when the full object stood in for a partial one, whose retention ends when it is full. */
  width: number;
}

/** A bundle as a tree of `size` entries has it, or the full one in place of a partial one. Not verified. */
export async function readBundle(
  source: LogSource,
  layout: Layout,
  index: bigint,
  size: bigint,
): Promise<FoundObject | undefined> {
  const { width } = tileOfSize(0, index, size);
  return readPartialOrFull(source, (wide) => bundlePath(layout, index, wide), width, MAX_BUNDLE_BYTES[layout]);
}

/** Whether the last bundle of a tree is not full yet. */
export function hasPartialBundle(size: bigint): boolean {
  return partialWidth(0, size) !== 0;
}

/** Reads the object of that width; if a partial one is absent, the full one. @see C2SP tlog-tiles, "Partial Tiles" */
export async function readPartialOrFull(
  source: LogSource,
  pathOf: (width: number) => string,
  width: number,
  maxBytes: number,
): Promise<FoundObject | undefined> {
  for (const wide of width === TILE_WIDTH ? [width] : [width, TILE_WIDTH]) {
    const path = pathOf(wide);
    const bytes = await source.read(path, maxBytes);
    if (bytes !== undefined) return { path, bytes, width: wide };
  }
  return undefined;
}

/** The annex object beside a bundle: times and search keys that the entries do not contain. Not every log has them. */
export function annexPath(index: bigint, width: number): string {
  return entryBundlePath(index, width).replace('tile/entries/', 'tile/annex/');
}

function refused(url: string, status: number, body: Uint8Array): AuditError {
  return new AuditError('AUDIT_REFUSED', `Cannot read ${url}: ${answered(status, body)}`, {
    status,
    cure: 'Check the URL: it must be the base of a service (with --log), or the prefix of a log’s tiles',
  });
}

async function readFileUpTo(file: string, maxBytes: number): Promise<Uint8Array | undefined> {
  try {
    const handle = await open(file, 'r');
    try {
      const { size } = await handle.stat();
      if (size > maxBytes) {
        throw new AuditError('AUDIT_TOO_LARGE', `Cannot read ${file}: ${size} bytes, at most ${maxBytes}`);
      }
      const bytes = await handle.readFile();
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (cause instanceof AuditError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable';
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined;
    throw new AuditError('AUDIT_FOLDER', `Cannot read ${file}: ${code}`, { cause });
  }
}
