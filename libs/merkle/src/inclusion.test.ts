import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { counting, hex, nodes, path, ranges, sha256, sparse, fromHex } from '../../../test/vectors/merkle/reference.js';
import {
  inclusionNodes,
  type InclusionProof,
  InclusionVerifier,
  MAX_TREE_SIZE,
  MerkleError,
  type MerkleErrorCode,
  proveInclusion,
  rootFromInclusionProof,
  rootFromNodes,
  verifyInclusion,
} from './index.js';

const vectors = JSON.parse(
  readFileSync(new URL('../../../test/vectors/merkle/eight-leaves.json', import.meta.url), 'utf8'),
) as {
  leaves: string[];
  roots: string[];
  inclusion: { index: number; size: number; proof: string[] }[];
  wholeProofs: Record<string, string[]>;
};
const eight = ranges((index) => fromHex(vectors.leaves[Number(index)] as string));
const counted = counting();

type Claim = InclusionProof & { root: Uint8Array };

function claimOf(hash: typeof counted, index: bigint, size: bigint): Claim {
  return {
    index,
    size,
    leafHash: hash(index, index + 1n),
    proof: path(hash, index, 0n, size),
    root: hash(0n, size),
  };
}

function codeOf(claim: Claim): MerkleErrorCode | undefined {
  try {
    verifyInclusion(sha256, claim);
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

/** Names of mutations and their results: each must be refused for every entry of every tree. */
function mutations(claim: Claim): [string, Claim][] {
  const { index, size, leafHash, proof, root } = claim;
  const garbage = new Uint8Array(32).fill(0xa5);
  return [
    ['index minus 1', { ...claim, index: index - 1n }],
    ['index plus 1', { ...claim, index: index + 1n }],
    ['index xor 2', { ...claim, index: index ^ 2n }],
    ['index plus size', { ...claim, index: index + size }],
    ['size times 2', { ...claim, size: size * 2n }],
    ['size divided by 2', { ...claim, size: size / 2n }],
    ['size 0', { ...claim, size: 0n }],
    ['negative size', { ...claim, size: -size }],
    ['index beyond 2^64', { ...claim, index: index + (1n << 64n) }],
    ['leaf hash bit', { ...claim, leafHash: flip(leafHash, 77) }],
    ['root bit', { ...claim, root: flip(root, 255) }],
    ['empty leaf hash', { ...claim, leafHash: new Uint8Array(0) }],
    ['empty root', { ...claim, root: new Uint8Array(0) }],
    ['trailing garbage', { ...claim, proof: [...proof, garbage] }],
    ['trailing empty hash', { ...claim, proof: [...proof, new Uint8Array(0)] }],
    ['trailing root', { ...claim, proof: [...proof, root] }],
    ['preceding garbage', { ...claim, proof: [garbage, ...proof] }],
    ['preceding root', { ...claim, proof: [root, ...proof] }],
    ['preceding leaf hash', { ...claim, proof: [leafHash, ...proof] }],
    ...proof.flatMap((hash, at): [string, Claim][] => [
      [`proof[${at}] bit 4`, { ...claim, proof: proof.with(at, flip(hash, 4)) }],
      [`proof[${at}] one byte short`, { ...claim, proof: proof.with(at, hash.subarray(1)) }],
      [`proof[${at}] one byte long`, { ...claim, proof: proof.with(at, Uint8Array.of(...hash, 0)) }],
      [`without proof[${at}]`, { ...claim, proof: proof.toSpliced(at, 1) }],
      [`proof[${at}] twice`, { ...claim, proof: proof.toSpliced(at, 0, hash) }],
    ]),
    ...(proof.length > 0
      ? [
          ['empty proof', { ...claim, proof: [] }] as [string, Claim],
          ['leaf hash and root swapped', { ...claim, leafHash: root, root: leafHash }] as [string, Claim],
        ]
      : []),
    ...(proof.length > 1 ? [['reversed proof', { ...claim, proof: proof.toReversed() }] as [string, Claim]] : []),
  ];
}

describe('proveInclusion()', () => {
  it.each(vectors.inclusion)('proves entry $index of $size of the known tree', ({ index, size, proof }) => {
    const made = proveInclusion(sha256, BigInt(index), BigInt(size), nodes(eight));
    expect(made.map((hash) => hex(hash).slice(0, 16))).toEqual(proof);
  });

  it('gives the known proof of entry 0 of 8', () => {
    const made = proveInclusion(sha256, 0n, 8n, nodes(eight));
    expect(made.map((hash) => Buffer.from(hash).toString('base64'))).toEqual(vectors.wholeProofs['inclusion 0 in 8']);
  });

  it('equals the recursion of RFC 9162 for all entries of all trees up to 300, and verifies', () => {
    const readNode = nodes(counted);
    for (let size = 1n; size <= 300n; size++) {
      const root = rootFromNodes(sha256, size, readNode);
      expect(hex(root)).toBe(hex(counted(0n, size)));
      for (let index = 0n; index < size; index++) {
        const proof = proveInclusion(sha256, index, size, readNode);
        const expected = path(counted, index, 0n, size);
        if (proof.map(hex).join() !== expected.map(hex).join()) expect.fail(`entry ${index} of ${size}`);
        verifyInclusion(sha256, { index, size, leafHash: counted(index, index + 1n), proof, root });
      }
    }
  });

  const around = (power: number): bigint[] => [-2n, -1n, 0n, 1n, 2n].map((offset) => 2n ** BigInt(power) + offset);
  const large = [8, 16, 24, 31, 32, 33, 53, 62].flatMap(around).concat([MAX_TREE_SIZE - 1n, MAX_TREE_SIZE]);

  it.each(large)('equals the recursion and verifies at tree size %s', (size) => {
    const indexes = [
      0n,
      1n,
      size / 3n,
      size / 2n,
      size / 2n - 1n,
      size - 2n,
      size - 1n,
      ...large.filter((n) => n < size),
    ];
    const hash = sparse(indexes);
    const root = rootFromNodes(sha256, size, nodes(hash));
    expect(hex(root)).toBe(hex(hash(0n, size)));
    for (const index of indexes) {
      const proof = proveInclusion(sha256, index, size, nodes(hash));
      expect(proof.map(hex)).toEqual(path(hash, index, 0n, size).map(hex));
      const claim = { index, size, leafHash: hash(index, index + 1n), proof, root };
      expect(codeOf(claim)).toBeUndefined();
      expect(codeOf({ ...claim, index: index ^ 1n })).toBeDefined();
    }
  });

  it.each<[bigint, bigint, MerkleErrorCode]>([
    [0n, 0n, 'MERKLE_INDEX_RANGE'],
    [5n, 5n, 'MERKLE_INDEX_RANGE'],
    [7n, 5n, 'MERKLE_INDEX_RANGE'],
    [-1n, 5n, 'MERKLE_INDEX_RANGE'],
    [0n, -1n, 'MERKLE_SIZE_RANGE'],
    [0n, MAX_TREE_SIZE + 1n, 'MERKLE_SIZE_RANGE'],
  ])('refuses entry %s of %s', (index, size, code) => {
    expect(() => proveInclusion(sha256, index, size, nodes(counted))).toThrow(
      expect.objectContaining({ code }) as MerkleError,
    );
  });

  it('refuses a stored hash that is cut short', () => {
    expect(() => proveInclusion(sha256, 0n, 2n, () => new Uint8Array(31))).toThrow(
      expect.objectContaining({ code: 'MERKLE_HASH_LENGTH' }) as MerkleError,
    );
  });
});

describe('inclusionNodes()', () => {
  it('asks only for subtrees that lie wholly inside the tree', () => {
    for (let size = 1n; size <= 70n; size++) {
      for (let index = 0n; index < size; index++) {
        const asked = inclusionNodes(index, size).flat();
        expect(asked.every((node) => (node.index + 1n) << BigInt(node.level) <= size)).toBe(true);
      }
    }
  });

  it('folds several subtrees into one hash only where the tree is ragged', () => {
    // Entry 0 of 7: sibling 1, then leaves [2,4), then the ragged right half [4,7).
    expect(inclusionNodes(0n, 7n)).toEqual([
      [{ level: 0, index: 1n }],
      [{ level: 1, index: 1n }],
      [
        { level: 1, index: 2n },
        { level: 0, index: 6n },
      ],
    ]);
  });
});

describe('InclusionVerifier', () => {
  const verifierOf = (size: bigint, hash = counted, hasher = sha256) =>
    new InclusionVerifier(hasher, { size, root: hash(0n, size) });

  function codeBy(verifier: InclusionVerifier, claim: Claim): MerkleErrorCode | undefined {
    try {
      verifier.verify(claim);
      return undefined;
    } catch (error) {
      if (error instanceof MerkleError) return error.code;
      throw error;
    }
  }

  it('accepts every entry after every other, of all trees up to 40', () => {
    for (let size = 1n; size <= 40n; size++) {
      const claims = Array.from({ length: Number(size) }, (_, index) => claimOf(counted, BigInt(index), size));
      for (const first of claims) {
        for (const second of claims) {
          const verifier = verifierOf(size);
          for (const claim of [first, second, first]) {
            if (codeBy(verifier, claim) !== undefined) expect.fail(`${claim.index} of ${size}`);
          }
        }
      }
    }
  });

  it.each([1n, 2n, 3n, 5n, 7n, 8n, 13n])('refuses each wrong answer after each right one, of a tree of %s', (size) => {
    const claims = Array.from({ length: Number(size) }, (_, index) => claimOf(counted, BigInt(index), size));
    for (const before of claims) {
      for (const claim of claims) {
        for (const [name, wrong] of mutations(claim)) {
          // Size and root are the verifier's own.
          if (wrong.size !== size || wrong.root !== claim.root) continue;
          const verifier = verifierOf(size);
          expect(codeBy(verifier, before)).toBeUndefined();
          expect(codeBy(verifier, wrong), `${name} of ${claim.index} after ${before.index}`).toBe(codeOf(wrong));
          // And learns nothing from it.
          expect(codeBy(verifier, claim)).toBeUndefined();
          expect(codeBy(verifier, wrong)).toBe(codeOf(wrong));
        }
      }
    }
  });

  it('decides as verifyInclusion() does, whatever came before', () => {
    const anySize = fc.bigInt(1n, 300n);
    const step = fc.record({ index: fc.nat(), mutation: fc.option(fc.nat(), { freq: 3 }) });
    fc.assert(
      fc.property(anySize, fc.array(step, { minLength: 2, maxLength: 12 }), (size, steps) => {
        const verifier = verifierOf(size);
        for (const { index, mutation } of steps) {
          const right = claimOf(counted, BigInt(index) % size, size);
          const wrong = mutations(right).map(([, claim]) => ({ ...claim, size, root: right.root }));
          const claim = mutation === null ? right : (wrong[mutation % wrong.length] as Claim);
          expect(codeBy(verifier, claim)).toBe(codeOf(claim));
        }
      }),
    );
  });

  it('hashes two nodes for each of many entries in a row, however large the tree', () => {
    const size = 2n ** 40n + 256n;
    const first = 2n ** 40n;
    const hash = sparse(Array.from({ length: 256 }, (_, at) => first - 256n + BigInt(at)));
    const claims = Array.from({ length: 256 }, (_, at) => claimOf(hash, first - 256n + BigInt(at), size));
    let hashed = 0;
    const verifier = verifierOf(size, hash, (data) => (hashed++, sha256(data)));
    for (const claim of claims) verifier.verify(claim);
    expect(hashed).toBe(255 + 248 + (claims[0]?.proof.length ?? 0) - 1);
  });

  it('refuses a root that is none', () => {
    expect(() => new InclusionVerifier(sha256, { size: 2n, root: new Uint8Array(31) })).toThrow(
      expect.objectContaining({ code: 'MERKLE_HASH_LENGTH' }) as MerkleError,
    );
  });
});

describe('verifyInclusion()', () => {
  const cases = [1n, 2n, 3n, 5n, 7n, 8n, 13n, 21n].flatMap((size) =>
    [...new Set([0n, 1n, size / 2n, size - 1n])]
      .filter((index) => index < size)
      .map((index): [bigint, bigint] => [index, size]),
  );

  it.each(cases)('refuses each wrong answer about entry %s of %s', (index, size) => {
    const claim = claimOf(counted, index, size);
    expect(codeOf(claim)).toBeUndefined();
    for (const [name, wrong] of mutations(claim)) expect(codeOf(wrong), name).toBeDefined();
  });

  it('rejects a proof with one hash too many, even if it leads to the root', () => {
    // A verifier that climbs as long as there are hashes accepts this: it is a true proof, for another size.
    const taller = claimOf(counted, 0n, 4n);
    expect(codeOf({ ...taller, size: 2n })).toBe('MERKLE_PROOF_LENGTH');
  });

  it('rejects a proof with one hash too few, even if it leads to the root', () => {
    expect(codeOf({ ...claimOf(counted, 0n, 2n), size: 4n })).toBe('MERKLE_PROOF_LENGTH');
  });

  it('checks the number of hashes before it hashes any', () => {
    const claim = { ...claimOf(counted, 3n, 8n), proof: Array.from({ length: 100_000 }, () => new Uint8Array(32)) };
    const untouched = (): Uint8Array => expect.fail('hashed');
    expect(() => verifyInclusion(untouched, claim)).toThrow(/has 100000 hashes, not 3$/);
  });

  it('does not cut indexes to 32 bits', () => {
    const size = 2n ** 32n + 8n;
    const hash = sparse([3n, 2n ** 32n + 3n]);
    const claim = claimOf(hash, 2n ** 32n + 3n, size);
    expect(codeOf(claim)).toBeUndefined();
    expect(codeOf({ ...claim, index: 3n })).toBeDefined();
  });

  it('names both roots in its message', () => {
    const claim = claimOf(counted, 2n, 5n);
    const wrong = { ...claim, root: new Uint8Array(32) };
    expect(() => verifyInclusion(sha256, wrong)).toThrow(
      /^Cannot verify inclusion of entry 2 in tree of size 5: the proof leads to root b6748f6ed7a99de7, not 0{16}$/,
    );
  });

  it('any one-bit change of a proof, leaf hash or root no longer verifies', () => {
    const anyClaim = fc
      .bigInt(1n, 300n)
      .chain((size) => fc.bigInt(0n, size - 1n).map((index) => claimOf(counted, index, size)));
    fc.assert(
      fc.property(anyClaim, fc.nat(), fc.nat(255), (claim, which, bit) => {
        const at = which % (claim.proof.length + 2);
        const hash = claim.proof[at];
        if (hash !== undefined) return codeOf({ ...claim, proof: claim.proof.with(at, flip(hash, bit)) }) !== undefined;
        return at === claim.proof.length
          ? codeOf({ ...claim, leafHash: flip(claim.leafHash, bit) }) === 'MERKLE_ROOT_MISMATCH'
          : codeOf({ ...claim, root: flip(claim.root, bit) }) === 'MERKLE_ROOT_MISMATCH';
      }),
    );
  });

  it('returns or throws MerkleError for anything', () => {
    const anything = fc.record({
      index: fc.bigInt(-(2n ** 65n), 2n ** 65n),
      size: fc.bigInt(-(2n ** 65n), 2n ** 65n),
      leafHash: fc.uint8Array({ maxLength: 40 }),
      root: fc.uint8Array({ maxLength: 40 }),
      proof: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 70 }),
    });
    fc.assert(fc.property(anything, (claim) => codeOf(claim) !== undefined));
  });
});

describe('rootFromInclusionProof()', () => {
  it('gives the root without judging it', () => {
    const { root, ...claim } = claimOf(counted, 4n, 7n);
    expect(hex(rootFromInclusionProof(sha256, claim))).toBe(hex(root));
  });
});
