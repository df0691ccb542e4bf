import type { CheckId } from './checks.js';

/** `log-checkpoint` as `LOG_CHECKPOINT`. */
type Screaming<Text extends string> = Text extends `${infer Head}-${infer Tail}`
  ? `${Uppercase<Head>}_${Screaming<Tail>}`
  : Uppercase<Text>;

/** One code for each check, e.g. `VERIFY_LOG_CHECKPOINT`, and `VERIFY_POLICY` for a policy that makes no sense. */
export type VerifyErrorCode = `VERIFY_${Screaming<CheckId>}` | 'VERIFY_POLICY';

/** The one error of this lib: the check that objected, what it found, and what would cure it. */
export class VerifyError extends Error {
  override readonly name = 'VerifyError';
  /** The check that failed; undefined for `VERIFY_POLICY`. */
  readonly check: CheckId | undefined;
  /** What the user can do about it, a sentence without a period. */
  readonly cure: string;

  constructor(
    readonly code: VerifyErrorCode,
    message: string,
    { cure, check, ...options }: ErrorOptions & { cure: string; check?: CheckId },
  ) {
    super(message, options);
    this.cure = cure;
    this.check = check;
  }

  toJSON(): { code: VerifyErrorCode; check?: CheckId; message: string; cure: string } {
    const { code, check, message, cure } = this;
    return { code, ...(check === undefined ? {} : { check }), message, cure };
  }
}
