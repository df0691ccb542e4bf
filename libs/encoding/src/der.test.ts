import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  concatBytes,
  derBitString,
  derBoolean,
  derChildren,
  derConstructed,
  derElement,
  derExplicit,
  derGeneralizedTime,
  derIa5String,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derPrintableString,
  DerReader,
  derSequence,
  derSet,
  derSetOf,
  derTag,
  derTime,
  derUtcTime,
  derUtf8String,
  encodeHex,
  encodeUtf8,
  EncodingError,
  parseDer,
  parseHex,
  readBits,
  readBitString,
  readBoolean,
  readInteger,
  readNull,
  readOctetString,
  readOid,
  readString,
  readTime,
} from './index.js';

const parse = (hex: string) => parseDer(parseHex(hex.replaceAll(' ', '')));
const ascii = (tag: number, text: string) => parseDer(derElement(tag, encodeUtf8(text)));
const derError = expect.objectContaining({ code: 'ENCODING_DER' });

describe('lengths', () => {
  test.each([
    [0, '0400'],
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [65535, '0482ffff'],
    [65536, '0483010000'],
    [0x1000000, '048401000000'],
  ])('%i bytes begin %s', (length, head) => {
    const der = derOctetString(new Uint8Array(length));
    expect(encodeHex(der.subarray(0, head.length / 2))).toBe(head);
    expect(parseDer(der).contents.length).toBe(length);
  });

  test.each([
    ['a length in two bytes that fits one', '04 81 01 00'],
    ['a length of 127 in the long form', `04 81 7f ${'00'.repeat(127)}`],
    ['a long length with a leading zero', `04 82 00 80 ${'00'.repeat(128)}`],
    ['an indefinite length', '30 80 00 00'],
    ['the reserved length FF', '04 ff'],
    ['a length of five bytes', '04 85 01 00 00 00 00'],
    ['trailing bytes', '05 00 00'],
    ['contents cut short', '04 02 00'],
    ['an inner element that is longer than the outer one', '30 02 04 01'],
    ['a tag alone', '04'],
    ['nothing', ''],
    ['a long length cut short', '04 82 01'],
    ['a tag number above 30', '1f 1f 00'],
    ['a long tag inside', '30 03 bf 81 00'],
    ['end-of-contents as an element', '30 02 00 00'],
    ['a constructed OCTET STRING', '24 03 04 01 00'],
    ['a constructed UTF8String inside', '30 04 2c 02 0c 00'],
    ['a primitive SEQUENCE', '10 00'],
    ['a primitive SET inside', '30 02 11 00'],
    ['a constructed context tag that holds no element', 'a0 01 05'],
  ])('parseDer() rejects %s', (_, hex) => {
    expect(() => parse(hex)).toThrow(derError);
  });

  test('parseDer() takes 32 levels and no more', () => {
    const nested = (levels: number) => {
      let der = new Uint8Array();
      for (let i = 0; i < levels; i++) der = derSequence(der) as Uint8Array<ArrayBuffer>;
      return der;
    };
    expect(parseDer(nested(32)).tag).toBe(derTag.sequence);
    expect(() => parseDer(nested(33))).toThrow('more than 32 levels');
    expect(() => parseDer(nested(20_000))).toThrow(derError);
  });
});

describe('BOOLEAN', () => {
  test('round trip', () => {
    for (const value of [true, false]) expect(readBoolean(parseDer(derBoolean(value)))).toBe(value);
  });

  test.each(['01 01 01', '01 00', '01 02 ff ff'])('readBoolean() rejects %s', (hex) => {
    expect(() => readBoolean(parse(hex))).toThrow(derError);
  });
});

describe('INTEGER', () => {
  test.each([
    [0n, '020100'],
    [1n, '020101'],
    [127n, '02017f'],
    [128n, '02020080'],
    [255n, '020200ff'],
    [256n, '02020100'],
    [-1n, '0201ff'],
    [-128n, '020180'],
    [-129n, '0202ff7f'],
    [-256n, '0202ff00'],
    [32767n, '02027fff'],
    [32768n, '0203008000'],
    [-32768n, '02028000'],
    [2n ** 47n, '020700800000000000'],
    [2n ** 63n, '0209008000000000000000'],
    [2n ** 64n, '0209010000000000000000'],
    [-(2n ** 63n), '02088000000000000000'],
  ])('%i is %s', (value, hex) => {
    expect(encodeHex(derInteger(value))).toBe(hex);
    expect(readInteger(parse(hex))).toBe(value);
  });

  test('round trip of any bigint', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 300n), max: 2n ** 300n }), (value) => {
        expect(readInteger(parseDer(derInteger(value)))).toBe(value);
      }),
    );
  });

  test('bytes are an unsigned magnitude', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => {
        const value = BigInt(`0x0${encodeHex(bytes)}`);
        expect(derInteger(bytes)).toEqual(derInteger(value));
      }),
    );
    expect(encodeHex(derInteger(Uint8Array.of(0, 0, 0x80)))).toBe('02020080');
    expect(encodeHex(derInteger(new Uint8Array()))).toBe('020100');
  });

  test.each([
    ['no contents', '02 00'],
    ['a leading 00 that is not needed', '02 02 00 7f'],
    ['a leading FF that is not needed', '02 02 ff 80'],
    ['another type', '04 01 00'],
  ])('readInteger() rejects %s', (_, hex) => {
    expect(() => readInteger(parse(hex))).toThrow(derError);
  });

  test('readInteger() reads ENUMERATED too', () => {
    expect(readInteger(parse('0a 01 05'))).toBe(5n);
  });
});

describe('OBJECT IDENTIFIER', () => {
  test.each([
    ['2.999.3', '0603883703'],
    ['1.3.6.1.4.1.57264.1.8', '060a2b0601040183bf300108'],
    ['1.2.840.113549.1.1.11', '06092a864886f70d01010b'],
    ['2.16.840.1.101.3.4.2.1', '0609608648016503040201'],
    ['0.0', '060100'],
    ['0.39', '060127'],
    ['1.39', '06014f'],
    ['2.0', '060150'],
    ['2.47', '06017f'],
    ['2.48', '06028100'],
    ['2.25.329800735698586629295641978511506172918', '061569' + '83f09da7ebcfdee0c7a1a7b2c0948cc8f9d776'],
  ])('%s is %s', (dotted, hex) => {
    expect(readOid(parseDer(derOid(dotted)))).toBe(dotted);
    if (!dotted.startsWith('2.25.')) expect(encodeHex(derOid(dotted))).toBe(hex);
  });

  test('round trip, with arcs beyond 64 bits', () => {
    const arcs = fc.array(fc.bigInt({ min: 0n, max: 2n ** 70n }), { maxLength: 8 });
    const first = fc.oneof(
      fc.tuple(fc.constantFrom(0n, 1n), fc.bigInt({ min: 0n, max: 39n })),
      fc.tuple(fc.constant(2n), fc.bigInt({ min: 0n, max: 2n ** 70n })),
    );
    fc.assert(
      fc.property(first, arcs, (head, tail) => {
        const dotted = [...head, ...tail].join('.');
        expect(readOid(parseDer(derOid(dotted)))).toBe(dotted);
      }),
    );
  });

  test.each([
    ['no contents', '06 00'],
    ['an arc with a leading 80', '06 03 2a 80 01'],
    ['a first arc with a leading 80', '06 02 80 01'],
    ['an arc that does not end', '06 02 2a 86'],
    ['129 bytes', `06 81 81 ${'01'.repeat(129)}`],
  ])('readOid() rejects %s', (_, hex) => {
    expect(() => readOid(parse(hex))).toThrow(derError);
  });

  test.each(['', '1', '3.1', '0.40', '1.40', '1.400', '1.2.', '.1.2', '1..2', '1.02', '1.-2', '1.2a', ' 1.2', '1.2\n'])(
    'derOid() rejects %j',
    (dotted) => {
      expect(() => derOid(dotted)).toThrow(derError);
    },
  );

  test('derOid() rejects more than 128 bytes, and long text before it is split', () => {
    expect(readOid(parseDer(derOid('1.2' + '.1'.repeat(127))))).toBe('1.2' + '.1'.repeat(127));
    expect(() => derOid('1.2' + '.1'.repeat(128))).toThrow('129 bytes');
    expect(() => derOid('1' + '.1'.repeat(1_000_000))).toThrow(derError);
  });
});

describe('BIT STRING', () => {
  test('round trip, with unused bits', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 20 }),
        fc.integer({ min: 0, max: 7 }),
        (bytes, unusedBits) => {
          expect(readBitString(parseDer(derBitString(bytes)))).toEqual(bytes);
          const cut = Uint8Array.from(bytes);
          cut[cut.length - 1] = (cut.at(-1) as number) & (0xff << unusedBits);
          expect(readBits(parseDer(derBitString(cut, unusedBits)))).toEqual({ bytes: cut, unusedBits });
        },
      ),
    );
    expect(readBitString(parseDer(derBitString(new Uint8Array())))).toEqual(new Uint8Array());
  });

  test.each([
    ['no contents', '03 00'],
    ['eight unused bits', '03 02 08 00'],
    ['unused bits of no byte', '03 01 01'],
    ['unused bits that are set', '03 02 01 01'],
  ])('readBits() rejects %s', (_, hex) => {
    expect(() => readBits(parse(hex))).toThrow(derError);
  });

  test('readBitString() rejects unused bits', () => {
    expect(() => readBitString(parse('03 02 01 02'))).toThrow('1 unused bits');
  });

  test('derBitString() rejects unused bits that are set or absent', () => {
    expect(() => derBitString(Uint8Array.of(1), 1)).toThrow(derError);
    expect(() => derBitString(new Uint8Array(), 1)).toThrow(derError);
    expect(() => derBitString(Uint8Array.of(0), 8)).toThrow(derError);
  });
});

describe('strings', () => {
  test('round trip of each type written', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (text) => {
        expect(readString(parseDer(derUtf8String(text)))).toBe(text);
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme-ascii', maxLength: 20 }), (text) => {
        expect(readString(parseDer(derIa5String(text)))).toBe(text);
      }),
    );
    const printable = "Aa0 '()+,-./:=?";
    expect(readString(parseDer(derPrintableString(printable)))).toBe(printable);
  });

  test.each([
    ['UTF8String', '0c 02 c3 a9', 'é'],
    ['TeletexString', '14 01 e9', 'é'],
    ['BMPString', '1e 02 00 e9', 'é'],
    ['NumericString', '12 02 31 20', '1 '],
    ['VisibleString', '1a 01 7e', '~'],
  ])('readString() reads %s', (_, hex, text) => {
    expect(readString(parse(hex))).toBe(text);
  });

  test.each([
    ['UTF8String that is not UTF-8', '0c 01 e9'],
    ['PrintableString with @', '13 01 40'],
    ['IA5String beyond ASCII', '16 01 e9'],
    ['NumericString with a letter', '12 01 41'],
    ['VisibleString with a control character', '1a 01 0a'],
    ['BMPString of odd length', '1e 01 00'],
    ['BMPString with a surrogate', '1e 02 d8 00'],
    ['OCTET STRING', '04 01 41'],
  ])('readString() rejects %s', (_, hex) => {
    expect(() => readString(parse(hex))).toThrow(derError);
  });

  test('writers reject characters outside the set', () => {
    expect(() => derIa5String('é')).toThrow(derError);
    expect(() => derPrintableString('a@b')).toThrow(derError);
    expect(() => derUtf8String('\ud800')).toThrow(EncodingError);
  });
});

describe('times', () => {
  const seconds = (min: string, max: string) =>
    fc.date({ min: new Date(min), max: new Date(max), noInvalidDate: true });

  test.each([
    [derUtcTime, '1950-01-01T00:00:00Z', '500101000000Z'],
    [derUtcTime, '2049-12-31T23:59:59Z', '491231235959Z'],
    [derTime, '2049-12-31T23:59:59.999Z', '491231235959Z'],
    [derTime, '2050-01-01T00:00:00Z', '20500101000000Z'],
    [derTime, '1949-12-31T23:59:59Z', '19491231235959Z'],
    [derGeneralizedTime, '2025-06-12T20:22:00.999Z', '20250612202200Z'],
    [derGeneralizedTime, '0001-02-03T04:05:06Z', '00010203040506Z'],
  ])('%s of %s is %s', (write, date, text) => {
    const element = parseDer(write(new Date(date)));
    expect(new TextDecoder().decode(element.contents)).toBe(text);
    expect(readTime(element).getTime()).toBe(Math.floor(Date.parse(date) / 1000) * 1000);
  });

  test('round trip, cut to the second', () => {
    fc.assert(
      fc.property(seconds('0000-01-01T00:00:00Z', '9999-12-31T23:59:59Z'), (date) => {
        const cut = Math.floor(date.getTime() / 1000) * 1000;
        for (const write of [derTime, derGeneralizedTime]) {
          expect(readTime(parseDer(write(date))).getTime()).toBe(cut);
        }
      }),
    );
  });

  test.each([
    ['20250612202200.5Z', '2025-06-12T20:22:00.500Z'],
    ['20250612202200.123Z', '2025-06-12T20:22:00.123Z'],
    ['20250612202200.123456789Z', '2025-06-12T20:22:00.123Z'],
    ['20250612202200.001Z', '2025-06-12T20:22:00.001Z'],
    ['20240229000000Z', '2024-02-29T00:00:00Z'],
    ['99991231235959Z', '9999-12-31T23:59:59Z'],
  ])('readTime() reads GeneralizedTime %s', (text, expected) => {
    expect(readTime(ascii(derTag.generalizedTime, text))).toEqual(new Date(expected));
  });

  test.each([
    [derTag.generalizedTime, '20250612202200'],
    [derTag.generalizedTime, '202506122022Z'],
    [derTag.generalizedTime, '20250612202200+0000'],
    [derTag.generalizedTime, '20250612202200.Z'],
    [derTag.generalizedTime, '20250612202200.000Z'],
    [derTag.generalizedTime, '20250612202200.50Z'],
    [derTag.generalizedTime, '20250612202200,5Z'],
    [derTag.generalizedTime, '20250229000000Z'],
    [derTag.generalizedTime, '20250631000000Z'],
    [derTag.generalizedTime, '20251301000000Z'],
    [derTag.generalizedTime, '20250001000000Z'],
    [derTag.generalizedTime, '20250100000000Z'],
    [derTag.generalizedTime, '20250101240000Z'],
    [derTag.generalizedTime, '20250101006000Z'],
    [derTag.generalizedTime, '20161231235960Z'],
    [derTag.generalizedTime, '20250612202200Z\n'],
    [derTag.utcTime, '2506122022Z'],
    [derTag.utcTime, '250612202200+0000'],
    [derTag.utcTime, '250612202200.5Z'],
    [derTag.utcTime, '250631202200Z'],
    [derTag.utf8String, '20250612202200Z'],
  ])('readTime() rejects tag %i with %j', (tag, text) => {
    expect(() => readTime(ascii(tag, text))).toThrow(derError);
  });

  test('writers reject years they cannot write', () => {
    expect(() => derUtcTime(new Date('2050-01-01T00:00:00Z'))).toThrow(derError);
    expect(() => derUtcTime(new Date('1949-12-31T23:59:59Z'))).toThrow(derError);
    expect(() => derTime(new Date('+010000-01-01T00:00:00Z'))).toThrow(derError);
    expect(() => derTime(new Date(Number.NaN))).toThrow(derError);
  });
});

describe('NULL and OCTET STRING', () => {
  test('readNull() accepts 05 00 only', () => {
    expect(readNull(parseDer(derNull()))).toBeUndefined();
    expect(() => readNull(parse('05 01 00'))).toThrow(derError);
    expect(() => readNull(parse('04 00'))).toThrow(derError);
  });

  test('readOctetString() checks the type', () => {
    expect(readOctetString(parse('04 01 aa'))).toEqual(Uint8Array.of(0xaa));
    expect(() => readOctetString(parse('03 01 00'))).toThrow(derError);
  });
});

describe('DerReader', () => {
  const der = derSequence(derInteger(1n), derExplicit(0, derNull()), derBoolean(true));

  test('walks a structure with an optional part', () => {
    const reader = new DerReader(parseDer(der), derTag.sequence);
    expect(reader.peek()).toBe(derTag.integer);
    expect(readInteger(reader.next(derTag.integer))).toBe(1n);
    expect(reader.optional(derTag.context(1))).toBeUndefined();
    const explicit = reader.optional(derTag.context(0));
    expect(explicit?.contents).toEqual(derNull());
    expect(reader.done).toBe(false);
    expect(() => reader.end()).toThrow(derError);
    expect(readBoolean(reader.next())).toBe(true);
    expect(reader.done).toBe(true);
    expect(reader.peek()).toBeUndefined();
    expect(reader.optional(derTag.null)).toBeUndefined();
    expect(reader.end()).toBeUndefined();
    expect(() => reader.next()).toThrow(derError);
  });

  test('reads from contents, from whole bytes with a tag, and from a plain element', () => {
    const { tag, bytes, contents } = parseDer(der);
    expect(readInteger(new DerReader(contents).next())).toBe(1n);
    expect(readInteger(new DerReader(bytes, derTag.sequence).next())).toBe(1n);
    expect(readInteger(new DerReader({ tag, bytes, contents }).next())).toBe(1n);
    expect(derChildren(parseDer(der)).map((child) => child.tag)).toEqual([0x02, 0xa0, 0x01]);
  });

  test('a failed next() reads nothing', () => {
    const reader = new DerReader(parseDer(der));
    expect(() => reader.next(derTag.boolean)).toThrow('element is 02, must be 01');
    expect(readInteger(reader.next(derTag.integer))).toBe(1n);
  });

  test('rejects another tag, a primitive element, and bytes after a whole element', () => {
    expect(() => new DerReader(parseDer(der), derTag.set)).toThrow(derError);
    expect(() => new DerReader(parse('04 02 05 00'))).toThrow('primitive');
    expect(() => new DerReader(concatBytes(der, derNull()), derTag.sequence)).toThrow(derError);
  });

  test('an element cannot reach beyond its parent', () => {
    const reader = new DerReader(parseHex('0402aa').subarray(0, 3));
    expect(() => reader.next()).toThrow(derError);
    const inner = new DerReader({ tag: 0x30, bytes: parseHex('30020402'), contents: parseHex('0402') });
    expect(() => inner.next()).toThrow(derError);
  });

  test('elements are views of the parsed bytes', () => {
    const bytes = Uint8Array.from(der);
    const element = parseDer(bytes);
    expect(element.bytes.buffer).toBe(bytes.buffer);
    expect(element.contents.buffer).toBe(bytes.buffer);
  });
});

describe('sets', () => {
  test('derSetOf() sorts by encoding; derSet() does not', () => {
    const parts = [derInteger(2n), derBoolean(true), derInteger(1n), derUtf8String('')];
    expect(encodeHex(derSetOf(parts))).toBe('310b' + '0101ff' + '020101' + '020102' + '0c00');
    expect(encodeHex(derSet(...parts))).toBe('310b' + '020102' + '0101ff' + '020101' + '0c00');
    expect(encodeHex(derConstructed(derTag.context(0), [derNull()]))).toBe('a0020500');
  });
});

test('any bytes: parseDer() and all readers return or throw ENCODING_DER', () => {
  const readers = [
    readBoolean,
    readInteger,
    readOid,
    readBits,
    readBitString,
    readOctetString,
    readNull,
    readString,
    readTime,
    derChildren,
  ];
  const tags = fc.constantFrom(1, 2, 3, 4, 5, 6, 0x0c, 0x13, 0x16, 0x17, 0x18, 0x1e, 0x30, 0x31, 0xa0, 0x80);
  const shaped = fc
    .tuple(tags, fc.uint8Array({ maxLength: 20 }))
    .map(([tag, contents]) => derSequence(derElement(tag, contents)).subarray(2));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), shaped), (bytes) => {
      for (const read of readers) {
        try {
          read(parseDer(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(EncodingError);
          expect((error as EncodingError).code).toBe('ENCODING_DER');
        }
      }
    }),
  );
});

test('one spelling: what parseDer() accepts rebuilds to the same bytes', () => {
  const rebuild = (element: { tag: number; contents: Uint8Array }): Uint8Array =>
    (element.tag & 0x20) === 0
      ? derElement(element.tag, element.contents)
      : derConstructed(element.tag, derChildren(element as Parameters<typeof derChildren>[0]).map(rebuild));
  const leaf = fc
    .tuple(fc.constantFrom(2, 4, 5, 0x80), fc.uint8Array({ maxLength: 150 }))
    .map(([tag, contents]) => derElement(tag, contents));
  const { tree } = fc.letrec<{ tree: Uint8Array }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      leaf,
      fc.array(tie('tree'), { maxLength: 4 }).map((parts) => derSequence(...parts)),
    ),
  }));
  fc.assert(
    fc.property(tree, (der) => {
      expect(rebuild(parseDer(der))).toEqual(der);
    }),
  );
});
