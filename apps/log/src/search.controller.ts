import { Controller, Get, Header, Inject, Query } from '@nestjs/common';
import { SearchTrees } from './search.js';

@Controller('api')
export class SearchController {
  constructor(@Inject(SearchTrees) private readonly flow: SearchTrees) {}

  @Get('search')
  @Header('content-type', 'application/json')
  @Header('cache-control', 'no-store')
  search(@Query() params: Record<string, unknown>): Promise<string> {
    return this.flow.search(params);
  }
}
