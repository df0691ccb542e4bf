import {
  derElement,
  derOid,
  DerReader,
  derSequence,
  derTag,
  parseDer,
  readBits,
  readBoolean,
  readInteger,
  readOid,
  readOctetString,
} from '#libs/encoding';
import type { Certificate, Extension } from './certificate.js';
import { converting, X509Error } from './errors.js';
import { oid } from './oid.js';

const MAX_KEY_PURPOSES = 32;

/** The extension with this OID, if the certificate has it. */
export function findExtension(certificate: Certificate, dotted: string): Extension | undefined {
  return certificate.extensions.find((extension) => extension.oid === dotted);
}

/** Reads the value of one extension with the errors of this lib; undefined when the extension is absent. */
function reading<T>(certificate: Certificate, dotted: string, read: (extension: Extension) => T): T | undefined {
  const extension = findExtension(certificate, dotted);
  return extension && converting(`Cannot read extension ${dotted}`, 'X509_MALFORMED', () => read(extension));
}

function malformed(dotted: string, state: string): X509Error {
  return new X509Error('X509_MALFORMED', `Cannot read extension ${dotted}: ${state}`);
}

export interface BasicConstraints {
  readonly ca: boolean;
  /** How many CA certificates may follow below, self-issued ones not counted. */
  readonly pathLength?: number;
}

/**
 * `BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER (0..MAX) OPTIONAL }`
 * @throws X509Error `X509_MALFORMED`
 * @see RFC 5280 §4.2.1.9
 */
export function basicConstraints(certificate: Certificate): BasicConstraints | undefined {
  return reading(certificate, oid.basicConstraints, ({ value }) => {
    const reader = new DerReader(parseDer(value), derTag.sequence);
    const flag = reader.optional(derTag.boolean);
    const ca = flag !== undefined && readBoolean(flag);
    if (flag !== undefined && !ca) throw malformed(oid.basicConstraints, 'the default of cA is spelled out');
    const limit = reader.optional(derTag.integer);
    reader.end();
    if (!limit) return { ca };
    const pathLength = readInteger(limit);
    if (!ca) throw malformed(oid.basicConstraints, 'a path length without cA');
    if (pathLength < 0n || pathLength > 255n) throw malformed(oid.basicConstraints, 'path length is out of range');
    return { ca, pathLength: Number(pathLength) };
  });
}

/** Names of the key usage bits, in the order of their numbers (RFC 5280 §4.2.1.3). */
const keyUsages = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;
export type KeyUsage = (typeof keyUsages)[number];

/**
 * The key usages that are set; undefined when the extension is absent, which permits all.
 * @throws X509Error `X509_MALFORMED`, also for an empty or padded list (X.690 §11.2.2)
 * @see RFC 5280 §4.2.1.3
 */
export function keyUsage(certificate: Certificate): KeyUsage[] | undefined {
  return reading(certificate, oid.keyUsage, ({ value }) => {
    const { bytes, unusedBits } = readBits(parseDer(value));
    const [first, second = 0] = bytes;
    if (first === undefined || bytes.length > 2) throw malformed(oid.keyUsage, 'value is not a short list of bits');
    // X.690 §11.2.2: a list of named bits ends in the last one that is set.
    const last = bytes.length === 2 ? second : first;
    if (((last >> unusedBits) & 1) === 0) throw malformed(oid.keyUsage, 'the list of bits is padded');
    const set = (first << 8) | second;
    if ((set & 0x7f) !== 0) throw malformed(oid.keyUsage, 'a bit without a name is set');
    return keyUsages.filter((_, bit) => (set & (0x8000 >> bit)) !== 0);
  });
}

export interface ExtendedKeyUsage {
  readonly oids: readonly string[];
  readonly critical: boolean;
}

/**
 * `ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX) OF KeyPurposeId`; undefined when absent.
 * @throws X509Error `X509_MALFORMED`
 * @see RFC 5280 §4.2.1.12
 */
export function extendedKeyUsage(certificate: Certificate): ExtendedKeyUsage | undefined {
  return reading(certificate, oid.extendedKeyUsage, ({ value, critical }) => {
    const reader = new DerReader(parseDer(value), derTag.sequence);
    const oids: string[] = [];
    while (!reader.done) {
      if (oids.length === MAX_KEY_PURPOSES)
        throw malformed(oid.extendedKeyUsage, `more than ${MAX_KEY_PURPOSES} purposes`);
      oids.push(readOid(reader.next(derTag.oid)));
    }
    if (oids.length === 0) throw malformed(oid.extendedKeyUsage, 'the list is empty');
    return { oids, critical };
  });
}

/**
 * The subject key identifier, undefined when absent.
 * @throws X509Error `X509_MALFORMED`
 * @see RFC 5280 §4.2.1.2
 */
export function subjectKeyId(certificate: Certificate): Uint8Array | undefined {
  return reading(certificate, oid.subjectKeyIdentifier, ({ value }) => readOctetString(parseDer(value)));
}

/**
 * The keyIdentifier of the authority key identifier; undefined when the extension or that field is absent.
 * `AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] OCTET STRING OPTIONAL, authorityCertIssuer [1], authorityCertSerialNumber [2] }`
 * @throws X509Error `X509_MALFORMED`
 * @see RFC 5280 §4.2.1.1
 */
export function authorityKeyId(certificate: Certificate): Uint8Array | undefined {
  return reading(certificate, oid.authorityKeyIdentifier, ({ value }) => {
    const reader = new DerReader(parseDer(value), derTag.sequence);
    const keyId = reader.optional(derTag.contextPrimitive(0));
    reader.optional(derTag.context(1));
    reader.optional(derTag.contextPrimitive(2));
    reader.end();
    return keyId?.contents;
  });
}

/** The value of an authority key identifier in its key identifier form. */
export function encodeAuthorityKeyId(keyId: Uint8Array): Uint8Array {
  return derSequence(derElement(derTag.contextPrimitive(0), keyId));
}

/** The value of an extended key usage of one purpose. */
export function encodeExtendedKeyUsage(purpose: string): Uint8Array {
  return derSequence(derOid(purpose));
}

/**
 * Refuses a certificate that may not be the end of a path for this purpose: it must not be a CA, its key usage must include digitalSignature,
 * and its extended key usage must name the purpose itself (`anyExtendedKeyUsage` does not).
 * @throws X509Error `X509_LEAF_USAGE`, `X509_MALFORMED`
 * @see Sigstore client specification, "Certificate verification"
 */
export function checkLeafUsage(certificate: Certificate, purpose: string): void {
  const refuse = (state: string) => {
    return new X509Error('X509_LEAF_USAGE', `Cannot use leaf certificate: ${state}`, { position: 0 });
  };
  if (basicConstraints(certificate)?.ca) throw refuse('it is a CA certificate');
  if (!keyUsage(certificate)?.includes('digitalSignature')) throw refuse('its key usage lacks digitalSignature');
  if (!extendedKeyUsage(certificate)?.oids.includes(purpose)) throw refuse(`its extended key usage lacks ${purpose}`);
}
