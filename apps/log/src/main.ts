import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { entryAlgorithms } from '#libs/entry';
import { bootHttp, createLog, HealthController, Metrics, serveUntilSignal } from '#libs/nest';
import { loadSigner, opensslCrypto, threadedCrypto } from '#libs/openssl';
import { recordFactsV1, recordFactsV2 } from '#libs/search';
import { folderObjects, lockFolder, openSqlStore, treeGauges, type TreeOptions } from '#libs/tlog';
import { LogModule } from './app.module.js';
import { AppendEntry } from './append.js';
import { type LogConfig, readLogConfig } from './config.js';
import { logShape } from './errors.js';
import { ReadTiles } from './read-tiles.js';
import { cleanRekorPath } from './rekor1-path.js';
import { composeRekorV1 } from './rekor1.js';
import { rekor1BodyLimit, rekor1Shape } from './rekor1-errors.js';
import { entryIdOf, type RekorShard } from './rekor1-log.js';
import { searchShape } from './search-errors.js';
import { SearchTrees } from './search.js';
import { openLogTree, openLogV1Tree } from './tree.js';

const config = readLogConfig();
const log = createLog({ format: 'json', now: () => new Date(), write: (line) => process.stderr.write(line) });
await serveUntilSignal(async () => {
  const folder = config.CHANCERY_LOG_DATA;
  const create = config.CHANCERY_LOG_CREATE;
  const lock = await lockFolder(folder);
  const store = await openSqlStore({ file: join(folder, 'log.db'), create });
  const objects = folderObjects(join(folder, 'tiles'));
  const common = {
    store,
    objects,
    now: Date.now,
    create,
    soleProcess: true,
    report: (error: Error) => log.error('log storage', { error: error.message }),
  };
  const { tree, logId } = await openLogTree({
    ...common,
    origin: config.CHANCERY_LOG_ORIGIN,
    signer: loadSigner(await readFile(config.CHANCERY_LOG_KEY_FILE, 'utf8')),
  });
  const shard = await openV1(config, common);
  const threads = config.CHANCERY_LOG_VERIFY_THREADS;
  const threaded = threads === 0 ? undefined : threadedCrypto(threads);
  const verification = {
    hash: opensslCrypto.hash,
    verifyDigest: (threaded ?? opensslCrypto).verifyDigest,
    algorithms: entryAlgorithms,
  };
  const append = new AppendEntry({
    ...verification,
    tree,
    logId,
    acceptDsse: config.CHANCERY_LOG_DSSE,
    duplicates: config.CHANCERY_LOG_DUPLICATES,
  });
  const v1 =
    shard &&
    composeRekorV1({
      ...verification,
      shard,
      ...(config.CHANCERY_LOG_V1_ATTESTATIONS && {
        attestations: { objects, maxBytes: config.CHANCERY_LOG_V1_MAX_ATTESTATION_SIZE },
      }),
    });
  const search = new SearchTrees([
    { name: 'v2', tree, facts: recordFactsV2 },
    ...(shard
      ? [
          {
            name: 'v1',
            tree: shard.tree,
            facts: recordFactsV1,
            uuidOf: (hash: Uint8Array) => entryIdOf(shard.treeId, hash),
          } as const,
        ]
      : []),
  ]);
  const metrics = new Metrics();
  for (const gauge of treeGauges({ v2: tree, ...(shard && { v1: shard.tree }) })) metrics.gauge(gauge);
  const app = await bootHttp(
    {
      module: class LogServer {},
      imports: [LogModule.register({ append, tiles: new ReadTiles(tree), search, ...(v1 && { v1 }) })],
      controllers: [HealthController],
    },
    {
      host: config.CHANCERY_LOG_HOST,
      port: config.CHANCERY_LOG_PORT,
      shapes: [logShape, rekor1Shape, searchShape],
      bodyLimit: rekor1BodyLimit,
      rewriteUrl: cleanRekorPath,
      ready: () => tree.halted === undefined && shard?.tree.halted === undefined,
      log,
      metrics,
    },
  );
  log.info('transparency log listening', { url: await app.getUrl(), size: tree.head().size });
  return {
    close: async () => {
      await app.close();
      await Promise.all([tree.close(), shard?.tree.close()]);
      await threaded?.close();
      await store.close();
      await lock.release();
    },
  };
}, log);

/** The second tree, if it is configured. */
async function openV1(
  config: LogConfig,
  common: Pick<TreeOptions, 'store' | 'objects' | 'now' | 'create' | 'report' | 'soleProcess'>,
): Promise<RekorShard | undefined> {
  const {
    CHANCERY_LOG_V1_KEY_FILE: keyFile,
    CHANCERY_LOG_V1_HOSTNAME: hostname,
    CHANCERY_LOG_V1_TREE_ID: treeId,
  } = config;
  if (keyFile === undefined || hostname === undefined || treeId === undefined) return undefined;
  return openLogV1Tree({ ...common, hostname, treeId, signer: loadSigner(await readFile(keyFile, 'utf8')) });
}
