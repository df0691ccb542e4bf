import { derOctetString, parseDer, readOctetString, TlsReader, TlsWriter } from '#libs/encoding';
import { converting, X509Error, type X509ErrorCode } from './errors.js';

// The structures of RFC 6962 §3 and of C2SP static-ct-api, in the TLS presentation language: big-endian, no padding.

/** HashAlgorithm and SignatureAlgorithm of RFC 5246 §7.4.1.4.1, as far as RFC 6962 §2.1.4 lets a log use them. */
export const ctHash = { sha256: 4 } as const;
export const ctSignature = { rsa: 1, ecdsa: 3 } as const;

const LOG_ID = 32;
const HASH = 32;
const MAX_SCTS = 16;
const MAX_CHAIN = 16;

/** `struct { SignatureAndHashAlgorithm algorithm; opaque signature<0..2^16-1>; } DigitallySigned` */
export interface DigitallySigned {
  readonly hashAlgorithm: number;
  readonly signatureAlgorithm: number;
  /** ECDSA: DER, as RFC 6962 §2.1.4 has it. */
  readonly signature: Uint8Array;
}

/** A signed certificate timestamp, version 1. */
export interface Sct extends DigitallySigned {
  readonly version: 0;
  /** SHA-256 of the log's SubjectPublicKeyInfo, 32 bytes. */
  readonly logId: Uint8Array;
  /** Milliseconds since 1970. */
  readonly timestampMs: bigint;
  /** Opaque and part of what is signed; tile logs put the leaf's index here. */
  readonly extensions: Uint8Array;
}

/** What a log commits to about one certificate. */
export type CtEntry =
  | { readonly kind: 'x509'; readonly certificate: Uint8Array }
  | {
      readonly kind: 'precert';
      /** SHA-256 of the issuer's SubjectPublicKeyInfo, 32 bytes. */
      readonly issuerKeyHash: Uint8Array;
      /** The precertificate's TBSCertificate without the poison extension. */
      readonly tbs: Uint8Array;
    };

export interface TimestampedEntry {
  readonly timestampMs: bigint;
  readonly entry: CtEntry;
  /** CtExtensions, without their length; empty in classic logs. */
  readonly extensions: Uint8Array;
}

/** Parses one whole structure; bytes after it are an error. */
function parsing<T>(what: string, code: X509ErrorCode, bytes: Uint8Array, read: (reader: TlsReader) => T): T {
  return converting(`Cannot parse ${what}`, code, () => {
    const reader = new TlsReader(bytes);
    const value = read(reader);
    reader.end();
    return value;
  });
}

function fixedLength(what: string, bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) {
    throw new X509Error('X509_CT_MALFORMED', `Cannot encode ${what}: ${bytes.length} bytes, must be ${length}`);
  }
  return bytes;
}

// --- Signatures ---------------------------------------------------------------------------------------------------------------

function writeSigned(writer: TlsWriter, signed: DigitallySigned): TlsWriter {
  return writer.u8(signed.hashAlgorithm).u8(signed.signatureAlgorithm).vector(2, signed.signature);
}

function readSigned(reader: TlsReader): DigitallySigned {
  return { hashAlgorithm: reader.u8(), signatureAlgorithm: reader.u8(), signature: reader.vector(2) };
}

/** `hash u8 ‖ signature algorithm u8 ‖ signature<u16>` */
export function encodeDigitallySigned(signed: DigitallySigned): Uint8Array {
  return encoding(() => writeSigned(new TlsWriter(), signed));
}

/** @throws X509Error `X509_CT_MALFORMED` */
export function parseDigitallySigned(bytes: Uint8Array): DigitallySigned {
  return parsing('DigitallySigned', 'X509_CT_MALFORMED', bytes, readSigned);
}

/** Writing fails only where a length does not fit its prefix. */
function encoding(write: () => TlsWriter): Uint8Array {
  return converting('Cannot encode', 'X509_CT_MALFORMED', () => write().finish());
}

/**
 * What a log signs for a tree head, 50 bytes: `version u8 = 0 ‖ tree_hash u8 = 1 ‖ timestamp u64 ‖ tree_size u64 ‖ root hash`.
 * @see RFC 6962 §3.5
 */
export function sthSignedInput(head: { timestampMs: bigint; size: bigint; rootHash: Uint8Array }): Uint8Array {
  const rootHash = fixedLength('tree head', head.rootHash, HASH);
  return encoding(() => new TlsWriter().u8(0).u8(1).u64(head.timestampMs).u64(head.size).bytes(rootHash));
}

// --- SCT ----------------------------------------------------------------------------------------------------------------------

/** `version u8 ‖ log id [32] ‖ timestamp u64 ‖ extensions<u16> ‖ DigitallySigned` (RFC 6962 §3.2) */
export function encodeSct(sct: Sct): Uint8Array {
  const logId = fixedLength('SCT', sct.logId, LOG_ID);
  return encoding(() =>
    writeSigned(new TlsWriter().u8(sct.version).bytes(logId).u64(sct.timestampMs).vector(2, sct.extensions), sct),
  );
}

/** @throws X509Error `X509_SCT_MALFORMED`, also for a version other than 1 */
export function parseSct(bytes: Uint8Array): Sct {
  return parsing('SCT', 'X509_SCT_MALFORMED', bytes, (reader) => {
    const version = reader.u8();
    if (version !== 0) throw new X509Error('X509_SCT_MALFORMED', `Cannot parse SCT: version is ${version}, must be 0`);
    return {
      version,
      logId: reader.bytes(LOG_ID),
      timestampMs: reader.u64(),
      extensions: reader.vector(2),
      ...readSigned(reader),
    };
  });
}

/**
 * The value of the SCT list extension: `OCTET STRING { SignedCertificateTimestampList }`, the list being `u16 total ‖ (SCT<u16>)+`.
 * `scts`: serialized, at least one.
 * @see RFC 6962 §3.3
 */
export function encodeSctList(scts: readonly Uint8Array[]): Uint8Array {
  if (scts.length === 0 || scts.length > MAX_SCTS) {
    throw new X509Error('X509_SCT_MALFORMED', `Cannot encode SCT list: ${scts.length} SCTs, must be 1 to ${MAX_SCTS}`);
  }
  return derOctetString(
    encoding(() => {
      const list = new TlsWriter();
      for (const sct of scts) list.vector(2, sct);
      return new TlsWriter().vector(2, list.finish());
    }),
  );
}

/** Reads the value of the SCT list extension. @throws X509Error `X509_SCT_MALFORMED` */
export function parseSctList(value: Uint8Array): Sct[] {
  const list = converting('Cannot parse SCT list', 'X509_SCT_MALFORMED', () => readOctetString(parseDer(value)));
  return parsing('SCT list', 'X509_SCT_MALFORMED', list, (outer) => {
    const reader = new TlsReader(outer.vector(2));
    const scts: Sct[] = [];
    while (reader.remaining > 0) {
      if (scts.length === MAX_SCTS)
        throw new X509Error('X509_SCT_MALFORMED', `Cannot parse SCT list: more than ${MAX_SCTS}`);
      scts.push(parseSct(reader.vector(2)));
    }
    if (scts.length === 0) throw new X509Error('X509_SCT_MALFORMED', 'Cannot parse SCT list: it is empty');
    return scts;
  });
}

// --- Leaves -------------------------------------------------------------------------------------------------------------------

// struct { uint64 timestamp; LogEntryType entry_type (u16); select { ASN.1Cert<u24> | issuer_key_hash[32] TBSCertificate<u24> }; CtExtensions<u16> }
function writeTimestampedEntry(writer: TlsWriter, { timestampMs, entry, extensions }: TimestampedEntry): TlsWriter {
  writer.u64(timestampMs);
  if (entry.kind === 'x509') writer.u16(0).vector(3, entry.certificate);
  else
    writer
      .u16(1)
      .bytes(fixedLength('issuer key hash', entry.issuerKeyHash, HASH))
      .vector(3, entry.tbs);
  return writer.vector(2, extensions);
}

function readTimestampedEntry(reader: TlsReader): TimestampedEntry {
  const timestampMs = reader.u64();
  const type = reader.u16();
  if (type > 1)
    throw new X509Error('X509_CT_MALFORMED', `Cannot parse log entry: type ${type} is neither x509 nor precert`);
  const entry: CtEntry =
    type === 0
      ? { kind: 'x509', certificate: reader.vector(3) }
      : { kind: 'precert', issuerKeyHash: reader.bytes(HASH), tbs: reader.vector(3) };
  return { timestampMs, entry, extensions: reader.vector(2) };
}

/**
 * MerkleTreeLeaf: `version u8 = 0 ‖ leaf_type u8 = 0 ‖ TimestampedEntry`. An SCT's signed input is these same bytes, because its
 * `version` and `signature_type` (certificate_timestamp) are zero too.
 * @throws X509Error `X509_CT_MALFORMED` for a length that does not fit
 * @see RFC 6962 §3.2, §3.4
 */
export function merkleTreeLeaf(leaf: TimestampedEntry): Uint8Array {
  return encoding(() => writeTimestampedEntry(new TlsWriter().u8(0).u8(0), leaf));
}

/** @throws X509Error `X509_CT_MALFORMED` */
export function parseMerkleTreeLeaf(bytes: Uint8Array): TimestampedEntry {
  return parsing('Merkle tree leaf', 'X509_CT_MALFORMED', bytes, (reader) => {
    const version = reader.u8();
    const type = reader.u8();
    if (version !== 0 || type !== 0) {
      throw new X509Error(
        'X509_CT_MALFORMED',
        `Cannot parse Merkle tree leaf: version ${version} and type ${type}, must be 0 and 0`,
      );
    }
    return readTimestampedEntry(reader);
  });
}

/** The certificates that go with a leaf but are not part of it: what `get-entries` calls extra_data. */
export interface CtExtraData {
  /** The precertificate as submitted; only for a precert entry. */
  readonly precertificate?: Uint8Array;
  /** Issuers, the leaf's own first, root last. */
  readonly chain: readonly Uint8Array[];
}

/** `[precertificate<u24> ‖] u24 total ‖ (certificate<u24>)*` (RFC 6962 §4.6) */
export function encodeExtraData({ precertificate, chain }: CtExtraData): Uint8Array {
  return encoding(() => {
    const list = new TlsWriter();
    for (const certificate of chain) list.vector(3, certificate);
    const writer = new TlsWriter();
    if (precertificate) writer.vector(3, precertificate);
    return writer.vector(3, list.finish());
  });
}

/** The form depends on the leaf's kind, so it is asked for. @throws X509Error `X509_CT_MALFORMED` */
export function parseExtraData(kind: CtEntry['kind'], bytes: Uint8Array): CtExtraData {
  return parsing('extra data', 'X509_CT_MALFORMED', bytes, (reader) => {
    const precertificate = kind === 'precert' ? reader.vector(3) : undefined;
    const list = new TlsReader(reader.vector(3));
    const chain: Uint8Array[] = [];
    while (list.remaining > 0) {
      if (chain.length === MAX_CHAIN)
        throw new X509Error('X509_CT_MALFORMED', `Cannot parse extra data: more than ${MAX_CHAIN} issuers`);
      chain.push(list.vector(3));
    }
    return { ...(precertificate && { precertificate }), chain };
  });
}

// --- Tiles --------------------------------------------------------------------------------------------------------------------

/** An element of a data tile (C2SP static-ct-api, "Log entries"). Not what is hashed: that is the MerkleTreeLeaf of the same entry. */
export interface TileLeaf extends TimestampedEntry {
  /** The precertificate as submitted; present exactly for a precert entry. */
  readonly precertificate?: Uint8Array;
  /** SHA-256 of each issuer's DER, the leaf's own first, root last. */
  readonly fingerprints: readonly Uint8Array[];
}

/** `TimestampedEntry ‖ [precertificate<u24> ‖] fingerprints<u16>` */
export function encodeTileLeaf(leaf: TileLeaf): Uint8Array {
  if ((leaf.entry.kind === 'precert') !== (leaf.precertificate !== undefined)) {
    throw new X509Error(
      'X509_CT_MALFORMED',
      'Cannot encode tile leaf: a precertificate belongs to a precert entry and to no other',
    );
  }
  return encoding(() => {
    const writer = writeTimestampedEntry(new TlsWriter(), leaf);
    if (leaf.precertificate) writer.vector(3, leaf.precertificate);
    writer.u16(leaf.fingerprints.length * HASH);
    for (const fingerprint of leaf.fingerprints) writer.bytes(fixedLength('fingerprint', fingerprint, HASH));
    return writer;
  });
}

function readTileLeaf(reader: TlsReader): TileLeaf {
  const leaf = readTimestampedEntry(reader);
  const precertificate = leaf.entry.kind === 'precert' ? reader.vector(3) : undefined;
  const list = reader.vector(2);
  if (list.length % HASH !== 0 || list.length > MAX_CHAIN * HASH) {
    throw new X509Error('X509_CT_MALFORMED', `Cannot parse tile leaf: fingerprints of ${list.length} bytes`);
  }
  const fingerprints = Array.from({ length: list.length / HASH }, (_, i) => list.subarray(i * HASH, (i + 1) * HASH));
  return { ...leaf, ...(precertificate && { precertificate }), fingerprints };
}

/** Reads exactly one element. @throws X509Error `X509_CT_MALFORMED` */
export function parseTileLeaf(bytes: Uint8Array): TileLeaf {
  return parsing('tile leaf', 'X509_CT_MALFORMED', bytes, readTileLeaf);
}

/**
 * Reads a data tile of `count` elements. They have no lengths of their own, so the one way to find the second is to parse the first.
 * @throws X509Error `X509_CT_MALFORMED`
 */
export function parseDataTile(bytes: Uint8Array, count: number): TileLeaf[] {
  return parsing('data tile', 'X509_CT_MALFORMED', bytes, (reader) =>
    Array.from({ length: count }, () => readTileLeaf(reader)),
  );
}

/** Splits a data tile of `count` elements into their bytes, each as `encodeTileLeaf` made it. */
export function splitDataTile(bytes: Uint8Array, count: number): Uint8Array[] {
  return parsing('data tile', 'X509_CT_MALFORMED', bytes, (reader) =>
    Array.from({ length: count }, () => {
      const start = bytes.length - reader.remaining;
      readTileLeaf(reader);
      return bytes.subarray(start, bytes.length - reader.remaining);
    }),
  );
}

// enum { leaf_index(0), (255) } ExtensionType; struct { ExtensionType type; opaque data<u16>; } Extension; uint8 LeafIndex[5]
const LEAF_INDEX_TYPE = 0;
const LEAF_INDEX_BYTES = 5;

/**
 * CtExtensions that say which leaf an SCT is about, 8 bytes: `00 ‖ 00 05 ‖ index as 40 bits`.
 * @see C2SP static-ct-api, "SCT Extension"
 */
export function encodeLeafIndex(index: bigint): Uint8Array {
  if (index < 0n || index >= 1n << 40n) {
    throw new X509Error('X509_CT_MALFORMED', `Cannot encode leaf index: ${index.toString()} does not fit 40 bits`);
  }
  return new TlsWriter()
    .u8(LEAF_INDEX_TYPE)
    .u16(LEAF_INDEX_BYTES)
    .u8(Number(index >> 32n))
    .u16(Number((index >> 16n) & 0xffffn))
    .u16(Number(index & 0xffffn))
    .finish();
}

/**
 * The leaf index among CtExtensions, undefined when there is none. Extensions of other types may stand around it, none twice.
 * @throws X509Error `X509_CT_MALFORMED`
 */
export function parseLeafIndex(extensions: Uint8Array): bigint | undefined {
  return parsing('SCT extensions', 'X509_CT_MALFORMED', extensions, (reader) => {
    const seen = new Set<number>();
    let index: bigint | undefined;
    while (reader.remaining > 0) {
      const type = reader.u8();
      const data = reader.vector(2);
      if (seen.has(type))
        throw new X509Error('X509_CT_MALFORMED', `Cannot parse SCT extensions: type ${type} occurs twice`);
      seen.add(type);
      if (type !== LEAF_INDEX_TYPE) continue;
      if (data.length !== LEAF_INDEX_BYTES) {
        throw new X509Error(
          'X509_CT_MALFORMED',
          `Cannot parse SCT extensions: leaf index of ${data.length} bytes, must be 5`,
        );
      }
      index = data.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
    }
    return index;
  });
}
