import { Body, Controller, Get, Header, HttpCode, Inject, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { ReadCtLog } from './read-log.js';
import { SubmitChain } from './submit.js';
import {
  consistencyQuery,
  entriesQuery,
  entryAndProofQuery,
  parseChainBody,
  parseQuery,
  proofByHashQuery,
} from './wire.js';

const day = 'public, max-age=86400';

/** RFC 6962 §4. Under the host itself, and under the submission prefix `/ct` that the log's origin names. */
@Controller(['ct/v1', 'ct/ct/v1'])
export class Rfc6962Controller {
  constructor(
    @Inject(SubmitChain) private readonly flow: SubmitChain,
    @Inject(ReadCtLog) private readonly log: ReadCtLog,
  ) {}

  @Post('add-chain')
  @HttpCode(200)
  async addChain(@Body() body: Uint8Array | undefined): Promise<unknown> {
    return this.flow.addChain('x509', parseChainBody(body));
  }

  @Post('add-pre-chain')
  @HttpCode(200)
  async addPreChain(@Body() body: Uint8Array | undefined): Promise<unknown> {
    return this.flow.addChain('precert', parseChainBody(body));
  }

  @Get('get-roots')
  getRoots(): unknown {
    return this.log.roots();
  }

  @Get('get-sth')
  getSth(): unknown {
    return this.log.treeHead();
  }

  @Get('get-sth-consistency')
  @Header('cache-control', day)
  getSthConsistency(@Query() query: unknown): Promise<unknown> {
    return this.log.consistency(parseQuery(consistencyQuery, query));
  }

  @Get('get-proof-by-hash')
  @Header('cache-control', day)
  getProofByHash(@Query() query: unknown): Promise<unknown> {
    return this.log.proofByHash(parseQuery(proofByHashQuery, query));
  }

  @Get('get-entries')
  async getEntries(@Query() query: unknown, @Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    const { body, full } = await this.log.entries(parseQuery(entriesQuery, query));
    void reply.header('cache-control', full ? day : 'public, max-age=60');
    return body;
  }

  @Get('get-entry-and-proof')
  @Header('cache-control', day)
  getEntryAndProof(@Query() query: unknown): Promise<unknown> {
    return this.log.entryAndProof(parseQuery(entryAndProofQuery, query));
  }
}
