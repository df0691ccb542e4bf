import type { eddsa } from '@noble/curves/abstract/edwards.js';
import type { ed25519 } from '@noble/curves/ed25519.js';
import type { sha512 } from '@noble/hashes/sha2.js';
import { concatBytes, encodeUtf8 } from '#libs/encoding';

// dom2(F, C) of RFC 8032 §2, with F = 1 for the pre-hashed form and an empty context.
const DOM2 = concatBytes(encodeUtf8('SigEd25519 no Ed25519 collisions'), Uint8Array.of(1, 0));

/** Whether `signature` (64 bytes) is an Ed25519ph signature by the 32-byte key `raw` over a message with this SHA-512 digest. */
export type VerifyEd25519ph = (raw: Uint8Array, digest: Uint8Array, signature: Uint8Array) => boolean;

/**
 * The verifier of the pre-hashed form of Ed25519 from @noble's parts, which the caller loads when it needs them: they are
 * slow to load, and hardly anyone does. @noble's own `ed25519ph` hashes the message itself, but a log entry has only the
 * digest. The same algorithm with nothing in the place of the pre-hash takes the digest.
 * @see RFC 8032 §5.1.7
 */
export function ed25519phVerifier(noble: {
  eddsa: typeof eddsa;
  ed25519: typeof ed25519;
  sha512: typeof sha512;
}): VerifyEd25519ph {
  const overDigest = noble.eddsa(noble.ed25519.Point, noble.sha512, {
    domain: (data: Uint8Array) => concatBytes(DOM2, data),
    prehash: (digest: Uint8Array) => new Uint8Array(digest),
    zip215: false,
  });
  return (raw, digest, signature) => signature.length === 64 && overDigest.verify(signature, digest, raw);
}
