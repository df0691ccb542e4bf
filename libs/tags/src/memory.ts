import type { SnapshotEntry, SnapshotId } from './statement.js';

/** What a client remembers of a repository: the newest that it has verified. */
export interface Remembered {
  readonly snapshot: SnapshotId & { readonly issued: Date };
  /** Where the logs have it. */
  readonly logs: readonly { readonly origin: string; readonly index: bigint }[];
  /** The latest time that was proven. The clock of this machine was there already. */
  readonly latestTime: Date;
  readonly tags: readonly SnapshotEntry[];
  readonly firstSeen: Date;
}

/** Where it is remembered. Without it there is no protection from an older state than was seen, only from an expired one. */
export interface TagMemory {
  /** @throws TagError `TAGS_STATE` if what is there cannot be read: not the same as nothing */
  read(repository: string): Promise<Remembered | undefined>;
  /** Keeps what is newer: this, or what is there by now. @throws TagError `TAGS_STATE` */
  write(repository: string, remembered: Remembered): Promise<void>;
  /** Starts anew. Whether there was something. @throws TagError `TAGS_STATE` */
  forget(repository: string): Promise<boolean>;
}
