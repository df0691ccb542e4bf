/**
 * Why a policy file was refused, or no judgement came. Codes are API.
 * - `POLICY_SYNTAX`: no YAML or JSON, a name twice, an alias
 * - `POLICY_LIMIT`: larger, or more of something, than we are ready to read
 * - `POLICY_FIELD`: a field is unknown, missing, of the wrong type, out of range, or one that we do not honour
 * - `POLICY_TRUST`: a policy names a trust root that is not there, or that cannot do what the policy asks
 * - `POLICY_GLOB`: a pattern of image names with characters that it must not have
 * - `POLICY_RESOURCE`: a Kubernetes object that cannot be read
 * - `POLICY_DEADLINE`: an image could not be judged in time
 */
export type PolicyErrorCode =
  | 'POLICY_SYNTAX'
  | 'POLICY_LIMIT'
  | 'POLICY_FIELD'
  | 'POLICY_TRUST'
  | 'POLICY_GLOB'
  | 'POLICY_RESOURCE'
  | 'POLICY_DEADLINE';

/** One thing that is wrong in a file, and where. */
export interface Problem {
  /** From 1. */
  readonly line: number;
  /** `ClusterImagePolicy "web": spec.images[0].glob`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  /** What the author can do about it. */
  readonly cure?: string;
}

/** The one error of this lib. A file with several problems is one error that lists them all. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly problems: readonly Problem[];
  /** Of the first problem. */
  readonly cure: string | undefined;

  constructor(
    readonly code: PolicyErrorCode,
    message: string,
    { problems = [], cure, ...options }: ErrorOptions & { problems?: readonly Problem[]; cure?: string } = {},
  ) {
    super(message, options);
    this.problems = problems;
    this.cure = cure ?? problems[0]?.cure;
  }
}

const QUOTE_LIMIT = 80;

/** A text of a file or a registry, fit for a message: quoted, at most 80 characters, printable ASCII only. */
export function quote(text: string): string {
  const head = text.slice(0, QUOTE_LIMIT).replace(/[^\x20-\x7e]/g, '?');
  return text.length > QUOTE_LIMIT ? `"${head}..."` : `"${head}"`;
}

/** What an error says. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
