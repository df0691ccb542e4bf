import type { TileNodes } from './nodes.js';

/** The full tiles that were read last. They never change, so nothing in here can be out of date. */
export class TileCache {
  /** In order of use: a Map keeps the order of insertion. */
  readonly #tiles = new Map<string, TileNodes>();

  /** `capacity`: tiles of 8 KiB, with up to four times that in hashes made from them. */
  constructor(private readonly capacity = 256) {}

  get(level: number, index: bigint): TileNodes | undefined {
    const name = `${level}/${index}`;
    const tile = this.#tiles.get(name);
    if (tile !== undefined) {
      this.#tiles.delete(name);
      this.#tiles.set(name, tile);
    }
    return tile;
  }

  set(level: number, index: bigint, tile: TileNodes): void {
    this.#tiles.set(`${level}/${index}`, tile);
    if (this.#tiles.size <= this.capacity) return;
    for (const oldest of this.#tiles.keys()) {
      this.#tiles.delete(oldest);
      return;
    }
  }
}
