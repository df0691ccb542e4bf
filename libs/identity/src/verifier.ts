import { type Claims, claim } from './claims.js';
import { checkIssuer, type IssuerConfig, type ResolvedIssuer, sortIssuers } from './config.js';
import { IdentityError, quote } from './errors.js';
import { type IssuerKind, issuerKinds, type Principal } from './kinds.js';
import { patternExpression } from './pattern.js';
import { busy, type Fetch, Provider } from './provider.js';
import { parseToken } from './token.js';

const NOT_BEFORE_LEEWAY_MS = 5 * 60_000;
/** How many issuers behind wildcards are remembered; the names come from tokens, so their number must have a bound. */
const WILDCARD_PROVIDERS = 100;
/** How many of them may be asked for their keys at the same time. */
const WILDCARD_FETCHES = 16;

/** What of the options has to do with the token alone. */
export interface TokenRules {
  /**
   * The longest time since a token's `iat`, in milliseconds. A broker that was tricked into a token (as Dex was,
   * CVE-2022-39222) then harms only for so long, however far away `exp` is. Default: as long as the token says.
   */
  readonly maxTokenAgeMs?: number | undefined;
  /**
   * Of an issuer with `issuerClaim`: the only issuers behind it that are accepted, byte for byte. A flaw in how a broker
   * takes over the identities of another one is then no way in. Default: all that the broker names.
   */
  readonly upstreamIssuers?: readonly string[] | undefined;
}

export interface TokenVerifierOptions extends TokenRules {
  readonly issuers: readonly IssuerConfig[];
  /** Default `issuerKinds`. */
  readonly kinds?: Readonly<Record<string, IssuerKind>>;
  readonly fetch: Fetch;
  readonly now: () => Date;
  /** For an issuer's discovery document and keys together, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number | undefined;
}

export interface TokenVerifier {
  /**
   * Who holds this token, if it is genuine, meant for us and valid now.
   * `token`: compact JWS, at most 16 KiB.
   * @throws IdentityError any code but `IDENTITY_CONFIG`
   */
  verify(this: void, token: string | undefined): Promise<Principal>;
  /** The issuers in the order of lookup, with the claim that the proof of possession signs. */
  readonly issuers: readonly ResolvedIssuer[];
}

/** An issuer of the configuration, ready to be looked up. */
export interface IssuerRoute {
  readonly issuer: ResolvedIssuer;
  readonly kind: IssuerKind;
  readonly pattern: RegExp;
}

/** All issuers, and which of them a token's `iss` belongs to. */
export interface IssuerTable {
  readonly issuers: readonly ResolvedIssuer[];
  /** The issuer of exactly this name, else the most specific pattern that it matches. */
  find(issuer: string): IssuerRoute | undefined;
}

/**
 * Makes the verifier of identity tokens for a set of issuers. Nothing is fetched until the first token of an issuer comes:
 * a provider that is down must not keep the others from working.
 * @throws IdentityError `IDENTITY_CONFIG`
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const table = issuerTable(options.issuers, options.kinds ?? issuerKinds);
  const exact = new Map<string, Provider>();
  const behindWildcards = new Map<string, Provider>();

  return {
    issuers: table.issuers,
    async verify(compact) {
      // The issuer's name is not believed yet; it only chooses who is asked.
      const token = parseToken(compact);
      const route = table.find(token.issuer);
      if (route === undefined) throw unknownIssuer(token.issuer);
      // Before the signature: what could not be accepted anyway is not worth a verification, let alone a fetch.
      checkAudience(token.claims, route.issuer.clientId);
      checkTimes(token.claims, options.now().getTime(), options.maxTokenAgeMs);
      const subject = readSubject(token.claims);
      await providerOf(token.issuer, route.issuer).verifySignature(token);
      const principal = route.kind.principal({ issuer: token.issuer, subject, claims: token.claims }, route.issuer);
      checkUpstream(principal, { broker: token.issuer, config: route.issuer }, options.upstreamIssuers);
      return principal;
    },
  };

  function providerOf(issuer: string, config: ResolvedIssuer): Provider {
    const providers = config.wildcard ? behindWildcards : exact;
    let provider = providers.get(issuer);
    if (provider === undefined) {
      provider = new Provider({ issuer, config }, options);
      if (config.wildcard) makeRoom(issuer);
    }
    // Last used last: a Map keeps the order of insertion.
    providers.delete(issuer);
    providers.set(issuer, provider);
    return provider;
  }

  /**
   * Forgets the issuer behind a wildcard that was used least lately; first those that never answered, which anybody can
   * make up. One that is being asked is kept: forgotten, it would be asked twice at a time.
   */
  function makeRoom(issuer: string): void {
    const providers = [...behindWildcards];
    if (providers.filter(([, { fetching }]) => fetching).length >= WILDCARD_FETCHES) {
      throw busy(issuer, `${WILDCARD_FETCHES} issuers behind wildcards are being asked already`);
    }
    if (providers.length < WILDCARD_PROVIDERS) return;
    const idle = providers.filter(([, { fetching }]) => !fetching);
    const victim = idle.find(([, { known }]) => !known) ?? idle[0];
    if (victim !== undefined) behindWildcards.delete(victim[0]);
  }
}

/**
 * Checks a set of issuers, and puts it in order.
 * @throws IdentityError `IDENTITY_CONFIG`
 */
export function issuerTable(
  configured: readonly IssuerConfig[],
  kinds: Readonly<Record<string, IssuerKind>>,
): IssuerTable {
  const issuers = sortIssuers(configured.map((issuer) => checkIssuer(issuer, kinds)));
  const routes = issuers.map((issuer): IssuerRoute => {
    const kind = kinds[issuer.type];
    if (kind === undefined) throw new Error(`no kind ${issuer.type} after the check`);
    return { issuer, kind, pattern: patternExpression(issuer.issuerUrl) };
  });
  const exact = new Map<string, IssuerRoute>();
  for (const route of routes.filter(({ issuer }) => !issuer.wildcard)) {
    const url = route.issuer.issuerUrl;
    if (exact.has(url)) {
      throw new IdentityError('IDENTITY_CONFIG', `Cannot use issuer ${quote(url)}: it is configured twice`);
    }
    exact.set(url, route);
  }
  const patterns = routes.filter(({ issuer }) => issuer.wildcard);
  return { issuers, find: (name) => exact.get(name) ?? patterns.find(({ pattern }) => pattern.test(name)) };
}

export function unknownIssuer(issuer: string): IdentityError {
  const state = `issuer ${quote(issuer)} is not configured`;
  return new IdentityError('IDENTITY_ISSUER_UNKNOWN', `Cannot verify identity token: ${state}`, {
    shown: `${state} here`,
  });
}

/** The certificate names the issuer behind a broker, so the decision whom to believe is about that one too. */
export function checkUpstream(
  { issuer }: Principal,
  { broker, config }: { broker: string; config: IssuerConfig },
  upstream: readonly string[] | undefined,
): void {
  // Whether there is a broker is for our configuration to say: the claim may name whom it likes, the broker itself too.
  if (upstream === undefined || config.issuerClaim === undefined || upstream.includes(issuer)) return;
  const state = `issuer ${quote(issuer)} behind ${quote(broker)} is not configured`;
  throw new IdentityError('IDENTITY_ISSUER_UNKNOWN', `Cannot accept identity token: ${state}`, {
    shown: `${state} here`,
  });
}

/** RFC 7519 §4.1.3: a string or a list of strings. */
export function checkAudience(claims: Claims, clientId: string): void {
  const audience = claim(claims, 'aud');
  if (audience === clientId || (Array.isArray(audience) && audience.includes(clientId))) return;
  const found = audienceText(audience);
  throw new IdentityError(
    'IDENTITY_AUDIENCE',
    `Cannot accept identity token: claim aud is ${found}, expected ${quote(clientId)}`,
    { shown: `audience is ${found === 'nothing' ? 'missing' : found}, this CA expects ${quote(clientId)}` },
  );
}

const AUDIENCES_SHOWN = 3;

export function audienceText(audience: unknown): string {
  if (!Array.isArray(audience)) return quote(audience);
  const shown = audience.slice(0, AUDIENCES_SHOWN).map(quote).join(', ');
  return audience.length > AUDIENCES_SHOWN ? `[${shown}, ...]` : `[${shown}]`;
}

/** `exp` has no leeway, `nbf` five minutes, as in Fulcio: a token that is over is over, but clocks do differ a little. */
export function checkTimes(claims: Claims, nowMs: number, maxAgeMs?: number): void {
  checkExpiry(claims, nowMs, maxAgeMs);
  checkNotBefore(claims, nowMs);
}

export function checkExpiry(claims: Claims, nowMs: number, maxAgeMs?: number): void {
  const now = instant(nowMs);
  const expiresMs = readSeconds(claims, 'exp') * 1000;
  if (nowMs > expiresMs) {
    const expires = instant(expiresMs);
    throw new IdentityError(
      'IDENTITY_EXPIRED',
      `Cannot accept identity token: claim exp is ${expires}, now is ${now}`,
      { shown: `the token expired at ${expires}, now it is ${now}` },
    );
  }
  if (maxAgeMs === undefined) return;
  const issuedMs = readSeconds(claims, 'iat') * 1000;
  // From the future it would never be too old.
  if (issuedMs > nowMs + NOT_BEFORE_LEEWAY_MS) {
    const state = `${instant(issuedMs)}, now it is ${now}`;
    throw new IdentityError('IDENTITY_NOT_YET_VALID', `Cannot accept identity token: claim iat is ${state}`, {
      shown: `the token was issued at ${state}`,
    });
  }
  if (nowMs - issuedMs > maxAgeMs) {
    const state = `${instant(issuedMs)}, now it is ${now}, this CA accepts tokens for ${maxAgeMs / 1000} s`;
    throw new IdentityError('IDENTITY_EXPIRED', `Cannot accept identity token: claim iat is ${state}`, {
      shown: `the token was issued at ${state}`,
    });
  }
}

export function checkNotBefore(claims: Claims, nowMs: number): void {
  if (claim(claims, 'nbf') === undefined) return;
  const notBeforeMs = readSeconds(claims, 'nbf') * 1000;
  if (notBeforeMs > nowMs + NOT_BEFORE_LEEWAY_MS) {
    const [notBefore, now] = [instant(notBeforeMs), instant(nowMs)];
    throw new IdentityError(
      'IDENTITY_NOT_YET_VALID',
      `Cannot accept identity token: claim nbf is ${notBefore}, now is ${now}`,
      { shown: `the token is not valid before ${notBefore}, now it is ${now}` },
    );
  }
}

/** NumericDate (RFC 7519 §2): seconds since 1970, fractions allowed. */
export function readSeconds(claims: Claims, name: string): number {
  const value = claim(claims, name);
  if ((typeof value === 'number' || typeof value === 'bigint') && Number.isFinite(Number(value))) return Number(value);
  throw new IdentityError(
    'IDENTITY_CLAIM',
    `Cannot read claim ${name}: found ${quote(value)}, expected seconds since 1970`,
  );
}

export function instant(ms: number): string {
  // Beyond the range of Date a claim still must not turn into an exception of ours.
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`;
}

export function readSubject(claims: Claims): string {
  const subject = claim(claims, 'sub');
  // Fulcio lets an empty subject pass; the proof of possession would then sign nothing.
  if (typeof subject === 'string' && subject !== '') return subject;
  throw new IdentityError(
    'IDENTITY_CLAIM',
    `Cannot read claim sub: found ${quote(subject)}, expected a non-empty string`,
  );
}
