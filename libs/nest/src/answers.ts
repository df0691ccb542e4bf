import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Log, LogFields } from './log.js';

/** What goes back over HTTP when a request cannot be served. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** What our own log line says beside request id, path and status; nobody else reads it. Never a token, key or whole body. */
  readonly log?: LogFields;
}

/**
 * How one family of paths words the errors that no controller sees: an unknown path, a wrong method, a body over the
 * limit, a bug of ours. Each upstream API has its own shape, and its clients read it.
 */
export interface ErrorShape {
  /** Does this family own the path (no query string)? */
  owns(path: string): boolean;
  /** The methods a known path takes; undefined for an unknown path. */
  methods(path: string): readonly string[] | undefined;
  /** What the app's own flows throw; undefined for what it does not know. */
  answer(error: unknown, requestId: string): Answer | undefined;
  notFound(path: string): Answer;
  methodNotAllowed(method: string, allowed: readonly string[]): Answer;
  tooLarge(): Answer;
  /** The request could not even be read (a broken content length, a body that ends early). */
  malformed(): Answer;
  /** A bug or fault of ours: says nothing but the request id. */
  internal(requestId: string): Answer;
}

/** gRPC status codes in use, with the HTTP status that a gRPC gateway gives them. */
const httpStatusOfGrpc = {
  2: 500,
  3: 400,
  5: 404,
  6: 409,
  7: 403,
  8: 429,
  12: 501,
  13: 500,
  14: 503,
  16: 401,
} as const;
export type GrpcCode = keyof typeof httpStatusOfGrpc;

/** The error body of grpc-gateway: `{"code":3,"message":"…","details":[]}`. `status` overrides the code's own. */
export function grpcAnswer(
  code: GrpcCode,
  message: string,
  more: { status?: number; headers?: Readonly<Record<string, string>>; log?: LogFields } = {},
): Answer {
  return {
    status: more.status ?? httpStatusOfGrpc[code],
    contentType: 'application/json',
    body: JSON.stringify({ code, message, details: [] }),
    ...(more.headers && { headers: more.headers }),
    ...(more.log && { log: more.log }),
  };
}

/** The shape of services that upstream serves through grpc-gateway: a wrong method is 501, not 405. */
export function gatewayShape(options: {
  owns: (path: string) => boolean;
  methods: (path: string) => readonly string[] | undefined;
  answer: (error: unknown, requestId: string) => Answer | undefined;
  tooLargeStatus: 400 | 413;
}): ErrorShape {
  return {
    owns: options.owns,
    methods: options.methods,
    answer: options.answer,
    notFound: () => grpcAnswer(5, 'Not Found'),
    methodNotAllowed: () => grpcAnswer(12, 'Method Not Allowed'),
    tooLarge: () => grpcAnswer(3, 'http: request body too large', { status: options.tooLargeStatus }),
    malformed: () => grpcAnswer(3, 'request could not be read'),
    internal: (requestId) => grpcAnswer(13, `internal error (request ${requestId})`),
  };
}

/**
 * The one exception filter of a server. The family that owns the path words the answer; what it does not know is a fault of
 * ours: logged with its cause, answered without.
 */
export function errorFilter(options: { shapes: readonly ErrorShape[]; log: Log }): ExceptionFilter {
  @Catch()
  class AppErrorFilter implements ExceptionFilter {
    catch(error: unknown, host: ArgumentsHost): void {
      const http = host.switchToHttp();
      const request = http.getRequest<FastifyRequest>();
      const path = pathOf(request.url);
      const shape = options.shapes.find((candidate) => candidate.owns(path)) ?? plainShape;
      const known = isDisconnection(error, request)
        ? disconnected
        : (shape.answer(error, request.id) ?? answerHttpError(error, request.method, path, shape));
      const answer = known ?? shape.internal(request.id);
      const fields = { requestId: request.id, method: request.method, path, status: answer.status, ...answer.log };
      // A path or method that nobody serves is no event: scanners ask for thousands.
      if (known === undefined || (answer.status >= 500 && !(error instanceof HttpException))) {
        options.log.error('request failed', { ...fields, error: describe(error) });
      } else if (!(error instanceof HttpException)) {
        options.log.warn('request refused', { ...fields, error: describe(error) });
      }
      sendAnswer(http.getResponse<FastifyReply>(), answer);
    }
  }
  return new AppErrorFilter();
}

/**
 * The connection broke before the body had come to its end: nobody reads the answer, and nothing is wrong with the server. A connection that broke
 * when the request was complete is another one, to a service or store of ours.
 */
function isDisconnection(error: unknown, request: FastifyRequest): boolean {
  return !request.raw.complete && error instanceof Error && 'code' in error && error.code === 'ECONNRESET';
}

/** What Nest and Fastify refuse before a controller runs; both arrive here as HttpException. */
function answerHttpError(error: unknown, method: string, path: string, shape: ErrorShape): Answer | undefined {
  if (!(error instanceof HttpException)) return undefined;
  const status = error.getStatus();
  if (status === 404) {
    const allowed = shape.methods(path);
    return allowed === undefined || allowed.includes(method)
      ? shape.notFound(path)
      : shape.methodNotAllowed(method, allowed);
  }
  if (status === 413) return shape.tooLarge();
  return status >= 400 && status < 500 ? shape.malformed() : undefined;
}

/** Nothing owns the path: say so in the plainest way. */
const plainShape: ErrorShape = {
  owns: () => true,
  methods: () => undefined,
  answer: () => undefined,
  notFound: () => plainAnswer(404, 'not found'),
  methodNotAllowed: () => plainAnswer(405, 'method not allowed'),
  tooLarge: () => plainAnswer(413, 'request body too large'),
  malformed: () => plainAnswer(400, 'request could not be read'),
  internal: (requestId) => plainAnswer(500, `internal error (request ${requestId})`),
};

/** An answer in plain text, with a line feed. */
export function plainAnswer(status: number, text: string, headers?: Readonly<Record<string, string>>): Answer {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${text}\n`, ...(headers && { headers }) };
}

/** 499 as nginx has it: for our log and metrics. */
const disconnected = plainAnswer(499, 'client disconnected during request');

export function sendAnswer(reply: FastifyReply, answer: Answer): void {
  // Who is not told when to come back comes back at once. An answer's own time stands in its headers.
  if (answer.status === 503) void reply.header('retry-after', '5');
  void reply
    .code(answer.status)
    .headers(answer.headers ?? {})
    .header('content-type', answer.contentType)
    // Bytes, because Fastify adds a charset to the type of a string.
    .send(Buffer.from(answer.body));
}

export function pathOf(url: string): string {
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}

/** An error for our own log: its code and message, and its causes; the stack only where there is no code to go by. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? `${error.code}: ` : '';
  const own = code === '' && error.stack ? error.stack : `${code}${error.message}`;
  return error.cause === undefined ? own : `${own}; caused by ${describe(error.cause)}`;
}
