import { Controller, Get, Header, Inject, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { gzipWhenAccepted } from '#libs/nest';
import { ReadTiles } from './read-tiles.js';

/** The read path (C2SP tlog-tiles), under both prefixes that monitors of Rekor v2 use. */
@Controller(['api/v2', ''])
export class TilesController {
  constructor(@Inject(ReadTiles) private readonly tiles: ReadTiles) {}

  @Get('checkpoint')
  @Header('content-type', 'text/plain; charset=utf-8')
  @Header('cache-control', 'no-cache')
  checkpoint(): string {
    return this.tiles.checkpoint();
  }

  @Get('tile/*')
  @Header('content-type', 'application/octet-stream')
  @Header('cache-control', 'public, max-age=604800, immutable')
  tile(@Req() request: FastifyRequest, @Res({ passthrough: true }) reply: FastifyReply): Promise<Uint8Array> {
    return sendTile(this.tiles, request, reply);
  }
}

/**
 * The path as requested, not as decoded: a tile has one spelling. Entries and their annexes are mostly text, hashes would not get smaller.
 * @throws TileNotFoundError, MerkleError `MERKLE_TILE_PATH`
 */
export async function sendTile(tiles: ReadTiles, request: FastifyRequest, reply: FastifyReply): Promise<Buffer> {
  const path = request.url.replace(/^\/(?:api\/v[12]\/)?/, '');
  const bytes = await tiles.read(path);
  return /^tile\/(?:entries|annex)\//.test(path)
    ? gzipWhenAccepted(request, reply, bytes)
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
