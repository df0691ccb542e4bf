import { readFile } from 'node:fs/promises';
import { bootHttp, createLog, HealthController, serveUntilSignal } from '#libs/nest';
import { opensslCrypto } from '#libs/openssl';
import { TsaModule } from './app.module.js';
import { loadTimestampAuthority } from './authority.js';
import { readTsaConfig } from './config.js';
import { tsaShape } from './errors.js';
import { IssueTimestamp } from './issue.js';

const config = readTsaConfig();
const now = (): Date => new Date();
const log = createLog({ format: 'json', now, write: (line) => process.stderr.write(line) });
const authority = await loadTimestampAuthority(
  {
    keyPem: await readFile(config.CHANCERY_TSA_KEY_FILE, 'utf8'),
    chainPem: await readFile(config.CHANCERY_TSA_CHAIN_FILE, 'utf8'),
  },
  now(),
  opensslCrypto,
);
const flow = new IssueTimestamp({
  authority,
  crypto: opensslCrypto,
  now,
  acceptedPolicies: config.CHANCERY_TSA_POLICIES,
  includeChain: config.CHANCERY_TSA_INCLUDE_CHAIN,
  successStatus: config.CHANCERY_TSA_HTTP_201 ? 201 : 200,
});
await serveUntilSignal(async () => {
  const app = await bootHttp(
    {
      module: class TsaServer {},
      imports: [TsaModule.register(flow)],
      controllers: [HealthController],
    },
    {
      host: config.CHANCERY_TSA_HOST,
      port: config.CHANCERY_TSA_PORT,
      shapes: [tsaShape],
      bodyLimit: 1 << 20,
      log,
      ready: () => !flow.expired,
    },
  );
  log.info('timestamp authority listening', { url: await app.getUrl() });
  return app;
}, log);
