import { Body, Controller, Get, Header, Headers, HttpCode, Inject, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DevOidc } from './dev-oidc.js';

const pageHeaders = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  // Not `no-referrer`: with that a browser says `Origin: null` when the form is sent (Fetch, "append a request Origin header").
  'referrer-policy': 'same-origin',
} as const;

/** The OIDC issuer for trying things out; only there when asked for. */
@Controller('dev/oidc')
export class DevOidcController {
  constructor(@Inject(DevOidc) private readonly oidc: DevOidc) {}

  @Get('.well-known/openid-configuration')
  @Header('content-type', 'application/json')
  discovery(): string {
    return JSON.stringify(this.oidc.discovery());
  }

  @Get('jwks')
  @Header('content-type', 'application/json')
  async jwks(): Promise<string> {
    return JSON.stringify(await this.oidc.jwks());
  }

  @Get('authorize')
  consentPage(@Query() query: Record<string, unknown>, @Res() reply: FastifyReply): void {
    void reply.headers(pageHeaders).send(this.oidc.consentPage(query));
  }

  @Post('authorize')
  consent(
    @Body() body: Uint8Array | undefined,
    @Headers('origin') origin: string | undefined,
    @Res() reply: FastifyReply,
  ): void {
    const answer = this.oidc.consent(body, origin);
    if ('redirect' in answer)
      void reply.code(303).header('cache-control', 'no-store').header('location', answer.redirect).send();
    else void reply.code(200).headers(pageHeaders).send(answer.page);
  }

  @Post('token')
  @HttpCode(200)
  @Header('content-type', 'application/json')
  @Header('cache-control', 'no-store')
  async token(
    @Body() body: Uint8Array | undefined,
    @Headers('content-type') contentType: string | undefined,
    @Headers('origin') origin: string | undefined,
  ): Promise<string> {
    return JSON.stringify(await this.oidc.token(body, contentType, origin));
  }
}
