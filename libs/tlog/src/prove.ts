import {
  consistencyNodes,
  edgeNodes,
  emptyRoot,
  inclusionNodes,
  MerkleError,
  proveConsistency as proveConsistencyFromNodes,
  proveInclusion as proveInclusionFromNodes,
  rootFromNodes,
  TILE_WIDTH,
  tilesForNodes,
  verifyConsistency,
  verifyInclusion,
} from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { checkFullTile, checkLeaf } from './scrub.js';
import { corrupt, TlogError } from './errors.js';
import type { NodeReader } from './nodes.js';
import { loadNodes, readBundleRecords } from './read.js';
import { fullTiles, type Snapshot } from './snapshot.js';
import type { TreeState } from './state.js';

/**
 * That an entry is in the tree of `size` entries under `rootHash`: sibling hashes from leaf to root. All hashes are 32
 * bytes.
 */
export interface Proof {
  size: bigint;
  rootHash: Uint8Array;
  hashes: Uint8Array[];
}

/** That the tree of `first` entries is a prefix of the tree of `second` entries. All hashes are 32 bytes. */
export interface ConsistencyProof {
  first: bigint;
  second: bigint;
  firstRoot: Uint8Array;
  secondRoot: Uint8Array;
  hashes: Uint8Array[];
}

/**
 * Proves entry `index` in the tree of `size` entries, and the proof against the signed `head`, before it is given away.
 * @throws TlogError `TLOG_RANGE`, `TLOG_CORRUPT`
 */
export async function proveInclusion(
  tree: TreeState,
  head: Snapshot,
  index: bigint,
  size: bigint,
): Promise<Proof & { leafHash: Uint8Array }> {
  if (index < 0n || index >= size || size > head.size) {
    throw new TlogError(
      'TLOG_RANGE',
      `Cannot prove inclusion of entry ${index} in tree of size ${size}: the index must be below the size, and the size at most ${head.size}`,
    );
  }
  const wanted = [{ level: 0, index }, ...inclusionNodes(index, size).flat(), ...rootPath(size, head.size)];
  return proving(tree, head, wanted, `entry ${index}`, (nodes) => {
    const rootHash = provenRoot(head, size, nodes);
    const proven = nodes.read(0, index);
    const hashes = proveInclusionFromNodes(sha256, index, size, nodes.read);
    verifyInclusion(sha256, { index, size, leafHash: proven, proof: hashes, root: rootHash });
    return { size, rootHash, hashes, leafHash: proven };
  });
}

/**
 * Proves the tree of `first` entries a prefix of that of `second`, and both against the signed `head`, before the proof
 * is given away.
 * @throws TlogError `TLOG_RANGE`, also for `first` 0: there is nothing to prove; `TLOG_CORRUPT`
 */
export async function proveConsistency(
  tree: TreeState,
  head: Snapshot,
  first: bigint,
  second: bigint,
): Promise<ConsistencyProof> {
  if (first < 1n || first > second || second > head.size) {
    throw new TlogError(
      'TLOG_RANGE',
      `Cannot prove consistency of sizes ${first} and ${second}: they must be in order, the first above 0, the second at most ${head.size}`,
    );
  }
  const wanted = [
    ...consistencyNodes(first, second).flat(),
    ...rootPath(first, head.size),
    ...rootPath(second, head.size),
  ];
  return proving(tree, head, wanted, `size ${first}`, (nodes) => {
    const secondRoot = provenRoot(head, second, nodes);
    const firstRoot = provenRoot(head, first, nodes);
    const hashes = proveConsistencyFromNodes(sha256, first, second, nodes.read);
    verifyConsistency(sha256, { first, second, firstRoot, secondRoot, proof: hashes });
    return { first, second, firstRoot, secondRoot, hashes };
  });
}

/** An entry out of storage, proven to be in the tree at `head`. */
export interface ProvenRecord {
  record: Uint8Array;
  leafHash: Uint8Array;
  proof: Proof;
}

/**
 * Reads entry `index` and proves that these very bytes are in the tree at `head`.
 * @throws TlogError `TLOG_CORRUPT`
 */
export async function proveRecord(tree: TreeState, head: Snapshot, index: bigint): Promise<ProvenRecord> {
  const bundle = index / BigInt(TILE_WIDTH);
  const { leafHash: proven, ...proof } = await proveInclusion(tree, head, index, head.size);
  const at = Number(index % BigInt(TILE_WIDTH));
  const [record] = await readBundleRecords(tree, bundle, at + 1, at);
  const place = { tree: tree.name, at: `bundle ${tree.format.bundlePath(bundle, TILE_WIDTH)}`, index };
  checkLeaf(tree, place, record, proven);
  return { record, leafHash: proven, proof };
}

/** The root of an earlier size, tied to the root that is signed. */
function provenRoot(head: Snapshot, size: bigint, nodes: NodeReader): Uint8Array {
  if (size === head.size) return head.rootHash;
  if (size === 0n) return emptyRoot(sha256);
  const root = rootFromNodes(sha256, size, nodes.read);
  const proof = proveConsistencyFromNodes(sha256, size, head.size, nodes.read);
  verifyConsistency(sha256, { first: size, second: head.size, firstRoot: root, secondRoot: head.rootHash, proof });
  return root;
}

function rootPath(size: bigint, headSize: bigint) {
  if (size === headSize || size === 0n) return [];
  return [...edgeNodes(size), ...consistencyNodes(size, headSize).flat()];
}

/** Loads the tiles and proves; a proof that does not hold means wrong tiles, and the message says which. */
async function proving<T>(
  tree: TreeState,
  head: Snapshot,
  wanted: Parameters<typeof loadNodes>[2],
  what: string,
  prove: (nodes: NodeReader) => T,
): Promise<T> {
  const nodes = await loadNodes(tree, head, wanted);
  try {
    return prove(nodes);
  } catch (error) {
    if (!(error instanceof MerkleError)) throw error;
    for (const { level, index } of tilesForNodes(wanted, head.size)) {
      if (index < fullTiles(level, head.size)) await checkFullTile(tree, head, level, index);
    }
    throw corrupt({ tree: tree.name, at: `proof for ${what}` }, 'does not lead to the signed root', { cause: error });
  }
}
