import { encodeBase64, encodeUtf8, parseJson, type JsonValue } from '#libs/encoding';
import { parseChallenges, type Challenge } from './challenge.js';
import { checkCredential, type Credential, type Credentials } from './credentials.js';
import { collect } from './digest.js';
import { OciError, quote } from './error.js';
import { isObject } from './manifest.js';
import { isInside, isLoopback } from './network.js';
import type { Answer } from './transport.js';

/** What a request is for: `repository:ns/app:pull,push` (distribution: docs/spec/auth/scope.md). */
export type Scope = string;

/** Asks a token service, with the patience that other requests have. Redirects come back as they are. */
export type AskTokenService = (request: {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly form?: string;
}) => Promise<Answer>;

export interface AuthenticatorOptions {
  /** The registry's own. */
  readonly origin: URL;
  /** As in a `Reference`. */
  readonly registry: string;
  readonly repository: string;
  readonly credentials: Credentials;
  readonly ask: AskTokenService;
  /** Whether plain HTTP was asked for. */
  readonly allowsPlainHttp: boolean;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

type Scheme = { readonly kind: 'basic' } | { readonly kind: 'bearer'; readonly realm: URL; readonly service: string };

/** A token that was asked for. */
interface CachedToken {
  readonly header: Promise<string>;
  /** Both known once it came. */
  value?: string;
  expiresMs?: number;
}

const MAX_SCOPES = 8;
const MAX_TOKEN_ANSWER = 256 * 1024;
const MAX_TOKEN = 64 * 1024;
const MAX_TOKENS = 256;
// docs/spec/auth/token.md: what a token is good for if the service does not say.
const DEFAULT_LIFETIME_S = 60;
const MAX_LIFETIME_S = 24 * 3600;
const MARGIN_MS = 5_000;

/**
 * Answers a registry's challenges: Basic, or Bearer with tokens from the service that the challenge names. Credentials go
 * to the registry that they are for and to its token service, over HTTPS unless plain HTTP is what the registry speaks.
 * @see distribution: docs/spec/auth/token.md, docs/spec/auth/oauth.md
 */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #tokens = new Map<string, CachedToken>();
  #scheme: Scheme | undefined;
  #credential: Promise<Credential | undefined> | undefined;
  /** Replaces the one that was found: a token service may exchange it. */
  #refreshToken: string | undefined;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** The Authorization header for a request, by what is known so far; undefined if nothing is. */
  async header(scopes: readonly Scope[]): Promise<string | undefined> {
    const scheme = this.#scheme;
    if (scheme === undefined) return undefined;
    return scheme.kind === 'basic' ? this.#basic() : this.#bearer(scheme, scopes);
  }

  /**
   * The Authorization header to try after a 401 to a request that had `sent`; undefined if there is nothing new to try.
   * @throws OciError `OCI_CHALLENGE`, `OCI_CREDENTIALS`, `OCI_UNAUTHORIZED`, `OCI_NETWORK`, `OCI_RESPONSE`
   */
  async answer(
    challengeHeader: string | readonly string[] | undefined,
    scopes: readonly Scope[],
    sent: string | undefined,
  ): Promise<string | undefined> {
    const challenges = parseChallenges(challengeHeader);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined) {
      const scheme = this.#readBearer(bearer);
      const wanted = mergeScopes([...scopes, ...(bearer.parameters.get('scope') ?? '').split(' ').filter(Boolean)]);
      this.#scheme = scheme;
      if (sent !== undefined) this.#forget(sent);
      const header = await this.#bearer(scheme, wanted);
      // What the registry wants now is what the next request for the same will need.
      const token = this.#tokens.get(tokenKey(scheme, wanted));
      if (token !== undefined) this.#tokens.set(tokenKey(scheme, mergeScopes(scopes)), token);
      return header === sent ? undefined : header;
    }
    if (challenges.some(({ scheme }) => scheme === 'basic')) {
      this.#scheme = { kind: 'basic' };
      const header = await this.#basic();
      return header === sent ? undefined : header;
    }
    return undefined;
  }

  async #basic(): Promise<string | undefined> {
    const credential = await this.#find();
    if (credential === undefined || credential.kind === 'identity-token') return undefined;
    return credential.kind === 'basic' ? basicHeader(credential) : `Bearer ${credential.token}`;
  }

  async #bearer(scheme: Scheme & { kind: 'bearer' }, scopes: readonly Scope[]): Promise<string> {
    const credential = await this.#find();
    if (credential?.kind === 'registry-token') return `Bearer ${credential.token}`;
    const merged = mergeScopes(scopes);
    const key = tokenKey(scheme, merged);
    let token = this.#tokens.get(key);
    // Requests that start at the same time share one token.
    if (token === undefined || (token.expiresMs !== undefined && token.expiresMs <= this.#options.now())) {
      token = this.#fetchToken(scheme, merged, credential);
      if (this.#tokens.size >= MAX_TOKENS) this.#tokens.clear();
      this.#tokens.set(key, token);
    }
    try {
      return await token.header;
    } catch (error) {
      if (this.#tokens.get(key) === token) this.#tokens.delete(key);
      throw error;
    }
  }

  /** A token that the registry refused is of no more use. */
  #forget(header: string): void {
    for (const [key, { value }] of this.#tokens) if (value === header) this.#tokens.delete(key);
  }

  #find(): Promise<Credential | undefined> {
    const { credentials, registry, repository } = this.#options;
    this.#credential ??= credentials
      .find(registry, repository)
      .then((credential) => (credential === undefined ? undefined : checkCredential(credential)));
    return this.#credential;
  }

  /** Where a challenge sends us for tokens, if we may go there. */
  #readBearer({ parameters }: Challenge): Scheme & { kind: 'bearer' } {
    const { origin, allowsPlainHttp } = this.#options;
    const text = parameters.get('realm') ?? '';
    const realm = URL.canParse(text) ? new URL(text) : undefined;
    const refuse = (state: string): OciError =>
      new OciError('OCI_CHALLENGE', `Cannot get a token for ${origin.host} from ${quote(text)}: ${state}`);
    if (realm === undefined || (realm.protocol !== 'https:' && realm.protocol !== 'http:')) {
      throw refuse('it is not a URL of http or https');
    }
    if (realm.username !== '' || realm.password !== '' || realm.hash !== '') {
      throw refuse('it has a user name or a fragment');
    }
    if (realm.host !== origin.host) {
      // A registry on the internet has no token service on this machine or in this network.
      if (isInside(realm.hostname) && !isInside(origin.hostname)) throw refuse('it is not a public address');
    }
    if (realm.protocol === 'http:') {
      if (origin.protocol === 'https:') throw refuse('it would send credentials of an https registry over http');
      if (!isLoopback(realm.hostname) && !allowsPlainHttp) throw refuse('it is plain http');
    }
    return { kind: 'bearer', realm, service: parameters.get('service') ?? '' };
  }

  #fetchToken(
    scheme: Scheme & { kind: 'bearer' },
    scopes: readonly Scope[],
    credential: Credential | undefined,
  ): CachedToken {
    const token: CachedToken = {
      header: this.#requestToken(scheme, scopes, credential).then(({ value, lifetimeMs }) => {
        token.value = `Bearer ${value}`;
        token.expiresMs = this.#options.now() + lifetimeMs;
        return token.value;
      }),
    };
    return token;
  }

  async #requestToken(
    { realm, service }: Scheme & { kind: 'bearer' },
    scopes: readonly Scope[],
    credential: Credential | undefined,
  ): Promise<GivenToken> {
    const url = new URL(realm);
    let answer: Answer;
    if (credential?.kind === 'identity-token') {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        service,
        client_id: 'chancery',
        scope: scopes.join(' '),
        refresh_token: this.#refreshToken ?? credential.token,
      });
      answer = await this.#options.ask({ url, headers: {}, form: form.toString() });
    } else {
      if (service !== '') url.searchParams.append('service', service);
      for (const scope of scopes) url.searchParams.append('scope', scope);
      if (credential?.kind === 'basic') url.searchParams.append('account', credential.username);
      const headers = credential?.kind === 'basic' ? { authorization: basicHeader(credential) } : {};
      answer = await this.#options.ask({ url, headers });
    }
    if (answer.status !== 200) {
      await answer.discard();
      throw tokenStatusError(answer, credential !== undefined);
    }
    const given = await readToken(answer);
    if (credential?.kind === 'identity-token' && given.refreshToken !== undefined)
      this.#refreshToken = given.refreshToken;
    return given;
  }
}

interface GivenToken {
  readonly value: string;
  readonly lifetimeMs: number;
  readonly refreshToken: string | undefined;
}

async function readToken(answer: Answer): Promise<GivenToken> {
  const refuse = (state: string, cause?: unknown): OciError =>
    new OciError('OCI_RESPONSE', `Cannot read the token that ${answer.url.host} gave: ${state}`, { cause });
  const bytes = await collect(limited(answer.body, MAX_TOKEN_ANSWER, () => refuse('the answer is too large')));
  let json: JsonValue;
  try {
    json = parseJson(bytes, { maxDepth: 8 });
  } catch (cause) {
    throw refuse('it is not JSON', cause);
  }
  if (!isObject(json)) throw refuse('it is not a JSON object');
  const { token, access_token: accessToken, expires_in: expiresIn, refresh_token: refreshToken } = json;
  const value = typeof token === 'string' && token !== '' ? token : accessToken;
  if (!isTokenText(value)) throw refuse('there is none in it');
  const seconds =
    typeof expiresIn === 'number' && expiresIn > 0 ? Math.min(expiresIn, MAX_LIFETIME_S) : DEFAULT_LIFETIME_S;
  return {
    value,
    lifetimeMs: Math.max(seconds * 1000 - MARGIN_MS, 1000),
    refreshToken: isTokenText(refreshToken) ? refreshToken : undefined,
  };
}

/** What a header can carry. */
function isTokenText(value: JsonValue | undefined): value is string {
  return typeof value === 'string' && value.length <= MAX_TOKEN && /^[\x21-\x7e]+$/.test(value);
}

/** Stops at a limit. */
export async function* limited(
  stream: AsyncIterable<Uint8Array>,
  limit: number,
  tooLarge: () => Error,
): AsyncGenerator<Uint8Array, void, undefined> {
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > limit) throw tooLarge();
    yield chunk;
  }
}

/**
 * Each resource once, with all the actions that were wanted.
 * @throws OciError `OCI_CHALLENGE` on more than eight resources
 */
export function mergeScopes(scopes: readonly Scope[]): Scope[] {
  const actionsOf = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const end = scope.lastIndexOf(':');
    const resource = scope.slice(0, end);
    const actions = actionsOf.get(resource) ?? new Set();
    for (const action of scope.slice(end + 1).split(',')) if (action !== '') actions.add(action);
    actionsOf.set(resource, actions);
  }
  if (actionsOf.size > MAX_SCOPES) {
    throw new OciError('OCI_CHALLENGE', `Cannot get a token: it would be for more than ${MAX_SCOPES} resources`);
  }
  return [...actionsOf].map(([resource, actions]) => `${resource}:${[...actions].sort().join(',')}`).sort();
}

function tokenKey({ realm, service }: Scheme & { kind: 'bearer' }, scopes: readonly Scope[]): string {
  return JSON.stringify([realm.href, service, scopes]);
}

function basicHeader({ username, password }: Credential & { kind: 'basic' }): string {
  return `Basic ${encodeBase64(encodeUtf8(`${username}:${password}`))}`;
}

function tokenStatusError({ status, url }: Answer, hasCredential: boolean): OciError {
  if (status >= 300 && status < 400) {
    return new OciError('OCI_REDIRECT', `Cannot get a token from ${url.host}: it answered with a redirect`, { status });
  }
  if (status === 401 || status === 403) {
    return new OciError('OCI_UNAUTHORIZED', `Cannot get a token from ${url.host}: it answered ${status}`, {
      status,
      cure: hasCredential
        ? 'The registry does not accept the credentials: log in again'
        : 'There are no credentials for this registry: log in first',
    });
  }
  return new OciError('OCI_UNAVAILABLE', `Cannot get a token from ${url.host}: it answered ${status}`, { status });
}
