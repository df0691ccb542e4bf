import { parseJson } from '#libs/encoding';
import { compactVerify, type CryptoKey, errors as joseErrors, importJWK, type JWK } from 'jose';
import { type Claims, claim } from './claims.js';
import { IdentityError, type IdentityErrorCode, quote } from './errors.js';
import { type UnverifiedToken } from './token.js';

/** The part of `fetch` that discovery needs. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

const ALGORITHMS: ReadonlySet<string> = new Set([
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
]);

const TIMEOUT_MS = 10_000;
const MAX_REDIRECTS = 5;
const DISCOVERY_LIMIT = 64 * 1024;
const JWKS_LIMIT = 512 * 1024;
const MAX_KEYS = 100;

/** A token with a made-up key id must not become a request to the provider each time. */
const REFRESH_INTERVAL_MS = 30_000;
/** After a failed attempt the next token may try again a little sooner. */
const RETRY_INTERVAL_MS = 5_000;
/** Older keys are fetched again beside the requests, so that a key the provider withdrew does not live for ever. */
const STALE_AFTER_MS = 10 * 60_000;
/** Keys that could not be confirmed for so long are not trusted any more. */
const EXPIRED_AFTER_MS = 24 * 60 * 60_000;

interface ProviderKeys {
  readonly algorithms: ReadonlySet<string>;
  readonly keys: readonly ProviderKey[];
  readonly fetchedAtMs: number;
}

/** Imported once an algorithm: importing costs more than verifying. */
interface ProviderKey {
  readonly jwk: JWK;
  readonly imported: Map<string, Promise<CryptoKey>>;
}

/**
 * One issuer's signing keys: found by OpenID Connect Discovery, kept, and fetched again when a token needs another one.
 * State: at most one fetch under way; while it fails, the last good keys serve for a day.
 */
export class Provider {
  #current: ProviderKeys | undefined;
  #pending: Promise<ProviderKeys> | undefined;
  #attemptedAtMs = Number.NEGATIVE_INFINITY;
  #lastFailure: IdentityError | undefined;

  constructor(
    readonly issuer: string,
    private readonly edge: { readonly fetch: Fetch; readonly now: () => Date },
  ) {}

  /** Whether this issuer was reached at least once. */
  get known(): boolean {
    return this.#current !== undefined;
  }

  /**
   * Checks the token's signature against the issuer's keys.
   * @throws IdentityError `IDENTITY_DISCOVERY`, `IDENTITY_JWKS`, `IDENTITY_ALGORITHM`, `IDENTITY_KEY_UNKNOWN`, `IDENTITY_SIGNATURE`
   */
  async verifySignature(token: UnverifiedToken): Promise<void> {
    const known = await this.#keys();
    const first = await verifyWith(known, token);
    if (first === undefined) return;
    // The provider may have rotated its keys since, or changed its algorithms.
    const newer = await this.#newerThan(known);
    const second = newer === undefined ? first : await verifyWith(newer, token);
    if (second !== undefined) throw second;
  }

  async #keys(): Promise<ProviderKeys> {
    const current = this.#current;
    if (current === undefined) return this.#refresh();
    const ageMs = this.edge.now().getTime() - current.fetchedAtMs;
    if (ageMs > EXPIRED_AFTER_MS) return this.#refresh();
    if (ageMs > STALE_AFTER_MS && this.#mayFetch()) {
      // Beside the request, which the keys at hand can still serve; the failure is kept and told when they have expired.
      this.#refresh().catch(() => undefined);
    }
    return current;
  }

  async #newerThan(known: ProviderKeys): Promise<ProviderKeys | undefined> {
    if (this.#current !== known) return this.#current;
    if (this.#pending === undefined && !this.#mayFetch()) return undefined;
    return this.#refresh();
  }

  #mayFetch(): boolean {
    const sinceMs = this.edge.now().getTime() - this.#attemptedAtMs;
    return sinceMs >= (this.#lastFailure === undefined ? REFRESH_INTERVAL_MS : RETRY_INTERVAL_MS);
  }

  #refresh(): Promise<ProviderKeys> {
    if (this.#pending !== undefined) return this.#pending;
    if (this.#lastFailure !== undefined && !this.#mayFetch()) return Promise.reject(this.#lastFailure);
    const nowMs = this.edge.now().getTime();
    this.#attemptedAtMs = nowMs;
    this.#pending = this.#fetchKeys(nowMs)
      .then(
        (keys) => {
          this.#lastFailure = undefined;
          this.#current = keys;
          return keys;
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

  async #fetchKeys(nowMs: number): Promise<ProviderKeys> {
    // OpenID Connect Discovery §4.1: a terminating slash goes before the suffix is added. One only: issuers are compared
    // byte for byte, and some end in a slash on purpose.
    const base = this.issuer.endsWith('/') ? this.issuer.slice(0, -1) : this.issuer;
    const document = await this.#fetchObject(`${base}/.well-known/openid-configuration`, {
      code: 'IDENTITY_DISCOVERY',
      limit: DISCOVERY_LIMIT,
    });
    const issuer = claim(document, 'issuer');
    if (issuer !== this.issuer) {
      throw failure('IDENTITY_DISCOVERY', this.issuer, `its discovery document says issuer ${quote(issuer)}`);
    }
    const jwksUri = claim(document, 'jwks_uri');
    if (typeof jwksUri !== 'string' || !isAllowedKeyUrl(jwksUri, this.issuer)) {
      throw failure(
        'IDENTITY_DISCOVERY',
        this.issuer,
        `jwks_uri is ${quote(jwksUri)}, expected a URL as secure as the issuer`,
      );
    }
    const set = await this.#fetchObject(jwksUri, { code: 'IDENTITY_JWKS', limit: JWKS_LIMIT });
    const keys = claim(set, 'keys');
    if (!Array.isArray(keys) || keys.length > MAX_KEYS) {
      throw failure('IDENTITY_JWKS', this.issuer, `keys is ${quote(keys)}, expected a list of at most ${MAX_KEYS}`);
    }
    return {
      algorithms: readAlgorithms(claim(document, 'id_token_signing_alg_values_supported')),
      keys: keys.map(publicJwk).filter((key) => key !== undefined),
      fetchedAtMs: nowMs,
    };
  }

  async #fetchObject(url: string, what: { code: IdentityErrorCode; limit: number }): Promise<Claims> {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const origin = new URL(url).origin;
    let next = url;
    try {
      for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
        const response = await this.edge.fetch(next, {
          redirect: 'manual',
          signal,
          headers: { accept: 'application/json' },
        });
        if (response.status === 200) {
          const value = parseJson(await readBody(response, what.limit), { maxDepth: 16 });
          if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
          throw failure(what.code, this.issuer, `${quote(url)} is not a JSON object`);
        }
        await response.body?.cancel();
        const location = response.headers.get('location');
        if (response.status < 300 || response.status >= 400 || location === null || !URL.canParse(location, next)) {
          throw failure(what.code, this.issuer, `${quote(next)} answered ${response.status}, expected 200`);
        }
        const target = new URL(location, next);
        // A provider that sends us to another host could make us ask any server near us (GHSA-f5mr, CVE-2026-49478).
        if (target.origin !== origin) {
          throw failure(what.code, this.issuer, `${quote(next)} redirects to another host, ${quote(target.origin)}`);
        }
        next = target.href;
      }
      throw failure(what.code, this.issuer, `${quote(url)} redirects more than ${MAX_REDIRECTS} times`);
    } catch (cause) {
      if (cause instanceof IdentityError) throw cause;
      const timedOut = signal.aborted ? ` in ${TIMEOUT_MS / 1000} s` : '';
      throw failure(what.code, this.issuer, `${quote(url)} gave no usable answer${timedOut}`, { cause });
    }
  }
}

function failure(code: IdentityErrorCode, issuer: string, state: string, options?: ErrorOptions): IdentityError {
  const action = code === 'IDENTITY_DISCOVERY' ? 'discover issuer' : 'fetch keys of issuer';
  return new IdentityError(code, `Cannot ${action} ${quote(issuer)}: ${state}`, options);
}

/** Keys may live on another host (Google's do), but not on a less protected way than the issuer. */
function isAllowedKeyUrl(url: string, issuer: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol } = new URL(url);
  return protocol === 'https:' || (protocol === 'http:' && issuer.startsWith('http:'));
}

/** What the provider says it signs with, as far as we accept it; RS256 where it says nothing usable (Discovery §3). */
function readAlgorithms(value: unknown): ReadonlySet<string> {
  const listed = Array.isArray(value) ? value.filter((name): name is string => ALGORITHMS.has(name as string)) : [];
  return new Set(listed.length > 0 ? listed : ['RS256']);
}

/** The public members of a signing key; undefined for other kinds of key, which providers may list as well. */
function publicJwk(value: unknown): ProviderKey | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const jwk: JWK = {};
  for (const name of ['kty', 'kid', 'use', 'alg', 'crv', 'x', 'y', 'n', 'e'] as const) {
    const member = claim(value as Claims, name);
    if (typeof member === 'string') jwk[name] = member;
  }
  if (jwk.use !== undefined && jwk.use !== 'sig') return undefined;
  return { jwk, imported: new Map() };
}

/** Which kind of key an algorithm needs (RFC 7518 §3.1, RFC 8037 §3.1). */
function fits(jwk: JWK, algorithm: string): boolean {
  if (jwk.alg !== undefined && jwk.alg !== algorithm) return false;
  switch (algorithm) {
    case 'ES256':
      return jwk.kty === 'EC' && jwk.crv === 'P-256';
    case 'ES384':
      return jwk.kty === 'EC' && jwk.crv === 'P-384';
    case 'ES512':
      return jwk.kty === 'EC' && jwk.crv === 'P-521';
    case 'EdDSA':
      return jwk.kty === 'OKP' && jwk.crv === 'Ed25519';
    default:
      return jwk.kty === 'RSA';
  }
}

/** Undefined if a key verifies the token, else why none did. */
async function verifyWith(known: ProviderKeys, token: UnverifiedToken): Promise<IdentityError | undefined> {
  const issuer = quote(token.issuer);
  if (!known.algorithms.has(token.algorithm)) {
    return new IdentityError(
      'IDENTITY_ALGORITHM',
      `Cannot verify token of ${issuer}: alg is ${quote(token.algorithm)}, expected ${[...known.algorithms].join(' or ')}`,
    );
  }
  const candidates = known.keys.filter(
    ({ jwk }) => fits(jwk, token.algorithm) && (token.keyId === undefined || jwk.kid === token.keyId),
  );
  if (candidates.length === 0) {
    return new IdentityError(
      'IDENTITY_KEY_UNKNOWN',
      `Cannot verify token of ${issuer}: it has no ${token.algorithm} key with kid ${quote(token.keyId)}`,
    );
  }
  let cause: unknown;
  for (const key of candidates) {
    try {
      await compactVerify(token.compact, await importKey(key, token.algorithm), { algorithms: [token.algorithm] });
      return undefined;
    } catch (error) {
      if (
        !(error instanceof joseErrors.JOSEError) &&
        !(error instanceof DOMException) &&
        !(error instanceof TypeError)
      ) {
        throw error;
      }
      cause = error;
    }
  }
  return new IdentityError(
    'IDENTITY_SIGNATURE',
    `Cannot verify token of ${issuer}: no key with kid ${quote(token.keyId)} made its signature`,
    { cause },
  );
}

function importKey(key: ProviderKey, algorithm: string): Promise<CryptoKey> {
  let imported = key.imported.get(algorithm);
  if (imported === undefined) {
    // Never a symmetric key: `fits` admits RSA, EC and OKP only, so what jose returns is a CryptoKey.
    imported = importJWK(key.jwk, algorithm) as Promise<CryptoKey>;
    key.imported.set(algorithm, imported);
  }
  return imported;
}

async function readBody(response: Response, limit: number): Promise<Uint8Array> {
  const body = new Uint8Array(limit);
  let length = 0;
  if (response.body !== null) {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      // Leaving the loop cancels the stream.
      if (length + chunk.length > limit) throw new RangeError(`the body has more than ${limit} bytes`);
      body.set(chunk, length);
      length += chunk.length;
    }
  }
  return body.subarray(0, length);
}
