import { z } from 'zod';
import { EncodingError, hasLoneSurrogate, parseAnyBase64, parseJson, type JsonValue } from '#libs/encoding';
import { refused } from './error.js';
import { FailedChecks } from './failed-checks.js';
import type { PkiKey } from './pki.js';
import { pkiError, readKey } from './v1-kind.js';
import type { V1Ports } from './v1-proposal.js';
import { MAX_SIGNATURES, violationOf } from './v1-schema.js';
import { preAuthenticationEncoding } from './verify.js';

/** A DSSE envelope after its JSON was read. */
export interface Envelope {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly signatures: readonly EnvelopeSignature[];
}

export interface EnvelopeSignature {
  readonly keyid: string;
  /** Base64 as it came. */
  readonly text: string;
  readonly bytes: Uint8Array;
}

// An envelope nests three deep; what is unknown to us in it may nest a little more.
const MAX_DEPTH = 16;

/**
 * How many checks may fail for one envelope. Clients list verifiers in the order of the signatures, for which none fails; any order of eleven takes 55
 * at most.
 */
const MAX_FAILED_CHECKS = 64;

const envelopeJson = z.object({
  payload: z.string(),
  payloadType: z.string(),
  signatures: z
    .array(z.object({ keyid: z.string().nullish(), sig: z.string() }))
    .max(MAX_SIGNATURES)
    .nullish(),
});

/**
 * Reads the JSON of an envelope; base64 of either alphabet.
 * @throws EntryError `ENTRY_PROPOSAL`
 * @see secure-systems-lab/dsse, envelope.md
 */
export function parseEnvelope(text: string): Envelope {
  const json = jsonOf(text);
  const result = envelopeJson.safeParse(json);
  if (!result.success) throw badEnvelope(violationOf(result.error, json).message);
  const { payload, payloadType, signatures } = result.data;
  if (!signatures?.length) throw refused('ENTRY_PROPOSAL', 'DSSE envelope must contain 1 or more signatures');
  return {
    payloadType,
    payload: envelopeBytes('payload', payload),
    signatures: signatures.map(({ keyid, sig }) => ({
      keyid: keyid ?? '',
      text: sig,
      bytes: envelopeBytes('signature', sig),
    })),
  };
}

/**
 * Bytes of base64 in an envelope.
 * @throws EntryError `ENTRY_PROPOSAL`
 */
export function envelopeBytes(what: string, text: string): Uint8Array {
  try {
    return parseAnyBase64(text);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw badEnvelope(`${what} is not base64`, error);
  }
}

/**
 * What the signatures of an envelope are over.
 * @throws EntryError `ENTRY_PROPOSAL` for a payload type that UTF-8 cannot carry
 * @see secure-systems-lab/dsse, protocol.md
 */
export function signedBytes({ payloadType, payload }: Envelope): Uint8Array {
  if (hasLoneSurrogate(payloadType)) throw badEnvelope('payloadType is not valid Unicode');
  return preAuthenticationEncoding(payloadType, payload);
}

/** Who signed an envelope. */
export interface EnvelopeKeys {
  /** By the text of the signature. */
  readonly bySignature: ReadonlyMap<string, PkiKey>;
  /** Of the verifiers that were read, in their order. */
  readonly read: readonly PkiKey[];
}

/**
 * Proves that each signature of an envelope is by one of the verifiers. A verifier stands for one signature, the first that is still open; having proven it, it may not stand for
 * another, but one listed twice may. `all`: each verifier has to stand for a signature; else those that come after the
 * last open signature are not even read.
 * @throws EntryError `ENTRY_PKI`, `ENTRY_SIGNATURE`, also when too many checks fail
 * @see sigstore/rekor, verifyEnvelope of pkg/types/dsse and pkg/types/intoto
 */
export async function verifyEnvelope(
  envelope: Envelope,
  verifiers: readonly Uint8Array[],
  {
    pki,
    all,
    failedChecks,
  }: { readonly pki: V1Ports['pki']; readonly all: boolean; readonly failedChecks: FailedChecks | undefined },
): Promise<EnvelopeKeys> {
  const message = signedBytes(envelope);
  // Equal signatures are one.
  const open = new Map(envelope.signatures.map(({ text, bytes }) => [text, bytes]));
  const bySignature = new Map<string, PkiKey>();
  const read: PkiKey[] = [];
  const proven = new Map<string, Uint8Array>();
  const failed = new FailedChecks(MAX_FAILED_CHECKS, failedChecks);
  for (const verifier of verifiers) {
    if (open.size === 0 && !all) break;
    const key = await readKey(pki.x509, verifier, 'could not parse public key as x509: ');
    // Another spelling of a key may come again for what is proven already.
    const found = (await findSigned(key, message, open, failed)) ?? (await findSigned(key, message, proven, failed));
    if (found === undefined) throw notSigned('could not verify envelope: ');
    const [text, bytes] = found;
    open.delete(text);
    proven.set(text, bytes);
    bySignature.set(text, key);
    read.push(key);
  }
  if (open.size > 0) throw refused('ENTRY_SIGNATURE', 'all signatures must have a key that verifies it');
  return { bySignature, read };
}

/** The first of the signatures that the key has made. */
export async function findSigned<Name>(
  key: PkiKey,
  message: Uint8Array,
  signatures: Iterable<readonly [Name, Uint8Array]>,
  failed?: FailedChecks,
): Promise<readonly [Name, Uint8Array] | undefined> {
  for (const signature of signatures) {
    if (await isSigned(key, message, signature[1])) return signature;
    failed?.count();
  }
  return undefined;
}

/** Whether the key made the signature over the message; what the format throws is of the kind `ENTRY_PKI`. */
export async function isSigned(key: PkiKey, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  try {
    return await key.verify(message, signature);
  } catch (error) {
    throw pkiError(error);
  }
}

/** A verifier that has signed nothing. */
export function notSigned(prefix = ''): Error {
  return refused('ENTRY_SIGNATURE', `${prefix}accepted signatures do not match threshold, Found: 0, Expected 1`);
}

function jsonOf(text: string): JsonValue {
  try {
    return parseJson(text, { maxDepth: MAX_DEPTH });
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw badEnvelope('not JSON, or of more than one meaning', error);
  }
}

function badEnvelope(state: string, cause?: unknown): Error {
  return refused('ENTRY_PROPOSAL', `invalid DSSE envelope: ${state}`, cause);
}
