import { Controller, Get, HttpCode, Post, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { expect, it } from 'vitest';
import { bootHttp, createLog, type ErrorShape, grpcAnswer, plainAnswer } from './index.js';

@Controller('things')
class ThingsController {
  @Get()
  list(@Req() request: FastifyRequest): string {
    return request.url;
  }

  @Post()
  @HttpCode(200)
  busy(): never {
    throw new Error('busy');
  }
}
const log = createLog({ format: 'json', now: () => new Date(), write: () => undefined });
const module = { module: class Things {}, controllers: [ThingsController] };

it('bootHttp() routes by the rewritten target, and shows it to controllers', async () => {
  const server = await bootHttp(module, {
    ...{ host: '127.0.0.1', port: 0, shapes: [], bodyLimit: 100, log },
    rewriteUrl: (url) => url.replace(/^\/\/+/, '/').replace(/\/(\?|$)/, '$1'),
  });
  try {
    const url = await server.getUrl();
    expect(await (await fetch(`${url}//things/?a=/`)).text()).toBe('/things?a=/');
    expect((await fetch(`${url}/nothing/`)).status).toBe(404);
  } finally {
    await server.close();
  }
});

it('bootHttp() says with every 503 when to come back', async () => {
  const shape: ErrorShape = {
    owns: () => true,
    methods: () => undefined,
    answer: () => grpcAnswer(14, 'busy'),
    notFound: () => plainAnswer(404, 'no'),
    methodNotAllowed: () => plainAnswer(405, 'no'),
    tooLarge: () => plainAnswer(413, 'no'),
    malformed: () => plainAnswer(400, 'no'),
    internal: () => plainAnswer(500, 'no'),
  };
  const server = await bootHttp(module, { host: '127.0.0.1', port: 0, shapes: [shape], bodyLimit: 100, log });
  try {
    const response = await fetch(`${await server.getUrl()}/things`, { method: 'POST' });
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
  } finally {
    await server.close();
  }
});
