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
  /** The bytes of an entry bundle: of 1 to 256 records all, or what the sidecar does not hold. */
  readonly encodeBundle: (records: readonly Uint8Array[]) => Uint8Array;
  /** Exactly `count` records, or what the bundle holds of them; throws on anything else. */
  readonly parseBundle: (bytes: Uint8Array, count: number) => Uint8Array[];
  /** The path of a bundle below the tree's folder; `width` 256 names the full one. */
  readonly bundlePath: (index: bigint, width: number) => string;
  /** Where a bundle is not all of its records. */
  readonly sidecar?: BundleSidecar;
}

/**
 * The object beside each bundle that holds what the bundle's own format has no room for. The tree does not hash it: so
 * it must be able to tell by itself that a bit of it was flipped. Stored before its bundle: who sees the bundle finds it.
 */
export interface BundleSidecar {
  /** The path of a sidecar below the tree's folder; `width` 256 names the full one. */
  readonly path: (index: bigint, width: number) => string;
  /**
   * What 1 to 256 records have beside what is in the bundle.
   * @throws TlogError `TLOG_RECORD` if these records cannot follow one another
   */
  readonly encode: (records: readonly Uint8Array[]) => Uint8Array;
  /**
   * The records [from, to) of the bundle, from what `parseBundle` gave of all of them and all of the sidecar's bytes.
   * @throws TlogError `TLOG_RECORD` for any bytes but those that `encode` made of so many records
   */
  readonly join: (
    parts: readonly Uint8Array[],
    sidecar: Uint8Array,
    range: { readonly from: number; readonly to: number },
  ) => Uint8Array[];
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
