/**
 * The only lib that knows NestJS: booting an HTTP application on Fastify, turning errors into answers, metrics and OpenAPI documents, reading
 * configuration, writing logs, stopping in order.
 *
 * Not here: anything about certificates, logs or proofs. Apps import this lib; libs never do.
 *
 * ```ts
 * await serveUntilSignal(() => bootHttp(CaModule.register(flow), { host, port, shapes: [caShape], bodyLimit, log }), log);
 * ```
 */
export {
  type Answer,
  describe,
  type ErrorShape,
  gatewayShape,
  grpcAnswer,
  type GrpcCode,
  plainAnswer,
} from './answers.js';
export { type BootOptions, bootHttp, type HttpServer, serveUntilSignal } from './boot.js';
export { ConfigError, readConfig } from './config.js';
export { gzipWhenAccepted } from './gzip.js';
export { HealthController } from './health.controller.js';
export { createLog, type Log, type LogFields } from './log.js';
export { type GaugeOptions, Metrics, type Sample } from './metrics.js';
export {
  type ApiContent,
  type ApiDescription,
  type ApiOperation,
  type ApiResponse,
  type OpenApiDocument,
  openApiDocument,
} from './openapi.js';
export { OpenApiController } from './openapi.controller.js';
export { grpcErrorSchema, serverOperations } from './operations.js';
