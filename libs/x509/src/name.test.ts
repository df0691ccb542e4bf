import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { derInteger, derNull, derOid, derPrintableString, derSequence, derSet, derUtf8String } from '#libs/encoding';
import { X509Error } from './errors.js';
import { encodeName, parseName } from './name.js';

const attribute = (type: string, value: Uint8Array) => derSequence(derOid(type), value);

describe('parseName()', () => {
  it('reads organization and common name, last component first in the text', () => {
    const name = encodeName({ organization: 'sigstore.dev', commonName: 'sigstore' });
    expect(parseName(name)).toEqual({
      organization: 'sigstore.dev',
      commonName: 'sigstore',
      text: 'CN=sigstore,O=sigstore.dev',
    });
  });
  it('reads the empty name', () => {
    expect(encodeName({})).toEqual(Uint8Array.of(0x30, 0));
    expect(parseName(encodeName({}))).toEqual({ text: '' });
  });
  it('reads several attributes of one component, unknown types and values that are no text', () => {
    const name = derSequence(
      derSet(attribute('2.5.4.6', derPrintableString('CH')), attribute('1.2.3', derUtf8String('x'))),
      derSet(attribute('2.5.4.3', derInteger(1n))),
    );
    expect(parseName(name)).toEqual({ text: 'CN=#020101,C=CH+1.2.3=x' });
  });
  it('escapes what would change the reading of the text', () => {
    expect(parseName(encodeName({ commonName: ' a,b+c="d"\\;<e>\n ' })).text).toBe(
      'CN=\\ a\\,b\\+c=\\"d\\"\\\\\\;\\<e\\>\\0a\\ ',
    );
    expect(parseName(encodeName({ commonName: '#1' })).text).toBe('CN=\\#1');
  });
  it('refuses an empty set, 33 components, and other shapes', () => {
    const one = derSet(attribute('2.5.4.3', derUtf8String('x')));
    const many = derSequence(...Array.from({ length: 33 }, () => one));
    for (const bad of [derSequence(derSet()), many, derNull(), derSequence(derSet(derSequence()))]) {
      expect(() => parseName(bad)).toThrow(expect.objectContaining({ code: 'X509_MALFORMED' }));
    }
  });
  it('gives back what was encoded, for any text', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1 });
    fc.assert(
      fc.property(text, text, (organization, commonName) => {
        expect(parseName(encodeName({ organization, commonName }))).toMatchObject({ organization, commonName });
      }),
    );
  });
  it('returns or throws X509Error for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        for (const name of [bytes, derSequence(bytes), derSequence(derSet(derSequence(bytes)))]) {
          try {
            parseName(name);
          } catch (error) {
            expect(error).toBeInstanceOf(X509Error);
          }
        }
      }),
    );
  });
});
