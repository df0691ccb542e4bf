import { MerkleError } from './error.js';
import { MAX_TREE_SIZE } from './node.js';
import { type Tile, TILE_WIDTH } from './tile.js';

/** @see C2SP tlog-tiles: `<L>` is between 0 and 63 */
const MAX_TILE_LEVEL = 63;
/** The longest path that can be right: `tile/entries/` or `tile/63/`, seven groups, `.p/255`. */
const MAX_PATH_LENGTH = 64;

/**
 * A bundle by its place: entries 256·index … 256·index + width - 1. `width` is 1 to 256.
 */
export interface EntryBundleId {
  index: bigint;
  width: number;
}

/**
 * The path of a tile below the log's prefix, as `tile/0/x001/x234/067.p/8`.
 * @throws MerkleError `MERKLE_TILE_PATH`
 * @see C2SP tlog-tiles, "Merkle Tree"
 */
export function encodeTilePath({ level, index, width }: Tile): string {
  if (!Number.isInteger(level) || level < 0 || level > MAX_TILE_LEVEL) {
    throw new MerkleError(
      'MERKLE_TILE_PATH',
      `Cannot encode tile path: level ${level} is not between 0 and ${MAX_TILE_LEVEL}`,
    );
  }
  return `tile/${level}/${encodePlace(index, width)}`;
}

/**
 * The tile that a path names; the inverse of `encodeTilePath`, which alone gives the accepted spelling.
 * @throws MerkleError `MERKLE_TILE_PATH`
 */
export function parseTilePath(path: string): Tile {
  checkPathLength(path);
  const [, level, place] = /^tile\/(0|[1-9][0-9]?)\/(.*)$/s.exec(path) ?? [];
  if (level === undefined || place === undefined || Number(level) > MAX_TILE_LEVEL) throw malformed(path);
  return { level: Number(level), ...parsePlace(place, path) };
}

/**
 * What a bundle holds: entries, for which logs of certificates say `data`; or, numbered as the entries, the `annex` that
 * a log keeps beside each of them.
 */
export type EntryBundleName = 'entries' | 'data' | 'annex';

/**
 * The path of an entry bundle, as `tile/entries/000.p/17`.
 * @throws MerkleError `MERKLE_TILE_PATH`
 * @see C2SP tlog-tiles, "Log Entries"; C2SP static-ct-api, "Log Entries"
 */
export function entryBundlePath(index: bigint, width: number, name: EntryBundleName = 'entries'): string {
  return `tile/${name}/${encodePlace(index, width)}`;
}

/**
 * The bundle that a path names; the inverse of `entryBundlePath`.
 * @throws MerkleError `MERKLE_TILE_PATH`
 */
export function parseEntryBundlePath(path: string, name: EntryBundleName = 'entries'): EntryBundleId {
  checkPathLength(path);
  const prefix = `tile/${name}/`;
  if (!path.startsWith(prefix)) throw malformed(path);
  return parsePlace(path.slice(prefix.length), path);
}

/**
 * A tile's index in groups of three digits, all but the last marked `x`: 1234067 is `x001/x234/067`. So no folder
 * gets more than 2000 names.
 * @throws MerkleError `MERKLE_TILE_PATH`
 */
export function encodeTileIndex(index: bigint): string {
  if (index < 0n || index > MAX_TREE_SIZE) {
    throw new MerkleError('MERKLE_TILE_PATH', `Cannot encode tile path: index ${index} is not between 0 and 2^63-1`);
  }
  const digits = index.toString();
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/.{3}/g) ?? [];
  return groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join('/');
}

/**
 * The inverse of `encodeTileIndex`.
 * @throws MerkleError `MERKLE_TILE_PATH`
 */
export function parseTileIndex(text: string): bigint {
  checkPathLength(text);
  return parseIndex(text, text);
}

function encodePlace(index: bigint, width: number): string {
  if (!Number.isInteger(width) || width < 1 || width > TILE_WIDTH) {
    throw new MerkleError(
      'MERKLE_TILE_PATH',
      `Cannot encode tile path: width ${width} is not between 1 and ${TILE_WIDTH}`,
    );
  }
  return encodeTileIndex(index) + (width === TILE_WIDTH ? '' : `.p/${width}`);
}

function parsePlace(place: string, path: string): EntryBundleId {
  const [, index, width] = /^([x0-9/]+?)(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(place) ?? [];
  if (index === undefined) throw malformed(path);
  // A full tile has no `.p/256`: that would be a second name for the same bytes.
  if (width !== undefined && Number(width) >= TILE_WIDTH) throw malformed(path);
  return { index: parseIndex(index, path), width: width === undefined ? TILE_WIDTH : Number(width) };
}

function parseIndex(text: string, path: string): bigint {
  // `x000` in front would be a leading zero: another spelling of the same index.
  if (!/^(?!x000)(?:x[0-9]{3}\/)*[0-9]{3}$/.test(text)) throw malformed(path);
  const index = BigInt(text.replaceAll(/[x/]/g, ''));
  if (index > MAX_TREE_SIZE) throw malformed(path);
  return index;
}

function checkPathLength(path: string): void {
  if (path.length > MAX_PATH_LENGTH) {
    throw new MerkleError(
      'MERKLE_TILE_PATH',
      `Cannot parse tile path: ${path.length} characters, at most ${MAX_PATH_LENGTH}`,
    );
  }
}

function malformed(path: string): MerkleError {
  return new MerkleError('MERKLE_TILE_PATH', `Cannot parse tile path: ${JSON.stringify(path)} does not name a tile`);
}
