import { Controller, Get, Header, Inject } from '@nestjs/common';

/** The two documents as they are served. */
export class TrustDocuments {
  constructor(
    readonly trustedRoot: string,
    readonly signingConfig: string,
  ) {}
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
  signingConfig(): string {
    return this.documents.signingConfig;
  }
}
