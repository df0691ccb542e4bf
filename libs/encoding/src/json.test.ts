import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeUtf8, EncodingError } from './index.js';
import { canonicalizeJson, parseJson } from './json.js';

const jsonError = expect.objectContaining({ code: 'ENCODING_JSON' });

describe('parseJson()', () => {
  test('agrees with JSON.parse() on what JSON.stringify() writes', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(undefined, 1, '\t'), (text, space) => {
        const value: unknown = JSON.parse(text);
        const spaced = JSON.stringify(value, null, space);
        expect(JSON.stringify(parseJson(spaced))).toBe(JSON.stringify(JSON.parse(spaced)));
        expect(parseJson(encodeUtf8(spaced))).toEqual(parseJson(spaced));
      }),
    );
  });

  test('accepts no text that JSON.parse() refuses', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      '1',
      '-',
      '.',
      'e',
      '"a"',
      'null',
      ' ',
      '\u0001',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 8 }), (parts) => {
        const text = parts.join('');
        let ours: unknown;
        try {
          ours = parseJson(text);
        } catch (error) {
          expect(error).toBeInstanceOf(EncodingError);
          return;
        }
        expect(JSON.stringify(ours)).toBe(JSON.stringify(JSON.parse(text)));
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['every escape', '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9"', '"\\/\b\f\n\r\tAé'],
    ['an escape between text', '"a\\nb\\nc"', 'a\nb\nc'],
    ['a surrogate pair', '"\\ud83d\\ude00"', '\u{1f600}'],
    ['half a surrogate pair', '"\\ud83d"', '\ud83d'],
    ['text beyond ASCII', '"é\u2028"', 'é\u2028'],
    ['whitespace around', ' \t\r\n1 \t\r\n', 1],
    ['negative zero', '-0', -0],
    ['a fraction and exponent', '-1.5E+3', -1500],
    ['an underflow', '1e-999', 0],
  ])('reads %s', (_, text, value) => {
    expect(parseJson(text)).toBe(value);
  });

  test.each([
    ['nothing', ''],
    ['whitespace only', ' '],
    ['trailing text', '1 2'],
    ['a trailing comma in an array', '[1,]'],
    ['a trailing comma in an object', '{"a":1,}'],
    ['a missing comma', '[1 2]'],
    ['a missing colon', '{"a" 1}'],
    ['an unquoted name', '{a:1}'],
    ['single quotes', "'a'"],
    ['a comment', '/**/1'],
    ['an unfinished array', '[1'],
    ['an unfinished object', '{"a":1'],
    ['an unfinished string', '"a'],
    ['an unfinished escape', '"\\'],
    ['an unknown escape', '"\\x41"'],
    ['a short \\u escape', '"\\u12"'],
    ['a \\u escape with a sign', '"\\u+123"'],
    ['a control character in a string', '"\n"'],
    ['a leading zero', '01'],
    ['a leading plus', '+1'],
    ['a bare minus', '-'],
    ['a point without digits', '1.'],
    ['a point first', '.5'],
    ['an exponent without digits', '1e'],
    ['NaN', 'NaN'],
    ['Infinity', 'Infinity'],
    ['a number too large', '1e999'],
    ['hexadecimal', '0x10'],
    ['a capitalised literal', 'True'],
    ['a literal cut short', 'nul'],
    ['a literal run together', 'nullnull'],
    ['a byte order mark', '\ufeff1'],
    ['a no-break space', '\u00a01'],
    ['a duplicate name', '{"a":1,"a":1}'],
    ['a duplicate name spelled with an escape', '{"a":1,"\\u0061":1}'],
    ['a duplicate __proto__', '{"__proto__":1,"__proto__":1}'],
  ])('rejects %s', (_, text) => {
    expect(() => parseJson(text)).toThrow(jsonError);
  });

  test('rejects bytes that are not UTF-8', () => {
    expect(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(jsonError);
  });

  test('keeps __proto__ and friends as plain names', () => {
    const value = parseJson('{"__proto__":{"polluted":1},"constructor":2,"toString":3}') as Record<string, unknown>;
    expect(Object.keys(value)).toEqual(['__proto__', 'constructor', 'toString']);
    expect(value['polluted']).toBeUndefined();
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect('toString' in (parseJson('{}') as object)).toBe(false);
  });

  test('takes maxDepth levels and no more', () => {
    const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
    expect(() => parseJson(nested(65))).toThrow('more than 64 levels');
    expect(parseJson(nested(64))).toBeInstanceOf(Array);
    expect(() => parseJson('[[1]]', { maxDepth: 1 })).toThrow(jsonError);
    expect(parseJson('1', { maxDepth: 0 })).toBe(1);
    expect(() => parseJson('{"a":'.repeat(100_000))).toThrow(jsonError);
  });

  test('takes maxLength and no more', () => {
    expect(parseJson('[1]', { maxLength: 3 })).toEqual([1]);
    expect(() => parseJson('[1] ', { maxLength: 3 })).toThrow('length 4 is above 3');
  });

  test('bigIntegers keeps what a number would round, and only that', () => {
    const read = (text: string) => parseJson(text, { bigIntegers: true });
    expect(read('9007199254740991')).toBe(9007199254740991);
    expect(read('9007199254740992')).toBe(9007199254740992n);
    expect(read('-9007199254740993')).toBe(-9007199254740993n);
    expect(read('1e20')).toBe(1e20);
    expect(read('1'.repeat(400))).toBe(BigInt('1'.repeat(400)));
    expect(parseJson('9007199254740993')).toBe(9007199254740992);
    expect(() => parseJson('1'.repeat(400))).toThrow('too large');
    expect(() => read('1'.repeat(1025))).toThrow('number of 1025 characters');
  });

  test('errors name a place, never the text', () => {
    expect(() => parseJson('{"token": secret}')).toThrow('Cannot parse JSON: unexpected character at 10');
    expect(() => parseJson('{"token": ')).toThrow('Cannot parse JSON: text ends early');
  });
});

describe('canonicalizeJson()', () => {
  // RFC 8785 appendix B: IEEE 754 bits, and the text
  test.each([
    ['0000000000000000', '0'],
    ['8000000000000000', '0'],
    ['0000000000000001', '5e-324'],
    ['8000000000000001', '-5e-324'],
    ['7fefffffffffffff', '1.7976931348623157e+308'],
    ['ffefffffffffffff', '-1.7976931348623157e+308'],
    ['4340000000000000', '9007199254740992'],
    ['c340000000000000', '-9007199254740992'],
    ['4430000000000000', '295147905179352830000'],
    ['44b52d02c7e14af5', '9.999999999999997e+22'],
    ['44b52d02c7e14af6', '1e+23'],
    ['44b52d02c7e14af7', '1.0000000000000001e+23'],
    ['444b1ae4d6e2ef4e', '999999999999999700000'],
    ['444b1ae4d6e2ef4f', '999999999999999900000'],
    ['444b1ae4d6e2ef50', '1e+21'],
    ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
    ['3eb0c6f7a0b5ed8d', '0.000001'],
    ['41b3de4355555553', '333333333.3333332'],
    ['41b3de4355555554', '333333333.33333325'],
    ['41b3de4355555555', '333333333.3333333'],
    ['41b3de4355555556', '333333333.3333334'],
    ['41b3de4355555557', '333333333.33333343'],
    ['becbf647612f3696', '-0.0000033333333333333333'],
    ['43143ff3c1cb0959', '1424953923781206.2'],
  ])('RFC 8785 appendix B: %s is %s', (bits, text) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(`0x${bits}`));
    expect(canonicalizeJson(view.getFloat64(0))).toBe(text);
  });

  test('RFC 8785 §3.2.2: numbers, strings and literals', () => {
    const input = `{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\"\\/",
      "literals": [null, true, false]
    }`;
    expect(canonicalizeJson(parseJson(input))).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  test('RFC 8785 §3.2.3: members sort by UTF-16 code units', () => {
    const input = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    };
    expect(Object.values(JSON.parse(canonicalizeJson(input)) as object)).toEqual([
      'One', // an engine lists integer-like names first anyway; the text below shows the real order
      'Carriage Return',
      'Control',
      'Latin Small Letter O With Diaeresis',
      'Euro Sign',
      'Emoji: Grinning Face',
      'Hebrew Letter Dalet With Dagesh',
    ]);
    expect(canonicalizeJson(input).startsWith('{"\\r":"Carriage Return","1":"One",')).toBe(true);
  });

  test('is stable, and means the same', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const text = canonicalizeJson(value);
        const negativeZeroGone: unknown = JSON.parse(JSON.stringify(value));
        expect(JSON.parse(text)).toEqual(negativeZeroGone);
        expect(canonicalizeJson(parseJson(text))).toBe(text);
      }),
    );
  });

  test('prints bigints in full', () => {
    expect(canonicalizeJson({ n: 12345678901234567890n })).toBe('{"n":12345678901234567890}');
  });

  test.each([
    ['NaN', Number.NaN],
    ['Infinity', [Number.POSITIVE_INFINITY]],
    ['half a surrogate pair', '\ud800'],
    ['half a surrogate pair in a name', { '\udc00': 1 }],
    ['undefined', { a: undefined }],
    ['a function', () => 1],
    ['a Date', new Date(0)],
    ['bytes', Uint8Array.of(1)],
    ['a Map', new Map()],
    ['a hole in an array', [, 1]], // eslint-disable-line no-sparse-arrays
  ])('rejects %s', (_, value) => {
    expect(() => canonicalizeJson(value)).toThrow(jsonError);
  });

  test('rejects a value that contains itself', () => {
    const loop: unknown[] = [];
    loop.push(loop);
    expect(() => canonicalizeJson(loop)).toThrow('more than 64 levels');
  });
});
