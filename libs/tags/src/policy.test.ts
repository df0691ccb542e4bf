import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generateSigner } from '#libs/openssl';
import { parseAge, readTagPolicy, TagError } from './index.js';
import { fits, ruleFor } from './policy.js';

const { publicKey } = generateSigner();
const REPOSITORY = 'registry.example.com/ns/app';
const good = () => ({
  format: 'chancery-tag-policy/v1',
  signers: {
    alice: { identity: 'alice@example.com', issuer: 'https://a.example' },
    team: {
      identityRegexp: '.*@example\\.com',
      issuer: 'https://a.example',
      group: true,
      notAfter: '2027-01-01T00:00:00Z',
    },
    release: { key: 'release.pub' },
  } as Record<string, object>,
  repositories: [
    {
      repository: 'registry.example.com/*',
      snapshot: { signers: ['release'] },
      tags: [{ match: '*', signers: ['release'] }],
    },
    {
      repository: REPOSITORY,
      snapshot: { signers: ['alice', 'release'], maxAge: '36h' },
      tags: [
        { match: 'v*', signers: ['team', 'alice'], threshold: 2, maxAge: '90d' },
        { match: '*', signers: ['release'] },
      ],
    },
  ] as Record<string, unknown>[],
});
const read = (value: unknown, repository = REPOSITORY) =>
  readTagPolicy(value, {
    repository,
    readKey: async (name) => {
      if (name !== 'release.pub') throw new Error('no such file');
      return publicKey;
    },
  });

describe('readTagPolicy()', () => {
  it('reads signers, thresholds and ages, of the repository that fits best', async () => {
    const policy = await read(good());
    expect(policy.snapshotMaxAgeMs).toBe(36 * 3_600_000);
    expect(policy.snapshotSigners.map(({ name }) => name)).toEqual(['alice', 'release']);
    expect(ruleFor(policy, 'v1')).toMatchObject({ threshold: 2, maxAgeMs: 90 * 86_400_000 });
    expect(ruleFor(policy, 'dev').signers[0]).toMatchObject({ name: 'release', is: { kind: 'key', publicKey } });
    expect(policy.rules[0]?.signers[0]).toMatchObject({ group: true, notAfter: new Date('2027-01-01') });
    expect((await read(good(), 'registry.example.com/other')).rules).toHaveLength(1);
  });

  it('says nothing about a repository that it does not name, or only begins like one', async () => {
    for (const repository of ['registry.example.org/ns/app', 'registry.example.com.evil/ns/app']) {
      await expect(read(good(), repository)).rejects.toMatchObject({ code: 'TAGS_POLICY' });
    }
  });

  it('has no rule where none matches', async () => {
    const value = good();
    Object.assign(value.repositories[1] ?? {}, { tags: [{ match: 'v*', signers: ['team', 'alice'] }] });
    const policy = await read(value);
    expect(() => ruleFor(policy, 'latest')).toThrow(TagError);
  });

  const wrong: [string, (value: ReturnType<typeof good>) => unknown][] = [
    ['another format', (v) => (v.format = 'v2')],
    ['an unknown field', (v) => Object.assign(v, { more: 1 })],
    ['an unknown field of a signer', (v) => Object.assign(v.signers['alice'] ?? {}, { mail: 'x' })],
    [
      'an unknown field of a rule',
      (v) => Object.assign(v.repositories[0] ?? {}, { tags: [{ match: '*', signers: ['release'], treshold: 2 }] }),
    ],
    [
      'a signer that nothing uses',
      (v) => (v.signers['bob'] = { identity: 'bob@example.com', issuer: 'https://a.example' }),
    ],
    ['an identity without issuer', (v) => (v.signers['alice'] = { identity: 'alice@example.com' })],
    ['an identity twice over', (v) => (v.signers['alice'] = { identity: 'a', identityRegexp: 'a', issuer: 'b' })],
    ['a key with an issuer', (v) => (v.signers['release'] = { key: 'release.pub', issuer: 'b' })],
    ['a key that cannot be read', (v) => (v.signers['release'] = { key: 'other.pub' })],
    ['an expression that is none', (v) => (v.signers['alice'] = { identityRegexp: '(', issuer: 'b' })],
    ['group as text', (v) => Object.assign(v.signers['alice'] ?? {}, { group: 'yes' })],
    ['a rule without signers', (v) => Object.assign(v.repositories[0] ?? {}, { tags: [{ match: '*', signers: [] }] })],
    [
      'a rule with a stranger',
      (v) => Object.assign(v.repositories[0] ?? {}, { tags: [{ match: '*', signers: ['eve'] }] }),
    ],
    [
      'a signer twice in a rule',
      (v) => Object.assign(v.repositories[0] ?? {}, { tags: [{ match: '*', signers: ['release', 'release'] }] }),
    ],
    [
      'a threshold of 0',
      (v) => Object.assign(v.repositories[0] ?? {}, { tags: [{ match: '*', signers: ['release'], threshold: 0 }] }),
    ],
    [
      'a threshold out of reach',
      (v) => Object.assign(v.repositories[0] ?? {}, { tags: [{ match: '*', signers: ['release'], threshold: 2 }] }),
    ],
    ['no rules', (v) => Object.assign(v.repositories[0] ?? {}, { tags: [] })],
    ['one repository twice', (v) => (v.repositories = [...v.repositories, ...v.repositories])],
    ['no snapshot', (v) => delete v.repositories[0]?.['snapshot']],
    [
      'an age that is none',
      (v) => Object.assign(v.repositories[0] ?? {}, { snapshot: { signers: ['release'], maxAge: '2 weeks' } }),
    ],
    ['a repository without registry', (v) => Object.assign(v.repositories[0] ?? {}, { repository: 'app' })],
    [
      'a pattern in the middle',
      (v) => Object.assign(v.repositories[0] ?? {}, { repository: 'registry.example.com/*/app' }),
    ],
  ];
  it.each(wrong)('refuses %s', async (_, change) => {
    const value = good();
    change(value);
    await expect(read(value)).rejects.toMatchObject({ code: 'TAGS_POLICY' });
  });

  it('given anything, returns or throws its own error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        await expect(read(value)).rejects.toBeInstanceOf(TagError);
      }),
    );
  });
});

describe('fits()', () => {
  it.each([
    ['*', 'anything', true],
    ['v*', 'v1', true],
    ['v*', 'dev', false],
    ['*-rc', 'v1-rc', true],
    ['v*-rc*', 'v1-rc2', true],
    ['v*-rc*', 'v1', false],
    ['v1', 'v1', true],
    ['v1', 'v11', false],
    ['a*a', 'a', false],
    ['v.', 'v1', false],
  ])('%s, %s: %s', (pattern, name, expected) => {
    expect(fits(pattern, name)).toBe(expected);
  });

  it('is what the same expression says', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[ab*]{0,8}$/), fc.stringMatching(/^[ab]{0,8}$/), (pattern, name) => {
        expect(fits(pattern, name)).toBe(new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(name));
      }),
    );
  });
});

describe('parseAge()', () => {
  it('reads seconds, minutes, hours and days, and nothing else', () => {
    expect(['90s', '15m', '36h', '14d'].map(parseAge)).toEqual([90_000, 900_000, 129_600_000, 1_209_600_000]);
    for (const text of ['', '1', '0d', '1w', '-1d', '1.5h', '1 d', '9999999d']) expect(parseAge(text)).toBeUndefined();
  });
});
