import { nodeHash, type Sha256 } from './hash.js';
import { bitLength, foldNodes, type NodeId, popCount, rangeNodes, type ReadNode } from './node.js';

/**
 * What one hash of a proof is made of: perfect subtrees from left to right, to be folded from the right. All but at
 * most one hash of a proof are a single stored subtree; only the last right sibling, which ends at the tree's edge,
 * can be ragged.
 */
export type ProofNodes = NodeId[][];

/**
 * The way from a perfect subtree up to the root of a tree. On the lower `inner` steps the sibling may be on either
 * side (the bits of `index` say which); above them the subtree lies on the tree's right edge and siblings are only on
 * the left, one for each 1 among the remaining bits of `index`.
 */
export interface Climb {
  inner: number;
  border: number;
}

/** The shape of the climb from subtree (level, index) in a tree of `size` leaves, in which that subtree is complete. */
export function climb(level: number, index: bigint, size: bigint): Climb {
  const last = (size - 1n) >> BigInt(level);
  const inner = bitLength(index ^ last);
  return { inner, border: popCount(index >> BigInt(inner)) };
}

/** The siblings met on the climb, from leaf to root. */
export function climbNodes(level: number, index: bigint, size: bigint): ProofNodes {
  const { inner } = climb(level, index, size);
  const siblings: ProofNodes = [];
  let at = index;
  for (let step = 0; step < inner; step++, at >>= 1n) {
    const sibling = { level: level + step, index: at ^ 1n };
    // The last of the inner steps joins the two halves between which `index` and the last leaf part: its sibling is
    // on the right and ends with the tree.
    siblings.push(step === inner - 1 ? rangeNodes(sibling.index << BigInt(sibling.level), size) : [sibling]);
  }
  for (let step = inner; at !== 0n; step++, at >>= 1n) {
    if ((at & 1n) === 1n) siblings.push([{ level: level + step, index: at - 1n }]);
  }
  return siblings;
}

/** Goes up `climbing` from `hash`: the root that `siblings` (as many as the climb has) lead to. */
export function climbTo(
  sha256: Sha256,
  index: bigint,
  climbing: Climb,
  hash: Uint8Array,
  siblings: readonly Uint8Array[],
): Uint8Array {
  return climbWay(sha256, index, climbing, hash, siblings)[siblings.length] as Uint8Array;
}

/** As `climbTo`, with all that it comes by: one hash more than `siblings`, which may end before the root. */
export function climbWay(
  sha256: Sha256,
  index: bigint,
  climbing: Climb,
  hash: Uint8Array,
  siblings: readonly Uint8Array[],
): Uint8Array[] {
  const way = [hash];
  let at = index;
  siblings.forEach((sibling, step) => {
    const isRight = step >= climbing.inner || (at & 1n) === 1n;
    hash = isRight ? nodeHash(sha256, sibling, hash) : nodeHash(sha256, hash, sibling);
    way.push(hash);
    at >>= 1n;
  });
  return way;
}

/** As `climbTo`, keeping only siblings on the left: the root of the tree that ends with this subtree. */
export function climbLeft(
  sha256: Sha256,
  index: bigint,
  climbing: Climb,
  hash: Uint8Array,
  siblings: readonly Uint8Array[],
): Uint8Array {
  let at = index;
  siblings.forEach((sibling, step) => {
    if (step >= climbing.inner || (at & 1n) === 1n) hash = nodeHash(sha256, sibling, hash);
    at >>= 1n;
  });
  return hash;
}

/** The hashes of a proof. */
export function readProof(sha256: Sha256, proof: ProofNodes, readNode: ReadNode): Uint8Array[] {
  return proof.map((nodes) => foldNodes(sha256, nodes, readNode));
}
