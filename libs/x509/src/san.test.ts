import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  derElement,
  derExplicit,
  derIa5String,
  derOid,
  derSequence,
  derTag,
  derUtf8String,
  encodeHex,
  encodeUtf8,
} from '#libs/encoding';
import { encodeName } from './name.js';
import { describeSan, encodeSubjectAltName, parseSubjectAltNames, type SubjectAltName } from './san.js';

const primitive = (n: number, value: Uint8Array) => derSequence(derElement(derTag.contextPrimitive(n), value));
const otherName = (type: string, value: Uint8Array) =>
  derSequence(derElement(derTag.context(0), Uint8Array.from([...derOid(type), ...derExplicit(0, value)])));
const emails = (count: number) =>
  derSequence(...Array.from({ length: count }, () => derElement(0x81, encodeUtf8('a@b'))));
const fulcio = '1.3.6.1.4.1.57264.1.7';

describe('subject alternative names', () => {
  it.each<[string, SubjectAltName]>([
    ['e-mail', { kind: 'email', value: 'a@example.com' }],
    ['URI', { kind: 'uri', value: 'https://github.com/o/r/.github/workflows/w.yml@refs/heads/main' }],
    ['user name', { kind: 'other-name', oid: fulcio, value: 'user!exämple.com' }],
  ])('%s: read back as written, and described by its value', (_, san) => {
    expect(parseSubjectAltNames(encodeSubjectAltName(san))).toEqual([san]);
    expect(describeSan(san)).toBe(san.value);
  });

  it('writes an otherName as Fulcio does', () => {
    // SEQUENCE { [0] IMPLICIT { OID 1.3.6.1.4.1.57264.1.7, [0] EXPLICIT UTF8String "u!d" } }
    expect(encodeHex(encodeSubjectAltName({ kind: 'other-name', oid: fulcio, value: 'u!d' }))).toBe(
      '3015a013060a2b0601040183bf300107a0050c0375' + '2164',
    );
  });

  it('reads the other kinds', () => {
    expect(parseSubjectAltNames(primitive(2, encodeUtf8('example.com')))).toEqual([
      { kind: 'dns', value: 'example.com' },
    ]);
    expect(parseSubjectAltNames(primitive(7, Uint8Array.of(127, 0, 0, 1)))).toEqual([
      { kind: 'ip', value: '127.0.0.1' },
    ]);
    const v6 = parseSubjectAltNames(primitive(7, new Uint8Array(16).fill(0xab)));
    expect(v6.map(describeSan)).toEqual(['ip:abab:abab:abab:abab:abab:abab:abab:abab']);
    const directory = derSequence(derElement(derTag.context(4), encodeName({ commonName: 'x' })));
    expect(parseSubjectAltNames(directory)).toEqual([{ kind: 'directory-name', value: 'CN=x' }]);
    expect(parseSubjectAltNames(primitive(8, Uint8Array.of(0x2a)))).toEqual([
      { kind: 'unknown', tag: 0x88, value: '88012a' },
    ]);
  });

  it('reads as many names as real certificates have', () => {
    expect(parseSubjectAltNames(emails(256))).toHaveLength(256);
  });

  it('never takes an otherName without text, or of another type, for a user name', () => {
    expect(() => parseSubjectAltNames(otherName(fulcio, derIa5String('u!d')))).toThrow(
      expect.objectContaining({ code: 'X509_MALFORMED' }),
    );
    const [unknown] = parseSubjectAltNames(otherName('1.2.3', derIa5String('u!d')));
    expect(unknown?.kind).toBe('unknown');
    expect(unknown && describeSan(unknown)).toBe('GeneralName with tag 0xa0');
    const [foreign] = parseSubjectAltNames(otherName('1.2.3', derUtf8String('u!d')));
    expect(foreign && describeSan(foreign)).toBe('otherName 1.2.3: u!d');
  });

  it.each([
    ['a NUL in an e-mail', primitive(1, encodeUtf8('a@example.com\0.evil'))],
    ['a line feed in a URI', primitive(6, encodeUtf8('https://a\nb'))],
    ['UTF-8 in an e-mail', primitive(1, encodeUtf8('ä@example.com'))],
    ['an IP address of five bytes', primitive(7, new Uint8Array(5))],
    ['an empty list', derSequence()],
    ['257 names', emails(257)],
    ['bytes after the list', Uint8Array.from([...primitive(1, encodeUtf8('a@b')), 0])],
  ])('refuses %s', (_, value) => {
    expect(() => parseSubjectAltNames(value)).toThrow(expect.objectContaining({ code: 'X509_MALFORMED' }));
  });

  it('does not write what IA5String cannot hold, nor kinds that are not issued', () => {
    for (const san of [
      { kind: 'email', value: 'ä@example.com' },
      { kind: 'uri', value: 'https://exämple' },
      { kind: 'dns', value: 'example.com' },
    ] as const) {
      expect(() => encodeSubjectAltName(san)).toThrow(expect.objectContaining({ code: 'X509_PROFILE' }));
    }
  });

  it('gives back any otherName text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        expect(parseSubjectAltNames(encodeSubjectAltName({ kind: 'other-name', oid: fulcio, value }))).toEqual([
          { kind: 'other-name', oid: fulcio, value },
        ]);
      }),
    );
  });
});
