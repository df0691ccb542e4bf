import { join, resolve } from 'node:path';
import type { Log } from '#libs/nest';
import { IssuedError, IssuedReader, IssuedStore } from '../../ca/src/issued-store.js';
import type { StackConfig } from './config.js';
import { type Instance, InstanceError, nameIssuingRecord } from './instance.js';

const fileName = 'ca.db';

/**
 * Opens the issuing record of an instance: made with a new one (`create`), or now, and said so, in one from before there were any. One that should be there
 * and is not, or is not the same, is refused: what was issued would be forgotten without anybody noticing.
 * @throws InstanceError `INSTANCE_RECORD_MISSING`, `INSTANCE_RECORD_FOREIGN`; IssuedError
 */
export async function openIssuingRecord(options: {
  folder: string;
  instance: Instance;
  create: boolean;
  log: Log;
}): Promise<IssuedStore> {
  const { folder, instance, create, log } = options;
  const file = join(folder, fileName);
  const expected = instance.issuingRecord;
  const store = await IssuedStore.open({ file, create: expected === undefined }).catch((cause: unknown) => {
    if (!(cause instanceof IssuedError) || cause.code !== 'ISSUED_MISSING') throw cause;
    throw new InstanceError(
      'INSTANCE_RECORD_MISSING',
      `Cannot open ${fileName}, the record of every certificate issued: it is gone; restore it from a backup, or, to go on with an empty one, remove "issuingRecord" from instance.json`,
      { cause },
    );
  });
  try {
    if (expected !== undefined && store.name !== expected) {
      throw new InstanceError(
        'INSTANCE_RECORD_FOREIGN',
        `Cannot use ${fileName}: it is not the issuing record of this instance (name ${store.name}, expected ${expected})`,
      );
    }
    if (expected === undefined && !create) {
      log.warn('THE ISSUING RECORD IS NEW: certificates issued before now are not in it', { file });
      // A crash before this leaves a record that nobody has written to; the next start takes it.
      await nameIssuingRecord(folder, store.name);
    }
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Reads the issuing record of a data folder, also while the instance runs. @throws IssuedError */
export function readIssuingRecord(config: StackConfig): Promise<IssuedReader> {
  return IssuedReader.open(join(resolve(config.CHANCERY_DATA), fileName));
}
