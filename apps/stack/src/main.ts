import { createLog, serveUntilSignal } from '#libs/nest';
import { readStackConfig, type StackOptions } from './config.js';
import type { RekorVersions } from '../../trust/src/documents.js';
import { type IssuedPage, type IssuedQuery, IssuedReader, isIssuedCursor } from '../../ca/src/issued-store.js';
import { readIssuingRecord } from './issuing-record.js';
import { type ReindexProgress, reindexSearch as reindexSearchOf } from './reindex.js';
import { exportTrust as exportTrustOf, startStack } from './stack.js';

const now = (): Date => new Date();

/** Serves until SIGTERM or SIGINT. @throws ConfigError, InstanceError, TlogError if it must not start */
export async function runStack(options: StackOptions = {}): Promise<void> {
  const config = readStackConfig(options);
  const format = config.CHANCERY_LOG_FORMAT ?? (process.stderr.isTTY ? 'text' : 'json');
  const log = createLog({ format, now, write: (line) => process.stderr.write(line) });
  await serveUntilSignal(() => startStack(config, log, now), log);
}

/** The trusted root and signing config of a data folder; `rekorVersions` that the latter offers. @throws ConfigError, InstanceError */
export function exportTrust(
  options: StackOptions = {},
  rekorVersions?: RekorVersions,
): Promise<{ trustedRoot: string; signingConfig: string }> {
  return exportTrustOf(readStackConfig(options), now, rekorVersions);
}

/** Rebuilds the search index of a data folder that nobody uses. @throws ConfigError, InstanceError, TlogError */
export function reindexSearch(
  options: StackOptions,
  progress?: (progress: ReindexProgress) => void,
): Promise<readonly ReindexProgress[]> {
  const log = createLog({ format: 'text', now, write: (line) => process.stderr.write(line) });
  return reindexSearchOf(readStackConfig(options), { now, log, ...(progress && { progress }) });
}

export { type IssuedPage, isIssuedCursor };

/** A page of an issuing record: of the CA's file `file`, else of a data folder; also while it is being written. @throws ConfigError, IssuedError */
export async function searchIssued(
  where: StackOptions & { readonly file?: string | undefined },
  query: IssuedQuery,
): Promise<IssuedPage> {
  const reader =
    where.file === undefined ? await readIssuingRecord(readStackConfig(where)) : await IssuedReader.open(where.file);
  try {
    return await reader.search(query);
  } finally {
    await reader.close();
  }
}
