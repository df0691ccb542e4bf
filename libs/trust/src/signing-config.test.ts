import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  TrustError,
  encodeSigningConfig,
  parseSigningConfig,
  selectServices,
  type Service,
  type SigningConfig,
  type TrustErrorCode,
} from './index.js';

/** What JSON.parse() returns, to be changed in any place. */
type Json = ReturnType<typeof JSON.parse>;

const now = new Date('2026-06-01T00:00:00Z');

function service(url: string, more: Partial<Service> = {}): Service {
  return { url, majorApiVersion: 1, validFor: { start: new Date('2025-01-01T00:00:00Z') }, operator: url, ...more };
}

const config: SigningConfig = {
  caUrls: [service('https://ca.example')],
  oidcUrls: [service('https://oidc.example')],
  rekorTlogUrls: [service('https://log.example', { majorApiVersion: 2 })],
  rekorTlogConfig: { selector: 'ANY' },
  tsaUrls: [service('https://tsa.example/api/v1/timestamp')],
  tsaConfig: { selector: 'EXACT', count: 1 },
};

function codeOf(run: () => unknown): TrustErrorCode | 'accepted' {
  try {
    run();
    return 'accepted';
  } catch (error) {
    if (error instanceof TrustError) return error.code;
    throw error;
  }
}

describe('parseSigningConfig()', () => {
  test('reads what encodeSigningConfig() writes', () => {
    expect(parseSigningConfig(encodeSigningConfig(config))).toEqual(config);
  });

  test('a kind that lists nothing needs no selection', () => {
    const { tsaConfig: _, ...rest } = config;
    expect(parseSigningConfig(encodeSigningConfig({ ...rest, tsaUrls: [] }))).not.toHaveProperty('tsaConfig');
  });

  const json = () => JSON.parse(encodeSigningConfig(config));
  test.each<[string, TrustErrorCode, (json: Json) => void]>([
    ['version 0.1', 'TRUST_MEDIA_TYPE', (c) => (c.mediaType = 'application/vnd.dev.sigstore.signingconfig.v0.1+json')],
    ['an unknown field', 'TRUST_MALFORMED', (c) => (c.caUrl = 'x')],
    [
      'an undefined selector',
      'TRUST_MALFORMED',
      (c) => (c.rekorTlogConfig = { selector: 'SERVICE_SELECTOR_UNDEFINED' }),
    ],
    ['a selector by number', 'TRUST_MALFORMED', (c) => (c.rekorTlogConfig = { selector: 2 })],
    ['EXACT without a count', 'TRUST_MALFORMED', (c) => (c.tsaConfig = { selector: 'EXACT' })],
    ['a count with ANY', 'TRUST_MALFORMED', (c) => (c.tsaConfig = { selector: 'ANY', count: 2 })],
    ['logs without a selection', 'TRUST_MALFORMED', (c) => delete c.rekorTlogConfig],
    ['a service without validity', 'TRUST_MALFORMED', (c) => delete c.caUrls[0].validFor],
    ['a service without URL', 'TRUST_MALFORMED', (c) => delete c.caUrls[0].url],
    ['a file URL', 'TRUST_MALFORMED', (c) => (c.caUrls[0].url = 'file:///etc/passwd')],
    ['a version with a fraction', 'TRUST_MALFORMED', (c) => (c.caUrls[0].majorApiVersion = 1.5)],
    ['a negative version', 'TRUST_MALFORMED', (c) => (c.caUrls[0].majorApiVersion = -1)],
  ])('refuses %s', (_, code, change) => {
    const changed = json();
    change(changed);
    expect(codeOf(() => parseSigningConfig(JSON.stringify(changed)))).toBe(code);
  });

  test('returns or throws its own error for any JSON', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(codeOf(() => parseSigningConfig(text))).toMatch(/^TRUST_/);
      }),
    );
  });
});

describe('selectServices()', () => {
  const rekor = (services: Service[], selection: SigningConfig['rekorTlogConfig'] = { selector: 'ALL' }) =>
    selectServices({ ...config, rekorTlogUrls: services, rekorTlogConfig: selection }, 'rekor', { now }).map(
      ({ url }) => url,
    );

  test('takes the one that started last', () => {
    const newer = service('https://new.example', { validFor: { start: new Date('2026-05-01T00:00:00Z') } });
    expect(selectServices({ ...config, caUrls: [...config.caUrls, newer] }, 'ca', { now })).toEqual([newer]);
  });

  test('leaves out what is not in service, both ends included', () => {
    const from = (start: string, end: string) => ({ start: new Date(start), end: new Date(end) });
    expect(
      rekor([
        service('https://over.example', { validFor: from('2026-01-01T00:00:00Z', '2026-05-31T23:59:59Z') }),
        service('https://last-moment.example', { validFor: from('2026-01-01T00:00:00Z', '2026-06-01T00:00:00Z') }),
        service('https://first-moment.example', { validFor: from('2026-06-01T00:00:00Z', '2026-07-01T00:00:00Z') }),
        service('https://later.example', { validFor: from('2026-06-01T00:00:01Z', '2026-07-01T00:00:00Z') }),
      ]),
    ).toEqual(['https://first-moment.example', 'https://last-moment.example']);
  });

  test('takes the highest version that is supported, and that one only', () => {
    const services = [
      service('https://one.example'),
      service('https://two.example', { majorApiVersion: 2 }),
      service('https://three.example', { majorApiVersion: 3 }),
    ];
    expect(rekor(services)).toEqual(['https://two.example']);
    const all = { ...config, rekorTlogUrls: services };
    expect(selectServices(all, 'rekor', { now, versions: [1] }).map(({ url }) => url)).toEqual(['https://one.example']);
  });

  test('never takes version 0', () => {
    const all = { ...config, caUrls: [service('https://ca.example', { majorApiVersion: 0 })] };
    expect(codeOf(() => selectServices(all, 'ca', { now, versions: [0, 1] }))).toBe('TRUST_NO_SERVICE');
  });

  test('takes one of each operator, the newest', () => {
    const of = (url: string, operator: string, month: number) =>
      service(url, { operator, validFor: { start: new Date(Date.UTC(2025, month)) } });
    const services = [
      of('https://a1.example', 'a', 1),
      of('https://a2.example', 'a', 5),
      of('https://b.example', 'b', 3),
    ];
    expect(rekor(services)).toEqual(['https://a2.example', 'https://b.example']);
    expect(rekor(services, { selector: 'ANY' })).toEqual(['https://a2.example']);
    expect(rekor(services, { selector: 'EXACT', count: 2 })).toEqual(['https://a2.example', 'https://b.example']);
    expect(codeOf(() => rekor(services, { selector: 'EXACT', count: 3 }))).toBe('TRUST_NO_SERVICE');
  });

  test('an empty list means the kind is not used; a list of which nothing fits is an error', () => {
    expect(rekor([])).toEqual([]);
    expect(codeOf(() => rekor([service('https://log.example', { majorApiVersion: 9 })]))).toBe('TRUST_NO_SERVICE');
    expect(codeOf(() => selectServices({ ...config, caUrls: [] }, 'ca', { now }))).toBe('TRUST_NO_SERVICE');
  });
});
