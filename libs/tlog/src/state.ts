import type { NoteSigner, NoteVerifier } from '#libs/note';
import { type TlogError } from './errors.js';
import type { TreeFormat } from './format.js';
import type { NodeReader } from './nodes.js';
import type { ObjectStore } from './objects.js';
import type { Snapshot } from './snapshot.js';
import type { SqlStore } from './sql-store.js';
import type { TileCache } from './tile-cache.js';

/** What a tree is made of, as its owner gives it. */
export interface TreeParts {
  readonly store: SqlStore;
  readonly objects: ObjectStore;
  /** Names the row, and the folder in the object store: `a-z 0-9 -`. */
  readonly name: string;
  /** The log's name in its checkpoints. */
  readonly origin: string;
  readonly format: TreeFormat;
  /** Who signs a checkpoint made at `timestampMs`, the log's own key first. Asked once for each checkpoint. */
  readonly signers: (timestampMs: bigint) => readonly NoteSigner[];
  /** The public half of the first signer. */
  readonly verifier: NoteVerifier;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /**
   * No other process appends to this database, as under `lockFolder`. Then the order of our own batches is the order of checkpoints, and
   * publishing one needs no lock on the head. By default other processes may.
   */
  readonly soleProcess?: boolean;
}

/** A tree at work. The files of this lib read and write it; its owner sees a `Tree`. */
export interface TreeState extends TreeParts {
  readonly id: number;
  /** The newest head that this process knows from the database. The next batch starts here, after a look at the row. */
  committed: Snapshot;
  /** The newest head that is also published: what readers are told of. */
  published: Snapshot;
  /** So many full bundles are objects, with all full tiles over them. */
  durableBundles: bigint;
  /** So many of them have left the database. */
  deletedBundles: bigint;
  /** Why nothing is signed any more, until the tree is opened anew. */
  halted: TlogError | undefined;
  readonly tiles: TileCache;
  /** The edge as read back with the last batch: a tile whose stored bytes are still these needs no hashing again. */
  edgeNodes: NodeReader;
}

/** The path of one of the tree's objects in the store. */
export function objectPath(tree: Pick<TreeParts, 'name'>, path: string): string {
  return `${tree.name}/${path}`;
}

/** Stops the tree if its stored bytes cannot be trusted. Gives back the error, to be thrown. */
export function halt(tree: TreeState, error: TlogError): TlogError {
  if (error.code === 'TLOG_CORRUPT' || error.code === 'TLOG_ROLLED_BACK' || error.code === 'TLOG_KEY') {
    tree.halted ??= error;
  }
  return error;
}
