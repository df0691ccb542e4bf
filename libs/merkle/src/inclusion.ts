import { type Climb, climb, climbNodes, climbTo, climbWay, type ProofNodes, readProof } from './climb.js';
import { MerkleError } from './error.js';
import { checkHash, equalHashes, type Sha256, shortHex } from './hash.js';
import { bitLength, checkSize, type ReadNode } from './node.js';

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
  checkRoot(rootFromInclusionProof(sha256, claim), claim);
}

/** A proof that held. */
interface Shown {
  readonly index: bigint;
  readonly climbing: Climb;
  /** What the proof leads to, step by step: from the leaf hash to the root. */
  readonly way: readonly Uint8Array[];
  readonly proof: readonly Uint8Array[];
}

/**
 * Verifies proofs of many entries under one root, faster if neighbours follow each other. The ways of two entries to the root are one from where they meet: a
 * proof is followed up to where it meets the last one that held, and from there it must equal that one, byte for byte. For entries in a row that is two hashes
 * each, however large the tree.
 */
export class InclusionVerifier {
  #shown: Shown | undefined;

  /** @throws MerkleError `MERKLE_HASH_LENGTH` */
  constructor(
    private readonly sha256: Sha256,
    private readonly tree: { readonly size: bigint; readonly root: Uint8Array },
  ) {
    checkHash(tree.root);
  }

  /** Accepts and refuses exactly what `verifyInclusion` does. @throws MerkleError as that */
  verify({ index, leafHash, proof }: Pick<InclusionProof, 'index' | 'leafHash' | 'proof'>): void {
    const { size, root } = this.tree;
    const climbing = climbOf({ index, size, proof });
    checkHash(leafHash);
    let way = this.#wayByLast(index, climbing, leafHash, proof);
    if (way === undefined) {
      way = climbWay(this.sha256, index, climbing, leafHash, proof);
      checkRoot(way[proof.length] as Uint8Array, { index, size, root });
    }
    this.#shown = { index, climbing, way, proof };
  }

  /** The way to the root, if it joins that of the last proof that held; undefined says nothing about the proof. */
  #wayByLast(index: bigint, climbing: Climb, leafHash: Uint8Array, proof: readonly Uint8Array[]) {
    const shown = this.#shown;
    if (shown === undefined) return undefined;
    const meeting = bitLength(index ^ shown.index);
    // At this level both are in one perfect subtree, unless one of them has come to the ragged edge below it, where steps skip levels.
    if (meeting > climbing.inner || meeting > shown.climbing.inner) return undefined;
    const way = climbWay(this.sha256, index, climbing, leafHash, proof.slice(0, meeting));
    if (!equalHashes(way[meeting] as Uint8Array, shown.way[meeting] as Uint8Array)) return undefined;
    for (let step = meeting; step < proof.length; step++) {
      if (!equalHashes(proof[step] as Uint8Array, shown.proof[step] as Uint8Array)) return undefined;
    }
    return way.concat(shown.way.slice(meeting + 1));
  }
}

/**
 * The root that an inclusion proof leads to. It proves nothing until it is compared with a root that one trusts.
 * @throws MerkleError `MERKLE_INDEX_RANGE`, `MERKLE_SIZE_RANGE`, `MERKLE_PROOF_LENGTH`, `MERKLE_HASH_LENGTH`
 */
export function rootFromInclusionProof(sha256: Sha256, { index, size, leafHash, proof }: InclusionProof): Uint8Array {
  const climbing = climbOf({ index, size, proof });
  checkHash(leafHash);
  return climbTo(sha256, index, climbing, leafHash, proof);
}

/** The climb that a proof is for. @throws MerkleError `MERKLE_INDEX_RANGE`, `MERKLE_SIZE_RANGE`, `MERKLE_PROOF_LENGTH` */
function climbOf({ index, size, proof }: Omit<InclusionProof, 'leafHash'>): Climb {
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
  return climbing;
}

function checkRoot(
  computed: Uint8Array,
  { index, size, root }: { index: bigint; size: bigint; root: Uint8Array },
): void {
  if (equalHashes(computed, root)) return;
  throw new MerkleError(
    'MERKLE_ROOT_MISMATCH',
    `${describe(index, size, 'verify')}: the proof leads to root ${shortHex(computed)}, not ${shortHex(root)}`,
  );
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
