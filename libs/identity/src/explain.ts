import type { JsonValue } from '#libs/encoding';
import { type Claims, claim, claimText } from './claims.js';
import type { IssuerConfig, ResolvedIssuer } from './config.js';
import { IdentityError, quote } from './errors.js';
import { type IssuerKind, issuerKinds, type Principal } from './kinds.js';
import { type Fetch, Provider } from './provider.js';
import { parseToken, type UnverifiedToken } from './token.js';
import {
  audienceText,
  checkAudience,
  checkExpiry,
  checkNotBefore,
  checkUpstream,
  instant,
  type IssuerRoute,
  issuerTable,
  readSubject,
  type TokenRules,
  unknownIssuer,
} from './verifier.js';

export interface ExplainOptions extends TokenRules {
  readonly issuers: readonly IssuerConfig[];
  /** Default `issuerKinds`. */
  readonly kinds?: Readonly<Record<string, IssuerKind>>;
  /** Absent: nothing is fetched, and the signature is not checked. */
  readonly fetch?: Fetch | undefined;
  readonly now: () => Date;
  /** As in `TokenVerifierOptions`. */
  readonly timeoutMs?: number | undefined;
}

export type TokenCheckName = 'issuer' | 'signature' | 'audience' | 'expiry' | 'not-before' | 'subject' | 'claims';

/** One check of a token, with both sides where there are two. For the operator: messages may name the network. */
export interface TokenCheck {
  readonly name: TokenCheckName;
  /** `skipped`: another check must pass first, or nothing may be fetched. */
  readonly ok: boolean | 'skipped';
  readonly found?: string;
  readonly expected?: string;
  /** Why it failed or was skipped. */
  readonly message?: string;
  /** Of a check that failed. */
  readonly code?: IdentityError['code'];
}

/** What a CA with these issuers makes of a token. The token itself is not in it, and cannot be made from it. */
export interface TokenExplanation {
  /** Whether no check failed. A signature that was not checked is no failure: see `checks`. */
  readonly ok: boolean;
  /** The token's `iss`. */
  readonly issuer: string;
  /** The issuer of the configuration that the token belongs to. */
  readonly match?: { readonly config: ResolvedIssuer; readonly by: 'url' | 'pattern' };
  /** Each of them, in the order of `TokenCheckName`: not only up to the first that fails. */
  readonly checks: readonly TokenCheck[];
  readonly claims: {
    /** Which the decision and the certificate depend on. */
    readonly used: readonly { readonly name: string; readonly value: string }[];
    /** Which are needed and absent or empty. */
    readonly missing: readonly string[];
    readonly unused: readonly string[];
  };
  /** Whom the certificate would name, if its claims can be read. */
  readonly principal?: Principal;
}

/** What every token is checked for, whatever its kind. */
const standardClaims = { required: ['iss', 'sub', 'aud', 'exp'], optional: ['nbf'] } as const;
const VALUE_LIMIT = 256;

/**
 * Says what would come of a token, check by check: to try a new issuer before it is trusted.
 * @throws IdentityError `IDENTITY_CONFIG`, and `IDENTITY_TOKEN_…` for what is no token at all
 */
export async function explainToken(token: string, options: ExplainOptions): Promise<TokenExplanation> {
  const table = issuerTable(options.issuers, options.kinds ?? issuerKinds);
  const parsed = parseToken(token);
  const { claims } = parsed;
  const route = table.find(parsed.issuer);
  const nowMs = options.now().getTime();
  const now = instant(nowMs);

  const issuer = await check(
    {
      name: 'issuer',
      found: quote(parsed.issuer),
      expected: route === undefined ? expectedIssuers(table.issuers) : quote(route.issuer.issuerUrl),
    },
    () => {
      if (route === undefined) throw unknownIssuer(parsed.issuer);
    },
  );
  const signature = await checkSignature(parsed, route, options);
  const noIssuer = 'no configured issuer says what is expected';
  const audience =
    route === undefined
      ? skipped('audience', noIssuer)
      : await check(
          { name: 'audience', found: audienceText(claim(claims, 'aud')), expected: quote(route.issuer.clientId) },
          () => checkAudience(claims, route.issuer.clientId),
        );
  const expiry = await check({ name: 'expiry', found: timeText(claims, 'exp'), expected: `${now} or later` }, () =>
    checkExpiry(claims, nowMs, options.maxTokenAgeMs),
  );
  const notBefore = await check(
    { name: 'not-before', found: timeText(claims, 'nbf'), expected: `absent, or ${now} with five minutes of leeway` },
    () => checkNotBefore(claims, nowMs),
  );
  const subject = await check({ name: 'subject', found: quote(claim(claims, 'sub')) }, () => void readSubject(claims));

  let principal: Principal | undefined;
  const reads = new Set<string>();
  const named = await check({ name: 'claims' }, () => {
    if (route === undefined || subject.ok !== true) return;
    const seen = recordReads(claims, reads);
    const found = route.kind.principal(
      { issuer: parsed.issuer, subject: readSubject(claims), claims: seen },
      route.issuer,
    );
    checkUpstream(found, { broker: parsed.issuer, config: route.issuer }, options.upstreamIssuers);
    principal = found;
  });
  const checks = [
    ...[issuer, signature, audience, expiry, notBefore, subject],
    route === undefined
      ? skipped('claims', noIssuer)
      : subject.ok === true
        ? named
        : skipped('claims', 'the token names no subject'),
  ];
  return {
    ok: checks.every(({ ok }) => ok !== false),
    issuer: parsed.issuer,
    ...(route !== undefined && {
      match: { config: route.issuer, by: route.issuer.wildcard ? ('pattern' as const) : ('url' as const) },
    }),
    checks,
    claims: sortClaims(claims, route, reads),
    ...(principal !== undefined && { principal }),
  };
}

async function check(about: Omit<TokenCheck, 'ok'>, work: () => void | Promise<void>): Promise<TokenCheck> {
  try {
    await work();
    return { ...about, ok: true };
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    const ownNetwork = ['IDENTITY_DISCOVERY', 'IDENTITY_JWKS', 'IDENTITY_SIGNATURE'].includes(error.code);
    return { ...about, ok: false, message: ownNetwork ? error.message : error.shown, code: error.code };
  }
}

function skipped(name: TokenCheckName, message: string): TokenCheck {
  return { name, ok: 'skipped', message };
}

async function checkSignature(
  token: UnverifiedToken,
  route: IssuerRoute | undefined,
  options: ExplainOptions,
): Promise<TokenCheck> {
  const { fetch } = options;
  if (route === undefined) return skipped('signature', 'keys are only fetched of configured issuers');
  if (fetch === undefined) return skipped('signature', 'offline: keys are not fetched');
  const provider = new Provider({ issuer: token.issuer, config: route.issuer }, { ...options, fetch });
  const kid = token.keyId === undefined ? '' : ` with kid ${quote(token.keyId)}`;
  return check({ name: 'signature', found: `${quote(token.algorithm)}${kid}` }, () => provider.verifySignature(token));
}

const ISSUERS_NAMED = 10;

function expectedIssuers(issuers: readonly ResolvedIssuer[]): string {
  const named = issuers.slice(0, ISSUERS_NAMED).map(({ issuerUrl }) => quote(issuerUrl));
  return issuers.length > ISSUERS_NAMED ? `${named.join(', ')}, ...` : named.join(', ');
}

function timeText(claims: Claims, name: string): string {
  const value = claim(claims, name);
  return typeof value === 'number' || typeof value === 'bigint' ? instant(Number(value) * 1000) : quote(value);
}

/** The same claims, noting the names of those that are read. Who reads them all in a row tells nothing: then none is noted. */
function recordReads(claims: Claims, reads: Set<string>): Claims {
  let all = false;
  return new Proxy(claims, {
    get(target, name) {
      if (!all && typeof name === 'string') reads.add(name);
      return Reflect.get(target, name) as unknown;
    },
    ownKeys(target) {
      all = true;
      reads.clear();
      return Reflect.ownKeys(target);
    },
  });
}

function sortClaims(
  claims: Claims,
  route: IssuerRoute | undefined,
  reads: ReadonlySet<string>,
): TokenExplanation['claims'] {
  const byKind = route?.kind.claims(route.issuer) ?? { required: [], optional: [] };
  const required = new Set<string>([...standardClaims.required, ...byKind.required]);
  const relevant = new Set<string>([...required, ...standardClaims.optional, ...byKind.optional, ...reads]);
  const present = Object.keys(claims);
  const isEmpty = (value: JsonValue | undefined) => value === undefined || value === null || value === '';
  return {
    used: present
      .filter((name) => relevant.has(name) && !isEmpty(claim(claims, name)))
      .map((name) => ({ name, value: valueText(claim(claims, name)) })),
    missing: [...required].filter((name) => isEmpty(claim(claims, name))),
    unused: present.filter((name) => !relevant.has(name)),
  };
}

function valueText(value: JsonValue | undefined): string {
  const digits = (_: string, member: unknown) => (typeof member === 'bigint' ? member.toString() : member);
  const text = claimText(value) ?? JSON.stringify(value, digits);
  return text.length > VALUE_LIMIT ? `${text.slice(0, VALUE_LIMIT)}...` : text;
}
