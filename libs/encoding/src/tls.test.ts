import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EncodingError } from './errors.js';
import { encodeHex, parseHex } from './hex.js';
import { TlsReader, TlsWriter } from './tls.js';

const tlsError = expect.objectContaining({ code: 'ENCODING_TLS' });

test('TlsWriter writes big-endian numbers and length-prefixed vectors', () => {
  const bytes = new TlsWriter()
    .u8(1)
    .u16(0x0203)
    .u24(0x040506)
    .u64(0x0708090a0b0c0d0en)
    .vector(1, Uint8Array.of(0xaa))
    .vector(2, new Uint8Array())
    .vector(3, Uint8Array.of(0xbb))
    .bytes(Uint8Array.of(0xcc))
    .finish();
  expect(encodeHex(bytes)).toBe('0102030405060708090a0b0c0d0e' + '01aa' + '0000' + '000001bb' + 'cc');
});

test('TlsReader inverts TlsWriter', () => {
  const number = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 });
  const long = fc.uint8Array({ maxLength: 600 });
  fc.assert(
    fc.property(
      number(8),
      number(16),
      number(24),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      long,
      (a, b, c, d, e) => {
        const reader = new TlsReader(new TlsWriter().u8(a).u16(b).u24(c).u64(d).vector(2, e).bytes(e).finish());
        expect(reader.u8()).toBe(a);
        expect(reader.u16()).toBe(b);
        expect(reader.u24()).toBe(c);
        expect(reader.u64()).toBe(d);
        expect(reader.vector(2)).toEqual(e);
        expect(reader.remaining).toBe(e.length);
        expect(reader.bytes(e.length)).toEqual(e);
        expect(reader.end()).toBeUndefined();
      },
    ),
  );
});

test('TlsReader rejects reads beyond the end, long vectors and trailing bytes', () => {
  const reader = (hex: string) => new TlsReader(parseHex(hex));
  expect(() => reader('').u8()).toThrow(tlsError);
  expect(() => reader('01').u16()).toThrow(tlsError);
  expect(() => reader('0102').u24()).toThrow(tlsError);
  expect(() => reader('01020304050607').u64()).toThrow(tlsError);
  expect(() => reader('0102').vector(2)).toThrow(tlsError);
  expect(() => reader('0201').vector(1)).toThrow(tlsError);
  expect(() => reader('020102').vector(1, 1)).toThrow('length 2 is above 1');
  expect(() => reader('00').end()).toThrow('1 bytes remain');
});

test('TlsWriter rejects numbers and vectors that do not fit', () => {
  expect(() => new TlsWriter().u8(256)).toThrow(tlsError);
  expect(() => new TlsWriter().u8(-1)).toThrow(tlsError);
  expect(() => new TlsWriter().u16(1.5)).toThrow(tlsError);
  expect(() => new TlsWriter().u24(2 ** 24)).toThrow(tlsError);
  expect(() => new TlsWriter().u64(2n ** 64n)).toThrow(tlsError);
  expect(() => new TlsWriter().u64(-1n)).toThrow(tlsError);
  expect(() => new TlsWriter().vector(1, new Uint8Array(256))).toThrow(tlsError);
  expect(() => new TlsWriter().vector(2, new Uint8Array(65536))).toThrow(EncodingError);
});

test('finish() gives a copy that later writes do not change', () => {
  const writer = new TlsWriter().u8(1);
  const first = writer.finish();
  writer.u8(2);
  expect(first).toEqual(Uint8Array.of(1));
  expect(writer.finish()).toEqual(Uint8Array.of(1, 2));
});
