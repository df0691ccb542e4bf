import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { entryAlgorithms } from '#libs/entry';
import { bootHttp, createLog, HealthController, serveUntilSignal } from '#libs/nest';
import { loadSigner, opensslCrypto, sha256, threadedCrypto } from '#libs/openssl';
import { folderObjects, lockFolder, openSqlStore } from '#libs/tlog';
import { LogModule } from './app.module.js';
import { AppendEntry } from './append.js';
import { readLogConfig } from './config.js';
import { logShape } from './errors.js';
import { ReadTiles } from './read-tiles.js';
import { openLogTree } from './tree.js';

const config = readLogConfig();
const log = createLog({ format: 'json', now: () => new Date(), write: (line) => process.stderr.write(line) });
await serveUntilSignal(async () => {
  const folder = config.CHANCERY_LOG_DATA;
  const create = config.CHANCERY_LOG_CREATE;
  const lock = await lockFolder(folder);
  const store = await openSqlStore({ file: join(folder, 'log.db'), create });
  const { tree, logId } = await openLogTree({
    store,
    objects: folderObjects(join(folder, 'tiles')),
    origin: config.CHANCERY_LOG_ORIGIN,
    signer: loadSigner(await readFile(config.CHANCERY_LOG_KEY_FILE, 'utf8')),
    now: Date.now,
    create,
    soleProcess: true,
    report: (error) => log.error('log storage', { error: error.message }),
  });
  const threads = config.CHANCERY_LOG_VERIFY_THREADS;
  const threaded = threads === 0 ? undefined : threadedCrypto(threads);
  const append = new AppendEntry({
    tree,
    logId,
    sha256,
    hash: opensslCrypto.hash,
    verifyDigest: (threaded ?? opensslCrypto).verifyDigest,
    algorithms: entryAlgorithms,
    acceptDsse: config.CHANCERY_LOG_DSSE,
    duplicates: config.CHANCERY_LOG_DUPLICATES,
  });
  const app = await bootHttp(
    {
      module: class LogServer {},
      imports: [LogModule.register({ append, tiles: new ReadTiles(tree) })],
      controllers: [HealthController],
    },
    {
      host: config.CHANCERY_LOG_HOST,
      port: config.CHANCERY_LOG_PORT,
      shapes: [logShape],
      bodyLimit: 1 << 22,
      log,
    },
  );
  log.info('transparency log listening', { url: await app.getUrl(), size: tree.head().size });
  return {
    close: async () => {
      await app.close();
      await tree.close();
      await threaded?.close();
      await store.close();
      await lock.release();
    },
  };
}, log);
