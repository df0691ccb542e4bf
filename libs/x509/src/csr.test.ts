import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  derBitString,
  derElement,
  derExplicit,
  derInteger,
  derNull,
  derOid,
  derSequence,
  derSet,
  derTag,
} from '#libs/encoding';
import type { Signer } from '#libs/crypto';
import { generateSigner, verifySync } from '#libs/openssl';
import { encodeAlgorithm } from './algorithm.js';
import { csrScheme, parseCsr } from './csr.js';
import { X509Error } from './errors.js';
import { encodeName } from './name.js';

const signer = generateSigner();
const noAttributes = Uint8Array.of(0xa0, 0);

interface RequestFields {
  version?: Uint8Array;
  subject?: Uint8Array;
  spki?: Uint8Array;
  attributes?: Uint8Array;
  algorithm?: Uint8Array;
  signer?: Signer;
}

function request(fields: RequestFields = {}): Uint8Array {
  const by = fields.signer ?? signer;
  const info = derSequence(
    fields.version ?? derInteger(0n),
    fields.subject ?? encodeName({}),
    fields.spki ?? by.publicKey.spki,
    fields.attributes ?? noAttributes,
  );
  const algorithm = fields.algorithm ?? encodeAlgorithm(by.scheme) ?? new Uint8Array();
  return derSequence(info, algorithm, derBitString(by.sign(info)));
}

const attribute = (...parts: Uint8Array[]) => derElement(derTag.context(0), derSequence(...parts));

describe('parseCsr()', () => {
  it.each([
    ['P-256', { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }, { kind: 'ecdsa', hash: 'sha256' }],
    ['P-521', { name: 'ECDSA', namedCurve: 'P-521', hash: 'SHA-512' }, { kind: 'ecdsa', hash: 'sha512' }],
    [
      'RSA',
      { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1), hash: 'SHA-256' },
      { kind: 'rsa-pkcs1', hash: 'sha256' },
    ],
    ['Ed25519', { name: 'Ed25519' }, { kind: 'ed25519' }],
  ])('reads what @peculiar/x509 writes with %s, whatever its subject says', async (_, algorithm, scheme) => {
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
    const made = await Pkcs10CertificateRequestGenerator.create(
      { name: 'CN=test, O=not me', keys, signingAlgorithm: algorithm as never },
      webcrypto,
    );
    const csr = parseCsr(new Uint8Array(made.rawData));
    expect(csr.spki).toEqual(new Uint8Array(made.publicKey.rawData));
    expect(csrScheme(csr)).toEqual(scheme);
    expect(verifySync(csr.publicKey, csrScheme(csr), csr.info, csr.signature)).toBe(true);
    const otherInfo = Uint8Array.from([...csr.info.subarray(0, -1), (csr.info.at(-1) ?? 0) ^ 1]);
    expect(verifySync(csr.publicKey, csrScheme(csr), otherInfo, csr.signature)).toBe(false);
  });

  it('reads a request with an empty subject and a basicConstraints attribute', () => {
    const csr = parseCsr(request({ attributes: attribute(derOid('1.2.840.113549.1.9.14'), derSet(derSequence())) }));
    expect(csr.subject).toEqual(encodeName({}));
    expect(Uint8Array.from(csr.publicKey.spki)).toEqual(Uint8Array.from(signer.publicKey.spki));
  });

  it.each<[string, RequestFields]>([
    ['version 2', { version: derInteger(1n) }],
    ['no attributes', { attributes: new Uint8Array() }],
    ['an attribute without values', { attributes: attribute(derOid('1.2.3')) }],
    ['an attribute that is more than type and values', { attributes: attribute(derOid('1.2.3'), derSet(), derNull()) }],
    ['something after the attributes', { attributes: Uint8Array.from([...noAttributes, ...derNull()]) }],
    ['a subject that is no name', { subject: derSequence(derNull()) }],
    ['a broken key', { spki: derSequence() }],
    ['ECDSA with parameters', { algorithm: derSequence(derOid('1.2.840.10045.4.3.2'), derNull()) }],
    ['the fields of a certificate', { version: derExplicit(0, derInteger(0n)) }],
  ])('refuses %s', (_, fields) => {
    expect(() => parseCsr(request())).not.toThrow();
    expect(() => parseCsr(request(fields))).toThrow(expect.objectContaining({ code: 'X509_CSR_MALFORMED' }));
  });

  it('refuses bytes after the end, garbage and 64 KiB', () => {
    for (const bytes of [Uint8Array.from([...request(), 0]), Uint8Array.of(1, 2, 3), new Uint8Array(65_537)]) {
      expect(() => parseCsr(bytes)).toThrow(expect.objectContaining({ code: 'X509_CSR_MALFORMED' }));
    }
  });

  it('calls a key of an unknown kind unsupported', () => {
    const spki = derSequence(derSequence(derOid('1.2.840.10040.4.1')), derBitString(Uint8Array.of(1)));
    expect(() => parseCsr(request({ spki }))).toThrow(expect.objectContaining({ code: 'X509_UNSUPPORTED' }));
  });

  it('returns or throws X509Error for any bytes and any one change', () => {
    const good = request();
    const attempt = (bytes: Uint8Array) => {
      try {
        csrScheme(parseCsr(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(X509Error);
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), attempt));
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, value) => {
        attempt(good.with(at, value));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('csrScheme()', () => {
  it.each([
    ['SHA-1', derSequence(derOid('1.2.840.10045.4.1'))],
    ['RSASSA-PSS', derSequence(derOid('1.2.840.113549.1.1.10'), derSequence())],
    ['RSA for an ECDSA key', derSequence(derOid('1.2.840.113549.1.1.11'), derNull())],
    ['Ed25519 for an ECDSA key', derSequence(derOid('1.3.101.112'))],
  ])('refuses %s', (_, algorithm) => {
    const csr = parseCsr(request({ algorithm }));
    expect(() => csrScheme(csr)).toThrow(expect.objectContaining({ code: 'X509_CSR_ALGORITHM' }));
  });
});
