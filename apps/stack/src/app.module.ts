import { type DynamicModule, Module } from '@nestjs/common';
import { HealthController } from '#libs/nest';
import { DevOidc } from './dev-oidc.js';
import { DevOidcController } from './dev-oidc.controller.js';

/** All services on one port. */
@Module({})
export class StackModule {
  static register(services: DynamicModule[], devOidc: DevOidc | undefined): DynamicModule {
    return {
      module: StackModule,
      imports: services,
      controllers: [HealthController, ...(devOidc ? [DevOidcController] : [])],
      providers: devOidc ? [{ provide: DevOidc, useValue: devOidc }] : [],
    };
  }
}
