import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { builtInIssuers, createTokenVerifier, parseFulcioConfig } from '#libs/identity';
import { bootHttp, createLog, HealthController, type Log, Metrics, serveUntilSignal } from '#libs/nest';
import { opensslCrypto } from '#libs/openssl';
import { lockFolder } from '#libs/tlog';
import { CaModule } from './app.module.js';
import { loadAuthority } from './authority.js';
import { clientAlgorithms } from './client-key.js';
import { type CaConfig, readCaConfig, requireBroker } from './config.js';
import { httpCtLog } from './ct-client.js';
import { CtLogs, type KnownCtLog } from './ct-logs.js';
import { parseCtLogKey, readCtLogsFile } from './ct-logs-file.js';
import { caShape, lastResortShape } from './errors.js';
import { IssueCertificate } from './issue.js';
import { IssuedStore } from './issued-store.js';
import { caIssuerFetch } from './issuer-fetch.js';
import { addCaMetrics } from './metrics.js';
import { IssuanceRates } from './rate-limit.js';

const read = (file: string): Promise<string> => readFile(file, 'utf8');
const now = (): Date => new Date();
const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
  setTimeout(ms, undefined, { signal }).catch(() => undefined);

await serveUntilSignal(start, createCaLog());

function createCaLog(): Log {
  return createLog({ format: 'json', now, write: (line) => process.stderr.write(line) });
}

async function start(): Promise<{ close(): Promise<void> }> {
  const config = readCaConfig();
  const log = createCaLog();
  const files = {
    keyPem: await read(config.CHANCERY_CA_KEY_FILE),
    chainPem: await read(config.CHANCERY_CA_CHAIN_FILE),
    ...(config.CHANCERY_CA_PASSPHRASE_FILE !== undefined && {
      passphrase: (await read(config.CHANCERY_CA_PASSPHRASE_FILE)).replace(/\r?\n$/, ''),
    }),
  };
  const issuers =
    config.CHANCERY_CA_OIDC_CONFIG === undefined
      ? builtInIssuers
      : parseFulcioConfig(await read(config.CHANCERY_CA_OIDC_CONFIG));
  requireBroker('CHANCERY_CA_OIDC_UPSTREAM_ISSUERS', config.CHANCERY_CA_OIDC_UPSTREAM_ISSUERS, issuers);
  const authority = await loadAuthority(files, now(), opensslCrypto);
  const ctLogs = new CtLogs({
    logs: await configuredLogs(config),
    minimum: config.CHANCERY_CA_CT_MIN,
    crypto: opensslCrypto,
    now,
    sleep,
    report: log,
  });
  const rates = new IssuanceRates({
    perIdentity: config.CHANCERY_CA_RATE_PER_IDENTITY,
    perIssuer: config.CHANCERY_CA_RATE_PER_ISSUER,
  });
  const record = await openRecord(config, log);
  const fetch = caIssuerFetch({ issuers, allowPrivate: config.CHANCERY_CA_OIDC_PRIVATE, log });
  const flow = new IssueCertificate({
    authority,
    tokens: createTokenVerifier({
      issuers,
      fetch,
      now,
      maxTokenAgeMs: config.CHANCERY_CA_OIDC_MAX_TOKEN_AGE,
      upstreamIssuers: config.CHANCERY_CA_OIDC_UPSTREAM_ISSUERS,
    }),
    ctLogs,
    permitted: clientAlgorithms(config.CHANCERY_CA_CLIENT_ALGORITHMS),
    crypto: opensslCrypto,
    now,
    issued: record?.store,
    rates,
  });
  const metrics = new Metrics();
  addCaMetrics(metrics, { flow, ctLogs, rates });
  const app = await bootHttp(
    { module: class CaServer {}, imports: [CaModule.register(flow)], controllers: [HealthController] },
    {
      host: config.CHANCERY_CA_HOST,
      port: config.CHANCERY_CA_PORT,
      shapes: [caShape, lastResortShape],
      bodyLimit: 1 << 22,
      // What cannot be recorded is not issued.
      ready: () => record?.store.isWorking() ?? true,
      log,
      metrics,
    },
  );
  log.info('certificate authority listening', { url: await app.getUrl() });
  return {
    close: async () => {
      await app.close();
      await fetch.close();
      await record?.close();
    },
  };
}

/** Every log that precertificates go to. */
async function configuredLogs(config: CaConfig): Promise<KnownCtLog[]> {
  const { CHANCERY_CA_CT_URL: url, CHANCERY_CA_CT_KEY_FILE: keyFile, CHANCERY_CA_CT_LOGS_FILE: file } = config;
  const more = file === undefined ? [] : await readCtLogsFile('CHANCERY_CA_CT_LOGS_FILE', file);
  const logs = more.filter(({ retired }) => !retired);
  const first =
    url === undefined || keyFile === undefined
      ? []
      : [{ url, key: parseCtLogKey('CHANCERY_CA_CT_KEY_FILE', url, await read(keyFile)) }];
  return [...first, ...logs].map(({ url, key }) => ({ name: url, key, log: httpCtLog({ url, fetch, sleep }) }));
}

/** The issuing record, if there is to be one. This process alone writes it. */
async function openRecord(
  config: CaConfig,
  log: Log,
): Promise<{ store: IssuedStore; close: () => Promise<void> } | undefined> {
  const folder = config.CHANCERY_CA_DATA;
  if (folder === undefined) {
    log.warn('NO ISSUING RECORD: what is issued will not be remembered; CHANCERY_CA_DATA names a folder for it');
    return undefined;
  }
  const lock = await lockFolder(folder);
  try {
    const store = await IssuedStore.open({ file: join(folder, 'ca.db'), create: config.CHANCERY_CA_CREATE });
    if (store.isNew) log.warn('THE ISSUING RECORD IS NEW', { folder });
    return {
      store,
      close: async () => {
        await store.close();
        await lock.release();
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}
