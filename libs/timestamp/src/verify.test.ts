import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  derBitString,
  derBoolean,
  derElement,
  derExplicit,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  derTag,
  derUtf8String,
} from '#libs/encoding';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import type { Certificate } from '#libs/x509';
import { parseTimestampResponse, TimestampError, verifyTimestamp, type TrustedAuthority } from './index.js';
import {
  attribute,
  contentType,
  embed,
  end,
  issuerAndSerial,
  makeAuthority,
  makeCertificate,
  makeToken,
  makeTstInfo,
  messageDigest,
  signingCertificateV2,
  start,
  timeStamping,
  type CertificateFields,
} from '../../../test/vectors/timestamp/authority.js';

const crypto = opensslCrypto;
const signature = new TextEncoder().encode('a signature');
const digest = crypto.hash('sha256', signature);
const imprint = { hash: 'sha256', digest } as const;
const authority = makeAuthority();
const { leaf, root, chain } = authority;
const trusted: TrustedAuthority = { certChain: chain, validFor: { start, end } };
const caOnly: TrustedAuthority = { certChain: [root], validFor: { start, end } };
const code = (code: string) => expect.objectContaining({ name: 'TimestampError', code });
const genTime = (text: string) => derElement(derTag.generalizedTime, new TextEncoder().encode(text));

const verify = (der: Uint8Array, options: Partial<Parameters<typeof verifyTimestamp>[1]> = {}) =>
  verifyTimestamp(der, { signature, authorities: [trusted], crypto, ...options });
const token = (overrides: Parameters<typeof makeToken>[2] = {}) => makeToken(authority, signature, overrides);

describe('parseTimestampResponse() accepts every field that RFC 3161 allows', () => {
  test('no accuracy, no nonce, no tsa', () => {
    const parsed = parseTimestampResponse(token());
    expect(parsed).toMatchObject({ status: 0, policy: '1.3.6.1.4.1.57264.2', serialNumber: 7n, ordering: false });
    expect(parsed.accuracy).toBeUndefined();
    expect(parsed.nonce).toBeUndefined();
    expect(parsed.tsa).toBeUndefined();
    expect(parsed.certificates).toEqual([]);
  });

  test('accuracy with millis and micros, ordering, nonce, tsa, an uncritical extension', () => {
    const tsa = derElement(0xa4, leaf.subject);
    const after = [
      derSequence(derInteger(2n), derElement(0x80, Uint8Array.of(1, 0xf4)), derElement(0x81, Uint8Array.of(0x64))),
      derBoolean(true),
      derInteger(5n),
      derExplicit(0, tsa),
      derElement(0xa1, derSequence(derOid('1.2.3'), derOctetString(new Uint8Array()))),
    ];
    const parsed = parseTimestampResponse(token({ tstInfo: makeTstInfo(digest, { after }) }));
    expect(parsed).toMatchObject({
      accuracy: { seconds: 2, millis: 500, micros: 100 },
      ordering: true,
      criticalExtension: false,
    });
    expect(parsed.nonce).toEqual(Uint8Array.of(5));
    expect(parsed.tsa).toEqual(tsa);
  });

  test('a time with a fraction', () => {
    const parsed = parseTimestampResponse(
      token({ tstInfo: makeTstInfo(digest, { genTime: genTime('20300601120000.25Z') }) }),
    );
    expect(parsed.genTime).toEqual(new Date('2030-06-01T12:00:00.250Z'));
  });

  test('granted with modifications, with a text', async () => {
    const status = derSequence(derInteger(1n), derSequence(derUtf8String('policy replaced')));
    expect((await verify(token({ status }))).timestamp.status).toBe(1);
  });

  test('an empty set of certificates as older authorities of Sigstore write it', async () => {
    expect((await verify(token({ certificates: Uint8Array.of(0xa0, 0) }))).certificate).toBe(leaf);
  });
});

describe('parseTimestampResponse() rejects', () => {
  const tst = (overrides: Parameters<typeof makeTstInfo>[1]) => ({ tstInfo: makeTstInfo(digest, overrides) });
  const two = attribute('1.2.840.113549.1.9.5', derNull(), derNull());
  const rows: [string, Parameters<typeof makeToken>[2], string?][] = [
    [
      'status 2, rejection',
      { status: derSequence(derInteger(2n), derBitString(Uint8Array.of(4), 2)) },
      'TIMESTAMP_REJECTED',
    ],
    ['status 5', { status: derSequence(derInteger(5n)) }, 'TIMESTAMP_REJECTED'],
    ['a negative status', { status: derSequence(derInteger(-1n)) }, 'TIMESTAMP_REJECTED'],
    ['a status with more fields', { status: derSequence(derInteger(0n), derNull()) }],
    ['another content', { contentInfoType: '1.2.840.113549.1.7.1' }],
    ['signed content that is no timestamp', { eContentType: '1.2.840.113549.1.7.1' }],
    ['SignedData version 1', { signedDataVersion: 1n }],
    ['a digest algorithm that is not announced', { digestAlgorithms: [] }],
    ['no signer', { signers: 0 }],
    ['two signers', { signers: 2 }],
    ['a signer named by key identifier', { sid: derElement(0x80, Uint8Array.of(1)), signerVersion: 3n }],
    ['signer version 3', { signerVersion: 3n }],
    ['no signed attributes', { attributes: [] }, 'TIMESTAMP_ATTRIBUTE'],
    [
      'SHA-1 as digest algorithm',
      { digestAlgorithm: '1.3.14.3.2.26', digestAlgorithms: ['1.3.14.3.2.26'] },
      'TIMESTAMP_HASH_UNKNOWN',
    ],
    ['attributes out of DER order', ({ attributes }) => ({ attributes: [...attributes].reverse(), unsorted: true })],
    ['an attribute twice', ({ attributes }) => ({ attributes: [...attributes, ...attributes] })],
    ['an attribute with two values', ({ attributes }) => ({ attributes: [...attributes, two] })],
    ['an attribute without a value', ({ attributes }) => ({ attributes: [...attributes, attribute('1.2.3')] })],
    ['seventeen certificates', { certificates: embed(...Array.from({ length: 17 }, () => leaf)) }],
    ['a TSTInfo of version 2', tst({ version: 2n })],
    ['a TSTInfo with bytes after it', { tstInfo: Uint8Array.of(...makeTstInfo(digest), 0) }],
    ['a time that ends in 0', tst({ genTime: genTime('20300601120000.0Z') })],
    ['a UTCTime', tst({ genTime: derElement(derTag.utcTime, new TextEncoder().encode('300601120000Z')) })],
    ['ordering FALSE spelled out', tst({ after: [derBoolean(false)] })],
    ['fields out of order', tst({ after: [derInteger(1n), derBoolean(true)] })],
    ['millis of 1000', tst({ after: [derSequence(derElement(0x80, Uint8Array.of(3, 0xe8)))] })],
    ['negative seconds', tst({ after: [derSequence(derInteger(-1n))] })],
    ['a serial number of 65 bytes', tst({ serial: derInteger(new Uint8Array(65).fill(1)) })],
    ['an empty list of extensions', tst({ after: [derElement(0xa1, new Uint8Array())] })],
    ['SHA-1 as imprint', tst({ hash: derSequence(derOid('1.3.14.3.2.26')) }), 'TIMESTAMP_WEAK_HASH'],
    ['an unknown hash as imprint', tst({ hash: derSequence(derOid('1.2.3')) }), 'TIMESTAMP_HASH_UNKNOWN'],
    ['a digest of the wrong length', { tstInfo: makeTstInfo(new Uint8Array(20)) }, 'TIMESTAMP_DIGEST_LENGTH'],
  ];
  test.each(rows)('%s', async (_, overrides, expected = 'TIMESTAMP_MALFORMED') => {
    await expect(verify(token(overrides))).rejects.toThrow(code(expected));
  });

  test('bytes after the end, and no token at all', async () => {
    await expect(verify(Uint8Array.of(...token(), 0))).rejects.toThrow(code('TIMESTAMP_MALFORMED'));
    await expect(verify(derSequence(derSequence(derInteger(0n))))).rejects.toThrow(code('TIMESTAMP_MALFORMED'));
  });

  test('CVE-2024-45395: more bytes than any token has, before it reads them', () => {
    expect(() => parseTimestampResponse(new Uint8Array(200_000))).toThrow(code('TIMESTAMP_TOO_LARGE'));
  });

  test('any bytes, with nothing but TimestampError', () => {
    const good = token({ certificates: embed(leaf) });
    const mutated = fc
      .tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }))
      .map(([at, bits]) => good.map((byte, i) => (i === at ? byte ^ bits : byte)));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), (der) => {
        try {
          parseTimestampResponse(der);
        } catch (error) {
          expect(error).toBeInstanceOf(TimestampError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('verifyTimestamp(): what was stamped', () => {
  test('takes the signature, or its digest', async () => {
    expect((await verify(token())).genTime).toEqual(new Date('2030-06-01T12:00:00Z'));
    const options = { authorities: [trusted], crypto };
    expect((await verifyTimestamp(token(), { ...options, imprint })).certificate).toBe(leaf);
    await expect(verifyTimestamp(token(), options)).rejects.toThrow('neither');
  });

  test('tsa#1375: rejects a token over other data, also over the same digest by another hash', async () => {
    await expect(verify(token(), { signature: Uint8Array.of(1) })).rejects.toThrow(code('TIMESTAMP_IMPRINT'));
    const other = { hash: 'sha256', digest: new Uint8Array(32) } as const;
    const options = { authorities: [trusted], crypto };
    await expect(verifyTimestamp(token(), { ...options, imprint: other })).rejects.toThrow(code('TIMESTAMP_IMPRINT'));
    const renamed = { hash: 'sha512', digest } as const;
    await expect(verifyTimestamp(token(), { ...options, imprint: renamed })).rejects.toThrow(code('TIMESTAMP_IMPRINT'));
  });

  test('tsa#1416: the policy must be the one asked for, if one was', async () => {
    expect((await verify(token(), { policy: '1.3.6.1.4.1.57264.2' })).certificate).toBe(leaf);
    await expect(verify(token(), { policy: '1.3.6.1.4.1.57264' })).rejects.toThrow(code('TIMESTAMP_POLICY'));
  });

  test('rejects a critical extension', async () => {
    const extension = derSequence(derOid('1.2.3'), derBoolean(true), derOctetString(new Uint8Array()));
    const tstInfo = makeTstInfo(digest, { after: [derElement(0xa1, extension)] });
    await expect(verify(token({ tstInfo }))).rejects.toThrow(code('TIMESTAMP_EXTENSION'));
  });
});

describe('verifyTimestamp(): the nonce', () => {
  const withNonce = token({ tstInfo: makeTstInfo(digest, { after: [derInteger(0x1234n)] }) });

  test('must be the one sent, if one was sent', async () => {
    expect((await verify(withNonce, { nonce: Uint8Array.of(0x12, 0x34) })).certificate).toBe(leaf);
    expect((await verify(withNonce)).certificate).toBe(leaf);
    await expect(verify(withNonce, { nonce: Uint8Array.of(0x12, 0x35) })).rejects.toThrow(code('TIMESTAMP_NONCE'));
  });

  test('tsa#1405: a missing nonce is rejected when one was sent', async () => {
    await expect(verify(token(), { nonce: Uint8Array.of(1) })).rejects.toThrow(code('TIMESTAMP_NONCE'));
  });
});

describe('verifyTimestamp(): the authority', () => {
  test('rejects an authority that is not trusted', async () => {
    const unknown = code('TIMESTAMP_AUTHORITY_UNKNOWN');
    await expect(verify(token(), { authorities: [] })).rejects.toThrow(unknown);
    await expect(verify(token(), { authorities: [{ certChain: [], validFor: { start } }] })).rejects.toThrow(unknown);
    const renewed = makeCertificate({ commonName: 'tsa', serial: 9n }, authority.signer, {
      signer: authority.rootSigner,
      certificate: root,
    });
    await expect(verify(token({ sid: issuerAndSerial(renewed) }))).rejects.toThrow(unknown);
    const otherIssuer = derSequence(leaf.subject, derElement(derTag.integer, leaf.serialBytes));
    await expect(verify(token({ sid: otherIssuer }))).rejects.toThrow(unknown);
  });

  test('embedded certificates do not establish trust', async () => {
    const hostile = makeAuthority({ commonName: 'other' });
    const der = makeToken(hostile, signature, { certificates: embed(hostile.leaf, hostile.root) });
    await expect(verify(der, { authorities: [caOnly] })).rejects.toThrow(code('TIMESTAMP_CHAIN'));
    const named = makeAuthority({ serial: 77n });
    const foreign = makeToken(named, signature, { certificates: embed(named.leaf, named.root) });
    await expect(verify(foreign)).rejects.toThrow(code('TIMESTAMP_AUTHORITY_UNKNOWN'));
  });

  test('takes the signing certificate from the token when only CAs are trusted', async () => {
    const der = token({ certificates: embed(root, leaf) });
    expect((await verify(der, { authorities: [caOnly] })).certificate.der).toEqual(leaf.der);
    await expect(verify(token(), { authorities: [caOnly] })).rejects.toThrow(code('TIMESTAMP_AUTHORITY_UNKNOWN'));
  });

  test('uses embedded intermediates as hints', async () => {
    const middleSigner = generateSigner();
    const above = { signer: authority.rootSigner, certificate: root };
    const middle = makeCertificate({ commonName: 'middle', ca: true, serial: 2n }, middleSigner, above);
    const own = makeCertificate({ commonName: 'tsa' }, authority.signer, { signer: middleSigner, certificate: middle });
    const deep = { ...authority, leaf: own };
    const der = (...extra: Certificate[]) => makeToken(deep, signature, { certificates: embed(own, ...extra) });
    expect((await verify(der(middle), { authorities: [caOnly] })).certificate.der).toEqual(own.der);
    await expect(verify(der(), { authorities: [caOnly] })).rejects.toThrow(code('TIMESTAMP_CHAIN'));
    const listed = { certChain: [own, middle, root], validFor: { start } };
    expect((await verify(makeToken(deep, signature), { authorities: [listed] })).authority).toBe(listed);
  });

  test('an intermediate for other purposes does not issue for timestamps', async () => {
    const middleSigner = generateSigner();
    const above = { signer: authority.rootSigner, certificate: root };
    const fields = { commonName: 'middle', ca: true, serial: 2n, purposes: ['1.3.6.1.5.5.7.3.3'] };
    const middle = makeCertificate(fields, middleSigner, above);
    const own = makeCertificate({ commonName: 'tsa' }, authority.signer, { signer: middleSigner, certificate: middle });
    const authorities = [{ certChain: [own, middle, root], validFor: { start } }];
    await expect(verify(makeToken({ ...authority, leaf: own }, signature), { authorities })).rejects.toThrow(
      code('TIMESTAMP_CHAIN'),
    );
  });

  test('is trusted in a period with both ends included', async () => {
    const at = new Date('2030-06-01T12:00:00Z');
    const during = (from: Date, to?: Date) =>
      verify(token(), { authorities: [{ certChain: chain, validFor: { start: from, ...(to && { end: to }) } }] });
    expect((await during(at, at)).genTime).toEqual(at);
    expect((await during(start)).genTime).toEqual(at);
    await expect(during(new Date(at.getTime() + 1))).rejects.toThrow(code('TIMESTAMP_OUTSIDE_VALIDITY'));
    await expect(during(start, new Date(at.getTime() - 1))).rejects.toThrow(code('TIMESTAMP_OUTSIDE_VALIDITY'));
  });

  test('may be listed twice, of which one must hold', async () => {
    const old = { certChain: chain, validFor: { start, end: start } };
    expect((await verify(token(), { authorities: [old, trusted] })).authority).toBe(trusted);
    await expect(verify(token(), { authorities: [old, old] })).rejects.toThrow(code('TIMESTAMP_OUTSIDE_VALIDITY'));
  });
});

describe('verifyTimestamp(): the certificate', () => {
  const withLeaf = async (fields: Partial<CertificateFields>): Promise<unknown> => {
    const own = makeAuthority(fields);
    return verify(makeToken(own, signature), { authorities: [{ certChain: own.chain, validFor: { start } }] });
  };

  test.each<[string, Partial<CertificateFields>]>([
    ['an extended key usage that is not critical', { purposesCritical: false }],
    ['no extended key usage', { purposes: null }],
    ['another purpose', { purposes: ['1.3.6.1.5.5.7.3.3'] }],
    ['a second purpose', { purposes: [timeStamping, '1.3.6.1.5.5.7.3.3'] }],
    ['any purpose', { purposes: ['2.5.29.37.0'] }],
    ['a key usage without signatures', { usage: 0x20 }],
  ])('rejects %s', async (_, fields) => {
    await expect(withLeaf(fields)).rejects.toThrow(code('TIMESTAMP_CERTIFICATE'));
  });

  test('tsa#1389: a second purpose that nobody knows counts too', async () => {
    await expect(withLeaf({ purposes: [timeStamping, '1.2.3.4.5'] })).rejects.toThrow(code('TIMESTAMP_CERTIFICATE'));
  });

  test('accepts nonRepudiation, and no key usage at all', async () => {
    expect(await withLeaf({ usage: 0x40 })).toBeDefined();
    expect(await withLeaf({ usage: null })).toBeDefined();
  });

  test('rejects a CA that signs timestamps itself', async () => {
    const above = { signer: authority.rootSigner, certificate: root };
    const fields = { commonName: 'ca', ca: true, serial: 3n, purposes: [timeStamping], usage: 0x84 };
    const ca = makeCertificate(fields, authority.signer, above);
    const der = makeToken({ ...authority, leaf: ca }, signature, { certificates: embed(ca) });
    await expect(verify(der, { authorities: [caOnly] })).rejects.toThrow(code('TIMESTAMP_CERTIFICATE'));
  });

  test('tsa#1384: the chain is checked at the time of the token, not today', async () => {
    const past = { notBefore: new Date('2001-01-01T00:00:00Z'), notAfter: new Date('2002-01-01T00:00:00Z') };
    const rootSigner = generateSigner();
    const ca = makeCertificate({ commonName: 'root', ca: true, ...past }, rootSigner);
    const own = makeCertificate({ commonName: 'tsa', ...past }, authority.signer, {
      signer: rootSigner,
      certificate: ca,
    });
    const authorities = [{ certChain: [own, ca], validFor: { start: past.notBefore } }];
    const at = (text: string) =>
      verify(
        makeToken({ ...authority, leaf: own }, signature, { tstInfo: makeTstInfo(digest, { genTime: genTime(text) }) }),
        {
          authorities,
        },
      );
    expect((await at('20010601000000Z')).genTime).toEqual(new Date('2001-06-01T00:00:00Z'));
    expect((await at('20020101000000Z')).genTime).toEqual(past.notAfter);
    await expect(at('20020101000001Z')).rejects.toThrow(code('TIMESTAMP_CHAIN'));
    await expect(at('20300601120000Z')).rejects.toThrow(code('TIMESTAMP_CHAIN'));
  });

  test('rejects a leaf that the root did not sign', async () => {
    const other = makeAuthority();
    const authorities = [{ certChain: [leaf, other.root], validFor: { start } }];
    await expect(verify(token(), { authorities })).rejects.toThrow(code('TIMESTAMP_CHAIN'));
  });
});

describe('CVE-2026-39984: all checks are about the certificate whose key signed', () => {
  const attackerSigner = generateSigner();
  const hostile = makeAuthority({ commonName: 'attacker', serial: 5n }, attackerSigner);
  /** Issuer and serial number of the real one, the attacker's key. */
  const twin = makeCertificate({ commonName: 'tsa', serial: 0x80n }, attackerSigner, {
    signer: hostile.rootSigner,
    certificate: root,
  });

  test('injected certificates beside the real signer change nothing', async () => {
    for (const certificates of [embed(hostile.leaf, leaf, hostile.root), embed(leaf, hostile.leaf)]) {
      expect((await verify(token({ certificates }))).certificate).toBe(leaf);
      const found = await verify(token({ certificates }), { authorities: [caOnly] });
      expect(found.certificate.der).toEqual(leaf.der);
    }
  });

  test("rejects an attacker's signature beside the real certificate", async () => {
    for (const authorities of [[trusted], [caOnly]]) {
      for (const certificates of [embed(leaf), embed(leaf, hostile.leaf), embed(hostile.leaf, leaf)]) {
        const der = token({ signer: attackerSigner, certificates });
        await expect(verify(der, { authorities })).rejects.toThrow(code('TIMESTAMP_SIGNATURE'));
      }
    }
  });

  test('rejects an embedded certificate that takes the name of the pinned one', async () => {
    const parts = { certificates: embed(twin) };
    await expect(verify(token(parts))).rejects.toThrow(code('TIMESTAMP_CERTIFICATE'));
  });

  test('rejects a twin under the same name when only CAs are trusted', async () => {
    const der = makeToken({ ...authority, leaf: twin, signer: attackerSigner }, signature, {
      certificates: embed(twin, leaf),
    });
    await expect(verify(der, { authorities: [caOnly] })).rejects.toThrow(code('TIMESTAMP_CHAIN'));
    const signedByReal = token({ certificates: embed(twin, leaf) });
    expect((await verify(signedByReal, { authorities: [caOnly] })).certificate.der).toEqual(leaf.der);
  });

  test('rejects another certificate for the same key', async () => {
    const second = makeCertificate({ commonName: 'tsa', serial: 4n }, authority.signer, {
      signer: authority.rootSigner,
      certificate: root,
    });
    const der = token({ sid: issuerAndSerial(second), certificates: embed(second) });
    await expect(verify(der, { authorities: [caOnly] })).rejects.toThrow(code('TIMESTAMP_ATTRIBUTE'));
  });
});

describe('verifyTimestamp(): signed attributes', () => {
  const tstInfo = makeTstInfo(digest);
  const good = [contentType(), messageDigest(tstInfo), signingCertificateV2(leaf)] as const;
  const replace = (i: number, ...others: Uint8Array[]) => [...good.slice(0, i), ...others, ...good.slice(i + 1)];
  const issuerSerial = (issuer: Uint8Array, serial: bigint) =>
    derSequence(derSequence(derElement(0xa4, issuer)), derInteger(serial));
  const v1 = (bytes: Uint8Array) =>
    attribute('1.2.840.113549.1.9.16.2.12', derSequence(derSequence(derSequence(derOctetString(bytes)))));
  const v2 = (...fields: Uint8Array[]) =>
    attribute('1.2.840.113549.1.9.16.2.47', derSequence(derSequence(derSequence(...fields))));
  const sha512 = derSequence(derOid('2.16.840.1.101.3.4.2.3'));

  test.each<[string, readonly Uint8Array[]]>([
    ['no contentType', replace(0)],
    ['another contentType', replace(0, contentType('1.2.840.113549.1.7.1'))],
    ['no messageDigest', replace(1)],
    ['the messageDigest of other content', replace(1, messageDigest(makeTstInfo(new Uint8Array(32))))],
    ['no signingCertificate', replace(2)],
    ['the signingCertificate of another', replace(2, signingCertificateV2(root))],
    ['another issuer in signingCertificate', replace(2, signingCertificateV2(leaf, issuerSerial(leaf.subject, 0x80n)))],
    [
      'another serial number in signingCertificate',
      replace(2, signingCertificateV2(leaf, issuerSerial(leaf.issuer, 1n))),
    ],
    [
      'a hash in signingCertificate that is not the one named',
      replace(2, v2(sha512, derOctetString(crypto.hash('sha256', leaf.der)))),
    ],
    [
      'an unknown hash in signingCertificate',
      replace(2, v2(derSequence(derOid('1.3.14.3.2.26')), derOctetString(crypto.hash('sha1', leaf.der)))),
    ],
    ['an older signingCertificate that contradicts', [...good, v1(crypto.hash('sha1', root.der))]],
  ])('rejects %s', async (_, attributes) => {
    await expect(verify(token({ attributes }))).rejects.toThrow(code('TIMESTAMP_ATTRIBUTE'));
  });

  test.each<[string, readonly Uint8Array[]]>([
    [
      'issuer and serial number in signingCertificate',
      replace(2, signingCertificateV2(leaf, issuerSerial(leaf.issuer, 0x80n))),
    ],
    ['SHA-512 in signingCertificate', replace(2, v2(sha512, derOctetString(crypto.hash('sha512', leaf.der))))],
    ['the older signingCertificate', replace(2, v1(crypto.hash('sha1', leaf.der)))],
    ['an attribute that nobody knows', [...good, attribute('1.2.3', derNull())]],
  ])('accepts %s', async (_, attributes) => {
    expect((await verify(token({ attributes }))).certificate).toBe(leaf);
  });

  test.each([
    ['an attribute of the wrong type', replace(0, attribute('1.2.840.113549.1.9.3', derNull()))],
    ['an empty signingCertificate', replace(2, attribute('1.2.840.113549.1.9.16.2.47', derSequence(derSequence())))],
  ])('calls %s malformed', async (_, attributes) => {
    await expect(verify(token({ attributes }))).rejects.toThrow(code('TIMESTAMP_MALFORMED'));
  });
});

describe('limits on work', () => {
  test('CVE-2024-45395: the most certificates a token may embed, all alike, are no loop', async () => {
    const der = token({ certificates: embed(...Array.from({ length: 15 }, () => root), leaf) });
    expect((await verify(der, { authorities: [caOnly] })).certificate.der).toEqual(leaf.der);
    const hostile = makeAuthority();
    const copies = token({ certificates: embed(...Array.from({ length: 16 }, () => leaf)) });
    const authorities = [{ certChain: [hostile.root], validFor: { start } }];
    await expect(verify(copies, { authorities })).rejects.toThrow(code('TIMESTAMP_CHAIN'));
  });
});

describe('verifyTimestamp(): the signature', () => {
  const algorithm = (oid: string) => ({ signatureAlgorithm: derSequence(derOid(oid)) });

  test.each([
    ['the signature of another key', { signer: generateSigner() }],
    ['a signature algorithm with another hash than the digest algorithm', algorithm('1.2.840.10045.4.3.3')],
    ['a signature algorithm of another kind of key', algorithm('1.2.840.113549.1.1.11')],
    ['the bare rsaEncryption for an ECDSA key', algorithm('1.2.840.113549.1.1.1')],
    ['an unknown signature algorithm', algorithm('1.2.3')],
  ])('rejects %s', async (_, parts) => {
    await expect(verify(token(parts))).rejects.toThrow(code('TIMESTAMP_SIGNATURE'));
  });
});
