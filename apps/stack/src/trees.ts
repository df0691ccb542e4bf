import { join } from 'node:path';
import type { Log } from '#libs/nest';
import { loadSigner, opensslCrypto } from '#libs/openssl';
import { ctFacts, recordFactsV1, recordFactsV2, type SearchableTree, type TreeName } from '#libs/search';
import { folderObjects, type SqlStore, type Tree } from '#libs/tlog';
import { loadAuthority } from '../../ca/src/authority.js';
import { openCtTree } from '../../ct/src/tree.js';
import { entryIdOf, type RekorShard } from '../../log/src/rekor1-log.js';
import { openLogTree, openLogV1Tree } from '../../log/src/tree.js';
import { loadTimestampAuthority } from '../../tsa/src/authority.js';
import type { Instance } from './instance.js';

/** What signs here, from the files of an instance. */
export type Parts = Awaited<ReturnType<typeof loadParts>>;

/** @throws what the authorities and keys say of files that are no good */
export async function loadParts(instance: Instance, now: Date) {
  const { keys } = instance;
  return {
    ca: await loadAuthority({ keyPem: keys.ca, chainPem: keys.caChain }, now, opensslCrypto),
    tsa: await loadTimestampAuthority({ keyPem: keys.tsa, chainPem: keys.tsaChain }, now, opensslCrypto),
    ct: loadSigner(keys.ct),
    log: loadSigner(keys.log),
    logV1: loadSigner(keys.logV1),
  };
}

/** A tree by the name it has in answers and metrics. */
export interface NamedTree {
  readonly name: TreeName;
  readonly tree: Tree;
}

/** The three trees of one instance: one engine, one database. */
export interface Trees {
  /** Rekor v2. */
  readonly log: Tree;
  /** How trust material names it. */
  readonly logId: Uint8Array;
  /** Rekor v1. */
  readonly v1: RekorShard;
  readonly ct: Tree;
  /** All of them, as search knows them. */
  readonly all: readonly (SearchableTree & NamedTree)[];
}

/** Opens them, or makes them in a new instance. Trees that were opened before one refused are closed. @throws TlogError */
export async function openTrees(options: {
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
  const { hostname, treeId } = origins.logV1;
  const v1 = await openLogV1Tree({ ...common, hostname, treeId: BigInt(treeId), signer: parts.logV1 });
  const ct = await openCtTree({ ...common, origin: origins.ct, signer: parts.ct });
  const all: Trees['all'] = [
    { name: 'v2', tree, facts: recordFactsV2 },
    { name: 'v1', tree: v1.tree, facts: recordFactsV1, uuidOf: (leafHash) => entryIdOf(v1.treeId, leafHash) },
    { name: 'ct', tree: ct, facts: ctFacts },
  ];
  return { log: tree, logId, v1, ct, all };
}

/** Finishes what is being written. */
export async function closeTrees({ all }: Trees): Promise<void> {
  await Promise.all(all.map(({ tree }) => tree.close()));
}
