import { type DynamicModule, Module } from '@nestjs/common';
import { TrustController, TrustDocuments } from './trust.controller.js';

@Module({})
export class TrustModule {
  static register(documents: TrustDocuments): DynamicModule {
    return {
      module: TrustModule,
      controllers: [TrustController],
      providers: [{ provide: TrustDocuments, useValue: documents }],
    };
  }
}
