import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { identityMatcher } from './index.js';

describe('identityMatcher()', () => {
  test.each([
    ['me@example\\.com', 'me@example.com', true],
    ['me@example\\.com', 'me@example.com.evil', false],
    ['me@example\\.com', 'not-me@example.com', false],
    ['https://github\\.com/org/.*', 'https://github.com/org/repo', true],
    ['https://github\\.com/org/.*', 'https://evil/?x=https://github.com/org/repo', false],
    ['a|b', 'b', true],
    // Anchors apply to both alternatives, not to the first start and the last end.
    ['a|b', 'ab', false],
    ['a|b', 'xb', false],
    ['^me@example\\.com$', 'me@example.com', true],
    ['.*@example\\.com', 'me@example.com\n', false],
    ['.*', 'a\nb', false],
    ['', '', true],
    ['', 'a', false],
    ['(?i)ME@EXAMPLE\\.COM', 'me@example.com', true],
  ])('%s on %s', async (expression, value, matches) => {
    expect((await identityMatcher(expression))(value)).toBe(matches);
  });

  test.each(['(', '[', 'a)|(b', '(?=a)', '\\1', '*'])('refuses %s', async (expression) => {
    await expect(identityMatcher(expression)).rejects.toMatchObject({ code: 'VERIFY_POLICY' });
  });

  test('is not made to hang by an expression that backtracks', async () => {
    const matches = await identityMatcher('(a+)+b');
    expect(matches('a'.repeat(5_000))).toBe(false);
  });

  test('returns a matcher or throws its own error for any expression', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.string(), async (expression, value) => {
        try {
          expect((await identityMatcher(expression))(value)).toBeTypeOf('boolean');
        } catch (error) {
          expect(error).toMatchObject({ code: 'VERIFY_POLICY' });
        }
      }),
    );
  });
});
