import type { JsonValue } from '#libs/encoding';
import { formatReference, parseReference, repositoryOf, type Digest, type Reference } from '#libs/oci';
import type { Policy } from '#libs/verify';
import { beforeDeadline, createLimit } from './bounds.js';
import type { AttestationRule, Authority, ImagePolicy, SigningAuthority } from './cluster-image-policy.js';
import { quote, reasonOf } from './error.js';
import type { Evidence, EvidencePort } from './evidence.js';
import type { Explanation } from './explanation.js';
import { namesOf } from './glob.js';
import { describeExpected, judgeSignature } from './judge-signature.js';
import { matchesResource, type Resource } from './resource.js';

export interface EvaluateInput {
  /** As somebody wrote it: a name, with tag or digest or both. */
  readonly image: string;
  readonly policies: readonly ImagePolicy[];
  readonly evidence: EvidencePort;
  /** What an image gets that no policy is for. Default `deny`. */
  readonly noMatch?: 'deny' | 'warn' | 'allow';
  /** What would run the image. Without it, policies with `match` cannot be decided, and so fail. */
  readonly resource?: Resource | undefined;
  /** The deadline: what is not decided by then is denied. */
  readonly signal?: AbortSignal;
  /** How many questions may be asked at once. Default 8. */
  readonly parallel?: number;
}

/** What came out. */
export interface Decision {
  readonly allow: boolean;
  readonly image: string;
  /** What was judged, and what must run: never the tag again. Absent if the tag could not be resolved. */
  readonly resolvedDigest?: Digest;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
  readonly explanation: Explanation;
  /** Of a denial that is no judgement: why nobody knows, as a registry that cannot be reached. */
  readonly cause?: unknown;
}

interface PolicyOutcome {
  readonly policy: ImagePolicy;
  /** Only an explicit yes is one. */
  readonly passed: boolean;
  /** Why not. */
  readonly reason: string;
  readonly explanation: Explanation;
  /** Set if nobody knows. */
  readonly cause?: { readonly error: unknown };
}

interface AuthorityOutcome {
  readonly name: string;
  readonly passed: boolean;
  readonly reason: string;
  readonly explanation: Explanation;
  readonly cause?: { readonly error: unknown };
  /** What the policy of the whole is told of this authority. */
  readonly matched: JsonValue;
}

const DEFAULT_PARALLEL = 8;
/** Candidates that the explanation lists; the others are counted. */
const MAX_LISTED = 20;

/**
 * Decides whether an image may run: every policy that is for it must pass, each by at least one of its authorities. The tag is resolved once, and everything is
 * about that digest. Whatever goes wrong is a denial. The answer does not depend on the order of policies or authorities.
 */
export async function evaluateImage(input: EvaluateInput): Promise<Decision> {
  const { image, policies, resource, signal, noMatch = 'deny' } = input;
  const title = `image ${quote(image)}`;
  let reference: Reference;
  let digest: Digest;
  try {
    const named = parseReference(image);
    reference = named;
    digest = await beforeDeadline(() => input.evidence.resolve(named), signal);
  } catch (error) {
    const explanation: Explanation = { rule: 'image', title, state: 'failed', found: reasonOf(error), children: [] };
    return { allow: false, image, errors: [reasonOf(error)], warnings: [], explanation, cause: error };
  }

  // 1. Which policies are for this image?
  const names = namesOf(image, reference, digest);
  const sorted = [...policies].sort(byName);
  const skipped = new Map<ImagePolicy, Explanation>();
  const matching = sorted.filter((policy) => {
    const why = whyNotFor(policy, names, resource);
    if (why !== undefined) skipped.set(policy, why);
    return why === undefined;
  });

  // 2. Each is judged; one that fails does not spare the others, so that all there is to say is said at once.
  const limit = createLimit(input.parallel ?? DEFAULT_PARALLEL);
  const ask: Ask = (query) => limit(() => beforeDeadline(() => input.evidence.find(query), signal));
  const outcomes = await Promise.all(
    matching.map((policy) => evaluatePolicy(policy, { reference, digest, names, resource, ask })),
  );

  // 3. Together: an image passes if every policy for it said yes. That nobody said no is not enough.
  const errors: string[] = [];
  const warnings: string[] = [];
  for (const { policy, passed, reason } of outcomes) {
    if (!passed) (policy.mode === 'warn' ? warnings : errors).push(`failed policy: ${policy.name}: ${reason}`);
  }
  if (matching.length === 0 && noMatch === 'deny') errors.push('no matching policies');
  if (matching.length === 0 && noMatch === 'warn') warnings.push('no matching policies');
  if (signal?.aborted === true) errors.push('no decision before the deadline');
  const isAllowed = outcomes.every(({ policy, passed }) => passed || policy.mode === 'warn');
  const allow = isAllowed && errors.length === 0 && outcomes.length === matching.length;

  const byPolicy = new Map(outcomes.map(({ policy, explanation }) => [policy, explanation]));
  const children = sorted.flatMap((policy) => byPolicy.get(policy) ?? skipped.get(policy) ?? []);
  const denials = outcomes.filter(({ policy, passed }) => !passed && policy.mode === 'enforce');
  const unknown = denials.every(({ cause }) => cause !== undefined) ? denials[0]?.cause : undefined;
  return {
    allow,
    image,
    resolvedDigest: digest,
    errors,
    warnings,
    explanation: {
      rule: 'image',
      title,
      state: allow ? (warnings.length > 0 ? 'warned' : 'passed') : 'failed',
      found: `${formatReference({ ...reference, digest }, { hub: 'index.docker.io' })}, for which there ${count(matching.length, 'policy is', 'policies are')} of ${policies.length}`,
      ...(matching.length === 0 && {
        expected: 'a policy for one of its names',
        cure: `Write a policy with a glob that matches ${names.map(quote).join(' or ')}`,
      }),
      children,
    },
    ...(!allow && unknown !== undefined && { cause: unknown.error }),
  };
}

type Ask = (query: Parameters<EvidencePort['find']>[0]) => Promise<Evidence>;

interface Subject {
  readonly reference: Reference;
  readonly digest: Digest;
  readonly names: readonly string[];
  readonly resource: Resource | undefined;
  readonly ask: Ask;
}

const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

function whyNotFor(
  policy: ImagePolicy,
  names: readonly string[],
  resource: Resource | undefined,
): Explanation | undefined {
  const title = `policy ${policy.name}`;
  const skip = (found: string, expected: string): Explanation => ({
    rule: 'policy',
    title,
    state: 'skipped',
    found,
    expected,
    children: [],
  });
  if (!policy.images.some((glob) => names.some((name) => glob.matches(name)))) {
    return skip(`not for ${names.map(quote).join(' or ')}`, policy.images.map(({ text }) => text).join(' or '));
  }
  if (resource !== undefined && !matchesResource(policy.match, resource)) {
    return skip(`not for ${describeResource(resource)}`, 'an object that its match names');
  }
  return undefined;
}

async function evaluatePolicy(policy: ImagePolicy, subject: Subject): Promise<PolicyOutcome> {
  const { names, resource } = subject;
  const conclude = (
    passed: boolean,
    reason: string,
    children: readonly Explanation[],
    { found = reason, cause }: { found?: string; cause?: { readonly error: unknown } | undefined } = {},
  ): PolicyOutcome => ({
    policy,
    passed,
    reason,
    ...(cause !== undefined && { cause }),
    explanation: {
      rule: 'policy',
      title: `policy ${policy.name}${policy.mode === 'warn' ? ' (mode warn)' : ''}`,
      state: passed ? 'passed' : policy.mode === 'warn' ? 'warned' : 'failed',
      found,
      expected: 'one authority that accepts' + (policy.policy === undefined ? '' : ', and its policy over the outcome'),
      children,
    },
  });

  const glob = policy.images.find((each) => names.some((name) => each.matches(name)));
  const match: Explanation = {
    rule: 'match',
    title: `glob ${glob?.text ?? ''}`,
    state: 'passed',
    found: names.find((name) => glob?.matches(name)) ?? '',
    children: [],
  };
  if (policy.match.length > 0 && resource === undefined) {
    const reason = 'it is for some kinds of objects only, and no object was given';
    const cure = 'Give the object that would run the image with --resource FILE';
    return conclude(false, reason, [
      match,
      { rule: 'match', title: 'match', state: 'failed', found: reason, cure, children: [] },
    ]);
  }

  // All authorities are asked, so that an explanation is complete and no order matters.
  const authorities = [...policy.authorities].sort(byName);
  const outcomes = await Promise.all(authorities.map((authority) => evaluateAuthority(authority, subject)));
  const children = [match, ...outcomes.map(({ explanation }) => explanation)];
  const accepting = outcomes.filter(({ passed }) => passed);
  if (accepting.length === 0) {
    const reason = outcomes.map((outcome) => `${outcome.name}: ${outcome.reason}`).join('; ') || 'it has no authority';
    // Who could not be asked might have accepted.
    const cause = outcomes.find((outcome) => outcome.cause !== undefined)?.cause;
    return conclude(false, reason, children, { found: 'none of its authorities accepts it', cause });
  }
  const accepted = `accepted by ${accepting.map(({ name }) => name).join(', ')}`;
  if (policy.policy === undefined) return conclude(true, accepted, children);

  const input = { authorityMatches: Object.fromEntries(accepting.map(({ name, matched }) => [name, matched])) };
  const objection = policy.policy.check(input);
  const content: Explanation = {
    rule: 'content',
    title: 'policy over the outcome of all authorities',
    state: objection === undefined ? 'passed' : 'failed',
    found: objection ?? 'it holds',
    children: [],
  };
  return conclude(objection === undefined, objection === undefined ? accepted : `its policy: ${objection}`, [
    ...children,
    content,
  ]);
}

async function evaluateAuthority(authority: Authority, subject: Subject): Promise<AuthorityOutcome> {
  const { name } = authority;
  const explain = (passed: boolean, found: string, children: readonly Explanation[]): Explanation => ({
    rule: 'authority',
    title: `authority ${name} (${authority.kind})`,
    state: passed ? 'passed' : 'failed',
    found,
    children,
  });
  if (authority.kind === 'static') {
    const passed = authority.action === 'pass';
    const reason = passed
      ? 'static: accepted without a look at any signature'
      : `static: ${authority.message ?? 'refused'}`;
    return { name, passed, reason, explanation: explain(passed, reason, []), matched: { static: passed } };
  }
  try {
    const demands = authority.attestations.length > 0 ? authority.attestations : [undefined];
    const outcomes = await Promise.all(demands.map((demand) => evaluateDemand(authority, demand, subject)));
    // Every one of them, and at least one: an empty list proves nothing.
    const passed = outcomes.length > 0 && outcomes.every((outcome) => outcome.passed);
    const reason = passed
      ? outcomes.map((outcome) => outcome.reason).join('; ')
      : (outcomes.find((outcome) => !outcome.passed)?.reason ?? 'nothing was demanded');
    const matched = Object.fromEntries(
      authority.attestations.length > 0
        ? [['attestations', Object.fromEntries(outcomes.map(({ demand, matches }) => [demand?.name ?? '', matches]))]]
        : [['signatures', outcomes.flatMap(({ matches }) => matches)]],
    ) as JsonValue;
    const explanation = explain(
      passed,
      reason,
      outcomes.map((outcome) => outcome.explanation),
    );
    return { name, passed, reason, explanation, matched };
  } catch (error) {
    const reason = reasonOf(error);
    return { name, passed: false, reason, explanation: explain(false, reason, []), cause: { error }, matched: null };
  }
}

interface DemandOutcome {
  readonly demand: AttestationRule | undefined;
  readonly passed: boolean;
  readonly reason: string;
  readonly explanation: Explanation;
  readonly matches: JsonValue[];
}

/** A signature, or an attestation of one type: at least one that is by whom it should be, and says what it should. */
async function evaluateDemand(
  authority: SigningAuthority,
  demand: AttestationRule | undefined,
  { reference, digest, ask }: Subject,
): Promise<DemandOutcome> {
  const repository = authority.source ?? reference;
  const { signatures, incomplete } = await ask({
    repository,
    digest,
    kind: demand === undefined ? 'signature' : 'attestation',
    layout: authority.layout,
    policy: signersOf(authority),
    trustedRoot: authority.trustedRoot,
    ...(demand !== undefined && { predicateType: demand.predicateType }),
  });
  const judged = signatures.map((signature) => judgeSignature(signature, authority, demand, digest));
  const good = judged.filter(({ explanation }) => explanation.state === 'passed');
  const bad = judged.filter(({ explanation }) => explanation.state === 'failed');
  const what = demand === undefined ? 'signature' : `attestation ${demand.name} (${demand.predicateType})`;
  const where = `in the ${authority.layout} layout of ${repositoryOf(repository)}`;
  const ended = incomplete === undefined ? '' : `; the search ended early: ${incomplete}`;
  const firstBad = bad[0]?.explanation.found;
  const passed = good.length > 0;
  const reason = passed
    ? `${what}: ${good[0]?.explanation.found ?? ''}`
    : firstBad === undefined
      ? `no ${what} ${where}${ended}`
      : `${what}: ${firstBad}${bad.length > 1 ? ` (and ${bad.length - 1} more were rejected)` : ''}${ended}`;
  const listed = [...good, ...judged.filter((one) => !good.includes(one))].slice(0, MAX_LISTED);
  const cure = firstBad === undefined && !passed ? cureForNone(authority) : undefined;
  return {
    demand,
    passed,
    reason,
    matches: good.map(({ matched }) => matched),
    explanation: {
      rule: demand === undefined ? 'signature' : 'attestation',
      title: `${what} ${where}`,
      state: passed ? 'passed' : 'failed',
      found: `${good.length} accepted, ${bad.length} rejected, ${judged.length - good.length - bad.length} of another kind${ended}`,
      expected: describeExpected(authority, demand),
      ...(cure !== undefined && { cure }),
      children: listed.map(({ explanation }) => explanation),
    },
  };
}

/** What the verifier proves first: signed with a certificate of the trust root, or with a key. Whose certificate is compared after that. */
function signersOf({ kind, keys }: SigningAuthority): Policy | Policy[] {
  if (kind === 'key') return keys.map((publicKey) => ({ kind: 'key' as const, publicKey }));
  return { kind: 'identity', san: () => true, issuer: () => true };
}

function cureForNone({ layout }: SigningAuthority): string {
  return layout === 'legacy'
    ? 'Sign it; if it is signed with a bundle beside the image, as cosign 3 and chancery do, set signatureFormat: bundle'
    : 'Sign it; if it is signed under a tag ending in .sig, as cosign 2 does, set signatureFormat: legacy';
}

function describeResource({ group, version, resource }: Resource): string {
  return `${resource} of ${group === '' ? 'the core group' : group} ${version}`;
}

function count(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}
