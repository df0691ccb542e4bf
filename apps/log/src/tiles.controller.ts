import { Controller, Get, Header, Inject, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
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
  tile(@Req() request: FastifyRequest): Promise<Uint8Array> {
    return this.tiles.read(request.url);
  }
}
