import { Controller, Get, Header, Inject, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ReadTiles } from './read-tiles.js';
import { sendTile } from './tiles.controller.js';

/** Names the reader of the Rekor v1 tree among providers. */
export const rekor1Tiles = Symbol('tiles of the Rekor v1 tree');

/** The Rekor v1 tree as files (C2SP tlog-tiles): what upstream's v1 has no counterpart of. */
@Controller('api/v1')
export class RekorTilesController {
  constructor(@Inject(rekor1Tiles) private readonly tiles: ReadTiles) {}

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
