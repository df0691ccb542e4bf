import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseReference } from '#libs/oci';
import { compileGlob, namesOf, PolicyError } from './index.js';

const digest = `sha256:${'a'.repeat(64)}`;

/** Whether a glob is for an image, asked as policy-controller asks: by its qualified name, then as it was written. */
function isFor(glob: string, image: string, resolved?: string): boolean {
  return namesOf(image, parseReference(image), resolved).some((name) => compileGlob(glob).matches(name));
}

describe('compileGlob()', () => {
  test.each<[image: string, glob: string, expected: boolean]>([
    // Docker Hub's official images: qualified with host, library/ and :latest.
    ['foo', 'index.docker.io/library/foo:latest', true],
    ['foo', 'index.docker.io/library/foo:*', true],
    ['foo', 'index.docker.io/library/*', true],
    ['foo', 'index.docker.io/library/*:latest', true],
    ['foo', 'index.docker.io/*/*', true],
    ['foo', 'index.docker.io/**', true],
    ['foo', 'index.docker.**', true],
    ['foo', 'inde**', true],
    ['foo', '**', true],
    ['foo', 'foo', true],
    ['foo', 'foo*', true],
    ['foo', 'foo**', true],
    ['foo', 'fo', false],
    ['foo', 'oo', false],
    // Images of users there.
    ['user/app', 'index.docker.io/user/app:latest', true],
    ['user/app', 'index.docker.io/user/*', true],
    ['user/app', 'index.docker.io/library/*', false],
    ['user/app', 'user/app', true],
    // Other registries.
    ['registry.test/foo/bar', 'registry.test/*/*', true],
    ['registry.test/foo/bar', 'registry.test/*', false],
    ['registry.test/foo', 'registry.test/*/*', false],
    ['registry.test/foo', 'registry.test/**', true],
    ['registry.test/foo', '*/**', true],
    ['registry.test:5000/foo', 'registry.test/**', false],
    ['registry.test:5000/foo', 'registry.test:*/**', true],
    // Anchors at both ends, and the dot is a dot.
    ['prefix-registry.test/foo', 'registry.test/foo', false],
    ['registry.test/foo-suffix', 'registry.test/foo', false],
    ['registryxtest.io/foo', 'registry.test.io/**', false],
    ['registry.test/foo:v1', 'registry.test/foo', false],
    ['registry.test/foo:v1', 'registry.test/foo:v?1'.replace('?', ''), true],
    // What upstream takes * and */* for.
    ['foo', '*', true],
    ['user/app', '*', false],
    ['user/app', '*/*', true],
    ['registry.test/foo', '*', false],
    ['registry.test/foo', '*/*', false],
    ['registry.test/foo', '__proto__', false],
    ['registry.test/foo', 'constructor', false],
    // Three stars are ** and *.
    ['registry.test/a/b', '***', true],
  ])('%s is for %s: %s', (image, glob, expected) => {
    expect(isFor(glob, image)).toBe(expected);
  });

  test.each<[name: string, image: string, glob: string, expected: boolean]>([
    [
      'trap 4: with a digest the tag is left out of the qualified name',
      `nginx:1@${digest}`,
      'index.docker.io/library/nginx:1',
      false,
    ],
    ['trap 4: raw name alone', 'nginx', 'nginx', true],
    ['trap 4: raw name and tag', 'nginx:1', 'nginx:1', true],
    ['trap 4: raw name and digest', `nginx@${digest}`, 'nginx@sha256:*', true],
    ['trap 4: raw name, tag and digest', `nginx:1@${digest}`, 'nginx:1@sha256:*', true],
    ['trap 5: a name without suffix is not for its digests', `registry.test/app@${digest}`, 'registry.test/app', false],
    ['trap 5: @sha256:*', `registry.test/app@${digest}`, 'registry.test/app@sha256:*', true],
    ['trap 5: * crosses the colon', `registry.test/app:v1@${digest}`, 'registry.test/app*', true],
    ['trap 5: * does not cross the slash', `registry.test/app/other@${digest}`, 'registry.test/app*', false],
    ['trap 5: ** crosses both', `registry.test/app/other:v1@${digest}`, 'registry.test/app**', true],
    [
      'trap 5: the library of Docker Hub',
      `index.docker.io/library/nginx@${digest}`,
      'index.docker.io/library/nginx@sha256:*',
      true,
    ],
    [
      'trap 5: docker.io is index.docker.io',
      `docker.io/library/nginx@${digest}`,
      'index.docker.io/library/nginx@sha256:*',
      true,
    ],
  ])('%s', (_, image, glob, expected) => {
    expect(isFor(glob, image)).toBe(expected);
  });

  test.each(['', '.+ ', '[a-z]*', 'registry.test/app?', 'a b', 'ä/**', 'a\n', 'a$', '^a', 'a'.repeat(1025)])(
    'refuses %j',
    (glob) => {
      expect(() => compileGlob(glob)).toThrow(PolicyError);
    },
  );

  test('takes time linear in the name where a regular expression would not', () => {
    const glob = compileGlob(`${'*a'.repeat(500)}`);
    const before = performance.now();
    expect(glob.matches('a'.repeat(499))).toBe(false);
    expect(glob.matches('a'.repeat(600))).toBe(true);
    expect(performance.now() - before).toBeLessThan(2000);
  });

  const part = fc.stringMatching(/^[a-z0-9.:@/_-]{0,12}$/);
  test('property: a glob without stars is for itself alone', () => {
    fc.assert(
      fc.property(
        part.filter((text) => text !== ''),
        part,
        (text, other) => {
          expect(compileGlob(text).matches(other)).toBe(text === other);
        },
      ),
    );
  });

  test('property: never matches across its anchors', () => {
    fc.assert(
      fc.property(part, part, part, part, (before, head, tail, after) => {
        const glob = compileGlob(`${head}*${tail}x`);
        expect(glob.matches(`${head}m${tail}x`)).toBe(true);
        // Something before the first literal, or after the last, is another name.
        if (before !== '' && !`${before}${head}`.startsWith(head)) {
          expect(glob.matches(`${before}${head}${tail}x`)).toBe(false);
        }
        if (!after.endsWith('x') && after !== '') expect(glob.matches(`${head}${tail}x${after}`)).toBe(false);
      }),
    );
  });

  test('property: agrees with the regular expression that upstream makes of it', () => {
    const star = fc.constantFrom('*', '**', 'a', 'b', '/', ':', '.', '@');
    fc.assert(
      fc.property(
        fc.array(star, { minLength: 1, maxLength: 8 }).map((parts) => parts.join('')),
        fc.stringMatching(/^[ab/:.@]{0,10}$/),
        (text, name) => {
          if (text === '*' || text === '*/*') return;
          const expression = text
            .replaceAll('.', '\\.')
            .replaceAll('**', '#')
            .replaceAll('*', '[^/]*')
            .replaceAll('#', '.*');
          expect(compileGlob(text).matches(name)).toBe(new RegExp(`^${expression}$`).test(name));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('namesOf()', () => {
  test('gives the qualified name, the raw one, and what would be admitted', () => {
    expect(namesOf('nginx', parseReference('nginx'), digest)).toEqual([
      'index.docker.io/library/nginx:latest',
      'nginx',
      `index.docker.io/library/nginx@${digest}`,
      `index.docker.io/library/nginx:latest@${digest}`,
      'docker.io/library/nginx:latest',
      `docker.io/library/nginx@${digest}`,
      `docker.io/library/nginx:latest@${digest}`,
    ]);
  });
  test.each(['docker.io/**', 'index.docker.io/**', '**docker.io/library/nginx@sha256:*'])(
    'leaves no spelling by which an image of Docker Hub gets around %s',
    (glob) => {
      for (const image of [
        'nginx',
        'library/nginx',
        'docker.io/nginx',
        'index.docker.io/library/nginx',
        'DOCKER.io/nginx',
      ]) {
        expect(isFor(glob, image, digest), image).toBe(true);
        expect(isFor(glob, `${image}@${digest}`, digest), image).toBe(true);
      }
      // A host that only looks like it is another one.
      for (const image of ['docker.io.evil.test/nginx', 'evil.test/docker.io/library/nginx', 'xdocker.io/library/y']) {
        expect(isFor(glob.replace(/^\*\*/, ''), image, digest), image).toBe(false);
      }
    },
  );
  test('adds nothing to a digest', () => {
    const image = `registry.test/app:v1@${digest}`;
    expect(namesOf(image, parseReference(image), digest)).toEqual([`registry.test/app@${digest}`, image]);
  });
});
