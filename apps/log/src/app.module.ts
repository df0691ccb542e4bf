import { type DynamicModule, Module } from '@nestjs/common';
import { AppendEntry } from './append.js';
import { EntriesController } from './entries.controller.js';
import { ReadTiles } from './read-tiles.js';
import { TilesController } from './tiles.controller.js';

@Module({})
export class LogModule {
  static register(parts: { append: AppendEntry; tiles: ReadTiles }): DynamicModule {
    return {
      module: LogModule,
      controllers: [EntriesController, TilesController],
      providers: [
        { provide: AppendEntry, useValue: parts.append },
        { provide: ReadTiles, useValue: parts.tiles },
      ],
    };
  }
}
