import { derTag, DerReader, equalBytes, parseDer, readOctetString, readOid, type DerElement } from '#libs/encoding';
import type { CryptoPort } from '#libs/crypto';
import {
  basicConstraints,
  buildChain,
  extendedKeyUsage,
  keyUsage,
  parseCertificate,
  X509Error,
  type Certificate,
} from '#libs/x509';
import { fitsKey, hashOfOid, readAlgorithm, signatureScheme } from './algorithm.js';
import { converting, TimestampError } from './errors.js';
import type { MessageImprint } from './imprint.js';
import { oid } from './oid.js';
import { parseTimestampResponse, type SignerInfo, type Timestamp } from './response.js';

/** An authority as a trusted root lists it. */
export interface TrustedAuthority {
  /** Root last. If the first is not a CA, it is the one certificate that may sign. */
  readonly certChain: readonly Certificate[];
  /** When the authority is trusted, both ends included; without an end: still. */
  readonly validFor: { readonly start: Date; readonly end?: Date };
}

export interface VerifyTimestampOptions<A extends TrustedAuthority> {
  /** What was stamped, to be hashed with the token's hash: for a bundle its raw signature bytes. Or give `imprint`. */
  readonly signature?: Uint8Array;
  /** The digest of what was stamped; the token must be over this hash and no other. Or give `signature`. */
  readonly imprint?: MessageImprint;
  readonly authorities: readonly A[];
  readonly crypto: CryptoPort;
  /** Contents of the nonce's INTEGER, as sent; the token must echo it. */
  readonly nonce?: Uint8Array;
  /** Dotted OID of the policy that was asked for; the token must be under this one. */
  readonly policy?: string;
}

/** What is now proven: `authority` says that the data existed at `genTime`. */
export interface VerifiedTimestamp<A extends TrustedAuthority = TrustedAuthority> {
  readonly genTime: Date;
  readonly authority: A;
  /** The certificate that signed. */
  readonly certificate: Certificate;
  readonly timestamp: Timestamp;
}

/**
 * Verifies a DER TimeStampResp against trusted authorities, at the time it states itself: certificates that have
 * expired since do not matter.
 * @throws TimestampError the codes of `parseTimestampResponse`, and in the order of the checks: `TIMESTAMP_EXTENSION`,
 *   `TIMESTAMP_IMPRINT`, `TIMESTAMP_NONCE`, `TIMESTAMP_POLICY`, `TIMESTAMP_AUTHORITY_UNKNOWN`,
 *   `TIMESTAMP_OUTSIDE_VALIDITY`, `TIMESTAMP_CERTIFICATE`, `TIMESTAMP_ATTRIBUTE`, `TIMESTAMP_SIGNATURE`,
 *   `TIMESTAMP_CHAIN`. If several authorities have the certificate, one must pass; otherwise the first one's error is
 *   thrown
 * @see RFC 3161 §2.2 and §2.3, RFC 5652 §5.4 and §5.6, RFC 5816
 */
export async function verifyTimestamp<A extends TrustedAuthority>(
  der: Uint8Array,
  options: VerifyTimestampOptions<A>,
): Promise<VerifiedTimestamp<A>> {
  // 1. Status, content type, one signer; the hash of the imprint is of the SHA-2 family.
  const timestamp = parseTimestampResponse(der);
  if (timestamp.criticalExtension) {
    throw new TimestampError('TIMESTAMP_EXTENSION', 'Cannot verify timestamp: it has a critical extension');
  }
  // 2. It is over this data, and an answer to this request.
  checkStamped(timestamp, options);
  checkNonce(timestamp, options.nonce);
  if (options.policy !== undefined && timestamp.policy !== options.policy) {
    throw new TimestampError(
      'TIMESTAMP_POLICY',
      `Cannot verify timestamp: its policy is ${timestamp.policy}, asked was ${options.policy}`,
    );
  }
  // 3. A trusted authority has the certificate that the token names.
  const embedded = usableCertificates(timestamp.certificates);
  const candidates = options.authorities.flatMap((authority) =>
    findSigners(timestamp.signer, authority, embedded).map((certificate) => ({ authority, certificate })),
  );
  let firstError: TimestampError | undefined;
  for (const { authority, certificate } of candidates) {
    try {
      await verifyAgainst(timestamp, { authority, certificate, embedded, crypto: options.crypto });
      return { genTime: timestamp.genTime, authority, certificate, timestamp };
    } catch (error) {
      if (!(error instanceof TimestampError)) throw error;
      firstError ??= error;
    }
  }
  throw (
    firstError ??
    new TimestampError(
      'TIMESTAMP_AUTHORITY_UNKNOWN',
      'Cannot verify timestamp: no trusted authority has its signing certificate',
    )
  );
}

interface Candidate {
  readonly authority: TrustedAuthority;
  /** Of all checks below, the one certificate they are about. */
  readonly certificate: Certificate;
  readonly embedded: readonly Certificate[];
  readonly crypto: CryptoPort;
}

async function verifyAgainst(timestamp: Timestamp, candidate: Candidate): Promise<void> {
  const { authority, certificate, crypto } = candidate;
  // 4. The authority was trusted then, and the certificate is one for timestamps and nothing else.
  checkValidity(timestamp.genTime, authority);
  checkPurpose(certificate);
  checkEmbedded(candidate);
  // 5. The signed attributes tie content and certificate to the signature; the signature is by that certificate's key.
  checkAttributes(timestamp, certificate, crypto);
  await checkSignature(timestamp.signer, certificate, crypto);
  // 6. At that time there was a path to the authority's root. Embedded certificates only help to find it.
  const anchor = authority.certChain.at(-1);
  if (anchor === undefined) throw new Error('Cannot verify timestamp: authority without certificates');
  try {
    await buildChain(
      certificate,
      {
        intermediates: [...authority.certChain.slice(0, -1), ...candidate.embedded],
        anchors: [anchor],
        time: timestamp.genTime,
        extendedKeyUsage: oid.timeStamping,
      },
      crypto,
    );
  } catch (cause) {
    if (!(cause instanceof X509Error)) throw cause;
    throw new TimestampError('TIMESTAMP_CHAIN', `Cannot verify timestamp: ${cause.message}`, { cause });
  }
}

function checkStamped(
  timestamp: Timestamp,
  { signature, imprint, crypto }: VerifyTimestampOptions<TrustedAuthority>,
): void {
  const { hash, digest } = timestamp.imprint;
  if (signature === undefined && imprint === undefined) {
    throw new Error('Cannot verify timestamp: neither signature nor imprint given');
  }
  const sameSignature = signature === undefined || equalBytes(crypto.hash(hash, signature), digest);
  const sameImprint = imprint === undefined || (imprint.hash === hash && equalBytes(imprint.digest, digest));
  if (!sameSignature || !sameImprint) {
    throw new TimestampError('TIMESTAMP_IMPRINT', 'Cannot verify timestamp: it is over other data');
  }
}

function checkNonce(timestamp: Timestamp, nonce: Uint8Array | undefined): void {
  if (nonce === undefined) return;
  if (timestamp.nonce === undefined) {
    throw new TimestampError('TIMESTAMP_NONCE', 'Cannot verify timestamp: it has no nonce, one was sent');
  }
  if (!equalBytes(timestamp.nonce, nonce)) {
    throw new TimestampError('TIMESTAMP_NONCE', 'Cannot verify timestamp: its nonce is not the one sent');
  }
}

/** Embedded certificates of kinds that we can use; another kind is neither the signer's nor a link of a path. */
function usableCertificates(ders: readonly Uint8Array[]): Certificate[] {
  // Copies would be tried one after the other.
  const distinct = ders.filter((der, i) => ders.findIndex((other) => equalBytes(other, der)) === i);
  return distinct.flatMap((der) => {
    try {
      return [parseCertificate(der)];
    } catch (cause) {
      if (!(cause instanceof X509Error)) throw cause;
      if (cause.code === 'X509_UNSUPPORTED') return [];
      throw new TimestampError('TIMESTAMP_MALFORMED', `Cannot verify timestamp: ${cause.message}`, { cause });
    }
  });
}

/**
 * The certificates of this authority that the signer may mean: the pinned leaf, or, when the authority lists CA
 * certificates only, embedded ones, which are no more than a claim until a path is built.
 */
function findSigners(
  signer: SignerInfo,
  authority: TrustedAuthority,
  embedded: readonly Certificate[],
): readonly Certificate[] {
  const [first] = authority.certChain;
  if (first === undefined) return [];
  const possible = basicConstraints(first)?.ca === true ? embedded : [first];
  return possible.filter((certificate) => hasName(certificate, signer));
}

/** Raw bytes: a name that was written again may have changed its string type. */
function hasName({ issuer, serialBytes }: Certificate, other: Pick<SignerInfo, 'issuer' | 'serialBytes'>): boolean {
  return equalBytes(issuer, other.issuer) && equalBytes(serialBytes, other.serialBytes);
}

/** An embedded certificate under the name of the authority's own is that one, or somebody is playing with them. */
function checkEmbedded({ authority, certificate, embedded }: Candidate): void {
  if (certificate !== authority.certChain[0]) return;
  if (embedded.some((other) => hasName(other, certificate) && !equalBytes(other.der, certificate.der))) {
    throw new TimestampError(
      'TIMESTAMP_CERTIFICATE',
      "Cannot verify timestamp: an embedded certificate has issuer and serial number of the authority's, but differs",
    );
  }
}

function checkValidity(genTime: Date, { validFor: { start, end } }: TrustedAuthority): void {
  if (genTime >= start && (end === undefined || genTime <= end)) return;
  throw new TimestampError(
    'TIMESTAMP_OUTSIDE_VALIDITY',
    `Cannot verify timestamp: its time ${genTime.toISOString()} is outside the authority's ${start.toISOString()} to ${end?.toISOString() ?? 'now'}`,
  );
}

/** RFC 3161 §2.3: the key is reserved for timestamps, by an extended key usage that is critical and the only one. */
function checkPurpose(certificate: Certificate): void {
  const refuse = (state: string): TimestampError =>
    new TimestampError('TIMESTAMP_CERTIFICATE', `Cannot verify timestamp: its signing certificate ${state}`);
  let usages, purposes, constraints;
  try {
    usages = keyUsage(certificate);
    purposes = extendedKeyUsage(certificate);
    constraints = basicConstraints(certificate);
  } catch (cause) {
    if (!(cause instanceof X509Error)) throw cause;
    throw new TimestampError('TIMESTAMP_CERTIFICATE', `Cannot verify timestamp: ${cause.message}`, { cause });
  }
  if (constraints?.ca === true) throw refuse('is a CA');
  if (purposes === undefined) throw refuse('has no extended key usage');
  if (!purposes.critical) throw refuse('has an extended key usage that is not critical');
  if (purposes.oids.length !== 1 || purposes.oids[0] !== oid.timeStamping) throw refuse('is not for timestamps alone');
  if (usages !== undefined && !usages.includes('digitalSignature') && !usages.includes('nonRepudiation')) {
    throw refuse('has a key usage that does not permit signatures');
  }
}

function checkAttributes(timestamp: Timestamp, certificate: Certificate, crypto: CryptoPort): void {
  converting('Cannot verify timestamp', () => {
    const { signedAttributes: attributes, digestAlgorithm } = timestamp.signer;
    const contentType = attributes.get(oid.contentType);
    if (contentType === undefined || readOid(parseDer(contentType)) !== oid.tstInfo) {
      throw attributeError('contentType is not that of a timestamp');
    }
    const digest = attributes.get(oid.messageDigest);
    const expected = crypto.hash(digestAlgorithm, timestamp.tstInfo);
    if (digest === undefined || !equalBytes(readOctetString(parseDer(digest)), expected)) {
      throw attributeError('messageDigest is not that of the content');
    }
    const v1 = attributes.get(oid.signingCertificate);
    const v2 = attributes.get(oid.signingCertificateV2);
    if (v1 === undefined && v2 === undefined) throw attributeError('signingCertificate is missing');
    if (v1 !== undefined) checkSigningCertificate(parseDer(v1), certificate, { crypto, version: 1 });
    if (v2 !== undefined) checkSigningCertificate(parseDer(v2), certificate, { crypto, version: 2 });
  });
}

/**
 * `SigningCertificate(V2) ::= SEQUENCE { certs SEQUENCE OF ESSCertID(v2), policies OPTIONAL }`, the first of which must be
 * the signer's. `ESSCertIDv2 ::= SEQUENCE { hashAlgorithm DEFAULT sha256, certHash, issuerSerial OPTIONAL }`; version 1
 * has no hashAlgorithm and means SHA-1, which only identifies here: the signature itself is by the certificate's key.
 * @see RFC 5035 §3 to §5
 */
function checkSigningCertificate(
  element: DerElement,
  certificate: Certificate,
  { crypto, version }: { crypto: CryptoPort; version: 1 | 2 },
): void {
  const certs = new DerReader(new DerReader(element, derTag.sequence).next(derTag.sequence));
  const id = new DerReader(certs.next(derTag.sequence));
  const algorithm = version === 2 ? id.optional(derTag.sequence) : undefined;
  const named = algorithm === undefined ? undefined : hashOfOid(readAlgorithm(algorithm));
  if (algorithm !== undefined && named === undefined) throw attributeError('signingCertificateV2 has an unknown hash');
  const hash = version === 1 ? 'sha1' : (named ?? 'sha256');
  const certHash = readOctetString(id.next(derTag.octetString));
  const issuerSerial = id.optional(derTag.sequence);
  id.end();
  if (!equalBytes(certHash, crypto.hash(hash, certificate.der))) {
    throw attributeError('signingCertificate is another certificate');
  }
  if (issuerSerial === undefined) return;
  // IssuerSerial ::= SEQUENCE { issuer GeneralNames, serialNumber INTEGER }; GeneralNames with one directoryName [4]
  const reader = new DerReader(issuerSerial);
  const names = new DerReader(reader.next(derTag.sequence));
  const issuer = new DerReader(names.next(derTag.context(4))).next(derTag.sequence);
  names.end();
  const serial = reader.next(derTag.integer);
  reader.end();
  if (!equalBytes(issuer.bytes, certificate.issuer) || !equalBytes(serial.contents, certificate.serialBytes)) {
    throw attributeError('signingCertificate has another issuer or serial number');
  }
}

async function checkSignature(signer: SignerInfo, { publicKey }: Certificate, crypto: CryptoPort): Promise<void> {
  const scheme = signatureScheme(signer.signatureAlgorithm, signer.digestAlgorithm);
  if (scheme === undefined || !fitsKey(scheme, publicKey)) {
    throw new TimestampError(
      'TIMESTAMP_SIGNATURE',
      `Cannot verify timestamp: signature algorithm ${signer.signatureAlgorithm} does not fit the certificate's key`,
    );
  }
  if (!(await crypto.verify(publicKey, scheme, signer.signedBytes, signer.signature))) {
    throw new TimestampError('TIMESTAMP_SIGNATURE', 'Cannot verify timestamp: signature is invalid');
  }
}

function attributeError(state: string): TimestampError {
  return new TimestampError('TIMESTAMP_ATTRIBUTE', `Cannot verify timestamp: signed attribute ${state}`);
}
