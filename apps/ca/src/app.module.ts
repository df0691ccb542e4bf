import { type DynamicModule, Module } from '@nestjs/common';
import { OpenApiController } from '#libs/nest';
import { ConfigurationController } from './configuration.controller.js';
import { IssueCertificate } from './issue.js';
import { LegacyController } from './legacy.controller.js';
import { caDocument } from './openapi.js';
import { SigningCertController } from './signing-cert.controller.js';
import { TrustBundleController } from './trust-bundle.controller.js';

@Module({})
export class CaModule {
  static register(flow: IssueCertificate): DynamicModule {
    return {
      module: CaModule,
      controllers: [
        SigningCertController,
        LegacyController,
        TrustBundleController,
        ConfigurationController,
        OpenApiController.register('ca', caDocument),
      ],
      providers: [{ provide: IssueCertificate, useValue: flow }],
    };
  }
}
