import {
  encodeBase64Url,
  encodeUtf8,
  EncodingError,
  equalBytes,
  parseBase64Url,
  TlsReader,
  TlsWriter,
} from '#libs/encoding';
import { sha256 } from '#libs/openssl';
import { SearchError } from './error.js';

/** Where a search stands in one tree. */
export interface Position {
  /** The size of the tree when the first page was made: no page looks beyond. */
  readonly size: bigint;
  /** Entries from here on have been given, or are not what was searched for. 0: there is nothing more. */
  readonly below: bigint;
}

const VERSION = 1;
const BINDING_BYTES = 16;

/**
 * What a cursor belongs to: the query and the trees, 16 bytes of a digest. Not a secret: a forged cursor can only ask for a page that another
 * query would give as well.
 */
export function bindCursor(identity: string, origins: readonly string[]): Uint8Array {
  return sha256(encodeUtf8(JSON.stringify([identity, origins]))).slice(0, BINDING_BYTES);
}

/** `uint8 version = 1; opaque binding[16]; struct { uint64 size; uint64 below; } positions[trees];` in base64url. */
export function encodeCursor(binding: Uint8Array, positions: readonly Position[]): string {
  const writer = new TlsWriter().u8(VERSION).bytes(binding);
  for (const { size, below } of positions) writer.u64(size).u64(below);
  return encodeBase64Url(writer.finish());
}

/**
 * `sizes`: the sizes that the trees have now, in their order; no cursor of ours is ahead of them.
 * @throws SearchError `SEARCH_CURSOR`
 */
export function parseCursor(text: string, binding: Uint8Array, sizes: readonly bigint[]): Position[] {
  try {
    const reader = new TlsReader(parseBase64Url(text));
    const version = reader.u8();
    if (version !== VERSION) throw invalid(`version is ${version}, not ${VERSION}`);
    if (!equalBytes(reader.bytes(BINDING_BYTES), binding)) throw invalid('it is of another query, or of another log');
    const positions = sizes.map(() => ({ size: reader.u64(), below: reader.u64() }));
    reader.end();
    for (const [at, { size, below }] of positions.entries()) {
      if (size > (sizes[at] ?? 0n)) throw invalid('it is of a larger tree');
      if (below > size) throw invalid('its place is beyond its tree');
    }
    if (positions.every(({ below }) => below === 0n)) throw invalid('nothing comes after it');
    return positions;
  } catch (error) {
    if (error instanceof EncodingError) throw invalid('it is damaged', error);
    throw error;
  }
}

function invalid(state: string, cause?: unknown): SearchError {
  return new SearchError('SEARCH_CURSOR', `Cannot go on from cursor: ${state}`, { cause });
}
