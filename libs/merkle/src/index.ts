/**
 * Merkle trees of transparency logs: hashes, proofs and their verification (RFC 6962 §2.1, RFC 9162 §2.1), and the
 * tiles in which a log stores and serves its tree (C2SP tlog-tiles).
 *
 * Pure mathematics: no I/O, no signatures (see `note`), no idea what an entry is. The hash function is an argument;
 * stored hashes come through a `ReadNode`, which is asked only for perfect subtrees: node (level, index) covers the
 * leaves [index·2^level, (index+1)·2^level).
 *
 *     const tree = CompactRange.empty(sha256);
 *     tree.append(leafHash(sha256, entry), (level, index, hash) => nodes.set(`${level}/${index}`, hash));
 *     const { size } = tree;
 *     const proof = proveInclusion(sha256, 0n, size, readNode);
 *     verifyInclusion(sha256, { index: 0n, size, leafHash: leafHash(sha256, entry), proof, root: tree.root() });
 *
 * A tile is a row of 256 hashes, 32 bytes each, named `tile/0/x001/x234/067` (level 0, index 1234067) or, with only 8
 * hashes yet, `…/067.p/8`. Sizes and indexes are bigints up to 2^63-1.
 */
export { MerkleError, type MerkleErrorCode } from './error.js';
export { emptyRoot, HASH_LENGTH, leafHash, nodeHash, type Sha256 } from './hash.js';
export { edgeNodes, MAX_TREE_SIZE, type NodeId, type ReadNode, rootFromNodes } from './node.js';
export { type ProofNodes } from './climb.js';
export {
  type InclusionProof,
  InclusionVerifier,
  inclusionNodes,
  proveInclusion,
  rootFromInclusionProof,
  verifyInclusion,
} from './inclusion.js';
export { type ConsistencyProof, consistencyNodes, proveConsistency, verifyConsistency } from './consistency.js';
export { CompactRange, type OnNode } from './compact-range.js';
export {
  hashFromTile,
  partialWidth,
  readNodesFromTiles,
  type Tile,
  TILE_HEIGHT,
  TILE_WIDTH,
  tileForNode,
  tileOfSize,
  tilesForNodes,
  type TileSlice,
  tilesOfSize,
} from './tile.js';
export {
  encodeTileIndex,
  encodeTilePath,
  type EntryBundleId,
  type EntryBundleName,
  entryBundlePath,
  parseEntryBundlePath,
  parseTileIndex,
  parseTilePath,
} from './tile-path.js';
export { encodeEntryBundle, MAX_ENTRY_LENGTH, parseEntryBundle } from './entry-bundle.js';
