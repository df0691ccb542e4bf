/** A rule, what was found, and what it asked for; with the rules that it rests on. */
export interface Explanation {
  readonly rule: 'image' | 'policy' | 'match' | 'authority' | 'attestation' | 'signature' | 'check' | 'content';
  readonly title: string;
  /** `warned`: failed, in a policy that only warns. `skipped`: does not apply, or was not needed. */
  readonly state: 'passed' | 'failed' | 'warned' | 'skipped';
  readonly found?: string;
  readonly expected?: string;
  readonly cure?: string;
  readonly children: readonly Explanation[];
}
