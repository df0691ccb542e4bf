import {
  applyDecorators,
  Body,
  Controller,
  Get,
  Header,
  HttpCode,
  Inject,
  Param,
  Post,
  Query,
  Res,
  UseGuards,
} from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { CreateLogEntry } from './rekor1-create.js';
import { entryLocation } from './rekor1-errors.js';
import { SearchRekorIndex } from './rekor1-index.js';
import { MediaTypeGuard } from './rekor1-media-types.js';
import { ReadRekorLog } from './rekor1-read.js';

/** The headers of chi's middleware.NoCache, which Rekor v1 puts on what may be different the next time. */
const NoCache = (): MethodDecorator =>
  applyDecorators(
    Header('cache-control', 'no-cache, no-store, no-transform, must-revalidate, private, max-age=0'),
    Header('expires', 'Thu, 01 Jan 1970 00:00:00 GMT'),
    Header('pragma', 'no-cache'),
    Header('x-accel-expires', '0'),
  );

/** What is not there is 404 without a body and without a type, unlike all other errors. */
function orNotFound<T>(found: T | undefined, reply: FastifyReply): T | undefined {
  if (found === undefined) void reply.code(404);
  return found;
}

/** Rekor v1, log and search index. */
@Controller('api/v1')
@UseGuards(MediaTypeGuard)
export class RekorController {
  constructor(
    @Inject(CreateLogEntry) private readonly flow: CreateLogEntry,
    @Inject(ReadRekorLog) private readonly log: ReadRekorLog,
    @Inject(SearchRekorIndex) private readonly index: SearchRekorIndex,
  ) {}

  @Get('log')
  @NoCache()
  info(): unknown {
    return this.log.info();
  }

  @Get('log/publicKey')
  @Header('content-type', 'application/x-pem-file')
  @NoCache()
  publicKey(@Query() query: unknown): Buffer {
    return Buffer.from(this.log.publicKey(query));
  }

  @Get('log/proof')
  @NoCache()
  proof(@Query() query: unknown): Promise<unknown> {
    return this.log.proof(query);
  }

  @Post('log/entries')
  @HttpCode(201)
  @Header('content-type', 'application/json')
  async create(@Body() body: Uint8Array | undefined, @Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const { id, json } = await this.flow.create(body);
    // Without quotes: clients take the header as the name of the entry in the body.
    void reply.header('location', entryLocation(id)).header('etag', id);
    return json;
  }

  @Get('log/entries')
  @NoCache()
  async byIndex(@Query() query: unknown, @Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    return orNotFound(await this.log.byIndex(query), reply);
  }

  @Get('log/entries/:entryUUID')
  @NoCache()
  async byUuid(@Param() params: unknown, @Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    return orNotFound(await this.log.byUuid(params), reply);
  }

  @Post('log/entries/retrieve')
  @HttpCode(200)
  retrieve(@Body() body: Uint8Array | undefined): Promise<unknown> {
    return this.log.retrieve(body);
  }

  @Post('index/retrieve')
  @HttpCode(200)
  search(@Body() body: Uint8Array | undefined): Promise<unknown> {
    return this.index.search(body);
  }
}
