import { equalBytes } from '#libs/encoding';
import { digestLengths, findAlgorithm, type SignatureAlgorithm } from '#libs/crypto';
import {
  entryAlgorithms,
  verifierBytes,
  type CreateEntryRequest,
  type DsseRequest,
  type HashedRekord,
  type LabelledVerifier,
  type Verifier,
} from './entry.js';
import { EntryError, invalid } from './error.js';
import { readKeyDetails } from './key-details.js';
import { checkOneOf, fieldNames, readBytes, readList, readMessage, readText } from './proto-json.js';

const requestFields = fieldNames('hashedRekordRequestV002', 'dsseRequestV002');
const hashedRekordFields = fieldNames('digest', 'signature');
const signatureFields = fieldNames('content', 'verifier');
const verifierFields = fieldNames('publicKey', 'x509Certificate', 'keyDetails');
const rawBytesFields = fieldNames('rawBytes');
const dsseFields = fieldNames('envelope', 'verifiers');
const envelopeFields = fieldNames('payload', 'payloadType', 'signatures');
const envelopeSignatureFields = fieldNames('sig', 'keyid');

const MAX_DSSE_ITEMS = 10;

/** What a client may use. */
export interface RequestOptions {
  /** By default `entryAlgorithms`; a log can narrow it. */
  readonly algorithms?: readonly SignatureAlgorithm[];
}

/**
 * Reads a `CreateEntryRequest` of the Rekor v2 API from parsed JSON: camelCase or snake_case names, base64 of either
 * alphabet, enumerations by name or number, null as absent, nothing unknown. What it returns is complete, its
 * algorithms are allowed and its digest has their length; keys, certificates and signatures have not been looked at
 * (see `verifyEntry`). The same in Zod, for documents: `createEntryRequestSchema`.
 *
 * @throws EntryError `ENTRY_TYPE` (no entry, or none of a type that exists), `ENTRY_JSON`, `ENTRY_INVALID` with `reason`
 * @see sigstore/rekor-tiles, api/proto/rekor/v2
 */
export function parseCreateEntryRequest(json: unknown, options: RequestOptions = {}): CreateEntryRequest {
  const where = 'CreateEntryRequest';
  const fields = readMessage(json, requestFields, where);
  checkOneOf(fields, 'hashedRekordRequestV002', 'dsseRequestV002', where);
  const algorithms = options.algorithms ?? entryAlgorithms;
  if (fields.hashedRekordRequestV002 !== undefined) {
    return readHashedRekord(fields.hashedRekordRequestV002, algorithms);
  }
  if (fields.dsseRequestV002 !== undefined) return readDsse(fields.dsseRequestV002, algorithms);
  throw new EntryError('ENTRY_TYPE', 'Cannot read entry request: it holds no entry');
}

function readHashedRekord(value: unknown, algorithms: readonly SignatureAlgorithm[]): HashedRekord {
  // The whole message is decoded before any rule is applied: JSON errors come first, then the rules in upstream's order.
  const fields = readMessage(value, hashedRekordFields, 'hashedRekordRequestV002');
  const digest = readBytes(fields.digest, 'digest');
  const signature = fields.signature === undefined ? {} : readMessage(fields.signature, signatureFields, 'signature');
  const content = readBytes(signature.content, 'signature.content');
  const labelled = signature.verifier === undefined ? undefined : readVerifier(signature.verifier);

  if (content.length === 0) throw invalid('missing-signature', 'missing signature');
  if (labelled === undefined) throw invalid('missing-verifier', 'missing verifier');
  if (digest.length === 0) throw invalid('missing-digest', 'missing digest');
  checkVerifier(labelled);
  const algorithm = allowedAlgorithm(labelled.keyDetails, algorithms);
  const length = digestLengths[algorithm.hash];
  if (digest.length !== length) {
    throw invalid('digest-length', `digest has ${digest.length} bytes, ${algorithm.keyDetails} needs ${length}`);
  }
  return { kind: 'hashedrekord', digest, signature: content, ...labelled };
}

function readDsse(value: unknown, algorithms: readonly SignatureAlgorithm[]): DsseRequest {
  const fields = readMessage(value, dsseFields, 'dsseRequestV002');
  const envelope = fields.envelope === undefined ? {} : readMessage(fields.envelope, envelopeFields, 'envelope');
  const payload = readBytes(envelope.payload, 'envelope.payload');
  const payloadType = readText(envelope.payloadType, 'envelope.payloadType');
  const signatures = readList(envelope.signatures, 'envelope.signatures').map((item) => {
    const signature = readMessage(item, envelopeSignatureFields, 'envelope.signatures');
    readText(signature.keyid, 'envelope.signatures.keyid');
    return readBytes(signature.sig, 'envelope.signatures.sig');
  });
  const verifiers = readList(fields.verifiers, 'verifiers').map(readVerifier);

  if (fields.envelope === undefined || payload.length === 0)
    throw invalid('missing-payload', 'missing envelope payload');
  if (verifiers.length === 0) throw invalid('missing-verifier', 'missing verifiers');
  if (signatures.length === 0) throw invalid('missing-signature', 'missing envelope signatures');
  if (verifiers.length > MAX_DSSE_ITEMS || signatures.length > MAX_DSSE_ITEMS) {
    const state = `${signatures.length} signatures and ${verifiers.length} verifiers, at most ${MAX_DSSE_ITEMS} of each`;
    throw invalid('too-many', state);
  }
  if (signatures.some((signature) => signature.length === 0)) {
    throw invalid('missing-signature', 'an envelope signature is empty');
  }
  for (const labelled of verifiers) checkVerifier(labelled);
  // Two ways to say the same would make the stored entry depend on their order.
  if (hasDuplicate(signatures)) throw invalid('duplicate', 'two envelope signatures are equal');
  if (hasDuplicate(verifiers.map(({ verifier }) => verifierBytes(verifier)))) {
    throw invalid('duplicate', 'two verifiers are equal');
  }
  for (const { keyDetails } of verifiers) allowedAlgorithm(keyDetails, algorithms);
  return { kind: 'dsse', payload, payloadType, signatures, verifiers };
}

function readVerifier(value: unknown): LabelledVerifier {
  const where = 'verifier';
  const fields = readMessage(value, verifierFields, where);
  checkOneOf(fields, 'publicKey', 'x509Certificate', where);
  const keyDetails = readKeyDetails(fields.keyDetails, 'keyDetails');
  const verifier: Verifier =
    fields.x509Certificate === undefined
      ? { publicKey: readRawBytes(fields.publicKey, 'publicKey') }
      : { x509Certificate: readRawBytes(fields.x509Certificate, 'x509Certificate') };
  return { keyDetails, verifier };
}

function readRawBytes(value: unknown, where: string): Uint8Array {
  return readBytes(value === undefined ? undefined : readMessage(value, rawBytesFields, where).rawBytes, where);
}

function checkVerifier({ verifier }: LabelledVerifier): void {
  if (verifierBytes(verifier).length === 0) throw invalid('missing-key', 'verifier has neither key nor certificate');
}

function allowedAlgorithm(keyDetails: string, algorithms: readonly SignatureAlgorithm[]): SignatureAlgorithm {
  const algorithm = findAlgorithm(keyDetails);
  if (algorithm === undefined) throw invalid('algorithm-unknown', 'unsupported signing algorithm');
  if (!algorithms.includes(algorithm)) {
    throw invalid('algorithm-not-allowed', `signing algorithm ${algorithm.keyDetails} is not allowed`);
  }
  return algorithm;
}

function hasDuplicate(items: readonly Uint8Array[]): boolean {
  return items.some((item, index) => items.slice(0, index).some((earlier) => equalBytes(earlier, item)));
}
