import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import { OpenApiController } from '#libs/nest';
import { AppendEntry } from './append.js';
import { EntriesController } from './entries.controller.js';
import { HomeController } from './home.controller.js';
import { HomePage } from './home.js';
import { logDocument } from './openapi.js';
import { ReadTiles } from './read-tiles.js';
import type { RekorV1Parts } from './rekor1.js';
import { RekorController } from './rekor1.controller.js';
import { CreateLogEntry } from './rekor1-create.js';
import { SearchRekorIndex } from './rekor1-index.js';
import { ReadRekorLog } from './rekor1-read.js';
import { RekorTilesController, rekor1Tiles } from './rekor1-tiles.controller.js';
import { SearchController } from './search.controller.js';
import { SearchTrees } from './search.js';
import { TilesController } from './tiles.controller.js';

export interface LogParts {
  /** Rekor v2. */
  readonly append: AppendEntry;
  readonly tiles: ReadTiles;
  /** Rekor v1, on its own tree. */
  readonly v1?: RekorV1Parts;
  /** Over these trees, and those of other logs in the same process. */
  readonly search?: SearchTrees;
}

@Module({})
export class LogModule {
  static register({ append, tiles, v1, search }: LogParts): DynamicModule {
    const providers: Provider[] = [
      { provide: AppendEntry, useValue: append },
      { provide: ReadTiles, useValue: tiles },
    ];
    if (v1 !== undefined) {
      providers.push(
        { provide: CreateLogEntry, useValue: v1.create },
        { provide: ReadRekorLog, useValue: v1.read },
        { provide: SearchRekorIndex, useValue: v1.index },
        { provide: rekor1Tiles, useValue: v1.tiles },
        { provide: HomePage, useValue: v1.home },
      );
    }
    if (search !== undefined) providers.push({ provide: SearchTrees, useValue: search });
    return {
      module: LogModule,
      controllers: [
        EntriesController,
        TilesController,
        ...(v1 ? [RekorController, RekorTilesController, HomeController] : []),
        ...(search ? [SearchController] : []),
        OpenApiController.register('log', logDocument),
      ],
      providers,
    };
  }
}
