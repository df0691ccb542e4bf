import 'reflect-metadata';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate as NodeCertificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as peculiar from '@peculiar/x509';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { derUtf8String, encodeHex, encodePem, encodeUtf8 } from '#libs/encoding';
import { parsePublicKey, type Signer } from '#libs/crypto';
import { generateSigner, loadSigner, opensslCrypto } from '#libs/openssl';
import { type Certificate, type Extension, parseCertificate, parseCertificatePem } from './certificate.js';
import { buildChain } from './chain.js';
import { encodeLeafIndex, encodeSct, type Sct } from './ct.js';
import { authorityKeyId, checkLeafUsage, extendedKeyUsage, keyUsage, subjectKeyId } from './extensions.js';
import { encodeFulcioExtensions, fulcioExtensions, type FulcioExtensions } from './fulcio.js';
import { keyIdentifier, lintProfile, prepareCertificate } from './issue.js';
import { type LeafProfile, lintRules, type LintRuleName } from './lint.js';
import { oid } from './oid.js';
import { preTbs } from './precert.js';
import { subjectAltNames, type SubjectAltName } from './san.js';
import { embeddedScts, sctSignedInput, verifySct } from './sct.js';
import { authority, type Authority, day, extension, type Forgery } from './testing.js';

const hash = (algorithm: 'sha1' | 'sha256', data: Uint8Array) => opensslCrypto.hash(algorithm, data);

function rsaSigner(modulusLength: number): Signer {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength });
  return loadSigner(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
}

function rsaSpki(modulusLength: number): Uint8Array {
  return Uint8Array.from(
    generateKeyPairSync('rsa', { modulusLength }).publicKey.export({ type: 'spki', format: 'der' }),
  );
}

const caExtensions = [extension.certSign, extension.ca(0), extension.keyId(new Uint8Array(20).fill(0xca))];
const validity = { notBefore: new Date('2024-01-01T00:00:00Z'), notAfter: new Date('2034-01-01T00:00:00Z') };
const makeCa = (signer: Signer, changes: Partial<Forgery> = {}): Authority =>
  authority('ca', signer, undefined, { ...validity, extensions: caExtensions, ...changes });
const ca = makeCa(generateSigner());
const client = generateSigner();
const log = generateSigner();

const claims: FulcioExtensions = {
  issuer: 'https://token.actions.githubusercontent.com',
  githubWorkflowTrigger: 'push',
  githubWorkflowName: 'Ünïcode workflow',
  sourceRepositoryIdentifier: '12345678901',
  runInvocationUri: 'https://github.com/o/r/actions/runs/9007199254740993/attempts/1',
  subject: 'repo:o/r:ref:refs/heads/main',
};
const serial = new Uint8Array(20).map((_, i) => (i === 0 ? 0x7f : i));
const uri: SubjectAltName = { kind: 'uri', value: 'https://github.com/o/r/.github/workflows/w.yml@refs/heads/main' };

function profileOf(changes: Partial<LeafProfile> = {}, issuer = ca): LeafProfile {
  return {
    issuer: issuer.certificate,
    serial,
    notBefore: new Date('2025-01-10T12:00:00Z'),
    notAfter: new Date('2025-01-10T12:10:00Z'),
    spki: client.publicKey.spki,
    san: uri,
    extensions: encodeFulcioExtensions(claims),
    signatureScheme: issuer.signer.scheme,
    ...changes,
  };
}

function sctFor(precertificate: Certificate, issuer: Certificate): Sct {
  const stated = { timestampMs: 1736510400123n, extensions: encodeLeafIndex(7n) };
  const signature = log.sign(sctSignedInput(stated, precertificate, issuer, hash));
  return {
    version: 0,
    logId: hash('sha256', log.publicKey.spki),
    ...stated,
    hashAlgorithm: 4,
    signatureAlgorithm: 3,
    signature,
  };
}

function issue(profile: LeafProfile, signer: Signer) {
  const prepared = prepareCertificate(profile, hash);
  const precertificate = parseCertificate(prepared.signPrecertificate(signer));
  const sct = sctFor(precertificate, profile.issuer);
  const certificate = parseCertificate(prepared.signCertificate(signer, [encodeSct(sct)]));
  return { prepared, precertificate, certificate, sct };
}

describe('prepareCertificate()', () => {
  it('fixes every field as Fulcio certificates have it', () => {
    const { certificate, precertificate } = issue(profileOf(), ca.signer);
    for (const each of [certificate, precertificate]) {
      expect(each.serialBytes).toEqual(serial);
      expect(each.notBefore).toEqual(new Date('2025-01-10T12:00:00Z'));
      expect(each.notAfter).toEqual(new Date('2025-01-10T12:10:00Z'));
      expect(each.subject).toEqual(Uint8Array.of(0x30, 0));
      expect(each.issuer).toEqual(ca.certificate.subject);
      expect(Uint8Array.from(each.spki)).toEqual(Uint8Array.from(client.publicKey.spki));
      expect(keyUsage(each)).toEqual(['digitalSignature']);
      expect(extendedKeyUsage(each)).toEqual({ oids: [oid.codeSigning], critical: false });
      expect(subjectKeyId(each)).toEqual(keyIdentifier(client.publicKey.spki, hash));
      expect(authorityKeyId(each)).toEqual(subjectKeyId(ca.certificate));
      expect(subjectAltNames(each)).toEqual([uri]);
      expect(fulcioExtensions(each)).toEqual(claims);
      expect(() => checkLeafUsage(each, oid.codeSigning)).not.toThrow();
    }
  });

  it('orders extensions as certificates of the public instance do, and marks only key usage, name and poison critical', () => {
    const { certificate, precertificate } = issue(profileOf(), ca.signer);
    const shape = (each: Certificate) =>
      each.extensions.map(({ oid: type, critical }) => (critical ? `${type} critical` : type));
    const shared = [
      '2.5.29.15 critical',
      '2.5.29.37',
      '2.5.29.14',
      '2.5.29.35',
      '2.5.29.17 critical',
      ...[1, 2, 4, 8, 15, 21, 24].map((n) => `1.3.6.1.4.1.57264.1.${n}`),
    ];
    expect(shape(precertificate)).toEqual([...shared, '1.3.6.1.4.1.11129.2.4.3 critical']);
    expect(shape(certificate)).toEqual([...shared, '1.3.6.1.4.1.11129.2.4.2']);
    const [real] = parseCertificatePem(
      readFileSync(join(import.meta.dirname, '../../../test/vectors/x509/leaf-rekor2-happy-path.pem'), 'utf8'),
    );
    expect(real && shape(real).filter((type) => !type.startsWith('1.3.6.1.4.1.57264'))).toEqual([
      ...shared.slice(0, 5),
      '1.3.6.1.4.1.11129.2.4.2',
    ]);
  });

  it('makes the bytes of a real certificate again from what that certificate says', () => {
    const vectors = join(import.meta.dirname, '../../../test/vectors/x509');
    const [real] = parseCertificatePem(readFileSync(join(vectors, 'leaf-rekor2-happy-path.pem'), 'utf8'));
    const trust = JSON.parse(readFileSync(join(vectors, 'trust-rekor2.json'), 'utf8')) as {
      certificateAuthorities: { certificates: string[] }[];
    };
    const [issuer] = trust.certificateAuthorities.flatMap(({ certificates }) =>
      certificates.map((der) => parseCertificate(Uint8Array.from(Buffer.from(der, 'base64')))),
    );
    const [san] = real ? subjectAltNames(real) : [];
    if (!real || !issuer || !san) throw new Error('Cannot test: the vector is empty');
    const prepared = prepareCertificate(
      {
        issuer,
        serial: real.serialBytes,
        notBefore: real.notBefore,
        notAfter: real.notAfter,
        spki: real.spki,
        san,
        extensions: encodeFulcioExtensions(fulcioExtensions(real)),
        signatureScheme: { kind: 'ecdsa', hash: 'sha384' },
      },
      hash,
    );
    expect(encodeHex(prepared.tbs())).toBe(encodeHex(preTbs(real)));
  });

  // A change of configuration between the two signatures made 645 certificates whose SCTs did not cover them.
  it("Let's Encrypt 2023-06-15: precertificate and certificate are one but for the last extension, and the SCT covers both", async () => {
    const { prepared, precertificate, certificate, sct } = issue(profileOf(), ca.signer);
    expect(preTbs(certificate)).toEqual(preTbs(precertificate));
    expect(preTbs(certificate)).toEqual(prepared.tbs());
    expect(embeddedScts(certificate)).toEqual([sct]);
    await verifySct(sct, precertificate, ca.certificate, log.publicKey, opensslCrypto);
    await verifySct(sct, certificate, ca.certificate, log.publicKey, opensslCrypto);
  });

  it("Let's Encrypt 2023-06-15: a profile object that changes meanwhile does not reach the certificate", () => {
    const changing = {
      serial: serial.slice(),
      extensions: encodeFulcioExtensions(claims),
      notAfter: new Date('2025-01-10T12:10:00Z'),
    };
    const prepared = prepareCertificate(profileOf(changing), hash);
    const precertificate = parseCertificate(prepared.signPrecertificate(ca.signer));
    changing.serial.fill(1);
    changing.extensions.splice(1);
    changing.notAfter.setUTCFullYear(2030);
    const certificate = parseCertificate(
      prepared.signCertificate(ca.signer, [encodeSct(sctFor(precertificate, ca.certificate))]),
    );
    expect(preTbs(certificate)).toEqual(preTbs(precertificate));
  });

  it('is the same but for the last extension for any names and claims', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 400 });
    fc.assert(
      fc.property(
        text,
        fc.option(text, { nil: undefined }),
        fc.uint8Array({ minLength: 19, maxLength: 19 }),
        (issuer, name, tail) => {
          const san: SubjectAltName = { kind: 'other-name', oid: oid.fulcioOtherName, value: issuer };
          const extensions = encodeFulcioExtensions({
            issuer,
            ...(name !== undefined && { githubWorkflowName: name }),
          });
          const { precertificate, certificate } = issue(
            profileOf({ san, extensions, serial: Uint8Array.from([1, ...tail]) }),
            ca.signer,
          );
          expect(preTbs(certificate)).toEqual(preTbs(precertificate));
          expect(subjectAltNames(certificate)).toEqual([san]);
          expect(fulcioExtensions(certificate).issuer).toBe(issuer);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('writes several SCTs', () => {
    const prepared = prepareCertificate(profileOf(), hash);
    const sct = sctFor(parseCertificate(prepared.signPrecertificate(ca.signer)), ca.certificate);
    const certificate = parseCertificate(prepared.signCertificate(ca.signer, [encodeSct(sct), encodeSct(sct)]));
    expect(embeddedScts(certificate)).toEqual([sct, sct]);
  });

  it('writes UTCTime until 2049 and GeneralizedTime after, and a serial with leading zeros', () => {
    const old = makeCa(generateSigner(), { notAfter: new Date('2060-01-01T00:00:00Z') });
    const zeros = new Uint8Array(20).fill(0, 0, 19).fill(5, 19);
    const times = { notBefore: new Date('2049-12-31T23:59:59Z'), notAfter: new Date('2050-01-01T00:00:00Z') };
    const { certificate } = issue(profileOf({ ...times, serial: zeros }, old), old.signer);
    expect(certificate).toMatchObject({ ...times, serialNumber: 5n });
    const text = Buffer.from(certificate.tbs).toString('latin1');
    expect(text).toContain('\x17\x0d491231235959Z\x18\x0f20500101000000Z');
  });
});

describe('PreparedCertificate', () => {
  const sct = encodeSct(sctFor(issue(profileOf(), ca.signer).precertificate, ca.certificate));

  it('signs one precertificate, then one certificate, and nothing else', () => {
    const prepared = prepareCertificate(profileOf(), hash);
    expect(() => prepared.signCertificate(ca.signer, [sct])).toThrow(/next is the precertificate/);
    prepared.signPrecertificate(ca.signer);
    expect(() => prepared.signPrecertificate(ca.signer)).toThrow(/next is the certificate/);
    prepared.signCertificate(ca.signer, [sct]);
    expect(() => prepared.signCertificate(ca.signer, [sct])).toThrow(/next is the nothing/);
    expect(() => prepared.signPrecertificate(ca.signer)).toThrow(/next is the nothing/);
  });

  it('is spent by a failure as well', () => {
    const prepared = prepareCertificate(profileOf(), hash);
    prepared.signPrecertificate(ca.signer);
    expect(() => prepared.signCertificate(ca.signer, [])).toThrow(
      expect.objectContaining({ code: 'X509_SCT_MALFORMED' }),
    );
    expect(() => prepared.signCertificate(ca.signer, [sct])).toThrow(/next is the nothing/);
  });

  it('refuses an SCT that cannot be read', () => {
    const prepared = prepareCertificate(profileOf(), hash);
    prepared.signPrecertificate(ca.signer);
    expect(() => prepared.signCertificate(ca.signer, [sct.subarray(1)])).toThrow(
      expect.objectContaining({ code: 'X509_SCT_MALFORMED' }),
    );
  });

  it('refuses a signer whose key or scheme is not the one that was prepared for', () => {
    const otherKey = prepareCertificate(profileOf(), hash);
    expect(() => otherKey.signPrecertificate(generateSigner())).toThrow(
      expect.objectContaining({ code: 'X509_PROFILE' }),
    );
    const otherScheme = prepareCertificate(profileOf(), hash);
    const sha512: Signer = {
      ...ca.signer,
      scheme: { kind: 'ecdsa', hash: 'sha512' },
      sign: (message) => ca.signer.sign(message),
    };
    expect(() => otherScheme.signPrecertificate(sha512)).toThrow(expect.objectContaining({ code: 'X509_PROFILE' }));
    const rotated = prepareCertificate(profileOf(), hash);
    rotated.signPrecertificate(ca.signer);
    expect(() => rotated.signCertificate(generateSigner(), [sct])).toThrow(
      expect.objectContaining({ code: 'X509_PROFILE' }),
    );
  });
});

describe('the lint', () => {
  const at = (text: string) => new Date(text);
  const { extensions } = profileOf();
  const replace = (number: number, changes: Partial<Extension>) =>
    extensions.map((each) => (each.oid === `1.3.6.1.4.1.57264.1.${number}` ? { ...each, ...changes } : each));
  const issuerWith = (changes: Partial<Forgery>): Partial<LeafProfile> => ({
    issuer: makeCa(ca.signer, changes).certificate,
  });
  const otherName = (type: string): SubjectAltName => ({ kind: 'other-name', oid: type, value: 'user!example.com' });

  const cases: [LintRuleName, string, Partial<LeafProfile>][] = [
    ['serial-length', '19 bytes', { serial: serial.slice(1) }],
    ['serial-length', '21 bytes', { serial: Uint8Array.from([...serial, 1]) }],
    ['serial-positive', 'top bit', { serial: serial.with(0, 0x80) }],
    ['serial-non-zero', 'all zero', { serial: new Uint8Array(20) }],
    ['validity-exact', 'a millisecond at the start', { notBefore: at('2025-01-10T12:00:00.001Z') }],
    ['validity-exact', 'half a second at the end', { notAfter: at('2025-01-10T12:10:00.500Z') }],
    ['validity-exact', 'no date', { notAfter: new Date(NaN) }],
    ['validity-order', 'the end is the start', { notAfter: at('2025-01-10T12:00:00Z') }],
    ['validity-in-issuer', 'before the issuer', { notBefore: at('2023-12-31T23:59:59Z') }],
    ['validity-in-issuer', 'after the issuer', { notAfter: at('2034-01-01T00:00:01Z') }],
    ['key-strength', 'RSA 1024', { spki: rsaSpki(1024) }],
    ['key-strength', 'RSA 2560', { spki: rsaSpki(2560) }],
    ['key-not-issuer', 'the CA key', { spki: ca.certificate.spki }],
    ['san-kind', 'a DNS name', { san: { kind: 'dns', value: 'example.com' } }],
    ['san-not-empty', 'an empty e-mail', { san: { kind: 'email', value: '' } }],
    ['san-not-empty', 'an empty URI', { san: { kind: 'uri', value: '' } }],
    ['san-ascii', 'an e-mail that is not ASCII', { san: { kind: 'email', value: 'ä@example.com' } }],
    ['san-ascii', 'a URI that is not ASCII', { san: { kind: 'uri', value: 'https://github.com/ö/r' } }],
    ['san-ascii', 'a NUL', { san: { kind: 'email', value: 'a@example.com\0' } }],
    ['san-email', 'no @', { san: { kind: 'email', value: 'example.com' } }],
    ['san-email', 'nothing before the @', { san: { kind: 'email', value: '@example.com' } }],
    ['san-email', 'nothing after the @', { san: { kind: 'email', value: 'a@' } }],
    ['san-uri', 'no scheme', { san: { kind: 'uri', value: 'github.com/o/r' } }],
    ['san-other-name', 'another type', { san: otherName('1.3.6.1.4.1.57264.1.8') }],
    [
      'extension-known',
      'one of another arc',
      { extensions: [...extensions, { oid: '1.2.3', critical: false, value: derUtf8String('x') }] },
    ],
    [
      'extension-known',
      'a second SAN',
      { extensions: [...extensions, extension.email('a@b')].map((each) => ({ ...each, critical: false })) },
    ],
    ['extension-not-critical', 'a critical claim', { extensions: replace(24, { critical: true }) }],
    ['extension-order', 'turned round', { extensions: [...extensions].reverse() }],
    ['extension-order', 'one twice', { extensions: [...extensions, ...extensions.slice(-1)] }],
    ['extension-encoding', 'a bare value', { extensions: replace(24, { value: encodeUtf8('x') }) }],
    ['extension-encoding', 'an empty value', { extensions: replace(2, { value: new Uint8Array() }) }],
    ['extension-encoding', 'bad UTF-8', { extensions: replace(4, { value: Uint8Array.of(0xff) }) }],
    ['extension-encoding', 'another string type', { extensions: replace(21, { value: Uint8Array.of(0x16, 1, 0x61) }) }],
    ['issuer-extension', 'no 1', { extensions: extensions.slice(1) }],
    ['issuer-extension', 'no 8', { extensions: extensions.filter((each) => !each.oid.endsWith('57264.1.8')) }],
    ['issuer-extension', 'two issuers', { extensions: replace(1, { value: encodeUtf8('https://evil.example') }) }],
    ['issuer-ca', 'no CA', issuerWith({ extensions: [extension.certSign, extension.keyId(serial)] })],
    [
      'issuer-ca',
      'may not sign',
      issuerWith({ extensions: [extension.digitalSignature, extension.ca(), extension.keyId(serial)] }),
    ],
    [
      'issuer-purpose',
      'another purpose',
      issuerWith({ extensions: [...caExtensions, extension.purposes(oid.timeStamping)] }),
    ],
    ['issuer-key-id', 'no key identifier', issuerWith({ extensions: [extension.certSign, extension.ca()] })],
    ['signature-scheme', 'another hash', { signatureScheme: { kind: 'ecdsa', hash: 'sha384' } }],
    ['signature-scheme', 'another kind', { signatureScheme: { kind: 'ed25519' } }],
  ];

  it.each(cases)('%s alone objects to: %s', (rule, _, changes) => {
    expect(lintProfile(profileOf(changes)).map((finding) => finding.rule)).toEqual([rule]);
    expect(() => prepareCertificate(profileOf(changes), hash)).toThrow(
      expect.objectContaining({ code: 'X509_PROFILE', details: { rule } }),
    );
  });

  it('has a case for every rule', () => {
    expect(new Set(cases.map(([rule]) => rule))).toEqual(new Set(lintRules));
  });

  it('objects to nothing it should not', () => {
    const fine: Partial<LeafProfile>[] = [
      {},
      { san: { kind: 'email', value: 'a@example.com' } },
      { san: otherName(oid.fulcioOtherName) },
      { san: { kind: 'uri', value: 'spiffe://example.org/a' } },
      { extensions: encodeFulcioExtensions({ issuer: 'https://a' }) },
      { notBefore: at('2024-01-01T00:00:00Z'), notAfter: at('2034-01-01T00:00:00Z') },
      issuerWith({ extensions: [...caExtensions, extension.purposes(oid.codeSigning)] }),
    ];
    for (const changes of fine) expect(lintProfile(profileOf(changes))).toEqual([]);
  });

  it('tells every objection, the first as its rule', () => {
    const bad = profileOf({ serial: new Uint8Array(20), san: { kind: 'email', value: '' } });
    expect(() => prepareCertificate(bad, hash)).toThrow(
      'Cannot prepare certificate: serial is zero (serial-non-zero); the name is empty (san-not-empty)',
    );
  });

  it('refuses a key that cannot be read', () => {
    expect(() => prepareCertificate(profileOf({ spki: Uint8Array.of(0x30, 0) }), hash)).toThrow(
      expect.objectContaining({ code: 'X509_PROFILE' }),
    );
    expect(() => keyIdentifier(Uint8Array.of(0x30, 0), hash)).toThrow(
      expect.objectContaining({ code: 'X509_MALFORMED' }),
    );
  });
});

const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey.export({ type: 'spki', format: 'der' });
const clients = {
  'P-256': client.publicKey,
  'P-384': generateSigner('P-384').publicKey,
  'P-521': parsePublicKey(p521),
  'RSA 2048': rsaSigner(2048).publicKey,
  Ed25519: generateSigner('ed25519').publicKey,
};
const cas = {
  'P-256': ca,
  'P-384': makeCa(generateSigner('P-384')),
  'RSA 2048': makeCa(rsaSigner(2048)),
  Ed25519: makeCa(generateSigner('ed25519')),
};
const pairs = Object.entries(cas).flatMap(([caName, issuer]) =>
  Object.entries(clients).map(([name, key]) => [caName, name, issuer, key] as const),
);
const sans: SubjectAltName[] = [
  uri,
  { kind: 'email', value: 'a@example.com' },
  { kind: 'other-name', oid: oid.fulcioOtherName, value: 'u!d' },
];

describe('other readers', () => {
  it.each(pairs)(
    'a %s CA and a %s key: @peculiar/x509 and node:crypto read the same fields, and the signature verifies',
    (_, __, issuer, key) => {
      for (const san of sans) {
        const { certificate, precertificate } = issue(profileOf({ san, spki: key.spki }, issuer), issuer.signer);
        for (const each of [certificate, precertificate]) {
          const theirs = new peculiar.X509Certificate(each.der as never);
          expect(theirs.serialNumber).toBe(encodeHex(serial));
          expect([theirs.notBefore, theirs.notAfter]).toEqual([each.notBefore, each.notAfter]);
          expect(theirs.subject).toBe('');
          expect(theirs.issuer).toBe('O=example, CN=ca');
          expect(new Uint8Array(theirs.publicKey.rawData)).toEqual(Uint8Array.from(key.spki));
          expect(theirs.extensions.map(({ type, critical }) => [type, critical])).toEqual(
            each.extensions.map(({ oid: type, critical }) => [type, critical]),
          );
          expect(theirs.extensions.map(({ value }) => new Uint8Array(value))).toEqual(
            each.extensions.map(({ value }) => Uint8Array.from(value)),
          );
          const names = theirs.getExtension(peculiar.SubjectAlternativeNameExtension)?.names.toJSON();
          if (san.kind !== 'other-name')
            expect(names).toEqual([{ type: san.kind === 'uri' ? 'url' : 'email', value: san.value }]);
          const node = new NodeCertificate(each.der);
          expect(node.verify(new NodeCertificate(issuer.certificate.der).publicKey)).toBe(true);
          expect(node.checkIssued(new NodeCertificate(issuer.certificate.der))).toBe(true);
          expect(node.ca).toBe(false);
        }
      }
    },
  );

  it('our own path building accepts it while it is valid', async () => {
    const { certificate } = issue(profileOf(), ca.signer);
    const build = (time: Date) =>
      buildChain(
        certificate,
        { intermediates: [], anchors: [ca.certificate], time, extendedKeyUsage: oid.codeSigning },
        opensslCrypto,
      );
    await expect(build(certificate.notAfter)).resolves.toEqual([certificate, ca.certificate]);
    await expect(build(day(9))).rejects.toMatchObject({ code: 'X509_CHAIN_EXPIRED' });
    await expect(
      buildChain(
        issue(profileOf(), ca.signer).precertificate,
        { intermediates: [], anchors: [ca.certificate], time: certificate.notAfter },
        opensslCrypto,
      ),
    ).rejects.toMatchObject({ code: 'X509_CHAIN_EXTENSION' });
  });
});

const openssl = spawnSync('openssl', ['version'], { encoding: 'utf8' });
if (openssl.status !== 0) console.warn('openssl is not installed: its reading of our certificates is not tested');

describe.skipIf(openssl.status !== 0)('openssl', () => {
  const run = (folder: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' });
    return { status, text: stdout + stderr };
  };

  it.each(Object.entries(cas))('x509 -text and verify -attime accept a certificate of a %s CA', (_, issuer) => {
    const folder = mkdtempSync(join(tmpdir(), 'chancery-x509-'));
    try {
      const { certificate } = issue(
        profileOf({ san: { kind: 'email', value: 'a@example.com' } }, issuer),
        issuer.signer,
      );
      writeFileSync(join(folder, 'leaf.pem'), encodePem('CERTIFICATE', certificate.der));
      writeFileSync(join(folder, 'ca.pem'), encodePem('CERTIFICATE', issuer.certificate.der));
      const { text } = run(folder, 'x509', '-in', 'leaf.pem', '-noout', '-text');
      for (const part of [
        'Version: 3 (0x2)',
        'X509v3 Key Usage: critical\n                Digital Signature\n',
        'X509v3 Extended Key Usage: \n                Code Signing\n',
        'X509v3 Subject Alternative Name: critical\n                email:a@example.com\n',
        'CT Precertificate SCTs: \n',
        'Jan 10 12:00:00.123 2025 GMT',
      ]) {
        expect(text).toContain(part);
      }
      const verify = (time: Date) =>
        run(
          folder,
          'verify',
          '-x509_strict',
          '-attime',
          String(time.getTime() / 1000),
          '-CAfile',
          'ca.pem',
          'leaf.pem',
        );
      // OpenSSL takes the very last second for expired already, where RFC 5280 §4.1.2.5 includes it.
      expect(verify(new Date(certificate.notAfter.getTime() - 1000))).toMatchObject({
        status: 0,
        text: 'leaf.pem: OK\n',
      });
      expect(verify(new Date(certificate.notAfter.getTime() + 1000)).text).toContain('certificate has expired');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
