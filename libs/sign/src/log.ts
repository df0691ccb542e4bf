import { parseTlogEntry, type TlogEntry } from '#libs/bundle';
import { encodeBase64, equalBytes } from '#libs/encoding';
import { canonicalizeEntry, type DsseEntry, type Entry, type HashedRekord, type Verifier } from '#libs/entry';
import { leafHash, verifyInclusion } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { SignError } from './error.js';
import { callService, joinUrl, parseJsonResponse, type HttpOptions, type ServiceResponse } from './http.js';
import { createLogReader, readCheckpoint, type LogTrust } from './log-reader.js';

export interface LogRequest extends LogTrust {
  /** Base URL of a log with Rekor's API v2. */
  url: string;
  entry: HashedRekord;
  /** The envelope that was signed, if it was one: the entry's digest is then that of its pre-authentication encoding. */
  envelope?: { payloadType: string; payload: Uint8Array };
  /** Which kind an envelope is offered as first. Default `dsse`. */
  envelopeEntry?: 'dsse' | 'hashedrekord';
}

const MAX_RESPONSE_BYTES = 10 * 1000 * 1000;

/**
 * Submits an entry, and verifies the answer: the body is what was sent, the proof leads to the root of the checkpoint, and, with a trusted root,
 * the checkpoint is signed by a log in it.
 *
 * An envelope is offered as `dsse` 0.0.2 first. Newer logs take a `hashedrekord` over its encoding instead and refuse the former with 400; but the
 * released verifier of sigstore-js (4.x) compares such an entry with the hash of the payload, and can check only the former. Those of sigstore-go, which cosign
 * uses, know only the latter: whoever signs for them sets `envelopeEntry`.
 *
 * @throws SignError `SIGN_LOG_*`, `SIGN_RESPONSE_MALFORMED`, and those of `callService`
 * @see Rekor's v2 log specification, CreateEntry
 */
export async function logEntry(request: LogRequest, http: HttpOptions): Promise<TlogEntry> {
  const { entry, envelope, envelopeEntry = 'dsse' } = request;
  const signature = { content: encodeBase64(entry.signature) };
  const verifier = { ...encodeVerifier(entry.verifier), keyDetails: entry.keyDetails };
  if (envelope !== undefined && envelopeEntry === 'dsse') {
    const dsse: DsseEntry = {
      kind: 'dsse',
      payloadHash: sha256(envelope.payload),
      signatures: [{ signature: entry.signature, keyDetails: entry.keyDetails, verifier: entry.verifier }],
    };
    const { payloadType } = envelope;
    const proposed = {
      envelope: { payload: encodeBase64(envelope.payload), payloadType, signatures: [{ sig: signature.content }] },
      verifiers: [verifier],
    };
    const response = await submit({ dsseRequestV002: proposed }, request.url, [400, 409], http);
    if (response.status !== 400) return readAnswer(response, dsse, request, http);
  }
  const proposed = { digest: encodeBase64(entry.digest), signature: { ...signature, verifier } };
  const response = await submit({ hashedRekordRequestV002: proposed }, request.url, [409], http);
  return readAnswer(response, entry, request, http);
}

function encodeVerifier(verifier: Verifier): object {
  return 'publicKey' in verifier
    ? { publicKey: { rawBytes: encodeBase64(verifier.publicKey) } }
    : { x509Certificate: { rawBytes: encodeBase64(verifier.x509Certificate) } };
}

function submit(body: object, url: string, accept: number[], http: HttpOptions): Promise<ServiceResponse> {
  return callService(
    {
      service: 'transparency log',
      url: joinUrl(url, '/api/v2/log/entries'),
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      maxBytes: MAX_RESPONSE_BYTES,
      accept,
    },
    http,
  );
}

async function readAnswer(
  response: ServiceResponse,
  entry: Entry,
  request: LogRequest,
  http: HttpOptions,
): Promise<TlogEntry> {
  const body = canonicalizeEntry(entry);
  if (response.status === 409) {
    return readDuplicate(response.headers.get('x-log-index'), { kind: entry.kind, body }, request, http);
  }
  let answer: TlogEntry;
  try {
    answer = parseTlogEntry(parseJsonResponse('transparency log', response));
  } catch (cause) {
    if (cause instanceof SignError) throw cause;
    throw new SignError(
      'SIGN_RESPONSE_MALFORMED',
      `Cannot read the answer of the transparency log: ${cause instanceof Error ? cause.message : 'no entry'}`,
      { cause },
    );
  }
  await verifyLogged(answer, body, request);
  return answer;
}

/** Exactly what was sent must be logged: another valid entry would make a bundle that proves nothing about this artifact. */
async function verifyLogged(answer: TlogEntry, body: Uint8Array, trust: LogTrust): Promise<void> {
  if (!equalBytes(answer.canonicalizedBody, body)) {
    throw new SignError(
      'SIGN_LOG_BODY',
      'Cannot use the log entry: the log answered with another entry than the one sent',
    );
  }
  const proof = answer.inclusionProof;
  if (proof?.checkpoint === undefined) {
    throw new SignError(
      'SIGN_LOG_PROOF',
      'Cannot use the log entry: the answer has no inclusion proof with a checkpoint',
    );
  }
  const head = await readCheckpoint(proof.checkpoint, trust);
  if (
    proof.treeSize !== head.size ||
    !equalBytes(proof.rootHash, head.rootHash) ||
    proof.logIndex !== answer.logIndex
  ) {
    throw new SignError(
      'SIGN_LOG_PROOF',
      'Cannot use the log entry: its inclusion proof is for another tree than its checkpoint',
    );
  }
  if (head.signedBy !== undefined && !equalBytes(head.signedBy.logId, answer.logId)) {
    throw new SignError(
      'SIGN_LOG_CHECKPOINT',
      "Cannot use the log entry: its log id is not that of the checkpoint's signer",
    );
  }
  try {
    verifyInclusion(sha256, {
      index: proof.logIndex,
      size: head.size,
      leafHash: leafHash(sha256, body),
      proof: proof.hashes,
      root: head.rootHash,
    });
  } catch (cause) {
    throw new SignError(
      'SIGN_LOG_PROOF',
      `Cannot use the log entry: ${cause instanceof Error ? cause.message : 'no proof'}`,
      { cause },
    );
  }
}

/**
 * A log may answer 409 with the earlier index and nothing else when our first attempt arrived but its answer was lost.
 * The tiles have all that is missing.
 */
async function readDuplicate(
  index: string | null,
  { kind, body }: { kind: Entry['kind']; body: Uint8Array },
  request: LogRequest,
  http: HttpOptions,
): Promise<TlogEntry> {
  if (index === null || !/^(0|[1-9]\d{0,18})$/.test(index)) {
    throw new SignError('SIGN_REFUSED', 'Cannot log the entry: the log has it already, and does not say where', {
      status: 409,
      cure: 'Sign again: the next signature is a different one',
    });
  }
  const reader = createLogReader({ ...request, http });
  const head = await reader.readHead();
  if (head.signedBy === undefined) {
    throw new SignError(
      'SIGN_REFUSED',
      `Cannot log the entry: the log has it already, at index ${index}, and its answer lacks the id of the log`,
      {
        status: 409,
        cure: 'Give a trusted root, which has that id; or sign again, the next signature is a different one',
      },
    );
  }
  const logIndex = BigInt(index);
  const { hashes, body: logged } = await reader.proveEntry(logIndex, head);
  const answer: TlogEntry = {
    logIndex,
    logId: head.signedBy.logId,
    kind,
    version: '0.0.2',
    inclusionProof: { logIndex, treeSize: head.size, rootHash: head.rootHash, hashes, checkpoint: head.note },
    canonicalizedBody: logged,
  };
  await verifyLogged(answer, body, request);
  return answer;
}
