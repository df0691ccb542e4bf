import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type JsonValue, parseJson } from '#libs/encoding';
import { type CiMetadata, type CiProvider, ciProviderKind, createCiProvider } from './ci-provider.js';
import { ciProviders } from './ci-providers.js';
import { type Claims, goText } from './claims.js';
import { IdentityError } from './errors.js';
import type { Principal } from './kinds.js';

const read = (json: string): JsonValue => parseJson(json, { bigIntegers: true });
const issuer = (ciProvider: CiProvider) => ({
  issuerUrl: 'https://ci.example',
  wildcard: false,
  clientId: 'sigstore',
  type: 'ci-provider',
  ciProvider,
});
const principal = (provider: CiProvider, claims: Claims): Principal =>
  ciProviderKind.principal({ issuer: 'https://ci.example', subject: 'job-1', claims }, issuer(provider));
const of = (metadata: CiMetadata, claims: Claims): Principal => principal(createCiProvider('ours', metadata), claims);
const san = 'https://ci.example/{{ .job }}';

describe('a CI provider', () => {
  test('fills its templates in, and leaves out what is empty', () => {
    const found = of(
      {
        defaults: { host: 'ci.example', environment: '', visibility: 'private' },
        san: 'https://{{ .host }}/{{ .job }}',
        extensions: {
          buildTrigger: 'why',
          runnerEnvironment: ' ',
          deploymentEnvironment: 'environment',
          sourceRepositoryVisibilityAtSigning: 'visibility',
        },
      },
      { job: 'a b/ü', why: 'püsh', visibility: 'public', extra: 'x' },
    );
    expect(found).toEqual({
      issuer: 'https://ci.example',
      subject: 'job-1',
      challenge: 'job-1',
      challengeClaim: 'sub',
      // The SAN is ASCII; extensions are as the claims say.
      san: { kind: 'uri', value: 'https://ci.example/a%20b/%C3%BC' },
      extensions: { buildTrigger: 'püsh', sourceRepositoryVisibilityAtSigning: 'public' },
    });
  });

  test('lets a claim win over its default, and sees nothing inherited', () => {
    const defaults = { host: 'ci.example' };
    expect(of({ defaults, san: 'https://{{ .host }}' }, { host: 'mine.example' }).san.value).toBe(
      'https://mine.example',
    );
    expect(() => of({ san: 'https://{{ .toString }}' }, {})).toThrow('Cannot read claim toString: found nothing');
  });

  test.each<[string, string, Claims, RegExp]>([
    ['a missing name', san, {}, /claim job: found nothing/],
    [
      'a name that is missing through index',
      'https://ci.example/{{ index . "a/b" }}',
      {},
      /claim a\/b: found nothing, expected a non-empty text/,
    ],
    ['an empty name', san, { job: '' }, /claim job: found "", expected a non-empty text/],
    ['null', san, { job: null }, /claim job: found null, expected a text/],
    ['a list', san, { job: ['a'] }, /claim job: found a list of 1/],
    ['an object', san, { job: { a: 'b' } }, /claim job: found an object/],
    [
      'two names of which neither is there',
      'https://ci.example/{{ or (index . "a") (index . "b") }}',
      {},
      /claim a: found nothing/,
    ],
    ['no scheme', '{{ .job }}', { job: 'ci.example/x' }, /gives "ci\.example\/x", expected a URI with its scheme/],
    ['a path', 'job', { job: '/x' }, /expected a URI/],
    ['a control character', san, { job: 'a\nb' }, /Cannot make a URI of claim job/],
    ['a stray percent sign', san, { job: '50%' }, /Cannot make a URI/],
  ])('refuses %s in the identity', (_name, template, claims, message) => {
    expect(() => of({ san: template }, claims)).toThrow(message);
    expect(() => of({ san: template }, claims)).toThrow(expect.objectContaining({ code: 'IDENTITY_CLAIM' }));
  });

  test('takes an empty part of the identity where a default says that it may be', () => {
    const metadata = { defaults: { suffix: '' }, san: `${san}{{ .suffix }}` };
    expect(of(metadata, { job: 'a' }).san.value).toBe('https://ci.example/a');
    expect(of(metadata, { job: 'a', suffix: '' }).san.value).toBe('https://ci.example/a');
  });

  test('needs a name only where a template comes to it', () => {
    const metadata = { san, extensions: { buildTrigger: '{{ if index . "tag" }}{{ .tag }}@{{ .by }}{{ end }}' } };
    expect(of(metadata, { job: 'a' }).extensions).toEqual({});
    expect(of(metadata, { job: 'a', tag: 'v1', by: 'ann' }).extensions.buildTrigger).toBe('v1@ann');
    expect(() => of(metadata, { job: 'a', tag: 'v1' })).toThrow('Cannot read claim by: found nothing');
  });
});

// fulcio#2406: a large number came out as 1.2e+09, and the certificate named nobody.
describe('fulcio#2406: numbers have all their digits', () => {
  test.each([
    ['12345678901', '12345678901'],
    ['9007199254740993', '9007199254740993'],
    ['-9007199254740993', '-9007199254740993'],
    ['1234567890', '1234567890'],
    ['1.0', '1'],
    ['1.4', '1.4'],
    ['1753000000.0', '1753000000'],
    ['1e21', '1000000000000000000000'],
    ['0.0000001', '0.0000001'],
    ['0', '0'],
    ['true', 'true'],
    ['false', 'false'],
    ['null', '<nil>'],
    ['[]', '[]'],
    ['["a","b"]', '[a b]'],
    ['[12345678901,["x",null]]', '[12345678901 [x <nil>]]'],
    ['{}', 'map[]'],
    ['{"b":1.5,"a":["x"],"c":{"d":9007199254740993}}', 'map[a:[x] b:1.5 c:map[d:9007199254740993]]'],
    ['"a b"', 'a b'],
  ])('%s is %s in an extension', (json, text) => {
    const { extensions } = of(
      { san, extensions: { buildTrigger: 'n', runnerEnvironment: '<{{ .n }}>' } },
      {
        job: 'a',
        n: read(json),
      },
    );
    expect(extensions).toEqual({ buildTrigger: text, runnerEnvironment: `<${text}>` });
  });

  test.each(['12345678901', '9007199254740993'])('%s is itself in the identity', (digits) => {
    expect(of({ san }, { job: read(digits) }).san.value).toBe(`https://ci.example/${digits}`);
  });

  test('whole numbers of any size', () => {
    fc.assert(
      fc.property(fc.bigInt(), (n) => {
        expect(goText(read(n.toString()))).toBe(n.toString());
      }),
    );
  });

  test('any claim has a text', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        expect(typeof goText(read(json))).toBe('string');
      }),
    );
  });
});

describe('createCiProvider()', () => {
  test.each<[string, CiMetadata, RegExp]>([
    ['a blank SAN', { san: ' \n' }, /CI provider "ours": the template of its subject alternative name is blank/],
    [
      'a template that does not parse',
      { san, extensions: { buildTrigger: '{{ range . }}' } },
      /range is not supported/,
    ],
    ['a default that nothing reads', { san, defaults: { jbo: 'x' } }, /no template reads its default value "jbo"/],
  ])('refuses %s', (_name, metadata, message) => {
    expect(() => createCiProvider('ours', metadata)).toThrow(message);
    expect(() => createCiProvider('ours', metadata)).toThrow(expect.objectContaining({ code: 'IDENTITY_CONFIG' }));
  });
});

describe('claims()', () => {
  test('names what templates read, by whether they can do without', () => {
    const provider = createCiProvider('ours', {
      defaults: { url: 'https://ci.example', b: '' },
      san: '{{ .url }}/{{ .a }}/{{ index . "c/d" }}/{{ .sub }}',
      extensions: {
        buildTrigger: 'e',
        runnerEnvironment: '{{ if .f }}{{ .g }}{{ end }}{{ index . "h" }}{{ .iss }}{{ .aud }}{{ .exp }}',
        buildConfigUri: 'b',
        buildSignerUri: '{{ index . "a" }}',
      },
    });
    expect(ciProviderKind.claims(issuer(provider))).toEqual({
      required: ['a', 'c/d', 'e', 'f'],
      optional: ['url', 'g', 'h', 'b'],
    });
  });

  test.each(Object.entries(ciProviders))(
    'of %s are those that it cannot do without, and those it reads',
    (_name, provider) => {
      const { required, optional } = ciProviderKind.claims(issuer(provider));
      const standard = { iss: 'https://ci.example', sub: 'https://ci.example/job/a/' };
      const claims = Object.fromEntries(required.map((name) => [name, `${name}-1`]));
      expect(() => principal(provider, { ...standard, ...claims })).not.toThrow();
      for (const name of required) {
        const { [name]: _left, ...rest } = claims;
        expect(() => principal(provider, { ...standard, ...rest })).toThrow(`Cannot read claim ${name}: found nothing`);
      }
      const seen = new Set<string>();
      const all: Claims = {
        ...standard,
        ...claims,
        ...Object.fromEntries(optional.map((name) => [name, 'https://x.example'])),
      };
      const watched = new Proxy(all, {
        getOwnPropertyDescriptor: (target, name) => {
          if (typeof name === 'string') seen.add(name);
          return Reflect.getOwnPropertyDescriptor(target, name);
        },
      });
      principal(provider, watched);
      expect([...seen].filter((name) => !(name in standard)).sort()).toEqual([...required, ...optional].sort());
    },
  );

  test('an error is ours whatever the claims are', () => {
    const value = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), fc.constant<JsonValue>([]));
    const names = Object.values(ciProviders).flatMap((provider) => {
      const { required, optional } = ciProviderKind.claims(issuer(provider));
      return [...required, ...optional, 'sub', 'iss'];
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(ciProviders)),
        fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 30 }),
        (provider, claims) => {
          try {
            expect(principal(provider, claims).san.value).toMatch(/^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+$/);
          } catch (error) {
            expect(error).toBeInstanceOf(IdentityError);
          }
        },
      ),
    );
  });
});
