import { equalBytes } from '#libs/encoding';
import {
  emptyRoot,
  encodeTilePath,
  HASH_LENGTH,
  hashFromTile,
  inclusionNodes,
  leafHash,
  partialWidth,
  proveInclusion,
  readNodesFromTiles,
  rootFromNodes,
  tileForNode,
  tileOfSize,
  tilesForNodes,
  TILE_HEIGHT,
  TILE_WIDTH,
  verifyInclusion,
  type NodeId,
  type ReadNode,
} from '#libs/merkle';
import type { Checkpoint } from '#libs/note';
import { sha256 } from '#libs/openssl';
import { concatBytes, encodeHex } from '#libs/encoding';
import { AuditError } from './error.js';
import { bundlePath, leafPrefix, MAX_BUNDLE_BYTES, splitBundle, type Layout, type Span } from './layout.js';
import { MAX_TILE_BYTES, readPartialOrFull, type LogSource } from './source.js';

/** A bundle whose every entry has the leaf hash that the tree has for it. */
export interface VerifiedBundle {
  /** Number of its first entry in the log. */
  first: bigint;
  /** The bytes of the bundle as a tree of this size has it. */
  bytes: Uint8Array;
  spans: readonly Span[];
}

/** An entry, and the proof that it is in the tree. */
export interface ProvenEntry {
  /** The entry; of a CT log the TileLeaf. */
  record: Uint8Array;
  leafHash: Uint8Array;
  /** From leaf to root, 32 bytes each. */
  hashes: Uint8Array[];
}

const MAX_CACHED_TILES = 512;

/**
 * The tree under a checkpoint, read from a log's tiles. Nothing comes out of it that does not hash to the checkpoint's root: the partial tiles at the
 * right edge are believed because together they give the root, every full tile because it gives the hash that the tile above has for it, and every
 * bundle because its entries give the hashes of its tile.
 *
 * Several sources are asked in turn, until one has an object that fits: so a mirror uses again what it has.
 */
export class VerifiedTree {
  readonly #tiles = new Map<string, Promise<Uint8Array>>();
  #edge: Promise<ReadonlyMap<number, Uint8Array>> | undefined;

  constructor(
    readonly sources: readonly LogSource[],
    readonly head: Checkpoint,
  ) {}

  /**
   * The hashes of a tile, as wide as it is in this tree.
   * @throws AuditError `AUDIT_TILES`, `AUDIT_MISSING`, and those of `LogSource.read`
   */
  tile(level: number, index: bigint): Promise<Uint8Array> {
    const name = `${level}/${index}`;
    let tile = this.#tiles.get(name);
    if (tile === undefined) {
      tile = this.#readTile(level, index);
      // Who asks again after a failure gets another attempt.
      tile.catch(() => this.#tiles.delete(name));
      for (const oldest of this.#tiles.keys()) {
        if (this.#tiles.size < MAX_CACHED_TILES) break;
        this.#tiles.delete(oldest);
      }
    } else this.#tiles.delete(name);
    this.#tiles.set(name, tile);
    return tile;
  }

  /** Checks that the tiles at the right edge give the root of the checkpoint. @throws AuditError as `tile` */
  async checkRoot(): Promise<void> {
    await this.#readEdge();
  }

  /** Gives the hashes of these perfect subtrees, read ahead. @throws AuditError as `tile` */
  async nodes(nodes: readonly NodeId[]): Promise<ReadNode> {
    const tiles = new Map<string, Uint8Array>();
    await Promise.all(
      tilesForNodes(nodes, this.head.size).map(async ({ level, index }) => {
        tiles.set(`${level}/${index}`, await this.tile(level, index));
      }),
    );
    return readNodesFromTiles(sha256, (level, index) => {
      const tile = tiles.get(`${level}/${index}`);
      if (tile === undefined) throw new Error(`tile ${level}/${index} was not read ahead`);
      return tile;
    });
  }

  /**
   * A bundle, verified entry by entry.
   * @throws AuditError `AUDIT_ENTRY` if its entries are not those of the tree, `AUDIT_MISSING`, and as `tile`
   */
  async bundle(layout: Layout, index: bigint): Promise<VerifiedBundle> {
    const tile = await this.tile(0, index);
    const width = tile.length / HASH_LENGTH;
    const pathOf = (wide: number) => bundlePath(layout, index, wide);
    let failure: AuditError | undefined;
    for (const source of this.sources) {
      const found = await readPartialOrFull(source, pathOf, width, MAX_BUNDLE_BYTES[layout]);
      if (found === undefined) continue;
      const { spans, fault } = splitBundle(layout, found.bytes, found.width);
      const wanted = spans.slice(0, width);
      const wrong =
        fault !== undefined && (fault.entry < width || found.width === width)
          ? { at: fault.entry, reason: fault.reason }
          : findWrong(layout, found.bytes, wanted, tile);
      if (wrong === undefined) {
        const end = wanted.at(-1)?.end ?? 0;
        return { first: index * BigInt(TILE_WIDTH), bytes: found.bytes.subarray(0, end), spans: wanted };
      }
      failure = new AuditError(
        'AUDIT_ENTRY',
        `Cannot believe ${source.location}/${found.path}: ${wrong.reason} (log index ${index * BigInt(TILE_WIDTH) + BigInt(wrong.at)})`,
        { cure: 'Run `log fsck` to find out which bytes are wrong' },
      );
    }
    throw failure ?? missing(this.sources, pathOf(width));
  }

  /**
   * An entry and its inclusion proof.
   * @throws AuditError `AUDIT_RANGE` if the tree has no such entry, and as `bundle`
   */
  async proveEntry(layout: Layout, index: bigint): Promise<ProvenEntry> {
    const { size, rootHash } = this.head;
    if (index < 0n || index >= size) {
      throw new AuditError('AUDIT_RANGE', `Cannot read entry ${index}: the log has ${size} entries, numbered from 0`);
    }
    const bundle = await this.bundle(layout, index / BigInt(TILE_WIDTH));
    const span = bundle.spans[Number(index % BigInt(TILE_WIDTH))];
    if (span === undefined) throw new Error('a verified bundle lacks an entry');
    const hashes = proveInclusion(sha256, index, size, await this.nodes(inclusionNodes(index, size).flat()));
    const leaf = leafOf(layout, bundle.bytes, span);
    verifyInclusion(sha256, { index, size, leafHash: leaf, proof: hashes, root: rootHash });
    return { record: bundle.bytes.subarray(span.start, span.end), leafHash: leaf, hashes };
  }

  async #readTile(level: number, index: bigint): Promise<Uint8Array> {
    const { size } = this.head;
    const { width } = tileOfSize(level, index, size);
    if (width < TILE_WIDTH) {
      const edge = (await this.#readEdge()).get(level);
      if (edge === undefined) throw new Error(`the edge lacks level ${level}`);
      return edge;
    }
    const above = await this.tile(level + 1, index / BigInt(TILE_WIDTH));
    const at = Number(index % BigInt(TILE_WIDTH)) * HASH_LENGTH;
    const expected = above.subarray(at, at + HASH_LENGTH);
    const path = encodeTilePath({ level, index, width });
    let failure: AuditError | undefined;
    for (const source of this.sources) {
      const bytes = await source.read(path, MAX_TILE_BYTES);
      if (bytes === undefined) continue;
      if (bytes.length === MAX_TILE_BYTES && equalBytes(hashFromTile(sha256, bytes, 0, TILE_WIDTH), expected)) {
        return bytes;
      }
      failure = new AuditError(
        'AUDIT_TILES',
        `Cannot believe ${source.location}/${path}: it does not hash to what the tile above it has for it`,
        { cure: 'Run `log fsck` to find out which bytes are wrong' },
      );
    }
    throw failure ?? missing(this.sources, path);
  }

  #readEdge(): Promise<ReadonlyMap<number, Uint8Array>> {
    if (this.#edge === undefined) {
      const edge = this.#verifyEdge();
      edge.catch(() => (this.#edge = undefined));
      this.#edge = edge;
    }
    return this.#edge;
  }

  /** The partial tiles, one a level at most: all perfect subtrees whose fold is the root lie in them. */
  async #verifyEdge(): Promise<ReadonlyMap<number, Uint8Array>> {
    const { size, rootHash } = this.head;
    if (size === 0n) {
      if (equalBytes(rootHash, emptyRoot(sha256))) return new Map();
      throw wrongRoot(emptyRoot(sha256), this.head);
    }
    let failure: unknown;
    // Only all of them together can be verified: first with what each source has, then each source by itself.
    const attempts =
      this.sources.length > 1 ? [this.sources, ...this.sources.map((source) => [source])] : [this.sources];
    for (const sources of attempts) {
      try {
        const edge = await readEdgeTiles(sources, size);
        const root = rootFromNodes(sha256, size, (level, index) => {
          const slice = tileForNode(level, index);
          const tile = edge.get(slice.level);
          if (tile === undefined) throw new Error(`the edge lacks level ${slice.level}`);
          return hashFromTile(sha256, tile, slice.offset, slice.count);
        });
        if (equalBytes(root, rootHash)) return edge;
        failure = wrongRoot(root, this.head);
      } catch (error) {
        if (!(error instanceof AuditError)) throw error;
        failure = error;
      }
    }
    throw failure;
  }
}

/** The hash of a leaf, from its place in a bundle. */
export function leafOf(layout: Layout, bytes: Uint8Array, { start, leafEnd }: Span): Uint8Array {
  const prefix = leafPrefix[layout];
  return leafHash(sha256, concatBytes(prefix.subarray(1), bytes.subarray(start, leafEnd)));
}

async function readEdgeTiles(sources: readonly LogSource[], size: bigint): Promise<Map<number, Uint8Array>> {
  const edge = new Map<number, Uint8Array>();
  const levels: number[] = [];
  for (let level = 0; size >> BigInt(TILE_HEIGHT * level) > 0n; level++) {
    if (partialWidth(level, size) > 0) levels.push(level);
  }
  await Promise.all(
    levels.map(async (level) => {
      const width = partialWidth(level, size);
      const index = (size >> BigInt(TILE_HEIGHT * level)) / BigInt(TILE_WIDTH);
      const pathOf = (wide: number) => encodeTilePath({ level, index, width: wide });
      let short: string | undefined;
      for (const source of sources) {
        const found = await readPartialOrFull(source, pathOf, width, MAX_TILE_BYTES);
        if (found === undefined) continue;
        if (found.bytes.length === found.width * HASH_LENGTH) {
          edge.set(level, found.bytes.subarray(0, width * HASH_LENGTH));
          return;
        }
        short = `Cannot believe ${source.location}/${found.path}: it has ${found.bytes.length} bytes, not ${found.width * HASH_LENGTH}`;
      }
      throw short === undefined ? missing(sources, pathOf(width)) : new AuditError('AUDIT_TILES', short);
    }),
  );
  return edge;
}

function findWrong(
  layout: Layout,
  bytes: Uint8Array,
  spans: readonly Span[],
  tile: Uint8Array,
): { at: number; reason: string } | undefined {
  const at = spans.findIndex(
    (span, i) => !equalBytes(leafOf(layout, bytes, span), tile.subarray(i * HASH_LENGTH, (i + 1) * HASH_LENGTH)),
  );
  return at < 0 ? undefined : { at, reason: 'the entry does not have the hash that the tree has for it' };
}

function wrongRoot(root: Uint8Array, { size, rootHash }: Checkpoint): AuditError {
  return new AuditError(
    'AUDIT_TILES',
    `Cannot believe the tiles of the log: for size ${size} they give the root ${encodeHex(root)}, the checkpoint has ${encodeHex(rootHash)}`,
    {
      cure: 'Run `log fsck` to find out which bytes are wrong; keep the checkpoint: a log must be able to show what it signed',
    },
  );
}

function missing(sources: readonly LogSource[], path: string): AuditError {
  const where = sources.map(({ location }) => location).join(' and ');
  return new AuditError('AUDIT_MISSING', `Cannot read ${path}: it is not at ${where}`, {
    cure: 'A log must serve all that its newest checkpoint covers; a chancery data folder holds full tiles only, so ask the server itself',
  });
}
