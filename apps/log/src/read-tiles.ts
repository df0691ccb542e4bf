import { parseEntryBundlePath, parseTilePath } from '#libs/merkle';
import type { Tree } from '#libs/tlog';
import { TileNotFoundError } from './errors.js';

/** Tiles, entry bundles with their annexes, and the checkpoint of one tree, by their C2SP tlog-tiles paths. */
export class ReadTiles {
  constructor(private readonly tree: Tree) {}

  checkpoint(): string {
    return this.tree.checkpoint();
  }

  /**
   * `path`: `tile/0/x001/067`, `tile/entries/x001/067.p/5`, `tile/annex/…` beside it.
   * @throws TileNotFoundError, MerkleError `MERKLE_TILE_PATH`
   */
  async read(path: string): Promise<Uint8Array> {
    const bytes = await this.#find(path);
    if (bytes === undefined) throw new TileNotFoundError(`Cannot read ${path.slice(0, 100)}: beyond the tree`);
    return bytes;
  }

  #find(path: string): Promise<Uint8Array | undefined> {
    if (path.startsWith('tile/entries/')) {
      const { index, width } = parseEntryBundlePath(path);
      return this.tree.readBundle(index, width);
    }
    if (path.startsWith('tile/annex/')) {
      const { index, width } = parseEntryBundlePath(path, 'annex');
      return this.tree.readSidecar(index, width);
    }
    return this.tree.readTile(parseTilePath(path));
  }
}
