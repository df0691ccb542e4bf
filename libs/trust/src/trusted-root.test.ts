import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodeBase64 } from '#libs/encoding';
import { TrustError, encodeTrustedRoot, parseTrustedRoot, type TrustErrorCode } from './index.js';

/** What JSON.parse() returns, to be changed in any place. */
type Json = ReturnType<typeof JSON.parse>;

const vectors = `${import.meta.dirname}/../../../test/vectors/bundle`;
const read = (name: string) => readFileSync(`${vectors}/trusted-root-${name}.json`, 'utf8');

function changed(change: (json: Json) => void, name = 'public-good'): string {
  const json = JSON.parse(read(name));
  change(json);
  return JSON.stringify(json);
}

function codeOf(text: string | Uint8Array): TrustErrorCode | 'accepted' {
  try {
    parseTrustedRoot(text);
    return 'accepted';
  } catch (error) {
    if (error instanceof TrustError) return error.code;
    throw error;
  }
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

describe('parseTrustedRoot()', () => {
  test('reads the root of the public instance', () => {
    const root = parseTrustedRoot(read('public-good'));
    expect(root.tlogs.map(({ baseUrl, keyDetails }) => [baseUrl, keyDetails])).toEqual([
      ['https://rekor.sigstore.dev', 'PKIX_ECDSA_P256_SHA_256'],
      ['https://log2025-1.rekor.sigstore.dev', 'PKIX_ED25519'],
    ]);
    expect(root.certificateAuthorities.map(({ certChain }) => certChain.length)).toEqual([1, 2]);
    expect(root.certificateAuthorities[0]?.validFor).toEqual({
      start: new Date('2021-03-07T03:20:29.000Z'),
      end: new Date('2022-12-31T23:59:59.999Z'),
    });
    expect(root.ctlogs.map(({ logId }) => encodeBase64(logId))).toEqual([
      'CGCS8ChS/2hF0dFrJ4ScRWcYrBY9wzjSbea8IgY2b3I=',
      '3T0wasbHETJjGR4cmWc3AqJKXrjePK3/h4pygC8p7o4=',
    ]);
    expect(root.timestampAuthorities[0]?.subject).toEqual({
      organization: 'sigstore.dev',
      commonName: 'sigstore-tsa-selfsigned',
    });
  });

  test('takes null for absent', () => {
    const root = parseTrustedRoot(read('with-nulls'));
    expect(root.tlogs[1]?.validFor).toEqual({ start: new Date('2025-09-23T00:00:00Z') });
    expect(root.tlogs[1]).not.toHaveProperty('operator');
  });

  test('reads a PKCS#1 key, whose log id is over its SPKI', () => {
    const log = parseTrustedRoot(read('staging')).ctlogs.find(({ keyDetails }) => keyDetails === 'PKCS1_RSA_PKCS1V5');
    expect(log?.publicKey.kind).toBe('rsa');
    expect(encodeBase64(log?.logId ?? new Uint8Array())).toBe(
      encodeBase64(sha256(log?.publicKey.spki ?? new Uint8Array())),
    );
  });

  test.each([
    'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    'application/vnd.dev.sigstore.trustedroot.v0.1+json',
    'application/vnd.dev.sigstore.trustedroot.v0.2+json',
  ])('accepts the media type %s', (mediaType) => {
    expect(codeOf(changed((root) => (root.mediaType = mediaType)))).toBe('accepted');
  });

  test('an authority without a validity is bounded by its certificates alone', () => {
    const text = changed((root) => delete root.timestampAuthorities[0].validFor);
    expect(parseTrustedRoot(text).timestampAuthorities[0]?.validFor).toEqual({ start: new Date(0) });
  });

  test('keeps operator and checkpoint key id', () => {
    const text = changed((root) => {
      root.tlogs[0].operator = 'example.org';
      root.tlogs[0].checkpointKeyId = { keyId: 'AQIDBA==' };
    });
    expect(parseTrustedRoot(text).tlogs[0]).toMatchObject({
      operator: 'example.org',
      checkpointKeyId: Uint8Array.of(1, 2, 3, 4),
    });
  });

  const pem = '-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n';
  test.each<[string, TrustErrorCode, (root: Json) => void]>([
    ['no media type', 'TRUST_MEDIA_TYPE', (root) => delete root.mediaType],
    ['another media type', 'TRUST_MEDIA_TYPE', (root) => (root.mediaType = 'application/json')],
    ['an unknown field', 'TRUST_MALFORMED', (root) => (root.witnesses = [])],
    ['an unknown field of a log', 'TRUST_MALFORMED', (root) => (root.tlogs[0].url = 'x')],
    ['a log key without validity', 'TRUST_MALFORMED', (root) => delete root.tlogs[0].publicKey.validFor],
    [
      'a log key without a start',
      'TRUST_MALFORMED',
      (root) => (root.tlogs[0].publicKey.validFor = { end: '2030-01-01T00:00:00Z' }),
    ],
    ['a CT log key without a start', 'TRUST_MALFORMED', (root) => (root.ctlogs[0].publicKey.validFor = {})],
    [
      'an end before the start',
      'TRUST_MALFORMED',
      (root) => (root.tlogs[0].publicKey.validFor.end = '2020-01-01T00:00:00Z'),
    ],
    [
      'a time with a zone',
      'TRUST_MALFORMED',
      (root) => (root.tlogs[0].publicKey.validFor.start = '2021-01-12T11:53:27+01:00'),
    ],
    ['30 February', 'TRUST_MALFORMED', (root) => (root.tlogs[0].publicKey.validFor.start = '2021-02-30T00:00:00Z')],
    ['a time in seconds', 'TRUST_MALFORMED', (root) => (root.tlogs[0].publicKey.validFor.start = 1610452407)],
    ['another hash', 'TRUST_MALFORMED', (root) => (root.tlogs[0].hashAlgorithm = 'SHA2_512')],
    ['no log id', 'TRUST_MALFORMED', (root) => delete root.tlogs[0].logId],
    ['an unknown algorithm', 'TRUST_MALFORMED', (root) => (root.tlogs[0].publicKey.keyDetails = 'PKIX_ECDSA_P256_MD5')],
    [
      'an unspecified algorithm',
      'TRUST_MALFORMED',
      (root) => (root.tlogs[0].publicKey.keyDetails = 'PUBLIC_KEY_DETAILS_UNSPECIFIED'),
    ],
    ['an algorithm of another key', 'TRUST_MALFORMED', (root) => (root.tlogs[0].publicKey.keyDetails = 'PKIX_ED25519')],
    ['a key in PEM', 'TRUST_KEY', (root) => (root.tlogs[0].publicKey.rawBytes = Buffer.from(pem).toString('base64'))],
    ['PEM where base64 belongs', 'TRUST_MALFORMED', (root) => (root.tlogs[0].publicKey.rawBytes = pem)],
    [
      'a key with a byte behind it',
      'TRUST_KEY',
      ({ tlogs: [{ publicKey }] }) => {
        publicKey.rawBytes = Buffer.concat([Buffer.from(publicKey.rawBytes, 'base64'), Buffer.of(0)]).toString(
          'base64',
        );
      },
    ],
    ['an empty chain', 'TRUST_MALFORMED', (root) => (root.certificateAuthorities[0].certChain.certificates = [])],
    [
      'a certificate that is none',
      'TRUST_CERTIFICATE',
      (root) => (root.certificateAuthorities[0].certChain.certificates[0].rawBytes = 'MAA='),
    ],
    ['1025 logs', 'TRUST_LIMIT', (root) => (root.tlogs = Array(1025).fill(root.tlogs[0]))],
  ])('refuses %s (%s)', (_, code, change) => {
    expect(codeOf(changed(change))).toBe(code);
  });

  test('refuses duplicate keys and cut text', () => {
    expect(codeOf(read('public-good').replace('{', '{"tlogs":[],'))).toBe('TRUST_JSON');
    expect(codeOf(read('public-good').slice(0, -9))).toBe('TRUST_JSON');
  });

  test('refuses a text over the limit before parsing it', () => {
    expect(codeOf(' '.repeat(4 * 1024 * 1024 + 1))).toBe('TRUST_LIMIT');
  });

  test('names the field that is wrong', () => {
    expect(() => parseTrustedRoot(changed((root) => (root.ctlogs[1].publicKey.validFor = {})))).toThrow(
      'Cannot read trusted root: ctlogs[1].publicKey.validFor.start is missing',
    );
  });

  test('returns or throws its own error for any JSON, and for any bytes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.uint8Array()), (input) => {
        expect(codeOf(input)).toMatch(/^TRUST_/);
      }),
    );
  });
});

describe('encodeTrustedRoot()', () => {
  test.each(['public-good', 'with-nulls', 'staging'])('writes what parseTrustedRoot() read of %s', (name) => {
    const root = parseTrustedRoot(read(name));
    expect(parseTrustedRoot(encodeTrustedRoot(root))).toEqual(root);
  });

  test('writes the media type and key form that deployed clients read', () => {
    const json = JSON.parse(encodeTrustedRoot(parseTrustedRoot(read('staging'))));
    expect(json.mediaType).toBe('application/vnd.dev.sigstore.trustedroot+json;version=0.1');
    const original = JSON.parse(read('staging'));
    expect(json.ctlogs[0].publicKey).toEqual(original.ctlogs[0].publicKey);
  });
});
