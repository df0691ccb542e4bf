import { Body, Controller, Header, Headers, HttpCode, Inject, Post, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { IssueCertificate } from './issue.js';
import { encodeSigningResponse, parseSigningRequest } from './wire.js';

/** Fulcio's v2 API: `dev.sigstore.fulcio.v2.CA.CreateSigningCertificate`. Never negotiates: JSON whatever `Accept` says. */
@Controller('api/v2/signingCert')
export class SigningCertController {
  constructor(@Inject(IssueCertificate) private readonly flow: IssueCertificate) {}

  @Post()
  @HttpCode(200)
  @Header('content-type', 'application/json')
  async issue(
    @Body() body: Uint8Array | undefined,
    @Headers('authorization') authorization: string | undefined,
    @Req() { id: requestId }: FastifyRequest,
  ): Promise<string> {
    return encodeSigningResponse(await this.flow.issue(parseSigningRequest(body, authorization), requestId));
  }
}
