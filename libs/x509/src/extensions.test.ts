import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  derBitString,
  derBoolean,
  derElement,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  derTag,
} from '#libs/encoding';
import { generateSigner } from '#libs/openssl';
import { parseCertificate, type Certificate } from './certificate.js';
import { X509Error } from './errors.js';
import {
  authorityKeyId,
  basicConstraints,
  checkLeafUsage,
  encodeAuthorityKeyId,
  extendedKeyUsage,
  keyUsage,
  subjectKeyId,
} from './extensions.js';
import { oid } from './oid.js';
import { subjectAltNames } from './san.js';
import { embeddedScts } from './sct.js';
import { extension, forge } from './testing.js';

const signer = generateSigner();

function withValue(type: string, value: Uint8Array, critical = false): Certificate {
  return parseCertificate(forge({ spki: signer.publicKey.spki, signer, extensions: [{ oid: type, critical, value }] }));
}

const bare = withValue('1.2.3', derNull());

describe('basicConstraints()', () => {
  const read = (value: Uint8Array) => basicConstraints(withValue(oid.basicConstraints, value));
  it('reads CA, path length, and neither', () => {
    expect(read(derSequence())).toEqual({ ca: false });
    expect(read(derSequence(derBoolean(true)))).toEqual({ ca: true });
    expect(read(derSequence(derBoolean(true), derInteger(0n)))).toEqual({ ca: true, pathLength: 0 });
    expect(basicConstraints(bare)).toBeUndefined();
  });
  it.each([
    ['a spelled-out default', derSequence(derBoolean(false))],
    ['a path length without CA', derSequence(derInteger(1n))],
    ['a negative path length', derSequence(derBoolean(true), derInteger(-1n))],
    ['a path length of 256', derSequence(derBoolean(true), derInteger(256n))],
    ['something more', derSequence(derBoolean(true), derNull())],
    ['another type', derNull()],
  ])('refuses %s', (_, value) => {
    expect(() => read(value)).toThrow(expect.objectContaining({ code: 'X509_MALFORMED' }));
  });
});

describe('keyUsage()', () => {
  const read = (value: Uint8Array) => keyUsage(withValue(oid.keyUsage, value));
  it('names the bits', () => {
    expect(read(Uint8Array.of(3, 2, 7, 0x80))).toEqual(['digitalSignature']);
    expect(read(Uint8Array.of(3, 2, 1, 0x06))).toEqual(['keyCertSign', 'cRLSign']);
    expect(read(Uint8Array.of(3, 3, 7, 0x80, 0x80))).toEqual(['digitalSignature', 'decipherOnly']);
    expect(keyUsage(bare)).toBeUndefined();
  });
  it.each([
    ['no bits', derBitString(new Uint8Array())],
    ['a zero bit at the end', derBitString(Uint8Array.of(0x80), 6)],
    ['a zero byte at the end', derBitString(Uint8Array.of(0x80, 0), 0)],
    ['a bit without a name', derBitString(Uint8Array.of(0x80, 0x40), 6)],
    ['three bytes', derBitString(Uint8Array.of(0x80, 0x80, 0x80), 7)],
    ['another type', derInteger(1n)],
  ])('refuses %s', (_, value) => {
    expect(() => read(value)).toThrow(expect.objectContaining({ code: 'X509_MALFORMED' }));
  });
});

describe('extendedKeyUsage()', () => {
  it('reads purposes and whether they are critical', () => {
    const value = derSequence(derOid(oid.codeSigning), derOid('1.2.3'));
    expect(extendedKeyUsage(withValue(oid.extendedKeyUsage, value, true))).toEqual({
      oids: [oid.codeSigning, '1.2.3'],
      critical: true,
    });
    expect(extendedKeyUsage(bare)).toBeUndefined();
  });
  it('refuses an empty list, a long one, and what is no OID', () => {
    const many = derSequence(...Array.from({ length: 33 }, (_, i) => derOid(`1.2.${i}`)));
    for (const value of [derSequence(), derSequence(derNull()), many]) {
      expect(() => extendedKeyUsage(withValue(oid.extendedKeyUsage, value))).toThrow(X509Error);
    }
  });
});

describe('subjectKeyId() and authorityKeyId()', () => {
  const id = Uint8Array.of(1, 2, 3);
  it('read the identifiers, and say when there is none', () => {
    expect(subjectKeyId(withValue(oid.subjectKeyIdentifier, derOctetString(id)))).toEqual(id);
    expect(authorityKeyId(withValue(oid.authorityKeyIdentifier, encodeAuthorityKeyId(id)))).toEqual(id);
    expect(authorityKeyId(withValue(oid.authorityKeyIdentifier, derSequence()))).toBeUndefined();
    const issuerAndSerial = derSequence(
      derElement(derTag.context(1), derNull()),
      derElement(derTag.contextPrimitive(2), id),
    );
    expect(authorityKeyId(withValue(oid.authorityKeyIdentifier, issuerAndSerial))).toBeUndefined();
    expect(subjectKeyId(bare)).toBeUndefined();
  });
  it('refuse other shapes', () => {
    expect(() => subjectKeyId(withValue(oid.subjectKeyIdentifier, id))).toThrow(X509Error);
    expect(() => authorityKeyId(withValue(oid.authorityKeyIdentifier, derSequence(derNull())))).toThrow(X509Error);
  });
});

describe('checkLeafUsage()', () => {
  const leaf = (...extensions: Parameters<typeof forge>[0]['extensions'] & object) =>
    parseCertificate(forge({ spki: signer.publicKey.spki, signer, extensions }));
  const purpose = extension.purposes(oid.codeSigning);
  it('accepts a signing leaf, also one that says it is no CA', () => {
    checkLeafUsage(leaf(extension.digitalSignature, purpose), oid.codeSigning);
    const notCa = { oid: oid.basicConstraints, critical: true, value: derSequence() };
    expect(() => checkLeafUsage(leaf(extension.digitalSignature, purpose, notCa), oid.codeSigning)).not.toThrow();
  });
  it.each([
    ['a CA', [extension.digitalSignature, purpose, extension.ca()]],
    ['no digitalSignature', [extension.certSign, purpose]],
    ['no key usage', [purpose]],
    ['no purpose', [extension.digitalSignature]],
    ['another purpose', [extension.digitalSignature, extension.purposes(oid.timeStamping)]],
    ['any purpose', [extension.digitalSignature, extension.purposes(oid.anyExtendedKeyUsage)]],
  ])('refuses %s', (_, extensions) => {
    expect(() => checkLeafUsage(leaf(...extensions), oid.codeSigning)).toThrow(
      expect.objectContaining({ code: 'X509_LEAF_USAGE' }),
    );
  });
});

it('every reader returns or throws X509Error for any value', () => {
  const readers: Record<string, (certificate: Certificate) => unknown> = {
    [oid.basicConstraints]: basicConstraints,
    [oid.keyUsage]: keyUsage,
    [oid.extendedKeyUsage]: extendedKeyUsage,
    [oid.subjectKeyIdentifier]: subjectKeyId,
    [oid.authorityKeyIdentifier]: authorityKeyId,
    [oid.subjectAltName]: subjectAltNames,
    [oid.sctList]: embeddedScts,
  };
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(readers)), fc.uint8Array({ maxLength: 40 }), (type, bytes) => {
      for (const value of [bytes, derSequence(bytes), derOctetString(bytes)]) {
        try {
          readers[type]?.({ ...bare, extensions: [{ oid: type, critical: false, value }] });
        } catch (error) {
          expect(error).toBeInstanceOf(X509Error);
        }
      }
    }),
    { numRuns: 2000 },
  );
});
