import {
  algorithmForKey,
  checkKeyStrength,
  CryptoError,
  type CryptoPort,
  ecdsaP1363ToDer,
  matchesKey,
  parseEcdsaSignature,
  parsePublicKey,
  parsePublicKeyPem,
  type PublicKey,
  type SignatureAlgorithm,
  signatureAlgorithms,
  type SignatureScheme,
} from '#libs/crypto';
import { EncodingError, encodeUtf8, parsePem, parseUtf8 } from '#libs/encoding';
import type { Principal } from '#libs/identity';
import { csrScheme, parseCsr, schemeOfAlgorithm } from '#libs/x509';
import { CaError } from './errors.js';

/** How a client shows that it holds the key to be certified. */
export type KeyProof =
  | {
      readonly kind: 'public-key';
      /** PEM, or DER of a SubjectPublicKeyInfo. */
      readonly publicKey: Uint8Array;
      /** Signature over the principal's challenge. */
      readonly signature: Uint8Array;
    }
  | {
      readonly kind: 'request';
      /** PKCS#10 in PEM. */
      readonly csr: Uint8Array;
    }
  | { readonly kind: 'missing' };

/** What Fulcio certifies unless told otherwise (flag `--client-signing-algorithms`). */
export const defaultClientAlgorithms: readonly string[] = [
  'ecdsa-sha2-256-nistp256',
  'ecdsa-sha2-384-nistp384',
  'ecdsa-sha2-512-nistp521',
  'rsa-sign-pkcs1-2048-sha256',
  'rsa-sign-pkcs1-3072-sha256',
  'rsa-sign-pkcs1-4096-sha256',
  'ed25519',
];

/**
 * The key that the client has proven to hold. Strength comes before the signature, so that a weak key is called weak; which
 * algorithms are permitted comes last (Fulcio: pkg/server/grpc_server.go).
 * `principal.challenge`: what a bare signature is made over; a certificate request signs itself instead.
 * @throws CaError, CryptoError, X509Error
 */
export async function proveKey(
  proof: KeyProof,
  principal: Pick<Principal, 'challenge' | 'challengeClaim'>,
  parts: { readonly permitted: readonly SignatureAlgorithm[]; readonly crypto: CryptoPort },
): Promise<PublicKey> {
  if (proof.kind === 'missing') {
    throw new CaError(
      'CA_KEY_MISSING',
      'Cannot certify key: the request has neither a public key nor a certificate request',
      { shown: 'the request has neither a public key nor a certificate request' },
    );
  }
  const { key, scheme, message, signature } =
    proof.kind === 'request' ? readRequest(proof.csr) : readKey(proof.publicKey, proof.signature, principal.challenge);
  if (!(await parts.crypto.verify(key, scheme, message, signature))) {
    throw new CaError('CA_PROOF', `Cannot certify key: the ${proof.kind} is not signed by the key itself`, {
      shown:
        proof.kind === 'request'
          ? 'the certificate request is not signed by its own key'
          : describeProof(principal.challengeClaim, key),
    });
  }
  if (!parts.permitted.some((algorithm) => matchesKey(algorithm, key) && isSameScheme(algorithm.scheme, scheme))) {
    const found = `${goKeyTypes[key.kind]}, ${'hash' in scheme ? goHashes[scheme.hash] : 'no hash'}`;
    throw new CaError('CA_ALGORITHM_NOT_PERMITTED', `Cannot certify key: ${found} is not permitted`, {
      shown: `${found}; permitted: ${parts.permitted.map(({ flag }) => flag).join(', ')}`,
    });
  }
  return key;
}

/** The registry rows of these flag values. @throws Error naming the unknown one */
export function clientAlgorithms(flags: readonly string[]): SignatureAlgorithm[] {
  return flags.map((flag) => {
    const row = signatureAlgorithms.find((algorithm) => algorithm.flag === flag);
    if (row === undefined) throw new Error(`Cannot permit client algorithm ${flag}: it is not in the registry`);
    return row;
  });
}

/** What a bare signature must be: over which claim, never its value, and by which algorithm. */
function describeProof(claim: string, key: PublicKey): string {
  const { flag } = algorithmForKey(key);
  return `proof of possession must be a signature by this key (${flag}) over the value of the token's claim ${claim}`;
}

interface SignedByKey {
  readonly key: PublicKey;
  readonly scheme: SignatureScheme;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

function readKey(bytes: Uint8Array, signature: Uint8Array, challenge: string): SignedByKey {
  const key = startsLikePem(bytes) ? parsePublicKeyPem(readText(bytes)) : parsePublicKey(bytes);
  checkKeyStrength(key);
  // The key fixes the scheme; a client cannot choose a hash. RSA means PKCS#1 v1.5, whatever name the client gives it.
  const { scheme } = algorithmForKey(key);
  return { key, scheme, message: encodeUtf8(challenge), signature: derSignature(key, signature) };
}

/** WebCrypto makes r ‖ s (IEEE P1363) where everybody else makes DER; both are taken. */
function derSignature(key: PublicKey, signature: Uint8Array): Uint8Array {
  if (key.kind !== 'ecdsa' || signature.length !== key.point.length - 1) return signature;
  try {
    parseEcdsaSignature(signature);
    return signature;
  } catch (error) {
    if (error instanceof CryptoError) return ecdsaP1363ToDer(signature);
    throw error;
  }
}

function readRequest(bytes: Uint8Array): SignedByKey {
  const csr = parseCsr(requestDer(bytes));
  checkKeyStrength(csr.publicKey);
  if (schemeOfAlgorithm(csr.signatureAlgorithm) === undefined) {
    const found = goSignatureAlgorithms[csr.signatureAlgorithm] ?? '0';
    const shown = `${found}; requests may be signed by ECDSA or RSA PKCS#1 v1.5 with SHA-256, SHA-384 or SHA-512, or by Ed25519`;
    throw new CaError('CA_CSR_ALGORITHM', `Cannot read certificate request: algorithm is ${csr.signatureAlgorithm}`, {
      shown,
    });
  }
  return { key: csr.publicKey, scheme: csrScheme(csr), message: csr.info, signature: csr.signature };
}

function requestDer(bytes: Uint8Array): Uint8Array {
  try {
    const [block, ...more] = parsePem(parseUtf8(bytes));
    const isRequest = block?.label === 'CERTIFICATE REQUEST' || block?.label === 'NEW CERTIFICATE REQUEST';
    if (isRequest && more.length === 0) return block.der;
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw new CaError('CA_CSR_MALFORMED', 'Cannot read certificate request: it is not PEM', {
      cause,
      shown: 'it is not PEM',
    });
  }
  const shown = 'expected one PEM block CERTIFICATE REQUEST';
  throw new CaError('CA_CSR_MALFORMED', `Cannot read certificate request: ${shown}`, { shown });
}

/** A dash, perhaps after whitespace: DER begins with 0x30. */
function startsLikePem(bytes: Uint8Array): boolean {
  const first = bytes.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d);
  return first === 0x2d;
}

function readText(bytes: Uint8Array): string {
  try {
    return parseUtf8(bytes);
  } catch (cause) {
    throw new CryptoError('CRYPTO_KEY_MALFORMED', 'Cannot read public key: PEM is not UTF-8', { cause });
  }
}

function isSameScheme(a: SignatureScheme, b: SignatureScheme): boolean {
  return a.kind === b.kind && ('hash' in a ? a.hash : '') === ('hash' in b ? b.hash : '');
}

// Fulcio's messages print Go's types and names, and clients have been written against them.
const goKeyTypes = { ecdsa: '*ecdsa.PublicKey', rsa: '*rsa.PublicKey', ed25519: 'ed25519.PublicKey' } as const;
const goHashes = { sha256: 'SHA-256', sha384: 'SHA-384', sha512: 'SHA-512' } as const;
const goSignatureAlgorithms: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.4': 'MD5-RSA',
  '1.2.840.113549.1.1.5': 'SHA1-RSA',
  '1.2.840.113549.1.1.10': 'SHA256-RSAPSS',
  '1.2.840.10040.4.3': 'DSA-SHA1',
  '2.16.840.1.101.3.4.3.2': 'DSA-SHA256',
  '1.2.840.10045.4.1': 'ECDSA-SHA1',
};
