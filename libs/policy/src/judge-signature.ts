import { parseJson, type JsonValue } from '#libs/encoding';
import type { Digest } from '#libs/oci';
import type { AttestationRule, SigningAuthority } from './cluster-image-policy.js';
import { reasonOf } from './error.js';
import type { Signature } from './evidence.js';
import type { Explanation } from './explanation.js';
import { describeIdentity, matchesIdentity } from './identity.js';

/**
 * Decides whether a signature counts for an authority: what the verifier proved, then who signed, when, and what the content says. The content is looked at
 * only when the right one signed it. `matched`: what the policy of the whole is told of it, in policy-controller's words.
 */
export function judgeSignature(
  signature: Signature,
  authority: SigningAuthority,
  demand: AttestationRule | undefined,
  digest: Digest,
): { explanation: Explanation; matched: JsonValue } {
  const checks: Explanation[] = [];
  const conclude = (state: Explanation['state'], found: string, cure?: string) => ({
    explanation: {
      rule: 'signature' as const,
      title: signature.id,
      state,
      found,
      ...(cure !== undefined && { cure }),
      children: checks,
    },
    matched: matchOf(signature, demand, digest),
  });
  if (signature.state === 'other') return conclude('skipped', signature.reason);
  // The verifier was told to accept any name: who counts is decided below.
  for (const { id, title, state, detail } of signature.checks ?? []) {
    if (id === 'certificate-identity' || id === 'certificate-issuer') continue;
    checks.push({ rule: 'check', title, state, found: detail, children: [] });
    // Those after it were not reached.
    if (state === 'failed') break;
  }
  if (signature.state === 'rejected') {
    const { check: title, reason: found, cure } = signature;
    // What only images are checked for is not among the verifier's checks.
    if (checks.every(({ state }) => state !== 'failed')) {
      checks.push({ rule: 'check', title, state: 'failed', found, children: [] });
    }
    return conclude('failed', `${title}: ${found}`, cure);
  }
  const { signer, times, payload } = signature;
  const check = (title: string, passed: boolean, found: string, expected: string): boolean => {
    checks.push({ rule: 'check', title, state: passed ? 'passed' : 'failed', found, expected, children: [] });
    return passed;
  };

  const isKeyless = authority.kind === 'keyless';
  const isOfKind = isKeyless === (signer.kind === 'certificate');
  if (!check('Signed with what the authority is', isOfKind, signer.kind, isKeyless ? 'certificate' : 'key')) {
    const [is, not] = isKeyless ? ['a key', 'an identity'] : ['an identity', 'a key'];
    return conclude('failed', `it is signed with ${is}, not with ${not}`);
  }
  const who = signer.kind === 'certificate' ? `${signer.san} of ${signer.issuer}` : 'the key';
  if (signer.kind === 'certificate') {
    const isMeant = authority.identities.some((rule) => matchesIdentity(rule, signer));
    const expected = authority.identities.map(describeIdentity).join(', or ');
    if (!check('One of the identities signed it', isMeant, who, expected)) {
      return conclude(
        'failed',
        `signed by ${who}, which is none of the identities`,
        'If that signer is one you mean to trust, add subject and issuer to identities; expressions must match the whole of them',
      );
    }
  }
  if (authority.timestamp) {
    const isStamped = times.some(({ source }) => source === 'timestamp-authority');
    const found = times.map(({ time, operator }) => `${time.toISOString()} by ${operator}`).join(', ') || 'no time';
    if (!check('A timestamp authority confirms when', isStamped, found, 'a timestamp (rfc3161timestamp)')) {
      return conclude(
        'failed',
        `signed by ${who}, but no timestamp authority confirms when`,
        'Sign with a timestamp authority of the trust root, or leave rfc3161timestamp out',
      );
    }
  }
  if (demand?.policy !== undefined) {
    const { name } = demand.policy;
    const objection = checkStatement(demand.policy.check, payload);
    if (!check('The content satisfies its policy', objection === undefined, objection ?? 'it does', name)) {
      return conclude('failed', `signed by ${who}, but its content: ${objection ?? ''}`);
    }
  }
  return conclude('passed', `signed by ${who}`);
}

function checkStatement(check: (statement: JsonValue) => string | undefined, payload: Uint8Array): string | undefined {
  try {
    return check(parseJson(payload));
  } catch (error) {
    return `it cannot be checked: ${reasonOf(error)}`;
  }
}

/** What the policy of the whole is told of a signature, in policy-controller's words. */
function matchOf(signature: Signature, demand: AttestationRule | undefined, digest: Digest): JsonValue {
  if (signature.state !== 'accepted') return null;
  const { id, signer } = signature;
  const match: Record<string, JsonValue> = { id };
  if (signer.kind === 'certificate') {
    const { san, issuer, extensions } = signer;
    Object.assign(match, { subject: san, issuer });
    const told = {
      githubWorkflowTrigger: extensions.githubWorkflowTrigger,
      githubWorkflowSha: extensions.githubWorkflowSha,
      githubWorkflowName: extensions.githubWorkflowName,
      githubWorkflowRepo: extensions.githubWorkflowRepository,
      githubWorkflowRef: extensions.githubWorkflowRef,
    };
    for (const [name, value] of Object.entries(told)) if (value !== undefined) match[name] = value;
  }
  return demand === undefined ? match : { ...match, predicateType: demand.predicateType, digest };
}

/** In one line: what a signature must be to count. */
export function describeExpected(
  { kind, identities, keys, timestamp }: SigningAuthority,
  demand: AttestationRule | undefined,
): string {
  const who =
    kind === 'key'
      ? keys.length === 1
        ? 'its key'
        : `one of its ${keys.length} keys`
      : identities.map(describeIdentity).join(', or ');
  return [
    `signed by ${who}`,
    'in the transparency log',
    ...(timestamp ? ['with the time confirmed by a timestamp authority'] : []),
    ...(demand?.policy === undefined ? [] : ['content that satisfies its policy']),
  ].join(', ');
}
