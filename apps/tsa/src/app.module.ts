import { type DynamicModule, Module } from '@nestjs/common';
import { OpenApiController } from '#libs/nest';
import { IssueTimestamp } from './issue.js';
import { tsaDocument } from './openapi.js';
import { TimestampController } from './timestamp.controller.js';

@Module({})
export class TsaModule {
  static register(flow: IssueTimestamp): DynamicModule {
    return {
      module: TsaModule,
      controllers: [TimestampController, OpenApiController.register('tsa', tsaDocument)],
      providers: [{ provide: IssueTimestamp, useValue: flow }],
    };
  }
}
