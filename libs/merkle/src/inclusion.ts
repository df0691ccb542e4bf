import { climb, climbNodes, climbTo, type ProofNodes, readProof } from './climb.js';
import { MerkleError } from './error.js';
import { checkHash, equalHashes, type Sha256, shortHex } from './hash.js';
import { checkSize, type ReadNode } from './node.js';

/** What an inclusion proof is about, and the proof: sibling hashes from leaf to root, 32 bytes each. */
export interface InclusionProof {
  index: bigint;
  size: bigint;
  leafHash: Uint8Array;
  proof: readonly Uint8Array[];
}

/**
 * Which stored subtrees make up the proof that entry `index` is in the tree of `size` entries; for those who fetch them
 * before they prove.
 * @throws MerkleError `MERKLE_INDEX_RANGE`, `MERKLE_SIZE_RANGE`
 */
export function inclusionNodes(index: bigint, size: bigint): ProofNodes {
  checkIndex(index, size, 'prove');
  return climbNodes(0, index, size);
}

/**
 * Proves that entry `index` is in the tree of `size` entries: at most 63 hashes from leaf to root. Reads one subtree
 * a hash, and for the ragged one up to 62.
 * @throws MerkleError `MERKLE_INDEX_RANGE`, `MERKLE_SIZE_RANGE`, `MERKLE_HASH_LENGTH`
 * @see RFC 9162 §2.1.3.1
 */
export function proveInclusion(sha256: Sha256, index: bigint, size: bigint, readNode: ReadNode): Uint8Array[] {
  return readProof(sha256, inclusionNodes(index, size), readNode);
}

/**
 * Proves to the caller that `leafHash` is entry `index` of the tree of `size` entries under `root`.
 * @throws MerkleError `MERKLE_INDEX_RANGE`, `MERKLE_SIZE_RANGE`, `MERKLE_PROOF_LENGTH`, `MERKLE_HASH_LENGTH`,
 * `MERKLE_ROOT_MISMATCH`
 * @see RFC 9162 §2.1.3.2
 */
export function verifyInclusion(sha256: Sha256, claim: InclusionProof & { root: Uint8Array }): void {
  checkHash(claim.root);
  const computed = rootFromInclusionProof(sha256, claim);
  if (!equalHashes(computed, claim.root)) {
    const action = describe(claim.index, claim.size, 'verify');
    throw new MerkleError(
      'MERKLE_ROOT_MISMATCH',
      `${action}: the proof leads to root ${shortHex(computed)}, not ${shortHex(claim.root)}`,
    );
  }
}

/**
 * The root that an inclusion proof leads to. It proves nothing until it is compared with a root that one trusts.
 * @throws MerkleError `MERKLE_INDEX_RANGE`, `MERKLE_SIZE_RANGE`, `MERKLE_PROOF_LENGTH`, `MERKLE_HASH_LENGTH`
 */
export function rootFromInclusionProof(sha256: Sha256, { index, size, leafHash, proof }: InclusionProof): Uint8Array {
  checkIndex(index, size, 'verify');
  const climbing = climb(0, index, size);
  // Exactly this long, and known before any hashing: a verifier that goes on with surplus hashes can be led to a root
  // of the prover's choice.
  const length = climbing.inner + climbing.border;
  if (proof.length !== length) {
    throw new MerkleError(
      'MERKLE_PROOF_LENGTH',
      `${describe(index, size, 'verify')}: the proof has ${proof.length} hashes, not ${length}`,
    );
  }
  checkHash(leafHash);
  return climbTo(sha256, index, climbing, leafHash, proof);
}

function checkIndex(index: bigint, size: bigint, verb: string): void {
  checkSize(size, describe(index, size, verb));
  if (index < 0n || index >= size) {
    throw new MerkleError(
      'MERKLE_INDEX_RANGE',
      `${describe(index, size, verb)}: index must be below size and not negative`,
    );
  }
}

function describe(index: bigint, size: bigint, verb: string): string {
  return `Cannot ${verb} inclusion of entry ${index} in tree of size ${size}`;
}
