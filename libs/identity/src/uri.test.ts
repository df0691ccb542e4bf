import { describe, expect, test } from 'vitest';
import { haveOneOwner, isHost, parseAuthority } from './uri.js';

describe('parseAuthority()', () => {
  test.each([
    ['https://example.com', { scheme: 'https', host: 'example.com' }],
    ['https://example.com/a/b?c#d', { scheme: 'https', host: 'example.com' }],
    ['HTTPS://example.com:8443/', { scheme: 'https', host: 'example.com' }],
    ['https://example.com?x', { scheme: 'https', host: 'example.com' }],
    ['https://[2001:db8::1]:8443/', { scheme: 'https', host: '[2001:db8::1]' }],
    ['app+x://a.b/c', { scheme: 'app+x', host: 'a.b' }],
  ])('reads %s', (text, found) => {
    expect(parseAuthority(text)).toEqual(found);
  });

  test.each([
    '',
    'example.com',
    '//example.com',
    'https:example.com',
    'https:///a',
    'https://user@example.com/',
    'https://example.com@evil.example/',
    'https://example.com:x/',
    'https://example.com\\@evil.example/',
    'https://exa mple.com/',
    'https://Example.com/',
    'https://exämple.com/',
    'https://example.com./',
    'https://example..com/',
    ' https://example.com/',
    'https://%65xample.com/',
  ])('refuses %j', (text) => {
    expect(parseAuthority(text)).toBeUndefined();
  });
});

test('isHost() takes time linear in the length', () => {
  const start = performance.now();
  isHost(`${'a-'.repeat(10_000)}!`);
  isHost(`${'a.'.repeat(120)}!`);
  expect(performance.now() - start).toBeLessThan(10);
});

describe('haveOneOwner()', () => {
  test.each([
    ['example.com', 'example.com'],
    ['example.com', 'accounts.example.com'],
    ['users.example.com', 'accounts.example.com'],
    ['a.b.example.com', 'example.com'],
    ['users.example.co.uk', 'accounts.example.co.uk'],
    ['localhost', 'localhost'],
    ['10.0.0.1', '10.0.0.1'],
    ['users.example.com', '*.example.com'],
  ])('%s and %s: yes', (host, issuer) => {
    expect(haveOneOwner(host, issuer)).toBe(true);
  });

  test.each([
    ['example.com', 'example.org'],
    ['example.com', 'evilexample.com'],
    ['example.com', 'example.com.evil.example'],
    // Registries: the last two labels are theirs.
    ['bank.co.uk', 'evil.co.uk'],
    ['co.uk', 'evil.co.uk'],
    ['shop.com.au', 'evil.com.au'],
    // Digits are no labels.
    ['10.0.0.1', '10.9.0.1'],
    ['10.0.0.1', 'evil.0.1'],
    ['[2001:db8::1]', '[2001:db8::2]'],
    ['localhost', 'a.localhost'],
    ['com', 'example.com'],
    ['users.example.co.uk', '*.co.uk'],
  ])('%s and %s: no', (host, issuer) => {
    expect(haveOneOwner(host, issuer)).toBe(false);
  });
});
