import { parseBundle, type Bundle, type Statement } from '#libs/bundle';
import type { CryptoPort } from '#libs/crypto';
import type { TrustedRoot } from '#libs/trust';
import { rememberDigests, type Artifact } from './artifact.js';
import { checkBindings } from './binding.js';
import {
  checkChain,
  checkIssuer,
  checkProfile,
  checkSan,
  checkTransparency,
  parseCertificates,
  type Identity,
} from './certificate.js';
import { Checklist, Objection, type Check } from './checks.js';
import { checkMessageDigest, checkPredicateType, checkSignature, checkStatement, checkSubject } from './content.js';
import { VerifyError } from './error.js';
import {
  checkCheckpoints,
  checkEntries,
  checkInclusion,
  checkLogKeys,
  checkLogThreshold,
  checkLogTime,
  type LogRecord,
} from './log.js';
import { checkPolicy, type Policy, type Thresholds } from './policy.js';
import { checkPromises } from './promise.js';
import type { Signer } from './signer.js';
import { checkKeyValidity, checkTimestamps, checkTimeThreshold, type TrustedTime } from './time.js';

export interface VerifyInput {
  /** JSON text, its bytes, or what {@link parseBundle} made of it. */
  bundle: string | Uint8Array | Bundle;
  /** What the signature should be about; for an attestation, a subject of its statement. */
  artifact: Artifact;
  trustedRoot: TrustedRoot;
  policy: Policy;
  thresholds?: Thresholds;
  /** Accept only a statement with this predicate type. A message has none and fails. */
  predicateType?: string;
  crypto: CryptoPort;
}

/** What came out. Only with `ok` is anything beside `checks` and `failure` to be believed, and only then is it there. */
export interface Report {
  ok: boolean;
  /** All checks, in the order they are made; the first failed one is the last one made. */
  checks: Check[];
  /** Who signed: the certificate's identity, or `key` for a managed key. */
  signer?: ({ kind: 'certificate' } & Identity) | { kind: 'key' };
  times?: TrustedTime[];
  logEntries?: LogRecord[];
  /** Of an attestation. */
  statement?: Statement;
  failure?: VerifyError;
}

/**
 * Verifies that `artifact` was signed by whom `policy` names, and that the world could see it: follows the checklist of
 * Sigstore's client specification, stops at the first objection, and reports every check. Makes no network call, and
 * does not ask what time it is.
 *
 * A bad bundle is a report with `ok: false`, not an exception.
 * @throws VerifyError `VERIFY_POLICY` for a policy that makes no sense. Anything else thrown is a bug: treat as a failure
 * @see sigstore/architecture-docs: client-spec.md, "Verification"
 */
export async function verifyBundle(input: VerifyInput): Promise<Report> {
  checkPolicy(input.policy, input.thresholds ?? {});
  const checklist = new Checklist();
  try {
    const proven = await runChecks(input, checklist);
    return { ok: true, checks: checklist.list(), ...proven };
  } catch (error) {
    if (!(error instanceof VerifyError) || error !== checklist.failure) throw error;
    return { ok: false, checks: checklist.list(), failure: error };
  }
}

/** The checklist itself. Each line either holds or ends the verification; results of later lines rest on earlier ones. */
async function runChecks(input: VerifyInput, checklist: Checklist): Promise<Omit<Report, 'ok' | 'checks' | 'failure'>> {
  const { trustedRoot, thresholds = {}, predicateType, crypto } = input;
  const artifact = rememberDigests(input.artifact);

  // A. The form
  const bundle = await checklist.run('bundle-format', () => {
    const value = isParsed(input.bundle) ? input.bundle : parseBundle(input.bundle);
    return { detail: `version ${value.version}, ${value.content.kind}`, value };
  });
  const signer = await checklist.run('signer-kind', () => readSigner(bundle, input.policy));
  const entries = await checklist.run('log-key', () => checkLogKeys(bundle.tlogEntries, trustedRoot.tlogs));

  // B. When it was signed
  const times: TrustedTime[] = [];
  if (bundle.timestamps.length === 0) checklist.skip(['timestamp'], 'the bundle has no timestamp');
  else times.push(...(await checklist.run('timestamp', () => checkTimestamps(bundle, trustedRoot, crypto))));
  if (entries.some(({ entry }) => entry.inclusionPromise)) {
    times.push(...(await checklist.run('log-promise', () => checkPromises(entries, crypto))));
  } else checklist.skip(['log-promise'], 'the bundle has no promise of a log');
  const keyValidity = signer.kind === 'key' ? signer.policy.validFor : undefined;
  const timesNeeded = thresholds.times ?? (signer.kind === 'certificate' || keyValidity !== undefined ? 1 : undefined);
  if (timesNeeded === undefined) checklist.skip(['trusted-time'], 'a managed key of unknown validity needs no time');
  else await checklist.run('trusted-time', () => checkTimeThreshold(times, timesNeeded));
  if (keyValidity === undefined) checklist.skip(['key-validity'], 'only for a managed key of known validity');
  else await checklist.run('key-validity', () => checkKeyValidity(times, keyValidity));

  // C. The certificate, judged at those times; D. the identity in it
  let identity: Identity | undefined;
  if (signer.kind === 'certificate') {
    const { certificate: leaf, extras, policy } = signer;
    const san = await checklist.run('certificate-profile', () => checkProfile(leaf, extras));
    const chain = await checklist.run('certificate-chain', () => checkChain(leaf, extras, times, trustedRoot, crypto));
    await checklist.run('certificate-transparency', () =>
      checkTransparency(chain, trustedRoot.ctlogs, thresholds.ctLogs ?? 1, crypto),
    );
    await checklist.run('certificate-identity', () => checkSan(san, policy));
    identity = await checklist.run('certificate-issuer', () => checkIssuer(leaf, san, policy));
  } else checklist.skip(certificateChecks, 'signed with a managed key');

  // E. The transparency log
  const bodies = await checklist.run('log-entry', () => checkEntries(entries));
  await checklist.run('log-inclusion', () => checkInclusion(entries, bundle.version, crypto));
  const records = await checklist.run('log-checkpoint', () => checkCheckpoints(entries, times, crypto));
  await checklist.run('log-binding', () => checkBindings(bodies, { bundle, signer, artifact, crypto }));
  if (signer.kind === 'key') checklist.skip(['log-time'], 'signed with a managed key');
  else await checklist.run('log-time', () => checkLogTime(entries, signer.certificate));
  await checklist.run('log-threshold', () => checkLogThreshold(records, thresholds.logs ?? 1));

  // F. The signature, and what it is over
  await checklist.run('signature', () => checkSignature(bundle, signer.key, artifact, crypto));
  let statement: Statement | undefined;
  if (bundle.content.kind === 'dsse') {
    const { envelope } = bundle.content;
    const verified = await checklist.run('statement', () => checkStatement(envelope));
    await checklist.run('artifact-digest', () => checkSubject(verified, artifact));
    statement = verified;
  } else {
    checklist.skip(['statement'], 'a message, not an attestation');
    await checklist.run('artifact-digest', () => checkMessageDigest(bundle, artifact));
  }
  if (predicateType === undefined) checklist.skip(['predicate-type'], 'the policy asks for none');
  else {
    await checklist.run('predicate-type', () => {
      if (statement === undefined) throw new Objection(`a message has no predicate type, expected ${predicateType}`);
      return checkPredicateType(statement, predicateType);
    });
  }

  // G. What is now proven
  return {
    signer: identity === undefined ? { kind: 'key' } : { kind: 'certificate', ...identity },
    times,
    logEntries: records,
    ...(statement === undefined ? {} : { statement }),
  };
}

const certificateChecks = [
  'certificate-profile',
  'certificate-chain',
  'certificate-transparency',
  'certificate-identity',
  'certificate-issuer',
] as const;

function isParsed(bundle: VerifyInput['bundle']): bundle is Bundle {
  return typeof bundle !== 'string' && !(bundle instanceof Uint8Array);
}

/** A key says nothing about an identity, nor an identity about a key: the policy must be of the bundle's kind. */
function readSigner({ material }: Bundle, policy: Policy): { detail: string; value: Signer } {
  if (material.kind === 'certificate') {
    if (policy.kind === 'key') {
      throw new Objection('the bundle has a certificate, the policy a key', 'Verify with an identity and its issuer');
    }
    const [certificate, extras] = parseCertificates(material.certificates);
    const { publicKey: key } = certificate;
    return { detail: 'a certificate', value: { kind: 'certificate', certificate, extras, key, policy } };
  }
  if (policy.kind === 'identity') {
    throw new Objection('the bundle has no certificate, so no identity', 'Verify with the public key of the signer');
  }
  return { detail: 'a managed key', value: { kind: 'key', key: policy.publicKey, policy } };
}
