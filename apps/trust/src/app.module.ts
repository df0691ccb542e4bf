import { type DynamicModule, Module } from '@nestjs/common';
import { OpenApiController } from '#libs/nest';
import { trustDocument } from './openapi.js';
import { TrustController, TrustDocuments } from './trust.controller.js';

@Module({})
export class TrustModule {
  static register(documents: TrustDocuments): DynamicModule {
    return {
      module: TrustModule,
      controllers: [TrustController, OpenApiController.register('trust', trustDocument)],
      providers: [{ provide: TrustDocuments, useValue: documents }],
    };
  }
}
