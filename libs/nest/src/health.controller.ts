import { Controller, Get, Header } from '@nestjs/common';

/** Liveness, in the words that gRPC gateways use. */
@Controller()
export class HealthController {
  @Get('healthz')
  @Header('content-type', 'application/json')
  health(): string {
    return '{"status":"SERVING"}';
  }
}
