import * as oidc from 'openid-client';
import { LoginError, quoted } from './error.js';
import { readIdToken, sameText } from './id-token.js';
import { type Connection, loginError, requireEndpoint } from './issuer.js';
import { type Login, type LoginSettings, requestParameters } from './options.js';

/** An authorization request that is under way; good for one answer. */
export interface CodeRequest {
  /** Where the person signs in. */
  readonly url: string;
  /**
   * Takes the parameters that the browser came back with, exchanges the code, and verifies the token.
   * @throws LoginError `LOGIN_STATE`, `LOGIN_DENIED`, `LOGIN_REFUSED`, `LOGIN_TOKEN`, `LOGIN_NETWORK`, `LOGIN_RESPONSE`
   */
  finish(parameters: URLSearchParams): Promise<Login>;
  /** The same for a code that a person copied from a page: nothing came with it, so PKCE and the nonce alone tie it to this request. */
  finishWithCode(code: string): Promise<Login>;
}

/**
 * Starts the authorization code flow with PKCE, state and nonce, each 256 random bits.
 * @throws LoginError `LOGIN_FLOW`, `LOGIN_DISCOVERY`, `LOGIN_SETTINGS`
 * @see RFC 6749 §4.1, RFC 7636, OpenID Connect Core 1.0 §3.1
 */
export async function startCodeRequest(
  connection: Connection,
  settings: LoginSettings,
  redirectUri: string,
): Promise<CodeRequest> {
  requireEndpoint(connection, 'authorization_endpoint', 'sign-in in a browser');
  const verifier = oidc.randomPKCECodeVerifier();
  const state = oidc.randomState();
  const nonce = oidc.randomNonce();
  const url = oidc.buildAuthorizationUrl(connection.config, {
    ...requestParameters(settings),
    redirect_uri: redirectUri,
    state,
    nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });

  const exchange = async (parameters: URLSearchParams): Promise<Login> => {
    const returned = new URL(redirectUri);
    returned.search = parameters.toString();
    const answer = await oidc
      .authorizationCodeGrant(connection.config, returned, {
        pkceCodeVerifier: verifier,
        expectedState: state,
        expectedNonce: nonce,
        idTokenExpected: true,
      })
      .catch((cause: unknown) => {
        throw loginError(cause, connection);
      });
    return readIdToken(answer, connection, settings);
  };

  return {
    url: url.href,
    finish: async (parameters) => {
      checkBelongs(parameters, state, connection);
      return exchange(parameters);
    },
    finishWithCode: (code) => exchange(new URLSearchParams({ code, state, iss: connection.issuer })),
  };
}

/**
 * Whether the answer is to this request and from this issuer. Before anything else is looked at: an attacker's page can make a browser
 * come back with a code of the attacker's session, and the signature would then be theirs.
 * @see RFC 6749 §10.12, RFC 9207 §2.4, RFC 9700 §4.4
 */
function checkBelongs(parameters: URLSearchParams, state: string, { issuer, metadata }: Connection): void {
  const cure = 'Sign in again; if it happens again, something else on this machine or in the browser interferes';
  for (const name of new Set(parameters.keys())) {
    if (parameters.getAll(name).length === 1) continue;
    throw new LoginError(
      'LOGIN_STATE',
      `Cannot take the browser's answer: the parameter ${quoted(name)} is there twice`,
      { cure },
    );
  }
  const found = parameters.get('state');
  if (found === null || !sameText(found, state)) {
    const what = found === null ? 'it has no state' : 'its state is not the one of this sign-in';
    throw new LoginError('LOGIN_STATE', `Cannot take the browser's answer: ${what}`, { cure });
  }
  const from = parameters.get('iss');
  if (from === null && metadata['authorization_response_iss_parameter_supported'] !== true) return;
  if (from === issuer) return;
  const whose = from === null ? 'it does not say from whom it is' : `it is from ${quoted(from)}`;
  throw new LoginError('LOGIN_STATE', `Cannot take the browser's answer: ${whose}, expected ${quoted(issuer)}`, {
    cure,
  });
}
