import { gunzipSync } from 'node:zlib';
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { Controller, Get, Header, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { prefersGzip } from './gzip.js';
import { bootHttp, createLog, gzipWhenAccepted, type HttpServer } from './index.js';

const text = Buffer.from('a bundle of entries '.repeat(1000));
const hashes = randomBytes(8192);
const short = text.subarray(0, 1023);

@Controller()
class BundleController {
  @Get('text')
  @Header('content-type', 'application/octet-stream')
  text(@Req() asked: FastifyRequest, @Res({ passthrough: true }) reply: FastifyReply): Promise<Buffer> {
    return gzipWhenAccepted(asked, reply, text);
  }

  @Get('hashes')
  hashes(@Req() asked: FastifyRequest, @Res({ passthrough: true }) reply: FastifyReply): Promise<Buffer> {
    return gzipWhenAccepted(asked, reply, hashes);
  }

  @Get('short')
  short(@Req() asked: FastifyRequest, @Res({ passthrough: true }) reply: FastifyReply): Promise<Buffer> {
    return gzipWhenAccepted(asked, reply, short);
  }
}

let server: HttpServer;
let url: string;
beforeAll(async () => {
  const log = createLog({ format: 'json', now: () => new Date(), write: () => undefined });
  server = await bootHttp(
    { module: class Bundles {}, controllers: [BundleController] },
    { host: '127.0.0.1', port: 0, shapes: [], bodyLimit: 100, log },
  );
  url = await server.getUrl();
});
afterAll(() => server.close());

/** The answer as it is on the wire: fetch would decompress it. */
function ask(
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<{ headers: Record<string, unknown>; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const sent = request(url + path, { headers, method }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }));
    });
    sent.on('error', reject);
    sent.end();
  });
}

describe('gzipWhenAccepted()', () => {
  it('compresses for who asks, and says that it depends', async () => {
    const { headers, body } = await ask('/text', { 'accept-encoding': 'br, gzip' });
    expect(headers).toMatchObject({
      'content-encoding': 'gzip',
      vary: 'Accept-Encoding',
      'content-length': String(body.length),
      'content-type': 'application/octet-stream',
    });
    expect(body.length).toBeLessThan(text.length / 10);
    expect(gunzipSync(body).equals(text)).toBe(true);
  });

  it('leaves it as it is for who does not', async () => {
    for (const asked of [{}, { 'accept-encoding': 'identity' }, { 'accept-encoding': 'gzip;q=0' }]) {
      const { headers, body } = await ask('/text', asked);
      expect(headers).toMatchObject({ vary: 'Accept-Encoding', 'content-length': String(text.length) });
      expect(headers['content-encoding']).toBeUndefined();
      expect(body.equals(text)).toBe(true);
    }
  });

  it('answers HEAD with the headers of GET', async () => {
    const get = await ask('/text', { 'accept-encoding': 'gzip' });
    const head = await ask('/text', { 'accept-encoding': 'gzip' }, 'HEAD');
    const { date: _d, 'x-request-id': _r, ...expected } = get.headers;
    expect(head.headers).toMatchObject(expected);
    expect(head.body.length).toBe(0);
  });

  it('does not compress what does not get smaller, nor what is short', async () => {
    for (const [path, bytes] of [
      ['/hashes', hashes],
      ['/short', short],
    ] as const) {
      const { headers, body } = await ask(path, { 'accept-encoding': 'gzip' });
      expect(headers['content-encoding']).toBeUndefined();
      expect(body.equals(bytes)).toBe(true);
    }
  });

  it('adds to what the answer depends on already', async () => {
    const { headers } = await ask('/text', { 'accept-encoding': 'gzip', origin: 'https://a.example' });
    expect(headers['vary']).toBe('Origin, Accept-Encoding');
  });

  it('gives many at once the same bytes, compressed or not', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask('/text', { 'accept-encoding': 'gzip' })));
    for (const { headers, body } of answers) {
      expect((headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).equals(text)).toBe(true);
    }
    expect(answers.some(({ headers }) => headers['content-encoding'] === 'gzip')).toBe(true);
  });
});

describe('prefersGzip()', () => {
  test.each([
    ['no header', undefined, false],
    ['an empty one', '', false],
    ['gzip', 'gzip', true],
    ['in capitals', 'GZIP', true],
    ['its old name', 'x-gzip', true],
    ['among others', 'deflate, gzip;q=0.5 , br', true],
    ['anything', '*', true],
    ['gzip refused', 'gzip;q=0', false],
    ['gzip refused, with a fraction', 'gzip; q=0.000, *', false],
    ['anything refused', '*;q=0', false],
    ['anything but gzip refused', 'gzip, *;q=0', true],
    ['identity ranked above', 'gzip;q=0.5, identity', false],
    ['identity ranked below', 'gzip;q=0.5, identity;q=0.1', true],
    ['identity ranked above by name, gzip under anything', 'identity, *;q=0.5', false],
    ['identity refused', 'identity;q=0, gzip;q=0.1', true],
    ['another name that begins so', 'gzipped', false],
    ['another coding', 'br', false],
    ['what is no weight', 'gzip;q=x', false],
    ['what is no list', ';;,=,\u0001', false],
    ['too many to read', `${'br,'.repeat(10_000)}gzip`, false],
  ])('%s', (_name, header, expected) => {
    expect(prefersGzip(header)).toBe(expected);
  });
});
