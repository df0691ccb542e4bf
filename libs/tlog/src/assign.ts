import { equalBytes } from '#libs/encoding';
import { leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { corrupt, TlogError } from './errors.js';
import type { Proof } from './prove.js';
import { key } from './rows.js';
import type { Snapshot } from './snapshot.js';
import type { TreeState } from './state.js';

/** What is to be logged: who gives the hashed bytes need not hash them, and is not hashed again. */
export type Addition = AdditionContent &
  (
    | {
        /** 32 bytes, the deduplication key: the same identity again gets the index it has. */
        readonly identity: Uint8Array;
        readonly leafInput?: undefined;
      }
    | {
        /** What the tree will hash of the record, see `TreeFormat.leafInput`. The leaf hash is the identity. */
        readonly leafInput: Uint8Array;
        readonly identity?: undefined;
      }
  );

interface AdditionContent {
  /**
   * Gives the record to store under `index`, in the format of the tree. `timestampMs` is what the head that first
   * covers the entry will say, and never runs backwards: a format with times in its entries takes them from here.
   * Called inside the batch, so it must be quick; if it throws, only this addition fails and the index goes to the next
   * one.
   */
  readonly encode: (index: bigint, timestampMs: bigint) => Uint8Array;
  /**
   * Texts by which the entry can be found, see `Tree.findByKeys`; at most 1024, in any order, also several times. They
   * become findable with the entry, at one moment. Of a duplicate those of the first time stay.
   */
  readonly keys?: readonly string[];
}

/** That an entry is in the log, for good. */
export interface Receipt {
  index: bigint;
  /** The stored bytes. For a duplicate those of the first time, byte for byte. */
  record: Uint8Array;
  /** 32 bytes: the hash of the record in the tree. */
  leafHash: Uint8Array;
  /** The identity was in the log, or earlier in the same batch. */
  duplicate: boolean;
  proof: Proof;
  /** The signed checkpoint with the proof's size and root. */
  checkpoint: string;
}

/** One call of `add` that waits for its batch. */
export interface Waiter {
  readonly addition: Addition;
  /** The addition's, or the leaf hash of its leaf input. */
  readonly identity: Uint8Array;
  /** Of its search keys, see `encodeKeys`: one text, where the keys themselves would be kept until the batch comes. */
  readonly keys: string;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: unknown) => void;
}

/** An entry that this batch adds. */
export interface NewEntry {
  index: bigint;
  identity: Uint8Array;
  record: Uint8Array;
  leafHash: Uint8Array;
  /** Its search keys, see `encodeKeys` */
  keys: string;
}

/** Which index a waiter gets. */
export interface Claim {
  waiter: Waiter;
  index: bigint;
  duplicate: boolean;
}

/** A batch with its indexes. */
export interface Assignment {
  entries: NewEntry[];
  claims: Claim[];
}

/**
 * Contiguous indexes for what is new, stored ones for the rest. Who cannot be encoded is refused here and takes no
 * index.
 */
export function assignIndexes(
  tree: TreeState,
  before: Snapshot,
  batch: readonly Waiter[],
  known: ReadonlyMap<string, bigint>,
  timestampMs: bigint,
): Assignment {
  const entries: NewEntry[] = [];
  const claims: Claim[] = [];
  const inBatch = new Map<string, bigint>();
  for (const waiter of batch) {
    const { identity, addition, keys } = waiter;
    const name = key(identity);
    const index = known.get(name) ?? inBatch.get(name);
    if (index !== undefined) {
      if (index >= before.size && !inBatch.has(name)) {
        throw corrupt({ tree: tree.name, at: 'leaf_index row', index }, `points beyond size ${before.size}`);
      }
      claims.push({ waiter, index, duplicate: true });
      continue;
    }
    const next = before.size + BigInt(entries.length);
    try {
      const record = addition.encode(next, timestampMs);
      const leafInput = tree.format.leafInput(record);
      const entry = {
        index: next,
        identity,
        record,
        leafHash: isHashed(addition, leafInput) ? identity : leafHash(sha256, leafInput),
        keys,
      };
      checkIdentity(tree, identity, entry);
      entries.push(entry);
    } catch (error) {
      waiter.reject(error);
      continue;
    }
    inBatch.set(name, next);
    claims.push({ waiter, index: next, duplicate: false });
  }
  return { entries, claims };
}

/** Whether the identity is the leaf hash already: comparing takes a fraction of hashing. */
function isHashed(addition: Addition, leafInput: Uint8Array): boolean {
  return addition.leafInput !== undefined && equalBytes(addition.leafInput, leafInput);
}

function checkIdentity(tree: TreeState, identity: Uint8Array, entry: NewEntry): void {
  const own = tree.format.identity?.(entry.record, entry.leafHash);
  if (own === undefined || equalBytes(own, identity)) return;
  throw new TlogError('TLOG_RECORD', `Cannot store entry in tree ${tree.name}: its identity is not that of its record`);
}
