import type { HashAlgorithm } from '#libs/crypto';
import { EncodingError, encodeBase64, encodeHex, parseJson } from '#libs/encoding';
import type { Envelope } from './dsse.js';
import { BundleError } from './error.js';
import { JsonMessage, type MakeJsonError } from './json-message.js';
import { encodeTlogEntry, readTlogEntry, type TlogEntry } from './tlog-entry.js';

export type BundleVersion = '0.1' | '0.2' | '0.3';

/** All a verifier needs beside the artifact and a trusted root. Well formed, but nothing in it is verified. */
export interface Bundle {
  /** As written in the file. */
  mediaType: string;
  version: BundleVersion;
  material: VerificationMaterial;
  tlogEntries: TlogEntry[];
  /** RFC 3161 `TimeStampResp`, DER. */
  timestamps: Uint8Array[];
  content: BundleContent;
}

/** Whose key signed: a certificate (DER, leaf first; whatever follows is an untrusted hint), or a key the verifier has. */
export type VerificationMaterial =
  { kind: 'certificate'; certificates: Uint8Array[] } | { kind: 'publicKey'; hint: string };

/**
 * What was signed. The digest of a message is the signer's word for identification only: verifiers hash the artifact.
 * Signatures: ECDSA as DER, Ed25519 64 bytes, RSA as long as the modulus.
 */
export type BundleContent =
  | { kind: 'message'; digest?: { algorithm: HashAlgorithm; digest: Uint8Array }; signature: Uint8Array }
  | { kind: 'dsse'; envelope: Envelope };

/** The media type of the bundles we write. */
export const BUNDLE_MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

const MEDIA_TYPES: ReadonlyMap<string, BundleVersion> = new Map([
  ['application/vnd.dev.sigstore.bundle+json;version=0.1', '0.1'],
  ['application/vnd.dev.sigstore.bundle+json;version=0.2', '0.2'],
  ['application/vnd.dev.sigstore.bundle+json;version=0.3', '0.3'],
  [BUNDLE_MEDIA_TYPE, '0.3'],
]);

const HASHES: ReadonlyMap<string, { algorithm: HashAlgorithm; length: number }> = new Map([
  ['SHA2_256', { algorithm: 'sha256', length: 32 }],
  ['SHA2_384', { algorithm: 'sha384', length: 48 }],
  ['SHA2_512', { algorithm: 'sha512', length: 64 }],
]);

const MAX_BUNDLE_BYTES = 32 * 1024 * 1024;
const MAX_CERTIFICATES = 10;
// sigstore-go: pkg/verify/tlog.go and tsa.go, the same numbers
const MAX_TLOG_ENTRIES = 32;
const MAX_TIMESTAMPS = 32;

const refuse: MakeJsonError = (fault, problem) =>
  new BundleError(fault === 'limit' ? 'BUNDLE_LIMIT' : 'BUNDLE_MALFORMED', `Cannot read bundle: ${problem}`);

/**
 * Reads a Sigstore bundle of version 0.1, 0.2 or 0.3 from its JSON text or UTF-8 bytes (at most 32 MiB), and holds it to
 * the rules of its version.
 * @throws BundleError all codes but `BUNDLE_STATEMENT`
 * @see sigstore/protobuf-specs: protos/sigstore_bundle.proto
 */
export function parseBundle(text: string | Uint8Array): Bundle {
  if (text.length > MAX_BUNDLE_BYTES) {
    throw new BundleError('BUNDLE_LIMIT', `Cannot read bundle: it is larger than ${MAX_BUNDLE_BYTES} bytes`);
  }
  let json: unknown;
  try {
    json = parseJson(text, { bigIntegers: true });
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw new BundleError('BUNDLE_JSON', `Cannot read bundle: ${reasonOf(error)}`, { cause: error });
  }

  const root = new JsonMessage(json, '', refuse);
  // Before anything else, so that a file of a later version is told as such and not by its first unknown field.
  const mediaType = root.string('mediaType');
  const version = MEDIA_TYPES.get(mediaType);
  if (version === undefined) {
    throw new BundleError(
      'BUNDLE_MEDIA_TYPE',
      mediaType === ''
        ? 'Cannot read bundle: it has no media type'
        : `Cannot read bundle: media type ${JSON.stringify(mediaType.slice(0, 100))} is not one of versions 0.1 to 0.3`,
    );
  }
  root.only('mediaType', 'verificationMaterial', 'messageSignature', 'dsseEnvelope');
  const material = root.requiredMessage('verificationMaterial');
  material.only('publicKey', 'x509CertificateChain', 'certificate', 'tlogEntries', 'timestampVerificationData');
  const bundle: Bundle = {
    mediaType,
    version,
    material: readMaterial(material, version),
    tlogEntries: readTlogEntries(material),
    timestamps: readTimestamps(material),
    content: readContent(root),
  };
  checkVersionRules(bundle);
  return bundle;
}

function readMaterial(material: JsonMessage, version: BundleVersion): VerificationMaterial {
  switch (material.oneOf('publicKey', 'x509CertificateChain', 'certificate')) {
    case 'publicKey':
      return { kind: 'publicKey', hint: material.requiredMessage('publicKey').only('hint').string('hint') };
    case 'x509CertificateChain': {
      if (version === '0.3') throw ruleBroken(version, 'the certificate must be in `certificate`, not in a chain');
      const chain = material.requiredMessage('x509CertificateChain').only('certificates');
      const certificates = chain.messages('certificates', MAX_CERTIFICATES).map(readCertificate);
      if (certificates.length === 0) throw chain.fault('malformed', 'certificates', 'is empty');
      return { kind: 'certificate', certificates };
    }
    case 'certificate':
      if (version !== '0.3') throw ruleBroken(version, 'the certificate must be in `x509CertificateChain`');
      return { kind: 'certificate', certificates: [readCertificate(material.requiredMessage('certificate'))] };
    case undefined:
      throw refuse('malformed', 'verificationMaterial has neither a certificate nor a public key');
  }
}

function readCertificate(certificate: JsonMessage): Uint8Array {
  return certificate.only('rawBytes').requiredBytes('rawBytes');
}

function readTlogEntries(material: JsonMessage): TlogEntry[] {
  const messages = material.messages('tlogEntries', MAX_TLOG_ENTRIES);
  const entries = messages.map(readTlogEntry);
  // Said twice is still said once: a repeated entry must not look like a second witness.
  const seen = new Set<string>();
  for (const { logId, logIndex } of entries) {
    const key = `${encodeHex(logId)} ${logIndex}`;
    if (seen.has(key)) throw material.fault('malformed', 'tlogEntries', `has entry ${logIndex} of one log twice`);
    seen.add(key);
  }
  return entries;
}

function readTimestamps(material: JsonMessage): Uint8Array[] {
  const data = material.message('timestampVerificationData')?.only('rfc3161Timestamps');
  if (data === undefined) return [];
  const timestamps = data
    .messages('rfc3161Timestamps', MAX_TIMESTAMPS)
    .map((timestamp) => timestamp.only('signedTimestamp').requiredBytes('signedTimestamp'));
  if (new Set(timestamps.map(encodeBase64)).size !== timestamps.length) {
    throw data.fault('malformed', 'rfc3161Timestamps', 'has the same timestamp twice');
  }
  return timestamps;
}

function readContent(root: JsonMessage): BundleContent {
  switch (root.oneOf('messageSignature', 'dsseEnvelope')) {
    case 'messageSignature': {
      const message = root.requiredMessage('messageSignature').only('messageDigest', 'signature');
      const digest = message.message('messageDigest');
      return {
        kind: 'message',
        ...(digest === undefined ? {} : { digest: readDigest(digest) }),
        signature: message.requiredBytes('signature'),
      };
    }
    case 'dsseEnvelope':
      return { kind: 'dsse', envelope: readEnvelope(root.requiredMessage('dsseEnvelope')) };
    case undefined:
      throw refuse('malformed', 'it has neither messageSignature nor dsseEnvelope');
  }
}

function readDigest(message: JsonMessage): { algorithm: HashAlgorithm; digest: Uint8Array } {
  message.only('algorithm', 'digest');
  const hash = HASHES.get(message.requiredString('algorithm'));
  if (hash === undefined)
    throw message.fault('malformed', 'algorithm', `is not one of ${[...HASHES.keys()].join(', ')}`);
  const digest = message.requiredBytes('digest');
  if (digest.length !== hash.length) {
    throw message.fault('malformed', 'digest', `must have ${hash.length} bytes, not ${digest.length}`);
  }
  return { algorithm: hash.algorithm, digest };
}

function readEnvelope(envelope: JsonMessage): Envelope {
  envelope.only('payload', 'payloadType', 'signatures');
  const signatures = envelope.messages('signatures', MAX_TLOG_ENTRIES);
  if (signatures.length !== 1) {
    throw envelope.fault('malformed', 'signatures', `must have exactly one item, not ${signatures.length}`);
  }
  return {
    payload: envelope.requiredBytes('payload'),
    payloadType: envelope.requiredString('payloadType'),
    signatures: signatures.map((signature) => {
      signature.only('sig', 'keyid');
      return { sig: signature.requiredBytes('sig'), keyid: signature.string('keyid') };
    }),
  };
}

/** What a version requires of log entries; the rest is checked where the fields are read. */
function checkVersionRules({ version, tlogEntries, material, content }: Bundle): void {
  tlogEntries.forEach((entry, i) => {
    if (version === '0.1') {
      if (!entry.inclusionPromise) throw ruleBroken(version, `tlogEntries[${i}] must have an inclusion promise`);
      return;
    }
    if (!entry.inclusionProof) throw ruleBroken(version, `tlogEntries[${i}] must have an inclusion proof`);
    if (entry.inclusionProof.checkpoint === undefined) {
      throw ruleBroken(version, `the inclusion proof of tlogEntries[${i}] must have a checkpoint`);
    }
  });
  if (material.kind === 'publicKey' && content.kind === 'dsse') {
    const keyid = content.envelope.signatures[0]?.keyid ?? '';
    if (keyid !== '' && keyid !== material.hint) {
      throw refuse('malformed', 'keyid of the envelope and hint of the public key differ');
    }
  }
}

function ruleBroken(version: BundleVersion, rule: string): BundleError {
  return new BundleError('BUNDLE_VERSION_RULE', `Cannot read bundle: in version ${version}, ${rule}`);
}

function reasonOf(error: Error): string {
  const colon = error.message.indexOf(': ');
  return colon < 0 ? error.message : error.message.slice(colon + 2);
}

/**
 * Writes a bundle of version 0.3 as one line of JSON, without a newline, so that several can share a `.jsonl` file.
 * Whatever its version was: only the leaf certificate is kept, because 0.3 has no room for others.
 * @throws BundleError `BUNDLE_VERSION_RULE` if an entry has no inclusion proof with a checkpoint
 */
export function encodeBundle(bundle: Bundle): string {
  const { material, tlogEntries, timestamps, content } = bundle;
  checkVersionRules({ ...bundle, version: '0.3' });
  return JSON.stringify({
    mediaType: BUNDLE_MEDIA_TYPE,
    verificationMaterial: {
      ...encodeMaterial(material),
      tlogEntries: tlogEntries.map((entry) => encodeTlogEntry(entry)),
      timestampVerificationData: {
        rfc3161Timestamps: timestamps.map((timestamp) => ({ signedTimestamp: encodeBase64(timestamp) })),
      },
    },
    ...encodeContent(content),
  });
}

function encodeMaterial(material: VerificationMaterial): object {
  if (material.kind === 'publicKey') return { publicKey: { hint: material.hint } };
  const leaf = material.certificates[0];
  if (leaf === undefined) throw ruleBroken('0.3', 'there must be a certificate');
  return { certificate: { rawBytes: encodeBase64(leaf) } };
}

function encodeContent(content: BundleContent): object {
  if (content.kind === 'dsse') {
    const { payload, payloadType, signatures } = content.envelope;
    return {
      dsseEnvelope: {
        payload: encodeBase64(payload),
        payloadType,
        signatures: signatures.map(({ sig, keyid }) => ({
          sig: encodeBase64(sig),
          ...(keyid === '' ? {} : { keyid }),
        })),
      },
    };
  }
  const { digest, signature } = content;
  return {
    messageSignature: {
      ...(digest === undefined
        ? {}
        : { messageDigest: { algorithm: hashName(digest.algorithm), digest: encodeBase64(digest.digest) } }),
      signature: encodeBase64(signature),
    },
  };
}

/** Protocol Buffers' name of a hash, from {@link HASHES}. */
function hashName(algorithm: HashAlgorithm): string {
  return `SHA2_${algorithm.slice(3)}`;
}
