import { type Claims, claim } from './claims.js';
import { checkIssuer, type IssuerConfig, type ResolvedIssuer, sortIssuers } from './config.js';
import { IdentityError, quote } from './errors.js';
import { type IssuerKind, issuerKinds, type Principal } from './kinds.js';
import { patternExpression } from './pattern.js';
import { type Fetch, Provider } from './provider.js';
import { parseToken } from './token.js';

const NOT_BEFORE_LEEWAY_MS = 5 * 60_000;
/** How many issuers behind wildcards are remembered; the names come from tokens, so their number must have a bound. */
const WILDCARD_PROVIDERS = 100;

export interface TokenVerifierOptions {
  readonly issuers: readonly IssuerConfig[];
  /** Default `issuerKinds`. */
  readonly kinds?: Readonly<Record<string, IssuerKind>>;
  readonly fetch: Fetch;
  readonly now: () => Date;
}

export interface TokenVerifier {
  /**
   * Who holds this token, if it is genuine, meant for us and valid now.
   * `token`: compact JWS, at most 16 KiB.
   * @throws IdentityError any code but `IDENTITY_CONFIG`
   */
  verify(token: string | undefined): Promise<Principal>;
  /** The issuers in the order of lookup, with the claim that the proof of possession signs. */
  readonly issuers: readonly ResolvedIssuer[];
}

interface IssuerRoute {
  readonly issuer: ResolvedIssuer;
  readonly kind: IssuerKind;
  readonly pattern: RegExp;
}

/**
 * Makes the verifier of identity tokens for a set of issuers. Nothing is fetched until the first token of an issuer comes:
 * a provider that is down must not keep the others from working.
 * @throws IdentityError `IDENTITY_CONFIG`
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const kinds = options.kinds ?? issuerKinds;
  const issuers = sortIssuers(options.issuers.map((issuer) => checkIssuer(issuer, kinds)));
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
  const providers = new Map<string, Provider>();

  return {
    issuers,
    async verify(compact) {
      // The issuer's name is not believed yet; it only chooses who is asked.
      const token = parseToken(compact);
      const route = exact.get(token.issuer) ?? patterns.find(({ pattern }) => pattern.test(token.issuer));
      if (route === undefined) {
        throw new IdentityError(
          'IDENTITY_ISSUER_UNKNOWN',
          `Cannot verify identity token: issuer ${quote(token.issuer)} is not configured`,
        );
      }
      await providerOf(token.issuer).verifySignature(token);

      checkAudience(token.claims, route.issuer.clientId);
      checkTimes(token.claims, options.now().getTime());
      const subject = readSubject(token.claims);
      return route.kind.principal({ issuer: token.issuer, subject, claims: token.claims }, route.issuer);
    },
  };

  function providerOf(issuer: string): Provider {
    let provider = providers.get(issuer);
    if (provider === undefined) {
      provider = new Provider(issuer, options);
      if (!exact.has(issuer)) makeRoom();
    }
    // Last used last: a Map keeps the order of insertion.
    providers.delete(issuer);
    providers.set(issuer, provider);
    return provider;
  }

  /** Forgets the issuer behind a wildcard that was used least lately; first those that never answered, which anybody can make up. */
  function makeRoom(): void {
    const names = [...providers.keys()].filter((name) => !exact.has(name));
    if (names.length < WILDCARD_PROVIDERS) return;
    const victim = names.find((name) => providers.get(name)?.known === false) ?? names[0];
    if (victim !== undefined) providers.delete(victim);
  }
}

/** RFC 7519 §4.1.3: a string or a list of strings. */
function checkAudience(claims: Claims, clientId: string): void {
  const audience = claim(claims, 'aud');
  if (audience === clientId || (Array.isArray(audience) && audience.includes(clientId))) return;
  throw new IdentityError(
    'IDENTITY_AUDIENCE',
    `Cannot accept identity token: claim aud is ${quote(audience)}, expected ${quote(clientId)}`,
  );
}

/** `exp` has no leeway, `nbf` five minutes, as in Fulcio: a token that is over is over, but clocks do differ a little. */
function checkTimes(claims: Claims, nowMs: number): void {
  const expiresMs = readSeconds(claims, 'exp') * 1000;
  if (nowMs > expiresMs) {
    throw new IdentityError(
      'IDENTITY_EXPIRED',
      `Cannot accept identity token: claim exp is ${instant(expiresMs)}, now is ${instant(nowMs)}`,
    );
  }
  if (claim(claims, 'nbf') === undefined) return;
  const notBeforeMs = readSeconds(claims, 'nbf') * 1000;
  if (notBeforeMs > nowMs + NOT_BEFORE_LEEWAY_MS) {
    throw new IdentityError(
      'IDENTITY_NOT_YET_VALID',
      `Cannot accept identity token: claim nbf is ${instant(notBeforeMs)}, now is ${instant(nowMs)}`,
    );
  }
}

/** NumericDate (RFC 7519 §2): seconds since 1970, fractions allowed. */
function readSeconds(claims: Claims, name: string): number {
  const value = claim(claims, name);
  if ((typeof value === 'number' || typeof value === 'bigint') && Number.isFinite(Number(value))) return Number(value);
  throw new IdentityError(
    'IDENTITY_CLAIM',
    `Cannot read claim ${name}: found ${quote(value)}, expected seconds since 1970`,
  );
}

function instant(ms: number): string {
  // Beyond the range of Date a claim still must not turn into an exception of ours.
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`;
}

function readSubject(claims: Claims): string {
  const subject = claim(claims, 'sub');
  // Fulcio lets an empty subject pass; the proof of possession would then sign nothing.
  if (typeof subject === 'string' && subject !== '') return subject;
  throw new IdentityError(
    'IDENTITY_CLAIM',
    `Cannot read claim sub: found ${quote(subject)}, expected a non-empty string`,
  );
}
