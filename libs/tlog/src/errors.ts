/** Closed: a code is never renamed or reused. */
export type TlogErrorCode =
  | 'TLOG_BUSY'
  | 'TLOG_CLOSED'
  | 'TLOG_CORRUPT'
  | 'TLOG_KEY'
  | 'TLOG_LOCKED'
  | 'TLOG_MISSING'
  | 'TLOG_RANGE'
  | 'TLOG_RECORD'
  | 'TLOG_ROLLED_BACK'
  | 'TLOG_STORE';

/** Where stored bytes are wrong: `at` names a row (`entry row 7`, `edge row 0/3`) or an object (`log/tile/0/003`). */
export interface Place {
  tree: string;
  at: string;
  /** The entry concerned, where it is one. */
  index?: bigint;
}

/**
 * What every function of this lib throws.
 * - `TLOG_BUSY`: too many entries are waiting; come back later. Nothing was written.
 * - `TLOG_CLOSED`: the tree is shutting down.
 * - `TLOG_CORRUPT`: stored bytes are not what was stored. The tree signs nothing more until it has been opened anew;
 *   `place` says where.
 * - `TLOG_KEY`: the tree belongs to another key, origin or format than the configured one.
 * - `TLOG_LOCKED`: another process works on this folder.
 * - `TLOG_MISSING`: no such database or tree, and nobody said `create`.
 * - `TLOG_RANGE`: an index or a size that the tree does not reach.
 * - `TLOG_RECORD`: this format cannot store that record.
 * - `TLOG_ROLLED_BACK`: more has been published than the database knows of, as after the restore of an old copy.
 * - `TLOG_STORE`: the database or the object store failed; whether the entry was stored is unknown, so the caller
 *   should add it again.
 */
export class TlogError extends Error {
  override readonly name = 'TlogError';
  readonly place: Place | undefined;

  constructor(
    readonly code: TlogErrorCode,
    message: string,
    { place, ...options }: ErrorOptions & { place?: Place } = {},
  ) {
    super(message, options);
    this.place = place;
  }
}

/** Stored bytes that are wrong, and where. `state` says how they are wrong. */
export function corrupt(place: Place, state: string, options?: ErrorOptions): TlogError {
  const entry = place.index === undefined ? '' : ` (entry ${place.index})`;
  const message = `Cannot trust tree ${place.tree}: ${place.at}${entry} ${state}`;
  return new TlogError('TLOG_CORRUPT', message, { ...options, place });
}

/** Our own errors as they are; whatever else a store threw becomes `TLOG_STORE`. `action` as in `Cannot <action>`. */
export function storeError(action: string, error: unknown): TlogError {
  if (error instanceof TlogError) return error;
  const state = error instanceof Error ? error.message : 'the store failed';
  return new TlogError('TLOG_STORE', `Cannot ${action}: ${state}`, { cause: error });
}
