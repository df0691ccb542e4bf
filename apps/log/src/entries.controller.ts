import { Body, Controller, Header, HttpCode, Inject, Post } from '@nestjs/common';
import { AppendEntry } from './append.js';

@Controller('api/v2/log')
export class EntriesController {
  constructor(@Inject(AppendEntry) private readonly flow: AppendEntry) {}

  @Post('entries')
  @HttpCode(201)
  @Header('content-type', 'application/json')
  create(@Body() body: Uint8Array | undefined): Promise<string> {
    return this.flow.append(body);
  }
}
