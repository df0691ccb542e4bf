import {
  derTag,
  type DerElement,
  DerReader,
  equalBytes,
  parseDer,
  parsePem,
  readBitString,
  readBoolean,
  readInteger,
  readTime,
} from '#libs/encoding';
import { type CryptoPort, parsePublicKey, type PublicKey, type SignatureScheme } from '#libs/crypto';
import { readAlgorithm, schemeFitsKey, schemeOfAlgorithm } from './algorithm.js';
import { converting, X509Error } from './errors.js';
import { readExtensionOid } from './known-oid.js';

/** One extension. `value`: the contents of the extnValue OCTET STRING, usually DER. */
export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/**
 * An X.509 v3 certificate, shallowly parsed: every structure is checked down to the list of extensions, their values are opaque bytes
 * until one of the readers is asked. All `Uint8Array`s are views into `der`.
 */
export interface Certificate {
  /** The whole certificate, DER. */
  readonly der: Uint8Array;
  /** TBSCertificate, tag and length included: what the issuer signed. */
  readonly tbs: Uint8Array;
  readonly version: 3;
  readonly serialNumber: bigint;
  /** Contents of the serial's INTEGER, at most 20 bytes. */
  readonly serialBytes: Uint8Array;
  /** Dotted OID; inner and outer AlgorithmIdentifier were equal, byte for byte. */
  readonly signatureAlgorithm: string;
  /** Name, tag and length included. Names are compared as these bytes. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly publicKey: PublicKey;
  /** SubjectPublicKeyInfo as it stands in the certificate: what an RFC 6962 issuer key hash digests. */
  readonly spki: Uint8Array;
  /** In the order of the certificate, no OID twice. */
  readonly extensions: readonly Extension[];
  /** Contents of the signature's BIT STRING. */
  readonly signature: Uint8Array;
}

/** Whether a certificate that came through hands that know only its bytes is one of ours, parsed. */
export function isParsed(certificate: { readonly der: Uint8Array }): certificate is Certificate {
  return 'tbs' in certificate && 'spki' in certificate && 'extensions' in certificate;
}

/** Certificates with RSA-4096 keys and every extension stay under 4 KiB; nothing honest comes near this. */
const MAX_CERTIFICATE = 65_536;
const MAX_EXTENSIONS = 64;
const MAX_PEM = 1 << 20;
const MAX_PEM_CERTIFICATES = 64;

/**
 * Reads one DER certificate. About 20 µs: the log does it for each entry.
 * @throws X509Error `X509_MALFORMED` (not strict DER, a field out of place, an extension twice, bytes after the end),
 *   `X509_UNSUPPORTED` (another version than 3, a key of a kind we do not know)
 * @see RFC 5280 §4.1
 */
export function parseCertificate(der: Uint8Array): Certificate {
  return converting('Cannot parse certificate', 'X509_MALFORMED', () => readCertificate(der));
}

function malformed(state: string): X509Error {
  return new X509Error('X509_MALFORMED', `Cannot parse certificate: ${state}`);
}

// Certificate  ::=  SEQUENCE  { tbsCertificate, signatureAlgorithm AlgorithmIdentifier, signatureValue BIT STRING }
function readCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE) throw malformed(`${der.length} bytes, at most ${MAX_CERTIFICATE} are read`);
  const outer = new DerReader(parseDer(der), derTag.sequence);
  const tbs = outer.next(derTag.sequence);
  const algorithm = outer.next(derTag.sequence);
  const signature = readBitString(outer.next(derTag.bitString));
  outer.end();

  // TBSCertificate ::= SEQUENCE { version [0] EXPLICIT DEFAULT v1, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo,
  //   issuerUniqueID [1] IMPLICIT OPTIONAL, subjectUniqueID [2] IMPLICIT OPTIONAL, extensions [3] EXPLICIT OPTIONAL }
  const fields = new DerReader(tbs, derTag.sequence);
  readVersion(fields);
  const serial = fields.next(derTag.integer);
  const serialNumber = readInteger(serial);
  // RFC 5280 §4.1.2.2: positive, at most 20 octets. Zero is tolerated: old roots carry it.
  if (serialNumber < 0n || serial.contents.length > 20)
    throw malformed('serial number is negative or longer than 20 bytes');
  if (!equalBytes(fields.next(derTag.sequence).bytes, algorithm.bytes)) {
    throw malformed('signature algorithm inside and outside the signed part differ');
  }
  const issuer = fields.next(derTag.sequence).bytes;
  const validity = new DerReader(fields.next(derTag.sequence), derTag.sequence);
  const notBefore = readTime(validity.next());
  const notAfter = readTime(validity.next());
  validity.end();
  const subject = fields.next(derTag.sequence).bytes;
  const spki = fields.next(derTag.sequence).bytes;
  fields.optional(derTag.contextPrimitive(1));
  fields.optional(derTag.contextPrimitive(2));
  const extensions = fields.done ? [] : readExtensions(fields.next(derTag.context(3)));
  fields.end();
  return {
    der,
    tbs: tbs.bytes,
    version: 3,
    serialNumber,
    serialBytes: serial.contents,
    signatureAlgorithm: readAlgorithm(algorithm),
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKey: parsePublicKey(spki),
    spki,
    extensions,
    signature,
  };
}

function readVersion(fields: DerReader): void {
  const explicit = fields.optional(derTag.context(0));
  if (!explicit) throw new X509Error('X509_UNSUPPORTED', 'Cannot parse certificate: version 1, only version 3 is read');
  const reader = new DerReader(explicit, derTag.context(0));
  const version = readInteger(reader.next(derTag.integer));
  reader.end();
  // The number on the wire is one less than the name: v3(2).
  if (version !== 2n) throw new X509Error('X509_UNSUPPORTED', 'Cannot parse certificate: only version 3 is read');
}

// Extensions ::= SEQUENCE SIZE (1..MAX) OF SEQUENCE { extnID OID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
function readExtensions(field: DerElement): Extension[] {
  const explicit = new DerReader(field, derTag.context(3));
  const list = new DerReader(explicit.next(derTag.sequence), derTag.sequence);
  explicit.end();
  if (list.done) throw malformed('the list of extensions is empty');
  const extensions: Extension[] = [];
  const seen = new Set<string>();
  while (!list.done) {
    if (extensions.length === MAX_EXTENSIONS) throw malformed(`more than ${MAX_EXTENSIONS} extensions`);
    const extension = readExtension(list.next(derTag.sequence));
    // RFC 5280 §4.2: no more than one instance; readers that take the first and readers that take the last would see two certificates.
    if (seen.has(extension.oid)) throw malformed(`extension ${extension.oid} occurs twice`);
    seen.add(extension.oid);
    extensions.push(extension);
  }
  return extensions;
}

function readExtension(element: DerElement): Extension {
  const reader = new DerReader(element, derTag.sequence);
  const oid = readExtensionOid(reader.next(derTag.oid));
  const flag = reader.optional(derTag.boolean);
  const critical = flag !== undefined && readBoolean(flag);
  // X.690 §11.5: a value equal to the default is not encoded.
  if (flag !== undefined && !critical) throw malformed(`extension ${oid} spells out the default of its critical flag`);
  const value = reader.next(derTag.octetString).contents;
  reader.end();
  return { oid, critical, value };
}

/**
 * Reads every `CERTIFICATE` block of a PEM text, in order; at least one.
 * @throws X509Error `X509_MALFORMED`, `X509_UNSUPPORTED`
 */
export function parseCertificatePem(pem: string): Certificate[] {
  if (pem.length > MAX_PEM) throw malformed(`PEM text of ${pem.length} characters, at most ${MAX_PEM} are read`);
  const blocks = converting('Cannot parse certificate', 'X509_MALFORMED', () => parsePem(pem));
  if (blocks.length > MAX_PEM_CERTIFICATES) throw malformed(`more than ${MAX_PEM_CERTIFICATES} PEM blocks`);
  return blocks.map(({ label, der }) => {
    if (label !== 'CERTIFICATE') throw malformed('PEM block has another label than CERTIFICATE');
    return parseCertificate(der);
  });
}

/**
 * Whether `issuer`'s key signed `certificate`. Says nothing about names, validity or the right to issue: that is `buildChain`.
 * False as well when the algorithm is not one of the issuer's key type.
 * @throws X509Error `X509_UNSUPPORTED` for an algorithm we do not verify (SHA-1, DSA, RSASSA-PSS)
 */
export async function verifyCertificateSignature(
  certificate: Certificate,
  issuer: Certificate,
  crypto: CryptoPort,
): Promise<boolean> {
  const signed = signedBytes(certificate, issuer);
  return signed !== undefined && crypto.verify(signed.key, signed.scheme, signed.message, signed.signature);
}

/** What a key has to have signed, and how. */
export interface SignedBytes {
  readonly key: PublicKey;
  readonly scheme: SignatureScheme;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

/**
 * What is to be verified to know that `issuer`'s key signed `certificate`; undefined if it cannot have, because the algorithm is not one of its key type.
 * @throws X509Error `X509_UNSUPPORTED` for an algorithm we do not verify
 */
export function signedBytes(certificate: Certificate, issuer: Certificate): SignedBytes | undefined {
  const scheme = schemeOfAlgorithm(certificate.signatureAlgorithm);
  if (!scheme) {
    throw new X509Error(
      'X509_UNSUPPORTED',
      `Cannot verify certificate signature: algorithm ${certificate.signatureAlgorithm} is not supported`,
    );
  }
  if (!schemeFitsKey(scheme, issuer.publicKey)) return undefined;
  return { key: issuer.publicKey, scheme, message: certificate.tbs, signature: certificate.signature };
}
