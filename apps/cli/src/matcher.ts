import { identityMatcher, VerifyError, type Matcher } from '#libs/verify';
import { CliError } from './exit.js';

/**
 * What a value must be, from two flags of which at most one is given: a text to compare exactly, or a regular expression (RE2) for the whole value.
 * @throws CliError `usage`
 */
export async function readMatcher(
  exact: string | undefined,
  pattern: string | undefined,
  flags: { exact: string; pattern: string },
): Promise<string | Matcher | undefined> {
  if (exact !== undefined && pattern !== undefined) {
    throw new CliError('usage', `Cannot compare: give ${flags.exact} or ${flags.pattern}, not both`);
  }
  if (exact === '' || pattern === '') {
    throw new CliError('usage', `Cannot compare: the value of ${exact === '' ? flags.exact : flags.pattern} is empty`);
  }
  if (pattern === undefined) return exact;
  try {
    return await identityMatcher(pattern);
  } catch (cause) {
    if (!(cause instanceof VerifyError)) throw cause;
    throw new CliError('usage', `Cannot use ${flags.pattern}: ${cause.message}`, { cause, cure: cause.cure });
  }
}
