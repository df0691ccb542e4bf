import { describe, expect, it } from 'vitest';
import { describeIdentity, matchesIdentity, readSignedIdentity, type SignedIdentity } from './identity.js';
import { parseImageIdentity } from './reference.js';

const sha = `sha256:${'a'.repeat(64)}`;
const other = `sha256:${'b'.repeat(64)}`;
const app = 'registry.example.com/ns/app';

const rows: [SignedIdentity, image: string, signed: string, accepted: boolean][] = [
  [{ type: 'matchExact' }, `${app}:v1`, `${app}:v1`, true],
  [{ type: 'matchExact' }, `${app}:v1`, `${app}:v2`, false],
  [{ type: 'matchExact' }, `${app}:v1`, app, false],
  [{ type: 'matchExact' }, `${app}:v1`, `${app}@${sha}`, false],
  [{ type: 'matchExact' }, `${app}@${sha}`, `${app}:v1`, false],
  [{ type: 'matchExact' }, `${app}@${sha}`, `${app}@${sha}`, true],
  [{ type: 'matchExact' }, 'busybox', 'docker.io/library/busybox:latest', true],
  [{ type: 'matchExact' }, 'docker.io/library/busybox:latest', 'busybox', false],
  [{ type: 'matchExact' }, 'index.docker.io/library/busybox:v1', 'busybox:v1', true],
  [{ type: 'matchExact' }, `${app}:v1`, 'registry.example.com.evil/ns/app:v1', false],
  [{ type: 'matchExact' }, `${app}:v1`, 'Registry.example.com/ns/app:v1', false],
  [{ type: 'matchExact' }, `${app}:v1`, `${app}:v1 `, false],
  [{ type: 'matchExact' }, `${app}:v1`, '', false],

  [{ type: 'matchRepoDigestOrExact' }, `${app}:v1`, `${app}:v1`, true],
  [{ type: 'matchRepoDigestOrExact' }, `${app}:v1`, `${app}:v2`, false],
  [{ type: 'matchRepoDigestOrExact' }, `${app}:v1`, app, false],
  [{ type: 'matchRepoDigestOrExact' }, `${app}@${sha}`, `${app}:v1`, true],
  [{ type: 'matchRepoDigestOrExact' }, `${app}@${sha}`, `${app}@${other}`, true],
  [{ type: 'matchRepoDigestOrExact' }, `${app}@${sha}`, app, false],
  [{ type: 'matchRepoDigestOrExact' }, `${app}@${sha}`, `${app}2:v1`, false],

  [{ type: 'matchRepository' }, `${app}:v1`, `${app}:v2`, true],
  [{ type: 'matchRepository' }, `${app}:v1`, app, true],
  [{ type: 'matchRepository' }, `${app}:v1`, 'registry.example.com/ns/app2:v1', false],
  [{ type: 'matchRepository' }, `${app}:v1`, 'registry.example.com/ns', false],
  [{ type: 'matchRepository' }, 'ns/app', 'docker.io/ns/app', true],

  [{ type: 'exactReference', dockerReference: 'vendor.example/app:v1' }, `${app}:v9`, 'vendor.example/app:v1', true],
  [{ type: 'exactReference', dockerReference: 'vendor.example/app:v1' }, `${app}:v1`, 'vendor.example/app:v2', false],
  [{ type: 'exactReference', dockerReference: 'vendor.example/app:v1' }, `${app}:v1`, `${app}:v1`, false],
  [{ type: 'exactReference', dockerReference: 'busybox:v1' }, `${app}:v1`, 'docker.io/library/busybox:v1', true],

  [{ type: 'exactRepository', dockerRepository: 'vendor.example/app' }, `${app}:v1`, 'vendor.example/app:v2', true],
  [{ type: 'exactRepository', dockerRepository: 'vendor.example/app' }, `${app}:v1`, 'vendor.example/app', true],
  [{ type: 'exactRepository', dockerRepository: 'vendor.example/app' }, `${app}:v1`, 'vendor.example/other:v2', false],
  [{ type: 'exactRepository', dockerRepository: 'vendor.example/app' }, `${app}:v1`, `${app}:v1`, false],

  [
    { type: 'remapIdentity', prefix: 'registry.example.com/ns', signedPrefix: 'vendor.example' },
    `${app}:v1`,
    'vendor.example/app:v1',
    true,
  ],
  [
    { type: 'remapIdentity', prefix: 'registry.example.com/ns', signedPrefix: 'vendor.example' },
    `${app}:v1`,
    'vendor.example/app:v2',
    false,
  ],
  [
    { type: 'remapIdentity', prefix: 'registry.example.com/ns', signedPrefix: 'vendor.example' },
    `${app}:v1`,
    `${app}:v1`,
    false,
  ],
  [
    { type: 'remapIdentity', prefix: 'registry.example.com/ns', signedPrefix: 'vendor.example' },
    `${app}@${sha}`,
    'vendor.example/app:v2',
    true,
  ],
  [
    { type: 'remapIdentity', prefix: 'registry.example.com/n', signedPrefix: 'vendor.example' },
    `${app}:v1`,
    'vendor.example/s/app:v1',
    false,
  ],
  [
    { type: 'remapIdentity', prefix: 'registry.example.com/n', signedPrefix: 'vendor.example' },
    `${app}:v1`,
    `${app}:v1`,
    true,
  ],
  [
    { type: 'remapIdentity', prefix: 'registry.example.com', signedPrefix: 'docker.io' },
    'registry.example.com/ns/app:v1',
    'ns/app:v1',
    true,
  ],
  [
    { type: 'remapIdentity', prefix: 'registry.example.com', signedPrefix: 'docker.io' },
    'registry.example.com/app:v1',
    'app:v1',
    false,
  ],
  [
    { type: 'remapIdentity', prefix: app, signedPrefix: 'vendor.example/x/y' },
    `${app}:v1`,
    'vendor.example/x/y:v1',
    true,
  ],
];

describe('matchesIdentity()', () => {
  it.each(rows)('%j: %s signed as %s: %s', (identity, image, signed, accepted) => {
    expect(matchesIdentity(identity, parseImageIdentity(image), signed)).toBe(accepted);
    expect(describeIdentity(identity, parseImageIdentity(image))).not.toBe('');
  });
});

describe('readSignedIdentity()', () => {
  it('is matchRepoDigestOrExact unless said otherwise, and reads every type', () => {
    expect(readSignedIdentity(undefined, 'it')).toEqual({ type: 'matchRepoDigestOrExact' });
    // What is in the table is also JSON.
    for (const [identity] of rows) expect(readSignedIdentity({ ...identity }, 'it')).toEqual(identity);
  });

  it.each([
    [null],
    ['matchExact'],
    [{}],
    [{ type: 'matchAnything' }],
    [{ type: 'matchExact', extra: 1 }],
    [{ type: 'matchRepository', dockerRepository: 'a/b' }],
    [{ type: 'exactReference' }],
    [{ type: 'exactReference', dockerReference: 'app' }],
    [{ type: 'exactReference', dockerReference: 'App:v1' }],
    [{ type: 'exactReference', dockerRepository: 'app:v1' }],
    [{ type: 'exactRepository', dockerRepository: '' }],
    [{ type: 'exactRepository', dockerReference: 'app' }],
    [{ type: 'remapIdentity', prefix: 'a.example' }],
    [{ type: 'remapIdentity', prefix: 'a.example/x:tag', signedPrefix: 'b.example' }],
    [{ type: 'remapIdentity', prefix: '', signedPrefix: 'b.example' }],
    [{ type: 'remapIdentity', prefix: 'a.example/', signedPrefix: 'b.example' }],
    [{ type: 'remapIdentity', prefix: 'a.example', signedPrefix: 'ns/short' }],
  ])('refuses %j', (value) => {
    expect(() => readSignedIdentity(value, 'it')).toThrow(expect.objectContaining({ code: 'SIMPLE_POLICY' }) as Error);
  });
});
