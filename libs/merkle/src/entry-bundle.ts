import { MerkleError } from './error.js';
import { TILE_WIDTH } from './tile.js';

/** An entry's length is written in 16 bits. @see C2SP tlog-tiles, "Log Entries" */
export const MAX_ENTRY_LENGTH = 0xffff;

const LENGTH_BYTES = 2;

/**
 * The bytes of an entry bundle: for each entry its length as 16-bit big-endian number, then the entry. 1 to 256
 * entries of at most 65535 bytes; an entry may be empty.
 * @throws MerkleError `MERKLE_BUNDLE_MALFORMED`
 * @see C2SP tlog-tiles, "Log Entries"
 */
export function encodeEntryBundle(entries: readonly Uint8Array[]): Uint8Array {
  checkCount(entries.length, 'encode');
  const bundle = new Uint8Array(entries.reduce((length, entry) => length + LENGTH_BYTES + entry.length, 0));
  const view = new DataView(bundle.buffer);
  let at = 0;
  for (const entry of entries) {
    if (entry.length > MAX_ENTRY_LENGTH) {
      throw malformed('encode', `an entry has ${entry.length} bytes, at most ${MAX_ENTRY_LENGTH}`);
    }
    view.setUint16(at, entry.length);
    bundle.set(entry, at + LENGTH_BYTES);
    at += LENGTH_BYTES + entry.length;
  }
  return bundle;
}

/**
 * The entries of a bundle (views into it) that must hold exactly `count` of them. That they are those of the tree
 * only their leaf hashes can tell.
 * @throws MerkleError `MERKLE_BUNDLE_MALFORMED`
 */
export function parseEntryBundle(bytes: Uint8Array, count: number): Uint8Array[] {
  checkCount(count, 'parse');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries: Uint8Array[] = [];
  let at = 0;
  while (entries.length < count) {
    if (at + LENGTH_BYTES > bytes.length)
      throw malformed('parse', `it ends within entry ${entries.length} of ${count}`);
    const end = at + LENGTH_BYTES + view.getUint16(at);
    if (end > bytes.length) throw malformed('parse', `it ends within entry ${entries.length} of ${count}`);
    entries.push(bytes.subarray(at + LENGTH_BYTES, end));
    at = end;
  }
  if (at !== bytes.length) throw malformed('parse', `${bytes.length - at} bytes follow its ${count} entries`);
  return entries;
}

function checkCount(count: number, verb: string): void {
  if (!Number.isInteger(count) || count < 1 || count > TILE_WIDTH) {
    throw malformed(verb, `${count} entries are not between 1 and ${TILE_WIDTH}`);
  }
}

function malformed(verb: string, state: string): MerkleError {
  return new MerkleError('MERKLE_BUNDLE_MALFORMED', `Cannot ${verb} entry bundle: ${state}`);
}
