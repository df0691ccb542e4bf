import { encodeEntryBundle, entryBundlePath, MAX_ENTRY_LENGTH, parseEntryBundle } from '#libs/merkle';
import { TlogError } from './errors.js';

/**
 * What a tree stores, and how 256 of it make an object. A *record* is the stored bytes of one entry; its leaf is what
 * the tree hashes.
 */
export interface TreeFormat {
  /** Recorded with the tree: a tree is never opened with another format than it was created with. */
  readonly name: string;
  /**
   * The data under the leaf hash, from a record.
   * @throws TlogError `TLOG_RECORD` if the format cannot store this record: asked before an index is given away
   */
  readonly leafInput: (record: Uint8Array) => Uint8Array;
  /**
   * The 32-byte deduplication key that belongs to a record, if the record tells: then a stored index is never believed
   * without it. `leafHash` is the record's, for formats whose key it is.
   */
  readonly identity?: (record: Uint8Array, leafHash: Uint8Array) => Uint8Array;
  /** The bytes of an entry bundle: 1 to 256 records. */
  readonly encodeBundle: (records: readonly Uint8Array[]) => Uint8Array;
  /** Exactly `count` records; throws on anything else. */
  readonly parseBundle: (bytes: Uint8Array, count: number) => Uint8Array[];
  /** The path of a bundle below the tree's folder; `width` 256 names the full one. */
  readonly bundlePath: (index: bigint, width: number) => string;
}

/**
 * Entry bundles as in C2SP tlog-tiles: the record is the entry itself, at most 65535 bytes, and bundles are
 * `tile/entries/<N>`. The deduplication key is the whole leaf hash: a shorter one would one day give the receipt of
 * another entry.
 */
export const entriesFormat: TreeFormat = {
  name: 'entries',
  leafInput: (record) => {
    if (record.length > MAX_ENTRY_LENGTH) {
      throw new TlogError(
        'TLOG_RECORD',
        `Cannot store entry: it has ${record.length} bytes, at most ${MAX_ENTRY_LENGTH}`,
      );
    }
    return record;
  },
  identity: (_record, leafHash) => leafHash,
  encodeBundle: encodeEntryBundle,
  parseBundle: parseEntryBundle,
  bundlePath: entryBundlePath,
};
