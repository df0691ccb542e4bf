import { concatBytes, equalBytes } from '#libs/encoding';
import { encodeEntryBundle, entryBundlePath, MAX_ENTRY_LENGTH, parseEntryBundle } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { TlogError } from './errors.js';
import type { BundleSidecar, TreeFormat } from './format.js';

/** What a log keeps of an entry beside the entry itself, which alone is hashed into the tree. */
export interface AnnexedEntry {
  /** When the entry was integrated, milliseconds since 1970; below 2^64. */
  readonly timestampMs: bigint;
  /** What else is to be remembered of it; at most 65535 bytes, opaque here. */
  readonly annex: Uint8Array;
  /** What is hashed; at most 65535 bytes. */
  readonly entry: Uint8Array;
}

/** The annex's length is written in 16 bits, as an entry's. */
const MAX_ANNEX_LENGTH = 0xffff;
/** `uint64 timestamp_ms`, and the length of `opaque annex<0..2^16-1>` */
const HEADER_BYTES = 8 + 2;
const DIGEST_BYTES = 32;

/**
 * The stored record: `uint64 timestamp_ms; opaque annex<0..2^16-1>;`, then the entry up to the end (in the notation of
 * RFC 8446 §3).
 * @throws TlogError `TLOG_RECORD`
 */
export function encodeAnnexedEntry({ timestampMs, annex, entry }: AnnexedEntry): Uint8Array {
  if (timestampMs < 0n || timestampMs >= 1n << 64n) throw unstorable(`time ${timestampMs} does not fit 64 bits`);
  if (annex.length > MAX_ANNEX_LENGTH) {
    throw unstorable(`its annex has ${annex.length} bytes, at most ${MAX_ANNEX_LENGTH}`);
  }
  checkEntry(entry);
  const record = new Uint8Array(HEADER_BYTES + annex.length + entry.length);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, timestampMs);
  view.setUint16(8, annex.length);
  record.set(annex, HEADER_BYTES);
  record.set(entry, HEADER_BYTES + annex.length);
  return record;
}

/**
 * The inverse of `encodeAnnexedEntry`; annex and entry are views into the record.
 * @throws TlogError `TLOG_RECORD`
 */
export function parseAnnexedEntry(record: Uint8Array): AnnexedEntry {
  const view = viewOf(record);
  const end = annexEnd(view, 0, record.length);
  const entry = record.subarray(end);
  checkEntry(entry);
  return { timestampMs: view.getBigUint64(0), annex: record.subarray(HEADER_BYTES, end), entry };
}

/**
 * `tile/annex/<N>`, numbered as the bundle beside it: for each entry `uint64 timestamp_ms; opaque annex<0..2^16-1>;`,
 * then the SHA-256 of all that. The tree does not hash these bytes, so it cannot tell whether they are right; the digest
 * can. Times do not run backwards.
 */
const annexSidecar: BundleSidecar = {
  path: (index, width) => entryBundlePath(index, width, 'annex'),

  encode: (records) => {
    let previous = 0n;
    const heads = records.map((record) => {
      const view = viewOf(record);
      const end = annexEnd(view, 0, record.length);
      previous = checkTime(view, 0, previous);
      return record.subarray(0, end);
    });
    const bytes = concatBytes(...heads, new Uint8Array(DIGEST_BYTES));
    bytes.set(sha256(bytes.subarray(0, -DIGEST_BYTES)), bytes.length - DIGEST_BYTES);
    return bytes;
  },

  join: (entries, bytes, { from, to }) => {
    const length = bytes.length - DIGEST_BYTES;
    if (length < 0 || !equalBytes(sha256(bytes.subarray(0, length)), bytes.subarray(length))) {
      throw new TlogError('TLOG_RECORD', 'Cannot parse annexes: their SHA-256 is not that at their end');
    }
    const view = viewOf(bytes);
    let at = 0;
    let previous = 0n;
    const records: Uint8Array[] = [];
    entries.forEach((entry, place) => {
      const end = annexEnd(view, at, length);
      previous = checkTime(view, at, previous);
      if (place >= from && place < to) records.push(concatBytes(bytes.subarray(at, end), entry));
      at = end;
    });
    if (at !== length) {
      throw new TlogError(
        'TLOG_RECORD',
        `Cannot parse annexes: ${length - at} bytes follow those of ${entries.length} entries`,
      );
    }
    return records;
  },
};

/**
 * Entries with their annexes. What readers get is a plain bundle of C2SP tlog-tiles, `tile/entries/<N>`; times and
 * annexes lie beside it in `tile/annex/<N>`. The deduplication key is the whole leaf hash, that is of the entry alone:
 * the same entry with another annex is the same entry.
 */
export const annexedEntriesFormat: TreeFormat = {
  name: 'annexed-entries',
  leafInput: (record) => parseAnnexedEntry(record).entry,
  identity: (_record, leafHash) => leafHash,
  encodeBundle: (records) => encodeEntryBundle(records.map((record) => parseAnnexedEntry(record).entry)),
  parseBundle: parseEntryBundle,
  bundlePath: entryBundlePath,
  sidecar: annexSidecar,
};

/** Where the annex that begins with its header at `at` ends. */
function annexEnd(view: DataView, at: number, limit: number): number {
  const begin = at + HEADER_BYTES;
  const end = begin > limit ? begin : begin + view.getUint16(at + 8);
  if (end > limit) throw new TlogError('TLOG_RECORD', `Cannot parse annexed entry: it ends within time or annex`);
  return end;
}

function checkTime(view: DataView, at: number, previous: bigint): bigint {
  const timestampMs = view.getBigUint64(at);
  if (timestampMs >= previous) return timestampMs;
  throw new TlogError(
    'TLOG_RECORD',
    `Cannot order annexed entries: one of ${timestampMs} ms follows one of ${previous} ms`,
  );
}

function checkEntry(entry: Uint8Array): void {
  if (entry.length > MAX_ENTRY_LENGTH) throw unstorable(`it has ${entry.length} bytes, at most ${MAX_ENTRY_LENGTH}`);
}

function unstorable(state: string): TlogError {
  return new TlogError('TLOG_RECORD', `Cannot store entry: ${state}`);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
