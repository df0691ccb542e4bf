import { Controller, Get, Header, Inject } from '@nestjs/common';
import { IssueCertificate } from './issue.js';
import { encodeConfiguration } from './wire.js';

/** Whose tokens are accepted, for which audience, and which claim the proof of possession signs. */
@Controller('api/v2/configuration')
export class ConfigurationController {
  constructor(@Inject(IssueCertificate) private readonly flow: IssueCertificate) {}

  @Get()
  @Header('content-type', 'application/json')
  configuration(): string {
    return encodeConfiguration(this.flow.issuers);
  }
}
