import { type DerElement, derNull, derOid, DerReader, derSequence, derTag, equalBytes, readOid } from '#libs/encoding';
import type { PublicKey, SignatureScheme } from '#libs/crypto';
import { X509Error } from './errors.js';
import { oid } from './oid.js';

const schemes: ReadonlyMap<string, SignatureScheme> = new Map<string, SignatureScheme>([
  [oid.ecdsaWithSha256, { kind: 'ecdsa', hash: 'sha256' }],
  [oid.ecdsaWithSha384, { kind: 'ecdsa', hash: 'sha384' }],
  [oid.ecdsaWithSha512, { kind: 'ecdsa', hash: 'sha512' }],
  [oid.sha256WithRsa, { kind: 'rsa-pkcs1', hash: 'sha256' }],
  [oid.sha384WithRsa, { kind: 'rsa-pkcs1', hash: 'sha384' }],
  [oid.sha512WithRsa, { kind: 'rsa-pkcs1', hash: 'sha512' }],
  [oid.ed25519, { kind: 'ed25519' }],
]);

const nullDer = derNull();

/**
 * The identifier of an AlgorithmIdentifier: `SEQUENCE { algorithm OID, parameters ANY OPTIONAL }`.
 * Parameters of the algorithms we know are fixed (RFC 5758 §3.2 and RFC 8410 §3: absent; RFC 8017 §A.2.4: NULL), those of others are not looked at.
 * @throws X509Error `X509_MALFORMED`
 */
export function readAlgorithm(element: DerElement): string {
  const reader = new DerReader(element, derTag.sequence);
  const algorithm = readOid(reader.next(derTag.oid));
  const parameters = reader.done ? undefined : reader.next();
  reader.end();
  const scheme = schemes.get(algorithm);
  if (!scheme) return algorithm;
  const asRequired = scheme.kind === 'rsa-pkcs1' ? parameters && equalBytes(parameters.bytes, nullDer) : !parameters;
  if (!asRequired) {
    throw new X509Error(
      'X509_MALFORMED',
      `Cannot read algorithm ${algorithm}: parameters are not as its standard fixes them`,
    );
  }
  return algorithm;
}

/** The scheme behind a signature algorithm's OID, or undefined when we do not verify it (SHA-1, DSA, RSASSA-PSS, …). */
export function schemeOfAlgorithm(algorithm: string): SignatureScheme | undefined {
  return schemes.get(algorithm);
}

/** Whether a key of this type can have made a signature of that scheme. */
export function schemeFitsKey(scheme: SignatureScheme, key: PublicKey): boolean {
  switch (scheme.kind) {
    case 'ecdsa':
      return key.type.kind === 'ecdsa';
    case 'rsa-pkcs1':
    case 'rsa-pss':
      return key.type.kind === 'rsa';
    case 'ed25519':
    case 'ed25519ph':
      return key.type.kind === 'ed25519';
  }
}

/**
 * The scheme with which a CA key signs certificates: RSA with SHA-256, ECDSA with the hash of its curve's size, Ed25519 (Fulcio's certificate specification).
 */
export function issuingScheme(key: PublicKey): SignatureScheme {
  switch (key.type.kind) {
    case 'rsa':
      return { kind: 'rsa-pkcs1', hash: 'sha256' };
    case 'ed25519':
      return { kind: 'ed25519' };
    case 'ecdsa':
      return {
        kind: 'ecdsa',
        hash: ({ 'P-256': 'sha256', 'P-384': 'sha384', 'P-521': 'sha512' } as const)[key.type.curve],
      };
  }
}

/** Whether two schemes are the same. */
export function sameScheme(a: SignatureScheme, b: SignatureScheme): boolean {
  return a.kind === b.kind && ('hash' in a ? a.hash : '') === ('hash' in b ? b.hash : '');
}

const encoded = [...schemes].map(([algorithm, scheme]) => ({
  scheme,
  der: scheme.kind === 'rsa-pkcs1' ? derSequence(derOid(algorithm), nullDer) : derSequence(derOid(algorithm)),
}));

/** The DER AlgorithmIdentifier of a scheme that may sign certificates, or undefined (RSASSA-PSS and Ed25519ph may not). */
export function encodeAlgorithm(scheme: SignatureScheme): Uint8Array | undefined {
  return encoded.find((known) => sameScheme(known.scheme, scheme))?.der;
}
