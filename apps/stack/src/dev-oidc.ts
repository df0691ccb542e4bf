import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { exportJWK, SignJWT, type JWK } from 'jose';
import { encodeBase64Url, parseJson, parseUtf8 } from '#libs/encoding';
import type { Answer, ErrorShape } from '#libs/nest';
import { plainAnswer } from '#libs/nest';

/** How long a token lives, seconds. */
const lifetime = 600;
/** How long a login may take between consent and code exchange, milliseconds. */
const codeLifetimeMs = 120_000;
/** Codes that wait for their exchange: a bound, because anyone on this machine may ask. */
const maxCodes = 1000;
const formType = 'application/x-www-form-urlencoded';

export class DevOidcError extends Error {
  constructor(
    readonly code: 'DEV_OIDC_CLAIMS' | 'DEV_OIDC_ORIGIN' | 'DEV_OIDC_REQUEST' | 'DEV_OIDC_GRANT',
    message: string,
  ) {
    super(message);
  }
}

interface Login {
  readonly email: string;
  readonly clientId: string;
  readonly redirectUri: string;
  readonly nonce: string | undefined;
  readonly codeChallenge: string | undefined;
  readonly expiresMs: number;
}

/**
 * An OIDC issuer that believes whatever it is told: for trying things out on one machine, never for anything else.
 * Standard discovery, JWKS, authorization code flow with PKCE; and one shortcut: a JSON object of claims sent to the
 * token endpoint comes back as a signed token.
 */
export class DevOidc {
  readonly #logins = new Map<string, Login>();
  readonly #publicKey: KeyObject;
  readonly #keyId: string;

  constructor(
    private readonly parts: {
      /** The issuer URL, no trailing slash. */
      issuer: string;
      /** RSA: some clients parse a given token with RS256 only. */
      privateKey: KeyObject;
      now: () => Date;
      randomBytes: (length: number) => Uint8Array;
    },
  ) {
    this.#publicKey = createPublicKey(parts.privateKey);
    const spki = this.#publicKey.export({ type: 'spki', format: 'der' });
    this.#keyId = createHash('sha256').update(spki).digest('hex').slice(0, 16);
  }

  async jwks(): Promise<{ keys: JWK[] }> {
    return { keys: [{ ...(await exportJWK(this.#publicKey)), kid: this.#keyId, alg: 'RS256', use: 'sig' }] };
  }

  discovery(): Record<string, unknown> {
    const { issuer } = this.parts;
    return {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      response_types_supported: ['code'],
      grant_types_supported: ['authorization_code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
      code_challenge_methods_supported: ['S256'],
      token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post'],
      scopes_supported: ['openid', 'email'],
      claims_supported: ['iss', 'sub', 'aud', 'exp', 'iat', 'nonce', 'email', 'email_verified'],
    };
  }

  /**
   * The token endpoint. `application/x-www-form-urlencoded` is OAuth's code exchange; anything else is a JSON object of claims.
   * @throws DevOidcError
   */
  async token(
    body: Uint8Array | undefined,
    contentType: string | undefined,
    origin: string | undefined,
  ): Promise<Record<string, unknown>> {
    this.#refuseForeign(origin);
    const isForm = (contentType ?? '').toLowerCase().startsWith(formType);
    const text = readText(body);
    // `curl -d '{…}'` says form-urlencoded without meaning it.
    const claims =
      isForm && !text.trimStart().startsWith('{') ? this.#exchange(new URLSearchParams(text)) : parseClaims(text);
    const token = await this.#sign(claims);
    // Dex gives the same token under both names, and one released client reads access_token.
    return { id_token: token, access_token: token, token_type: 'Bearer', expires_in: lifetime };
  }

  /** The page on which a person says who they are. */
  consentPage(query: Record<string, unknown>): string {
    const request = readAuthorization(query);
    const hidden = Object.entries(request)
      .filter((entry): entry is [string, string] => entry[1] !== undefined)
      .map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`)
      .join('\n      ');
    return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Sign in (development)</title>
    <style>
      body { font: 16px/1.5 system-ui, sans-serif; max-width: 32rem; margin: 4rem auto; padding: 0 1rem; }
      input[type=email] { font: inherit; width: 100%; padding: .5rem; margin: .5rem 0 1rem; box-sizing: border-box; }
      button { font: inherit; padding: .5rem 1.5rem; }
      .warning { border-left: 4px solid #b45309; padding-left: 1rem; }
    </style>
  </head>
  <body>
    <h1>Sign in</h1>
    <p><strong>${escapeHtml(request.client_id)}</strong> asks who you are, to put your e-mail address into a signing certificate.</p>
    <p class="warning">This is a development issuer: it believes any address.</p>
    <form method="post" action="authorize">
      ${hidden}
      <label for="email">E-mail address</label>
      <input id="email" name="email" type="email" required autofocus value="you@example.com">
      <button type="submit">Continue</button>
    </form>
  </body>
</html>
`;
  }

  /** The consent form came back: a code for the client, by redirect or (out of band) on a page. */
  consent(body: Uint8Array | undefined, origin: string | undefined): { redirect: string } | { page: string } {
    this.#refuseForeign(origin);
    const form = Object.fromEntries(new URLSearchParams(readText(body)));
    const request = readAuthorization(form);
    const email = form['email'] ?? '';
    if (!/^[^\s@<>"]{1,64}@[^\s@<>"]{1,190}$/.test(email)) {
      throw new DevOidcError('DEV_OIDC_REQUEST', 'Cannot sign in: that is not an e-mail address');
    }
    const nowMs = this.parts.now().getTime();
    for (const [code, login] of this.#logins) if (login.expiresMs < nowMs) this.#logins.delete(code);
    if (this.#logins.size >= maxCodes)
      throw new DevOidcError('DEV_OIDC_REQUEST', 'Cannot sign in: too many logins at once');
    const code = encodeBase64Url(this.parts.randomBytes(24));
    this.#logins.set(code, {
      email,
      clientId: request.client_id,
      redirectUri: request.redirect_uri,
      nonce: request.nonce,
      codeChallenge: request.code_challenge,
      expiresMs: nowMs + codeLifetimeMs,
    });
    if (request.redirect_uri === outOfBand) {
      return { page: `<!doctype html><title>Code</title><p>Your code: <code>${escapeHtml(code)}</code></p>\n` };
    }
    const redirect = new URL(request.redirect_uri);
    redirect.searchParams.set('code', code);
    if (request.state !== undefined) redirect.searchParams.set('state', request.state);
    return { redirect: redirect.href };
  }

  #exchange(form: URLSearchParams): Record<string, unknown> {
    if (form.get('grant_type') !== 'authorization_code') {
      throw new DevOidcError('DEV_OIDC_GRANT', 'unsupported_grant_type');
    }
    const code = form.get('code') ?? '';
    const login = this.#logins.get(code);
    // Once only, whatever comes of it (RFC 6749 §4.1.2).
    this.#logins.delete(code);
    const verifier = form.get('code_verifier');
    const challenge = verifier === null ? undefined : createHash('sha256').update(verifier).digest('base64url');
    if (
      login === undefined ||
      login.expiresMs < this.parts.now().getTime() ||
      login.redirectUri !== form.get('redirect_uri') ||
      login.codeChallenge !== challenge
    ) {
      throw new DevOidcError('DEV_OIDC_GRANT', 'invalid_grant');
    }
    return {
      aud: login.clientId,
      email: login.email,
      email_verified: true,
      ...(login.nonce !== undefined && { nonce: login.nonce }),
    };
  }

  async #sign(given: Record<string, unknown>): Promise<string> {
    const nowSeconds = Math.floor(this.parts.now().getTime() / 1000);
    const email = typeof given['email'] === 'string' ? given['email'] : undefined;
    const claims = {
      iss: this.parts.issuer,
      aud: 'sigstore',
      sub: email ?? gitHubSubject(given) ?? 'developer',
      iat: nowSeconds,
      nbf: nowSeconds,
      exp: nowSeconds + lifetime,
      ...(email !== undefined && { email_verified: true }),
      ...given,
    };
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: this.#keyId, typ: 'JWT' })
      .sign(this.parts.privateKey);
  }

  /** A page on the web must not fetch tokens from a developer's machine through that developer's browser. */
  #refuseForeign(origin: string | undefined): void {
    if (origin === undefined || origin === new URL(this.parts.issuer).origin) return;
    throw new DevOidcError('DEV_OIDC_ORIGIN', 'Cannot give a token: the request comes from a page of another origin');
  }
}

const outOfBand = 'urn:ietf:wg:oauth:2.0:oob';

interface Authorization {
  readonly client_id: string;
  readonly redirect_uri: string;
  readonly response_type: string;
  readonly state: string | undefined;
  readonly nonce: string | undefined;
  readonly code_challenge: string | undefined;
  readonly code_challenge_method: string | undefined;
}

function readAuthorization(query: Record<string, unknown>): Authorization {
  const text = (name: string): string | undefined => {
    const value = query[name];
    return typeof value === 'string' && value.length > 0 && value.length <= 2048 ? value : undefined;
  };
  const refuse = (reason: string): DevOidcError =>
    new DevOidcError('DEV_OIDC_REQUEST', `Cannot start the sign-in: ${reason}`);
  const clientId = text('client_id');
  const redirectUri = text('redirect_uri');
  if (clientId === undefined) throw refuse('client_id is missing');
  if (redirectUri === undefined || !isLoopbackRedirect(redirectUri)) {
    throw refuse('redirect_uri must be on localhost or out of band');
  }
  if (text('response_type') !== 'code') throw refuse('response_type must be code');
  const challenge = text('code_challenge');
  const method = text('code_challenge_method');
  if (challenge !== undefined && method !== 'S256') throw refuse('code_challenge_method must be S256');
  return {
    client_id: clientId,
    redirect_uri: redirectUri,
    response_type: 'code',
    state: text('state'),
    nonce: text('nonce'),
    code_challenge: challenge,
    code_challenge_method: method,
  };
}

/** RFC 8252 §7.3: native clients listen on the loopback interface, any port. */
function isLoopbackRedirect(uri: string): boolean {
  if (uri === outOfBand) return true;
  if (!URL.canParse(uri)) return false;
  const { protocol, hostname } = new URL(uri);
  return protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
}

function readText(body: Uint8Array | undefined): string {
  try {
    return parseUtf8(body ?? new Uint8Array());
  } catch {
    throw new DevOidcError('DEV_OIDC_REQUEST', 'Cannot read the request: body is not UTF-8');
  }
}

function parseClaims(text: string): Record<string, unknown> {
  let claims: unknown;
  try {
    claims = text.trim() === '' ? {} : parseJson(text);
  } catch (cause) {
    throw new DevOidcError(
      'DEV_OIDC_CLAIMS',
      `Cannot sign the claims: ${cause instanceof Error ? cause.message : 'not JSON'}`,
    );
  }
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) {
    throw new DevOidcError('DEV_OIDC_CLAIMS', 'Cannot sign the claims: send a JSON object');
  }
  return { ...claims };
}

/** GitHub's `sub` for a branch or tag build, for tokens shaped like GitHub's that do not say it. */
function gitHubSubject(claims: Record<string, unknown>): string | undefined {
  const { repository, ref } = claims;
  return typeof repository === 'string' && typeof ref === 'string' ? `repo:${repository}:ref:${ref}` : undefined;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const paths: Readonly<Record<string, readonly string[]>> = {
  '/dev/oidc/.well-known/openid-configuration': ['GET', 'HEAD'],
  '/dev/oidc/jwks': ['GET', 'HEAD'],
  '/dev/oidc/authorize': ['GET', 'HEAD', 'POST'],
  '/dev/oidc/token': ['POST'],
};

function oauthAnswer(status: number, error: string, description: string): Answer {
  return { status, contentType: 'application/json', body: JSON.stringify({ error, error_description: description }) };
}

/** OAuth's error words (RFC 6749 §5.2). */
export const devOidcShape: ErrorShape = {
  owns: (path) => path.startsWith('/dev/oidc'),
  methods: (path) => paths[path],
  answer: (error) => {
    if (!(error instanceof DevOidcError)) return undefined;
    if (error.code === 'DEV_OIDC_ORIGIN') return oauthAnswer(403, 'access_denied', error.message);
    if (error.code === 'DEV_OIDC_GRANT')
      return oauthAnswer(400, error.message, 'the grant is unknown, used or expired');
    return oauthAnswer(400, 'invalid_request', error.message);
  },
  notFound: () => plainAnswer(404, 'not found'),
  methodNotAllowed: (_method, allowed) => plainAnswer(405, 'method not allowed', { allow: allowed.join(', ') }),
  tooLarge: () => oauthAnswer(413, 'invalid_request', 'request body too large'),
  malformed: () => oauthAnswer(400, 'invalid_request', 'request could not be read'),
  internal: (requestId) => oauthAnswer(500, 'server_error', `internal error (request ${requestId})`),
};
