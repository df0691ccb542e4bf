import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimpleSigningError } from './error.js';
import { formatImageName, parseImageIdentity, parseImageName, scopesOf } from './reference.js';

const hex = 'a'.repeat(64);

describe('parseImageName()', () => {
  it.each([
    ['busybox', 'docker.io/library/busybox'],
    ['busybox:v1', 'docker.io/library/busybox:v1'],
    ['ns/app', 'docker.io/ns/app'],
    ['docker.io/busybox', 'docker.io/library/busybox'],
    ['index.docker.io/busybox', 'docker.io/library/busybox'],
    ['index.docker.io/ns/app:v1', 'docker.io/ns/app:v1'],
    ['localhost/app', 'localhost/app'],
    ['localhost:5000/app:v1', 'localhost:5000/app:v1'],
    ['registry.example.com/ns/deep/app', 'registry.example.com/ns/deep/app'],
    ['Registry/app', 'Registry/app'],
    [`registry.example.com/app@sha256:${hex}`, `registry.example.com/app@sha256:${hex}`],
    [`registry.example.com/app:v1@sha256:${hex}`, `registry.example.com/app:v1@sha256:${hex}`],
    ['[::1]:5000/app', '[::1]:5000/app'],
    ['a.b/c__d/e-f/g.h:T_1.x-y', 'a.b/c__d/e-f/g.h:T_1.x-y'],
  ])('reads %s as %s', (text, expanded) => {
    expect(formatImageName(parseImageName(text))).toBe(expanded);
  });

  it.each([
    '',
    ':v1',
    'App',
    'ns/App',
    hex,
    'a/../b',
    'registry.example.com/../app',
    'registry.example.com//app',
    'registry.example.com/',
    '/app',
    'app:',
    'app:-x',
    `app:${'x'.repeat(129)}`,
    'app@sha256:abc',
    `app@sha256:${'A'.repeat(64)}`,
    `app@md5:${'a'.repeat(32)}`,
    `app@sha256:${hex}@sha256:${hex}`,
    'a b',
    'app\n',
    'app%2fb',
    `registry.example.com/${'a'.repeat(255)}`,
    'x'.repeat(1000),
    'docker://app',
  ])('refuses %j', (text) => {
    expect(() => parseImageName(text)).toThrow(expect.objectContaining({ code: 'SIMPLE_REFERENCE' }) as Error);
  });

  it('reads back what it formats, and takes any text or refuses it by its own error', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'aZ09.:/@-_[]'), maxLength: 60 }), (text) => {
        try {
          const name = parseImageName(text);
          expect(parseImageName(formatImageName(name))).toEqual(name);
        } catch (error) {
          expect(error).toBeInstanceOf(SimpleSigningError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('parseImageIdentity()', () => {
  it('means latest without a tag, and takes no reference with tag and digest', () => {
    expect(formatImageName(parseImageIdentity('busybox'))).toBe('docker.io/library/busybox:latest');
    expect(parseImageIdentity(`busybox@sha256:${hex}`).tag).toBeUndefined();
    expect(() => parseImageIdentity(`busybox:v1@sha256:${hex}`)).toThrow('a tag and a digest');
  });
});

describe('scopesOf()', () => {
  it('goes from the reference over repository, namespaces and host to wildcards', () => {
    expect(scopesOf(parseImageIdentity('a.b.example.com:5000/ns/team/app:v1'))).toEqual([
      'a.b.example.com:5000/ns/team/app:v1',
      'a.b.example.com:5000/ns/team/app',
      'a.b.example.com:5000/ns/team',
      'a.b.example.com:5000/ns',
      'a.b.example.com:5000',
      '*.b.example.com',
      '*.example.com',
      '*.com',
    ]);
    expect(scopesOf(parseImageIdentity('busybox'))).toEqual([
      'docker.io/library/busybox:latest',
      'docker.io/library/busybox',
      'docker.io/library',
      'docker.io',
      '*.io',
    ]);
  });
});
