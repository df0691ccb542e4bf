import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { encodeTilePath, TILE_WIDTH, tileOfSize } from '#libs/merkle';
import { AuditError } from './error.js';
import type { BundleObjects, Findings, Inspector, ObjectBytes } from './inspect.js';
import { bundlePath, MAX_BUNDLE_BYTES } from './layout.js';
import { annexPath, MAX_ANNEX_BYTES, MAX_TILE_BYTES, type LogSource } from './source.js';

/** Which places to read: `count` bundles from number `first`, in a tree of `size` entries. */
export interface Places {
  first: bigint;
  count: number;
  size: bigint;
}

/** Reads places from any source. `withAnnex`: asking costs a request, so not where there are none. @throws AuditError as `LogSource.read` */
export async function inspectSource(
  inspector: Inspector,
  source: LogSource,
  { first, count, size }: Places,
  withAnnex: boolean,
): Promise<Findings> {
  const read = async (path: string, maxBytes: number): Promise<ObjectBytes> =>
    source.read(path, maxBytes).catch(oversize);
  const places = await Promise.all(
    Array.from({ length: count }, async (_, at): Promise<BundleObjects> => {
      const paths = pathsOf(inspector, first + BigInt(at), size);
      const [bundle, tile, annex] = await Promise.all([
        readWide(paths.bundle, paths.width, (path) => read(path, MAX_BUNDLE_BYTES[inspector.layout])),
        readWide(paths.tile, paths.width, (path) => read(path, MAX_TILE_BYTES)),
        withAnnex ? read(paths.annex, MAX_ANNEX_BYTES) : undefined,
      ]);
      return objectsOf(paths, bundle, tile, annex);
    }),
  );
  const findings = inspector.start(count);
  places.forEach((objects, at) => inspector.add(findings, at, objects));
  return inspector.finish(findings);
}

/** The same from a folder, without promises and into buffers that are used again: for threads. @throws AuditError `AUDIT_FOLDER`, `AUDIT_TOO_LARGE` */
export function inspectFolder(inspector: Inspector, folder: string, { first, count, size }: Places): Findings {
  const findings = inspector.start(count);
  const read = (path: string, room: Buffer | undefined, maxBytes: number): ObjectBytes => {
    try {
      return readInto(folder, path, room, maxBytes);
    } catch (error) {
      return oversize(error);
    }
  };
  for (let at = 0; at < count; at++) {
    const paths = pathsOf(inspector, first + BigInt(at), size);
    const maxBundle = MAX_BUNDLE_BYTES[inspector.layout];
    const bundle = readWideSync(paths.bundle, paths.width, (path) => read(path, inspector.room, maxBundle));
    const tile = readWideSync(paths.tile, paths.width, (path) => read(path, tileRoom, MAX_TILE_BYTES));
    const annex = inspector.layout === 'static-ct' ? undefined : read(paths.annex, undefined, MAX_ANNEX_BYTES);
    inspector.add(findings, at, objectsOf(paths, bundle, tile, annex));
  }
  return inspector.finish(findings);
}

const tileRoom = Buffer.alloc(MAX_TILE_BYTES);

interface Paths {
  index: bigint;
  width: number;
  bundle: (width: number) => string;
  tile: (width: number) => string;
  annex: string;
}

function pathsOf({ layout }: Inspector, index: bigint, size: bigint): Paths {
  const { width } = tileOfSize(0, index, size);
  return {
    index,
    width,
    bundle: (wide) => bundlePath(layout, index, wide),
    tile: (wide) => encodeTilePath({ level: 0, index, width: wide }),
    annex: annexPath(index, width),
  };
}

interface Wide {
  bytes: ObjectBytes;
  width: number;
}

function objectsOf({ index, width }: Paths, bundle: Wide, tile: Wide, annex: ObjectBytes): BundleObjects {
  return {
    index,
    width,
    bundle: bundle.bytes,
    bundleWidth: bundle.width,
    tile: tile.bytes,
    tileWidth: tile.width,
    annex,
  };
}

/** The object of that width; if a partial one is absent, the full one. @see C2SP tlog-tiles, "Partial Tiles" */
async function readWide(
  pathOf: (width: number) => string,
  width: number,
  read: (path: string) => Promise<ObjectBytes>,
): Promise<Wide> {
  const bytes = await read(pathOf(width));
  if (bytes !== undefined || width === TILE_WIDTH) return { bytes, width };
  const full = await read(pathOf(TILE_WIDTH));
  return { bytes: full, width: full === undefined ? width : TILE_WIDTH };
}

function readWideSync(pathOf: (width: number) => string, width: number, read: (path: string) => ObjectBytes): Wide {
  const bytes = read(pathOf(width));
  if (bytes !== undefined || width === TILE_WIDTH) return { bytes, width };
  const full = read(pathOf(TILE_WIDTH));
  return { bytes: full, width: full === undefined ? width : TILE_WIDTH };
}

/** An object that is too large is a finding, and no reason not to look at the others. */
function oversize(error: unknown): 'oversize' {
  if (error instanceof AuditError && error.code === 'AUDIT_TOO_LARGE') return 'oversize';
  throw error;
}

function readInto(folder: string, path: string, room: Buffer | undefined, maxBytes: number): Uint8Array | undefined {
  const file = join(folder, path);
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (cause) {
    return absent(file, cause);
  }
  try {
    const { size } = fstatSync(descriptor);
    if (size > maxBytes) {
      throw new AuditError('AUDIT_TOO_LARGE', `Cannot read ${file}: ${size} bytes, at most ${maxBytes}`);
    }
    const into = room ?? Buffer.allocUnsafe(size);
    let length = 0;
    while (length < size) {
      const read = readSync(descriptor, into, length, size - length, length);
      if (read === 0) break; // it was shortened while we read
      length += read;
    }
    return into.subarray(0, length);
  } catch (cause) {
    if (cause instanceof AuditError) throw cause;
    return absent(file, cause);
  } finally {
    closeSync(descriptor);
  }
}

function absent(file: string, cause: unknown): undefined {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable';
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined;
  throw new AuditError('AUDIT_FOLDER', `Cannot read ${file}: ${code}`, { cause });
}
