import { Controller, Get, Header, Inject } from '@nestjs/common';
import { HomePage } from './home.js';
import { logDocument } from './openapi.js';

const document = JSON.stringify(logDocument);

/** Paths outside the API that clients of Rekor v1 know. */
@Controller()
export class HomeController {
  constructor(@Inject(HomePage) private readonly page: HomePage) {}

  @Get()
  @Header('content-type', 'text/html; charset=utf-8')
  @Header('content-security-policy', "default-src 'none'")
  @Header('cache-control', 'no-cache')
  home(): string {
    return this.page.html;
  }

  @Get('swagger.json')
  @Header('content-type', 'application/json')
  @Header('cache-control', 'no-cache')
  swagger(): string {
    return document;
  }
}
