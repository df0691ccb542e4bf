import { createPrivateKey, randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { bootHttp, ConfigError, describe, type ErrorShape, type Log } from '#libs/nest';
import { opensslCrypto, threadedCrypto } from '#libs/openssl';
import { lockFolder, openSqlStore } from '#libs/tlog';
import { caShape } from '../../ca/src/errors.js';
import { caIssuerFetch } from '../../ca/src/issuer-fetch.js';
import { ctShape } from '../../ct/src/errors.js';
import { logShape } from '../../log/src/errors.js';
import { rekor1BodyLimit, rekor1Shape } from '../../log/src/rekor1-errors.js';
import { cleanRekorPath } from '../../log/src/rekor1-path.js';
import { searchShape } from '../../log/src/search-errors.js';
import { makeSigningConfig, makeTrustedRoot, type RekorVersions } from '../../trust/src/documents.js';
import { trustShape } from '../../trust/src/errors.js';
import { tsaShape } from '../../tsa/src/errors.js';
import { StackModule } from './app.module.js';
import type { StackConfig } from './config.js';
import { DevOidc, devOidcShape } from './dev-oidc.js';
import { createInstance, isEmptyFolder, loadInstance, loadOrCreateDevKey } from './instance.js';
import { baseUrl, devIssuer, devIssuerUrl, issuerUrls, readCtLogs, readIssuers } from './issuers.js';
import { openIssuingRecord } from './issuing-record.js';
import { composeServices, instanceKeys } from './services.js';
import { reindexTree } from './reindex.js';
import { closeTrees, loadParts, type NamedTree, openTrees, type Trees } from './trees.js';

const loopback = new Set(['127.0.0.1', '::1', 'localhost']);
/** Paths that no service has are worded as by the gateway that most of Sigstore's clients know. */
const otherApiShape: ErrorShape = { ...caShape, owns: (path) => path.startsWith('/api/'), methods: () => undefined };

/** A stack that serves. `close` answers what is in flight, finishes the batch being written, and frees the folder. */
export interface RunningStack {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Starts every service on one port over one data folder, which is created if it is empty.
 * @throws ConfigError, InstanceError, IssuedError, TlogError with the reason why it must not start
 */
export async function startStack(config: StackConfig, log: Log, now: () => Date): Promise<RunningStack> {
  const url = baseUrl(config);
  if (config.CHANCERY_DEV && !loopback.has(config.CHANCERY_HOST)) {
    throw new ConfigError([
      `CHANCERY_DEV: the development issuer must not be reachable from outside, but the host is ${config.CHANCERY_HOST}`,
    ]);
  }
  const issuers = await readIssuers(config);
  const ctLogs = await readCtLogs(config);
  const folder = resolve(config.CHANCERY_DATA);

  // Resources are freed in the opposite order, also when a later step refuses.
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    // 1. This process alone works on the folder, before anything in it is read.
    const lock = await lockFolder(folder);
    closers.push(() => lock.release());

    // 2. Who we are: made now in an empty folder, or as it was made. A crash between here and the end of `finish` leaves a folder that is refused.
    const create = isEmptyFolder(folder);
    const { instance, finish } = create
      ? await createInstance(folder, { url: new URL(url), organization: config.CHANCERY_ORGANIZATION, now, log })
      : { instance: await loadInstance(folder), finish: undefined };
    const parts = await loadParts(instance, now());

    // 3. The trees. Opening verifies what is stored, and refuses a database that is older than what was published.
    const store = await openSqlStore({ file: join(folder, 'chancery.db'), create });
    closers.push(() => store.close());
    const trees = await openTrees({ folder, store, instance, parts, create, now, log });
    closers.push(() => closeTrees(trees));
    const issued = await openIssuingRecord({ folder, instance, create, log });
    closers.push(() => issued.close());
    await finish?.(issued.name);

    // 4. The services, each with its own key, and the documents that name exactly these keys.
    const devUrl = devIssuerUrl(config);
    const devOidc =
      devUrl === undefined
        ? undefined
        : new DevOidc({
            issuer: devUrl,
            privateKey: createPrivateKey(await loadOrCreateDevKey(folder)),
            now,
            randomBytes,
          });
    const threads = config.CHANCERY_VERIFY_THREADS;
    const threaded = threads === 0 ? undefined : threadedCrypto(threads);
    if (threaded) closers.push(() => threaded.close());
    const crypto = threaded ?? opensslCrypto;
    const allIssuers = devUrl === undefined ? issuers : [...issuers, devIssuer(devUrl)];
    const issuerFetch = caIssuerFetch({ issuers: allIssuers, allowPrivate: config.CHANCERY_OIDC_PRIVATE, log });
    closers.push(() => issuerFetch.close());
    const { modules, metrics } = composeServices({
      config,
      url,
      folder,
      instance,
      parts,
      trees,
      issuers: allIssuers,
      oidcUrls: issuerUrls(config, issuers),
      issuerFetch,
      issued,
      ctLogs,
      crypto,
      now,
      log,
    });

    // 5. Only now does anyone get in.
    const app = await bootHttp(StackModule.register(modules, devOidc), {
      host: config.CHANCERY_HOST,
      port: config.CHANCERY_PORT,
      shapes: [
        ...[logShape, rekor1Shape, searchShape, caShape, tsaShape, ctShape, trustShape],
        ...(devOidc ? [devOidcShape] : []),
        otherApiShape,
      ],
      bodyLimit: rekor1BodyLimit,
      rewriteUrl: cleanRekorPath,
      metrics,
      // What cannot be logged is not signed either, and what cannot be recorded is not issued: all of them, or none.
      ready: async () => trees.all.every(({ tree }) => tree.halted === undefined) && (await issued.isWorking()),
      log,
    });
    closers.push(() => app.close());
    if (devOidc)
      log.warn('DEVELOPMENT ISSUER IS ON: anyone on this machine gets a token for any identity', { issuer: devUrl });
    log.info('serving', {
      url,
      folder,
      logSize: trees.log.head().size,
      logV1Size: trees.v1.tree.head().size,
      ctSize: trees.ct.head().size,
    });
    completeIndex(trees, log);
    return { url, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Completes search keys that are missing, while everything serves: after `chancery log reindex` was interrupted. Until then each search answer says how
 * far back it reaches. Ends by itself when a tree is closed; the next start goes on.
 */
function completeIndex({ all }: Trees, log: Log): void {
  const complete = async ({ name, tree }: NamedTree): Promise<void> => {
    const indexed = await tree.indexedSize();
    if (indexed === tree.head().size) return;
    log.warn('completing the search index', { tree: name, indexed, size: tree.head().size });
    await reindexTree({ name, tree });
    log.info('search index complete', { tree: name });
  };
  for (const one of all) {
    complete(one).catch((error: unknown) => log.error('search index', { tree: one.name, error: describe(error) }));
  }
}

/**
 * The two documents of an instance that need not be running: `chancery trust export --data`.
 * @throws InstanceError
 */
export async function exportTrust(
  config: StackConfig,
  now: () => Date,
  rekorVersions?: RekorVersions,
): Promise<{ trustedRoot: string; signingConfig: string }> {
  const instance = await loadInstance(resolve(config.CHANCERY_DATA));
  const parts = await loadParts(instance, now());
  // Needs no issuers: the trusted root does not name them.
  const issuers = config.CHANCERY_OIDC_CONFIG === undefined ? [] : await readIssuers(config);
  const keys = instanceKeys({
    url: baseUrl(config),
    instance,
    parts,
    oidcIssuers: issuerUrls(config, issuers),
    ctLogs: await readCtLogs(config),
  });
  return { trustedRoot: makeTrustedRoot(keys), signingConfig: makeSigningConfig(keys, rekorVersions) };
}
