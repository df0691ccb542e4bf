import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  derChildren,
  derElement,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  derTag,
  encodeHex,
  parseDer,
  readOid,
  type DerElement,
} from '#libs/encoding';
import type { CryptoPort, Signer } from '#libs/crypto';
import { generateSigner, loadSigner, opensslCrypto } from '#libs/openssl';
import {
  createTimestamper,
  issueTimestamp,
  parseTimestampResponse,
  verifyTimestamp,
  type TimestampRequest,
} from './index.js';
import { end, makeAuthority, makeCertificate, now, start } from '../../../test/vectors/timestamp/authority.js';

const hash: CryptoPort['hash'] = (algorithm, data) => opensslCrypto.hash(algorithm, data);
const signature = new TextEncoder().encode('a signature');
const serial = new Uint8Array(20).fill(0xff);
const policy = '1.3.6.1.4.1.57264.2';
const authority = makeAuthority();
const { leaf, root, chain, signer } = authority;
const options = { signer, chain, policy, acceptedPolicies: [policy, '1.2.3'], hash };
const timestamper = createTimestamper(options);
const request = (more: Partial<TimestampRequest> = {}, algorithm: 'sha256' | 'sha384' | 'sha512' = 'sha256') => ({
  imprint: { hash: algorithm, digest: hash(algorithm, signature) },
  certReq: false,
  ...more,
});
const issue = (more: Partial<TimestampRequest> = {}) => timestamper.issue(request(more), { now, serial });
const authorities = [{ certChain: chain, validFor: { start, end } }];

function child(element: DerElement | undefined, index: number): DerElement {
  const found = element && derChildren(element)[index];
  if (found === undefined) throw new Error(`no element ${index}`);
  return found;
}

/** The fields of the SignedData in a response. */
function signedDataOf(der: Uint8Array): DerElement[] {
  const contentInfo = child(parseDer(der), 1);
  return derChildren(child(child(contentInfo, 1), 0));
}

describe('a token', () => {
  const nonce = Uint8Array.of(0x80, 1);
  const der = issue({ nonce, certReq: true });
  const token = parseTimestampResponse(der);

  test('has the TSTInfo of the specification, field by field', () => {
    const tsa = derElement(0xa0, derElement(0xa4, leaf.subject));
    const expected = derSequence(
      derInteger(1n),
      derOid(policy),
      derSequence(derSequence(derOid('2.16.840.1.101.3.4.2.1'), derNull()), derOctetString(hash('sha256', signature))),
      derElement(derTag.integer, Uint8Array.of(0, ...serial)),
      derElement(derTag.generalizedTime, new TextEncoder().encode('20300601120000Z')),
      derSequence(derInteger(1n)),
      derElement(derTag.integer, nonce),
      tsa,
    );
    expect(encodeHex(token.tstInfo)).toBe(encodeHex(expected));
  });

  test('has the CMS fields of the specification', () => {
    expect(encodeHex(child(parseDer(der), 0).bytes)).toBe('3003020100');
    const signedData = signedDataOf(der);
    expect(signedData.map(({ tag }) => tag)).toEqual([0x02, 0x31, 0x30, 0xa0, 0x31]);
    const bareSha256 = encodeHex(derSequence(derOid('2.16.840.1.101.3.4.2.1')));
    expect(signedData[1] && encodeHex(signedData[1].contents)).toBe(bareSha256);
    const signerInfo = derChildren(child(signedData[4], 0));
    expect(signerInfo.map(({ tag }) => tag)).toEqual([0x02, 0x30, 0x30, 0xa0, 0x30, 0x04]);
    expect(signerInfo[2] && encodeHex(signerInfo[2].bytes)).toBe(bareSha256);
    expect(signerInfo[4] && encodeHex(signerInfo[4].bytes)).toBe('300a06082a8648ce3d040302');
  });

  test('has four signed attributes in DER order, the last with the certificate', () => {
    expect([...token.signer.signedAttributes.keys()]).toEqual([
      '1.2.840.113549.1.9.3',
      '1.2.840.113549.1.9.5',
      '1.2.840.113549.1.9.4',
      '1.2.840.113549.1.9.16.2.47',
    ]);
    const issuerSerial = derSequence(
      derSequence(derElement(0xa4, leaf.issuer)),
      derElement(derTag.integer, leaf.serialBytes),
    );
    const expected = derSequence(derSequence(derSequence(derOctetString(hash('sha256', leaf.der)), issuerSerial)));
    const actual = token.signer.signedAttributes.get('1.2.840.113549.1.9.16.2.47');
    expect(actual && encodeHex(actual)).toBe(encodeHex(expected));
    const signingTime = token.signer.signedAttributes.get('1.2.840.113549.1.9.5');
    expect(signingTime && encodeHex(signingTime)).toBe(`170d${Buffer.from('300601120000Z').toString('hex')}`);
  });

  test('names the signer by the raw issuer and serial number of the certificate', () => {
    expect(token.signer.issuer).toEqual(leaf.issuer);
    expect(token.signer.serialBytes).toEqual(leaf.serialBytes);
  });

  test('verifies', async () => {
    const verified = await verifyTimestamp(der, { signature, authorities, nonce, crypto: opensslCrypto });
    expect(verified.genTime).toEqual(new Date('2030-06-01T12:00:00Z'));
    expect(verified.certificate).toBe(leaf);
    expect(verified.authority).toBe(authorities[0]);
    expect(verified.timestamp.accuracy).toEqual({ seconds: 1, millis: 0, micros: 0 });
    expect(verified.timestamp.ordering).toBe(false);
    expect(verified.timestamp.serialNumber).toBe(2n ** 160n - 1n);
  });
});

describe('createTimestamper()', () => {
  test('embeds certificates only when asked: the leaf, or the chain in its order', () => {
    const full = createTimestamper({ ...options, includeChain: true });
    const embedded = (der: Uint8Array) => parseTimestampResponse(der).certificates;
    expect(embedded(issue({ certReq: true }))).toEqual([leaf.der]);
    expect(embedded(issue())).toEqual([]);
    expect(embedded(full.issue(request({ certReq: true }), { now, serial }))).toEqual([leaf.der, root.der]);
    expect(embedded(full.issue(request(), { now, serial }))).toEqual([]);
    // RFC 3161 §2.4.1: without certReq the field is not there at all.
    expect(signedDataOf(issue()).map(({ tag }) => tag)).toEqual([0x02, 0x31, 0x30, 0x31]);
  });

  test.each([
    ['small', '01'],
    ['of 64 bits', '00ffffffffffffffff'],
    ['of more than 64 bits', '7fffffffffffffffffffffffffffffffff'],
    ['negative', 'ff'],
    ['zero', '00'],
  ])('echoes a nonce that is %s', (_, hex) => {
    const nonce = Uint8Array.from(Buffer.from(hex, 'hex'));
    expect(parseTimestampResponse(issue({ nonce })).nonce).toEqual(nonce);
  });

  test('writes no nonce when there is none', () => {
    expect(parseTimestampResponse(issue()).nonce).toBeUndefined();
  });

  test.each(['sha256', 'sha384', 'sha512'] as const)(
    'uses the hash of the request for ESSCertIDv2: %s',
    async (algorithm) => {
      const der = timestamper.issue(request({}, algorithm), { now, serial });
      const token = parseTimestampResponse(der);
      expect(token.signer.digestAlgorithm).toBe('sha256');
      const attribute = parseDer(token.signer.signedAttributes.get('1.2.840.113549.1.9.16.2.47') ?? new Uint8Array());
      const id = derChildren(child(child(attribute, 0), 0));
      const named = id.length === 3 ? readOid(child(id[0], 0)) : undefined;
      expect(named).toBe(
        { sha256: undefined, sha384: '2.16.840.1.101.3.4.2.2', sha512: '2.16.840.1.101.3.4.2.3' }[algorithm],
      );
      expect(id.at(-2)?.contents).toEqual(hash(algorithm, leaf.der));
      const verified = await verifyTimestamp(der, { signature, authorities, crypto: opensslCrypto });
      expect(verified.timestamp.imprint.hash).toBe(algorithm);
    },
  );

  test('stamps under the requested policy, if accepted exactly', () => {
    expect(parseTimestampResponse(issue()).policy).toBe(policy);
    expect(parseTimestampResponse(issue({ policy: '1.2.3' })).policy).toBe('1.2.3');
    for (const refused of ['1.2.3.4', '1.2', '1.2.4']) {
      expect(() => issue({ policy: refused })).toThrow(expect.objectContaining({ code: 'TIMESTAMP_POLICY' }));
    }
  });

  test('does not imply that its own policy may be asked for', () => {
    const narrow = createTimestamper({ ...options, acceptedPolicies: ['1.2.3'] });
    expect(parseTimestampResponse(narrow.issue(request(), { now, serial })).policy).toBe(policy);
    expect(() => narrow.issue(request({ policy }), { now, serial })).toThrow(
      expect.objectContaining({ code: 'TIMESTAMP_POLICY' }),
    );
  });

  test('refuses extensions, or copies them when allowed; the policy is checked first', () => {
    const extensions = derSequence(derOid('1.2.3'), derOctetString(Uint8Array.of(1)));
    expect(() => issue({ extensions })).toThrow(expect.objectContaining({ code: 'TIMESTAMP_EXTENSION' }));
    expect(() => issue({ extensions, policy: '1.2' })).toThrow(expect.objectContaining({ code: 'TIMESTAMP_POLICY' }));
    const open = createTimestamper({ ...options, allowExtensions: true });
    const { tstInfo } = parseTimestampResponse(open.issue(request({ extensions }), { now, serial }));
    expect(encodeHex(tstInfo).endsWith(encodeHex(derElement(0xa1, extensions)))).toBe(true);
  });

  test('cuts the time to the second, and issues in the first and last second of the chain only', () => {
    const at = (date: string) => timestamper.issue(request(), { now: new Date(date), serial });
    expect(parseTimestampResponse(at('2030-01-01T00:00:00.999Z')).genTime).toEqual(start);
    expect(parseTimestampResponse(at('2031-01-01T00:00:00Z')).genTime).toEqual(end);
    for (const outside of ['2029-12-31T23:59:59.999Z', '2031-01-01T00:00:01Z', 'x']) {
      expect(() => at(outside)).toThrow(expect.objectContaining({ code: 'TIMESTAMP_CERTIFICATE' }));
    }
  });

  test('two equal requests give two serials; a serial must be 1 to 20 bytes and not zero', () => {
    const one = timestamper.issue(request(), { now, serial: Uint8Array.of(0, 1) });
    expect(parseTimestampResponse(one).serialNumber).toBe(1n);
    expect(one).not.toEqual(issue());
    for (const wrong of [new Uint8Array(), new Uint8Array(20), new Uint8Array(21).fill(1)]) {
      expect(() => timestamper.issue(request(), { now, serial: wrong })).toThrow('serial number');
    }
  });

  test.each([
    ['P-384 with SHA-256', 'P-384', { kind: 'ecdsa', hash: 'sha256' }, 'sha256'],
    ['P-384 with SHA-384', 'P-384', { kind: 'ecdsa', hash: 'sha384' }, 'sha384'],
    ['Ed25519', 'ed25519', { kind: 'ed25519' }, 'sha512'],
  ] as const)('signs with %s', async (_, type, scheme, digestAlgorithm) => {
    const key = loadSigner(generateSigner(type).exportPkcs8Pem(), { scheme });
    const other = makeAuthority({}, key);
    const der = issueTimestamp({ ...options, signer: key, chain: other.chain, request: request(), now, serial });
    const trusted = [{ certChain: other.chain, validFor: { start } }];
    const verified = await verifyTimestamp(der, { signature, authorities: trusted, crypto: opensslCrypto });
    expect(verified.timestamp.signer.digestAlgorithm).toBe(digestAlgorithm);
  });

  test('signs with RSA', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = loadSigner(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
    const other = makeAuthority({}, key);
    const der = issueTimestamp({ ...options, signer: key, chain: other.chain, request: request(), now, serial });
    const trusted = [{ certChain: other.chain, validFor: { start } }];
    const verified = await verifyTimestamp(der, { signature, authorities: trusted, crypto: opensslCrypto });
    expect(verified.timestamp.signer.signatureAlgorithm).toBe('1.2.840.113549.1.1.11');
  });

  test('refuses a chain that is empty or of another key, and schemes without a place in CMS', () => {
    expect(() => createTimestamper({ ...options, chain: [] })).toThrow('chain is empty');
    expect(() => createTimestamper({ ...options, signer: generateSigner() })).toThrow('not for the key');
    const prehashed: Signer = { ...signer, scheme: { kind: 'ed25519ph' } };
    expect(() => createTimestamper({ ...options, signer: prehashed })).toThrow('not supported');
    expect(() => createTimestamper({ ...options, policy: 'x' })).toThrow(
      expect.objectContaining({ code: 'TIMESTAMP_OID' }),
    );
  });

  test('a failing signer gives an error, never a token', () => {
    const broken: Signer = {
      ...signer,
      sign: () => {
        throw new Error('device is gone');
      },
    };
    expect(() => createTimestamper({ ...options, signer: broken }).issue(request(), { now, serial })).toThrow(
      'device is gone',
    );
  });

  test('sends signingTime as GeneralizedTime from 2050', () => {
    const century = { notBefore: start, notAfter: new Date('2060-01-01T00:00:00Z') };
    const rootKey = generateSigner();
    const key = generateSigner();
    const ca = makeCertificate({ commonName: 'root', ca: true, ...century }, rootKey);
    const own = makeCertificate({ commonName: 'tsa', ...century }, key, { signer: rootKey, certificate: ca });
    const der = issueTimestamp({
      ...options,
      signer: key,
      chain: [own, ca],
      request: request(),
      now: new Date('2050-01-01T00:00:00Z'),
      serial,
    });
    const signingTime = parseTimestampResponse(der).signer.signedAttributes.get('1.2.840.113549.1.9.5');
    expect(signingTime?.[0]).toBe(derTag.generalizedTime);
  });
});
