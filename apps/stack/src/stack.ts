import { createPrivateKey, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { CryptoPort } from '#libs/crypto';
import { entryAlgorithms } from '#libs/entry';
import {
  createTokenVerifier,
  type IssuerConfig,
  type IssuerKind,
  issuerKinds,
  parseFulcioConfig,
} from '#libs/identity';
import { bootHttp, ConfigError, type ErrorShape, type Log } from '#libs/nest';
import { noteLogId } from '#libs/note';
import { loadSigner, opensslCrypto, sha256, threadedCrypto } from '#libs/openssl';
import { folderObjects, lockFolder, openSqlStore, type SqlStore, type Tree } from '#libs/tlog';
import { CaModule } from '../../ca/src/app.module.js';
import { loadAuthority } from '../../ca/src/authority.js';
import { clientAlgorithms, defaultClientAlgorithms } from '../../ca/src/client-key.js';
import { CaError, caShape } from '../../ca/src/errors.js';
import { IssueCertificate } from '../../ca/src/issue.js';
import { CtModule } from '../../ct/src/app.module.js';
import { ctShape } from '../../ct/src/errors.js';
import { ReadCtLog } from '../../ct/src/read-log.js';
import { AcceptedRoots, codeSigning } from '../../ct/src/roots.js';
import { SubmitChain } from '../../ct/src/submit.js';
import { openCtTree } from '../../ct/src/tree.js';
import { AppendEntry } from '../../log/src/append.js';
import { LogModule } from '../../log/src/app.module.js';
import { logShape } from '../../log/src/errors.js';
import { ReadTiles } from '../../log/src/read-tiles.js';
import { openLogTree } from '../../log/src/tree.js';
import { TrustModule } from '../../trust/src/app.module.js';
import { type InstanceKeys, makeSigningConfig, makeTrustedRoot } from '../../trust/src/documents.js';
import { trustShape } from '../../trust/src/errors.js';
import { TrustDocuments } from '../../trust/src/trust.controller.js';
import { TsaModule } from '../../tsa/src/app.module.js';
import { loadTimestampAuthority } from '../../tsa/src/authority.js';
import { tsaShape } from '../../tsa/src/errors.js';
import { defaultPolicy, IssueTimestamp } from '../../tsa/src/issue.js';
import { StackModule } from './app.module.js';
import type { StackConfig } from './config.js';
import { DevOidc, devOidcShape } from './dev-oidc.js';
import { createInstance, type Instance, isEmptyFolder, loadInstance, loadOrCreateDevKey } from './instance.js';

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
 * @throws ConfigError, InstanceError, TlogError with the reason why it must not start
 */
export async function startStack(config: StackConfig, log: Log, now: () => Date): Promise<RunningStack> {
  const url = baseUrl(config);
  if (config.CHANCERY_DEV && !loopback.has(config.CHANCERY_HOST)) {
    throw new ConfigError([
      `CHANCERY_DEV: the development issuer must not be reachable from outside, but the host is ${config.CHANCERY_HOST}`,
    ]);
  }
  const issuers = await readIssuers(config);
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
    closers.push(async () => {
      await Promise.all([trees.log.close(), trees.ct.close()]);
    });
    await finish?.();

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
    const services = composeServices({
      config,
      url,
      folder,
      instance,
      parts,
      trees,
      issuers: devUrl === undefined ? issuers : [...issuers, devIssuer(devUrl)],
      oidcUrls: issuerUrls(config, issuers),
      crypto,
      now,
    });

    // 5. Only now does anyone get in.
    const app = await bootHttp(StackModule.register(services, devOidc), {
      host: config.CHANCERY_HOST,
      port: config.CHANCERY_PORT,
      shapes: [logShape, caShape, tsaShape, ctShape, trustShape, ...(devOidc ? [devOidcShape] : []), otherApiShape],
      bodyLimit: 1 << 22,
      log,
    });
    closers.push(() => app.close());
    if (devOidc)
      log.warn('DEVELOPMENT ISSUER IS ON: anyone on this machine gets a token for any identity', { issuer: devUrl });
    log.info('serving', { url, folder, logSize: trees.log.head().size, ctSize: trees.ct.head().size });
    return { url, close };
  } catch (error) {
    await close();
    throw error;
  }
}

type Parts = Awaited<ReturnType<typeof loadParts>>;
interface Trees {
  readonly log: Tree;
  /** How trust material names the log. */
  readonly logId: Uint8Array;
  readonly ct: Tree;
}

async function loadParts(instance: Instance, now: Date) {
  const { keys } = instance;
  return {
    ca: await loadAuthority({ keyPem: keys.ca, chainPem: keys.caChain }, now, opensslCrypto),
    tsa: await loadTimestampAuthority({ keyPem: keys.tsa, chainPem: keys.tsaChain }, now, opensslCrypto),
    ct: loadSigner(keys.ct),
    log: loadSigner(keys.log),
  };
}

async function openTrees(options: {
  folder: string;
  store: SqlStore;
  instance: Instance;
  parts: Parts;
  create: boolean;
  now: () => Date;
  log: Log;
}): Promise<Trees> {
  const { store, instance, parts, create, log } = options;
  const common = {
    store,
    objects: folderObjects(join(options.folder, 'tiles')),
    create,
    now: () => options.now().getTime(),
    // The folder's lock sees to it.
    soleProcess: true,
    report: (error: Error) => log.error('log storage', { error: error.message }),
  };
  const { origins } = instance;
  const { tree, logId } = await openLogTree({ ...common, origin: origins.log, signer: parts.log });
  return { log: tree, logId, ct: await openCtTree({ ...common, origin: origins.ct, signer: parts.ct }) };
}

function composeServices(options: {
  config: StackConfig;
  url: string;
  folder: string;
  instance: Instance;
  parts: Parts;
  trees: Trees;
  issuers: readonly IssuerConfig[];
  oidcUrls: readonly string[];
  /** Verifies what clients send. */
  crypto: CryptoPort;
  now: () => Date;
}) {
  const { config, url, parts, trees, crypto, now } = options;
  const issuerFiles = folderObjects(join(options.folder, 'tiles', 'ct'));
  const root = parts.ca.chain.at(-1);
  if (root === undefined) throw new Error('The CA has no certificates');
  const roots = new AcceptedRoots([root], { crypto, extendedKeyUsages: [codeSigning] });
  const submit = new SubmitChain({
    tree: trees.ct,
    roots,
    signer: parts.ct,
    crypto: opensslCrypto,
    issuers: issuerFiles,
  });
  const keys = instanceKeys(url, options.instance, parts, options.oidcUrls);
  return [
    CaModule.register(
      new IssueCertificate({
        authority: parts.ca,
        tokens: createTokenVerifier({ issuers: options.issuers, kinds: { ...issuerKinds, dev: devKind }, fetch, now }),
        ctLog: {
          // The same flow as over HTTP, without the way there and back.
          addPreChain: (chain) =>
            submit.addChain('precert', chain).catch((cause: unknown) => {
              throw new CaError('CA_LOG', 'Cannot submit precertificate: the CT log refused', { cause });
            }),
        },
        ctLogKey: parts.ct.publicKey,
        permitted: clientAlgorithms(defaultClientAlgorithms),
        crypto,
        now,
      }),
    ),
    CtModule.register({
      submit,
      read: new ReadCtLog({
        tree: trees.ct,
        roots,
        issuers: issuerFiles,
        logId: submit.logId,
        spki: parts.ct.publicKey.spki,
        url: `${url}/ct`,
      }),
    }),
    LogModule.register({
      append: new AppendEntry({
        tree: trees.log,
        logId: trees.logId,
        sha256,
        hash: opensslCrypto.hash,
        verifyDigest: crypto.verifyDigest,
        algorithms: entryAlgorithms,
        acceptDsse: config.CHANCERY_LOG_DSSE,
        duplicates: config.CHANCERY_LOG_DUPLICATES,
      }),
      tiles: new ReadTiles(trees.log),
    }),
    TsaModule.register(
      new IssueTimestamp({
        authority: parts.tsa,
        crypto: opensslCrypto,
        now,
        acceptedPolicies: [defaultPolicy],
        includeChain: false,
        successStatus: 200,
      }),
    ),
    TrustModule.register(new TrustDocuments(makeTrustedRoot(keys), makeSigningConfig(keys))),
  ];
}

/** The public half of what signs here, for the documents that clients trust. */
function instanceKeys(url: string, instance: Instance, parts: Parts, oidcIssuers: readonly string[]): InstanceKeys {
  const { origins } = instance;
  return {
    url,
    since: instance.createdAt,
    ca: parts.ca.chain,
    ct: parts.ct.publicKey,
    ctLogId: sha256(parts.ct.publicKey.spki),
    log: {
      publicKey: parts.log.publicKey,
      origin: origins.log,
      logId: noteLogId(origins.log, parts.log.publicKey, opensslCrypto.hash),
    },
    tsa: parts.tsa.chain,
    oidcIssuers,
  };
}

/**
 * The two documents of an instance that need not be running: `chancery trust export --data`.
 * @throws InstanceError
 */
export async function exportTrust(
  config: StackConfig,
  now: () => Date,
): Promise<{ trustedRoot: string; signingConfig: string }> {
  const instance = await loadInstance(resolve(config.CHANCERY_DATA));
  const parts = await loadParts(instance, now());
  // Needs no issuers: the trusted root does not name them.
  const issuers = config.CHANCERY_OIDC_CONFIG === undefined ? [] : await readIssuers(config);
  const keys = instanceKeys(baseUrl(config), instance, parts, issuerUrls(config, issuers));
  return { trustedRoot: makeTrustedRoot(keys), signingConfig: makeSigningConfig(keys) };
}

/** The development issuer gives tokens of both shapes: with an e-mail address, and like GitHub's. */
const devKind: IssuerKind = {
  challengeClaim: 'sub',
  fields: [],
  principal: (token, issuer) => {
    const shape = 'job_workflow_ref' in token.claims ? 'github-workflow' : 'email';
    const kind = issuerKinds[shape];
    if (kind === undefined) throw new Error(`There is no issuer kind ${shape}`);
    return kind.principal(token, issuer);
  },
};

function devIssuer(url: string): IssuerConfig {
  return { issuerUrl: url, clientId: 'sigstore', type: 'dev', wildcard: false };
}

async function readIssuers(config: StackConfig): Promise<IssuerConfig[]> {
  const file = config.CHANCERY_OIDC_CONFIG;
  if (file !== undefined) {
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new ConfigError([`CHANCERY_OIDC_CONFIG: cannot read ${file} (${error.code ?? 'unknown'})`]);
    });
    return [...parseFulcioConfig(text)];
  }
  if (config.CHANCERY_DEV) return [];
  throw new ConfigError([
    'CHANCERY_OIDC_CONFIG: nobody could get a certificate; name a file with the issuers of identity tokens (--oidc-config), or try things out with --dev',
  ]);
}

/** Where the development issuer is, if there is one. */
function devIssuerUrl(config: StackConfig): string | undefined {
  return config.CHANCERY_DEV ? `http://${hostInUrl(config.CHANCERY_HOST)}:${config.CHANCERY_PORT}/dev/oidc` : undefined;
}

/** The issuers that the signing config names. */
function issuerUrls(config: StackConfig, issuers: readonly IssuerConfig[]): string[] {
  const devUrl = devIssuerUrl(config);
  return [...issuers.map(({ issuerUrl }) => issuerUrl), ...(devUrl === undefined ? [] : [devUrl])];
}

function baseUrl(config: StackConfig): string {
  const given = config.CHANCERY_URL?.replace(/\/+$/, '');
  return given ?? `http://${hostInUrl(config.CHANCERY_HOST)}:${config.CHANCERY_PORT}`;
}

function hostInUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
