import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatReference,
  isDigest,
  isRepository,
  isTag,
  OciError,
  parseDigest,
  parseReference,
  parseRegistry,
  repositoryOf,
  withDefaultTag,
} from './index.js';

const hex = 'ab'.repeat(32);

describe('what is no reference', () => {
  it('is named without the password in it', () => {
    const text = 'https://me:secret@registry.example.com/ns/app';
    expect(() => parseReference(text)).toThrow('"https://(removed)@registry.example.com/ns/app"');
    expect(() => parseRegistry(text)).toThrow(/^(?!.*secret)/);
  });
});

describe('parseReference()', () => {
  it.each([
    ['alpine', 'docker.io', 'library/alpine', undefined, undefined],
    ['alpine:3', 'docker.io', 'library/alpine', '3', undefined],
    ['docker.io/alpine', 'docker.io', 'library/alpine', undefined, undefined],
    ['index.docker.io/library/alpine', 'docker.io', 'library/alpine', undefined, undefined],
    ['INDEX.docker.io/grafana/grafana', 'docker.io', 'grafana/grafana', undefined, undefined],
    ['ns/app:1', 'docker.io', 'ns/app', '1', undefined],
    ['localhost/app', 'localhost', 'app', undefined, undefined],
    ['localhost:5000/app', 'localhost:5000', 'app', undefined, undefined],
    ['registry.example.com/app', 'registry.example.com', 'app', undefined, undefined],
    ['Registry.Example.com:443/a/b/c:v1.2', 'registry.example.com:443', 'a/b/c', 'v1.2', undefined],
    ['127.0.0.1:80/app', '127.0.0.1:80', 'app', undefined, undefined],
    ['[::1]:5000/app:x', '[::1]:5000', 'app', 'x', undefined],
    ['[2001:db8::1]/app', '[2001:db8::1]', 'app', undefined, undefined],
    [`alpine@sha256:${hex}`, 'docker.io', 'library/alpine', undefined, `sha256:${hex}`],
    [`r.io/a:1@sha512:${hex}${hex}`, 'r.io', 'a', '1', `sha512:${hex}${hex}`],
    ['r.io/a__b/c--d/e.f_g', 'r.io', 'a__b/c--d/e.f_g', undefined, undefined],
  ])('reads %s', (text, registry, repository, tag, digest) => {
    expect(parseReference(text)).toEqual({ registry, repository, ...(tag && { tag }), ...(digest && { digest }) });
  });

  it.each([
    ['nothing', ''],
    ['a scheme', 'https://r.io/app'],
    ['no repository', 'r.io/'],
    ['an empty component', 'r.io/a//b'],
    ['a component that goes up', 'r.io/../app'],
    ['a leading slash', '/app'],
    ['capital letters in the repository', 'r.io/App'],
    ['capital letters in what is no host', 'Foo/app'],
    ['three underscores', 'r.io/a___b'],
    ['two dots', 'r.io/a..b'],
    ['a separator at the end', 'r.io/a-'],
    ['a separator at the start', 'r.io/_a'],
    ['an empty tag', 'r.io/app:'],
    ['a tag with a slash', 'r.io/app:a/b'],
    ['a tag that starts with a dash', 'r.io/app:-a'],
    ['a tag of 129 characters', `r.io/app:${'a'.repeat(129)}`],
    ['two tags', 'r.io/app:a:b'],
    ['a digest of another algorithm', `r.io/app@md5:${'0'.repeat(32)}`],
    ['a digest with capital letters', `r.io/app@sha256:${hex.toUpperCase()}`],
    ['a digest that is short', `r.io/app@sha256:${hex.slice(1)}`],
    ['a digest of the other length', `r.io/app@sha512:${hex}`],
    ['two digests', `r.io/app@sha256:${hex}@sha256:${hex}`],
    ['the digest before the tag', `r.io/app@sha256:${hex}:v1`],
    ['port 0', 'r.io:0/app'],
    ['port 65536', 'r.io:65536/app'],
    ['a port with a zero in front', 'r.io:080/app'],
    ['a port that is no number', 'r.io:http/app'],
    ['a host with a label of 64', `${'a'.repeat(64)}.io/app`],
    ['a host that ends in a dot', 'r.io./app'],
    ['a host with an underscore', 'my_registry.io/app'],
    ['a short form of an IPv4 address', '127.1/app'],
    ['an IPv4 address in hexadecimal', '0x7f.0.0.1/app'],
    ['an IPv4 address out of range', '256.0.0.1/app'],
    ['a long form of an IPv6 address', '[0:0:0:0:0:0:0:1]/app'],
    ['an IPv6 address without brackets', '::1/app'],
    ['an IPv6 address with a zone', '[fe80::1%25eth0]/app'],
    ['brackets around a name', '[r.io]/app'],
    ['a user name', 'user@r.io/app'],
    ['a query', 'r.io/app?x'],
    ['a space', 'r.io/app '],
    ['a new line', 'r.io/app\n'],
    ['letters that are not ASCII', 'r.io/äpp'],
    ['a host that is not ASCII', 'régistry.io/app'],
    ['a name of 256 characters', `r.io/${'a'.repeat(251)}`],
    ['a million characters', 'a/'.repeat(500_000)],
  ])('refuses %s', (_, text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'OCI_REFERENCE' }) as Error);
  });

  it('takes a name of 255 characters', () => {
    expect(parseReference(`r.io/${'a'.repeat(250)}`).repository).toHaveLength(250);
  });

  it('keeps a message short, whatever it was given', () => {
    expect(() => parseReference(`\u001b[31m${'x'.repeat(1e6)}`)).toThrow(/^[ -~…]{1,400}$/);
  });

  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
  const host = fc.oneof(
    fc.tuple(label, fc.constantFrom('io', 'example.com', 'internal')).map((parts) => parts.join('.')),
    fc.constantFrom('localhost', '127.0.0.1', '[::1]', 'docker.io'),
  );
  const registry = fc
    .tuple(host, fc.option(fc.integer({ min: 1, max: 65535 }), { nil: undefined }))
    .map(([name, port]) => (port === undefined ? name : `${name}:${port}`));
  const path = fc.array(fc.stringMatching(/^[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5})?$/), {
    minLength: 2,
    maxLength: 4,
  });
  const reference = fc.record({
    registry,
    repository: path.map((parts) => parts.join('/')),
    tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/), { nil: undefined }),
    digest: fc.option(
      fc.stringMatching(/^[0-9a-f]{64}$/).map((text) => parseDigest(`sha256:${text}`)),
      { nil: undefined },
    ),
  });

  it('property: what is formatted parses to the same, in both spellings', () => {
    fc.assert(
      fc.property(reference, ({ tag, digest, ...rest }) => {
        const one = { ...rest, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
        expect(parseReference(formatReference(one))).toEqual(one);
        expect(parseReference(formatReference(one, { hub: 'index.docker.io' }))).toEqual(one);
      }),
    );
  });

  it('property: any text parses to what formats and parses again, or throws OciError', () => {
    const pieces = fc.array(
      fc.constantFrom('a', 'r.io', '/', ':', '@', '.', '[', ']', '-', '_', 'sha256:', hex, '1', ' ', 'Ä'),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          pieces.map((parts) => parts.join('')),
        ),
        (text) => {
          try {
            const one = parseReference(text);
            expect(parseReference(formatReference(one))).toEqual(one);
            expect(isRepository(one.repository) && (one.tag === undefined || isTag(one.tag))).toBe(true);
          } catch (error) {
            expect(error).toBeInstanceOf(OciError);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('formatReference() and repositoryOf()', () => {
  it('write Docker Hub as Docker does, or as go-containerregistry does', () => {
    const alpine = parseReference('alpine:3');
    expect(formatReference(alpine)).toBe('docker.io/library/alpine:3');
    expect(formatReference(alpine, { hub: 'index.docker.io' })).toBe('index.docker.io/library/alpine:3');
    expect(repositoryOf(alpine, { hub: 'index.docker.io' })).toBe('index.docker.io/library/alpine');
    expect(repositoryOf(parseReference('r.io/app:1'), { hub: 'index.docker.io' })).toBe('r.io/app');
  });
});

describe('withDefaultTag()', () => {
  it('adds latest where there is neither tag nor digest', () => {
    expect(withDefaultTag(parseReference('alpine')).tag).toBe('latest');
    expect(withDefaultTag(parseReference('alpine:3')).tag).toBe('3');
    expect(withDefaultTag(parseReference(`alpine@sha256:${hex}`)).tag).toBeUndefined();
  });
});

describe('parseRegistry()', () => {
  it('reads a host with or without a port', () => {
    expect(parseRegistry('INDEX.docker.io')).toBe('docker.io');
    expect(parseRegistry('r.io:5000')).toBe('r.io:5000');
  });
  it.each(['r.io/app', 'https://r.io', '', 'r.io:', 'user@r.io'])('refuses %j', (text) => {
    expect(() => parseRegistry(text)).toThrow(expect.objectContaining({ code: 'OCI_REFERENCE' }) as Error);
  });
});

describe('isDigest()', () => {
  it('knows sha256 and sha512 in one spelling', () => {
    expect([`sha256:${hex}`, `sha512:${hex}${hex}`].every(isDigest)).toBe(true);
    expect([`SHA256:${hex}`, `sha384:${hex}`, `sha256:${hex}\n`, hex, 'sha256:'].some(isDigest)).toBe(false);
  });
});
