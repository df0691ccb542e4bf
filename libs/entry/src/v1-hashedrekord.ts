import { z } from 'zod';
import { CryptoError, digestLengths, ecdsaP1363ToDer, matchesKey, parseEcdsaSignature } from '#libs/crypto';
import type { PublicKey, SignatureScheme } from '#libs/crypto';
import { encodeBase64, encodeUtf8, equalBytes, parseHex } from '#libs/encoding';
import { refused } from './error.js';
import { boundedBody, decodeBase64, digestText, proposedKind, readKey } from './v1-kind.js';
import type { V1Ports } from './v1-proposal.js';
import { base64Text } from './v1-schema.js';

const spec = z
  .object({
    data: z
      .object({
        hash: z
          .object({
            algorithm: z.enum(['sha256', 'sha384', 'sha512']).describe('The hashing function of the digest'),
            value: z.string().max(128).describe('The digest in hexadecimal'),
          })
          .nullish(),
      })
      .describe('What was signed'),
    signature: z
      .object({
        content: base64Text('The signature: DER for ECDSA, Ed25519ph for Ed25519 keys').nullish(),
        publicKey: z
          .object({ content: base64Text('PEM of the public key, or of its certificate').nullish() })
          .nullish(),
      })
      .describe('The detached signature and what verifies it'),
  })
  .describe('Somebody signed something with this digest');

/**
 * Entry `hashedrekord` 0.0.1: a signature over a digest that the client made. The hash is stored as it came, the case of
 * its digits included; the key is stored as canonical PEM.
 * @see sigstore/rekor, pkg/types/hashedrekord/v0.0.1
 */
export const hashedRekord1 = proposedKind({
  kind: 'hashedrekord',
  version: '0.0.1',
  spec,
  keyPrefix: '',

  async prove({ data, signature }, ports) {
    if (!signature.content) throw refused('ENTRY_PROPOSAL', 'missing signature content');
    const signatureBytes = decodeBase64('signature content', signature.content);
    if (!signature.publicKey) throw refused('ENTRY_PROPOSAL', 'missing public key');
    if (!signature.publicKey.content) throw refused('ENTRY_PROPOSAL', 'missing publicKey content');
    const keyBytes = decodeBase64('public key content', signature.publicKey.content);
    const key = await readKey(ports.pki.x509, keyBytes);
    if (!data.hash) throw refused('ENTRY_PROPOSAL', 'missing hash');
    const digest = digestOf(data.hash);

    const { algorithm, value } = data.hash;
    const publicKey = key.publicKey;
    if (publicKey === undefined) throw new Error('A key in PEM has no public key');
    const scheme = schemeFor(publicKey, algorithm);
    if (scheme === undefined || !(await isSigned(publicKey, scheme, digest, signatureBytes, ports))) {
      throw refused('ENTRY_SIGNATURE', 'verifying signature: invalid signature');
    }
    if (!isAllowed(publicKey, scheme, algorithm, ports)) {
      throw refused('ENTRY_PROPOSAL', 'entry algorithms are not allowed');
    }

    // Most clients send canonical PEM: then its base64 is at hand.
    const keyText = equalBytes(key.canonical, keyBytes) ? signature.publicKey.content : encodeBase64(key.canonical);
    // RFC 8785 by hand: the members are in order, and hexadecimal and base64 need no escapes.
    const text =
      `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"${algorithm}",` +
      `"value":"${value}"}},"signature":{"content":"${signature.content}","publicKey":{"content":"${keyText}"}}}}`;
    return { body: boundedBody(encodeUtf8(text)), keys: [key], digests: [digestText(data.hash)] };
  },

  read({ data, signature }) {
    if (!signature.publicKey?.content) throw refused('ENTRY_PROPOSAL', 'missing public key');
    return {
      verifiers: [{ format: 'x509', content: decodeBase64('public key content', signature.publicKey.content) }],
      digests: data.hash ? [digestText(data.hash)] : [],
    };
  },
});

type Hash = NonNullable<z.output<typeof spec>['data']['hash']>;

function digestOf({ algorithm, value }: Hash): Uint8Array {
  if (value.length !== 2 * digestLengths[algorithm] || !/^[0-9a-fA-F]+$/.test(value)) {
    throw refused('ENTRY_PROPOSAL', 'invalid value for hash');
  }
  return parseHex(value);
}

/** How a key signs when only the digest is given; nothing if it cannot. */
function schemeFor(key: PublicKey, hash: Hash['algorithm']): SignatureScheme | undefined {
  switch (key.kind) {
    case 'ecdsa':
      return { kind: 'ecdsa', hash };
    case 'rsa':
      return { kind: 'rsa-pkcs1', hash };
    case 'ed25519':
      // Pure Ed25519 signs the whole message; the pre-hashed form uses SHA-512 (RFC 8032 §5.1).
      return hash === 'sha512' ? { kind: 'ed25519ph' } : undefined;
  }
}

async function isSigned(
  key: PublicKey,
  scheme: SignatureScheme,
  digest: Uint8Array,
  signature: Uint8Array,
  { verifyDigest }: V1Ports,
): Promise<boolean> {
  const answer = verifyDigest(key, scheme, digest, signature);
  if (answer instanceof Promise ? await answer : answer) return true;
  const der = key.kind === 'ecdsa' ? fromP1363(signature) : undefined;
  return der !== undefined && (await verifyDigest(key, scheme, digest, der));
}

/** DER of what is not DER but may be r ‖ s of IEEE P1363, which upstream's library takes too. */
function fromP1363(signature: Uint8Array): Uint8Array | undefined {
  try {
    parseEcdsaSignature(signature);
    return undefined;
  } catch (error) {
    if (!(error instanceof CryptoError)) throw error;
  }
  try {
    return ecdsaP1363ToDer(signature);
  } catch (error) {
    if (!(error instanceof CryptoError)) throw error;
    return undefined;
  }
}

function isAllowed(key: PublicKey, scheme: SignatureScheme, hash: string, { algorithms }: V1Ports): boolean {
  return algorithms.some(
    (algorithm) => algorithm.scheme.kind === scheme.kind && algorithm.hash === hash && matchesKey(algorithm, key),
  );
}
