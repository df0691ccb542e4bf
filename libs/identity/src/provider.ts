import { type JsonValue, parseJson } from '#libs/encoding';
import { type Claims, claim } from './claims.js';
import type { IssuerConfig } from './config.js';
import { IdentityError, type IdentityErrorCode, quote } from './errors.js';
import { type ProviderKeys, readAlgorithms, readKey, verifyWith } from './provider-keys.js';
import type { UnverifiedToken } from './token.js';

/** Whose keys are fetched: `issuer` as in the token, and the configuration that it matched. */
export interface KeySource {
  readonly issuer: string;
  readonly config: IssuerConfig;
}

export interface FetchInit {
  readonly redirect: 'manual';
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** The part of a `Response` that discovery reads. */
export interface FetchResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: AsyncIterable<Uint8Array> | null;
}

/**
 * How discovery documents and keys are fetched. `source`: whose, so that its own roots and credential apply to it alone.
 * The global `fetch` fits, but reaches everything around us: `createIssuerFetch` makes one for servers.
 */
export type Fetch = (url: string, init: FetchInit, source: KeySource) => Promise<FetchResponse>;

/** For discovery and keys together, unless the options say otherwise. */
const TIMEOUT_MS = 10_000;
const MAX_REDIRECTS = 5;
const DISCOVERY_LIMIT = 64 * 1024;
const JWKS_LIMIT = 512 * 1024;
const MAX_KEYS = 100;
const MAX_DEPTH = 16;
/** Tokens that wait for one issuer. Each holds a request open and some memory for up to the time-out. */
const MAX_WAITING = 256;

/**
 * A token with a made-up key id must not become a request to the provider each time: so many fetches in a minute. Two,
 * because a fetch that was under way when the provider changed its keys may have missed the new one.
 */
const FETCHES = { count: 2, withinMs: 60_000 } as const;
/** After a failed attempt the next token may try again a little sooner. */
const RETRY_INTERVAL_MS = 5_000;
/** Older keys are fetched again beside the requests, so that a key the provider withdrew does not live for ever. */
const STALE_AFTER_MS = 10 * 60_000;
/** Keys that could not be confirmed for so long are not trusted any more. */
const EXPIRED_AFTER_MS = 24 * 60 * 60_000;

interface FetchedKeys extends ProviderKeys {
  readonly fetchedAtMs: number;
  /** Which fetch it was, from 1. */
  readonly attempt: number;
}

/**
 * One issuer's signing keys: found by OpenID Connect Discovery, kept, and fetched again when a token needs another one.
 * State: at most one fetch under way; while it fails, the last good keys serve for a day.
 */
export class Provider {
  #current: FetchedKeys | undefined;
  #pending: Promise<FetchedKeys> | undefined;
  #waiting = 0;
  #attempts = 0;
  /** When the last fetches began, the newest last. */
  #begunAtMs: readonly number[] = [];
  #lastFailure: IdentityError | undefined;

  constructor(
    readonly source: KeySource,
    private readonly edge: { readonly fetch: Fetch; readonly now: () => Date; readonly timeoutMs?: number | undefined },
  ) {}

  /** Whether this issuer was reached at least once. */
  get known(): boolean {
    return this.#current !== undefined;
  }

  /** Whether a fetch is under way. */
  get fetching(): boolean {
    return this.#pending !== undefined;
  }

  /**
   * Checks the token's signature against the issuer's keys.
   * @throws IdentityError `IDENTITY_DISCOVERY`, `IDENTITY_JWKS`, `IDENTITY_BUSY`, `IDENTITY_ALGORITHM`, `IDENTITY_KEY_UNKNOWN`, `IDENTITY_SIGNATURE`
   */
  async verifySignature(token: UnverifiedToken): Promise<void> {
    const attemptsBefore = this.#attempts;
    let known = this.#usable() ?? (await this.#wait(this.#refresh()));
    let failure = verifyWith(known, token);
    // The provider may have changed its keys or algorithms since. What a fetch brings that began before this token came
    // may be older than the token; what a later one brings is not.
    while (failure !== undefined && known.attempt <= attemptsBefore) {
      const newer = await this.#newerThan(known);
      if (newer === undefined) break;
      known = newer;
      failure = verifyWith(known, token);
    }
    if (failure !== undefined) throw failure;
  }

  /** The keys at hand, unless they are too old. */
  #usable(): FetchedKeys | undefined {
    const current = this.#current;
    if (current === undefined) return undefined;
    const ageMs = this.edge.now().getTime() - current.fetchedAtMs;
    if (ageMs > EXPIRED_AFTER_MS) return undefined;
    if (ageMs > STALE_AFTER_MS && this.#mayFetch()) {
      // Beside the request, which the keys at hand can still serve; the failure is kept and told when they have expired.
      this.#refresh().catch(() => undefined);
    }
    return current;
  }

  async #newerThan(known: FetchedKeys): Promise<FetchedKeys | undefined> {
    if (this.#current !== undefined && this.#current !== known) return this.#current;
    if (this.#pending === undefined && !this.#mayFetch()) return undefined;
    return this.#wait(this.#refresh());
  }

  async #wait(keys: Promise<FetchedKeys>): Promise<FetchedKeys> {
    if (this.#waiting >= MAX_WAITING) {
      // The others hear of its end.
      keys.catch(() => undefined);
      throw busy(this.source.issuer, `${this.#waiting} tokens wait for its keys already`);
    }
    this.#waiting++;
    try {
      return await keys;
    } finally {
      this.#waiting--;
    }
  }

  #mayFetch(): boolean {
    const nowMs = this.edge.now().getTime();
    const isWithin = (beganMs: number, spanMs: number) => beganMs <= nowMs && nowMs - beganMs < spanMs;
    const last = this.#begunAtMs.at(-1);
    if (this.#lastFailure !== undefined) return last === undefined || !isWithin(last, RETRY_INTERVAL_MS);
    return this.#begunAtMs.filter((beganMs) => isWithin(beganMs, FETCHES.withinMs)).length < FETCHES.count;
  }

  #refresh(): Promise<FetchedKeys> {
    if (this.#pending !== undefined) return this.#pending;
    if (this.#lastFailure !== undefined && !this.#mayFetch()) return Promise.reject(this.#lastFailure);
    const fetchedAtMs = this.edge.now().getTime();
    const attempt = ++this.#attempts;
    this.#begunAtMs = [...this.#begunAtMs, fetchedAtMs].slice(-FETCHES.count);
    this.#pending = this.#fetchKeys()
      .then(
        (keys) => {
          this.#lastFailure = undefined;
          this.#current = { ...keys, fetchedAtMs, attempt };
          return this.#current;
        },
        (error: unknown) => {
          if (error instanceof IdentityError) this.#lastFailure = error;
          throw error;
        },
      )
      .finally(() => {
        this.#pending = undefined;
      });
    return this.#pending;
  }

  async #fetchKeys(): Promise<ProviderKeys> {
    const { issuer } = this.source;
    const deadline = AbortSignal.timeout(this.edge.timeoutMs ?? TIMEOUT_MS);
    // OpenID Connect Discovery §4.1: a terminating slash goes before the suffix is added. One only: issuers are compared
    // byte for byte, and some end in a slash on purpose.
    const base = issuer.endsWith('/') ? issuer.slice(0, -1) : issuer;
    const document = await this.#fetchObject(`${base}/.well-known/openid-configuration`, deadline, {
      code: 'IDENTITY_DISCOVERY',
      limit: DISCOVERY_LIMIT,
    });
    const named = claim(document, 'issuer');
    if (named !== issuer) {
      throw failure('IDENTITY_DISCOVERY', issuer, `its discovery document says issuer ${quote(named)}`);
    }
    const jwksUri = claim(document, 'jwks_uri');
    if (typeof jwksUri !== 'string' || !isAllowedKeyUrl(jwksUri, issuer)) {
      throw failure(
        'IDENTITY_DISCOVERY',
        issuer,
        `jwks_uri is ${quote(jwksUri)}, expected a URL as secure as the issuer, without user and password`,
      );
    }
    const set = await this.#fetchObject(jwksUri, deadline, { code: 'IDENTITY_JWKS', limit: JWKS_LIMIT });
    const keys = claim(set, 'keys');
    if (!Array.isArray(keys) || keys.length > MAX_KEYS) {
      throw failure('IDENTITY_JWKS', issuer, `keys is ${quote(keys)}, expected a list of at most ${MAX_KEYS}`);
    }
    return {
      algorithms: readAlgorithms(claim(document, 'id_token_signing_alg_values_supported')),
      keys: keys.map(readKey).filter((key) => key !== undefined),
    };
  }

  async #fetchObject(
    url: string,
    deadline: AbortSignal,
    what: { code: IdentityErrorCode; limit: number },
  ): Promise<Claims> {
    const { issuer } = this.source;
    // Closes the connection when the work is done, also of an answer that nobody reads to its end.
    const done = new AbortController();
    try {
      const signal = AbortSignal.any([deadline, done.signal]);
      return await beforeAbort(deadline, this.#follow(url, signal, what));
    } catch (cause) {
      if (cause instanceof IdentityError) throw cause;
      const reason = deadline.aborted ? `none in ${(this.edge.timeoutMs ?? TIMEOUT_MS) / 1000} s` : reasonOf(cause);
      throw failure(what.code, issuer, `${quote(url)} gave no usable answer (${reason})`, { cause });
    } finally {
      done.abort();
    }
  }

  async #follow(
    url: string,
    signal: AbortSignal,
    { code, limit }: { code: IdentityErrorCode; limit: number },
  ): Promise<Claims> {
    const { issuer } = this.source;
    const { origin } = new URL(url);
    let next = url;
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const headers = { accept: 'application/json' };
      const response = await this.edge.fetch(next, { redirect: 'manual', signal, headers }, this.source);
      if (response.status === 200) {
        const value = parseObject(await readBody(response, limit));
        if (value !== undefined) return value;
        throw failure(code, issuer, `${quote(url)} is not a JSON object`);
      }
      const location = response.headers.get('location');
      if (response.status < 300 || response.status >= 400 || location === null || !URL.canParse(location, next)) {
        throw failure(code, issuer, `${quote(next)} answered ${response.status}, expected 200`);
      }
      const target = new URL(location, next);
      // A provider that sends us to another host could make us ask any server near us (GHSA-f5mr, CVE-2026-49478).
      if (target.origin !== origin) {
        throw failure(code, issuer, `${quote(next)} redirects to another host, ${quote(target.origin)}`);
      }
      next = target.href;
    }
    throw failure(code, issuer, `${quote(url)} redirects more than ${MAX_REDIRECTS} times`);
  }
}

/** Everything about our network stays in the message: the stranger who chose the issuer reads only that it failed. */
function failure(code: IdentityErrorCode, issuer: string, state: string, options?: ErrorOptions): IdentityError {
  const action = code === 'IDENTITY_DISCOVERY' ? 'discover issuer' : 'fetch keys of issuer';
  return new IdentityError(code, `Cannot ${action} ${quote(issuer)}: ${state}`, {
    ...options,
    shown: `the keys of issuer ${quote(issuer)} could not be fetched`,
  });
}

/** A refusal that has nothing to do with the token: another attempt may succeed. */
export function busy(issuer: string, state: string): IdentityError {
  return new IdentityError('IDENTITY_BUSY', `Cannot wait for the keys of issuer ${quote(issuer)}: ${state}`, {
    shown: `too many tokens wait for the keys of issuer ${quote(issuer)}, try again`,
  });
}

/** What `fetch` says, and what it is about: its own message is often only that it failed. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const inner = error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
  return inner.replace(/[^\x20-\x7e]/g, '?').slice(0, 300);
}

/** `work`, or the reason of `deadline` if that comes first: even a fetch that does not heed its signal holds nobody longer. */
async function beforeAbort<T>(deadline: AbortSignal, work: Promise<T>): Promise<T> {
  let onAbort = () => undefined as void;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(deadline.reason as Error);
    if (deadline.aborted) onAbort();
    else deadline.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    deadline.removeEventListener('abort', onAbort);
  }
}

/** Keys may live on another host (Google's do), but not on a less protected way than the issuer. */
function isAllowedKeyUrl(url: string, issuer: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, username, password } = new URL(url);
  if (username !== '' || password !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && issuer.startsWith('http:'));
}

function parseObject(body: Uint8Array): Claims | undefined {
  const value: JsonValue = parseJson(body, { maxDepth: MAX_DEPTH });
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
}

async function readBody(response: FetchResponse, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    // Leaving the loop ends the stream.
    if (length > limit) throw new RangeError(`the body has more than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}
