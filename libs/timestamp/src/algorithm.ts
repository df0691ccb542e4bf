import { derNull, derOid, DerReader, derSequence, derTag, readNull, readOid, type DerElement } from '#libs/encoding';
import type { HashAlgorithm, PublicKey, SignatureScheme } from '#libs/crypto';
import { oid } from './oid.js';

const hashes: ReadonlyMap<string, HashAlgorithm> = new Map([
  [oid.sha256, 'sha256'],
  [oid.sha384, 'sha384'],
  [oid.sha512, 'sha512'],
]);

/** The hash behind an OID, or undefined: SHA-1 is not one either. */
export function hashOfOid(dotted: string): HashAlgorithm | undefined {
  return hashes.get(dotted);
}

/**
 * The OID of an `AlgorithmIdentifier ::= SEQUENCE { algorithm OID, parameters ANY OPTIONAL }` whose parameters may be
 * NULL or absent, as RFC 5754 §2 asks readers to take it for hashes, and as RSA signatures occur.
 */
export function readAlgorithm(element: DerElement): string {
  const reader = new DerReader(element, derTag.sequence);
  const dotted = readOid(reader.next(derTag.oid));
  if (!reader.done) readNull(reader.next());
  reader.end();
  return dotted;
}

/** With NULL parameters, the form of message imprints and ESSCertIDv2. */
export function hashWithNull(hash: HashAlgorithm): Uint8Array {
  return derSequence(derOid(oid[hash]), derNull());
}

/** Without parameters, the form of the CMS fields (RFC 5754 §2: "absent" is what new software writes). */
export function hashBare(hash: HashAlgorithm): Uint8Array {
  return derSequence(derOid(oid[hash]));
}

const signatureOids: ReadonlyMap<string, SignatureScheme> = new Map<string, SignatureScheme>([
  [oid.ecdsaWithSha256, { kind: 'ecdsa', hash: 'sha256' }],
  [oid.ecdsaWithSha384, { kind: 'ecdsa', hash: 'sha384' }],
  [oid.ecdsaWithSha512, { kind: 'ecdsa', hash: 'sha512' }],
  [oid.sha256WithRsa, { kind: 'rsa-pkcs1', hash: 'sha256' }],
  [oid.sha384WithRsa, { kind: 'rsa-pkcs1', hash: 'sha384' }],
  [oid.sha512WithRsa, { kind: 'rsa-pkcs1', hash: 'sha512' }],
  [oid.ed25519, { kind: 'ed25519' }],
]);

/**
 * The scheme of a SignerInfo from its two algorithms, or undefined when we do not verify it or the two contradict each
 * other: a signature algorithm that names a hash must name that of `digest` (RFC 5754 §3.2, RFC 5753 §2.1.1).
 */
export function signatureScheme(signature: string, digest: HashAlgorithm): SignatureScheme | undefined {
  // RFC 3370 §3.2: the bare rsaEncryption leaves the hash to the digest algorithm.
  if (signature === oid.rsaEncryption) return { kind: 'rsa-pkcs1', hash: digest };
  const scheme = signatureOids.get(signature);
  return scheme !== undefined && 'hash' in scheme && scheme.hash !== digest ? undefined : scheme;
}

/** The OID for a scheme that a token can be signed with. */
export function signatureOid(scheme: SignatureScheme): string | undefined {
  for (const [dotted, known] of signatureOids) {
    const same = 'hash' in known ? 'hash' in scheme && known.hash === scheme.hash : true;
    if (known.kind === scheme.kind && same) return dotted;
  }
  return undefined;
}

/** Whether a key of this kind can have made a signature of that scheme. */
export function fitsKey(scheme: SignatureScheme, key: PublicKey): boolean {
  return key.kind === (scheme.kind.startsWith('rsa') ? 'rsa' : scheme.kind === 'ecdsa' ? 'ecdsa' : 'ed25519');
}
