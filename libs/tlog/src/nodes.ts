import { HASH_LENGTH, nodeHash, type ReadNode, type Sha256, TILE_HEIGHT, TILE_WIDTH, tileForNode } from '#libs/merkle';

/**
 * The perfect subtrees inside one tile, each hashed at most once: as a heap, 1 is the whole of a full tile, 2k and 2k+1
 * are below k, and 256 to 511 are the stored hashes.
 */
export class TileNodes {
  readonly width: number;
  readonly #hashes: (Uint8Array | undefined)[] = new Array<undefined>(TILE_WIDTH);

  constructor(
    private readonly sha256: Sha256,
    /** Stored hashes one after the other, 32 bytes each */
    readonly bytes: Uint8Array,
  ) {
    this.width = bytes.length / HASH_LENGTH;
    if (!Number.isInteger(this.width) || this.width > TILE_WIDTH) {
      throw new Error(`Cannot read tile: ${bytes.length} bytes are not a row of at most ${TILE_WIDTH} hashes`);
    }
  }

  /** Stored hash number `at`. */
  leaf(at: number): Uint8Array {
    if (at >= this.width) throw new Error(`Cannot read tile: it has ${this.width} hashes, hash ${at} is asked for`);
    return this.bytes.subarray(at * HASH_LENGTH, (at + 1) * HASH_LENGTH);
  }

  /** The hash over the 2^height stored hashes from number `offset`, a multiple of 2^height. */
  node(height: number, offset: number): Uint8Array {
    return this.#hashAt((TILE_WIDTH + offset) >> height);
  }

  /** The one hash of a full tile that stands in the tile above. */
  fold(): Uint8Array {
    return this.#hashAt(1);
  }

  #hashAt(place: number): Uint8Array {
    if (place >= TILE_WIDTH) return this.leaf(place - TILE_WIDTH);
    return (this.#hashes[place] ??= nodeHash(this.sha256, this.#hashAt(2 * place), this.#hashAt(2 * place + 1)));
  }
}

/** Reads perfect subtrees out of a set of tiles. */
export class NodeReader {
  /** By level, then by index: no text is made of the numbers on this hot road. */
  readonly #levels: Map<bigint, TileNodes>[] = [];

  set(level: number, index: bigint, tile: TileNodes): void {
    (this.#levels[level] ??= new Map<bigint, TileNodes>()).set(index, tile);
  }

  get(level: number, index: bigint): TileNodes | undefined {
    return this.#levels[level]?.get(index);
  }

  readonly read: ReadNode = (level, index) => {
    const slice = tileForNode(level, index);
    const tile = this.get(slice.level, slice.index);
    if (tile === undefined) throw new Error(`Cannot read node ${level}/${index}: its tile is not at hand`);
    return tile.node(level % TILE_HEIGHT, slice.offset);
  };
}
