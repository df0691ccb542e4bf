import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IdentityError, type IdentityErrorCode, quote } from './errors.js';
import { makeKey, makeToken } from '../testing/issuer-server.js';
import { createTokenVerifier, type Fetch } from './index.js';

describe('IdentityError.shown', () => {
  test.each<[IdentityErrorCode, string, string]>([
    [
      'IDENTITY_CLAIM',
      'Cannot read claim email: found nothing, expected a non-empty string',
      'claim email is missing, expected a non-empty string',
    ],
    [
      'IDENTITY_CLAIM',
      'Cannot read claim ref_type: found "a, expected b", expected "branch" or "tag"',
      'claim ref_type is "a, expected b", expected "branch" or "tag"',
    ],
    ['IDENTITY_CLAIM', 'Cannot make a URI of claim sub: found "a?"', 'claim sub is "a?"'],
    ['IDENTITY_CLAIM', 'Cannot use claim sub: it has a !', 'claim sub: it has a !'],
    ['IDENTITY_CLAIM', 'Cannot fill the template: a is missing', 'a is missing'],
    ['IDENTITY_CLAIM', 'words of another kind', 'words of another kind'],
    [
      'IDENTITY_EMAIL_UNVERIFIED',
      'Cannot use claim email: email_verified is false, expected true',
      'claim email_verified is false, it must be true',
    ],
    ['IDENTITY_DISCOVERY', 'Cannot discover: 10.0.0.1 refused', "the keys of the token's issuer could not be fetched"],
    ['IDENTITY_JWKS', 'Cannot fetch keys: 10.0.0.1 refused', "the keys of the token's issuer could not be fetched"],
    ['IDENTITY_BUSY', 'Cannot wait: 256 others', 'too many tokens are waiting, try again'],
    ['IDENTITY_CONFIG', 'Cannot read /etc/issuers.yaml: secret', 'the issuer configuration cannot be used'],
  ])('%s: %s', (code, message, shown) => {
    const error = new IdentityError(code, message, { cause: new Error('inner') });
    expect({ shown: error.shown, message: error.message }).toEqual({ shown, message });
  });

  test('is what the thrower says, if it says so', () => {
    expect(new IdentityError('IDENTITY_CLAIM', 'long', { shown: 'short' }).shown).toBe('short');
  });
});

describe('what a stranger is told', () => {
  const NOW = new Date('2026-03-04T05:06:07Z');
  const seconds = NOW.getTime() / 1000;
  const iss = 'https://issuer.example';
  const key = makeKey('k1');
  const fetch: Fetch = async (url) =>
    url.endsWith('/jwks')
      ? new Response(JSON.stringify({ keys: [key.jwk] }))
      : new Response(
          JSON.stringify({ issuer: iss, jwks_uri: `${iss}/jwks`, id_token_signing_alg_values_supported: ['ES256'] }),
        );
  const { verify } = createTokenVerifier({
    issuers: [{ issuerUrl: iss, wildcard: false, clientId: 'sigstore', type: 'email' }],
    fetch,
    now: () => NOW,
  });
  const good = { iss, aud: 'sigstore', sub: 's', exp: seconds + 60, email: 'a@example.com', email_verified: true };
  const shownFor = async (token: string): Promise<string> => {
    const error = await verify(token).catch((reason: unknown) => reason);
    return (error as IdentityError).shown;
  };

  test.each<[object, string]>([
    [{ aud: 'foo' }, 'audience is "foo", this CA expects "sigstore"'],
    [{ aud: ['a', 'b'] }, 'audience is ["a", "b"], this CA expects "sigstore"'],
    [{ aud: ['a', 'b', 'c', 'd'] }, 'audience is ["a", "b", "c", ...], this CA expects "sigstore"'],
    [{ aud: undefined }, 'audience is missing, this CA expects "sigstore"'],
    [{ aud: 'a\u001b[31m\n' }, 'audience is "a?[31m?", this CA expects "sigstore"'],
    [{ exp: seconds - 7 }, 'the token expired at 2026-03-04T05:06:00.000Z, now it is 2026-03-04T05:06:07.000Z'],
    [{ exp: undefined }, 'claim exp is missing, expected seconds since 1970'],
    [
      { nbf: seconds + 353 },
      'the token is not valid before 2026-03-04T05:12:00.000Z, now it is 2026-03-04T05:06:07.000Z',
    ],
    [{ sub: '' }, 'claim sub is "", expected a non-empty string'],
    [{ iss: 'https://x' }, 'issuer "https://x" is not configured here'],
    [{ email_verified: false }, 'claim email_verified is false, it must be true'],
    [{ email: undefined }, 'claim email is missing, expected a non-empty string'],
    [{ iss: 7 }, 'the token is malformed: claim iss is 7, expected a string of 1 to 2048 characters'],
  ])('%j: %s', async (change, shown) => {
    expect(await shownFor(makeToken(key, { ...good, ...change }))).toBe(shown);
  });

  test('about signatures and keys', async () => {
    const token = makeToken(key, good);
    const forged = makeToken({ ...makeKey('k1'), kid: 'k1' }, good);
    expect(await shownFor(forged)).toBe(`the token's signature is by no key of issuer "${iss}"`);
    expect(await shownFor(makeToken({ ...key, kid: 'x' }, good))).toBe(`issuer "${iss}" has no ES256 key with kid "x"`);
    const none = Buffer.from('{"alg":"none"}').toString('base64url');
    expect(await shownFor(`${none}.${token.split('.')[1]}.`)).toBe(
      `the token is signed with "none", issuer "${iss}" signs with ES256`,
    );
    expect(await shownFor('')).toBe('there is no identity token');
    expect(await shownFor('x')).toBe('the token is malformed: it must have exactly two dots');
    expect(await shownFor('.'.repeat(20_000))).toBe('the token has 20000 characters, the limit is 16384');
  });

  test('is printable, short, and never the token', async () => {
    const value = fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.constant(null), fc.array(fc.string()));
    const claims = fc.record({ aud: value, exp: value, sub: value, email: value, email_verified: value, iss: value });
    await fc.assert(
      fc.asyncProperty(
        claims,
        fc.constantFrom('aud', 'exp', 'sub', 'email', 'email_verified', 'iss'),
        async (all, one) => {
          const token = makeToken(key, { ...good, [one]: all[one] });
          const error = await verify(token).catch((reason: unknown) => reason);
          if (!(error instanceof IdentityError)) return;
          expect(error.shown).toMatch(/^[\x20-\x7e]{1,600}$/);
          for (const part of token.split('.').slice(1)) expect(error.shown + error.message).not.toContain(part);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('quote()', () => {
  test.each<[unknown, string]>([
    [undefined, 'nothing'],
    [null, 'null'],
    ['a\u0000\u202eb\u00e9', '"a??b?"'],
    ['x'.repeat(81), `"${'x'.repeat(80)}..."`],
    [10n ** 90n, `1${'0'.repeat(79)}...`],
    [[1, 2], 'a list of 2'],
    [{}, 'an object'],
  ])('%s: %s', (value, text) => {
    expect(quote(value)).toBe(text);
  });
});
