import * as oidc from 'openid-client';
import { createTokenVerifier, IdentityError, type IssuerKind, type VerifiedClaims } from '#libs/identity';
import { LoginError } from './error.js';
import { describeToken, readIdToken } from './id-token.js';
import { type Connection, loginError, requireEndpoint } from './issuer.js';
import { type Login, type LoginOptions, requestParameters } from './options.js';

/**
 * A program signs in with its own secret. What comes is an ID token from some issuers, and from the others an access token that is a JWT.
 * @throws LoginError `LOGIN_SETTINGS`, `LOGIN_FLOW`, `LOGIN_REFUSED`, `LOGIN_TOKEN`, `LOGIN_NETWORK`, `LOGIN_RESPONSE`
 * @see RFC 6749 §4.4
 */
export async function signInAsClient(connection: Connection, options: LoginOptions): Promise<Login> {
  if (options.clientSecret === undefined) {
    throw new LoginError('LOGIN_SETTINGS', 'Cannot sign in with client credentials: there is no client secret', {
      cure: 'Name the file that has it with --oidc-client-secret-file',
    });
  }
  requireEndpoint(connection, 'token_endpoint', 'client credentials flow');
  const answer = await oidc
    .genericGrantRequest(connection.config, 'client_credentials', requestParameters(options))
    .catch((cause: unknown) => {
      throw loginError(cause, connection);
    });
  if (answer.id_token !== undefined) return readIdToken(answer, connection, options);
  return verifyAccessToken(answer.access_token, options);
}

/** As the certificate authority will verify it: by discovery, for whom it is meant, with no e-mail address asked for. */
async function verifyAccessToken(token: string, options: LoginOptions): Promise<Login> {
  let verified: VerifiedClaims | undefined;
  const kind: IssuerKind = {
    challengeClaim: 'sub',
    fields: [],
    claims: () => ({ required: [], optional: [] }),
    principal: (claims) => {
      verified = claims;
      return {
        issuer: claims.issuer,
        subject: claims.subject,
        challenge: claims.subject,
        challengeClaim: 'sub',
        san: { kind: 'uri', value: claims.issuer },
        extensions: {},
      };
    },
  };
  const verifier = createTokenVerifier({
    issuers: [
      { issuerUrl: options.issuer, clientId: options.audience ?? options.clientId, type: 'client', wildcard: false },
    ],
    kinds: { client: kind },
    fetch: options.fetch,
    now: () => new Date(options.now()),
  });
  try {
    await verifier.verify(token);
  } catch (cause) {
    if (!(cause instanceof IdentityError)) throw cause;
    throw new LoginError('LOGIN_TOKEN', `Cannot believe the token of ${options.issuer}: ${cause.message}`, {
      cause,
      cure: 'The token must be a JWT of this issuer for the client id, or for --oidc-audience: ask the issuer for such a one',
    });
  }
  if (verified === undefined) throw new Error('The verifier made no principal');
  const { claims, issuer: iss, subject: sub } = verified;
  return describeToken(token, { ...claims, iss, sub, exp: Number(claims['exp']) }, options);
}
