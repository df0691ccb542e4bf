import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  encodeBase64,
  encodeBase64Url,
  encodeHex,
  encodePem,
  encodeUtf8,
  EncodingError,
  parseAnyBase64,
  parseBase64,
  parseBase64Url,
  parseHex,
  parsePem,
  parseUtf8,
} from './index.js';

const anyBytes = () => fc.uint8Array({ maxLength: 200 });
const anyText = () => fc.oneof(fc.string({ maxLength: 40 }), fc.string({ unit: 'binary', maxLength: 40 }));

/** Any text: a result, or our own error with this code. */
function neverSurprises(parse: (text: string) => unknown, code: string): void {
  fc.assert(
    fc.property(anyText(), (text) => {
      try {
        parse(text);
      } catch (error) {
        expect(error).toBeInstanceOf(EncodingError);
        expect((error as EncodingError).code).toBe(code);
      }
    }),
  );
}

describe('base64', () => {
  // RFC 4648 §10
  test.each([
    ['', ''],
    ['f', 'Zg=='],
    ['fo', 'Zm8='],
    ['foo', 'Zm9v'],
    ['foob', 'Zm9vYg=='],
    ['fooba', 'Zm9vYmE='],
    ['foobar', 'Zm9vYmFy'],
  ])('RFC 4648 §10: %j is %j', (text, encoded) => {
    const bytes = encodeUtf8(text);
    const bare = encoded.replaceAll('=', '');
    expect(encodeBase64(bytes)).toBe(encoded);
    expect(encodeBase64Url(bytes)).toBe(bare);
    expect(parseBase64(encoded)).toEqual(bytes);
    expect(parseBase64Url(bare)).toEqual(bytes);
    expect(parseAnyBase64(encoded)).toEqual(bytes);
    expect(parseAnyBase64(bare)).toEqual(bytes);
  });

  test('encoders agree with another implementation and parsers invert them', () => {
    fc.assert(
      fc.property(anyBytes(), (bytes) => {
        const standard = encodeBase64(bytes);
        const url = encodeBase64Url(bytes);
        expect(standard).toBe(Buffer.from(bytes).toString('base64'));
        expect(url).toBe(Buffer.from(bytes).toString('base64url'));
        expect(parseBase64(standard)).toEqual(bytes);
        expect(parseBase64Url(url)).toEqual(bytes);
        const padding = standard.slice(url.length);
        for (const text of [standard, url, url + padding]) expect(parseAnyBase64(text)).toEqual(bytes);
      }),
    );
  });

  test.each([
    ['a foreign character', 'Zm9*'],
    ['a foreign character in the last group', 'Z*=='],
    ['a character beyond ASCII', 'Zm9é'],
    ['a character whose low byte is in the alphabet', 'Zm9\u0141'],
    ['the URL-safe alphabet', '-_-_'],
    ['missing padding', 'Zg'],
    ['too little padding', 'Zg='],
    ['too much padding', 'Zm9v===='],
    ['three padding characters', 'Z==='],
    ['padding only', '===='],
    ['padding inside', 'Zg==Zg=='],
    ['unused bits set in one byte', 'Zh=='],
    ['unused bits set in two bytes', 'Zm9='],
    ['whitespace inside', 'Zm 9vYmFy'],
    ['a line feed at the end', 'Zm9v\n'],
    ['whitespace that completes a group', 'Zm9vYg\r\n'],
    ['one character too many', 'Zm9vY'],
  ])('parseBase64() rejects %s', (_, text) => {
    expect(() => parseBase64(text)).toThrow(expect.objectContaining({ code: 'ENCODING_BASE64' }));
  });

  test.each([
    ['padding', 'Zg=='],
    ['the standard alphabet', '+/+/'],
    ['unused bits', 'Zh'],
    ['a lone last character', 'Zm9vY'],
    ['whitespace', 'Zm9v '],
  ])('parseBase64Url() rejects %s', (_, text) => {
    expect(() => parseBase64Url(text)).toThrow(expect.objectContaining({ code: 'ENCODING_BASE64' }));
  });

  test.each([
    ['both alphabets in one text', '+_+_'],
    ['incomplete padding', 'Zg='],
    ['padding after whole groups', 'Zm9v='],
    ['unused bits', 'Zh'],
    ['whitespace', 'Zg ='],
    ['a foreign character', 'Zm9v!'],
  ])('parseAnyBase64() rejects %s', (_, text) => {
    expect(() => parseAnyBase64(text)).toThrow(expect.objectContaining({ code: 'ENCODING_BASE64' }));
  });

  test('one spelling: what parseBase64() accepts encodes back to itself', () => {
    fc.assert(
      fc.property(fc.base64String({ maxLength: 12 }), (text) => {
        let bytes: Uint8Array;
        try {
          bytes = parseBase64(text);
        } catch {
          return;
        }
        expect(encodeBase64(bytes)).toBe(text);
      }),
    );
  });

  test('any text returns or throws ENCODING_BASE64', () => {
    for (const parse of [parseBase64, parseBase64Url, parseAnyBase64]) neverSurprises(parse, 'ENCODING_BASE64');
  });
});

describe('hex', () => {
  test('round trip, in agreement with another implementation', () => {
    fc.assert(
      fc.property(anyBytes(), (bytes) => {
        const text = encodeHex(bytes);
        expect(text).toBe(Buffer.from(bytes).toString('hex'));
        expect(parseHex(text)).toEqual(bytes);
        expect(parseHex(text.toUpperCase())).toEqual(bytes);
      }),
    );
  });

  test.each([
    ['an odd number of digits', 'abc'],
    ['a foreign character', '0g'],
    ['a prefix', '0x00'],
    ['a separator', '00:11a'],
    ['a character beyond ASCII', '0\u0130'],
  ])('parseHex() rejects %s', (_, text) => {
    expect(() => parseHex(text)).toThrow(expect.objectContaining({ code: 'ENCODING_HEX' }));
  });

  test('any text returns or throws ENCODING_HEX', () => {
    neverSurprises(parseHex, 'ENCODING_HEX');
  });
});

describe('UTF-8', () => {
  test('round trip', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(parseUtf8(encodeUtf8(text))).toBe(text);
      }),
    );
  });

  test('a byte order mark is kept', () => {
    expect(parseUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe('\ufeffa');
  });

  test.each([
    ['a continuation byte alone', [0x80]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['an encoded surrogate', [0xed, 0xa0, 0x80]],
    ['a code point above U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['a sequence cut short', [0xe2, 0x82]],
  ])('parseUtf8() rejects %s', (_, bytes) => {
    expect(() => parseUtf8(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ code: 'ENCODING_UTF8' }));
  });

  test('encodeUtf8() rejects an unpaired surrogate instead of writing U+FFFD', () => {
    for (const text of ['\ud800', 'a\udc00b', '\udc00\ud800']) {
      expect(() => encodeUtf8(text)).toThrow(expect.objectContaining({ code: 'ENCODING_UTF8' }));
    }
    expect(encodeUtf8('\ud83d\ude00')).toEqual(Uint8Array.of(0xf0, 0x9f, 0x98, 0x80));
  });
});

describe('PEM', () => {
  const block = '-----BEGIN X-----\nAQID\n-----END X-----\n';

  test('encodePem() wraps at 64 columns and ends in a line feed', () => {
    expect(encodePem('X', Uint8Array.of(1, 2, 3))).toBe(block);
    const lines = encodePem('CERTIFICATE', new Uint8Array(100)).split('\n');
    expect(lines.map((line) => line.length)).toEqual([27, 64, 64, 8, 25, 0]);
  });

  test('round trip of several blocks, also with CR LF and blank lines between', () => {
    const nonEmpty = fc.uint8Array({ minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(fc.array(nonEmpty, { minLength: 1, maxLength: 4 }), (ders) => {
        const expected = ders.map((der) => ({ label: 'PUBLIC KEY', der }));
        const text = ders.map((der) => encodePem('PUBLIC KEY', der)).join('');
        expect(parsePem(text)).toEqual(expected);
        expect(parsePem(`\n${ders.map((der) => encodePem('PUBLIC KEY', der)).join(' \n\n')}`)).toEqual(expected);
        expect(parsePem(text.replaceAll('\n', '\r\n'))).toEqual(expected);
        expect(parsePem(text.trimEnd())).toEqual(expected);
      }),
    );
  });

  test.each([
    ['nothing', ''],
    ['blank lines only', '\n\n'],
    ['text before a block', `subject=x\n${block}`],
    ['text after a block', `${block}trailing`],
    ['an unfinished block', '-----BEGIN X-----\nAQID\n'],
    ['another label at the end', '-----BEGIN X-----\nAQID\n-----END Y-----\n'],
    ['a block inside a block', `-----BEGIN X-----\n${block}`],
    ['an end without a beginning', '-----END X-----\n'],
    ['an empty block', '-----BEGIN X-----\n-----END X-----\n'],
    ['a blank line inside', '-----BEGIN X-----\nAQID\n\nAQID\n-----END X-----\n'],
    ['an indented line', '-----BEGIN X-----\n AQID\n-----END X-----\n'],
    ['headers', '-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END X-----\n'],
    ['missing padding', '-----BEGIN X-----\nAQ\n-----END X-----\n'],
    ['a lower-case label', '-----BEGIN x-----\nAQID\n-----END x-----\n'],
    ['five dashes too few', '----BEGIN X----\nAQID\n----END X----\n'],
  ])('parsePem() rejects %s', (_, text) => {
    expect(() => parsePem(text)).toThrow(expect.objectContaining({ code: 'ENCODING_PEM' }));
  });

  test('any text returns or throws ENCODING_PEM', () => {
    neverSurprises(parsePem, 'ENCODING_PEM');
    neverSurprises((text) => parsePem(`-----BEGIN X-----\n${text}\n-----END X-----\n`), 'ENCODING_PEM');
  });
});
