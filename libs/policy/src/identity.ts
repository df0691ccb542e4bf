import { identityMatcher, type Matcher } from '#libs/verify';

/** One way to be accepted: this subject, vouched for by this issuer. */
export interface IdentityRule {
  readonly subject: Text;
  readonly issuer: Text;
}

/** A text to compare exactly, or a regular expression (RE2) for the whole of it. */
export type Text =
  | { readonly kind: 'exact'; readonly value: string }
  | { readonly kind: 'pattern'; readonly value: string; readonly matches: Matcher };

/** What a certificate says: one subject, one issuer. */
export interface ProvenIdentity {
  readonly san: string;
  readonly issuer: string;
}

/**
 * Compiles a regular expression for a whole subject or issuer. Policy-controller looks for it anywhere in the text, so that `.*@example.com` lets in
 * `eve@example.com.evil.org`; here it must match from the first character to the last.
 * @throws VerifyError `VERIFY_POLICY`
 */
export async function compilePattern(expression: string): Promise<Text> {
  return { kind: 'pattern', value: expression, matches: await identityMatcher(expression) };
}

/** Subject *and* issuer of one rule: never the subject of one with the issuer of another. */
export function matchesIdentity(rule: IdentityRule, { san, issuer }: ProvenIdentity): boolean {
  return matchesText(rule.subject, san) && matchesText(rule.issuer, issuer);
}

export function matchesText(expected: Text, found: string): boolean {
  return expected.kind === 'exact' ? expected.value === found : expected.matches(found);
}

/** `ci@example.com of https://accounts.example.com`, patterns between slashes with their anchors. */
export function describeIdentity({ subject, issuer }: IdentityRule): string {
  return `${describeText(subject)} of ${describeText(issuer)}`;
}

function describeText(text: Text): string {
  return text.kind === 'exact' ? text.value : `/^(?:${text.value})$/`;
}
