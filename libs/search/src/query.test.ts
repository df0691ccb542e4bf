import { describe, expect, test } from 'vitest';
import { matches, parseSearchQuery, SearchError } from './index.js';
import { entryFacts } from './index.js';
import { bodyOf, email, makeCertificate } from '../testing/trees.js';

const hex = (digits: number): string => 'a'.repeat(digits);

describe('parseSearchQuery() refuses', () => {
  test.each<[string, Record<string, unknown>, RegExp]>([
    ['nothing', {}, /no parameter is given/],
    ['nothing but a limit', { limit: '5' }, /no parameter is given/],
    [
      'unknown parameters, naming each',
      { email: 'a@b.c', emial: 'x', foo: 'y' },
      /emial is not a parameter; foo is not a parameter/,
    ],
    ['a parameter given twice', { email: ['a', 'b'] }, /email must be given once/],
    ['an empty parameter', { email: '' }, /email: /],
    ['a parameter longer than any name', { san: 'a'.repeat(2049) }, /san: /],
    ['a digest of no hash', { digest: hex(42) }, /digest: must be/],
    ['a digest with the length of another hash', { digest: `sha256:${hex(40)}` }, /digest: must be/],
    ['a digest that is not hex', { subject: `sha256:${'g'.repeat(64)}` }, /subject: must be/],
    ['a fingerprint with a colon', { key: `sha256:${hex(64)}` }, /key: must be 64 hex digits/],
    ['a short fingerprint', { certificate: hex(40) }, /certificate: must be 64 hex digits/],
    ['an index with a sign', { logIndex: '-1' }, /logIndex: must be/],
    ['an index with leading zeros', { logIndex: '01' }, /logIndex: must be/],
    ['an index beyond 64 bits', { logIndex: '9'.repeat(19) }, /logIndex: must be/],
    ['a UUID of another length', { uuid: hex(72) }, /uuid: must be 64 or 80 hex digits/],
    ['a time without a zone', { after: '2026-01-01T00:00:00' }, /after: must be a date and time of RFC 3339/],
    ['a date alone', { before: '2026-01-01' }, /before: must be a date and time of RFC 3339/],
    ['a day that does not exist', { after: '2026-02-30T00:00:00Z' }, /after: must be/],
    [
      'a range of no time',
      { after: '2026-01-01T00:00:00Z', before: '2026-01-01T00:00:00Z' },
      /after must be earlier than before/,
    ],
    ['a tree of another name', { tree: 'v3' }, /tree: /],
    ['a limit of 0', { tree: 'v1', limit: '0' }, /limit: must be a number of 1 to 100/],
    ['a limit of 101', { tree: 'v1', limit: '101' }, /limit: must be a number of 1 to 100/],
    ['a limit with a fraction', { tree: 'v1', limit: '1.5' }, /limit: must be/],
    ['a key by URL', { publicKeyUrl: 'http://127.0.0.1/key' }, /publicKeyUrl is not a parameter/],
  ])('%s', (_name, params, message) => {
    expect(() => parseSearchQuery(params)).toThrow(
      expect.objectContaining({ code: 'SEARCH_QUERY', message: expect.stringMatching(message) as string }),
    );
  });

  test('without repeating a value, which may be long or secret', () => {
    try {
      parseSearchQuery({ key: 'my-token', ['x'.repeat(1000)]: 'my-token' });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(SearchError);
      expect((error as SearchError).message).not.toContain('my-token');
      expect((error as SearchError).message.length).toBeLessThan(300);
    }
  });
});

describe('parseSearchQuery() reads', () => {
  test.each([
    [hex(40), `sha1:${hex(40)}`],
    [hex(64).toUpperCase(), `sha256:${hex(64)}`],
    [hex(96), `sha384:${hex(96)}`],
    [hex(128), `sha512:${hex(128)}`],
    [`SHA256:${hex(64)}`, `sha256:${hex(64)}`],
    [`gitCommit:${hex(40)}`, `gitcommit:${hex(40)}`],
  ])('the digest %s', (digest, key) => {
    expect(parseSearchQuery({ digest }).entry.map((one) => one.key)).toEqual([key]);
  });

  test.each([
    ['2026-01-01T00:00:00Z', 0n],
    ['2026-01-01T02:00:00+02:00', 0n],
    ['2026-01-01T00:00:00.250Z', 250n],
    ['2026-01-01T00:00:00.250000Z', 250n],
    ['2026-01-01T00:00:00.2500001Z', 251n],
  ])('the time %s', (after, ms) => {
    expect(parseSearchQuery({ after }).afterMs).toBe(1_767_225_600_000n + ms);
  });

  test('what is likely to be rarest first', () => {
    const query = parseSearchQuery({
      issuer: 'i',
      email: 'e@e.e',
      certificate: hex(64),
      repository: 'r',
      digest: hex(64),
    });
    expect([...query.entry, ...query.signer].map(({ key }) => key)).toEqual([
      `sha256:${hex(64)}`,
      `certificate:${hex(64)}`,
      'e@e.e',
      'repository:r',
      'issuer:i',
    ]);
  });
});

describe('matches()', () => {
  const alice = makeCertificate({ sans: [email('alice@example.com')], told: { 8: 'https://one.example' } });
  const bob = makeCertificate({ sans: [email('bob@example.com')], told: { 8: 'https://two.example' } });
  const facts = entryFacts(bodyOf('dsse 0.0.1', [alice, bob]), []);

  test.each([
    [{ email: 'alice@example.com', issuer: 'https://one.example' }, true],
    [{ email: 'bob@example.com', issuer: 'https://two.example' }, true],
    // The lesson of CVE-2024-51746: nobody vouched for Alice at the second issuer.
    [{ email: 'alice@example.com', issuer: 'https://two.example' }, false],
    [{ uri: 'alice@example.com' }, false],
    [{ san: 'alice@example.com' }, true],
  ])('%j of an entry that two people signed: %s', (params, expected) => {
    expect(matches(facts, parseSearchQuery(params))).toBe(expected);
  });
});
