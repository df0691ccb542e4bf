import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isTrustDomain, parseSpiffeId } from './spiffe.js';

describe('parseSpiffeId()', () => {
  test.each([
    ['spiffe://example.org', { trustDomain: 'example.org', path: '' }],
    ['spiffe://example.org/ns/prod/sa/Web_1.2-x', { trustDomain: 'example.org', path: '/ns/prod/sa/Web_1.2-x' }],
    ['spiffe://a_b-c.1/x', { trustDomain: 'a_b-c.1', path: '/x' }],
    ['spiffe://example.org/...', { trustDomain: 'example.org', path: '/...' }],
  ])('reads %s', (text, id) => {
    expect(parseSpiffeId(text)).toEqual(id);
  });

  test.each([
    '',
    'spiffe://',
    'spiffe:///a',
    'SPIFFE://example.org',
    'https://example.org',
    'spiffe:example.org',
    'spiffe://Example.org',
    'spiffe://example.org/',
    'spiffe://example.org//a',
    'spiffe://example.org/a/',
    'spiffe://example.org/.',
    'spiffe://example.org/a/../b',
    'spiffe://example.org:443/a',
    'spiffe://user@example.org/a',
    'spiffe://example.org/a?b',
    'spiffe://example.org/a#b',
    'spiffe://example.org/%61',
    'spiffe://example.org/a b',
    'spiffe://example.org/a\n',
    'spiffe://exämple.org',
    `spiffe://${'a'.repeat(256)}`,
    `spiffe://example.org/${'a'.repeat(2048)}`,
  ])('refuses %j', (text) => {
    expect(parseSpiffeId(text)).toBeUndefined();
  });

  test('has one spelling for each ID', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^spiffe:\/\/[a-z0-9./_-]*$/), (text) => {
        const id = parseSpiffeId(text);
        if (id) expect(`spiffe://${id.trustDomain}${id.path}`).toBe(text);
      }),
    );
  });
});

test('isTrustDomain() takes bare names only', () => {
  expect(['example.org', 'a', 'a_b-1.c'].every(isTrustDomain)).toBe(true);
  expect(['', 'spiffe://example.org', 'Example.org', 'a/b', 'a:1', 'a b', 'a'.repeat(256)].some(isTrustDomain)).toBe(
    false,
  );
});
