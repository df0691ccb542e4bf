import { hash } from 'node:crypto';
import { HASH_LENGTH, TILE_WIDTH } from '#libs/merkle';
import {
  issuerFingerprints,
  leafPrefix,
  MAX_BUNDLE_BYTES,
  splitBundle,
  type BundleFault,
  type Layout,
} from './layout.js';
import { findText, type TextFilter } from './text-filter.js';

/*
 * The hot part of reading a whole log: a bundle's leaf hashes against its tile, a few microseconds an entry. It runs in threads, so it knows no
 * sources and no promises; what it finds amiss goes back whole, for `fsck.ts` to judge.
 */

/** The bytes of an object; undefined if it is not there. */
export type ObjectBytes = Uint8Array | 'oversize' | undefined;

/** The objects of one place in the log. */
export interface BundleObjects {
  index: bigint;
  /** How many entries the tree has here, 1 to 256. */
  width: number;
  bundle: ObjectBytes;
  /** The width of the object that the bundle came from: 256 where the full one stood in for a partial one. */
  bundleWidth: number;
  tile: ObjectBytes;
  tileWidth: number;
  annex: ObjectBytes;
}

/** A place where bundle and tile do not fit each other, or one of them is not there or not whole. */
export interface Suspect {
  index: bigint;
  width: number;
  bundle: 'missing' | 'whole' | BundleFault;
  bundleWidth: number;
  tile: 'missing' | 'whole' | { length: number };
  tileWidth: number;
  /** The tile's hashes, at most `width`. */
  stored: Uint8Array;
  /** The hashes that the entries have, as many as could be read. */
  computed: Uint8Array;
  /** Where the entries lie: first and last byte + 1 of each. */
  places: Uint32Array;
}

/** An annex object that is not what was written. */
export interface WrongAnnex {
  index: bigint;
  width: number;
  length: number;
  reason: string;
}

/** An entry that a filter picked. */
export interface Picked {
  index: bigint;
  /** The entry; of a CT log the TileLeaf. */
  record: Uint8Array;
  /** Time and annex, if the log has them. */
  annex: { timestampMs: bigint; bytes: Uint8Array } | undefined;
}

/** What reading some places gave. */
export interface Findings {
  entries: number;
  bytes: number;
  /** For each full place, in order, 32 bytes: the hash that the tile above should have. Zeros where nothing is known. */
  folds: Uint8Array;
  suspects: Suspect[];
  annexes: WrongAnnex[];
  /** Hex SHA-256 of issuers, of a CT log. */
  issuers: string[];
  picked: Picked[];
}

const FULL_TILE = TILE_WIDTH * HASH_LENGTH;
const DIGEST = 32;
const ANNEX_HEADER = 8 + 2;

/** Reads places of a log one after the other. Not to be shared between threads. */
export class Inspector {
  // The prefix of a leaf is written over the bytes in front of it, so the first entry needs some too.
  readonly #work: Buffer;
  readonly #node = Buffer.alloc(1 + 2 * HASH_LENGTH, 1);
  readonly #row = Buffer.alloc(FULL_TILE);
  readonly #hashes = Buffer.alloc(FULL_TILE);
  readonly #headroom: number;
  readonly #issuers = new Set<string>();

  constructor(
    readonly layout: Layout,
    readonly filter: TextFilter | undefined,
  ) {
    this.#headroom = leafPrefix[layout].length;
    // Pages that are never written cost nothing.
    this.#work = Buffer.allocUnsafeSlow(this.#headroom + MAX_BUNDLE_BYTES[layout]);
  }

  /** Where a reader may put a bundle's bytes, so that they need not be copied. */
  get room(): Buffer {
    return this.#work.subarray(this.#headroom);
  }

  start(count: number): Findings {
    this.#issuers.clear();
    const folds = new Uint8Array(count * HASH_LENGTH);
    return { entries: 0, bytes: 0, folds, suspects: [], annexes: [], issuers: [], picked: [] };
  }

  /** Reads a place; `at` is its number among those of `findings`. */
  add(findings: Findings, at: number, objects: BundleObjects): void {
    const { index, width, annex } = objects;
    // One byte too long is as wrong as a million.
    const tile = objects.tile === 'oversize' ? new Uint8Array(FULL_TILE + 1) : objects.tile;
    const hashes = this.#hashes.subarray(0, width * HASH_LENGTH);
    const { places, count, fault } = this.#readEntries(findings, objects, hashes);
    const expectedTile = objects.tileWidth * HASH_LENGTH;
    const hasTile = tile !== undefined && tile.length === expectedTile;
    const stored = tile?.subarray(0, width * HASH_LENGTH) ?? new Uint8Array(0);
    const isWhole = fault === undefined && count === width;
    if (isWhole && hasTile && hashes.equals(stored)) {
      if (width === TILE_WIDTH) this.#fold(hashes, findings.folds, at);
    } else {
      // The tile's word if it is there: what the tile above says will show whether it is right.
      if (width === TILE_WIDTH && (hasTile || isWhole)) this.#fold(hasTile ? stored : hashes, findings.folds, at);
      findings.suspects.push({
        index,
        width,
        bundle: objects.bundle === undefined ? 'missing' : (fault ?? 'whole'),
        bundleWidth: objects.bundleWidth,
        tile: tile === undefined ? 'missing' : hasTile ? 'whole' : { length: tile.length },
        tileWidth: objects.tileWidth,
        stored: new Uint8Array(stored),
        computed: new Uint8Array(hashes.subarray(0, count * HASH_LENGTH)),
        places,
      });
    }
    if (annex !== undefined) {
      const reason = annex === 'oversize' ? 'it is larger than any annexes' : annexFault(annex, width);
      const length = annex === 'oversize' ? 0 : annex.length;
      if (reason !== undefined) findings.annexes.push({ index, width, length, reason });
    }
    findings.entries += count;
  }

  finish(findings: Findings): Findings {
    findings.issuers = [...this.#issuers];
    return findings;
  }

  #readEntries(
    findings: Findings,
    { index, width, bundle, bundleWidth, annex }: BundleObjects,
    hashes: Buffer,
  ): { places: Uint32Array; count: number; fault: BundleFault | undefined } {
    const nothing = { places: new Uint32Array(0), count: 0 };
    if (bundle === undefined) return { ...nothing, fault: undefined };
    if (bundle === 'oversize') {
      const offset = MAX_BUNDLE_BYTES[this.layout];
      return { ...nothing, fault: { kind: 'long', offset, entry: 0, reason: `it has more than ${offset} bytes` } };
    }
    findings.bytes += bundle.length;
    const headroom = this.#headroom;
    const work = this.#work;
    if (bundle.buffer !== work.buffer) work.set(bundle, headroom);
    const bytes = work.subarray(headroom, headroom + bundle.length);
    const { spans, fault } = splitBundle(this.layout, bytes, bundleWidth);
    const count = Math.min(spans.length, width);
    const places = new Uint32Array(2 * count);
    const prefix = leafPrefix[this.layout];
    for (let i = 0; i < count; i++) {
      const { start, leafEnd, end } = spans[i] as (typeof spans)[number];
      places[2 * i] = start;
      places[2 * i + 1] = end;
      // In place of `prefix ‖ leaf` in a new buffer, the prefix is written before the leaf for the time of hashing. Half of the time is in copies else.
      const from = start; // in `work`, `headroom` bytes before the leaf
      const saved = [work[from], work[from + 1], work[from + 2]] as const;
      for (let k = 0; k < headroom; k++) work[from + k] = prefix[k] as number;
      hashes.write(hash('sha256', work.subarray(from, headroom + leafEnd), 'binary'), i * HASH_LENGTH, 'latin1');
      for (let k = 0; k < headroom; k++) work[from + k] = saved[k] as number;
    }
    if (this.layout === 'static-ct' || this.filter !== undefined) {
      const annexes = this.filter !== undefined && annex instanceof Uint8Array ? splitAnnex(annex, width) : undefined;
      for (let i = 0; i < count; i++) {
        const { start, end } = spans[i] as (typeof spans)[number];
        const record = bytes.subarray(start, end);
        if (this.layout === 'static-ct')
          for (const one of issuerFingerprints(record)) this.#issuers.add(Buffer.from(one).toString('hex'));
        const beside = annexes?.[i];
        if (this.filter === undefined || !findText(this.filter, this.layout, record, beside?.bytes)) continue;
        const own = beside && { timestampMs: beside.timestampMs, bytes: new Uint8Array(beside.bytes) };
        findings.picked.push({
          index: index * BigInt(TILE_WIDTH) + BigInt(i),
          record: new Uint8Array(record),
          annex: own,
        });
      }
    }
    return {
      places,
      count,
      fault: fault !== undefined && (fault.entry < width || bundleWidth === width) ? fault : undefined,
    };
  }

  /** Folds 256 hashes to one. Digests as Latin-1 text cost a quarter of what a Buffer for each would. */
  #fold(hashes: Uint8Array, folds: Uint8Array, at: number): void {
    const row = this.#row;
    const node = this.#node;
    row.set(hashes);
    for (let count = TILE_WIDTH / 2; count >= 1; count /= 2) {
      for (let i = 0; i < count; i++) {
        row.copy(node, 1, 2 * i * HASH_LENGTH, (2 * i + 2) * HASH_LENGTH);
        row.write(hash('sha256', node, 'binary'), i * HASH_LENGTH, 'latin1');
      }
    }
    folds.set(row.subarray(0, HASH_LENGTH), at * HASH_LENGTH);
  }
}

/** Why an annex object is none, undefined if it is one: `uint64 timestamp_ms, opaque annex<0..2^16-1>` for each entry, then SHA-256 of all that. */
export function annexFault(bytes: Uint8Array, count: number): string | undefined {
  const length = bytes.length - DIGEST;
  if (length < 0) return `it has ${bytes.length} bytes`;
  const digest = Buffer.from(bytes.buffer, bytes.byteOffset + length, DIGEST);
  if (hash('sha256', bytes.subarray(0, length), 'hex') !== digest.toString('hex')) {
    return 'its SHA-256 is not the one at its end';
  }
  return splitAnnex(bytes, count) === undefined ? `it does not have the annexes of ${count} entries` : undefined;
}

/** The annexes of `count` entries, undefined if there are not exactly so many. */
export function splitAnnex(bytes: Uint8Array, count: number): { timestampMs: bigint; bytes: Uint8Array }[] | undefined {
  const length = bytes.length - DIGEST;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const annexes: { timestampMs: bigint; bytes: Uint8Array }[] = [];
  let at = 0;
  while (annexes.length < count) {
    if (at + ANNEX_HEADER > length) return undefined;
    const end = at + ANNEX_HEADER + view.getUint16(at + 8);
    if (end > length) return undefined;
    annexes.push({ timestampMs: view.getBigUint64(at), bytes: bytes.subarray(at + ANNEX_HEADER, end) });
    at = end;
  }
  return at === length ? annexes : undefined;
}
