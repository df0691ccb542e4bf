/** The log as a server on this machine: both trees on a real database, over HTTP. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Signer } from '#libs/crypto';
import { entryAlgorithms } from '#libs/entry';
import { bootHttp, createLog, HealthController } from '#libs/nest';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import { folderObjects, openSqlStore, type Tree } from '#libs/tlog';
import { AppendEntry } from '../src/append.js';
import { LogModule } from '../src/app.module.js';
import { logShape } from '../src/errors.js';
import { ReadTiles } from '../src/read-tiles.js';
import { composeRekorV1 } from '../src/rekor1.js';
import { rekor1BodyLimit, rekor1Shape } from '../src/rekor1-errors.js';
import type { RekorShard } from '../src/rekor1-log.js';
import { cleanRekorPath } from '../src/rekor1-path.js';
import { openLogTree, openLogV1Tree } from '../src/tree.js';

export const hostname = 'log.example';
export const treeId = 1193050959916656506n;

export interface LogServer {
  readonly url: string;
  readonly shard: RekorShard;
  readonly v2: Tree;
  /** The key of the Rekor v1 tree. */
  readonly signer: Signer;
  /** What the server wrote to its log so far, lines of JSON. */
  readonly lines: readonly string[];
  /** Stops and starts the server again over the same folder. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export interface LogServerOptions {
  /** Keeps statements of `intoto` entries up to this length, bytes. */
  readonly maxAttestation?: number;
  /** In the place of the Rekor v1 tree, for a storage that fails. */
  readonly tree?: (tree: Tree) => Tree;
  readonly now?: () => number;
}

export async function startLogServer(options: LogServerOptions = {}): Promise<LogServer> {
  const folder = await mkdtemp(join(tmpdir(), 'chancery-log-'));
  const signer = generateSigner('P-256');
  const v2Signer = generateSigner('ed25519');
  const lines: string[] = [];
  const log = createLog({ format: 'json', now: () => new Date(), write: (line) => void lines.push(line) });

  const start = async (create: boolean) => {
    const store = await openSqlStore({ file: join(folder, 'log.db'), create });
    const objects = folderObjects(join(folder, 'tiles'));
    const common = { store, objects, now: options.now ?? Date.now, create, soleProcess: true };
    const { tree, logId } = await openLogTree({ ...common, origin: hostname, signer: v2Signer });
    const opened = await openLogV1Tree({ ...common, hostname, treeId, signer });
    const shard = options.tree ? { ...opened, tree: options.tree(opened.tree) } : opened;
    const { hash, verifyDigest } = opensslCrypto;
    const verification = { hash, verifyDigest, algorithms: entryAlgorithms };
    const append = new AppendEntry({
      ...verification,
      tree,
      logId,
      acceptDsse: true,
      duplicates: 'receipt',
    });
    const { maxAttestation } = options;
    const v1 = composeRekorV1({
      ...verification,
      shard,
      ...(maxAttestation !== undefined && { attestations: { objects, maxBytes: maxAttestation } }),
    });
    const module = {
      module: class LogServerModule {},
      imports: [LogModule.register({ append, tiles: new ReadTiles(tree), v1 })],
      controllers: [HealthController],
    };
    const app = await bootHttp(module, {
      host: '127.0.0.1',
      port: 0,
      shapes: [logShape, rekor1Shape],
      bodyLimit: rekor1BodyLimit,
      rewriteUrl: cleanRekorPath,
      log,
    });
    return {
      url: await app.getUrl(),
      shard,
      tree,
      stop: async () => {
        await app.close();
        await Promise.all([tree.close(), opened.tree.close()]);
        await store.close();
      },
    };
  };

  let running = await start(true);
  return {
    get url() {
      return running.url;
    },
    get shard() {
      return running.shard;
    },
    get v2() {
      return running.tree;
    },
    signer,
    lines,
    restart: async () => {
      await running.stop();
      running = await start(false);
    },
    close: async () => {
      await running.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
