import { join, resolve } from 'node:path';
import type { Log } from '#libs/nest';
import { recordKeysCt, recordKeysV1, recordKeysV2, type TreeName } from '#libs/search';
import { lockFolder, openSqlStore } from '#libs/tlog';
import type { StackConfig } from './config.js';
import { loadInstance } from './instance.js';
import { closeTrees, loadParts, type NamedTree, openTrees } from './trees.js';

/** How far one tree is. */
export interface ReindexProgress {
  readonly tree: TreeName;
  /** Entries whose search keys are written, of so many. */
  readonly done: bigint;
  readonly total: bigint;
}

/** What a record can be found by, as appending wrote it. */
const keysOf: Readonly<Record<TreeName, (record: Uint8Array) => readonly string[]>> = {
  v1: recordKeysV1,
  v2: recordKeysV2,
  ct: recordKeysCt,
};

/** Completes the search keys of one tree out of its records. @throws TlogError */
export async function reindexTree(
  { name, tree }: NamedTree,
  progress?: (progress: ReindexProgress) => void,
): Promise<void> {
  await tree.reindex({
    keysOf: keysOf[name],
    progress: (done, total) => progress?.({ tree: name, done, total }),
  });
}

/**
 * Makes the search index of a stopped instance anew from its tiles: an index that is complete is dropped first; one that is not, because this was
 * interrupted, is completed.
 * @throws InstanceError, TlogError, also if the instance is running
 */
export async function reindexSearch(
  config: StackConfig,
  options: { now: () => Date; log: Log; progress?: (progress: ReindexProgress) => void },
): Promise<readonly ReindexProgress[]> {
  const folder = resolve(config.CHANCERY_DATA);
  const lock = await lockFolder(folder);
  try {
    const instance = await loadInstance(folder);
    const parts = await loadParts(instance, options.now());
    const store = await openSqlStore({ file: join(folder, 'chancery.db') });
    try {
      const trees = await openTrees({ ...options, folder, store, instance, parts, create: false });
      try {
        const results: ReindexProgress[] = [];
        for (const { name, tree } of trees.all) {
          const total = tree.head().size;
          if ((await tree.indexedSize()) === total) await tree.dropIndex();
          await reindexTree({ name, tree }, options.progress);
          results.push({ tree: name, done: total, total });
        }
        return results;
      } finally {
        await closeTrees(trees);
      }
    } finally {
      await store.close();
    }
  } finally {
    await lock.release();
  }
}
