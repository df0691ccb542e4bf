import { createHash } from 'node:crypto';

/** So many in a time: `60/1m`. All of them may come at once; what is used comes back evenly. */
export interface Rate {
  readonly count: number;
  readonly windowMs: number;
  /** As it was written. */
  readonly text: string;
}

/** Requests that a rate does not permit now. */
export interface RateRefusal {
  /** Which budget is used up. */
  readonly scope: RateScope;
  readonly rate: Rate;
  /** When one more will be permitted, whole seconds from now, at least 1. */
  readonly retryAfterSeconds: number;
}

export type RateScope = 'identity' | 'issuer';

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads `<number><s|m|h|d>`, for example `10m`, as milliseconds; undefined if it is not that. */
export function parseDuration(text: string): number | undefined {
  const [, number = '', unit = ''] = /^([1-9]\d{0,4})([smhd])$/.exec(text) ?? [];
  const unitMs = units[unit];
  return unitMs === undefined ? undefined : Number(number) * unitMs;
}

/** Reads `<count>/<duration>`, for example `60/1m`; undefined if it is not that. */
export function parseRate(text: string): Rate | undefined {
  const [, count = '', duration = ''] = /^([1-9]\d{0,8})\/(.+)$/.exec(text) ?? [];
  const windowMs = parseDuration(duration);
  return windowMs === undefined ? undefined : { count: Number(count), windowMs, text };
}

/** How many who used something lately are remembered for each rate: some 20 MB. */
const KEYS = 100_000;
/** Longer names are remembered by their digest: a token has room for a name of kilobytes, and so many of those would be a gigabyte. */
const LONGEST_KEY = 200;
/** How many of the oldest are compared when one must be forgotten although it is not over. */
const CANDIDATES = 32;

/**
 * One token bucket a key, kept as the one number that it comes down to: the time at which it will be full again.
 *
 * Memory is bounded. What is full again says nothing and is forgotten first. If there are more keys than have room, one of the oldest is forgotten, and of
 * these the one that is nearest to full: to have his own, empty bucket forgotten, somebody must empty as many others as there is room for, with a verified token for each.
 */
export class RateLimiter {
  /** The key that was used longest ago comes first. */
  readonly #fullAt = new Map<string, number>();
  /** What one use takes to come back, milliseconds. */
  readonly #costMs: number;

  constructor(
    readonly rate: Rate,
    private readonly keys = KEYS,
  ) {
    this.#costMs = rate.windowMs / rate.count;
  }

  /** How long until `key` may be used, milliseconds; 0 is now. Changes nothing. */
  waitMs(key: string, nowMs: number): number {
    const fullAt = Math.max(this.#fullAt.get(key) ?? 0, nowMs);
    // Never longer than a window, also when the clock was turned back.
    return Math.min(Math.max(0, fullAt + this.#costMs - this.rate.windowMs - nowMs), this.rate.windowMs);
  }

  /** Takes one. Only when `waitMs` was 0. */
  take(key: string, nowMs: number): void {
    const fullAt = Math.max(this.#fullAt.get(key) ?? 0, nowMs) + this.#costMs;
    this.#fullAt.delete(key);
    if (this.#fullAt.size >= this.keys) this.#forgetOne(nowMs);
    this.#fullAt.set(key, fullAt);
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#fullAt.size;
  }

  #forgetOne(nowMs: number): void {
    let victim: string | undefined;
    let least = Number.POSITIVE_INFINITY;
    let looked = 0;
    for (const [key, fullAt] of this.#fullAt) {
      if (fullAt < least) [victim, least] = [key, fullAt];
      if (fullAt <= nowMs || ++looked === CANDIDATES) break;
    }
    if (victim !== undefined) this.#fullAt.delete(victim);
  }
}

/** Whose certificate is asked for, as far as rates go. */
export interface RateSubject {
  readonly issuer: string;
  /** The certificate's name. */
  readonly identity: string;
}

/** The rates of a CA: for each identity (a name by the word of one issuer) and for each issuer. What is not given is not limited. */
export class IssuanceRates {
  /** Refusals so far. */
  readonly refused: Record<RateScope, number> = { identity: 0, issuer: 0 };
  readonly #limits: { scope: RateScope; limiter: RateLimiter; key: (subject: RateSubject) => string }[] = [];

  constructor(rates: { readonly perIdentity?: Rate | undefined; readonly perIssuer?: Rate | undefined }) {
    const { perIdentity, perIssuer } = rates;
    // No kind of identity has a space in it, so no two pairs have one key.
    if (perIdentity)
      this.#limits.push({
        scope: 'identity',
        limiter: new RateLimiter(perIdentity),
        key: ({ issuer, identity }) => shortKey(`${issuer} ${identity}`),
      });
    if (perIssuer)
      this.#limits.push({
        scope: 'issuer',
        limiter: new RateLimiter(perIssuer),
        key: ({ issuer }) => shortKey(issuer),
      });
  }

  /** Takes one of each budget, or none if one of them is used up: then says which. */
  take(subject: RateSubject, nowMs: number): RateRefusal | undefined {
    for (const { scope, limiter, key } of this.#limits) {
      const waitMs = limiter.waitMs(key(subject), nowMs);
      if (waitMs > 0) {
        this.refused[scope]++;
        return { scope, rate: limiter.rate, retryAfterSeconds: Math.ceil(waitMs / 1000) };
      }
    }
    for (const { limiter, key } of this.#limits) limiter.take(key(subject), nowMs);
    return undefined;
  }
}

function shortKey(text: string): string {
  return text.length <= LONGEST_KEY ? text : createHash('sha256').update(text).digest('base64');
}
