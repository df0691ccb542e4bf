import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { parsePublicKeyPem } from '#libs/crypto';
import { builtInIssuers, createTokenVerifier, parseFulcioConfig } from '#libs/identity';
import { bootHttp, createLog, HealthController, serveUntilSignal } from '#libs/nest';
import { opensslCrypto } from '#libs/openssl';
import { CaModule } from './app.module.js';
import { loadAuthority } from './authority.js';
import { clientAlgorithms } from './client-key.js';
import { readCaConfig } from './config.js';
import { httpCtLog } from './ct-client.js';
import { caShape, lastResortShape } from './errors.js';
import { IssueCertificate } from './issue.js';

const read = (file: string): Promise<string> => readFile(file, 'utf8');
const now = (): Date => new Date();
const config = readCaConfig();
const log = createLog({ format: 'json', now, write: (line) => process.stderr.write(line) });
const files = {
  keyPem: await read(config.CHANCERY_CA_KEY_FILE),
  chainPem: await read(config.CHANCERY_CA_CHAIN_FILE),
  ...(config.CHANCERY_CA_PASSPHRASE_FILE !== undefined && {
    passphrase: (await read(config.CHANCERY_CA_PASSPHRASE_FILE)).replace(/\r?\n$/, ''),
  }),
};
const flow = new IssueCertificate({
  authority: await loadAuthority(files, now(), opensslCrypto),
  tokens: createTokenVerifier({
    issuers:
      config.CHANCERY_CA_OIDC_CONFIG === undefined
        ? builtInIssuers
        : parseFulcioConfig(await read(config.CHANCERY_CA_OIDC_CONFIG)),
    fetch,
    now,
  }),
  ctLog: httpCtLog({
    url: config.CHANCERY_CA_CT_URL,
    fetch,
    sleep: (ms, signal) => setTimeout(ms, undefined, { signal }).catch(() => undefined),
  }),
  ctLogKey: parsePublicKeyPem(await read(config.CHANCERY_CA_CT_KEY_FILE)),
  permitted: clientAlgorithms(config.CHANCERY_CA_CLIENT_ALGORITHMS),
  crypto: opensslCrypto,
  now,
});
await serveUntilSignal(async () => {
  const app = await bootHttp(
    { module: class CaServer {}, imports: [CaModule.register(flow)], controllers: [HealthController] },
    {
      host: config.CHANCERY_CA_HOST,
      port: config.CHANCERY_CA_PORT,
      shapes: [caShape, lastResortShape],
      bodyLimit: 1 << 22,
      log,
    },
  );
  log.info('certificate authority listening', { url: await app.getUrl() });
  return app;
}, log);
