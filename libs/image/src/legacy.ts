import type { Bundle, Envelope, TlogEntry } from '#libs/bundle';
import { JsonMessage, type MakeJsonError } from '#libs/bundle';
import { encodeBase64, encodeHex, encodePem, equalBytes, parseAnyBase64, parseHex, parseJson } from '#libs/encoding';
import { parseEntryBody } from '#libs/entry';
import { parseCertificatePem, type Certificate } from '#libs/x509';
import { ImageError } from './error.js';
import {
  CERTIFICATE_ANNOTATION,
  CHAIN_ANNOTATION,
  DSSE_TYPE,
  LEGACY_PREDICATE_TYPE_ANNOTATION,
  LOG_ANNOTATION,
  SIGNATURE_ANNOTATION,
  SIMPLE_SIGNING_TYPE,
  TIMESTAMP_ANNOTATION,
} from './layout.js';

/** A layer of the legacy layout: its bytes, and what its descriptor says about them. */
export interface LegacyLayer {
  mediaType: string;
  bytes: Uint8Array;
  annotations: Readonly<Record<string, string>>;
}

/** Bundles of this version may have a promise of the log alone, without proof: just what this layout holds. */
const BUNDLE_0_1 = 'application/vnd.dev.sigstore.bundle+json;version=0.1';
const MAX_CHAIN = 10;
// An envelope may hold an SBOM.
const MAX_ENVELOPE_BYTES = 32 * 1024 * 1024;

const refuse = (problem: string, cause?: unknown) =>
  new ImageError('IMAGE_LEGACY', `Cannot read legacy signature: ${problem}`, { cause });
const malformed: MakeJsonError = (_, problem) => refuse(problem);

/**
 * The same evidence as a bundle, so that one verifier judges both layouts. Nothing is made up: signature, certificates, the log's promise and the timestamp
 * are the annotations', and the kind of the log entry is what its body says. Certificates of the chain are hints, so a self-signed one, which proves nothing,
 * is left out; a timestamp of an envelope is left out too, because it is over the envelope's text instead of the signature: the promise tells the time.
 * @throws ImageError `IMAGE_LEGACY`
 * @see sigstore/cosign: specs/SIGNATURE_SPEC.md, specs/ATTESTATION_SPEC.md
 */
export function bundleOfLayer({ mediaType, bytes, annotations }: LegacyLayer): Bundle {
  const text = (name: string): string => (Object.hasOwn(annotations, name) ? (annotations[name] ?? '') : '');
  try {
    const content: Bundle['content'] =
      mediaType === DSSE_TYPE
        ? { kind: 'dsse', envelope: parseEnvelope(bytes) }
        : { kind: 'message', signature: requiredBase64(text(SIGNATURE_ANNOTATION), SIGNATURE_ANNOTATION) };
    const certificate = text(CERTIFICATE_ANNOTATION);
    const log = text(LOG_ANNOTATION);
    const timestamp = text(TIMESTAMP_ANNOTATION);
    return {
      mediaType: BUNDLE_0_1,
      version: '0.1',
      material:
        certificate === ''
          ? { kind: 'publicKey', hint: '' }
          : { kind: 'certificate', certificates: readCertificates(certificate, text(CHAIN_ANNOTATION)) },
      tlogEntries: isAbsent(log) ? [] : [readLogEntry(log)],
      timestamps: isAbsent(timestamp) || content.kind === 'dsse' ? [] : [readTimestamp(timestamp)],
      content,
    };
  } catch (error) {
    if (error instanceof ImageError) throw error;
    throw refuse(error instanceof Error ? error.message : 'malformed', error);
  }
}

/** cosign writes `null` for "none". */
function isAbsent(annotation: string): boolean {
  return annotation === '' || annotation === 'null';
}

function requiredBase64(text: string, name: string): Uint8Array {
  if (text === '') throw refuse(`the annotation ${name} is missing`);
  return parseAnyBase64(text);
}

function readCertificates(certificate: string, chain: string): Uint8Array[] {
  const [leaf, second] = parseCertificatePem(certificate);
  if (leaf === undefined || second !== undefined) {
    throw refuse(`the annotation ${CERTIFICATE_ANNOTATION} must have exactly one certificate`);
  }
  const helpers = chain === '' ? [] : parseCertificatePem(chain);
  if (helpers.length > MAX_CHAIN) throw refuse(`the annotation ${CHAIN_ANNOTATION} has ${helpers.length} certificates`);
  return [leaf, ...helpers.filter(({ subject, issuer }) => !equalBytes(subject, issuer))].map(({ der }) => der);
}

/** `{"SignedEntryTimestamp": b64, "Payload": {"body": b64, "integratedTime": int, "logIndex": int, "logID": hex}}` */
function readLogEntry(text: string): TlogEntry {
  const bundle = new JsonMessage(parseJson(text, { bigIntegers: true }), LOG_ANNOTATION, malformed);
  const payload = bundle.requiredMessage('Payload');
  const canonicalizedBody = requiredBase64(payload.requiredString('body', MAX_ENVELOPE_BYTES), 'body');
  const { kind, version } = parseEntryBody(canonicalizedBody);
  return {
    logIndex: payload.count64('logIndex'),
    logId: parseHex(payload.requiredString('logID', 64)),
    kind,
    version,
    integratedTime: payload.count64('integratedTime'),
    inclusionPromise: bundle.requiredBytes('SignedEntryTimestamp'),
    canonicalizedBody,
  };
}

/** `{"SignedRFC3161Timestamp": b64}` */
function readTimestamp(text: string): Uint8Array {
  return new JsonMessage(parseJson(text), TIMESTAMP_ANNOTATION, malformed).requiredBytes('SignedRFC3161Timestamp');
}

/** DSSE asks readers to take both alphabets of base64 and to leave unknown members alone; one signature, as everywhere here. */
function parseEnvelope(bytes: Uint8Array): Envelope {
  const envelope = new JsonMessage(parseJson(bytes, { maxLength: MAX_ENVELOPE_BYTES }), '', malformed);
  const [signature, second] = envelope.messages('signatures', 32);
  if (signature === undefined || second !== undefined) throw refuse('the envelope must have exactly one signature');
  return {
    payload: envelope.requiredBytes('payload'),
    payloadType: envelope.requiredString('payloadType'),
    signatures: [{ sig: signature.requiredBytes('sig'), keyid: signature.string('keyid') }],
  };
}

/**
 * The inverse: the layer that holds what a bundle of one log entry with a promise (Rekor v1) holds. The proof is lost: the layout has no place for it.
 * `bytes`: the payload that was signed, or the envelope's text as the log got it. `chain`: the certificates above the leaf, for readers without a trusted root.
 * @throws ImageError `IMAGE_SERVICES`
 */
export function layerOfBundle(
  { material, tlogEntries, timestamps, content }: Bundle,
  { bytes, chain, predicateType }: { bytes: Uint8Array; chain: readonly Certificate[]; predicateType?: string },
): LegacyLayer {
  const [entry] = tlogEntries;
  if (entry?.inclusionPromise === undefined || entry.integratedTime === undefined) {
    throw new ImageError('IMAGE_SERVICES', 'Cannot write the legacy layout: the log gave no promise to store', {
      cure: 'Use a log with the API of Rekor v1, or the bundle layout',
    });
  }
  const leaf = material.kind === 'certificate' ? material.certificates[0] : undefined;
  const [timestamp] = timestamps;
  const log = {
    SignedEntryTimestamp: encodeBase64(entry.inclusionPromise),
    Payload: {
      body: encodeBase64(entry.canonicalizedBody),
      integratedTime: Number(entry.integratedTime),
      logIndex: Number(entry.logIndex),
      logID: encodeHex(entry.logId),
    },
  };
  return {
    mediaType: content.kind === 'dsse' ? DSSE_TYPE : SIMPLE_SIGNING_TYPE,
    bytes,
    annotations: {
      [SIGNATURE_ANNOTATION]: content.kind === 'dsse' ? '' : encodeBase64(content.signature),
      ...(leaf && { [CERTIFICATE_ANNOTATION]: encodePem('CERTIFICATE', leaf) }),
      ...(leaf &&
        chain.length > 0 && { [CHAIN_ANNOTATION]: chain.map(({ der }) => encodePem('CERTIFICATE', der)).join('') }),
      [LOG_ANNOTATION]: JSON.stringify(log),
      // Readers expect that of an envelope to be over its text, which ours is not.
      ...(timestamp &&
        content.kind === 'message' && {
          [TIMESTAMP_ANNOTATION]: JSON.stringify({ SignedRFC3161Timestamp: encodeBase64(timestamp) }),
        }),
      ...(predicateType !== undefined && { [LEGACY_PREDICATE_TYPE_ANNOTATION]: predicateType }),
    },
  };
}
