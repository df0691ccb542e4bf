/**
 * The only lib that knows NestJS: booting an HTTP application on Fastify, turning errors into answers, reading
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
export { HealthController } from './health.controller.js';
export { createLog, type Log, type LogFields } from './log.js';
