import { Body, Controller, Get, Header, Headers, Inject, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { IssueTimestamp } from './issue.js';

/** RFC 3161 over HTTP, at the paths of Sigstore's timestamp authority. */
@Controller()
export class TimestampController {
  constructor(@Inject(IssueTimestamp) private readonly flow: IssueTimestamp) {}

  @Post('api/v1/timestamp')
  issue(
    @Body() body: Uint8Array | undefined,
    @Headers('content-type') contentType: string | undefined,
    @Headers('accept') accept: string | undefined,
    @Res() reply: FastifyReply,
  ): void {
    const token = this.flow.issue({ body, contentType, accept });
    void reply
      .code(this.flow.successStatus)
      .header('content-type', 'application/timestamp-reply')
      .header('cache-control', 'no-cache, no-store, no-transform, must-revalidate, private, max-age=0')
      .header('pragma', 'no-cache')
      .header('expires', 'Thu, 01 Jan 1970 00:00:00 UTC')
      .header('x-accel-expires', '0')
      .send(token);
  }

  @Get('api/v1/timestamp/certchain')
  @Header('content-type', 'application/pem-certificate-chain')
  @Header('cache-control', 'max-age=86400, immutable')
  certificateChain(): string {
    return this.flow.chainPem;
  }
}
