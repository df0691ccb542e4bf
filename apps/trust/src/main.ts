import { readFile } from 'node:fs/promises';
import { bootHttp, createLog, HealthController, serveUntilSignal } from '#libs/nest';
import { parseSigningConfig, parseTrustedRoot } from '#libs/trust';
import { TrustModule } from './app.module.js';
import { readTrustConfig } from './config.js';
import { trustShape } from './errors.js';
import { TrustDocuments } from './trust.controller.js';

const config = readTrustConfig();
const log = createLog({ format: 'json', now: () => new Date(), write: (line) => process.stderr.write(line) });
const trustedRoot = await readFile(config.CHANCERY_TRUST_ROOT_FILE, 'utf8');
const signingConfig = await readFile(config.CHANCERY_TRUST_SIGNING_CONFIG_FILE, 'utf8');
// What clients could not read is not served.
parseTrustedRoot(trustedRoot);
parseSigningConfig(signingConfig);

await serveUntilSignal(async () => {
  const documents = new TrustDocuments(trustedRoot, { all: signingConfig });
  const server = {
    module: class TrustServer {},
    imports: [TrustModule.register(documents)],
    controllers: [HealthController],
  };
  const app = await bootHttp(server, {
    host: config.CHANCERY_TRUST_HOST,
    port: config.CHANCERY_TRUST_PORT,
    shapes: [trustShape],
    bodyLimit: 1024,
    log,
  });
  log.info('trust documents listening', { url: await app.getUrl() });
  return app;
}, log);
