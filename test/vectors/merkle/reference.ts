/**
 * What the fast code is compared with: RFC 9162 §2.1 word by word, recursive and without any thought of speed. Trees are
 * given as the hash over a range of leaves, so that trees too large to exist can be given too.
 */
import { createHash } from 'node:crypto';

export type RangeHash = (start: bigint, end: bigint) => Uint8Array;

export const sha256 = (data: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(data).digest());
export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
export const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

const hashLeaf = (data: Uint8Array): Uint8Array => sha256(Buffer.concat([Uint8Array.of(0), data]));
const hashChildren = (left: Uint8Array, right: Uint8Array): Uint8Array =>
  sha256(Buffer.concat([Uint8Array.of(1), left, right]));

/** The largest power of two below n, n > 1. */
function split(n: bigint): bigint {
  let k = 1n;
  while (k * 2n < n) k *= 2n;
  return k;
}

/** MTH over the leaves that `leaf` gives. */
export function ranges(leaf: (index: bigint) => Uint8Array): RangeHash {
  const known = new Map<string, Uint8Array>();
  return function hash(start: bigint, end: bigint): Uint8Array {
    if (start === end) return sha256(new Uint8Array(0));
    const name = `${start}-${end}`;
    const found = known.get(name);
    if (found !== undefined) return found;
    const middle = start + split(end - start);
    const made = end - start === 1n ? hashLeaf(leaf(start)) : hashChildren(hash(start, middle), hash(middle, end));
    known.set(name, made);
    return made;
  };
}

/** Leaf i is the ASCII decimal of i. */
export const counting = (): RangeHash => ranges((index) => utf8(index.toString()));

/** All leaves are empty except those at `marked`, which hold their index: any size up to 2^63 - 1. */
export function sparse(marked: readonly bigint[]): RangeHash {
  const uniform = [hashLeaf(new Uint8Array(0))];
  for (let level = 1; level <= 63; level++) {
    const below = uniform[level - 1] as Uint8Array;
    uniform.push(hashChildren(below, below));
  }
  return function hash(start: bigint, end: bigint): Uint8Array {
    const size = end - start;
    const isPower = (size & (size - 1n)) === 0n;
    if (isPower && !marked.some((index) => start <= index && index < end)) {
      return uniform[size.toString(2).length - 1] as Uint8Array;
    }
    if (size === 1n) return hashLeaf(utf8(start.toString()));
    const middle = start + split(size);
    return hashChildren(hash(start, middle), hash(middle, end));
  };
}

/** PATH(m, D[start:end]). @see RFC 9162 §2.1.3.1 */
export function path(hash: RangeHash, m: bigint, start: bigint, end: bigint): Uint8Array[] {
  if (end - start === 1n) return [];
  const k = split(end - start);
  return m < k
    ? [...path(hash, m, start, start + k), hash(start + k, end)]
    : [...path(hash, m - k, start + k, end), hash(start, start + k)];
}

/** PROOF(m, D[0:n]) = SUBPROOF(m, D[0:n], true). @see RFC 9162 §2.1.4.1 */
export function proof(hash: RangeHash, m: bigint, n: bigint): Uint8Array[] {
  return subproof(hash, m, 0n, n, true);
}

function subproof(hash: RangeHash, m: bigint, start: bigint, end: bigint, known: boolean): Uint8Array[] {
  if (m === end - start) return known ? [] : [hash(start, end)];
  const k = split(end - start);
  return m <= k
    ? [...subproof(hash, m, start, start + k, known), hash(start + k, end)]
    : [...subproof(hash, m - k, start + k, end, false), hash(start, start + k)];
}

/** Stored subtrees of such a tree. */
export function nodes(hash: RangeHash): (level: number, index: bigint) => Uint8Array {
  return (level, index) => hash(index << BigInt(level), (index + 1n) << BigInt(level));
}
