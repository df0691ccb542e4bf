import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { derIa5String, derUtf8String, encodeUtf8 } from '#libs/encoding';
import { type Certificate, type Extension, parseCertificatePem } from './certificate.js';
import {
  encodeFulcioExtensions,
  fulcioExtensionNumber,
  fulcioExtensions,
  type FulcioExtensions,
  isFulcioValue,
} from './fulcio.js';

const vectors = join(import.meta.dirname, '../../../test/vectors/x509');
const [real] = parseCertificatePem(readFileSync(join(vectors, 'leaf-rekor2-happy-path.pem'), 'utf8'));
if (!real) throw new Error('Cannot test: the vector is empty');
const arc = '1.3.6.1.4.1.57264.1.';
const holding = (...extensions: Extension[]): Certificate => ({ ...real, extensions });
const one = (number: number, value: Uint8Array) =>
  fulcioExtensions(holding({ oid: arc + number, critical: false, value }));

describe('fulcioExtensions()', () => {
  it('reads a certificate of the public instance', () => {
    expect(fulcioExtensions(real)).toEqual({
      issuer: 'https://token.actions.githubusercontent.com',
      githubWorkflowTrigger: 'workflow_dispatch',
      githubWorkflowSha: '9739798945b2a848e911bcf1dddb97298cade0b1',
      githubWorkflowName: 'Extremely dangerous OIDC beacon',
      githubWorkflowRepository: 'sigstore-conformance/extremely-dangerous-public-oidc-beacon',
      githubWorkflowRef: 'refs/heads/main',
      buildSignerUri:
        'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main',
      buildSignerDigest: '9739798945b2a848e911bcf1dddb97298cade0b1',
      runnerEnvironment: 'github-hosted',
      sourceRepositoryUri: 'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon',
      sourceRepositoryDigest: '9739798945b2a848e911bcf1dddb97298cade0b1',
      sourceRepositoryRef: 'refs/heads/main',
      sourceRepositoryIdentifier: '632596897',
      sourceRepositoryOwnerUri: 'https://github.com/sigstore-conformance',
      sourceRepositoryOwnerIdentifier: '131804563',
      buildConfigUri:
        'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main',
      buildConfigDigest: '9739798945b2a848e911bcf1dddb97298cade0b1',
      buildTrigger: 'workflow_dispatch',
      runInvocationUri: expect.stringContaining('/actions/runs/') as string,
      sourceRepositoryVisibilityAtSigning: 'public',
    });
  });

  it('encodes the values of that certificate to the same extensions, in the same order', () => {
    expect(encodeFulcioExtensions(fulcioExtensions(real))).toEqual(
      real.extensions.filter((extension) => fulcioExtensionNumber(extension.oid) !== undefined),
    );
  });

  it('takes the issuer from 8, from 1 where 8 is absent, whichever comes first', () => {
    const old = { oid: `${arc}1`, critical: false, value: encodeUtf8('old') };
    const current = { oid: `${arc}8`, critical: false, value: derUtf8String('current') };
    expect(fulcioExtensions(holding(old))).toEqual({ issuer: 'old' });
    expect(fulcioExtensions(holding(old, current))).toEqual({ issuer: 'current' });
    expect(fulcioExtensions(holding(current, old))).toEqual({ issuer: 'current' });
  });

  it('does not read one encoding as the other', () => {
    expect(one(1, derUtf8String('https://a'))).toEqual({ issuer: '\f\thttps://a' });
    expect(() => one(8, encodeUtf8('https://a'))).toThrow(expect.objectContaining({ code: 'X509_MALFORMED' }));
    expect(() => one(9, derIa5String('https://a'))).toThrow(expect.objectContaining({ code: 'X509_MALFORMED' }));
  });

  it('refuses bad UTF-8, bytes after the string, and 16 KiB', () => {
    expect(() => one(2, Uint8Array.of(0xff))).toThrow(expect.objectContaining({ code: 'X509_MALFORMED' }));
    expect(() => one(9, Uint8Array.from([...derUtf8String('a'), 0]))).toThrow(
      expect.objectContaining({ code: 'X509_MALFORMED' }),
    );
    expect(() => one(2, new Uint8Array(16_385))).toThrow(expect.objectContaining({ code: 'X509_MALFORMED' }));
  });

  it('leaves out what the registry does not know', () => {
    expect(one(7, encodeUtf8('x'))).toEqual({});
    expect(one(25, encodeUtf8('x'))).toEqual({});
    expect([1, 6, 7, 8, 24, 25].map((n) => fulcioExtensionNumber(arc + n))).toEqual([
      1,
      6,
      undefined,
      8,
      24,
      undefined,
    ]);
  });
});

describe('encodeFulcioExtensions()', () => {
  it('refuses to go without an issuer', () => {
    expect(() => encodeFulcioExtensions({ subject: 'x' })).toThrow(expect.objectContaining({ code: 'X509_PROFILE' }));
    expect(() => encodeFulcioExtensions({ issuer: '' })).toThrow(expect.objectContaining({ code: 'X509_PROFILE' }));
  });

  it('skips empty values', () => {
    expect(encodeFulcioExtensions({ issuer: 'i', subject: '' }).map(({ oid }) => oid)).toEqual([`${arc}1`, `${arc}8`]);
  });

  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 });
  const names = [
    'issuer',
    'githubWorkflowName',
    'githubWorkflowRef',
    'buildSignerUri',
    'sourceRepositoryRef',
    'subject',
  ] as const;
  const values = fc
    .record(Object.fromEntries(names.map((name) => [name, fc.option(text, { nil: undefined })])))
    .map(
      (record) =>
        Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as FulcioExtensions,
    );

  it('is read back, for any text', () => {
    fc.assert(
      fc.property(text, values, (issuer, rest) => {
        const wanted = { ...rest, issuer };
        const extensions = encodeFulcioExtensions(wanted);
        expect(fulcioExtensions(holding(...extensions))).toEqual(wanted);
        for (const extension of extensions)
          expect(isFulcioValue(extension, fulcioExtensionNumber(extension.oid) ?? 0)).toBe(true);
      }),
    );
  });

  it('isFulcioValue() agrees with the reader for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(1, 9), fc.boolean(), (bytes, number, tagged) => {
        const value = tagged && bytes.length < 128 ? Uint8Array.from([0x0c, bytes.length, ...bytes]) : bytes;
        let readable = false;
        try {
          readable = Object.values(one(number, value)).some((found) => found !== '');
        } catch {
          // not readable
        }
        expect(isFulcioValue({ oid: arc + number, critical: false, value }, number)).toBe(readable);
      }),
    );
  });
});
