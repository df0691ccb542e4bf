import { Body, Controller, Get, Header, Headers, HttpCode, Inject, Post, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { IssueCertificate } from './issue.js';
import { encodeLegacyResponse, encodeRootCertificates, parseLegacyRequest } from './wire.js';

const pemChain = 'application/pem-certificate-chain';

/** Fulcio's v1 API, which older clients speak. No `SCT` header: the SCT is in the certificate. */
@Controller('api/v1')
export class LegacyController {
  constructor(@Inject(IssueCertificate) private readonly flow: IssueCertificate) {}

  @Post('signingCert')
  @HttpCode(201)
  @Header('content-type', pemChain)
  async issue(
    @Body() body: Uint8Array | undefined,
    @Headers('authorization') authorization: string | undefined,
    @Req() { id: requestId }: FastifyRequest,
  ): Promise<string> {
    return encodeLegacyResponse(await this.flow.issue(parseLegacyRequest(body, authorization), requestId));
  }

  @Get('rootCert')
  @Header('content-type', pemChain)
  rootCert(): string {
    return encodeRootCertificates(this.flow.chain);
  }
}
