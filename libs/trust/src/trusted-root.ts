import type { JsonMessage } from '#libs/bundle';
import {
  CryptoError,
  findAlgorithm,
  matchesKey,
  parsePublicKey,
  parseRsaPublicKey,
  type HashAlgorithm,
  type PublicKey,
} from '#libs/crypto';
import { DerReader, derTag, encodeBase64, parseDer, readBitString } from '#libs/encoding';
import { X509Error, parseCertificate, type Certificate } from '#libs/x509';
import { openDocument } from './document.js';
import { TrustError } from './error.js';
import { encodeTimeRange, readTimeRange, type TimeRange } from './time-range.js';

/** Whose signatures to believe, and for which time. Retired keys stay in the lists for what they signed. */
export interface TrustedRoot {
  tlogs: TlogInstance[];
  certificateAuthorities: CertificateAuthority[];
  ctlogs: TlogInstance[];
  timestampAuthorities: CertificateAuthority[];
}

/** A transparency log, Rekor or CT. */
export interface TlogInstance {
  /** Names the log; nobody reads from here. For Rekor v2 its host is the origin of checkpoints. */
  baseUrl: string;
  hashAlgorithm: HashAlgorithm;
  publicKey: PublicKey;
  /** `PublicKeyDetails`, e.g. `PKIX_ECDSA_P256_SHA_256`. */
  keyDetails: string;
  validFor: TimeRange;
  /** Rekor v1 and CT: SHA-256 of the SPKI. Rekor v2: the untruncated note key ID. 32 bytes. */
  logId: Uint8Array;
  /** The 4 bytes of the note key ID, where it is stated apart from `logId`. */
  checkpointKeyId?: Uint8Array;
  /** Who runs it, e.g. `sigstore.dev`: two logs of one operator are one witness. */
  operator?: string;
}

/** A certificate authority, or a timestamp authority. */
export interface CertificateAuthority {
  subject: { organization?: string; commonName?: string };
  uri: string;
  /** The anchor is last; it need not be self-signed. A timestamp authority may have its signing certificate first. */
  certChain: Certificate[];
  validFor: TimeRange;
  operator?: string;
}

/**
 * The media type we write: the one in the public instance's repository, and the only one that sigstore-go reads.
 * The proto file asks for `.v0.2+json`, which no deployed client writes.
 */
export const TRUSTED_ROOT_MEDIA_TYPE = 'application/vnd.dev.sigstore.trustedroot+json;version=0.1';

const MEDIA_TYPES = [
  TRUSTED_ROOT_MEDIA_TYPE,
  'application/vnd.dev.sigstore.trustedroot.v0.1+json',
  'application/vnd.dev.sigstore.trustedroot.v0.2+json',
];
const MAX_INSTANCES = 1024;
const MAX_CHAIN = 10;
/** Ids are SHA-256, or the four bytes of a note key ID. */
const MAX_KEY_ID = 32;

/**
 * Reads a trusted root from its JSON text or UTF-8 bytes, with every key and certificate in it.
 * @throws TrustError all codes but `TRUST_NO_SERVICE`
 * @see sigstore/protobuf-specs: protos/sigstore_trustroot.proto
 */
export function parseTrustedRoot(text: string | Uint8Array): TrustedRoot {
  const root = openDocument(text, 'trusted root', MEDIA_TYPES);
  root.only('mediaType', 'tlogs', 'certificateAuthorities', 'ctlogs', 'timestampAuthorities');
  return {
    tlogs: root.messages('tlogs', MAX_INSTANCES).map(readTlogInstance),
    certificateAuthorities: root.messages('certificateAuthorities', MAX_INSTANCES).map(readAuthority),
    ctlogs: root.messages('ctlogs', MAX_INSTANCES).map(readTlogInstance),
    timestampAuthorities: root.messages('timestampAuthorities', MAX_INSTANCES).map(readAuthority),
  };
}

function readTlogInstance(log: JsonMessage): TlogInstance {
  log.only('baseUrl', 'hashAlgorithm', 'publicKey', 'logId', 'checkpointKeyId', 'operator');
  if (log.requiredString('hashAlgorithm') !== 'SHA2_256') {
    throw log.fault('malformed', 'hashAlgorithm', 'is not SHA2_256, the only hash that these logs have');
  }
  const key = log.requiredMessage('publicKey').only('rawBytes', 'keyDetails', 'validFor');
  const keyDetails = key.requiredString('keyDetails');
  const checkpointKeyId = log.message('checkpointKeyId')?.only('keyId').requiredBytes('keyId');
  const operator = log.string('operator');
  const instance: TlogInstance = {
    baseUrl: log.string('baseUrl'),
    hashAlgorithm: 'sha256',
    publicKey: readKey(key, keyDetails),
    keyDetails,
    // A key without a beginning would vouch for any past, so absence is not "always".
    validFor: readTimeRange(key.requiredMessage('validFor')),
    logId: log.requiredMessage('logId').only('keyId').requiredBytes('keyId'),
    ...(checkpointKeyId === undefined ? {} : { checkpointKeyId }),
    ...(operator === '' ? {} : { operator }),
  };
  if (instance.logId.length > MAX_KEY_ID)
    throw log.fault('malformed', 'logId.keyId', `is longer than ${MAX_KEY_ID} bytes`);
  return instance;
}

function readKey(key: JsonMessage, keyDetails: string): PublicKey {
  const algorithm = findAlgorithm(keyDetails);
  if (algorithm === undefined) throw key.fault('malformed', 'keyDetails', 'is not a known algorithm');
  let publicKey: PublicKey;
  try {
    const rawBytes = key.requiredBytes('rawBytes');
    publicKey = keyDetails.startsWith('PKCS1_') ? parseRsaPublicKey(rawBytes) : parsePublicKey(rawBytes);
  } catch (error) {
    if (!(error instanceof CryptoError)) throw error;
    throw new TrustError('TRUST_KEY', key.fault('malformed', 'rawBytes', 'is not a key we can read').message, {
      cause: error,
    });
  }
  if (!matchesKey(algorithm, publicKey)) throw key.fault('malformed', 'keyDetails', 'does not describe the key');
  return publicKey;
}

function readAuthority(authority: JsonMessage): CertificateAuthority {
  authority.only('subject', 'uri', 'certChain', 'validFor', 'operator');
  const subject = authority.message('subject')?.only('organization', 'commonName');
  const organization = subject?.string('organization') ?? '';
  const commonName = subject?.string('commonName') ?? '';
  const chain = authority.requiredMessage('certChain').only('certificates');
  const certChain = chain.messages('certificates', MAX_CHAIN).map(readCertificate);
  if (certChain.length === 0) throw chain.fault('malformed', 'certificates', 'is empty');
  const operator = authority.string('operator');
  const validFor = authority.message('validFor');
  return {
    subject: { ...(organization === '' ? {} : { organization }), ...(commonName === '' ? {} : { commonName }) },
    uri: authority.string('uri'),
    certChain,
    // Optional for authorities, whose certificates bound the time anyway; 1970 is before all of them.
    validFor: validFor === undefined ? { start: new Date(0) } : readTimeRange(validFor, new Date(0)),
    ...(operator === '' ? {} : { operator }),
  };
}

function readCertificate(certificate: JsonMessage): Certificate {
  const der = certificate.only('rawBytes').requiredBytes('rawBytes');
  try {
    return parseCertificate(der);
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw new TrustError(
      'TRUST_CERTIFICATE',
      certificate.fault('malformed', 'rawBytes', 'is not a certificate we can read').message,
      { cause: error },
    );
  }
}

/** The inverse of {@link parseTrustedRoot}: indented JSON that ends in a newline. */
export function encodeTrustedRoot(root: TrustedRoot): string {
  const document = {
    mediaType: TRUSTED_ROOT_MEDIA_TYPE,
    tlogs: root.tlogs.map(encodeTlogInstance),
    certificateAuthorities: root.certificateAuthorities.map(encodeAuthority),
    ctlogs: root.ctlogs.map(encodeTlogInstance),
    timestampAuthorities: root.timestampAuthorities.map(encodeAuthority),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function encodeTlogInstance(log: TlogInstance): object {
  return {
    baseUrl: log.baseUrl,
    hashAlgorithm: 'SHA2_256',
    publicKey: {
      rawBytes: encodeBase64(log.keyDetails.startsWith('PKCS1_') ? pkcs1Of(log.publicKey) : log.publicKey.spki),
      keyDetails: log.keyDetails,
      validFor: encodeTimeRange(log.validFor),
    },
    logId: { keyId: encodeBase64(log.logId) },
    ...(log.checkpointKeyId === undefined ? {} : { checkpointKeyId: { keyId: encodeBase64(log.checkpointKeyId) } }),
    ...(log.operator === undefined ? {} : { operator: log.operator }),
  };
}

/** RFC 5280 §4.1: SubjectPublicKeyInfo ::= SEQUENCE { algorithm, subjectPublicKey BIT STRING }; for RSA the bits are PKCS#1. */
function pkcs1Of(key: PublicKey): Uint8Array {
  const spki = new DerReader(parseDer(key.spki), derTag.sequence);
  spki.next(derTag.sequence);
  return readBitString(spki.next(derTag.bitString));
}

function encodeAuthority(authority: CertificateAuthority): object {
  return {
    subject: authority.subject,
    uri: authority.uri,
    certChain: { certificates: authority.certChain.map(({ der }) => ({ rawBytes: encodeBase64(der) })) },
    validFor: encodeTimeRange(authority.validFor),
    ...(authority.operator === undefined ? {} : { operator: authority.operator }),
  };
}
