import { Controller, Get, Header, Inject } from '@nestjs/common';
import { IssueCertificate } from './issue.js';
import { encodeTrustBundle } from './wire.js';

/** The CA's chain, issuing CA first. */
@Controller('api/v2/trustBundle')
export class TrustBundleController {
  constructor(@Inject(IssueCertificate) private readonly flow: IssueCertificate) {}

  @Get()
  @Header('content-type', 'application/json')
  trustBundle(): string {
    return encodeTrustBundle(this.flow.chain);
  }
}
