import { encodeHex, equalBytes } from '#libs/encoding';
import {
  encodeTilePath,
  HASH_LENGTH,
  hashFromTile,
  partialWidth,
  rootFromNodes,
  TILE_HEIGHT,
  TILE_WIDTH,
  tileForNode,
} from '#libs/merkle';
import type { Checkpoint } from '#libs/note';
import { sha256 } from '#libs/openssl';
import { choose, concatRows, hashAt, type Row } from './hash-row.js';
import type { Suspect } from './inspect.js';
import { bundlePath, type Layout } from './layout.js';

/** Something in a log that is not what its checkpoint says, down to the bytes where that can be told. */
export interface Problem {
  /** `disagree`: two objects exclude each other, and nothing tells which is wrong. */
  kind: 'wrong' | 'missing' | 'short' | 'long' | 'malformed' | 'disagree';
  /** The path of the object, `checkpoint`, `tile/…`, `issuer/…`. */
  object: string;
  /** The bytes concerned, from `offset` up to but not including `end`. Of a tile the hash, of a bundle the entry with its length; of an object that is too short or long where it ends. */
  offset?: number;
  end?: number;
  /** The first entry concerned. */
  logIndex?: bigint;
  /** What the object does not fit. */
  against?: string;
  reason: string;
}

/** A tile above level 0, as it was found. */
export interface StoredTile {
  /** Undefined if it is not there. */
  bytes: Uint8Array | undefined;
  /** The width of the object that the bytes came from. */
  objectWidth: number;
}

export interface Evidences {
  head: Checkpoint;
  layout: Layout;
  /** For each full place 32 bytes: what the tile above should have. Zeros where nothing is known. */
  folds: Uint8Array;
  suspects: ReadonlyMap<bigint, Suspect>;
  /** Places that are suspect too, but too many to be looked at. */
  skipped: ReadonlySet<bigint>;
  /** The partial tile of level 0, if that level ends with one and it is no suspect. */
  lastTile: Uint8Array | undefined;
  /** Tiles of level 1 and above. */
  tiles: ReadonlyMap<string, StoredTile>;
  /** The first place of a log at work that its folder need not have yet: from there on, and over it, absence is no fault. */
  unfinishedFrom: bigint | undefined;
}

export interface Judgement {
  problems: Problem[];
  /** Whether the tiles, or what could be computed in their place, give the root of the checkpoint. */
  rootHolds: boolean;
}

const WIDTH = BigInt(TILE_WIDTH);
/**
 * Says which objects are wrong. The checkpoint's root is the measure; what gives it is right, and then each right tile is the measure of what lies
 * below. Where stored hashes do not give what they must, those computed from below are put in their place: if that does, the stored ones are wrong,
 * and exactly those.
 */
export function judge(evidences: Evidences): Judgement {
  return new Judge(evidences).run();
}

class Judge {
  readonly #problems: Problem[] = [];
  /** By level: the hash of each full tile, as the level above should have it. */
  readonly #folds: Uint8Array[] = [];

  constructor(private readonly given: Evidences) {}

  run(): Judgement {
    const { size, rootHash } = this.given.head;
    const top = this.#top();
    this.#folds.push(this.given.folds);
    for (let level = 1; level <= top; level++) this.#folds.push(this.#foldsOf(level));

    // 1. The right edge against the root: the partial tiles of all levels, as one row.
    const levels = Array.from({ length: top + 1 }, (_, level) => level).filter(
      (level) => partialWidth(level, size) > 0,
    );
    const stored = concatRows(levels.map((level) => this.#stored(level, this.#count(level) / WIDTH)));
    const computed = concatRows(levels.map((level) => this.#computed(level, this.#count(level) / WIDTH)));
    const starts = new Map<number, number>();
    let length = 0;
    for (const level of levels) {
      starts.set(level, length);
      length += partialWidth(level, size) * HASH_LENGTH;
    }
    const partOf = (row: Uint8Array, level: number): Uint8Array => {
      const start = starts.get(level) ?? 0;
      return row.subarray(start, start + partialWidth(level, size) * HASH_LENGTH);
    };
    const rootOf = (row: Uint8Array): Uint8Array =>
      rootFromNodes(sha256, size, (level, index) => {
        const slice = tileForNode(level, index);
        return hashFromTile(sha256, partOf(row, slice.level), slice.offset, slice.count);
      });
    const right = choose(stored, computed, (row) => equalBytes(rootOf(row), rootHash));
    if (right === undefined) this.#reportRoot(stored, rootOf);

    // 2. Downwards from there, level by level.
    for (const level of [...levels].reverse()) {
      const index = this.#count(level) / WIDTH;
      const row = right === undefined ? undefined : partOf(right, level);
      this.#settle(level, index, row);
    }
    this.#problems.sort(byPlace);
    return { problems: this.#problems, rootHolds: right !== undefined };
  }

  /** Judges a tile of which `right` are the hashes, if that is known, and all below it. */
  #settle(level: number, index: bigint, right: Uint8Array | undefined): void {
    if (level === 0) return this.#settlePlace(index, right);
    const row = this.#stored(level, index);
    const below = this.#computed(level, index);
    this.#reportTile(level, index, right);
    const width = below.bytes.length / HASH_LENGTH;
    for (let at = 0; at < width; at++) {
      const child = index * WIDTH + BigInt(at);
      const fold = hashAt(below.bytes, at);
      const expected = right === undefined ? (row.known(at) ? hashAt(row.bytes, at) : undefined) : hashAt(right, at);
      const fits = expected !== undefined && below.known(at) && equalBytes(fold, expected);
      // What lies under a hash that is right in any case is judged by it; under one that may be wrong it can only be compared with itself.
      const isSure = right !== undefined;
      this.#settleFull(level - 1, child, isSure ? expected : undefined, fits);
      if (!isSure && !fits && expected !== undefined && below.known(at)) {
        this.#problems.push({
          kind: 'disagree',
          object: this.#tilePath(level, index),
          offset: at * HASH_LENGTH,
          end: (at + 1) * HASH_LENGTH,
          logIndex: firstEntry(level - 1, child),
          against: this.#tilePath(level - 1, child),
          reason: 'the tile below does not hash to what this one has for it',
        });
      }
    }
  }

  /** Judges a full tile that must hash to `expected`, if that is known. `fits`: it does, or what was computed in its place. */
  #settleFull(level: number, index: bigint, expected: Uint8Array | undefined, fits: boolean): void {
    const isSuspect = level === 0 && this.given.suspects.has(index);
    if (level === 0 && !isSuspect) {
      if (expected === undefined || fits || this.given.skipped.has(index)) return;
      this.#problems.push({
        kind: 'wrong',
        object: this.#tilePath(0, index),
        offset: 0,
        end: TILE_WIDTH * HASH_LENGTH,
        logIndex: index * WIDTH,
        against: this.#tilePath(1, index / WIDTH),
        reason: `it does not hash to what the tile above has for it, and ${bundlePath(this.given.layout, index, TILE_WIDTH)} agrees with it: both were changed`,
      });
      return;
    }
    if (expected === undefined) return this.#settle(level, index, undefined);
    const stored = this.#stored(level, index);
    const isRight = (row: Uint8Array) => equalBytes(hashFromTile(sha256, row, 0, TILE_WIDTH), expected);
    const right = choose(stored, this.#computed(level, index), isRight);
    if (right === undefined && stored.known(0)) {
      this.#problems.push({
        kind: 'wrong',
        object: this.#tilePath(level, index),
        offset: 0,
        end: TILE_WIDTH * HASH_LENGTH,
        logIndex: firstEntry(level, index),
        against: this.#tilePath(level + 1, index / WIDTH),
        reason:
          'it does not hash to what the tile above has for it, nor does what lies below: which of its hashes are wrong cannot be told',
      });
    }
    this.#settle(level, index, right);
  }

  /** Judges a bundle and its tile of hashes; `right` are the hashes, if that is known. */
  #settlePlace(index: bigint, right: Uint8Array | undefined): void {
    const suspect = this.given.suspects.get(index);
    this.#reportTile(0, index, right);
    if (suspect === undefined) return;
    const { layout } = this.given;
    const path = bundlePath(layout, index, suspect.bundleWidth);
    const isUnfinished = this.#isUnfinished(0, index);
    const first = index * WIDTH;
    const tile = this.#tilePath(0, index);
    const measure = right ?? (suspect.tile === 'missing' ? undefined : suspect.stored);
    if (suspect.bundle === 'missing') {
      if (!isUnfinished)
        this.#problems.push({ kind: 'missing', object: path, logIndex: first, reason: 'it is not there' });
      return;
    }
    const count = suspect.computed.length / HASH_LENGTH;
    const wrong: number[] = [];
    for (let at = 0; at < count; at++) {
      const isKnown = measure !== undefined && (at + 1) * HASH_LENGTH <= measure.length;
      if (isKnown && !equalBytes(hashAt(suspect.computed, at), hashAt(measure, at))) wrong.push(at);
    }
    const [at] = wrong;
    if (at !== undefined) {
      const start = suspect.places[2 * at] ?? 0;
      const others = wrong.length === 1 ? '' : `, nor have ${wrong.length - 1} others after it`;
      this.#problems.push({
        kind: right === undefined ? 'disagree' : 'wrong',
        object: path,
        offset: layout === 'tlog-tiles' ? start - 2 : start,
        end: suspect.places[2 * at + 1] ?? start,
        logIndex: first + BigInt(at),
        against: tile,
        reason: `the entry does not have the hash that the tile has for it${others}`,
      });
      return;
    }
    if (suspect.bundle !== 'whole') {
      const { kind, offset, entry, reason } = suspect.bundle;
      this.#problems.push({ kind, object: path, offset, end: offset, logIndex: first + BigInt(entry), reason });
    }
  }

  /** Says what is wrong with a tile itself. */
  #reportTile(level: number, index: bigint, right: Uint8Array | undefined): void {
    const { size } = this.given.head;
    const width = index === this.#count(level) / WIDTH ? partialWidth(level, size) : TILE_WIDTH;
    const [bytes, objectWidth] = this.#found(level, index);
    const object = encodeTilePath({ level, index, width: objectWidth });
    const logIndex = firstEntry(level, index * WIDTH);
    if (bytes === undefined) {
      if (!this.#isUnfinished(level, index)) {
        this.#problems.push({ kind: 'missing', object, logIndex, reason: 'it is not there' });
      }
      return;
    }
    const expected = objectWidth * HASH_LENGTH;
    if (bytes.length !== expected) {
      const kind = bytes.length < expected ? 'short' : 'long';
      const offset = Math.min(bytes.length, expected);
      const entry = firstEntry(level, index * WIDTH + BigInt(Math.floor(offset / HASH_LENGTH)));
      this.#problems.push({
        kind,
        object,
        offset,
        end: offset,
        logIndex: entry,
        reason: `it has ${bytes.length} bytes, not ${expected}`,
      });
      return;
    }
    if (right === undefined) return;
    const wrong: number[] = [];
    for (let at = 0; at < width; at++) if (!equalBytes(hashAt(bytes, at), hashAt(right, at))) wrong.push(at);
    const [at] = wrong;
    if (at === undefined) return;
    const others = wrong.length === 1 ? '' : `, nor are ${wrong.length - 1} others after it`;
    this.#problems.push({
      kind: 'wrong',
      object,
      offset: at * HASH_LENGTH,
      end: (at + 1) * HASH_LENGTH,
      logIndex: firstEntry(level, index * WIDTH + BigInt(at)),
      reason: `this hash is not the one in the tree under the checkpoint${others}: what lies below gives ${encodeHex(hashAt(right, at))}`,
    });
  }

  /** A tile is finished with the last place below it. */
  #isUnfinished(level: number, index: bigint): boolean {
    const { unfinishedFrom } = this.given;
    const lastPlace = ((index + 1n) << BigInt(TILE_HEIGHT * level)) - 1n;
    return unfinishedFrom !== undefined && lastPlace >= unfinishedFrom;
  }

  #reportRoot(stored: Row, rootOf: (row: Uint8Array) => Uint8Array): void {
    const { size, rootHash } = this.given.head;
    const isWhole = Array.from({ length: stored.bytes.length / HASH_LENGTH }, (_, at) => stored.known(at)).every(
      Boolean,
    );
    if (!isWhole) return; // each tile that is not there is reported by itself
    this.#problems.push({
      kind: 'disagree',
      object: 'checkpoint',
      against: 'the partial tiles',
      reason: `for size ${size} the tiles give the root ${encodeHex(rootOf(stored.bytes))}, the checkpoint has ${encodeHex(rootHash)}`,
    });
  }

  /** The highest level that has a tile. */
  #top(): number {
    let level = 0;
    while (this.#count(level + 1) > 0n) level++;
    return level;
  }

  /** How many hashes a level of tiles has. */
  #count(level: number): bigint {
    return this.given.head.size >> BigInt(TILE_HEIGHT * level);
  }

  #tilePath(level: number, index: bigint): string {
    return encodeTilePath({ level, index, width: this.#found(level, index)[1] });
  }

  /** The bytes of a tile, and how wide their object should be. */
  #found(level: number, index: bigint): [bytes: Uint8Array | undefined, objectWidth: number] {
    const isLast = index === this.#count(level) / WIDTH;
    const width = isLast ? partialWidth(level, this.given.head.size) : TILE_WIDTH;
    if (level > 0) {
      const tile = this.given.tiles.get(`${level}/${index}`);
      return [tile?.bytes, tile?.objectWidth ?? width];
    }
    const suspect = this.given.suspects.get(index);
    if (suspect === undefined) return [isLast ? this.given.lastTile : undefined, width];
    if (suspect.tile === 'missing') return [undefined, width];
    // Of a tile of the wrong length only its length counts.
    return [
      suspect.tile === 'whole' ? suspect.stored : new Uint8Array(suspect.tile.length),
      suspect.tile === 'whole' ? width : suspect.tileWidth,
    ];
  }

  #stored(level: number, index: bigint): Row {
    const [bytes, objectWidth] = this.#found(level, index);
    const isLast = index === this.#count(level) / WIDTH;
    const width = isLast ? partialWidth(level, this.given.head.size) : TILE_WIDTH;
    const row = new Uint8Array(width * HASH_LENGTH);
    const isWhole = bytes?.length === objectWidth * HASH_LENGTH;
    if (isWhole) row.set(bytes.subarray(0, row.length));
    return { bytes: row, known: () => isWhole };
  }

  /** What a tile should have, from what lies below it: entries, or the tiles one level down. */
  #computed(level: number, index: bigint): Row {
    const isLast = index === this.#count(level) / WIDTH;
    const width = isLast ? partialWidth(level, this.given.head.size) : TILE_WIDTH;
    const row = new Uint8Array(width * HASH_LENGTH);
    if (level === 0) {
      const suspect = this.given.suspects.get(index);
      if (suspect === undefined) return this.#stored(0, index);
      row.set(suspect.computed);
      return { bytes: row, known: (at) => (at + 1) * HASH_LENGTH <= suspect.computed.length };
    }
    const start = Number(index) * TILE_WIDTH * HASH_LENGTH;
    row.set((this.#folds[level - 1] as Uint8Array).subarray(start, start + row.length));
    return { bytes: row, known: (at) => hashAt(row, at).some((byte) => byte !== 0) };
  }

  /** The hash of each full tile of a level: of the stored one, or of what was computed if it is not there. */
  #foldsOf(level: number): Uint8Array {
    const full = Number(this.#count(level) / WIDTH);
    const folds = new Uint8Array(full * HASH_LENGTH);
    for (let at = 0; at < full; at++) {
      const stored = this.#stored(level, BigInt(at));
      const row = stored.known(0) ? stored : this.#computed(level, BigInt(at));
      const isKnown = stored.known(0) || Array.from({ length: TILE_WIDTH }, (_, i) => row.known(i)).every(Boolean);
      if (isKnown) folds.set(hashFromTile(sha256, row.bytes, 0, TILE_WIDTH), at * HASH_LENGTH);
    }
    return folds;
  }
}

/** The first entry under hash number `at` of a level of tiles. */
function firstEntry(level: number, at: bigint): bigint {
  return at << BigInt(TILE_HEIGHT * level);
}

function byPlace(a: Problem, b: Problem): number {
  const [x, y] = [a.logIndex ?? -1n, b.logIndex ?? -1n];
  if (x !== y) return x < y ? -1 : 1;
  return (a.offset ?? 0) - (b.offset ?? 0);
}
