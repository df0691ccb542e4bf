import { MerkleError } from './error.js';

/** SHA-256 of `data`, 32 bytes. Must be done with `data` when it returns: the caller reuses that buffer. */
export type Sha256 = (data: Uint8Array) => Uint8Array;

/** Bytes of one hash. */
export const HASH_LENGTH = 32;

// One buffer for all node hashes: the hash function is synchronous, so nobody else can be between filling and hashing
// it. Byte 0 stays 0x01, the prefix of a node (RFC 9162 §2.1.1).
const nodeInput = new Uint8Array(1 + 2 * HASH_LENGTH);
nodeInput[0] = 0x01;

/** SHA-256(0x00 ‖ data): the hash of one entry. @see RFC 9162 §2.1.1 */
export function leafHash(sha256: Sha256, data: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + data.length);
  input.set(data, 1);
  return sha256(input);
}

/**
 * SHA-256(0x01 ‖ left ‖ right), 32 bytes each.
 * @throws MerkleError `MERKLE_HASH_LENGTH`
 * @see RFC 9162 §2.1.1
 */
export function nodeHash(sha256: Sha256, left: Uint8Array, right: Uint8Array): Uint8Array {
  checkHash(left);
  checkHash(right);
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + HASH_LENGTH);
  return sha256(nodeInput);
}

/**
 * `nodeHash` of the two hashes that lie side by side in `hashes` from byte `start`. The caller has checked the bounds.
 */
export function adjacentNodeHash(sha256: Sha256, hashes: Uint8Array, start: number): Uint8Array {
  nodeInput.set(hashes.subarray(start, start + 2 * HASH_LENGTH), 1);
  return sha256(nodeInput);
}

/** SHA-256 of nothing: the root of the tree without entries. @see RFC 9162 §2.1.1 */
export function emptyRoot(sha256: Sha256): Uint8Array {
  return sha256(new Uint8Array(0));
}

/** @throws MerkleError `MERKLE_HASH_LENGTH` */
export function checkHash(hash: Uint8Array): void {
  if (hash.length !== HASH_LENGTH) {
    throw new MerkleError(
      'MERKLE_HASH_LENGTH',
      `Cannot hash nodes: a hash has ${hash.length} bytes, not ${HASH_LENGTH}`,
    );
  }
}

/** Not in constant time: hashes of a public tree are no secret. */
export function equalHashes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** The first 16 hex digits: enough to tell two roots apart in a message. */
export function shortHex(hash: Uint8Array): string {
  return Array.from(hash.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
