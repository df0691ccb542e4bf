import { Controller, Get, Header, Inject, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { describe } from './answers.js';
import type { Log } from './log.js';

/** Whether a server could do now what it is there for. */
export class Readiness {
  constructor(
    private readonly check: () => boolean | Promise<boolean>,
    private readonly log: Log,
  ) {}

  /** A check that fails is a no. */
  async isReady(): Promise<boolean> {
    try {
      return await this.check();
    } catch (error) {
      this.log.error('readiness check failed', { error: describe(error) });
      return false;
    }
  }
}

/** In the words that gRPC gateways use. */
@Controller()
export class HealthController {
  constructor(@Inject(Readiness) private readonly readiness: Readiness) {}

  /** Liveness: the process answers. A log that has stopped publishing must not be restarted over and over. */
  @Get('healthz')
  @Header('content-type', 'application/json')
  health(): string {
    return '{"status":"SERVING"}';
  }

  /** Readiness: requests that write would be served. What the reason is, our own log says. */
  @Get('readyz')
  @Header('content-type', 'application/json')
  @Header('cache-control', 'no-store')
  async ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    if (await this.readiness.isReady()) return '{"status":"SERVING"}';
    void reply.code(503).header('retry-after', '5');
    return '{"status":"NOT_SERVING"}';
  }

  /** The heartbeat of Rekor v1 and of the timestamp authority. As bytes: their type has no charset. */
  @Get('ping')
  @Header('cache-control', 'no-store')
  ping(@Res({ passthrough: true }) reply: FastifyReply): Buffer {
    void reply.header('content-type', 'text/plain');
    return Buffer.from('.');
  }
}
