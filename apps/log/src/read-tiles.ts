import { parseEntryBundlePath, parseTilePath } from '#libs/merkle';
import type { Tree } from '#libs/tlog';
import { TileNotFoundError } from './errors.js';

/** Tiles, entry bundles and the checkpoint of one tree, by their C2SP tlog-tiles paths. */
export class ReadTiles {
  constructor(private readonly tree: Tree) {}

  checkpoint(): string {
    return this.tree.checkpoint();
  }

  /**
   * `url`: as requested. Only the one spelling of a path exists: whatever else decodes to it is not found.
   * @throws TileNotFoundError, MerkleError `MERKLE_TILE_PATH`
   */
  async read(url: string): Promise<Uint8Array> {
    const path = url.replace(/^\/api\/v2\//, '').replace(/^\//, '');
    const bytes = path.startsWith('tile/entries/')
      ? await this.readBundle(path)
      : await this.tree.readTile(parseTilePath(path));
    if (bytes === undefined) throw new TileNotFoundError(`Cannot read ${path.slice(0, 100)}: beyond the tree`);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  private readBundle(path: string): Promise<Uint8Array | undefined> {
    const { index, width } = parseEntryBundlePath(path);
    return this.tree.readBundle(index, width);
  }
}
