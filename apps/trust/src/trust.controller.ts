import { Controller, Get, Header, Inject, Query } from '@nestjs/common';
import { TrustQueryError } from './errors.js';

/** The documents as they are served. */
export class TrustDocuments {
  constructor(
    readonly trustedRoot: string,
    /** By which versions of Rekor it offers: `signing_config.v0.2.json?rekor=1`; the plain one offers all. */
    readonly signingConfigs: { readonly all: string; readonly rekor1?: string; readonly rekor2?: string },
  ) {}

  /** @throws TrustQueryError for a version that has no document */
  signingConfig(rekor: unknown): string {
    const { all, rekor1, rekor2 } = this.signingConfigs;
    const text = rekor === undefined ? all : rekor === '1' ? rekor1 : rekor === '2' ? rekor2 : undefined;
    if (text === undefined) throw new TrustQueryError();
    return text;
  }
}

@Controller('trust')
export class TrustController {
  constructor(@Inject(TrustDocuments) private readonly documents: TrustDocuments) {}

  @Get('trusted_root.json')
  @Header('content-type', 'application/json')
  @Header('cache-control', 'no-cache')
  trustedRoot(): string {
    return this.documents.trustedRoot;
  }

  @Get('signing_config.v0.2.json')
  @Header('content-type', 'application/json')
  @Header('cache-control', 'no-cache')
  signingConfig(@Query('rekor') rekor: unknown): string {
    return this.documents.signingConfig(rekor);
  }
}
