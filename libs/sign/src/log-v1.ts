import type { Envelope, TlogEntry } from '#libs/bundle';
import {
  canonicalizeJson,
  encodeBase64,
  encodeHex,
  encodePem,
  encodeUtf8,
  equalBytes,
  parseBase64,
  parseHex,
  type JsonValue,
} from '#libs/encoding';
import { findAlgorithm } from '#libs/crypto';
import { parseEntryBody, type EntryBody, type Verifier } from '#libs/entry';
import { leafHash, verifyInclusion } from '#libs/merkle';
import { opensslCrypto, sha256 } from '#libs/openssl';
import { isValidAt } from '#libs/trust';
import { SignError } from './error.js';
import { callService, joinUrl, parseJsonResponse, type HttpOptions, type ServiceResponse } from './http.js';
import type { LogRequest } from './log.js';

const MAX_RESPONSE_BYTES = 10 * 1000 * 1000;

/**
 * The text of an envelope as signers write it into files. Rekor v1 keeps its hash, so whoever stores an envelope beside its log entry must store this text.
 * @see secure-systems-lab/dsse: envelope.md
 */
export function encodeEnvelope({ payload, payloadType, signatures }: Envelope): string {
  return JSON.stringify({
    payloadType,
    payload: encodeBase64(payload),
    signatures: signatures.map(({ sig, keyid }) => ({ keyid, sig: encodeBase64(sig) })),
  });
}

/**
 * Submits an entry to a log with Rekor's API v1, `hashedrekord` 0.0.1 or for an envelope `dsse` 0.0.1, and verifies the answer: the entry is about what was
 * sent, the proof leads to its root, and, with a trusted root, the promise is signed by a log in it. Unlike v2 such a log says when it took the entry.
 *
 * @throws SignError `SIGN_LOG_*`, `SIGN_RESPONSE_MALFORMED`, and those of `callService`
 * @see sigstore/rekor: openapi.yaml, createLogEntry
 */
export async function logEntryV1(request: LogRequest, http: HttpOptions): Promise<TlogEntry> {
  const { entry, envelope } = request;
  const verifier = encodeBase64(encodeUtf8(pemOf(entry.verifier)));
  const proposed =
    envelope === undefined
      ? {
          apiVersion: '0.0.1',
          kind: 'hashedrekord',
          spec: {
            data: { hash: { algorithm: `sha${entry.digest.length * 8}`, value: encodeHex(entry.digest) } },
            signature: { content: encodeBase64(entry.signature), publicKey: { content: verifier } },
          },
        }
      : {
          apiVersion: '0.0.1',
          kind: 'dsse',
          spec: {
            proposedContent: {
              envelope: encodeEnvelope({ ...envelope, signatures: [{ sig: entry.signature, keyid: '' }] }),
              verifiers: [verifier],
            },
          },
        };
  const path = '/api/v1/log/entries';
  let response = await callService(
    {
      service: 'transparency log',
      url: joinUrl(request.url, path),
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(proposed),
      maxBytes: MAX_RESPONSE_BYTES,
      accept: [409],
    },
    http,
  );
  if (response.status === 409) response = await readExisting(response, request.url, path, http);
  const answer = readAnswer(response);
  await verifyAnswer(answer, request);
  return answer;
}

function pemOf(verifier: Verifier): string {
  return 'publicKey' in verifier
    ? encodePem('PUBLIC KEY', verifier.publicKey)
    : encodePem('CERTIFICATE', verifier.x509Certificate);
}

/** The log has it already: our first attempt arrived, but its answer was lost. It is read again at the place that the answer names. */
function readExisting(
  { headers }: ServiceResponse,
  url: string,
  path: string,
  http: HttpOptions,
): Promise<ServiceResponse> {
  // Only the name of the entry counts: another host or path is none of our business.
  const id = /([0-9a-f]{64}|[0-9a-f]{80})$/.exec(headers.get('location') ?? '')?.[1];
  if (id === undefined) {
    throw new SignError('SIGN_REFUSED', 'Cannot log the entry: the log has it already, and does not say where', {
      status: 409,
      cure: 'Sign again: the next signature is a different one',
    });
  }
  return callService(
    {
      service: 'transparency log',
      url: joinUrl(url, `${path}/${id}`),
      headers: { accept: 'application/json' },
      maxBytes: MAX_RESPONSE_BYTES,
    },
    http,
  );
}

type JsonObject = { [key: string]: JsonValue };

/** `{ "<id>": { body, integratedTime, logID, logIndex, verification } }` with exactly one member. */
function readAnswer(response: ServiceResponse): TlogEntry {
  const json = parseJsonResponse('transparency log', response);
  try {
    const [entry, second] = Object.values(objectOf(json, 'the answer'));
    if (second !== undefined) throw new Error('it has more than one entry');
    const { body, integratedTime, logID, logIndex, verification } = objectOf(entry, 'the entry');
    const { signedEntryTimestamp, inclusionProof } = objectOf(verification, 'verification');
    const proof = objectOf(inclusionProof, 'inclusionProof');
    const canonicalizedBody = parseBase64(textOf(body));
    const { kind, version } = parseEntryBody(canonicalizedBody);
    if (!Array.isArray(proof['hashes'])) throw new Error('hashes is not a list');
    return {
      logIndex: countOf(logIndex),
      logId: parseHex(textOf(logID)),
      kind,
      version,
      integratedTime: countOf(integratedTime),
      inclusionPromise: parseBase64(textOf(signedEntryTimestamp)),
      inclusionProof: {
        logIndex: countOf(proof['logIndex']),
        treeSize: countOf(proof['treeSize']),
        rootHash: parseHex(textOf(proof['rootHash'])),
        hashes: proof['hashes'].map((hash) => parseHex(textOf(hash))),
        checkpoint: textOf(proof['checkpoint']),
      },
      canonicalizedBody,
    };
  } catch (cause) {
    throw new SignError(
      'SIGN_RESPONSE_MALFORMED',
      `Cannot read the answer of the transparency log: ${cause instanceof Error ? cause.message : 'no entry'}`,
      { cause },
    );
  }
}

function objectOf(value: JsonValue | undefined, what: string): JsonObject {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Error(`${what} is not an object`);
  return value;
}

function textOf(value: JsonValue | undefined): string {
  if (typeof value !== 'string') throw new Error('a field that must be text is not');
  return value;
}

function countOf(value: JsonValue | undefined): bigint {
  if (typeof value === 'bigint' && value >= 0n) return value;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new Error('a field that must be a whole number is not');
  }
  return BigInt(value);
}

async function verifyAnswer(answer: TlogEntry, request: LogRequest): Promise<void> {
  if (!isAbout(parseEntryBody(answer.canonicalizedBody), request)) {
    throw new SignError(
      'SIGN_LOG_BODY',
      'Cannot use the log entry: the log answered with another entry than the one sent',
    );
  }
  const proof = answer.inclusionProof;
  try {
    if (proof === undefined) throw new Error('it has no proof');
    verifyInclusion(sha256, {
      index: proof.logIndex,
      size: proof.treeSize,
      leafHash: leafHash(sha256, answer.canonicalizedBody),
      proof: proof.hashes,
      root: proof.rootHash,
    });
  } catch (cause) {
    throw new SignError(
      'SIGN_LOG_PROOF',
      `Cannot use the log entry: ${cause instanceof Error ? cause.message : 'no proof'}`,
      { cause },
    );
  }
  if (request.trustedRoot !== undefined) await verifyPromise(answer, request.trustedRoot.tlogs);
}

/** Signature, signer and content are those that were sent: any other entry would prove nothing about this artifact. */
function isAbout(body: EntryBody, { entry, envelope }: LogRequest): boolean {
  const [logged, second] = body.kind === 'hashedrekord' ? [body] : body.signatures;
  if (logged === undefined || second !== undefined || !equalBytes(logged.signature, entry.signature)) return false;
  const { verifier } = logged;
  const isSameSigner =
    'publicKey' in verifier
      ? 'publicKey' in entry.verifier && equalBytes(verifier.publicKey, entry.verifier.publicKey)
      : 'x509Certificate' in entry.verifier && equalBytes(verifier.x509Certificate, entry.verifier.x509Certificate);
  if (!isSameSigner) return false;
  if (body.kind === 'hashedrekord') return envelope === undefined && equalBytes(body.hash.bytes, entry.digest);
  return (
    envelope !== undefined &&
    equalBytes(opensslCrypto.hash(body.payloadHash.algorithm, envelope.payload), body.payloadHash.bytes)
  );
}

/** The promise (signed entry timestamp) covers body, time, log and index as canonical JSON (RFC 8785). */
async function verifyPromise(
  { canonicalizedBody, integratedTime, logId, logIndex, inclusionPromise }: TlogEntry,
  tlogs: NonNullable<LogRequest['trustedRoot']>['tlogs'],
): Promise<void> {
  const time = new Date(Number(integratedTime ?? 0n) * 1000);
  const log = tlogs.find((known) => equalBytes(known.logId, logId) && isValidAt(known.validFor, time));
  const scheme = log && findAlgorithm(log.keyDetails)?.scheme;
  const promised = encodeUtf8(
    canonicalizeJson({
      body: encodeBase64(canonicalizedBody),
      integratedTime: integratedTime ?? 0n,
      logID: encodeHex(logId),
      logIndex,
    }),
  );
  if (
    log === undefined ||
    scheme === undefined ||
    inclusionPromise === undefined ||
    !(await opensslCrypto.verify(log.publicKey, scheme, promised, inclusionPromise))
  ) {
    throw new SignError(
      'SIGN_LOG_CHECKPOINT',
      log === undefined
        ? 'Cannot believe the promise of the log: the trusted root has no log of this id that is valid now'
        : 'Cannot believe the promise of the log: it is not signed by the key of the trusted root',
      { cure: 'Check that the trusted root has the key of this log' },
    );
  }
}
