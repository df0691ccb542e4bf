import { type DynamicModule, Module } from '@nestjs/common';
import { OpenApiController } from '#libs/nest';
import { ctDocument } from './openapi.js';
import { ReadCtLog } from './read-log.js';
import { Rfc6962Controller } from './rfc6962.controller.js';
import { StaticCtController } from './static-ct.controller.js';
import { SubmitChain } from './submit.js';

@Module({})
export class CtModule {
  static register(parts: { submit: SubmitChain; read: ReadCtLog }): DynamicModule {
    return {
      module: CtModule,
      controllers: [Rfc6962Controller, StaticCtController, OpenApiController.register('ct', ctDocument)],
      providers: [
        { provide: SubmitChain, useValue: parts.submit },
        { provide: ReadCtLog, useValue: parts.read },
      ],
    };
  }
}
