/**
 * Cryptography by OpenSSL, through node:crypto: the port of `#libs/crypto` for servers, the same as plain functions for
 * their hot paths, and the private keys that sign. Public keys are imported once and kept in a bounded cache.
 *
 * Not here: key formats and rules (`#libs/crypto`), and anything that a browser should run.
 *
 * ```ts
 * const signer = generateSigner(); // P-256 with SHA-256
 * const signature = signer.sign(message); // DER
 * verifySync(signer.publicKey, signer.scheme, message, signature); // true
 * verifyDigestSync(signer.publicKey, signer.scheme, sha256(message), signature); // true, see ecdsa-digest.ts
 * ```
 */
export { createHasher, sha256, type Hasher } from './hash.js';
export { opensslCrypto } from './port.js';
export { threadedCrypto, type ThreadedCrypto } from './verify-threads.js';
export { generateSigner, loadSigner, type GeneratedSigner } from './signer.js';
export { verifyDigestAsync, verifyDigestSync, verifySync } from './verify.js';
