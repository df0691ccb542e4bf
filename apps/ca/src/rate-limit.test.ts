import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IssuanceRates, parseDuration, parseRate, type Rate, RateLimiter } from './rate-limit.js';

const rateOf = (text: string): Rate => {
  const rate = parseRate(text);
  if (rate === undefined) throw new Error(text);
  return rate;
};
const start = Date.parse('2026-03-04T05:06:07.250Z');

describe('parseRate()', () => {
  test.each([
    ['60/1m', 60, 60_000],
    ['1/1s', 1, 1000],
    ['1000/24h', 1000, 86_400_000],
    ['5/7d', 5, 604_800_000],
  ])('%s', (text, count, windowMs) => expect(parseRate(text)).toEqual({ count, windowMs, text }));

  test.each(['', '60', '60/m', '0/1m', '-1/1m', '60/0m', '60/1w', '60 / 1m', '60/1m ', '06/1m', '1e3/1m', '60/1M'])(
    'refuses %j',
    (text) => expect(parseRate(text)).toBeUndefined(),
  );
});

test.each([
  ['10m', 600_000],
  ['1s', 1000],
  ['2d', 172_800_000],
  ['', undefined],
  ['10', undefined],
  ['0m', undefined],
  ['1w', undefined],
  [' 1m', undefined],
])('parseDuration(%j)', (text, ms) => expect(parseDuration(text)).toBe(ms));

describe('RateLimiter', () => {
  const use = (limiter: RateLimiter, key: string, nowMs: number): boolean => {
    if (limiter.waitMs(key, nowMs) > 0) return false;
    limiter.take(key, nowMs);
    return true;
  };

  test('permits as many at once, and then one each time a part of the window is over', () => {
    const limiter = new RateLimiter(rateOf('4/1m'));
    expect([1, 2, 3, 4, 5].map(() => use(limiter, 'a', start))).toEqual([true, true, true, true, false]);
    expect(limiter.waitMs('a', start)).toBe(15_000);
    expect(use(limiter, 'b', start)).toBe(true);
    expect(use(limiter, 'a', start + 14_999)).toBe(false);
    expect(use(limiter, 'a', start + 15_000)).toBe(true);
    expect(use(limiter, 'a', start + 15_000)).toBe(false);
    expect([1, 2, 3, 4, 5].map(() => use(limiter, 'a', start + 200_000))).toEqual([true, true, true, true, false]);
  });

  test('never permits more than twice the count in a window, nor less than the count', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 200 }), (gaps) => {
        const limiter = new RateLimiter(rateOf('5/1m'));
        let nowMs = start;
        const used: number[] = [];
        for (const gap of gaps) {
          nowMs += gap;
          const inWindow = used.filter((at) => at > nowMs - 60_000).length;
          const permitted = use(limiter, 'a', nowMs);
          if (permitted) used.push(nowMs);
          if (inWindow === 0) expect(permitted).toBe(true);
          expect(used.filter((at) => at > nowMs - 60_000).length).toBeLessThanOrEqual(10);
        }
      }),
    );
  });

  test('does not wait longer than a window when the clock was turned back', () => {
    const limiter = new RateLimiter(rateOf('1/1m'));
    expect(use(limiter, 'a', start)).toBe(true);
    expect(limiter.waitMs('a', start - 86_400_000)).toBe(60_000);
  });

  test('remembers a bounded number of keys, and forgets first those whose budget is whole again', () => {
    const limiter = new RateLimiter(rateOf('2/1m'), 100);
    for (let n = 0; n < 100; n++) use(limiter, `early${n}`, start);
    for (let n = 0; n < 50; n++) use(limiter, `late${n}`, start + 100_000);
    expect(limiter.size).toBe(100);
    for (let n = 0; n < 50; n++) {
      expect(use(limiter, `late${n}`, start + 100_000)).toBe(true);
      expect(use(limiter, `late${n}`, start + 100_000)).toBe(false);
    }
  });

  test('an empty budget is not won back by using others once each', () => {
    const limiter = new RateLimiter(rateOf('10/1m'), 100);
    while (use(limiter, 'mine', start));
    for (let n = 0; n < 10_000; n++) use(limiter, `other${n}`, start + n);
    expect(limiter.size).toBe(100);
    expect(use(limiter, 'mine', start)).toBe(false);
  });
});

describe('IssuanceRates', () => {
  const ann = { issuer: 'https://a.example', identity: 'ann@example.com' };

  test('takes of both budgets or of none, and says which is used up', () => {
    const rates = new IssuanceRates({ perIdentity: rateOf('2/1m'), perIssuer: rateOf('3/1m') });
    expect([rates.take(ann, start), rates.take(ann, start)]).toEqual([undefined, undefined]);
    expect(rates.take(ann, start)).toMatchObject({ scope: 'identity', retryAfterSeconds: 30 });
    const bob = { ...ann, identity: 'bob@example.com' };
    expect(rates.take(bob, start)).toBeUndefined();
    expect(rates.take(bob, start)).toMatchObject({ scope: 'issuer', retryAfterSeconds: 20, rate: { text: '3/1m' } });
    // What the issuer's budget refused was not taken of bob's: he has one left.
    expect(rates.take(bob, start + 20_000)).toBeUndefined();
    expect(rates.refused).toEqual({ identity: 1, issuer: 1 });
  });

  test('the same name by the word of another issuer is another identity', () => {
    const rates = new IssuanceRates({ perIdentity: rateOf('1/1m') });
    expect(rates.take(ann, start)).toBeUndefined();
    expect(rates.take({ ...ann, issuer: 'https://b.example' }, start)).toBeUndefined();
    expect(rates.take(ann, start)?.scope).toBe('identity');
  });

  test('names of any length have their own budgets, and little of them is kept', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const used = (): number => (collect(), process.memoryUsage().heapUsed);
    const rates = new IssuanceRates({ perIdentity: rateOf('1/1h'), perIssuer: rateOf('1/1h') });
    const long = (n: number) => ({ issuer: `https://a.example/${n}`, identity: `${'x'.repeat(12_000)}${n}` });
    const before = used();
    for (let n = 0; n < 1000; n++) expect(rates.take(long(n), start)).toBeUndefined();
    for (let n = 0; n < 1000; n++) expect(rates.take(long(n), start)?.scope).toBe('identity');
    // The names themselves are twelve megabytes.
    expect(used() - before).toBeLessThan(4e6);
    const issuer = (n: number) => ({ issuer: `https://a.example/${'x'.repeat(2000)}${n}`, identity: `i${n}` });
    expect(rates.take(issuer(1), start)).toBeUndefined();
    expect(rates.take(issuer(2), start)).toBeUndefined();
    expect(rates.take({ ...issuer(1), identity: 'another' }, start)?.scope).toBe('issuer');
  });

  test('says whole seconds, rounded up', () => {
    const rates = new IssuanceRates({ perIssuer: rateOf('1/1s') });
    rates.take(ann, start);
    expect(rates.take(ann, start + 999)?.retryAfterSeconds).toBe(1);
    expect(rates.take(ann, start + 1000)).toBeUndefined();
  });

  test('limits nothing when nothing is said', () => {
    const rates = new IssuanceRates({});
    for (let n = 0; n < 1000; n++) expect(rates.take(ann, start)).toBeUndefined();
  });
});
