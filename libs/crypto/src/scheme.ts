import { CryptoError } from './error.js';
import { digestLengths, type SignatureScheme } from './port.js';
import type { PublicKey } from './public-key.js';

/**
 * Refuses a scheme that the key cannot be used with. A question put wrongly must not look like a bad signature.
 * @throws CryptoError `CRYPTO_SCHEME`
 */
export function checkScheme(key: PublicKey, scheme: SignatureScheme): void {
  const needed = scheme.kind === 'ecdsa' ? 'ecdsa' : scheme.kind.startsWith('rsa') ? 'rsa' : 'ed25519';
  if (key.kind !== needed) {
    throw new CryptoError('CRYPTO_SCHEME', `Cannot verify signature: scheme is ${scheme.kind}, key is ${key.kind}`);
  }
}

/**
 * Refuses a digest that the scheme cannot have made.
 * @throws CryptoError `CRYPTO_SCHEME`
 */
export function checkDigest(
  scheme: SignatureScheme,
  digest: Uint8Array,
): asserts scheme is Exclude<SignatureScheme, { kind: 'ed25519' }> {
  if (scheme.kind === 'ed25519') {
    throw new CryptoError('CRYPTO_SCHEME', 'Cannot verify digest: pure Ed25519 needs the whole message');
  }
  const length = digestLengths[scheme.kind === 'ed25519ph' ? 'sha512' : scheme.hash];
  if (digest.length !== length) {
    throw new CryptoError(
      'CRYPTO_SCHEME',
      `Cannot verify digest: ${digest.length} bytes given, scheme needs ${length}`,
    );
  }
}
