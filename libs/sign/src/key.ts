import { createHash, createPrivateKey, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import {
  algorithmForKey,
  checkKeyStrength,
  findAlgorithm,
  parsePublicKey,
  type PublicKey,
  type SignatureAlgorithm,
} from '#libs/crypto';
import { loadSigner } from '#libs/openssl';
import { SignError } from './error.js';

/** A private key that signs artifacts: held in memory, never handed out. */
export interface SigningKey {
  readonly publicKey: PublicKey;
  /** What a log calls this kind of signature; it fixes the hash. */
  readonly algorithm: SignatureAlgorithm;
  /** Signs and hashes in one pass, so that a file of any size needs little memory and cannot change in between. */
  signChunks(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<SignedChunks>;
  /**
   * The same key, signing as a log with Rekor's API v1 verifies envelopes, and readers of what it logged do: with SHA-256 whatever the curve, Ed25519
   * without a hash before it. Absent where the key signs like that anyway.
   * @see sigstore/rekor: pkg/types/dsse/v0.0.1/entry.go, verifyEnvelope
   */
  readonly forEnvelopesV1?: SigningKey;
}

/** `signature`: DER for ECDSA, raw otherwise. `digest`: the chunks' hash by the key's algorithm. */
export interface SignedChunks {
  signature: Uint8Array;
  digest: Uint8Array;
}

/** A new P-256 key, the one kind that every Sigstore client verifies. */
export function generateSigningKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
  const certified = parsePublicKey(spki);
  return streamingKey(privateKey, certified, algorithmForKey(certified));
}

/**
 * Reads a private key in PEM: PKCS#8 (also encrypted), SEC1 or PKCS#1. Ed25519 signs as Ed25519ph, because a log verifies over a digest; envelopes
 * for a log of version 1 are the exception (`forEnvelopesV1`).
 *
 * @throws SignError `SIGN_KEY`
 */
export function loadSigningKey(pem: string, passphrase?: string): SigningKey {
  try {
    const given = passphrase === undefined ? {} : { passphrase };
    const { publicKey } = loadSigner(pem, given);
    checkKeyStrength(publicKey);
    if (publicKey.type.kind === 'ed25519') {
      return { ...ed25519Key(pem, 'PKIX_ED25519_PH', given), forEnvelopesV1: ed25519Key(pem, 'PKIX_ED25519', given) };
    }
    const privateKey = createPrivateKey({ key: pem, ...given });
    const key = streamingKey(privateKey, publicKey, algorithmForKey(publicKey));
    const withSha256 = sha256Rows.get(key.algorithm.keyDetails);
    if (withSha256 === undefined) return key;
    return { ...key, forEnvelopesV1: streamingKey(privateKey, publicKey, rowOf(withSha256)) };
  } catch (cause) {
    if (cause instanceof SignError) throw cause;
    throw new SignError(
      'SIGN_KEY',
      `Cannot use the private key: ${cause instanceof Error ? cause.message : 'unreadable'}`,
      {
        cause,
        cure: 'Give a PEM private key: ECDSA P-256, P-384 or P-521, Ed25519, or RSA of 2048, 3072 or 4096 bits',
      },
    );
  }
}

/** What a key with another hash is called with SHA-256. */
const sha256Rows: ReadonlyMap<string, string> = new Map([
  ['PKIX_ECDSA_P384_SHA_384', 'PKIX_ECDSA_P384_SHA_256'],
  ['PKIX_ECDSA_P521_SHA_512', 'PKIX_ECDSA_P521_SHA_256'],
]);

function rowOf(keyDetails: string): SignatureAlgorithm {
  const row = findAlgorithm(keyDetails);
  if (row === undefined) throw new Error(`The registry lost ${keyDetails}`);
  return row;
}

function streamingKey(privateKey: KeyObject, publicKey: PublicKey, algorithm: SignatureAlgorithm): SigningKey {
  return {
    publicKey,
    algorithm,
    async signChunks(chunks) {
      const signer = createSign(algorithm.hash);
      const hash = createHash(algorithm.hash);
      for await (const chunk of chunks) {
        signer.update(chunk);
        hash.update(chunk);
      }
      return { signature: new Uint8Array(signer.sign(privateKey)), digest: new Uint8Array(hash.digest()) };
    },
  };
}

function ed25519Key(pem: string, keyDetails: string, options: { passphrase?: string }): SigningKey {
  const algorithm = rowOf(keyDetails);
  const signer = loadSigner(pem, { ...options, scheme: algorithm.scheme });
  return {
    publicKey: signer.publicKey,
    algorithm,
    async signChunks(chunks) {
      const hash = createHash('sha512');
      const parts: Uint8Array[] = [];
      for await (const chunk of chunks) {
        hash.update(chunk);
        parts.push(chunk);
      }
      // The signer takes the message whole: the one algorithm that costs memory here.
      return { signature: signer.sign(Buffer.concat(parts)), digest: new Uint8Array(hash.digest()) };
    },
  };
}
