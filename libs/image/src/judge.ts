import type { Bundle } from '#libs/bundle';
import type { CryptoPort } from '#libs/crypto';
import { EncodingError, parseJson, type JsonValue } from '#libs/encoding';
import { splitDigest, type Digest } from '#libs/oci';
import { opensslCrypto } from '#libs/openssl';
import type { TrustedRoot } from '#libs/trust';
import {
  artifactFromBytes,
  artifactFromDigest,
  verifyBundle,
  type Check,
  type CheckId,
  type Policy,
  type Report,
  type Thresholds,
} from '#libs/verify';
import { parseHex } from '#libs/encoding';
import type { FulcioExtensions } from '#libs/x509';
import { ImageError } from './error.js';
import type { Found, Place } from './evidence.js';
import type { Kind } from './layout.js';
import { parsePayload } from './payload.js';
import { predicateFault } from './predicate.js';
import { fieldsOf, SIGN_PREDICATE_TYPE, subjectAnnotations } from './statement.js';
import type { StatementPolicy } from './statement-policy.js';

/** What a signature must be to count. */
export interface Demand {
  /** Whose signature; with several, any of them will do. */
  policy: Policy | readonly Policy[];
  trustedRoot: TrustedRoot;
  thresholds?: Thresholds;
  /** Annotations that the signer must have signed along, all of them. */
  annotations?: Readonly<Record<string, string>>;
  /** What the certificate must say beside its identity, compared exactly. */
  certificate?: Partial<FulcioExtensions>;
  /** Of attestations: only of this type. */
  predicateType?: string;
  /** Of attestations: what the statement must say. */
  statementPolicies?: readonly StatementPolicy[];
  /** Default OpenSSL's. */
  crypto?: CryptoPort;
}

/** The check that objected: one of the verifier's, or of those that only images have. */
export type CandidateCheck =
  CheckId | 'readable' | 'payload' | 'annotations' | 'certificate-extensions' | 'predicate-shape' | 'statement-policy';

/** What became of one thing that might have been a signature. */
export type Candidate = Place &
  (
    | ({ state: 'accepted' } & Accepted)
    | {
        state: 'rejected';
        check: CandidateCheck;
        reason: string;
        cure?: string;
        /** What the verifier checked before, if it came to that. */
        checks?: readonly Check[];
      }
    /** No signature at all but an attestation, or the other way round; or an attestation of another type. */
    | { state: 'other'; reason: string }
  );

/** A signature that holds. */
export interface Accepted extends Place {
  bundle: Bundle;
  /** What the verifier found: signer, times, log entries. */
  report: Report;
  /** Signed along with the digest. */
  annotations: Readonly<Record<string, string>>;
  /** Of a bundle or an attestation: the type of the statement. */
  predicateType?: string;
  /** The statement as it was signed, parsed; of a legacy signature the payload. */
  payload: Uint8Array;
}

/** Judges one candidate. Throws only for a policy that makes no sense, and for bugs. */
export async function judge(found: Found, kind: Kind, digest: Digest, demand: Demand): Promise<Candidate> {
  const { layout, manifest, blob } = found;
  const place: Place = { layout, manifest, ...(blob !== undefined && { blob }) };
  // For whoever is rejected later, too.
  const verified: { checks?: readonly Check[] } = {};
  const reject = (check: CandidateCheck, reason: string, cure?: string): Candidate => ({
    ...place,
    state: 'rejected',
    check,
    reason: brief(reason),
    ...(cure !== undefined && { cure }),
    ...verified,
  });
  if (found.bundle === undefined) return reject('readable', found.problem);
  const { bundle } = found;

  // 1. Is it of the kind that was asked for at all? Its own word suffices to say no; a yes is verified below.
  const wanted =
    kind === 'signature' ? (found.payload === undefined ? SIGN_PREDICATE_TYPE : undefined) : demand.predicateType;
  const stated = bundle.content.kind === 'dsse' ? statedType(bundle.content.envelope.payload) : undefined;
  if (stated !== undefined) {
    const isSignature = stated === SIGN_PREDICATE_TYPE;
    if (kind === 'signature' && !isSignature) {
      return {
        ...place,
        state: 'other',
        reason: `an attestation of type ${brief(stated)}, which signs nothing but itself`,
      };
    }
    if (kind === 'attestation' && isSignature) return { ...place, state: 'other', reason: 'a signature' };
    if (wanted !== undefined && stated !== wanted) {
      return { ...place, state: 'other', reason: `an attestation of type ${brief(stated)}` };
    }
  }

  // 2. All that the verifier checks. In the legacy layout the payload is what was signed, elsewhere the digest is a subject of the statement.
  const report = await verify(found.bundle, found.payload, digest, wanted, demand);
  verified.checks = report.checks;
  if (!report.ok) {
    const { check, message, cure } = report.failure ?? {};
    return reject(check ?? 'bundle-format', message ?? 'it does not verify', cure);
  }
  const { signer, statement } = report;
  if (found.payload === undefined && statement === undefined) {
    return reject('statement', 'it is no statement', 'Sign the image, not the file of its manifest');
  }

  // 3. What the signer said beside the digest.
  let annotations: Record<string, string>;
  let payload: Uint8Array;
  if (found.payload !== undefined) {
    payload = found.payload;
    try {
      const said = parsePayload(payload);
      if (said.digest !== digest) return reject('payload', `it is about ${said.digest.slice(0, 200)}, not ${digest}`);
      annotations = said.annotations;
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      return reject('payload', error.message);
    }
  } else {
    if (bundle.content.kind !== 'dsse') throw new Error('a statement was verified in what is no envelope');
    // The very bytes that were verified.
    ({ payload } = bundle.content.envelope);
    annotations = subjectAnnotations(payload, digest);
  }
  for (const [name, value] of Object.entries(demand.annotations ?? {})) {
    const signed = Object.hasOwn(annotations, name) ? annotations[name] : undefined;
    if (signed !== value) {
      return reject(
        'annotations',
        `annotation ${name} is ${signed === undefined ? 'missing' : JSON.stringify(signed)}, expected ${JSON.stringify(value)}`,
      );
    }
  }
  for (const [name, value] of Object.entries(demand.certificate ?? {})) {
    const certified =
      signer?.kind === 'certificate' ? (signer.extensions as Record<string, string | undefined>)[name] : undefined;
    if (certified !== value) {
      return reject(
        'certificate-extensions',
        `the certificate's ${name} is ${certified ?? 'missing'}, expected ${value}`,
      );
    }
  }

  // 4. What an attestation claims.
  if (kind === 'attestation' && statement !== undefined) {
    const json = parseJson(payload);
    const fault = predicateFault(statement.predicateType, fieldsOf(json)['predicate']);
    if (fault !== undefined) return reject('predicate-shape', `it is no ${statement.predicateType}: ${fault}`);
    for (const { name, check } of demand.statementPolicies ?? []) {
      const objection = check(json);
      if (objection !== undefined) return reject('statement-policy', `${name}: ${objection}`);
    }
  }
  return {
    ...place,
    state: 'accepted',
    bundle,
    report,
    annotations,
    payload,
    ...(statement !== undefined && { predicateType: statement.predicateType }),
  };
}

const MAX_REASON = 1000;

/** Reasons quote what strangers stored, and a thousand of them may be printed. */
function brief(text: string): string {
  return text.length > MAX_REASON ? `${text.slice(0, MAX_REASON)}…` : text;
}

/** The first policy that accepts; else what the last one objected to, or the first if that got further. */
async function verify(
  bundle: Bundle,
  payload: Uint8Array | undefined,
  digest: Digest,
  predicateType: string | undefined,
  { policy, trustedRoot, thresholds, crypto = opensslCrypto }: Demand,
): Promise<Report> {
  const policies = isList(policy) ? policy : [policy];
  const { algorithm, hex } = splitDigest(digest);
  const artifact =
    payload === undefined ? artifactFromDigest(algorithm, parseHex(hex)) : artifactFromBytes(payload, crypto);
  let worst: Report | undefined;
  for (const one of policies) {
    const report = await verifyBundle({
      bundle,
      artifact,
      trustedRoot,
      policy: one,
      crypto,
      ...(thresholds && { thresholds }),
      ...(predicateType !== undefined && { predicateType }),
    });
    if (report.ok) return report;
    // That one got further says more than that another expects a key.
    if (worst === undefined || passed(report) > passed(worst)) worst = report;
  }
  if (worst === undefined) throw new Error('there is no policy to verify with');
  return worst;
}

function isList(policy: Policy | readonly Policy[]): policy is readonly Policy[] {
  return Array.isArray(policy);
}

function passed({ checks }: Report): number {
  return checks.filter(({ state }) => state === 'passed').length;
}

/** What a payload says its predicate type is; undefined if it does not say, and then the verifier will object. */
function statedType(payload: Uint8Array): string | undefined {
  let statement: JsonValue;
  try {
    statement = parseJson(payload);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    return undefined;
  }
  const type = fieldsOf(statement)['predicateType'];
  return typeof type === 'string' ? type : undefined;
}
