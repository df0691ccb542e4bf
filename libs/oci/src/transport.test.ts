import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { collect } from './digest.js';
import { Transport, type TransportOptions } from './transport.js';

const closers: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;

async function serve(listener: Parameters<typeof createServer>[1]): Promise<Server> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return server;
}

/** A server below HTTP: it does with a connection what it likes. */
async function serveSocket(listener: (socket: Socket) => void): Promise<number> {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    listener(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return portOf(server);
}

function open(port: number, more: Partial<TransportOptions> = {}) {
  const origin = `http://127.0.0.1:${port}`;
  const options = { origin, tls: {}, insecureTls: false, connectMs: 1000, idleMs: 1000, ...more };
  const transport = new Transport(options);
  closers.push(() => transport.close());
  const get = (path = '/', signal: AbortSignal = AbortSignal.timeout(20_000)) =>
    transport.exchange({ method: 'GET', url: new URL(path, options.origin), headers: {}, signal });
  return { transport, get };
}

describe('Transport', () => {
  it('keeps connections, at most eight, and asks again by them', async () => {
    let [connections, requests] = [0, 0];
    const server = await serve((_, response) => {
      requests++;
      setTimeout(() => response.end('x'), 5);
    });
    server.on('connection', () => connections++);
    const { get } = open(portOf(server));
    await Promise.all(Array.from({ length: 40 }, async () => collect((await get()).body)));
    for (let n = 0; n < 10; n++) await (await get()).discard();
    expect(requests).toBe(50);
    expect(connections).toBeLessThanOrEqual(8);
  });

  it('gives up a connection rather than read a long rest', async () => {
    let connections = 0;
    const server = await serve((_, response) => void response.end(Buffer.alloc(1_000_000)));
    server.on('connection', () => connections++);
    const { get } = open(portOf(server));
    for (let n = 0; n < 3; n++) await (await get()).discard();
    expect(connections).toBe(3);
  });

  it('gives a header field that came twice as two', async () => {
    const server = await serve((_, response) => {
      response.setHeader('www-authenticate', ['Basic realm="a"', 'Bearer realm="b"']);
      response.setHeader('etag', 'one').end();
    });
    const answer = await open(portOf(server)).get();
    expect(answer.header('www-authenticate')).toEqual(['Basic realm="a"', 'Bearer realm="b"']);
    expect(answer.header('etag')).toBe('one');
    expect(answer.header('link')).toBeUndefined();
  });

  it('sends no user name that is in a URL', async () => {
    let sent: unknown;
    const server = await serve((request, response) => {
      sent = request.headers.authorization;
      response.end();
    });
    const port = portOf(server);
    await (await open(port).get(`http://a:b@127.0.0.1:${port}/`)).discard();
    expect(sent).toBeUndefined();
  });

  it('ends what is under way when it is closed, also what waits for a connection', async () => {
    const server = await serve(() => undefined);
    const { transport, get } = open(portOf(server));
    const waiting = Promise.allSettled(Array.from({ length: 12 }, () => get()));
    await once(server, 'request');
    await transport.close();
    for (const outcome of await waiting) {
      expect(outcome).toMatchObject({
        reason: { code: 'OCI_NETWORK', message: expect.stringMatching(/the store was closed$/) as string },
      });
    }
  });

  it.each<[string, (socket: Socket) => void]>([
    [
      'another protocol',
      (socket) => socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
    ],
    ['no HTTP at all', (socket) => socket.write('SSH-2.0-OpenSSH\r\n')],
    ['two lengths', (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx')],
    ['nothing before it ends', (socket) => socket.end()],
    ['nothing', () => undefined],
    ['only 100 Continue', (socket) => socket.write('HTTP/1.1 100 Continue\r\n\r\n')],
  ])('refuses an answer that is %s', async (_, answer) => {
    const port = await serveSocket((socket) => void socket.once('data', () => answer(socket)));
    await expect(open(port, { idleMs: 200 }).get()).rejects.toMatchObject({ code: 'OCI_NETWORK' });
  });

  it.each<[string, string]>([
    ['by its length', 'content-length: 9\r\n\r\nshort'],
    ['by its chunks', 'transfer-encoding: chunked\r\n\r\n5\r\nshort\r\n'],
  ])('does not take a body that breaks off for a whole one: %s', async (_, rest) => {
    const port = await serveSocket(
      (socket) => void socket.once('data', () => socket.end(`HTTP/1.1 200 OK\r\n${rest}`)),
    );
    const answer = await open(port).get();
    await expect(collect(answer.body)).rejects.toMatchObject({ code: 'OCI_NETWORK' });
  });

  it('ends when no connection comes about, and when the body is called off', async () => {
    const { get } = open(1, {
      origin: 'http://registry.example:1',
      connectMs: 100,
      lookup: () => new Promise(() => undefined),
    });
    await expect(get()).rejects.toMatchObject({
      code: 'OCI_NETWORK',
      message: expect.stringMatching(/no connection in time$/) as string,
    });

    const server = await serve((_, response) => void response.write('begun'));
    const stop = new AbortController();
    const { body } = await open(portOf(server)).get('/', stop.signal);
    setTimeout(() => stop.abort(new DOMException('late', 'TimeoutError')), 50);
    await expect(collect(body)).rejects.toMatchObject({
      code: 'OCI_NETWORK',
      message: expect.stringMatching(/it took too long$/) as string,
    });
  });

  it('waits for a reader who is slower than the silence it allows the registry', async () => {
    const content = Buffer.alloc(4_000_000, 1);
    const server = await serve((_, response) => void response.end(content));
    const { body } = await open(portOf(server), { idleMs: 60 }).get();
    let size = 0;
    for await (const chunk of body) {
      if (size === 0) await new Promise((done) => setTimeout(done, 400));
      size += chunk.length;
    }
    expect(size).toBe(content.length);
  });
});
