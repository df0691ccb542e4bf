import { MerkleError } from './error.js';
import { checkHash, emptyRoot, nodeHash, type Sha256 } from './hash.js';
import { checkSize, foldHashes, MAX_TREE_SIZE, popCount } from './node.js';

/** Told of each perfect subtree that a new leaf completes. `hash` is shared with the range: not to be changed. */
export type OnNode = (level: number, index: bigint, hash: Uint8Array) => void;

/**
 * A growing tree, of which only the right edge is kept: one hash for each 1 among the binary digits of its size, so
 * at most 63. Enough to append and to know the root; whoever wants proofs stores what `onNode` reports.
 */
export class CompactRange {
  readonly #sha256: Sha256;
  readonly #nodes: Uint8Array[];
  #size: bigint;

  private constructor(sha256: Sha256, size: bigint, nodes: Uint8Array[]) {
    this.#sha256 = sha256;
    this.#size = size;
    this.#nodes = nodes;
  }

  /** A tree without entries. */
  static empty(sha256: Sha256): CompactRange {
    return new CompactRange(sha256, 0n, []);
  }

  /**
   * A tree of `size` entries with the given right edge (`edgeNodes(size)` says which subtrees), the largest first.
   * Whether the edge is the right one only its `root()` can tell.
   * @throws MerkleError `MERKLE_SIZE_RANGE`; `MERKLE_PROOF_LENGTH` if there are more or fewer nodes than the size has
   * 1 digits; `MERKLE_HASH_LENGTH`
   */
  static from(sha256: Sha256, size: bigint, nodes: readonly Uint8Array[]): CompactRange {
    checkSize(size, 'Cannot load edge');
    const count = popCount(size);
    if (nodes.length !== count) {
      throw new MerkleError(
        'MERKLE_PROOF_LENGTH',
        `Cannot load edge of tree of size ${size}: ${nodes.length} nodes, not ${count}`,
      );
    }
    nodes.forEach(checkHash);
    return new CompactRange(sha256, size, [...nodes]);
  }

  /** How many entries the tree has. */
  get size(): bigint {
    return this.#size;
  }

  /** The right edge, the largest subtree first. */
  get nodes(): readonly Uint8Array[] {
    return [...this.#nodes];
  }

  /** An independent tree with the same entries: append to it and keep this one until the new state is stored. */
  copy(): CompactRange {
    return new CompactRange(this.#sha256, this.#size, [...this.#nodes]);
  }

  /**
   * Appends one entry by its leaf hash. `onNode` hears of the leaf itself (level 0, its log index) and then of each
   * larger subtree that it completes, upwards.
   * @throws MerkleError `MERKLE_HASH_LENGTH`; `MERKLE_SIZE_RANGE` if the tree is full
   */
  append(leafHash: Uint8Array, onNode?: OnNode): void {
    checkHash(leafHash);
    if (this.#size === MAX_TREE_SIZE)
      throw new MerkleError('MERKLE_SIZE_RANGE', `Cannot append entry: the tree is full`);
    let hash = leafHash;
    let index = this.#size;
    onNode?.(0, index, hash);
    // Like a carry: each 1 at the low end of the size is a subtree as large as the one at hand, and joins it.
    for (let level = 1; (index & 1n) === 1n; level++) {
      hash = nodeHash(this.#sha256, this.#pop(), hash);
      index >>= 1n;
      onNode?.(level, index, hash);
    }
    this.#nodes.push(hash);
    this.#size += 1n;
  }

  /** The root hash, 32 bytes. @see RFC 9162 §2.1.1 */
  root(): Uint8Array {
    return this.#nodes.length === 0 ? emptyRoot(this.#sha256) : foldHashes(this.#sha256, this.#nodes);
  }

  #pop(): Uint8Array {
    const node = this.#nodes.pop();
    if (node === undefined) throw new Error('Cannot append entry: the edge has fewer nodes than the size has digits');
    return node;
  }
}
