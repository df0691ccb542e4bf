import { climb, climbLeft, climbNodes, climbTo, type ProofNodes, readProof } from './climb.js';
import { MerkleError } from './error.js';
import { checkHash, equalHashes, type Sha256, shortHex } from './hash.js';
import { checkSize, type NodeId, type ReadNode, trailingZeros } from './node.js';

/** Two heads of one log, the smaller first, and the hashes that tie them together, 32 bytes each. */
export interface ConsistencyProof {
  first: bigint;
  second: bigint;
  firstRoot: Uint8Array;
  secondRoot: Uint8Array;
  proof: readonly Uint8Array[];
}

/**
 * Which stored subtrees make up the proof that the tree of `first` entries is a prefix of that of `second`; for those
 * who fetch them before they prove. Empty if the sizes are equal.
 * @throws MerkleError `MERKLE_SIZE_RANGE` also for `first` = 0: every tree has the empty prefix, there is nothing to
 * prove
 */
export function consistencyNodes(first: bigint, second: bigint): ProofNodes {
  checkSizes(first, second, 'prove');
  if (first === second) return [];
  const seed = seedNode(first);
  const siblings = climbNodes(seed.level, seed.index, second);
  return seed.index === 0n ? siblings : [[seed], ...siblings];
}

/**
 * Proves that the tree of `first` entries is a prefix of the tree of `second`: at most 64 hashes.
 * @throws MerkleError `MERKLE_SIZE_RANGE`, `MERKLE_HASH_LENGTH`
 * @see RFC 9162 §2.1.4.1
 */
export function proveConsistency(sha256: Sha256, first: bigint, second: bigint, readNode: ReadNode): Uint8Array[] {
  return readProof(sha256, consistencyNodes(first, second), readNode);
}

/**
 * Proves to the caller that the tree of `first` entries under `firstRoot` is a prefix of the tree of `second` entries
 * under `secondRoot`.
 * @throws MerkleError `MERKLE_SIZE_RANGE` (`first` = 0 proves nothing and is refused), `MERKLE_PROOF_LENGTH`,
 * `MERKLE_HASH_LENGTH`, `MERKLE_ROOT_MISMATCH`
 * @see RFC 9162 §2.1.4.2
 */
export function verifyConsistency(sha256: Sha256, claim: ConsistencyProof): void {
  const { first, second, firstRoot, secondRoot, proof } = claim;
  checkSizes(first, second, 'verify');
  checkHash(firstRoot);
  checkHash(secondRoot);
  if (first === second) {
    checkLength(claim, 0);
    checkRoot(claim, 'the roots of equal trees differ,', firstRoot, secondRoot);
    return;
  }
  const { level, index } = seedNode(first);
  const climbing = climb(level, index, second);
  // A subtree that is the whole first tree is known already: its root is `firstRoot`, and the proof does not repeat it.
  const isWhole = index === 0n;
  checkLength(claim, climbing.inner + climbing.border + (isWhole ? 0 : 1));
  const [seed = firstRoot, ...siblings] = isWhole ? [firstRoot, ...proof] : proof;
  checkRoot(claim, 'the proof leads to first root', climbLeft(sha256, index, climbing, seed, siblings), firstRoot);
  checkRoot(claim, 'the proof leads to second root', climbTo(sha256, index, climbing, seed, siblings), secondRoot);
}

/** The largest perfect subtree that ends where the first tree ends: both roots are climbs from it. */
function seedNode(first: bigint): NodeId {
  const level = trailingZeros(first);
  return { level, index: (first >> BigInt(level)) - 1n };
}

function checkSizes(first: bigint, second: bigint, verb: string): void {
  const action = describe(first, second, verb);
  checkSize(second, action);
  if (first < 1n) throw new MerkleError('MERKLE_SIZE_RANGE', `${action}: the first size must be above 0`);
  if (first > second)
    throw new MerkleError('MERKLE_SIZE_RANGE', `${action}: the first size must not be above the second`);
}

function checkLength({ first, second, proof }: ConsistencyProof, length: number): void {
  if (proof.length === length) return;
  throw new MerkleError(
    'MERKLE_PROOF_LENGTH',
    `${describe(first, second, 'verify')}: the proof has ${proof.length} hashes, not ${length}`,
  );
}

function checkRoot(
  { first, second }: ConsistencyProof,
  what: string,
  computed: Uint8Array,
  expected: Uint8Array,
): void {
  if (equalHashes(computed, expected)) return;
  throw new MerkleError(
    'MERKLE_ROOT_MISMATCH',
    `${describe(first, second, 'verify')}: ${what} ${shortHex(computed)}, not ${shortHex(expected)}`,
  );
}

function describe(first: bigint, second: bigint, verb: string): string {
  return `Cannot ${verb} consistency of trees of sizes ${first} and ${second}`;
}
