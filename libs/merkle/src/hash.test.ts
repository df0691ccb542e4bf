import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromHex, hex, sha256, utf8 } from '../../../test/vectors/merkle/reference.js';
import { emptyRoot, leafHash, type MerkleError, nodeHash } from './index.js';

const vectors = JSON.parse(
  readFileSync(new URL('../../../test/vectors/merkle/eight-leaves.json', import.meta.url), 'utf8'),
) as { hashes: { data: string; hash: string }[] };

describe('leafHash()', () => {
  it.each(vectors.hashes)('of "$data" is $hash', ({ data, hash }) => {
    expect(hex(leafHash(sha256, utf8(data)))).toBe(hash);
  });
});

describe('nodeHash()', () => {
  it('prefixes 0x01', () => {
    const [left, right] = [leafHash(sha256, utf8('a')), leafHash(sha256, utf8('b'))];
    expect(hex(nodeHash(sha256, left, right))).toBe(hex(sha256(fromHex(`01${hex(left)}${hex(right)}`))));
  });

  it('gives the same after other hashes went through its buffer', () => {
    const [left, right] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    const before = nodeHash(sha256, left, right);
    nodeHash(sha256, right, left);
    expect(nodeHash(sha256, left, right)).toEqual(before);
  });

  it.each([
    [31, 32],
    [32, 33],
    [0, 32],
    [32, 0],
  ])('rejects hashes of %i and %i bytes', (left, right) => {
    expect(() => nodeHash(sha256, new Uint8Array(left), new Uint8Array(right))).toThrow(
      expect.objectContaining({ code: 'MERKLE_HASH_LENGTH' }) as MerkleError,
    );
  });
});

describe('emptyRoot()', () => {
  it('is the hash of nothing', () => {
    expect(hex(emptyRoot(sha256))).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });
});
