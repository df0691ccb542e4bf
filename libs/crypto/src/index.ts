/**
 * Public keys, what a signature is, and the port through which formats and verifiers ask for cryptography.
 * `parsePublicKey` reads a SubjectPublicKeyInfo into plain data, `checkKeyStrength` refuses breakable keys,
 * `signatureAlgorithms` is the registry of what Sigstore calls `PublicKeyDetails`. `CryptoPort` is filled by
 * node:crypto in `#libs/openssl` and by @noble here, for browsers.
 *
 * Not here: private keys (`#libs/openssl`), certificates (`#libs/x509`), and anything of `node:*`.
 *
 * ```ts
 * const key = parsePublicKeyPem(pem); // { kind: 'ecdsa', type: { kind: 'ecdsa', curve: 'P-256' }, spki, point }
 * const { scheme } = algorithmForKey(key); // { kind: 'ecdsa', hash: 'sha256' }
 * await (await loadNobleCrypto()).verify(key, scheme, message, derSignature); // true or false
 * ```
 */
export { CryptoError, type CryptoErrorCode } from './error.js';
import type { CryptoPort } from './port.js';
export { digestLengths, type CryptoPort, type HashAlgorithm, type SignatureScheme, type Signer } from './port.js';
export { curves, isOnCurve, type Curve, type CurveName } from './curve.js';
export { bitLength, integerFromBytes, integerToBytes } from './integer.js';
export {
  parsePublicKey,
  parsePublicKeyPem,
  parseRsaPublicKey,
  rsaPublicKey,
  type EcdsaPublicKey,
  type Ed25519PublicKey,
  type KeyType,
  type PublicKey,
  type RsaPublicKey,
} from './public-key.js';
export { checkKeyStrength } from './key-strength.js';
export {
  algorithmForKey,
  findAlgorithm,
  matchesKey,
  signatureAlgorithms,
  type HashName,
  type KeyPattern,
  type SignatureAlgorithm,
} from './algorithm.js';
export { checkDigest, checkScheme } from './scheme.js';
export {
  ecdsaDerToP1363,
  ecdsaP1363ToDer,
  encodeEcdsaSignature,
  parseEcdsaSignature,
  type EcdsaSignature,
} from './ecdsa-signature.js';
export { encodePkcs1Digest, isPkcs1Encoding, isPssEncoding, rsaEncodedMessage, rsaSignatureLength } from './rsa.js';
export { ed25519phVerifier, type VerifyEd25519ph } from './ed25519ph.js';

/** The port for browsers. Loaded when asked for: @noble takes longer to load than a signature takes to verify. */
export async function loadNobleCrypto(): Promise<CryptoPort> {
  return (await import('./noble.js')).nobleCrypto;
}
