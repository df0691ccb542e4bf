import * as oidc from 'openid-client';
import { LoginError, quoted } from './error.js';
import type { LoginEdge, LoginSettings } from './options.js';

/** An issuer that has described itself, and how to talk to it. */
export interface Connection {
  readonly config: oidc.Configuration;
  readonly issuer: string;
  readonly metadata: Readonly<oidc.ServerMetadata>;
}

/** One answer. Discovery documents and key sets have a few kilobytes. */
const MAX_ANSWER_BYTES = 512 * 1024;
const TIMEOUT_SECONDS = 30;
/** For a question whose answer only makes things easier. */
const PROBE_TIMEOUT_SECONDS = 5;
/** Clocks differ a little; the certificate authority has the last word. */
const LEEWAY_SECONDS = 5;

const NETWORK_CURE = 'Check the URL of the issuer and the network, and that the issuer is running';

/**
 * Fetches what the issuer says about itself.
 * @throws LoginError `LOGIN_ISSUER`, `LOGIN_DISCOVERY`, `LOGIN_NETWORK`
 * @see OpenID Connect Discovery 1.0 §4
 */
export async function connect(
  options: LoginSettings & Pick<LoginEdge, 'fetch' | 'now'>,
  timeout = TIMEOUT_SECONDS,
): Promise<Connection> {
  const issuerUrl = parseIssuer(options.issuer);
  const isPlain = issuerUrl.protocol === 'http:';
  const client: Partial<oidc.ClientMetadata> = {
    [oidc.clockSkew]: Math.round((options.now() - Date.now()) / 1000),
    [oidc.clockTolerance]: LEEWAY_SECONDS,
  };
  const discover = (): Promise<oidc.Configuration> =>
    oidc.discovery(issuerUrl, options.clientId, client, authentication(options.clientSecret), {
      [oidc.customFetch]: guardedFetch(options.fetch, isPlain),
      // Signatures too: that an answer came over TLS does not say who made the token, and the library leaves it at that unless told.
      execute: [oidc.enableNonRepudiationChecks, ...(isPlain ? [oidc.allowInsecureRequests] : [])],
      timeout,
    });
  const config = await discover().catch((cause: unknown) => {
    const known = ownError(cause);
    if (known !== undefined) throw known;
    throw new LoginError(
      'LOGIN_DISCOVERY',
      `Cannot sign in with ${options.issuer}: ${discoveryFault(cause, options.issuer)}`,
      { cause, cure: discoveryCure(options.issuer) },
    );
  });
  const metadata = config.serverMetadata();
  // §4.3: exactly. The library compares after normalizing, and the token's issuer will be compared byte for byte by everyone else.
  if (metadata.issuer !== options.issuer) {
    throw new LoginError(
      'LOGIN_DISCOVERY',
      `Cannot sign in with ${options.issuer}: it calls itself ${quoted(metadata.issuer)}`,
      { cure: discoveryCure(options.issuer) },
    );
  }
  return { config, issuer: options.issuer, metadata };
}

/**
 * Whether an issuer lets people sign in: CI systems issue tokens too, and have no page for it. Undefined if it does not answer.
 */
export async function offersLogin(
  issuer: string,
  edge: Pick<LoginEdge, 'fetch' | 'now'>,
): Promise<boolean | undefined> {
  try {
    const probe = { ...edge, issuer, clientId: 'sigstore', flow: 'browser' } as const;
    const { metadata } = await connect(probe, PROBE_TIMEOUT_SECONDS);
    return metadata.authorization_endpoint !== undefined || metadata.device_authorization_endpoint !== undefined;
  } catch (error) {
    if (!(error instanceof LoginError)) throw error;
    // A name with a wildcard stands for many issuers, none of which is this.
    return error.code === 'LOGIN_ISSUER' ? false : undefined;
  }
}

/** @throws LoginError `LOGIN_ISSUER` */
function parseIssuer(text: string): URL {
  const refuse = (state: string): LoginError =>
    new LoginError('LOGIN_ISSUER', `Cannot sign in with ${quoted(text)}: ${state}`, {
      cure: 'Give the issuer as it stands in its tokens, such as https://accounts.example.com',
    });
  if (!URL.canParse(text)) throw refuse('it is not a URL');
  if (text.includes('*')) throw refuse('it stands for many issuers');
  const url = new URL(text);
  if (!isSafe(url, isLoopback(url))) throw refuse('an issuer must have https://, or http:// on this machine');
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw refuse('an issuer has neither a user name, nor a query, nor a fragment');
  }
  if (url.pathname.includes('/.well-known/')) throw refuse('that is its discovery document, not the issuer');
  return url;
}

/**
 * The issuer's endpoint of this name, encrypted as the issuer itself is.
 * @throws LoginError `LOGIN_FLOW` if it has none, `LOGIN_DISCOVERY` if it may not be used
 */
export function requireEndpoint(
  { metadata, issuer }: Connection,
  name: 'authorization_endpoint' | 'device_authorization_endpoint' | 'token_endpoint',
  flow: string,
): void {
  const endpoint = metadata[name];
  if (endpoint === undefined) {
    throw new LoginError('LOGIN_FLOW', `Cannot sign in with ${issuer}: it does not offer the ${flow}`, {
      cure: 'Choose another --auth-flow, or turn it on at the issuer',
    });
  }
  // A browser is sent there, so it must not be file:, javascript: or a program's own scheme.
  if (!URL.canParse(endpoint) || !isSafe(new URL(endpoint), issuer.startsWith('http:'))) {
    throw new LoginError('LOGIN_DISCOVERY', `Cannot sign in with ${issuer}: its ${name} is not https`);
  }
}

/** Errors of the library and of the issuer in our words; anything else as it is. */
export function loginError(cause: unknown, { issuer }: Pick<Connection, 'issuer'>): Error {
  const known = ownError(cause);
  if (known !== undefined) return known;
  if (cause instanceof oidc.AuthorizationResponseError) return refusal(cause, issuer, cause);
  if (cause instanceof oidc.ResponseBodyError) return refusal(cause, issuer, cause);
  if (cause instanceof oidc.WWWAuthenticateChallengeError) {
    return refusal({ error: 'invalid_client' }, issuer, cause);
  }
  if (!(cause instanceof oidc.ClientError)) return cause instanceof Error ? cause : new Error(String(cause));
  if (cause.code === 'OAUTH_HTTP_REQUEST_FORBIDDEN') {
    return new LoginError('LOGIN_DISCOVERY', `Cannot sign in with ${issuer}: one of its endpoints is not https`, {
      cause,
    });
  }
  if (isTokenFault(cause)) {
    return new LoginError('LOGIN_TOKEN', `Cannot believe the token of ${issuer}: ${tokenFault(cause)}`, {
      cause,
      cure: 'Check the clock and the client id; if they are right, the issuer or the connection to it is at fault',
    });
  }
  return new LoginError('LOGIN_RESPONSE', `Cannot sign in with ${issuer}: ${cause.message}`, { cause });
}

/** @see RFC 6749 §4.1.2.1 and §5.2, RFC 8628 §3.5, OpenID Connect Core 1.0 §3.1.2.6 */
function refusal(
  { error, error_description: description }: { error: string; error_description?: string | undefined },
  issuer: string,
  cause: unknown,
): LoginError {
  const said = `${quoted(error)}${description === undefined ? '' : `, ${quoted(description)}`}`;
  const cure = Object.hasOwn(cures, error) ? cures[error] : undefined;
  const code =
    error === 'access_denied' ? 'LOGIN_DENIED' : error === 'expired_token' ? 'LOGIN_EXPIRED' : 'LOGIN_REFUSED';
  return new LoginError(code, `Cannot sign in with ${issuer}: it answered ${said}`, {
    cause,
    ...(cure !== undefined && { cure }),
  });
}

const cures: Readonly<Record<string, string>> = {
  access_denied: 'Sign in again and allow it, or ask who runs the issuer whether you may',
  expired_token: 'Sign in again, and confirm sooner',
  invalid_client: 'Check --oidc-client-id and the client secret',
  unauthorized_client: 'Allow this flow for the client at the issuer, or choose another --auth-flow',
  unsupported_grant_type: 'Allow this flow for the client at the issuer, or choose another --auth-flow',
  invalid_scope: 'Ask for other scopes with --oidc-scope',
  invalid_grant: 'Sign in again: a code is good once, for a short time, and for the program that asked for it',
};

const tokenCodes: ReadonlySet<string | undefined> = new Set([
  'OAUTH_JWT_TIMESTAMP_CHECK_FAILED',
  'OAUTH_JWT_CLAIM_COMPARISON_FAILED',
  'OAUTH_KEY_SELECTION_FAILED',
  'OAUTH_UNSUPPORTED_OPERATION',
]);

function isTokenFault(error: oidc.ClientError): boolean {
  if (tokenCodes.has(error.code)) return true;
  return /JWT|ID Token|id_token/.test(causeMessage(error));
}

/** The library's own words, which name the claim; what it found is not repeated, for that may be a token. */
function tokenFault(error: oidc.ClientError): string {
  const detail = causeMessage(error);
  return detail === '' ? error.message : detail;
}

function causeMessage({ cause }: Error): string {
  return cause instanceof Error ? cause.message : '';
}

function ownError(error: unknown): LoginError | undefined {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    if (at instanceof LoginError) return at;
  }
  return undefined;
}

function discoveryFault(cause: unknown, issuer: string): string {
  if (cause instanceof oidc.ClientError) {
    const { body } = (cause.cause ?? {}) as { body?: { issuer?: unknown } };
    if (typeof body?.issuer === 'string') return `it calls itself ${quoted(body.issuer)}`;
    if (cause.cause instanceof Response)
      return `${issuer} answered ${cause.cause.status} to the question for its configuration`;
    return `its configuration cannot be read (${cause.message})`;
  }
  return cause instanceof Error ? cause.message : 'its configuration cannot be read';
}

function discoveryCure(issuer: string): string {
  if (/^https:\/\/login\.microsoftonline\.com\/(common|organizations|consumers)\b/.test(issuer)) {
    return 'Name the tenant: https://login.microsoftonline.com/<tenant id>/v2.0';
  }
  return 'Give the issuer exactly as it calls itself, with or without the last slash';
}

/**
 * `none` for a public client: PKCE takes the place of the secret. Else as the issuer says it wants the secret.
 * @see RFC 6749 §2.3.1, OpenID Connect Core 1.0 §9
 */
function authentication(secret: string | undefined): oidc.ClientAuth {
  if (secret === undefined) return oidc.None();
  const basic = oidc.ClientSecretBasic(secret);
  const post = oidc.ClientSecretPost(secret);
  return (server, ...rest) => {
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
    const byForm = methods.includes('client_secret_post') && !methods.includes('client_secret_basic');
    (byForm ? post : basic)(server, ...rest);
  };
}

/**
 * `fetch` for talking to an issuer: every URL encrypted (or within this machine, if the issuer is), no redirects, a bound on the answer.
 */
function guardedFetch(fetch: typeof globalThis.fetch, mayBePlain: boolean): oidc.CustomFetch {
  return async (url, { signal, ...request }) => {
    const target = new URL(url);
    if (!isSafe(target, mayBePlain)) {
      throw new LoginError('LOGIN_DISCOVERY', `Cannot use the endpoint ${quoted(url)} of the issuer: it is not https`);
    }
    try {
      const response = await fetch(url, {
        ...(request as RequestInit), // a URLSearchParams, text or nothing; the library's own type for it is wider
        redirect: 'manual',
        ...(signal !== undefined && { signal }),
      });
      if (response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400)) {
        await response.body?.cancel();
        throw new LoginError(
          'LOGIN_RESPONSE',
          `Cannot use ${target.origin}${target.pathname}: it answered with a redirect`,
          {
            cure: 'Give the issuer under its final URL; a redirect would carry a code or a secret to another host',
          },
        );
      }
      const body = await readBody(response);
      return new Response(body.length === 0 ? null : body, { status: response.status, headers: response.headers });
    } catch (cause) {
      if (cause instanceof LoginError) throw cause;
      const reason = signal?.aborted ? `no complete answer in time` : networkReason(cause);
      throw new LoginError('LOGIN_NETWORK', `Cannot reach the issuer at ${target.origin}: ${reason}`, {
        cause,
        cure: NETWORK_CURE,
      });
    }
  };
}

async function readBody(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  if (response.body !== null) {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      // Leaving the loop cancels the stream.
      if (length > MAX_ANSWER_BYTES) {
        throw new LoginError('LOGIN_RESPONSE', `Cannot read the issuer's answer: more than ${MAX_ANSWER_BYTES} bytes`);
      }
      chunks.push(chunk);
    }
  }
  return new Uint8Array(Buffer.concat(chunks));
}

function isSafe(url: URL, mayBePlain: boolean): boolean {
  return url.protocol === 'https:' || (mayBePlain && url.protocol === 'http:' && isLoopback(url));
}

/** RFC 8252 §7.3 and §8.3, and `localhost`, which resolvers keep on this machine (RFC 6761 §6.3). */
export function isLoopback({ hostname }: URL): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

/** `fetch failed` says nothing; its cause says `ECONNREFUSED`. */
function networkReason(error: unknown): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    const code = (at as { code?: unknown }).code;
    if (typeof code === 'string') return code;
  }
  return 'the connection failed';
}
