import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { counting, fromHex, hex, nodes, sha256, utf8 } from '../../../test/vectors/merkle/reference.js';
import { CompactRange, edgeNodes, leafHash, MAX_TREE_SIZE, type MerkleError, rootFromNodes } from './index.js';

const vectors = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../test/vectors/merkle/${name}`, import.meta.url), 'utf8'));
const eight = vectors('eight-leaves.json') as { leaves: string[]; roots: string[] };
const counted = counting();
const countedLeaf = (index: number): Uint8Array => leafHash(sha256, utf8(index.toString()));

function grown(size: number): CompactRange {
  const range = CompactRange.empty(sha256);
  for (let index = 0; index < size; index++) range.append(countedLeaf(index));
  return range;
}

describe('CompactRange', () => {
  it('has the known root at each size of the tree of eight leaves', () => {
    const range = CompactRange.empty(sha256);
    const roots = [hex(range.root())];
    for (const leaf of eight.leaves) {
      range.append(leafHash(sha256, fromHex(leaf)));
      roots.push(hex(range.root()));
    }
    expect(roots).toEqual(eight.roots);
  });

  it('reports each perfect subtree once, when its last leaf comes', () => {
    const reported: string[] = [];
    const range = CompactRange.empty(sha256);
    for (let index = 0; index < 8; index++) {
      range.append(countedLeaf(index), (level, at, hash) => {
        expect(hex(hash)).toBe(hex(counted(at << BigInt(level), (at + 1n) << BigInt(level))));
        reported.push(`${index}: ${level}/${at}`);
      });
    }
    expect(reported).toEqual([
      ...['0: 0/0', '1: 0/1', '1: 1/0', '2: 0/2', '3: 0/3', '3: 1/1', '3: 2/0', '4: 0/4', '5: 0/5', '5: 1/2'],
      ...['6: 0/6', '7: 0/7', '7: 1/3', '7: 2/1', '7: 3/0'],
    ]);
  });

  it('keeps as many nodes as its size has 1 digits, the same that edgeNodes() names', () => {
    for (const size of [0, 1, 2, 7, 8, 13, 100, 255, 256]) {
      const range = grown(size);
      expect(range.size).toBe(BigInt(size));
      const named = edgeNodes(range.size).map(({ level, index }) => hex(nodes(counted)(level, index)));
      expect(range.nodes.map(hex)).toEqual(named);
    }
  });

  it('goes on from a stored edge as if it had never stopped', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(20), (size, more) => {
        const whole = grown(size + more);
        const part = grown(size);
        const resumed = CompactRange.from(sha256, part.size, part.nodes);
        for (let index = size; index < size + more; index++) resumed.append(countedLeaf(index));
        expect(hex(resumed.root())).toBe(hex(whole.root()));
        expect(resumed.nodes).toEqual(whole.nodes);
      }),
      { numRuns: 30 },
    );
  });

  it('agrees with rootFromNodes()', () => {
    for (const size of [0, 1, 5, 255, 257, 300]) {
      expect(hex(grown(size).root())).toBe(hex(rootFromNodes(sha256, BigInt(size), nodes(counted))));
    }
  });

  it('copy() is independent', () => {
    const range = grown(5);
    const copy = range.copy();
    copy.append(countedLeaf(5));
    expect([range.size, copy.size]).toEqual([5n, 6n]);
    expect(hex(range.root())).toBe(hex(counted(0n, 5n)));
    expect(hex(copy.root())).toBe(hex(counted(0n, 6n)));
  });

  it('does not let its edge be changed through `nodes`', () => {
    const range = grown(3);
    (range.nodes as Uint8Array[]).pop();
    expect(hex(range.root())).toBe(hex(counted(0n, 3n)));
  });

  it('counts beyond 2^53', () => {
    const size = 2n ** 53n + 1n;
    const edge = edgeNodes(size).map(() => new Uint8Array(32));
    const range = CompactRange.from(sha256, size, edge);
    const reported: bigint[] = [];
    range.append(countedLeaf(0), (_level, index) => reported.push(index));
    expect(range.size).toBe(2n ** 53n + 2n);
    expect(reported).toEqual([2n ** 53n + 1n, 2n ** 52n]);
  });

  it.each<[bigint, number]>([
    [5n, 1],
    [5n, 3],
    [0n, 1],
    [8n, 0],
  ])('refuses an edge for size %s with %i nodes', (size, count) => {
    const edge = Array.from({ length: count }, () => new Uint8Array(32));
    expect(() => CompactRange.from(sha256, size, edge)).toThrow(
      expect.objectContaining({ code: 'MERKLE_PROOF_LENGTH' }) as MerkleError,
    );
  });

  it.each([-1n, MAX_TREE_SIZE + 1n])('refuses size %s', (size) => {
    expect(() => CompactRange.from(sha256, size, [])).toThrow(
      expect.objectContaining({ code: 'MERKLE_SIZE_RANGE' }) as MerkleError,
    );
  });

  it('refuses hashes that are not 32 bytes, and is unchanged then', () => {
    const range = grown(3);
    const short = expect.objectContaining({ code: 'MERKLE_HASH_LENGTH' }) as MerkleError;
    expect(() => range.append(new Uint8Array(31))).toThrow(short);
    expect(() => CompactRange.from(sha256, 1n, [new Uint8Array(33)])).toThrow(short);
    expect(hex(range.root())).toBe(hex(counted(0n, 3n)));
  });

  it('refuses to grow beyond 2^63 - 1 entries', () => {
    const full = CompactRange.from(
      sha256,
      MAX_TREE_SIZE,
      edgeNodes(MAX_TREE_SIZE).map(() => new Uint8Array(32)),
    );
    expect(() => full.append(new Uint8Array(32))).toThrow(
      expect.objectContaining({ code: 'MERKLE_SIZE_RANGE' }) as MerkleError,
    );
  });
});
