import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeBase64Url, encodeUtf8 } from '#libs/encoding';
import { IdentityError } from './errors.js';
import { parseToken, TOKEN_LIMIT } from './token.js';

const part = (value: unknown): string =>
  encodeBase64Url(encodeUtf8(typeof value === 'string' ? value : JSON.stringify(value)));
const build = (header: unknown, payload: unknown): string => `${part(header)}.${part(payload)}.c2ln`;

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'accepted';
  } catch (error) {
    return error instanceof IdentityError ? error.code : String(error);
  }
}

describe('parseToken()', () => {
  test('takes a token apart and keeps large integers', () => {
    const token = build(
      { alg: 'RS256', kid: 'k' },
      '{"iss":"https://a.example","id":9007199254740993,"n":12345678901}',
    );
    expect(parseToken(token)).toMatchObject({
      algorithm: 'RS256',
      keyId: 'k',
      issuer: 'https://a.example',
      claims: { id: 9007199254740993n, n: 12345678901 },
    });
  });

  const payload = { iss: 'https://a.example' };
  test.each<[string, string | undefined, string]>([
    ['nothing', undefined, 'IDENTITY_TOKEN_MISSING'],
    ['an empty text', '', 'IDENTITY_TOKEN_MISSING'],
    ['one dot', 'e30.e30', 'IDENTITY_TOKEN_MALFORMED'],
    ['no dot', 'e30', 'IDENTITY_TOKEN_MALFORMED'],
    ['three dots', `${build({ alg: 'RS256' }, payload)}.x`, 'IDENTITY_TOKEN_MALFORMED'],
    ['padded base64', `${part({ alg: 'RS256' })}=.${part(payload)}.c2ln`, 'IDENTITY_TOKEN_MALFORMED'],
    ['standard base64', `${part({ alg: 'RS256' })}.ey+/.c2ln`, 'IDENTITY_TOKEN_MALFORMED'],
    ['a padded signature', `${part({ alg: 'RS256' })}.${part(payload)}.c2lnbg==`, 'IDENTITY_TOKEN_MALFORMED'],
    ['a signature with loose bits', `${part({ alg: 'RS256' })}.${part(payload)}.c2l`, 'IDENTITY_TOKEN_MALFORMED'],
    ['a payload that is no JSON', build({ alg: 'RS256' }, 'nonsense'), 'IDENTITY_TOKEN_MALFORMED'],
    ['a payload that is a list', build({ alg: 'RS256' }, [payload]), 'IDENTITY_TOKEN_MALFORMED'],
    [
      'a claim twice',
      build({ alg: 'RS256' }, '{"iss":"https://a.example","iss":"https://b.example"}'),
      'IDENTITY_TOKEN_MALFORMED',
    ],
    ['a header that is no object', build('RS256', payload), 'IDENTITY_TOKEN_MALFORMED'],
    ['no alg', build({}, payload), 'IDENTITY_TOKEN_MALFORMED'],
    ['a kid that is a number', build({ alg: 'RS256', kid: 1 }, payload), 'IDENTITY_TOKEN_MALFORMED'],
    ['a critical header', build({ alg: 'RS256', crit: ['b64'], b64: false }, payload), 'IDENTITY_TOKEN_MALFORMED'],
    ['a claim Iss instead of iss', build({ alg: 'RS256' }, { Iss: 'https://a.example' }), 'IDENTITY_TOKEN_MALFORMED'],
    [
      'an issuer over 2048 characters',
      build({ alg: 'RS256' }, { iss: `https://${'a'.repeat(2048)}` }),
      'IDENTITY_TOKEN_MALFORMED',
    ],
    ['a byte over the limit', 'a'.repeat(TOKEN_LIMIT + 1), 'IDENTITY_TOKEN_TOO_LARGE'],
  ])('refuses %s', (_name, token, code) => {
    expect(codeOf(() => parseToken(token))).toBe(code);
  });

  test('refuses deep nesting', () => {
    const deep = `{"iss":"https://a.example","x":${'['.repeat(50)}${']'.repeat(50)}}`;
    expect(codeOf(() => parseToken(build({ alg: 'RS256' }, deep)))).toBe('IDENTITY_TOKEN_MALFORMED');
  });

  test('CVE-2025-66506: refuses a megabyte of dots, and 16 KiB of them, at once and without taking memory', () => {
    const megabyte = '.'.repeat(1024 * 1024);
    const most = '.'.repeat(TOKEN_LIMIT);
    const rounds = 100;
    const refuse = () => {
      expect(codeOf(() => parseToken(megabyte))).toBe('IDENTITY_TOKEN_TOO_LARGE');
      expect(codeOf(() => parseToken(most))).toBe('IDENTITY_TOKEN_MALFORMED');
    };
    refuse();
    const [start, heap] = [performance.now(), process.memoryUsage().heapUsed];
    for (let round = 0; round < rounds; round++) refuse();
    expect((performance.now() - start) / rounds).toBeLessThan(10);
    // Split, the megabyte alone would take 8 MiB and more a round.
    expect(process.memoryUsage().heapUsed - heap).toBeLessThan(8 * 1024 * 1024 * rounds * 0.1);
  });

  test('returns or throws its own error for any text', () => {
    const anything = fc.oneof(
      fc.string(),
      fc.tuple(fc.json(), fc.json()).map(([header, body]) => build(header, body)),
      fc.json().map((body) => build({ alg: 'RS256' }, body)),
    );
    fc.assert(fc.property(anything, (token) => /^accepted$|^IDENTITY_TOKEN_/.test(codeOf(() => parseToken(token)))));
  });
});
