import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { CryptoPort } from '#libs/crypto';
import { entryAlgorithms } from '#libs/entry';
import { createTokenVerifier, type Fetch, type IssuerConfig, issuerKinds } from '#libs/identity';
import { type Log, Metrics } from '#libs/nest';
import { noteLogId } from '#libs/note';
import { opensslCrypto, sha256 } from '#libs/openssl';
import { folderObjects, treeGauges } from '#libs/tlog';
import { CaModule } from '../../ca/src/app.module.js';
import { clientAlgorithms, defaultClientAlgorithms } from '../../ca/src/client-key.js';
import { type CtLog, httpCtLog } from '../../ca/src/ct-client.js';
import { CtLogs } from '../../ca/src/ct-logs.js';
import type { ConfiguredCtLog } from '../../ca/src/ct-logs-file.js';
import { CaError } from '../../ca/src/errors.js';
import { IssueCertificate } from '../../ca/src/issue.js';
import type { IssuedStore } from '../../ca/src/issued-store.js';
import { addCaMetrics } from '../../ca/src/metrics.js';
import { IssuanceRates } from '../../ca/src/rate-limit.js';
import { CtModule } from '../../ct/src/app.module.js';
import { ReadCtLog } from '../../ct/src/read-log.js';
import { AcceptedRoots, codeSigning } from '../../ct/src/roots.js';
import { SubmitChain } from '../../ct/src/submit.js';
import { AppendEntry } from '../../log/src/append.js';
import { LogModule } from '../../log/src/app.module.js';
import type { HomeLink } from '../../log/src/home.js';
import { ReadTiles } from '../../log/src/read-tiles.js';
import { composeRekorV1 } from '../../log/src/rekor1.js';
import { SearchTrees } from '../../log/src/search.js';
import { TrustModule } from '../../trust/src/app.module.js';
import { type InstanceKeys, makeSigningConfig, makeTrustedRoot } from '../../trust/src/documents.js';
import { TrustDocuments } from '../../trust/src/trust.controller.js';
import { TsaModule } from '../../tsa/src/app.module.js';
import { defaultPolicy, IssueTimestamp } from '../../tsa/src/issue.js';
import type { StackConfig } from './config.js';
import type { Instance } from './instance.js';
import { devKind } from './issuers.js';
import type { Parts, Trees } from './trees.js';

/** What the home page names. */
const links: readonly HomeLink[] = [
  { name: 'Trust', about: 'trusted root', path: '/trust/trusted_root.json' },
  { name: 'Trust', about: 'signing config', path: '/trust/signing_config.v0.2.json' },
  { name: 'Transparency log', about: 'Rekor v2: checkpoint of its tiles', path: '/api/v2/checkpoint' },
  { name: 'Transparency log', about: 'Rekor v1: size, root hash and checkpoint', path: '/api/v1/log' },
  { name: 'CT log', about: 'checkpoint of its tiles', path: '/ct/checkpoint' },
  ...['log', 'ca', 'ct', 'tsa', 'trust'].map((name) => ({
    name: 'API',
    about: `OpenAPI document: ${name}`,
    path: `/openapi/${name}.json`,
  })),
];

/** What the services are made of. */
export interface ServiceParts {
  config: StackConfig;
  url: string;
  folder: string;
  instance: Instance;
  parts: Parts;
  trees: Trees;
  issuers: readonly IssuerConfig[];
  oidcUrls: readonly string[];
  /** How the documents and keys of issuers are fetched. */
  issuerFetch: Fetch;
  issued: IssuedStore;
  /** CT logs beside our own. */
  ctLogs: readonly ConfiguredCtLog[];
  /** Verifies what clients send. */
  crypto: CryptoPort;
  now: () => Date;
  log: Log;
}

/** The modules of all services, each with its own key, and the documents that name exactly these keys. */
export function composeServices(options: ServiceParts) {
  const { config, url, parts, trees, crypto } = options;
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
  const verification = {
    hash: opensslCrypto.hash,
    verifyDigest: crypto.verifyDigest,
    algorithms: entryAlgorithms,
  };
  const keys = instanceKeys({
    url,
    instance: options.instance,
    parts,
    oidcIssuers: options.oidcUrls,
    ctLogs: options.ctLogs,
  });
  const ca = composeCa(options, {
    // The same flow as over HTTP, without the way there and back.
    addPreChain: (chain) =>
      submit.addChain('precert', chain).catch((cause: unknown) => {
        throw new CaError('CA_LOG', 'Cannot submit precertificate: the CT log refused', { cause });
      }),
  });
  const modules = [
    CaModule.register(ca.flow),
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
        ...verification,
        tree: trees.log,
        logId: trees.logId,
        acceptDsse: config.CHANCERY_LOG_DSSE,
        duplicates: config.CHANCERY_LOG_DUPLICATES,
      }),
      tiles: new ReadTiles(trees.log),
      v1: composeRekorV1({
        ...verification,
        shard: trees.v1,
        links,
        ...(config.CHANCERY_LOG_ATTESTATIONS && {
          attestations: {
            objects: folderObjects(join(options.folder, 'tiles', 'log-v1')),
            maxBytes: config.CHANCERY_LOG_MAX_ATTESTATION_SIZE,
          },
        }),
      }),
      search: new SearchTrees(trees.all),
    }),
    TsaModule.register(
      new IssueTimestamp({
        authority: parts.tsa,
        crypto: opensslCrypto,
        now: options.now,
        acceptedPolicies: [defaultPolicy],
        includeChain: false,
        successStatus: 200,
      }),
    ),
    TrustModule.register(
      new TrustDocuments(makeTrustedRoot(keys), {
        all: makeSigningConfig(keys),
        rekor1: makeSigningConfig(keys, [1]),
        rekor2: makeSigningConfig(keys, [2]),
      }),
    ),
  ];
  return { modules, metrics: serviceMetrics(trees, ca) };
}

/** The CA, which logs into our own log and those that are configured beside it. */
function composeCa(options: ServiceParts, ownLog: CtLog) {
  const { config, parts, crypto, now, log } = options;
  const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
    setTimeout(ms, undefined, { signal }).catch(() => undefined);
  const further = options.ctLogs.filter(({ retired }) => !retired);
  const ctLogs = new CtLogs({
    logs: [
      { name: 'own', key: parts.ct.publicKey, log: ownLog },
      ...further.map(({ url, key }) => ({ name: url, key, log: httpCtLog({ url, fetch, sleep }) })),
    ],
    minimum: config.CHANCERY_CT_MIN,
    crypto,
    now,
    sleep,
    report: log,
  });
  const rates = new IssuanceRates({
    perIdentity: config.CHANCERY_CA_RATE_PER_IDENTITY,
    perIssuer: config.CHANCERY_CA_RATE_PER_ISSUER,
  });
  const flow = new IssueCertificate({
    authority: parts.ca,
    tokens: createTokenVerifier({
      issuers: options.issuers,
      kinds: { ...issuerKinds, dev: devKind },
      fetch: options.issuerFetch,
      now,
      maxTokenAgeMs: config.CHANCERY_OIDC_MAX_TOKEN_AGE,
      upstreamIssuers: config.CHANCERY_OIDC_UPSTREAM_ISSUERS,
    }),
    ctLogs,
    permitted: clientAlgorithms(defaultClientAlgorithms),
    crypto,
    now,
    issued: options.issued,
    rates,
  });
  return { flow, ctLogs, rates };
}

/** What the services say of themselves when somebody looks. */
function serviceMetrics({ all }: Trees, ca: ReturnType<typeof composeCa>): Metrics {
  const metrics = new Metrics();
  const trees = Object.fromEntries(all.map(({ name, tree }) => [name, tree]));
  for (const gauge of treeGauges(trees)) metrics.gauge(gauge);
  addCaMetrics(metrics, ca);
  return metrics;
}

/** The public half of what signs here, for the documents that clients trust. */
export function instanceKeys(options: {
  url: string;
  instance: Instance;
  parts: Parts;
  oidcIssuers: readonly string[];
  ctLogs: readonly ConfiguredCtLog[];
}): InstanceKeys {
  const { url, instance, parts, oidcIssuers, ctLogs } = options;
  const { origins } = instance;
  return {
    url,
    since: instance.createdAt,
    ca: parts.ca.chain,
    ct: parts.ct.publicKey,
    ctLogId: sha256(parts.ct.publicKey.spki),
    // Those that are retired too: what they promised must go on verifying.
    furtherCtLogs: ctLogs.map((log) => ({ url: log.url, publicKey: log.key, logId: sha256(log.key.spki) })),
    log: {
      publicKey: parts.log.publicKey,
      origin: origins.log,
      logId: noteLogId(origins.log, parts.log.publicKey, opensslCrypto.hash),
    },
    logV1: { publicKey: parts.logV1.publicKey, logId: sha256(parts.logV1.publicKey.spki) },
    tsa: parts.tsa.chain,
    oidcIssuers,
  };
}
