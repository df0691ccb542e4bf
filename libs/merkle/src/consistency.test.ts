import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  counting,
  fromHex,
  hex,
  nodes,
  proof as recursiveProof,
  ranges,
  sha256,
  sparse,
} from '../../../test/vectors/merkle/reference.js';
import {
  consistencyNodes,
  type ConsistencyProof,
  MAX_TREE_SIZE,
  MerkleError,
  type MerkleErrorCode,
  proveConsistency,
  verifyConsistency,
} from './index.js';

const vectors = JSON.parse(
  readFileSync(new URL('../../../test/vectors/merkle/eight-leaves.json', import.meta.url), 'utf8'),
) as {
  leaves: string[];
  consistency: { first: number; second: number; proof: string[] }[];
  wholeProofs: Record<string, string[]>;
};
const eight = ranges((index) => fromHex(vectors.leaves[Number(index)] as string));
const counted = counting();

function claimOf(hash: typeof counted, first: bigint, second: bigint): ConsistencyProof {
  return {
    first,
    second,
    firstRoot: hash(0n, first),
    secondRoot: hash(0n, second),
    proof: recursiveProof(hash, first, second),
  };
}

function codeOf(claim: ConsistencyProof): MerkleErrorCode | undefined {
  try {
    verifyConsistency(sha256, claim);
    return undefined;
  } catch (error) {
    if (error instanceof MerkleError) return error.code;
    throw error;
  }
}

function flip(hash: Uint8Array, bit: number): Uint8Array {
  const flipped = hash.slice();
  flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
  return flipped;
}

/** Names of mutations and their results: each must be refused for all pairs of different sizes. */
function mutations(claim: ConsistencyProof): [string, ConsistencyProof][] {
  const { first, second, firstRoot, secondRoot, proof } = claim;
  const garbage = new Uint8Array(32).fill(0xa5);
  return [
    ['first size 0', { ...claim, first: 0n }],
    ['first size 0 with empty proof', { ...claim, first: 0n, proof: [] }],
    ['first size minus 1', { ...claim, first: first - 1n }],
    ['first size plus 1', { ...claim, first: first + 1n }],
    ['first size xor 2', { ...claim, first: first ^ 2n }],
    ['second size times 2', { ...claim, second: second * 2n }],
    ['second size divided by 2', { ...claim, second: second / 2n }],
    ['sizes swapped', { ...claim, first: second, second: first }],
    ['negative first size', { ...claim, first: -first }],
    ['second size beyond 2^63', { ...claim, second: second + (1n << 63n) }],
    ['first root bit', { ...claim, firstRoot: flip(firstRoot, 0) }],
    ['second root bit', { ...claim, secondRoot: flip(secondRoot, 255) }],
    ['roots swapped', { ...claim, firstRoot: secondRoot, secondRoot: firstRoot }],
    ['first root twice', { ...claim, secondRoot: firstRoot }],
    ['second root twice', { ...claim, firstRoot: secondRoot }],
    ['empty first root', { ...claim, firstRoot: new Uint8Array(0) }],
    ['empty second root', { ...claim, secondRoot: new Uint8Array(0) }],
    ['empty proof', { ...claim, proof: [] }],
    ['trailing garbage', { ...claim, proof: [...proof, garbage] }],
    ['trailing empty hash', { ...claim, proof: [...proof, new Uint8Array(0)] }],
    ['trailing first root', { ...claim, proof: [...proof, firstRoot] }],
    ['trailing second root', { ...claim, proof: [...proof, secondRoot] }],
    ['preceding garbage', { ...claim, proof: [garbage, ...proof] }],
    ['preceding first root', { ...claim, proof: [firstRoot, ...proof] }],
    ['preceding second root', { ...claim, proof: [secondRoot, ...proof] }],
    ...proof.flatMap((hash, at): [string, ConsistencyProof][] => [
      [`proof[${at}] bit 4`, { ...claim, proof: proof.with(at, flip(hash, 4)) }],
      [`proof[${at}] one byte short`, { ...claim, proof: proof.with(at, hash.subarray(1)) }],
      [`without proof[${at}]`, { ...claim, proof: proof.toSpliced(at, 1) }],
      [`proof[${at}] twice`, { ...claim, proof: proof.toSpliced(at, 0, hash) }],
    ]),
  ];
}

describe('proveConsistency()', () => {
  it.each(vectors.consistency)('proves $first to $second of the known tree', ({ first, second, proof }) => {
    const made = proveConsistency(sha256, BigInt(first), BigInt(second), nodes(eight));
    expect(made.map((hash) => hex(hash).slice(0, 16))).toEqual(proof);
  });

  it('gives the known proof of 6 to 8', () => {
    const made = proveConsistency(sha256, 6n, 8n, nodes(eight));
    const known = vectors.wholeProofs['consistency 6 to 8'];
    expect(made.map((hash) => Buffer.from(hash).toString('base64'))).toEqual(known);
  });

  it('equals the recursion of RFC 9162 for all pairs of sizes up to 300, and verifies', () => {
    const readNode = nodes(counted);
    for (let second = 1n; second <= 300n; second++) {
      for (let first = 1n; first <= second; first++) {
        const proof = proveConsistency(sha256, first, second, readNode);
        const claim = claimOf(counted, first, second);
        if (proof.map(hex).join() !== claim.proof.map(hex).join()) expect.fail(`${first} to ${second}`);
        verifyConsistency(sha256, claim);
      }
    }
  });

  const around = (power: number): bigint[] => [-2n, -1n, 0n, 1n, 2n].map((offset) => 2n ** BigInt(power) + offset);
  const large = [8, 16, 24, 31, 32, 33, 53, 62].flatMap(around).concat([MAX_TREE_SIZE - 1n, MAX_TREE_SIZE]);

  it.each(large)('equals the recursion and verifies up to tree size %s', (second) => {
    const firsts = [1n, 2n, 3n, second / 3n, second / 2n, second - 1n, second, ...large.filter((n) => n < second)];
    const hash = sparse([0n, second / 3n, second - 1n]);
    for (const first of firsts) {
      const proof = proveConsistency(sha256, first, second, nodes(hash));
      const claim = claimOf(hash, first, second);
      expect(proof.map(hex)).toEqual(claim.proof.map(hex));
      expect(codeOf(claim)).toBeUndefined();
      if (first < second)
        expect(codeOf({ ...claim, firstRoot: flip(claim.firstRoot, 1) })).toBe('MERKLE_ROOT_MISMATCH');
    }
  });

  it.each<[bigint, bigint]>([
    [0n, 0n],
    [0n, 5n],
    [-1n, 5n],
    [6n, 5n],
    [1n, MAX_TREE_SIZE + 1n],
  ])('refuses sizes %s and %s', (first, second) => {
    expect(() => proveConsistency(sha256, first, second, nodes(counted))).toThrow(
      expect.objectContaining({ code: 'MERKLE_SIZE_RANGE' }) as MerkleError,
    );
  });
});

describe('consistencyNodes()', () => {
  it('asks for nothing if the sizes are equal', () => {
    expect(consistencyNodes(7n, 7n)).toEqual([]);
  });

  it('has no seed hash from a power of two, which the verifier already holds', () => {
    expect(consistencyNodes(4n, 7n)).toHaveLength(1);
    expect(consistencyNodes(6n, 7n)).toHaveLength(3);
  });

  it('asks only for subtrees that lie wholly inside the second tree', () => {
    for (let second = 1n; second <= 70n; second++) {
      for (let first = 1n; first <= second; first++) {
        const asked = consistencyNodes(first, second).flat();
        expect(asked.every((node) => (node.index + 1n) << BigInt(node.level) <= second)).toBe(true);
      }
    }
  });
});

describe('verifyConsistency()', () => {
  const cases = [2n, 3n, 5n, 7n, 8n, 13n, 21n].flatMap((second) =>
    [...new Set([1n, 2n, 4n, second / 2n, second - 1n])]
      .filter((n) => n < second)
      .map((first): [bigint, bigint] => [first, second]),
  );

  it.each(cases)('refuses each wrong answer about %s to %s', (first, second) => {
    const claim = claimOf(counted, first, second);
    expect(codeOf(claim)).toBeUndefined();
    for (const [name, wrong] of mutations(claim)) expect(codeOf(wrong), name).toBeDefined();
  });

  it('refuses a proof from size 0: everything is consistent with nothing', () => {
    const claim = { first: 0n, second: 5n, firstRoot: counted(0n, 0n), secondRoot: counted(0n, 5n), proof: [] };
    expect(codeOf(claim)).toBe('MERKLE_SIZE_RANGE');
  });

  it('with equal sizes wants equal roots', () => {
    const claim = claimOf(counted, 5n, 5n);
    expect(codeOf(claim)).toBeUndefined();
    expect(codeOf({ ...claim, secondRoot: counted(0n, 6n) })).toBe('MERKLE_ROOT_MISMATCH');
  });

  it('with equal sizes wants an empty proof', () => {
    const claim = claimOf(counted, 5n, 5n);
    expect(codeOf({ ...claim, proof: [claim.firstRoot] })).toBe('MERKLE_PROOF_LENGTH');
  });

  it('rejects a proof whose second root alone is wrong', () => {
    const claim = claimOf(counted, 3n, 7n);
    expect(codeOf({ ...claim, secondRoot: counted(0n, 8n) })).toBe('MERKLE_ROOT_MISMATCH');
  });

  it('rejects a proof whose first root alone is wrong', () => {
    const claim = claimOf(counted, 3n, 7n);
    expect(codeOf({ ...claim, firstRoot: counted(0n, 4n) })).toBe('MERKLE_ROOT_MISMATCH');
  });

  it('rejects a fork: two trees that share the entries up to 5 and differ in entry 5', () => {
    const forked = ranges((index) => Buffer.from(index === 5n ? 'forged' : index.toString()));
    const claim = { ...claimOf(forked, 6n, 9n), firstRoot: counted(0n, 6n) };
    expect(codeOf(claim)).toBe('MERKLE_ROOT_MISMATCH');
  });

  it('names both roots in its message', () => {
    const claim = claimOf(counted, 5n, 7n);
    expect(() => verifyConsistency(sha256, { ...claim, secondRoot: new Uint8Array(32) })).toThrow(
      /consistency of trees of sizes 5 and 7: the proof leads to second root a3e23b32ccb6bf96, not 0{16}$/,
    );
  });

  it('any one-bit change of a proof or root no longer verifies', () => {
    const anyClaim = fc
      .bigInt(2n, 300n)
      .chain((second) => fc.bigInt(1n, second - 1n).map((first) => claimOf(counted, first, second)));
    fc.assert(
      fc.property(anyClaim, fc.nat(), fc.nat(255), (claim, which, bit) => {
        const at = which % (claim.proof.length + 2);
        const hash = claim.proof[at];
        if (hash !== undefined) return codeOf({ ...claim, proof: claim.proof.with(at, flip(hash, bit)) }) !== undefined;
        return at === claim.proof.length
          ? codeOf({ ...claim, firstRoot: flip(claim.firstRoot, bit) }) === 'MERKLE_ROOT_MISMATCH'
          : codeOf({ ...claim, secondRoot: flip(claim.secondRoot, bit) }) === 'MERKLE_ROOT_MISMATCH';
      }),
    );
  });

  it('returns or throws MerkleError for anything', () => {
    const anything = fc.record({
      first: fc.bigInt(-(2n ** 65n), 2n ** 65n),
      second: fc.bigInt(-(2n ** 65n), 2n ** 65n),
      firstRoot: fc.uint8Array({ maxLength: 40 }),
      secondRoot: fc.uint8Array({ maxLength: 40 }),
      proof: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 70 }),
    });
    fc.assert(fc.property(anything, (claim) => codeOf(claim) !== undefined));
  });
});
