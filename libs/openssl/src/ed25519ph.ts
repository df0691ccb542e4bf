import type { ed25519ph } from '@noble/curves/ed25519.js';
import { ed25519phVerifier, type VerifyEd25519ph } from '#libs/crypto';

// OpenSSL 3.0 has no Ed25519ph. `require`, because signing and verifying are synchronous; late, as is what makes it, because few keys need it.
const require = (name: string): unknown => process.getBuiltinModule('node:module').createRequire(import.meta.url)(name);
const curves = '@noble/curves/ed25519.js';

let verify: VerifyEd25519ph | undefined;

/** As `ed25519phVerifier`. */
export function verifyEd25519ph(raw: Uint8Array, digest: Uint8Array, signature: Uint8Array): boolean {
  type Noble = Parameters<typeof ed25519phVerifier>[0];
  verify ??= ed25519phVerifier({
    ...(require('@noble/curves/abstract/edwards.js') as Pick<Noble, 'eddsa'>),
    ...(require(curves) as Pick<Noble, 'ed25519'>),
    ...(require('@noble/hashes/sha2.js') as Pick<Noble, 'sha512'>),
  });
  return verify(raw, digest, signature);
}

/** `seed`: the 32-byte private key. */
export function signEd25519ph(seed: Uint8Array, message: Uint8Array): Uint8Array {
  const noble = require(curves) as { ed25519ph: typeof ed25519ph };
  return noble.ed25519ph.sign(message, seed);
}
