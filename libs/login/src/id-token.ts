import { createHash, timingSafeEqual } from 'node:crypto';
import type * as oidc from 'openid-client';
import { LoginError, quoted } from './error.js';
import type { Connection } from './issuer.js';
import type { Login, LoginSettings } from './options.js';

/** What a token endpoint answered, as the library leaves it: signature, issuer, client, times and nonce of its ID token are verified. */
export type TokenAnswer = oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers;

/**
 * The ID token of an answer, with the checks that the library leaves to its caller.
 * @throws LoginError `LOGIN_TOKEN`
 * @see OpenID Connect Core 1.0 §3.1.3.6, §3.1.3.8
 */
export function readIdToken(answer: TokenAnswer, { issuer }: Connection, settings: LoginSettings): Login {
  const claims = answer.claims();
  if (answer.id_token === undefined || claims === undefined) {
    throw new LoginError('LOGIN_TOKEN', `Cannot sign in with ${issuer}: its answer has no ID token`, {
      cure: 'Ask for the scope openid',
    });
  }
  if (claims['at_hash'] !== undefined) checkAccessTokenHash(answer.id_token, claims['at_hash'], answer.access_token);
  return describeToken(answer.id_token, claims, settings);
}

/**
 * What verified claims say, for the one they are meant for.
 * @throws LoginError `LOGIN_TOKEN`
 */
export function describeToken(
  token: string,
  claims: Readonly<Record<string, unknown>> & { readonly iss: string; readonly sub: string; readonly exp: number },
  { audience }: LoginSettings,
): Login {
  const audiences = Array.isArray(claims['aud']) ? (claims['aud'] as unknown[]) : [claims['aud']];
  if (audience !== undefined && !audiences.includes(audience)) {
    const found = audiences.map((name) => quoted(String(name))).join(', ');
    throw new LoginError(
      'LOGIN_TOKEN',
      `Cannot use the token of ${claims.iss}: it is for ${found}, wanted is ${quoted(audience)}`,
      {
        cure: 'Let the issuer put that audience into the token, or give --oidc-client-id the name that the certificate authority expects',
      },
    );
  }
  const { email, email_verified: verified } = claims;
  return {
    token,
    issuer: claims.iss,
    subject: claims.sub,
    expiresAt: new Date(claims.exp * 1000),
    ...(typeof email === 'string' && { email }),
    // Dex and others write it as text now and then.
    ...(verified !== undefined && { emailVerified: verified === true || verified === 'true' }),
  };
}

/**
 * The ID token belongs to the access token beside it: the left half of the hash that the signature algorithm uses.
 * A code injected from another session, at an issuer that mixes them up, shows here.
 */
function checkAccessTokenHash(idToken: string, found: unknown, accessToken: string): void {
  const { alg } = JSON.parse(Buffer.from(idToken.split('.', 1)[0] ?? '', 'base64url').toString('utf8')) as {
    alg: string;
  };
  const digest = createHash(hashOf(alg)).update(accessToken, 'ascii').digest();
  const expected = digest.subarray(0, digest.length / 2).toString('base64url');
  if (typeof found === 'string' && sameText(found, expected)) return;
  throw new LoginError('LOGIN_TOKEN', 'Cannot believe the ID token: its at_hash is of another access token');
}

/** RFC 7518 §3.1; EdDSA here is Ed25519, whose hash is SHA-512. */
function hashOf(algorithm: string): string {
  if (algorithm === 'EdDSA' || algorithm === 'Ed25519') return 'sha512';
  return `sha${algorithm.slice(2)}`;
}

/** Compares in a time that does not tell how much of it is right. */
export function sameText(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
