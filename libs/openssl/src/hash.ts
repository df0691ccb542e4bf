import { createHash, hash as oneShot } from 'node:crypto';
import type { HashAlgorithm } from '#libs/crypto';

/** SHA-256 of `data`, 32 bytes: one call without a hash object, which for short inputs costs half. */
export function sha256(data: Uint8Array): Uint8Array {
  return hash('sha256', data);
}

/** One-shot digest. */
export function hash(algorithm: HashAlgorithm | 'sha1', data: Uint8Array): Uint8Array {
  return plain(oneShot(algorithm, data, 'buffer'));
}

/** A digest of data that comes in pieces. */
export interface Hasher {
  update(data: Uint8Array): void;
  /** Ends the computation; the hasher cannot be used again. */
  digest(): Uint8Array;
}

/** Starts a streaming digest. */
export function createHasher(algorithm: HashAlgorithm): Hasher {
  const hasher = createHash(algorithm);
  return {
    update: (data) => void hasher.update(data),
    digest: () => plain(hasher.digest()),
  };
}

/** Node answers with Buffers, whose `slice` shares memory and which no test calls equal to an Uint8Array. */
export function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
