import { X509Certificate as NodeCertificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  derBoolean,
  derExplicit,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  encodeHex,
  encodePem,
} from '#libs/encoding';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import { parseCertificate, parseCertificatePem, verifyCertificateSignature } from './certificate.js';
import { X509Error } from './errors.js';
import { authority, encodeExtension, extension, forge, type Forgery } from './testing.js';

const vectors = join(import.meta.dirname, '../../../test/vectors/x509');
const files = readdirSync(vectors).filter((name) => name.endsWith('.pem'));
const signer = generateSigner();
const plain = { spki: signer.publicKey.spki, signer, extensions: [extension.digitalSignature] };

function code(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof X509Error) return error.code;
    throw error;
  }
  return 'accepted';
}

describe('parseCertificate()', () => {
  it.each(files)('reads %s as node:crypto does', (name) => {
    for (const certificate of parseCertificatePem(readFileSync(join(vectors, name), 'utf8'))) {
      const node = new NodeCertificate(certificate.der);
      expect(encodeHex(certificate.serialBytes).replace(/^00/, '').toUpperCase()).toBe(node.serialNumber);
      expect(certificate.serialNumber).toBe(BigInt(`0x${node.serialNumber}`));
      expect(certificate.notBefore).toEqual(new Date(node.validFrom));
      expect(certificate.notAfter).toEqual(new Date(node.validTo));
      expect(certificate.spki).toEqual(new Uint8Array(node.publicKey.export({ type: 'spki', format: 'der' })));
      expect(certificate.publicKey.spki).toEqual(certificate.spki);
    }
  });

  it('accepts what the table below changes one thing of', () => {
    expect(code(() => parseCertificate(forge(plain)))).toBe('accepted');
  });

  const sha1WithRsa = derSequence(derOid('1.2.840.113549.1.1.5'), derNull());
  const usage = encodeExtension(extension.digitalSignature);
  const wrong: Record<string, [Partial<Forgery>, string]> = {
    'version 1, unstated': [{ version: new Uint8Array() }, 'X509_UNSUPPORTED'],
    'version 2': [{ version: derExplicit(0, derInteger(1n)) }, 'X509_UNSUPPORTED'],
    'a negative serial': [{ serial: derInteger(-5n) }, 'X509_MALFORMED'],
    'a serial of 21 bytes': [{ serial: derInteger(new Uint8Array(20).fill(0xff)) }, 'X509_MALFORMED'],
    'another algorithm inside than outside': [{ outerAlgorithm: sha1WithRsa }, 'X509_MALFORMED'],
    'ECDSA with parameters': [
      (() => {
        const algorithm = derSequence(derOid('1.2.840.10045.4.3.2'), derNull());
        return { innerAlgorithm: algorithm, outerAlgorithm: algorithm };
      })(),
      'X509_MALFORMED',
    ],
    'RSA without NULL': [
      (() => {
        const algorithm = derSequence(derOid('1.2.840.113549.1.1.11'));
        return { innerAlgorithm: algorithm, outerAlgorithm: algorithm };
      })(),
      'X509_MALFORMED',
    ],
    'the same extension twice': [{ extensions: [usage, usage] }, 'X509_MALFORMED'],
    'an empty list of extensions': [{ tail: derExplicit(3, derSequence()) }, 'X509_MALFORMED'],
    'the default of critical spelled out': [
      { extensions: [derSequence(derOid('1.2.3'), derBoolean(false), derOctetString(new Uint8Array()))] },
      'X509_MALFORMED',
    ],
    '65 extensions': [
      { extensions: Array.from({ length: 65 }, (_, i) => ({ oid: `1.2.3.${i}`, critical: false, value: derNull() })) },
      'X509_MALFORMED',
    ],
    'more than 64 KiB': [
      { extensions: [{ oid: '1.2.3', critical: false, value: new Uint8Array(65_536) }] },
      'X509_MALFORMED',
    ],
    'something after the extensions': [
      { tail: derSequence(derExplicit(3, derSequence(usage)), derNull()).subarray(2) },
      'X509_MALFORMED',
    ],
    'a key of an unknown kind': [
      { spki: derSequence(derSequence(derOid('1.2.840.10040.4.1')), Uint8Array.of(3, 2, 0, 1)) },
      'X509_UNSUPPORTED',
    ],
    'a broken key': [{ spki: derSequence() }, 'X509_MALFORMED'],
  };
  it.each(Object.keys(wrong))('refuses %s', (name) => {
    const [changes, expected] = wrong[name] ?? [{}, ''];
    expect(code(() => parseCertificate(forge({ ...plain, ...changes })))).toBe(expected);
  });

  it('refuses a byte after the end', () => {
    expect(code(() => parseCertificate(Uint8Array.from([...forge(plain), 0])))).toBe('X509_MALFORMED');
  });

  it('returns or throws its own error for any bytes, and for any change of a real certificate', () => {
    const real =
      parseCertificatePem(readFileSync(join(vectors, 'leaf-rekor2-happy-path.pem'), 'utf8'))[0]?.der ??
      new Uint8Array();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void code(() => parseCertificate(bytes))));
    fc.assert(
      fc.property(fc.nat(real.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = real.slice();
        changed[at] = (changed[at] ?? 0) ^ flip;
        code(() => parseCertificate(changed));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('parseCertificatePem()', () => {
  it('refuses another label, text outside blocks, no block, and too much', () => {
    const pem = encodePem('CERTIFICATE', forge(plain));
    expect(parseCertificatePem(`${pem}\n${pem}`)).toHaveLength(2);
    expect(code(() => parseCertificatePem(encodePem('X509 CRL', forge(plain))))).toBe('X509_MALFORMED');
    expect(code(() => parseCertificatePem(`hello\n${pem}`))).toBe('X509_MALFORMED');
    expect(code(() => parseCertificatePem(''))).toBe('X509_MALFORMED');
    expect(code(() => parseCertificatePem(pem.repeat(65)))).toBe('X509_MALFORMED');
    expect(code(() => parseCertificatePem(' '.repeat(1 << 21)))).toBe('X509_MALFORMED');
  });
});

describe('verifyCertificateSignature()', () => {
  const root = authority('root', signer);
  it('is true for the issuer, false for another key of the same or another kind', async () => {
    const leaf = parseCertificate(forge(plain));
    expect(await verifyCertificateSignature(leaf, root.certificate, opensslCrypto)).toBe(true);
    const [same, other] = [authority('other', generateSigner()), authority('other', generateSigner('ed25519'))];
    expect(await verifyCertificateSignature(leaf, same.certificate, opensslCrypto)).toBe(false);
    expect(await verifyCertificateSignature(leaf, other.certificate, opensslCrypto)).toBe(false);
  });

  it('refuses an algorithm it does not verify', async () => {
    const algorithm = derSequence(derOid('1.2.840.113549.1.1.5'), derNull());
    const leaf = parseCertificate(forge({ ...plain, innerAlgorithm: algorithm, outerAlgorithm: algorithm }));
    await expect(verifyCertificateSignature(leaf, root.certificate, opensslCrypto)).rejects.toMatchObject({
      code: 'X509_UNSUPPORTED',
    });
  });
});
