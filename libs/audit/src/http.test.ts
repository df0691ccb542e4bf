import { createServer } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { createHttpReader, parseLogUrl, type HttpOptions } from './http.js';
import { urlSource } from './source.js';

const text = (body: Uint8Array) => Buffer.from(body).toString();

/** A log that gives these answers one after the other. */
const scripted = (...answers: (Response | Error)[]) => {
  const pauses: number[] = [];
  let asked = 0;
  const options: HttpOptions = {
    fetch: async () => {
      const answer = answers[Math.min(asked++, answers.length - 1)];
      if (answer instanceof Error || answer === undefined) throw answer ?? new Error('no answer');
      return answer.clone();
    },
    sleep: async (milliseconds) => void pauses.push(milliseconds),
    jitter: () => 0.5,
    now: () => Date.parse('2026-01-01T00:00:00Z'),
  };
  return { reader: createHttpReader(options), pauses, asked: () => asked };
};

describe('createHttpReader()', () => {
  it('tries again after 5xx, 429 and broken connections, with growing pauses', async () => {
    const { reader, pauses } = scripted(
      new Response('', { status: 503 }),
      new Response('', { status: 429 }),
      new Error('fetch failed'),
      new Response('at last'),
    );
    expect(text((await reader.get('http://log', 100)).body)).toBe('at last');
    expect(pauses).toEqual([500, 1000, 2000]);
  });

  it.each([
    ['7', 7000],
    ['Thu, 01 Jan 2026 00:00:09 GMT', 9000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['3600', 60_000],
    ['soon', 500],
  ])('waits as long as Retry-After %s asks for, within reason', async (value, pause) => {
    const busy = new Response('', { status: 503, headers: { 'retry-after': value } });
    const { reader, pauses } = scripted(busy, new Response('ok'));
    await reader.get('http://log', 100);
    expect(pauses).toEqual([pause]);
  });

  it('gives up in the end, with what the log said', async () => {
    const { reader, asked } = scripted(new Response('{"message":"over\\nloaded"}', { status: 503 }));
    await expect(reader.get('http://log/x', 100)).rejects.toMatchObject({
      code: 'AUDIT_UNAVAILABLE',
      status: 503,
      message: 'Cannot read http://log/x: the log answered 503: over loaded',
    });
    expect(asked()).toBe(5);
  });

  it('tries 4xx only once', async () => {
    const { reader, asked } = scripted(new Response('no', { status: 403 }));
    expect((await reader.get('http://log', 100)).status).toBe(403);
    expect(asked()).toBe(1);
  });

  it('follows no redirect', async () => {
    const { reader } = scripted(new Response('', { status: 302, headers: { location: 'http://evil' } }));
    await expect(reader.get('http://log', 100)).rejects.toMatchObject({ code: 'AUDIT_REDIRECT' });
  });

  it('has few requests under way at a time', async () => {
    let running = 0;
    let most = 0;
    const reader = createHttpReader({
      concurrency: 3,
      fetch: async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
        return new Response('x');
      },
    });
    await Promise.all(Array.from({ length: 20 }, () => reader.get('http://log', 10)));
    expect(most).toBe(3);
  });
});

describe('a hostile server', () => {
  const servers: { close: () => void }[] = [];
  afterEach(() => servers.splice(0).forEach((server) => server.close()));

  const serve = async (answer: Parameters<typeof createServer>[1]): Promise<string> => {
    const server = createServer(answer);
    servers.push({ close: () => (server.closeAllConnections(), server.close()) });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return `http://127.0.0.1:${address.port}`;
  };
  const options: HttpOptions = { fetch: globalThis.fetch, sleep: async () => undefined, attempts: 2, timeoutMs: 300 };

  it('that never ends is cut off at the limit', async () => {
    let sent = 0;
    const url = await serve((_, response) => {
      response.on('error', () => undefined);
      const chunk = Buffer.alloc(1 << 16, 1);
      const more = (): void => {
        if (response.destroyed) return;
        sent += chunk.length;
        if (response.write(chunk)) setImmediate(more);
        else response.once('drain', more);
      };
      more();
    });
    await expect(urlSource(url, options).read('tile/0/000', 8192)).rejects.toMatchObject({ code: 'AUDIT_TOO_LARGE' });
    expect(sent).toBeLessThan(1 << 26);
  });

  it('that announces too much is not read', async () => {
    const url = await serve(
      (_, response) => void response.writeHead(200, { 'content-length': '99999999999' }).flushHeaders(),
    );
    await expect(urlSource(url, options).read('tile/0/000', 8192)).rejects.toMatchObject({ code: 'AUDIT_TOO_LARGE' });
  });

  it('that sends a bomb is cut off after decompression', async () => {
    const bomb = gzipSync(Buffer.alloc(1 << 26));
    const url = await serve((_, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb));
    await expect(urlSource(url, options).read('tile/entries/000', 1 << 20)).rejects.toMatchObject({
      code: 'AUDIT_TOO_LARGE',
    });
  });

  it('that is slow is given up, also within a body', async () => {
    const url = await serve((_, response) => void response.writeHead(200).write('x'));
    await expect(urlSource(url, options).read('checkpoint', 100)).rejects.toMatchObject({
      code: 'AUDIT_NETWORK',
      message: expect.stringContaining('no complete answer within 0.3 s') as string,
    });
  });

  it('that redirects elsewhere is not followed', async () => {
    let elsewhere = 0;
    const other = await serve((_, response) => void (elsewhere++, response.end('x')));
    const url = await serve((_, response) => void response.writeHead(307, { location: other }).end());
    await expect(urlSource(url, options).readNote()).rejects.toMatchObject({ code: 'AUDIT_REDIRECT' });
    expect(elsewhere).toBe(0);
  });

  it('that is not there is named', async () => {
    const url = await serve(() => undefined);
    servers.splice(0).forEach((server) => server.close());
    await expect(urlSource(url, options).readNote()).rejects.toMatchObject({
      code: 'AUDIT_NETWORK',
      message: `Cannot reach ${url}/checkpoint: ECONNREFUSED`,
    });
  });
});

describe('parseLogUrl()', () => {
  it.each(['ftp://log', 'log.example', 'http://user@log', 'http://log/?a', 'http://log/#a', ''])(
    'refuses %j',
    (url) => {
      expect(() => parseLogUrl(url)).toThrow(expect.objectContaining({ code: 'AUDIT_URL' }) as Error);
    },
  );
});
