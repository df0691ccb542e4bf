import { derTag, type DerElement, DerReader, parseDer, readBitString, readInteger, readOid } from '#libs/encoding';
import { parsePublicKey, type PublicKey, type SignatureScheme } from '#libs/crypto';
import { readAlgorithm, schemeFitsKey, schemeOfAlgorithm } from './algorithm.js';
import { converting, X509Error } from './errors.js';
import { parseName } from './name.js';

/** A PKCS#10 certification request. Byte fields are views of the request. */
export interface CertificateRequest {
  readonly publicKey: PublicKey;
  /** SubjectPublicKeyInfo as it stands in the request. */
  readonly spki: Uint8Array;
  /** CertificationRequestInfo, tag and length included: what the requester signed. */
  readonly info: Uint8Array;
  /** Dotted OID. */
  readonly signatureAlgorithm: string;
  readonly signature: Uint8Array;
  /** Name, tag and length included. Whoever asks may write anything here: no identity comes from it. */
  readonly subject: Uint8Array;
}

const MAX_REQUEST = 65_536;

/**
 * Reads one DER request. The signature is not checked: verify `signature` over `info` by `csrScheme(csr)` with `publicKey`.
 * Subject and attributes are checked for form and otherwise ignored.
 * @throws X509Error `X509_CSR_MALFORMED`, `X509_UNSUPPORTED` (a key of a kind we do not know)
 * @see RFC 2986 §4
 */
export function parseCsr(der: Uint8Array): CertificateRequest {
  if (der.length > MAX_REQUEST) throw malformed(`${der.length} bytes, at most ${MAX_REQUEST} are read`);
  return converting('Cannot parse certification request', 'X509_CSR_MALFORMED', () => {
    // CertificationRequest ::= SEQUENCE { certificationRequestInfo, signatureAlgorithm, signature BIT STRING }
    const outer = new DerReader(parseDer(der), derTag.sequence);
    const info = outer.next(derTag.sequence);
    const algorithm = outer.next(derTag.sequence);
    const signature = readBitString(outer.next(derTag.bitString));
    outer.end();
    // CertificationRequestInfo ::= SEQUENCE { version INTEGER { v1(0) }, subject Name, subjectPKInfo, attributes [0] IMPLICIT SET OF }
    const fields = new DerReader(info, derTag.sequence);
    if (readInteger(fields.next(derTag.integer)) !== 0n) throw malformed('only version 1 is read');
    const subject = fields.next(derTag.sequence).bytes;
    const spki = fields.next(derTag.sequence).bytes;
    checkAttributes(fields.next(derTag.context(0)));
    fields.end();
    checkName(subject);
    return {
      publicKey: parsePublicKey(spki),
      spki,
      info: info.bytes,
      signatureAlgorithm: readRequestAlgorithm(algorithm),
      signature,
      subject,
    };
  });
}

function malformed(state: string, cause?: unknown): X509Error {
  return new X509Error('X509_CSR_MALFORMED', `Cannot parse certification request: ${state}`, {}, { cause });
}

// Attribute ::= SEQUENCE { type OID, values SET SIZE (1..MAX) OF ANY }
function checkAttributes(set: DerElement): void {
  const attributes = new DerReader(set, derTag.context(0));
  while (!attributes.done) {
    const attribute = new DerReader(attributes.next(derTag.sequence), derTag.sequence);
    readOid(attribute.next(derTag.oid));
    attribute.next(derTag.set);
    attribute.end();
  }
}

function checkName(subject: Uint8Array): void {
  try {
    parseName(subject);
  } catch (error) {
    throw malformed('subject is not a name', error);
  }
}

function readRequestAlgorithm(element: DerElement): string {
  try {
    return readAlgorithm(element);
  } catch (error) {
    if (error instanceof X509Error) throw malformed('signature algorithm is malformed', error);
    throw error;
  }
}

/**
 * How a request is signed: ECDSA or RSA (PKCS#1 v1.5) with SHA-256, SHA-384 or SHA-512, or Ed25519.
 * @throws X509Error `X509_CSR_ALGORITHM` for another algorithm, or one that the request's own key cannot have used
 */
export function csrScheme(csr: CertificateRequest): SignatureScheme {
  const scheme = schemeOfAlgorithm(csr.signatureAlgorithm);
  if (!scheme) {
    throw new X509Error(
      'X509_CSR_ALGORITHM',
      `Cannot verify certification request: algorithm ${csr.signatureAlgorithm} is not supported`,
    );
  }
  if (!schemeFitsKey(scheme, csr.publicKey)) {
    throw new X509Error(
      'X509_CSR_ALGORITHM',
      `Cannot verify certification request: algorithm ${csr.signatureAlgorithm} does not fit a key of kind ${csr.publicKey.type.kind}`,
    );
  }
  return scheme;
}
