import { Controller, Get, Header, type Type } from '@nestjs/common';
import type { OpenApiDocument } from './openapi.js';

/** Serves an app's OpenAPI document. */
export class OpenApiController {
  /** A controller for a module's list, that serves `document` at `/openapi/<name>.json`. */
  static register(name: string, document: OpenApiDocument): Type {
    const text = JSON.stringify(document);

    @Controller('openapi')
    class DocumentController {
      @Get(`${name}.json`)
      @Header('content-type', 'application/json')
      @Header('cache-control', 'no-cache')
      document(): string {
        return text;
      }
    }
    return DocumentController;
  }
}
