import type { PublicKey } from '#libs/crypto';
import type { TimeRange } from '#libs/trust';
import { VerifyError } from './error.js';

/** Whether a value is the expected one. Makes a regular expression of RE2 with {@link identityMatcher}. */
export type Matcher = (value: string) => boolean;

/** Whose signature to accept. An identity without its issuer is none: any issuer can write any name. */
export type Policy = IdentityPolicy | KeyPolicy;

export interface IdentityPolicy {
  kind: 'identity';
  /** The subject alternative name: e-mail address, URI or user name. A string is compared exactly. */
  san: string | Matcher;
  /** The OIDC issuer in the certificate. */
  issuer: string | Matcher;
}

export interface KeyPolicy {
  kind: 'key';
  publicKey: PublicKey;
  /** When the key was good, both ends included. If known, a trusted time of signing must lie in it. */
  validFor?: TimeRange;
}

/** How many *distinct operators* must vouch. All 1 unless said otherwise. */
export interface Thresholds {
  /** Transparency logs that have the entry. */
  logs?: number;
  /** CT logs that promised to show the certificate. */
  ctLogs?: number;
  /** Sources of time. A managed key needs none unless this is given, or its validity is known. */
  times?: number;
}

/**
 * A matcher from a regular expression in RE2's syntax. The *whole* value must match: `.*@example\.com` does not accept
 * `eve@example.com.evil`. RE2 runs in linear time, so an expression cannot be made to hang; the engine is loaded only here.
 * @throws VerifyError `VERIFY_POLICY` if it is not a regular expression
 */
export async function identityMatcher(expression: string): Promise<Matcher> {
  const { RE2JS } = await import('re2js');
  try {
    // Compiled as it is, not wrapped in ^(?:…)$, which `a)|(b` would break out of.
    const pattern = RE2JS.compile(expression);
    return (value) => pattern.matches(value);
  } catch (error) {
    throw new VerifyError('VERIFY_POLICY', 'Cannot use identity expression: it is not a regular expression of RE2', {
      cure: 'See https://github.com/google/re2/wiki/Syntax',
      cause: error,
    });
  }
}

/** @throws VerifyError `VERIFY_POLICY` for a policy that would accept nothing, or anything */
export function checkPolicy(policy: Policy, thresholds: Thresholds): void {
  const unusable = (problem: string, cure: string) =>
    new VerifyError('VERIFY_POLICY', `Cannot verify: ${problem}`, { cure });
  if (policy.kind === 'identity' && (policy.san === '' || policy.issuer === '')) {
    throw unusable('the expected identity or issuer is empty', 'Name both the identity and the issuer to trust');
  }
  for (const [name, value] of Object.entries(thresholds) as [string, number | undefined][]) {
    if (value !== undefined && (!Number.isInteger(value) || value < 1)) {
      throw unusable(`threshold ${name} must be at least 1`, 'Leave the threshold out, or raise it');
    }
  }
}
