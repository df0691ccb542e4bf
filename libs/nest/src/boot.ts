import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { DynamicModule, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { ConnectionError, FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorShape, errorFilter, plainAnswer, sendAnswer } from './answers.js';
import { Readiness } from './health.controller.js';
import type { Log } from './log.js';
import { Metrics } from './metrics.js';
import { MetricsController } from './metrics.controller.js';

/** A server that serves. */
export interface HttpServer {
  /** Where, as `http://host:port`. */
  getUrl(): Promise<string>;
  /** Answers what is in flight, cuts what has not come to an end after five seconds. */
  close(): Promise<void>;
}

/** How long a request in progress may still take when the server stops, milliseconds. */
const graceMs = 5000;

export interface BootOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** How each family of paths words its errors; the first that owns a path answers. */
  readonly shapes: readonly ErrorShape[];
  /** Largest request body, bytes. */
  readonly bodyLimit: number;
  readonly log: Log;
  /** The server's metrics, where apps have put gauges of their own. By default only those of HTTP and the process. */
  readonly metrics?: Metrics;
  /** Would requests that write be served now? What `/readyz` says; by default yes. */
  readonly ready?: () => boolean | Promise<boolean>;
  /** The request target as it is routed and seen by controllers, for the one that came. Must not throw. */
  readonly rewriteUrl?: (url: string) => string;
}

/** What a page may send, as upstream's services have it: not Authorization, so that browser flows put the token into the body. */
const preflight = {
  'access-control-allow-methods': 'GET, POST, HEAD',
  'access-control-allow-headers': 'accept, content-type, x-requested-with',
};

/**
 * Boots a Nest application on Fastify and listens. Every body arrives in the controllers as raw bytes, whatever its
 * Content-Type says: the formats we serve are strict about bytes and, as upstream, indifferent to that header.
 */
export async function bootHttp(module: Type | DynamicModule, options: BootOptions): Promise<HttpServer> {
  const { rewriteUrl, metrics = new Metrics() } = options;
  const adapter = new FastifyAdapter({
    bodyLimit: options.bodyLimit,
    // A header from outside names the request only if it is short and printable; it ends up in our log.
    genReqId: (request: IncomingMessage) => {
      const given = request.headers['x-request-id'];
      return typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given) ? given : randomUUID();
    },
    // `close` must not wait for clients that keep an idle connection.
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 1024, ignoreTrailingSlash: false },
    requestTimeout: 60_000,
    ...(rewriteUrl && { rewriteUrl: (request: { url?: string | undefined }) => rewriteUrl(request.url ?? '/') }),
    // Room for the largest token that is read at all, in a header; what is larger than this gets no further than Node's parser.
    http: { maxHeaderSize: 32 * 1024 },
    clientErrorHandler: (error: ConnectionError, socket: Socket) => refuseConnection(error, socket, metrics),
    // A path that cannot even be decoded never reaches Nest.
    frameworkErrors: (_error: FastifyError, _request: FastifyRequest, reply: FastifyReply) => {
      metrics.observeUnreadable(400);
      sendAnswer(reply, plainAnswer(400, 'request could not be read'));
    },
  });
  const fastify = adapter.getInstance();
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  fastify.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    // Only browsers say where they come from, and signing clients are none: @fastify/cors would cost every request more than routing does.
    if (request.headers.origin === undefined) return done();
    reply.header('access-control-allow-origin', '*').header('vary', 'Origin');
    if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) return done();
    void reply.code(204).headers(preflight).send();
  });
  fastify.addHook('onResponse', (request, reply, done) => {
    metrics.observe(request, reply);
    done();
  });

  const app = await NestFactory.create<NestFastifyApplication>(withServerParts(module, metrics, options), adapter, {
    bodyParser: false,
    // What goes wrong is thrown, or answered and written to our own log.
    logger: false,
    abortOnError: false,
  });
  app.useGlobalFilters(errorFilter(options));
  await app.listen(options.port, options.host);
  return { getUrl: () => app.getUrl(), close: () => closeServer(app) };
}

/** What every server has, around what an app brings. */
function withServerParts(module: Type | DynamicModule, metrics: Metrics, options: BootOptions): DynamicModule {
  const { ready = () => true, log } = options;
  return {
    module: class HttpServerModule {},
    global: true,
    imports: [module],
    controllers: [MetricsController],
    providers: [
      { provide: Metrics, useValue: metrics },
      { provide: Readiness, useValue: new Readiness(ready, log) },
    ],
    exports: [Readiness],
  };
}

/**
 * No new connections, and an answer to each request in flight. Its connection was busy when the idle ones were closed; a client that keeps it would hold
 * up the end until the keep-alive time is over, more than a minute. A client that connected and says nothing, or only half a request, would hold it
 * up for ever: once the server is closing, Node's own time limits no longer run.
 */
async function closeServer(app: NestFastifyApplication): Promise<void> {
  const sweep = setInterval(() => app.getHttpServer().closeIdleConnections(), 50);
  const cut = setTimeout(() => app.getHttpServer().closeAllConnections(), graceMs);
  try {
    await app.close();
  } finally {
    clearInterval(sweep);
    clearTimeout(cut);
  }
}

/** What is not even HTTP: answered in a line, and the connection closed. */
function refuseConnection(error: ConnectionError, socket: Socket, metrics: Metrics): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const [status, phrase] =
    error.code === 'HPE_HEADER_OVERFLOW' ? [431, 'Request Header Fields Too Large'] : [400, 'Bad Request'];
  metrics.observeUnreadable(status);
  socket.end(`HTTP/1.1 ${status} ${phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

/**
 * Starts a server and lets it serve until SIGTERM or SIGINT, then stops it in order: no new connections, requests in flight are answered, the batch being
 * written is finished. Resolves when all of that is done, so that the process can end with exit code 0. A signal that comes while it starts is not lost,
 * a second one does not cut the stop short.
 */
export async function serveUntilSignal(start: () => Promise<{ close(): Promise<void> }>, log: Log): Promise<void> {
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    process.on('SIGTERM', resolve);
    process.on('SIGINT', resolve);
  });
  const server = await start();
  log.info('stopping', { signal: await signalled });
  await server.close();
  log.info('stopped');
}
