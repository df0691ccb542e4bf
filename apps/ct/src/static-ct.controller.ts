import { Controller, Get, Header, Inject, Param, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { gzipWhenAccepted } from '#libs/nest';
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
  async tile(@Req() request: FastifyRequest, @Res({ passthrough: true }) reply: FastifyReply): Promise<Uint8Array> {
    // As requested, not as decoded: a tile has one spelling.
    const path = request.url.replace(/^\/ct\//, '');
    const bytes = await this.log.tile(path);
    // Certificates and fingerprints repeat themselves; hashes do not.
    if (path.startsWith('tile/data/')) return gzipWhenAccepted(request, reply, bytes);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  @Get('issuer/:fingerprint')
  @Header('content-type', 'application/pkix-cert')
  @Header('cache-control', immutable)
  async issuer(@Param('fingerprint') fingerprint: string): Promise<Uint8Array> {
    return Buffer.from(await this.log.issuer(fingerprint));
  }
}
