import { randomBytes } from 'node:crypto';
import type { CryptoPort, PublicKey } from '#libs/crypto';
import { hash, plain } from './hash.js';
import { verifyDigestAsync, verifySync } from './verify.js';

/** The port of `#libs/crypto` filled by node:crypto. */
export const opensslCrypto: CryptoPort = {
  hash,
  verify: async (key: PublicKey, scheme, message, signature) => verifySync(key, scheme, message, signature),
  verifyDigest: verifyDigestAsync,
  randomBytes: (length) => plain(randomBytes(length)),
};
