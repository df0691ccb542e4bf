import { findAlgorithm, type HashAlgorithm, type SignatureAlgorithm } from '#libs/crypto';
import { EntryError } from './error.js';

/** What checks a signature: a bare key (DER SubjectPublicKeyInfo) or a certificate that holds it (DER). */
export type Verifier = { readonly publicKey: Uint8Array } | { readonly x509Certificate: Uint8Array };

/** A verifier and the name its algorithm has in Sigstore's `PublicKeyDetails`, as the client labelled it. */
export interface LabelledVerifier {
  readonly keyDetails: string;
  readonly verifier: Verifier;
}

/** Entry `hashedrekord` 0.0.2: somebody signed something with this digest. */
export interface HashedRekord extends LabelledVerifier {
  readonly kind: 'hashedrekord';
  /** Raw digest, by the hash that `keyDetails` names. */
  readonly digest: Uint8Array;
  /** Raw signature over what has that digest; DER for ECDSA. */
  readonly signature: Uint8Array;
}

/** A DSSE envelope as a client proposes it for the former entry type `dsse` 0.0.2. */
export interface DsseRequest {
  readonly kind: 'dsse';
  readonly payloadType: string;
  readonly payload: Uint8Array;
  /** Raw signatures over the envelope's pre-authentication encoding, 1 to 10; key ids are dropped, they prove nothing. */
  readonly signatures: readonly Uint8Array[];
  /** 1 to 10, all different. */
  readonly verifiers: readonly LabelledVerifier[];
}

/** Entry `dsse` 0.0.2: what is stored of an envelope after its signatures were verified. */
export interface DsseEntry {
  readonly kind: 'dsse';
  /** SHA-256 of the payload, whatever the signatures use. */
  readonly payloadHash: Uint8Array;
  readonly signatures: readonly (LabelledVerifier & { readonly signature: Uint8Array })[];
}

export type CreateEntryRequest = HashedRekord | DsseRequest;

/** What can be written down as the body of an entry. */
export type Entry = HashedRekord | DsseEntry;

/** A digest and what made it. */
export interface Digest {
  readonly algorithm: HashAlgorithm;
  readonly bytes: Uint8Array;
}

/**
 * What clients may sign entries with: each works over a digest. A log may allow fewer, never more.
 * @see the Rekor v2 specification of sigstore/architecture-docs, §6.1
 */
export const entryAlgorithms: readonly SignatureAlgorithm[] = [
  'PKIX_ECDSA_P256_SHA_256',
  'PKIX_ECDSA_P384_SHA_384',
  'PKIX_ECDSA_P521_SHA_512',
  'PKIX_RSA_PKCS1V15_2048_SHA256',
  'PKIX_RSA_PKCS1V15_3072_SHA256',
  'PKIX_RSA_PKCS1V15_4096_SHA256',
  'PKIX_ED25519_PH',
].map(knownAlgorithm);

/**
 * The algorithms of a configuration, each by its `flag` or `keyDetails`.
 * @throws EntryError `ENTRY_INVALID` (`algorithm-not-allowed`) for a name that is not one of `entryAlgorithms`
 */
export function chooseEntryAlgorithms(names: readonly string[]): readonly SignatureAlgorithm[] {
  return names.map((name) => {
    const chosen = entryAlgorithms.find(({ flag, keyDetails }) => name === flag || name === keyDetails);
    if (chosen === undefined) {
      throw new EntryError('ENTRY_INVALID', `Cannot allow algorithm ${JSON.stringify(name)}: entries cannot use it`, {
        reason: 'algorithm-not-allowed',
      });
    }
    return chosen;
  });
}

/** The row of a label that has been checked; to know none is a mistake of ours. */
export function knownAlgorithm(keyDetails: string): SignatureAlgorithm {
  const algorithm = findAlgorithm(keyDetails);
  if (algorithm === undefined) throw new Error('Algorithm is not in the registry');
  return algorithm;
}

/** The bytes of a verifier, whichever it is. */
export function verifierBytes(verifier: Verifier): Uint8Array {
  return 'publicKey' in verifier ? verifier.publicKey : verifier.x509Certificate;
}
