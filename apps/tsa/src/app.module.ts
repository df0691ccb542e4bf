import { type DynamicModule, Module } from '@nestjs/common';
import { IssueTimestamp } from './issue.js';
import { TimestampController } from './timestamp.controller.js';

@Module({})
export class TsaModule {
  static register(flow: IssueTimestamp): DynamicModule {
    return {
      module: TsaModule,
      controllers: [TimestampController],
      providers: [{ provide: IssueTimestamp, useValue: flow }],
    };
  }
}
