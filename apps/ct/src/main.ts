import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bootHttp, createLog, HealthController, Metrics, serveUntilSignal } from '#libs/nest';
import { loadSigner, opensslCrypto } from '#libs/openssl';
import { folderObjects, lockFolder, openSqlStore, treeGauges } from '#libs/tlog';
import { parseCertificatePem } from '#libs/x509';
import { CtModule } from './app.module.js';
import { readCtConfig } from './config.js';
import { ctShape } from './errors.js';
import { ReadCtLog } from './read-log.js';
import { AcceptedRoots, codeSigning } from './roots.js';
import { SubmitChain } from './submit.js';
import { openCtTree } from './tree.js';

const config = readCtConfig();
const log = createLog({ format: 'json', now: () => new Date(), write: (line) => process.stderr.write(line) });
await serveUntilSignal(async () => {
  const folder = config.CHANCERY_CT_DATA;
  const create = config.CHANCERY_CT_CREATE;
  const url = config.CHANCERY_CT_URL;
  const signer = loadSigner(await readFile(config.CHANCERY_CT_KEY_FILE, 'utf8'));
  const roots = new AcceptedRoots(parseCertificatePem(await readFile(config.CHANCERY_CT_ROOTS_FILE, 'utf8')), {
    crypto: opensslCrypto,
    extendedKeyUsages: [codeSigning],
  });
  const lock = await lockFolder(folder);
  const store = await openSqlStore({ file: join(folder, 'ct.db'), create });
  const tree = await openCtTree({
    store,
    objects: folderObjects(join(folder, 'tiles')),
    origin: url.replace(/^https?:\/\//, ''),
    signer,
    now: Date.now,
    create,
    soleProcess: true,
    report: (error) => log.error('log storage', { error: error.message }),
  });
  const issuers = folderObjects(join(folder, 'tiles', 'ct'));
  const submit = new SubmitChain({ tree, roots, signer, crypto: opensslCrypto, issuers });
  const read = new ReadCtLog({ tree, roots, issuers, logId: submit.logId, spki: signer.publicKey.spki, url });
  const metrics = new Metrics();
  for (const gauge of treeGauges({ ct: tree })) metrics.gauge(gauge);
  const app = await bootHttp(
    {
      module: class CtServer {},
      imports: [CtModule.register({ submit, read })],
      controllers: [HealthController],
    },
    {
      host: config.CHANCERY_CT_HOST,
      port: config.CHANCERY_CT_PORT,
      shapes: [ctShape],
      bodyLimit: 1 << 19,
      log,
      metrics,
      ready: () => tree.halted === undefined,
    },
  );
  log.info('CT log listening', { url: await app.getUrl(), size: tree.head().size });
  return {
    close: async () => {
      await app.close();
      await tree.close();
      await store.close();
      await lock.release();
    },
  };
}, log);
