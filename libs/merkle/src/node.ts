import { MerkleError } from './error.js';
import { checkHash, emptyRoot, nodeHash, type Sha256 } from './hash.js';

/**
 * A perfect subtree: the hash over the leaves [index·2^level, (index+1)·2^level). Once its leaves exist it never
 * changes, so it is all that a log has to store.
 */
export interface NodeId {
  level: number;
  index: bigint;
}

/**
 * Gives the 32-byte hash of a perfect subtree; throws if it has none. Called only for subtrees that lie wholly inside
 * the tree.
 */
export type ReadNode = (level: number, index: bigint) => Uint8Array;

/** 2^63 - 1: sizes and indexes are signed 64-bit numbers in the APIs of logs. */
export const MAX_TREE_SIZE = 2n ** 63n - 1n;

/** @throws MerkleError `MERKLE_SIZE_RANGE` */
export function checkSize(size: bigint, action: string): void {
  if (size < 0n || size > MAX_TREE_SIZE) {
    throw new MerkleError('MERKLE_SIZE_RANGE', `${action}: tree size ${size} is not between 0 and 2^63-1`);
  }
}

/**
 * The perfect subtrees that make up the leaves [start, end), from left to right: each the largest that is aligned at
 * its start and fits. For start 0 they are the binary digits of `end`, the largest first.
 */
export function rangeNodes(start: bigint, end: bigint): NodeId[] {
  const nodes: NodeId[] = [];
  while (start < end) {
    const level = Math.min(trailingZeros(start), bitLength(end - start) - 1);
    nodes.push({ level, index: start >> BigInt(level) });
    start += 1n << BigInt(level);
  }
  return nodes;
}

/**
 * The right edge of a tree: the perfect subtrees whose fold is its root, the largest first. Empty for size 0.
 * @throws MerkleError `MERKLE_SIZE_RANGE`
 */
export function edgeNodes(size: bigint): NodeId[] {
  checkSize(size, 'Cannot list edge');
  return rangeNodes(0n, size);
}

/**
 * The root of a tree of `size` entries, read from at most 63 perfect subtrees.
 * @throws MerkleError `MERKLE_SIZE_RANGE`, `MERKLE_HASH_LENGTH`
 * @see RFC 9162 §2.1.1
 */
export function rootFromNodes(sha256: Sha256, size: bigint, readNode: ReadNode): Uint8Array {
  const nodes = edgeNodes(size);
  return nodes.length === 0 ? emptyRoot(sha256) : foldNodes(sha256, nodes, readNode);
}

/**
 * The hash over neighbouring perfect subtrees of falling size: the split of RFC 9162 §2.1.1 is always before the last
 * one.
 */
export function foldNodes(sha256: Sha256, nodes: readonly NodeId[], readNode: ReadNode): Uint8Array {
  return foldHashes(
    sha256,
    nodes.map(({ level, index }) => readNode(level, index)),
  );
}

/** As `foldNodes`, from hashes; at least one. */
export function foldHashes(sha256: Sha256, hashes: readonly Uint8Array[]): Uint8Array {
  let right = lastHash(hashes);
  for (let at = hashes.length - 2; at >= 0; at--) right = nodeHash(sha256, hashes[at] as Uint8Array, right);
  return right;
}

function lastHash(hashes: readonly Uint8Array[]): Uint8Array {
  const last = hashes.at(-1);
  if (last === undefined) throw new Error('Cannot fold hashes: there are none');
  checkHash(last);
  return last;
}

// JavaScript's bit operators on `number` cut to 32 bits. These take a bigint below 2^64 and look at its two halves,
// each exact as a number.

/** How many binary digits `value` has; 0 for 0. */
export function bitLength(value: bigint): number {
  const high = Number(value >> 32n);
  return high === 0 ? 32 - Math.clz32(Number(value & 0xffff_ffffn)) : 64 - Math.clz32(high);
}

/** How many binary digits of `value` are 1. */
export function popCount(value: bigint): number {
  return popCount32(Number(value & 0xffff_ffffn)) + popCount32(Number(value >> 32n));
}

function popCount32(value: number): number {
  let count = 0;
  for (let rest = value; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** How many binary digits of `value` are 0 before the lowest 1. Zero is divisible by every power: 64. */
export function trailingZeros(value: bigint): number {
  return value === 0n ? 64 : bitLength(value & -value) - 1;
}
