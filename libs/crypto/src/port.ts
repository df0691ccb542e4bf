import type { PublicKey } from './public-key.js';

/** The hashes of the SHA-2 family that signatures here are made with (FIPS 180-4). */
export type HashAlgorithm = 'sha256' | 'sha384' | 'sha512';

/** Digest lengths in bytes. */
export const digestLengths: Readonly<Record<HashAlgorithm, number>> = { sha256: 32, sha384: 48, sha512: 64 };

/**
 * What a signature is, apart from the key: the mathematics, and the hash that the message goes through first.
 *
 * - `ecdsa`: FIPS 186-5 §6, the signature in DER (RFC 3279 §2.2.3).
 * - `rsa-pkcs1`, `rsa-pss`: RFC 8017 §8.2 and §8.1; MGF1 uses the same hash, a salt of any length is accepted.
 * - `ed25519`: RFC 8032 §5.1, pure: it signs the message itself, so a digest alone can never be verified.
 * - `ed25519ph`: RFC 8032 §5.1 with SHA-512 in front and an empty context.
 */
export type SignatureScheme =
  | { readonly kind: 'ecdsa'; readonly hash: HashAlgorithm }
  | { readonly kind: 'rsa-pkcs1'; readonly hash: HashAlgorithm }
  | { readonly kind: 'rsa-pss'; readonly hash: HashAlgorithm }
  | { readonly kind: 'ed25519' }
  | { readonly kind: 'ed25519ph' };

/**
 * The cryptography that formats and verifiers ask for. Filled by node:crypto on servers (`#libs/openssl`) and by
 * `loadNobleCrypto` in browsers; a library that takes it as an argument runs in both.
 * Each member works apart from the others, so that one can be handed on alone.
 */
export interface CryptoPort {
  /** One-shot digest. SHA-1 is here for key identifiers only (RFC 5280 §4.2.1.2), never for a signature. */
  hash(this: void, algorithm: HashAlgorithm | 'sha1', data: Uint8Array): Uint8Array;
  /**
   * Whether `signature` over `message` is by `key`. A signature of the wrong shape is `false`.
   * @throws CryptoError `CRYPTO_SCHEME` if the key cannot be used with the scheme at all
   */
  verify(
    this: void,
    key: PublicKey,
    scheme: SignatureScheme,
    message: Uint8Array,
    signature: Uint8Array,
  ): Promise<boolean>;
  /**
   * The same for a message of which only the digest is known; `digest` has the length of the scheme's hash.
   * @throws CryptoError `CRYPTO_SCHEME` if the key does not fit the scheme, the digest has another length, or the
   * scheme is pure Ed25519
   */
  verifyDigest(
    this: void,
    key: PublicKey,
    scheme: SignatureScheme,
    digest: Uint8Array,
    signature: Uint8Array,
  ): Promise<boolean>;
  /** Bytes from the platform's generator. */
  randomBytes(this: void, length: number): Uint8Array;
}

/** A private key that signs; it never gives itself away. */
export interface Signer {
  readonly publicKey: PublicKey;
  readonly scheme: SignatureScheme;
  /** ECDSA signatures are DER, RSA signatures as long as the modulus, Ed25519 signatures 64 bytes. */
  sign(message: Uint8Array): Uint8Array;
}
