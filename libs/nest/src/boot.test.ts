import { connect } from 'node:net';
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

  @Get('elsewhere')
  elsewhere(): never {
    throw Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
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

it.each(['/things', '/nothing'])('a body on %s that breaks off is no fault of ours', async (path) => {
  let heard: (line: string) => void = () => undefined;
  const logged = new Promise<string>((resolve) => (heard = resolve));
  const listening = createLog({ format: 'json', now: () => new Date(), write: (line) => heard(line) });
  const server = await bootHttp(module, { host: '127.0.0.1', port: 0, shapes: [], bodyLimit: 100, log: listening });
  try {
    const socket = connect(Number(new URL(await server.getUrl()).port), '127.0.0.1');
    socket.on('error', () => undefined);
    // The server asks for the body when it has read the head: now it waits.
    const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n`;
    await new Promise<void>((resolve) => {
      socket.once('data', () => socket.write('half', () => resolve()));
      socket.write(head);
    });
    socket.resetAndDestroy();
    expect(JSON.parse(await logged)).toMatchObject({ severity: 'warn', path, status: 499 });
  } finally {
    await server.close();
  }
});

it('a connection of ours that breaks is our fault', async () => {
  const lines: string[] = [];
  const listening = createLog({ format: 'json', now: () => new Date(), write: (line) => void lines.push(line) });
  const server = await bootHttp(module, { host: '127.0.0.1', port: 0, shapes: [], bodyLimit: 100, log: listening });
  try {
    expect((await fetch(`${await server.getUrl()}/things/elsewhere`)).status).toBe(500);
    expect(lines.join()).toContain('"severity":"error"');
  } finally {
    await server.close();
  }
});
