import { concatBytes, encodeUtf8 } from '#libs/encoding';
import {
  matchesKey,
  type HashAlgorithm,
  type PublicKey,
  type SignatureAlgorithm,
  type SignatureScheme,
} from '#libs/crypto';
import {
  entryAlgorithms,
  knownAlgorithm,
  type CreateEntryRequest,
  type DsseEntry,
  type DsseRequest,
  type Entry,
  type HashedRekord,
  type LabelledVerifier,
  type Verifier,
} from './entry.js';
import { EntryError, invalid } from './error.js';

/** Checks a signature over a digest; servers give a synchronous one. */
export type VerifyDigest = (
  key: PublicKey,
  scheme: SignatureScheme,
  digest: Uint8Array,
  signature: Uint8Array,
) => boolean | Promise<boolean>;

/** What proving an entry needs from outside. */
export interface EntryVerification {
  /** The key of a verifier: the caller knows about certificates, and what it throws passes through. */
  readonly publicKeyOf: (verifier: Verifier) => PublicKey;
  readonly verifyDigest: VerifyDigest;
  readonly hash: (algorithm: HashAlgorithm, data: Uint8Array) => Uint8Array;
}

/**
 * Proves the signatures of a request and returns what is to be stored: a `hashedrekord` as it is, an envelope without
 * its payload.
 *
 * The label of a key must name its own type: readers compute the leaf hash from it, and a label that anyone may choose
 * would make one signature many entries.
 * @throws EntryError `ENTRY_INVALID` (`algorithm-mismatch`), `ENTRY_SIGNATURE`
 */
export async function verifyEntry(request: CreateEntryRequest, verification: EntryVerification): Promise<Entry> {
  return request.kind === 'dsse' ? verifyDsse(request, verification) : verifyHashedRekord(request, verification);
}

async function verifyHashedRekord(
  entry: HashedRekord,
  { publicKeyOf, verifyDigest }: EntryVerification,
): Promise<HashedRekord> {
  const key = publicKeyOf(entry.verifier);
  const algorithm = knownAlgorithm(entry.keyDetails);
  if (!matchesKey(algorithm, key)) throw mismatch(algorithm, key);
  if (!(await verifyDigest(key, algorithm.scheme, entry.digest, entry.signature))) {
    throw new EntryError('ENTRY_SIGNATURE', 'Cannot accept entry: signature does not fit digest and key');
  }
  return entry;
}

/**
 * Verifiers are tried in order until no signature is left; one that is tried and has signed nothing is an error.
 * @see secure-systems-lab/dsse, protocol.md
 */
async function verifyDsse(
  request: DsseRequest,
  { publicKeyOf, verifyDigest, hash }: EntryVerification,
): Promise<DsseEntry> {
  const encoded = preAuthenticationEncoding(request.payloadType, request.payload);
  const stored: DsseEntry['signatures'][number][] = [];
  const open = new Set(request.signatures);
  for (const labelled of request.verifiers) {
    if (open.size === 0) break;
    const key = publicKeyOf(labelled.verifier);
    const algorithm = signingAlgorithm(labelled, key);
    const digest = hash(algorithm.hash, encoded);
    let signed = 0;
    for (const signature of open) {
      if (!(await verifyDigest(key, algorithm.scheme, digest, signature))) continue;
      open.delete(signature);
      stored.push({ signature, ...labelled });
      signed++;
    }
    if (signed === 0) throw new EntryError('ENTRY_SIGNATURE', 'Cannot accept entry: a verifier has signed nothing');
  }
  if (open.size > 0) throw new EntryError('ENTRY_SIGNATURE', 'Cannot accept entry: a signature fits no verifier');
  return { kind: 'dsse', payloadHash: hash('sha256', request.payload), signatures: stored };
}

/**
 * The algorithm to check with. One client in use, sigstore-js, labels each certificate of an envelope
 * `PKIX_ECDSA_P256_SHA_256`. From the label it means only the hash, so a certificate with this label may hold any key
 * that is allowed with SHA-256.
 */
function signingAlgorithm({ keyDetails, verifier }: LabelledVerifier, key: PublicKey): SignatureAlgorithm {
  const algorithm = knownAlgorithm(keyDetails);
  if (matchesKey(algorithm, key)) return algorithm;
  if (keyDetails === 'PKIX_ECDSA_P256_SHA_256' && 'x509Certificate' in verifier) {
    const meant = entryAlgorithms.find((candidate) => candidate.hash === 'sha256' && matchesKey(candidate, key));
    if (meant !== undefined) return meant;
  }
  throw mismatch(algorithm, key);
}

/** `DSSEv1 SP len(type) SP type SP len(payload) SP payload`; lengths count bytes. */
export function preAuthenticationEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = encodeUtf8(payloadType);
  return concatBytes(encodeUtf8(`DSSEv1 ${type.length} `), type, encodeUtf8(` ${payload.length} `), payload);
}

function mismatch(algorithm: SignatureAlgorithm, key: PublicKey): EntryError {
  const held = key.kind === 'ecdsa' ? key.type.curve : key.kind === 'rsa' ? `RSA of ${key.type.bits} bits` : 'Ed25519';
  return invalid('algorithm-mismatch', `label is ${algorithm.keyDetails}, key is ${held}`);
}
