import { Controller, Get, Header, Inject, Param, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { ReadCtLog } from './read-log.js';

const immutable = 'public, max-age=604800, immutable';

/** The files of C2SP static-ct-api, under the monitoring prefix. */
@Controller('ct')
export class StaticCtController {
  constructor(@Inject(ReadCtLog) private readonly log: ReadCtLog) {}

  @Get('checkpoint')
  @Header('content-type', 'text/plain; charset=utf-8')
  @Header('cache-control', 'no-cache')
  checkpoint(): string {
    return this.log.checkpoint();
  }

  @Get('log.v3.json')
  description(): unknown {
    return this.log.description();
  }

  @Get('tile/*')
  @Header('content-type', 'application/octet-stream')
  @Header('cache-control', immutable)
  async tile(@Req() request: FastifyRequest): Promise<Uint8Array> {
    // As requested, not as decoded: a tile has one spelling.
    return Buffer.from(await this.log.tile(request.url.replace(/^\/ct\//, '')));
  }

  @Get('issuer/:fingerprint')
  @Header('content-type', 'application/pkix-cert')
  @Header('cache-control', immutable)
  async issuer(@Param('fingerprint') fingerprint: string): Promise<Uint8Array> {
    return Buffer.from(await this.log.issuer(fingerprint));
  }
}
