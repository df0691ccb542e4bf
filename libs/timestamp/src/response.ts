import {
  compareBytes,
  DerReader,
  derTag,
  parseDer,
  readBits,
  readInteger,
  readOctetString,
  readOid,
  readString,
  type DerElement,
} from '#libs/encoding';
import type { HashAlgorithm } from '#libs/crypto';
import { hashOfOid, readAlgorithm } from './algorithm.js';
import { converting, TimestampError } from './errors.js';
import { oid } from './oid.js';
import { readTstInfo, type TstInfo } from './tst-info.js';

/** Who signed a token, over what, and how (RFC 5652 §5.3). */
export interface SignerInfo {
  /** The issuer of the signing certificate: Name, tag and length included. */
  readonly issuer: Uint8Array;
  /** Contents of the signing certificate's serial number. */
  readonly serialBytes: Uint8Array;
  readonly digestAlgorithm: HashAlgorithm;
  /** Dotted OID. */
  readonly signatureAlgorithm: string;
  /** The one value of each signed attribute, DER, by the dotted OID of its type. */
  readonly signedAttributes: ReadonlyMap<string, Uint8Array>;
  /** The bytes that were signed: the attributes as they came, with the tag of a SET (RFC 5652 §5.4). */
  readonly signedBytes: Uint8Array;
  readonly signature: Uint8Array;
}

/** A parsed token. Nothing of it is proven: that is `verifyTimestamp`. */
export interface Timestamp extends TstInfo {
  /** PKIStatus: 0 granted, 1 granted with modifications. */
  readonly status: 0 | 1;
  /** DER TSTInfo, what the messageDigest attribute digests. */
  readonly tstInfo: Uint8Array;
  readonly signer: SignerInfo;
  /** Embedded certificates, DER, as they came: unordered and untrusted. */
  readonly certificates: readonly Uint8Array[];
}

/** A token with a chain of RSA-4096 certificates is about 8 KiB. */
const MAX_RESPONSE = 131_072;
const MAX_CERTIFICATES = 16;
const MAX_ATTRIBUTES = 32;
const MAX_DIGEST_ALGORITHMS = 8;

/**
 * Reads a DER TimeStampResp that grants a token with one signer, who is named by issuer and serial number. Embedded
 * certificates may be there, be an empty set (as older authorities of Sigstore write it) or be absent.
 * @throws TimestampError `TIMESTAMP_TOO_LARGE`, `TIMESTAMP_REJECTED`, `TIMESTAMP_MALFORMED`, `TIMESTAMP_WEAK_HASH`,
 *   `TIMESTAMP_HASH_UNKNOWN`, `TIMESTAMP_DIGEST_LENGTH`
 * @see RFC 3161 §2.4.2
 */
export function parseTimestampResponse(der: Uint8Array): Timestamp {
  if (der.length > MAX_RESPONSE) {
    throw new TimestampError(
      'TIMESTAMP_TOO_LARGE',
      `Cannot parse timestamp: ${der.length} bytes, at most ${MAX_RESPONSE} are read`,
    );
  }
  return converting('Cannot parse timestamp', () => {
    // TimeStampResp ::= SEQUENCE { status PKIStatusInfo, timeStampToken ContentInfo OPTIONAL }
    const reader = new DerReader(parseDer(der), derTag.sequence);
    const status = readStatus(reader.next(derTag.sequence));
    const token = reader.next(derTag.sequence);
    reader.end();
    return { status, ...readSignedData(readContent(token, oid.signedData)) };
  });
}

// PKIStatusInfo ::= SEQUENCE { status INTEGER, statusString SEQUENCE OF UTF8String OPTIONAL, failInfo BIT STRING OPTIONAL }
function readStatus(element: DerElement): 0 | 1 {
  const reader = new DerReader(element);
  const status = readInteger(reader.next(derTag.integer));
  const text = reader.optional(derTag.sequence);
  if (text !== undefined) {
    const strings = new DerReader(text);
    while (!strings.done) readString(strings.next(derTag.utf8String));
  }
  const failInfo = reader.optional(derTag.bitString);
  if (failInfo !== undefined) readBits(failInfo);
  reader.end();
  if (status === 0n) return 0;
  if (status === 1n) return 1;
  throw new TimestampError('TIMESTAMP_REJECTED', `Cannot use timestamp response: status is ${status}, not granted`);
}

/** The content of a `SEQUENCE { type OID, content [0] EXPLICIT ANY }` of this type. */
function readContent(element: DerElement, type: string): DerElement {
  const reader = new DerReader(element);
  const actual = readOid(reader.next(derTag.oid));
  if (actual !== type) throw malformed(`content type is ${actual}, must be ${type}`);
  const explicit = new DerReader(reader.next(derTag.context(0)));
  reader.end();
  const content = explicit.next();
  explicit.end();
  return content;
}

// SignedData ::= SEQUENCE { version 3, digestAlgorithms SET OF, encapContentInfo, certificates [0] IMPLICIT OPTIONAL,
//   crls [1] IMPLICIT OPTIONAL, signerInfos SET OF }
function readSignedData(element: DerElement): Omit<Timestamp, 'status'> {
  const reader = new DerReader(element, derTag.sequence);
  // RFC 5652 §5.1: 3, since the content is not plain data.
  if (readInteger(reader.next(derTag.integer)) !== 3n) throw malformed('version of the signed data is not 3');
  const digestAlgorithms = readSet(reader.next(derTag.set), MAX_DIGEST_ALGORITHMS).map(readAlgorithm);
  const tstInfo = readOctetString(readContent(reader.next(derTag.sequence), oid.tstInfo));
  const certificates = reader.optional(derTag.context(0));
  reader.optional(derTag.context(1));
  const signers = readSet(reader.next(derTag.set), 1);
  reader.end();
  // RFC 3161 §2.4.2: the token has no signature but the authority's.
  const [signer] = signers;
  if (signer === undefined) throw malformed('the token is not signed');
  return {
    ...readTstInfo(tstInfo),
    tstInfo,
    signer: readSigner(signer, digestAlgorithms),
    certificates: certificates === undefined ? [] : readCertificates(certificates),
  };
}

function readSet(element: DerElement, max: number): DerElement[] {
  const reader = new DerReader(element);
  const out: DerElement[] = [];
  while (!reader.done) {
    if (out.length === max) throw malformed(`more than ${max} elements in a set`);
    out.push(reader.next());
  }
  return out;
}

/** Other choices than a certificate (attribute certificates, RFC 5652 §10.2.2) are of no use here. */
function readCertificates(element: DerElement): Uint8Array[] {
  return readSet(element, MAX_CERTIFICATES)
    .filter(({ tag }) => tag === derTag.sequence)
    .map(({ bytes }) => bytes);
}

// SignerInfo ::= SEQUENCE { version 1, sid IssuerAndSerialNumber, digestAlgorithm, signedAttrs [0] IMPLICIT,
//   signatureAlgorithm, signature OCTET STRING, unsignedAttrs [1] IMPLICIT OPTIONAL }
function readSigner(element: DerElement, digestAlgorithms: readonly string[]): SignerInfo {
  const reader = new DerReader(element, derTag.sequence);
  // RFC 5652 §5.3: 1 for a signer named by issuer and serial number, which is how Sigstore's clients find it.
  if (readInteger(reader.next(derTag.integer)) !== 1n) throw malformed('version of the signer is not 1');
  const sid = new DerReader(reader.next(derTag.sequence));
  const issuer = sid.next(derTag.sequence).bytes;
  const serial = sid.next(derTag.integer);
  readInteger(serial);
  sid.end();
  const digestOid = readAlgorithm(reader.next(derTag.sequence));
  const attributes = reader.next(derTag.context(0));
  const signatureAlgorithm = readAlgorithm(reader.next(derTag.sequence));
  const signature = readOctetString(reader.next(derTag.octetString));
  reader.optional(derTag.context(1));
  reader.end();
  const digestAlgorithm = hashOfOid(digestOid);
  if (digestAlgorithm === undefined) {
    throw new TimestampError(
      'TIMESTAMP_HASH_UNKNOWN',
      `Cannot parse timestamp: digest algorithm ${digestOid} is not supported`,
    );
  }
  if (!digestAlgorithms.includes(digestOid)) throw malformed('digest algorithm of the signer is not announced');
  const signedBytes = attributes.bytes.slice();
  signedBytes[0] = derTag.set;
  return {
    issuer,
    serialBytes: serial.contents,
    digestAlgorithm,
    signatureAlgorithm,
    signedAttributes: readAttributes(attributes),
    signedBytes,
    signature,
  };
}

function readAttributes(element: DerElement): Map<string, Uint8Array> {
  const attributes = readSet(element, MAX_ATTRIBUTES);
  const out = new Map<string, Uint8Array>();
  for (const [i, attribute] of attributes.entries()) {
    const previous = attributes[i - 1];
    // What is signed is the DER encoding, so the order is part of it (RFC 5652 §5.4). Strictly rising: none twice.
    if (previous !== undefined && compareBytes(previous.bytes, attribute.bytes) >= 0) {
      throw malformed('signed attributes are not in DER order');
    }
    const reader = new DerReader(attribute, derTag.sequence);
    const type = readOid(reader.next(derTag.oid));
    const values = readSet(reader.next(derTag.set), 1);
    reader.end();
    const [value] = values;
    if (value === undefined || out.has(type)) throw malformed(`signed attribute ${type} does not have one value`);
    out.set(type, value.bytes);
  }
  return out;
}

function malformed(state: string): TimestampError {
  return new TimestampError('TIMESTAMP_MALFORMED', `Cannot parse timestamp: ${state}`);
}
