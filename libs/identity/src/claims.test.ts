import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseJson } from '#libs/encoding';
import { claimText, encodeUri, isEmailAddress, parseMemberPath, requireText, valueAt } from './claims.js';
import { IdentityError, quote } from './errors.js';

const read = (json: string) => claimText(parseJson(json, { bigIntegers: true }));

describe('claimText()', () => {
  test.each([
    ['"x"', 'x'],
    ['12345678901', '12345678901'],
    ['9007199254740993', '9007199254740993'],
    ['-9007199254740993', '-9007199254740993'],
    ['1.0', '1'],
    ['1.4', '1.4'],
    ['1753000000.0', '1753000000'],
    ['1e21', '1000000000000000000000'],
    ['1e-7', '0.0000001'],
    ['-1.5e-9', '-0.0000000015'],
    ['true', 'true'],
    ['null', undefined],
    ['[1]', undefined],
    ['{}', undefined],
  ])('prints %s as %s', (json, text) => {
    expect(read(json)).toBe(text);
  });

  test('never prints an exponent', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const text = claimText(value) ?? '';
        expect(text).toMatch(/^-?\d+(\.\d+)?$/);
        expect(Number(text) === value).toBe(true);
      }),
    );
  });
});

describe('requireText()', () => {
  test.each(['""', 'null', 'true', '1.5', '[]', '{}'])('refuses %s', (json) => {
    const claims = parseJson(`{"a":${json}}`) as Record<string, never>;
    expect(() => requireText(claims, 'a')).toThrow(/Cannot read claim a: found .*, expected a non-empty string/);
  });

  test('does not see inherited names', () => {
    expect(() => requireText({}, 'constructor')).toThrow(/found nothing/);
  });
});

describe('parseMemberPath()', () => {
  test.each([
    ['$.a', ['a']],
    ['$.federated_claims.connector_id', ['federated_claims', 'connector_id']],
    [`$['a.b']["c"].d-e`, ['a.b', 'c', 'd-e']],
  ])('reads %s', (text, path) => {
    expect(parseMemberPath(text)).toEqual(path);
  });

  test.each([
    '',
    '$',
    'a.b',
    '$.',
    '$..a',
    '$.*',
    '$[0]',
    '$[*]',
    '$.a[?(@.b)]',
    '$.a b',
    "$['a",
    "$['']",
    '$.a.',
    '.a',
  ])('refuses %j', (text) => {
    expect(() => parseMemberPath(text)).toThrow(IdentityError);
  });

  test('leads through own members of objects only', () => {
    const claims = parseJson('{"a":{"b":"x"},"l":["y"],"s":"text"}') as Record<string, never>;
    expect(valueAt(claims, ['a', 'b'])).toBe('x');
    for (const path of [
      ['a', 'c'],
      ['l', '0'],
      ['l', 'length'],
      ['s', 'length'],
      ['a', '__proto__'],
      ['z', 'b'],
    ]) {
      expect(valueAt(claims, path)).toBeUndefined();
    }
  });
});

describe('isEmailAddress()', () => {
  test.each(['ann@example.com', 'a.b+c@x-y.example', 'me@localhost', `${'a'.repeat(64)}@example.com`])(
    'accepts %s',
    (text) => {
      expect(isEmailAddress(text)).toBe(true);
    },
  );

  test.each([
    '',
    'ann',
    '@example.com',
    'ann@',
    'ann@@example.com',
    '.ann@example.com',
    'ann.@example.com',
    'a..b@example.com',
    'ann@exa mple.com',
    'ann@-x.example',
    'ann@x-.example',
    'ann@example.com.',
    'änn@example.com',
    'ann@exämple.com',
    '"ann"@example.com',
    'Ann <ann@example.com>',
    'ann@example.com\n',
    'ann@example.com\0.evil',
    'ann@[127.0.0.1]',
    `${'a'.repeat(65)}@example.com`,
    `a@${'b.'.repeat(130)}com`,
  ])('refuses %j', (text) => {
    expect(isEmailAddress(text)).toBe(false);
  });

  test('takes linear time', () => {
    const start = performance.now();
    isEmailAddress(`${'a.'.repeat(120)}@`);
    isEmailAddress(`a@${'a-'.repeat(120)}`);
    expect(performance.now() - start).toBeLessThan(10);
  });
});

describe('encodeUri()', () => {
  test.each([
    [
      'https://github.com/o/r/.github/workflows/a.yml@refs/heads/main',
      'https://github.com/o/r/.github/workflows/a.yml@refs/heads/main',
    ],
    ['https://github.com/o/r/a b@ü', 'https://github.com/o/r/a%20b@%C3%BC'],
    ['https://github.com/%41', 'https://github.com/%41'],
    ['https://github.com/😀', 'https://github.com/%F0%9F%98%80'],
  ])('makes %s into %s', (text, uri) => {
    expect(encodeUri(text, 'x')).toBe(uri);
  });

  test.each(['https://x/%zz', 'https://x/a\nb', 'https://x/\u007f', 'https://x/\ud800'])('refuses %j', (text) => {
    expect(() => encodeUri(text, 'job_workflow_ref')).toThrow(/claim job_workflow_ref/);
  });

  test('gives printable ASCII or its own error', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        try {
          expect(encodeUri(text, 'x')).toMatch(/^[\x21-\x7e]*$/);
        } catch (error) {
          expect(error).toBeInstanceOf(IdentityError);
        }
      }),
    );
  });
});

describe('quote()', () => {
  test('is short and printable', () => {
    expect(quote(`a\u001b[31m\n${'b'.repeat(200)}`)).toBe(`"a?[31m?${'b'.repeat(73)}..."`);
    expect([undefined, null, 1n, [1, 2], {}].map(quote)).toEqual(['nothing', 'null', '1', 'a list of 2', 'an object']);
  });
});
