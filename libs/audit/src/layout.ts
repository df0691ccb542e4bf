import { entryBundlePath, MAX_ENTRY_LENGTH } from '#libs/merkle';

/**
 * What lies in a log's entry bundles: `tlog-tiles` has entries behind their 16-bit lengths under `tile/entries/`, `static-ct` has TileLeafs under
 * `tile/data/`.
 * @see C2SP tlog-tiles, "Log Entries"; C2SP static-ct-api, "Log Entries"
 */
export type Layout = 'tlog-tiles' | 'static-ct';

/** Bytes of a bundle that are read at most. */
export const MAX_BUNDLE_BYTES: Readonly<Record<Layout, number>> = {
  'tlog-tiles': 256 * (2 + MAX_ENTRY_LENGTH),
  // By its length fields a TileLeaf could have 32 MiB; logs take submissions of at most half a megabyte, and 256 of them average far less.
  'static-ct': 1 << 26,
};

/** What stands before an entry's own bytes when its leaf is hashed. */
export const leafPrefix: Readonly<Record<Layout, Uint8Array>> = {
  // RFC 9162 §2.1.1: 0x00 marks a leaf.
  'tlog-tiles': Uint8Array.of(0),
  // And in RFC 6962 §3.4 MerkleTreeLeaf = version v1(0), leaf_type timestamped_entry(0), TimestampedEntry.
  'static-ct': Uint8Array.of(0, 0, 0),
};

/** One entry's place in the bytes of its bundle. */
export interface Span {
  /** Where the record begins: of `tlog-tiles` the entry behind its length, of `static-ct` the TileLeaf. */
  start: number;
  /** Where what is hashed ends: the entry, or the TimestampedEntry in the TileLeaf. */
  leafEnd: number;
  /** Where the record ends. */
  end: number;
}

/** Why a bundle is none: `offset` is the first byte that is missing or does not belong. */
export interface BundleFault {
  kind: 'short' | 'long' | 'malformed';
  offset: number;
  /** Which entry of the bundle, 0 to 255; 256 and its like for bytes behind the last. */
  entry: number;
  reason: string;
}

/** The path of a bundle below the log's prefix. */
export function bundlePath(layout: Layout, index: bigint, width: number): string {
  return entryBundlePath(index, width, layout === 'static-ct' ? 'data' : 'entries');
}

/** Finds the entries of a bundle that must have exactly `count`; with a fault only those before it. */
export function splitBundle(layout: Layout, bytes: Uint8Array, count: number): { spans: Span[]; fault?: BundleFault } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const next = layout === 'static-ct' ? nextTileLeaf : nextEntry;
  const spans: Span[] = [];
  let at = 0;
  while (spans.length < count) {
    const span = next(view, at);
    if ('reason' in span) return { spans, fault: { ...span, entry: spans.length } };
    spans.push(span);
    at = span.end;
  }
  if (at === bytes.length) return { spans };
  const reason = `${bytes.length - at} bytes follow its ${count} entries`;
  return { spans, fault: { kind: 'long', offset: at, entry: count, reason } };
}

type Found = Span | Omit<BundleFault, 'entry'>;

function nextEntry(view: DataView, at: number): Found {
  if (at + 2 > view.byteLength) return short(view, at);
  const start = at + 2;
  const end = start + view.getUint16(at);
  return end > view.byteLength ? short(view, at) : { start, leafEnd: end, end };
}

/**
 * ```
 * TimestampedEntry = uint64 timestamp; LogEntryType entry_type (x509_entry 0, precert_entry 1);
 *   select: opaque ASN.1Cert<1..2^24-1> | opaque issuer_key_hash[32], TBSCertificate<1..2^24-1>;  CtExtensions<0..2^16-1>
 * TileLeaf = TimestampedEntry; for precert_entry: opaque pre_certificate<1..2^24-1>; Fingerprint certificate_chain<0..2^16-1>
 * ```
 */
function nextTileLeaf(view: DataView, start: number): Found {
  const length = view.byteLength;
  if (start + 10 > length) return short(view, start);
  const type = view.getUint16(start + 8);
  if (type > 1) return { kind: 'malformed', offset: start + 8, reason: `entry type ${type} is neither 0 nor 1` };
  let at = start + 10 + type * 32;
  if (at + 3 > length) return short(view, start);
  at += 3 + uint24(view, at);
  if (at + 2 > length) return short(view, start);
  at += 2 + view.getUint16(at);
  const leafEnd = at;
  if (type === 1) {
    if (at + 3 > length) return short(view, start);
    at += 3 + uint24(view, at);
  }
  if (at + 2 > length) return short(view, start);
  const fingerprints = view.getUint16(at);
  if (fingerprints % 32 !== 0) {
    return { kind: 'malformed', offset: at, reason: `fingerprints of ${fingerprints} bytes are not whole ones` };
  }
  at += 2 + fingerprints;
  return at > length ? short(view, start) : { start, leafEnd, end: at };
}

/** The fingerprints of a TileLeaf's issuers: SHA-256 of each, 32 bytes, views into the record. */
export function issuerFingerprints(record: Uint8Array): Uint8Array[] {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const type = view.getUint16(8);
  let at = 10 + type * 32;
  at += 3 + uint24(view, at);
  at += 2 + view.getUint16(at);
  if (type === 1) at += 3 + uint24(view, at);
  const count = view.getUint16(at) / 32;
  return Array.from({ length: count }, (_, i) => record.subarray(at + 2 + i * 32, at + 2 + (i + 1) * 32));
}

/** The path of an issuer's certificate. @see C2SP static-ct-api, "Issuers" */
export function issuerPath(fingerprintHex: string): string {
  return `issuer/${fingerprintHex}`;
}

function uint24(view: DataView, at: number): number {
  return (view.getUint16(at) << 8) | view.getUint8(at + 2);
}

function short(view: DataView, start: number): Omit<BundleFault, 'entry'> {
  const offset = view.byteLength;
  const reason = `it ends after ${offset} bytes, within the entry that begins at byte ${start}: it was cut off, or a length is wrong`;
  return { kind: 'short', offset, reason };
}
