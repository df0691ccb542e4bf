import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseChallenges } from './challenge.js';
import { OciError } from './index.js';
import { parseNextLink } from './link.js';

const read = (header: string | string[]) =>
  parseChallenges(header).map(({ scheme, parameters }) => ({ scheme, ...Object.fromEntries(parameters) }));

describe('parseChallenges()', () => {
  it.each<[string, string | string[], object[]]>([
    ['nothing', '', []],
    ['Basic', 'Basic realm="a registry"', [{ scheme: 'basic', realm: 'a registry' }]],
    [
      'Bearer as registries write it',
      'Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push"',
      [
        {
          scheme: 'bearer',
          realm: 'https://auth.example/token',
          service: 'r.example',
          scope: 'repository:a/b:pull,push',
        },
      ],
    ],
    [
      'spaces wherever they may be',
      'BEARER  Realm = "x" ,\tservice=y',
      [{ scheme: 'bearer', realm: 'x', service: 'y' }],
    ],
    ['escapes', String.raw`Basic realm="a \"b\" \\"`, [{ scheme: 'basic', realm: String.raw`a "b" \ `.trim() }]],
    ['two challenges', 'Negotiate, Basic realm="x"', [{ scheme: 'negotiate' }, { scheme: 'basic', realm: 'x' }]],
    [
      'two with parameters',
      'Bearer realm="x", error="y", Basic realm="z"',
      [
        { scheme: 'bearer', realm: 'x', error: 'y' },
        { scheme: 'basic', realm: 'z' },
      ],
    ],
    ['a token68', 'Negotiate YWJj==, Basic realm="x"', [{ scheme: 'negotiate' }, { scheme: 'basic', realm: 'x' }]],
    [
      'two fields',
      ['Bearer realm="x"', 'Basic realm="y"'],
      [
        { scheme: 'bearer', realm: 'x' },
        { scheme: 'basic', realm: 'y' },
      ],
    ],
    ['a comma in quotes', 'Bearer scope="a,b c",realm="x"', [{ scheme: 'bearer', scope: 'a,b c', realm: 'x' }]],
    ['empty elements', ', ,Basic realm="x",,', [{ scheme: 'basic', realm: 'x' }]],
  ])('reads %s', (_, header, expected) => {
    expect(read(header)).toEqual(expected);
  });

  it.each([
    ['a quotation that does not end', 'Bearer realm="x'],
    ['no value', 'Bearer a="b",realm='],
    ['a parameter twice', 'Bearer realm="x",realm="y"'],
    ['a parameter twice in other case', 'Bearer realm="x",REALM="y"'],
    ['a control character', 'Bearer realm="\u0001"'],
    ['text after a value', 'Bearer realm="x" y'],
    ['no scheme', '="x"'],
    ['more than 8 KiB', `Bearer realm="${'x'.repeat(9000)}"`],
    ['nine challenges', Array(9).fill('Basic realm="x"').join(', ')],
    ['seventeen parameters', `Bearer ${Array.from({ length: 17 }, (_, i) => `a${i}=b`).join(', ')}`],
  ])('refuses %s', (_, header) => {
    expect(() => parseChallenges(header)).toThrow(expect.objectContaining({ code: 'OCI_CHALLENGE' }) as Error);
  });

  const name = fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/);
  it('property: what is written is read', () => {
    const value = fc.stringMatching(/^[ -~]{0,20}$/);
    const one = fc.record({ scheme: name, parameters: fc.dictionary(name, value, { minKeys: 1, maxKeys: 5 }) });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 4 }), (challenges) => {
        const text = challenges.map(({ scheme, parameters }) => {
          const pairs = Object.entries(parameters).map(([key, text]) => `${key}="${text.replace(/["\\]/g, '\\$&')}"`);
          return `${scheme} ${pairs.join(',')}`;
        });
        expect(parseChallenges(text.join(', ')).map(({ parameters }) => Object.fromEntries(parameters))).toEqual(
          challenges.map(({ parameters }) => ({ ...parameters })),
        );
      }),
    );
  });

  it('property: any text is read or refused, in time', () => {
    const pieces = fc.array(fc.constantFrom('Bearer', ' ', ',', '=', '"', '\\', 'a', '\t', 'x'.repeat(500)), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          pieces.map((parts) => parts.join('')),
        ),
        (text) => {
          try {
            parseChallenges(text);
          } catch (error) {
            expect(error).toBeInstanceOf(OciError);
          }
        },
      ),
      { numRuns: 1000 },
    );
    const started = performance.now();
    for (const hostile of [
      ' '.repeat(8000),
      'a'.repeat(8000),
      `a ${'a='.repeat(4000)}`,
      `a ${' ,'.repeat(4000)}`,
      `a b="${'\\a'.repeat(4000)}`.slice(0, 8192),
    ]) {
      try {
        parseChallenges(hostile);
      } catch (error) {
        expect(error).toBeInstanceOf(OciError);
      }
    }
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

describe('parseNextLink()', () => {
  it.each<[string, string | string[] | undefined, string | undefined]>([
    ['nothing', undefined, undefined],
    ['the next page', '</v2/a/tags/list?n=1&last=b>; rel="next"', '/v2/a/tags/list?n=1&last=b'],
    ['without quotes', '<x>;rel=next', 'x'],
    ['among several relations', '<x>; rel="last NEXT"', 'x'],
    ['among several links', '<a>; rel="first", <b>; title="x, y"; rel="next"', 'b'],
    ['in another field', ['<a>; rel="first"', '<b>; rel="next"'], 'b'],
    ['only others', '<a>; rel="prev"', undefined],
    ['a relation that only looks alike', '<a>; rel="nextish"', undefined],
    ['a relation in another parameter', '<a>; title="; rel=next"', undefined],
  ])('reads %s', (_, header, expected) => {
    expect(parseNextLink(header)).toBe(expected);
  });

  it.each([
    ['no brackets', 'x; rel="next"'],
    ['two next pages', '<a>; rel="next", <b>; rel="next"'],
    ['a quotation that does not end', '<a>; rel="next'],
    ['more than 8 KiB', `<${'a'.repeat(9000)}>; rel="next"`],
    ['seventeen links', Array(17).fill('<a>; rel="x"').join(', ')],
  ])('refuses %s', (_, header) => {
    expect(() => parseNextLink(header)).toThrow(expect.objectContaining({ code: 'OCI_RESPONSE' }) as Error);
  });

  it('property: a link that is written is read; any text is read or refused, in time', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[!#-;=?-~]{1,30}$/), (target) => {
        expect(parseNextLink(`<${target}>; rel="next"`)).toBe(target);
      }),
    );
    const pieces = fc.array(fc.constantFrom('<', '>', ';', 'rel', '=', '"', 'next', ',', ' ', '\\', 'x'.repeat(300)), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          pieces.map((parts) => parts.join('')),
        ),
        (text) => {
          try {
            parseNextLink(text);
          } catch (error) {
            expect(error).toBeInstanceOf(OciError);
          }
        },
      ),
      { numRuns: 1000 },
    );
    const started = performance.now();
    for (const hostile of [
      `<a>${';a'.repeat(4000)}`,
      `<a>${' '.repeat(8000)}`,
      `<a>;rel="${'\\"'.repeat(4000)}`,
      ','.repeat(8000),
    ]) {
      try {
        parseNextLink(hostile);
      } catch (error) {
        expect(error).toBeInstanceOf(OciError);
      }
    }
    expect(performance.now() - started).toBeLessThan(1000);
  });
});
