/**
 * The only lib that knows NestJS: booting an HTTP application on Fastify, turning errors into answers, reading
 * configuration, writing logs, stopping in order.
 *
 * Not here: anything about certificates, logs or proofs. Apps import this lib; libs never do.
 *
 * ```ts
 * const app = await bootHttp(StackModule.register(parts), { host, port, shapes: [caShape, logShape], bodyLimit, log });
 * await serveUntilSignal(app, log, () => parts.close());
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
export { type BootOptions, bootHttp, serveUntilSignal } from './boot.js';
export { ConfigError, readConfig } from './config.js';
export { HealthController } from './health.controller.js';
export { createLog, type Log, type LogFields } from './log.js';
