import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  derBoolean,
  derElement,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  derTag,
  encodeBase64,
  encodeHex,
} from '#libs/encoding';
import { encodeTimestampRequest, parseTimestampJson, parseTimestampRequest, TimestampError } from './index.js';

const digest = new Uint8Array(32).fill(0xab);
const imprint = { hash: 'sha256', digest } as const;
const sha256 = derSequence(derOid('2.16.840.1.101.3.4.2.1'), derNull());
const code = (code: string) => expect.objectContaining({ name: 'TimestampError', code });
/** A request from its elements after the version. */
const request = (...parts: readonly Uint8Array[]) => derSequence(derInteger(1n), ...parts);
const wireImprint = (algorithm: Uint8Array, bytes: Uint8Array = digest) =>
  derSequence(algorithm, derOctetString(bytes));
const extension = derSequence(derOid('1.2.3'), derOctetString(Uint8Array.of(1)));

describe('parseTimestampRequest()', () => {
  test('reads what openssl ts -query -sha256 -cert -tspolicy 1.2.3 writes', () => {
    const der = request(wireImprint(sha256), derOid('1.2.3'), derInteger(0x80n), derBoolean(true));
    expect(parseTimestampRequest(der)).toEqual({
      imprint,
      policy: '1.2.3',
      nonce: Uint8Array.of(0, 0x80),
      certReq: true,
    });
  });

  test('takes absent hash parameters, and every hash of the SHA-2 family', () => {
    for (const [hash, last, length] of [
      ['sha256', 1, 32],
      ['sha384', 2, 48],
      ['sha512', 3, 64],
    ] as const) {
      const algorithm = derSequence(derOid(`2.16.840.1.101.3.4.2.${last}`));
      const parsed = parseTimestampRequest(request(wireImprint(algorithm, new Uint8Array(length))));
      expect(parsed).toEqual({ imprint: { hash, digest: new Uint8Array(length) }, certReq: false });
    }
  });

  test('keeps extensions as they came', () => {
    const der = request(wireImprint(sha256), derElement(derTag.context(0), extension));
    expect(parseTimestampRequest(der).extensions).toEqual(extension);
  });

  test('inverts encodeTimestampRequest(), with nonces of any size and sign', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 48, maxLength: 48 }),
        fc.option(fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }), { nil: undefined }),
        fc.option(fc.constantFrom('1.2.3', '2.999.18446744073709551616'), { nil: undefined }),
        fc.boolean(),
        fc.option(fc.constant(extension), { nil: undefined }),
        (bytes, number, policy, certReq, extensions) => {
          const nonce = number === undefined ? undefined : derInteger(number).subarray(2);
          const value = {
            imprint: { hash: 'sha384', digest: bytes } as const,
            certReq,
            ...(policy !== undefined && { policy }),
            ...(nonce && { nonce }),
            ...(extensions && { extensions }),
          };
          expect(parseTimestampRequest(encodeTimestampRequest(value))).toEqual(value);
        },
      ),
    );
  });

  test.each([
    ['bytes after the end', Uint8Array.of(...request(wireImprint(sha256)), 0)],
    ['version 0', derSequence(derInteger(0n), wireImprint(sha256))],
    ['version 2', derSequence(derInteger(2n), wireImprint(sha256))],
    ['no imprint', request()],
    ['an empty digest', request(wireImprint(sha256, new Uint8Array()))],
    [
      'hash parameters that are not NULL',
      request(wireImprint(derSequence(derOid('2.16.840.1.101.3.4.2.1'), derInteger(1n)))),
    ],
    ['a nonce that is not minimal', request(wireImprint(sha256), derElement(derTag.integer, Uint8Array.of(0, 1)))],
    ['certReq FALSE spelled out', request(wireImprint(sha256), derBoolean(false))],
    ['certReq 01', request(wireImprint(sha256), derElement(derTag.boolean, Uint8Array.of(1)))],
    ['fields out of order', request(wireImprint(sha256), derInteger(1n), derOid('1.2.3'))],
    ['an empty list of extensions', request(wireImprint(sha256), derElement(derTag.context(0), new Uint8Array()))],
    [
      'an extension without value',
      request(wireImprint(sha256), derElement(derTag.context(0), derSequence(derOid('1.2')))),
    ],
    ['a policy of 129 bytes', request(wireImprint(sha256), derElement(derTag.oid, new Uint8Array(129).fill(1)))],
    ['a set in place of a sequence', derElement(derTag.set, request(wireImprint(sha256)).subarray(2))],
    ['nothing', new Uint8Array()],
  ])('rejects %s', (_, der) => {
    expect(() => parseTimestampRequest(der)).toThrow(code('TIMESTAMP_MALFORMED'));
  });

  test.each([
    ['SHA-1', '1.3.14.3.2.26', 20, 'TIMESTAMP_WEAK_HASH'],
    ['SHA-1 with a wrong length', '1.3.14.3.2.26', 32, 'TIMESTAMP_WEAK_HASH'],
    ['MD5', '1.2.840.113549.2.5', 16, 'TIMESTAMP_HASH_UNKNOWN'],
    ['SHA-224', '2.16.840.1.101.3.4.2.4', 28, 'TIMESTAMP_HASH_UNKNOWN'],
    ['a short digest', '2.16.840.1.101.3.4.2.1', 31, 'TIMESTAMP_DIGEST_LENGTH'],
    ['a long digest', '2.16.840.1.101.3.4.2.1', 48, 'TIMESTAMP_DIGEST_LENGTH'],
  ])('rejects %s', (_, algorithm, length, expected) => {
    const der = request(wireImprint(derSequence(derOid(algorithm), derNull()), new Uint8Array(length)));
    expect(() => parseTimestampRequest(der)).toThrow(code(expected));
  });

  test('says malformed before it judges the hash', () => {
    const weak = wireImprint(derSequence(derOid('1.3.14.3.2.26')), new Uint8Array(20));
    expect(() => parseTimestampRequest(request(weak, derNull()))).toThrow(code('TIMESTAMP_MALFORMED'));
  });

  test('rejects more than 64 KiB before it reads them', () => {
    const der = request(wireImprint(sha256), derElement(derTag.integer, new Uint8Array(70_000).fill(1)));
    expect(() => parseTimestampRequest(der)).toThrow(code('TIMESTAMP_TOO_LARGE'));
  });

  test('any bytes: returns or throws TimestampError', () => {
    const good = encodeTimestampRequest({
      imprint,
      nonce: Uint8Array.of(1),
      policy: '1.2.3',
      certReq: true,
      extensions: extension,
    });
    const mutated = fc
      .tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }))
      .map(([at, bits]) => good.map((byte, i) => (i === at ? byte ^ bits : byte)));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), mutated), (der) => {
        try {
          parseTimestampRequest(der);
        } catch (error) {
          expect(error).toBeInstanceOf(TimestampError);
        }
      }),
    );
  });
});

describe('encodeTimestampRequest()', () => {
  test('writes SHA-256 with NULL parameters and omits what is default', () => {
    expect(encodeHex(encodeTimestampRequest({ imprint }))).toBe(
      `30360201013031300d060960864801650304020105000420${'ab'.repeat(32)}`,
    );
  });

  test('rejects what no request can carry', () => {
    expect(() => encodeTimestampRequest({ imprint: { hash: 'sha256', digest: new Uint8Array(20) } })).toThrow(
      code('TIMESTAMP_DIGEST_LENGTH'),
    );
    expect(() => encodeTimestampRequest({ imprint, nonce: new Uint8Array() })).toThrow(code('TIMESTAMP_MALFORMED'));
    expect(() => encodeTimestampRequest({ imprint, nonce: Uint8Array.of(0, 1) })).toThrow(code('TIMESTAMP_MALFORMED'));
    expect(() => encodeTimestampRequest({ imprint, policy: 'x' })).toThrow(code('TIMESTAMP_OID'));
  });
});

describe('parseTimestampJson()', () => {
  const artifactHash = encodeBase64(digest);
  const json = (members: object) => JSON.stringify({ artifactHash, hashAlgorithm: 'sha256', ...members });

  test('reads all members, and defaults', () => {
    const full = `{"artifactHash":"${artifactHash}","certificates":true,"hashAlgorithm":"SHA256","nonce":1123343434,"tsaPolicyOID":"1.2.3.4"}`;
    expect(parseTimestampJson(full)).toEqual({
      imprint,
      policy: '1.2.3.4',
      nonce: Uint8Array.of(0x42, 0xf4, 0xdc, 0x4a),
      certReq: true,
    });
    expect(parseTimestampJson(new TextEncoder().encode(json({})))).toEqual({ imprint, certReq: false });
    const empty = json({ nonce: null, tsaPolicyOID: '', certificates: null, unknown: [1] });
    expect(parseTimestampJson(empty)).toEqual({ imprint, certReq: false });
  });

  test.each([
    ['0', '00'],
    ['-1', 'ff'],
    ['9007199254740993', '20000000000001'],
    ['18446744073709551616', '010000000000000000'],
    ['-9223372036854775809', 'ff7fffffffffffffff'],
  ])('nonce %s is exact', (text, hex) => {
    const nonce = parseTimestampJson(json({ nonce: 1 }).replace('"nonce":1', `"nonce":${text}`)).nonce;
    expect(nonce && encodeHex(nonce)).toBe(hex);
  });

  test('a nonce of 900 digits is exact, one of 2000 is too large a body', () => {
    const withNonce = (digits: number) => json({ nonce: 1 }).replace('"nonce":1', `"nonce":${'7'.repeat(digits)}`);
    const nonce = parseTimestampJson(withNonce(900)).nonce;
    expect(nonce && BigInt(`0x${encodeHex(nonce)}`)).toBe(BigInt('7'.repeat(900)));
    expect(() => parseTimestampJson(withNonce(2000))).toThrow(code('TIMESTAMP_TOO_LARGE'));
  });

  test('takes 1024 bytes and no more', () => {
    const padded = (length: number) => json({}).padEnd(length, ' ');
    expect(parseTimestampJson(padded(1024)).imprint).toEqual(imprint);
    expect(() => parseTimestampJson(padded(1025))).toThrow(code('TIMESTAMP_TOO_LARGE'));
    const bytes = new TextEncoder().encode(padded(1025));
    expect(() => parseTimestampJson(bytes)).toThrow(code('TIMESTAMP_TOO_LARGE'));
  });

  test.each([
    ['no JSON', '{', 'TIMESTAMP_MALFORMED'],
    ['an array', '[]', 'TIMESTAMP_MALFORMED'],
    ['null', 'null', 'TIMESTAMP_MALFORMED'],
    ['no artifactHash', '{"hashAlgorithm":"sha256"}', 'TIMESTAMP_MALFORMED'],
    ['artifactHash that is not base64', json({ artifactHash: '*' }), 'TIMESTAMP_MALFORMED'],
    [
      'artifactHash in URL-safe base64',
      json({ artifactHash: artifactHash.replaceAll('+', '-').replaceAll('/', '_').slice(0, -1) }),
      'TIMESTAMP_MALFORMED',
    ],
    ['artifactHash that is a number', json({ artifactHash: 1 }), 'TIMESTAMP_MALFORMED'],
    ['certificates that are a string', json({ certificates: 'true' }), 'TIMESTAMP_MALFORMED'],
    ['a nonce in quotes', json({ nonce: '1' }), 'TIMESTAMP_MALFORMED'],
    ['a nonce with a fraction', json({ nonce: 1.5 }), 'TIMESTAMP_MALFORMED'],
    ['a nonce beyond exact numbers', json({ nonce: 1e30 }), 'TIMESTAMP_MALFORMED'],
    ['a member twice', `{"artifactHash":"","artifactHash":"${artifactHash}"}`, 'TIMESTAMP_MALFORMED'],
    ['no hashAlgorithm', JSON.stringify({ artifactHash }), 'TIMESTAMP_HASH_UNKNOWN'],
    ['an unknown hashAlgorithm', json({ hashAlgorithm: 'md5' }), 'TIMESTAMP_HASH_UNKNOWN'],
    ['SHA-1', json({ hashAlgorithm: 'sha1' }), 'TIMESTAMP_WEAK_HASH'],
    ['a digest of another length', json({ hashAlgorithm: 'sha512' }), 'TIMESTAMP_DIGEST_LENGTH'],
    ['a policy that is no OID', json({ tsaPolicyOID: 'baseline' }), 'TIMESTAMP_OID'],
    ['a policy of 129 components', json({ tsaPolicyOID: '1.2' + '.1'.repeat(128) }), 'TIMESTAMP_OID'],
  ])('rejects %s', (_, text, expected) => {
    expect(() => parseTimestampJson(text)).toThrow(code(expected));
  });

  test('CVE-2025-66564: a policy of a million dots costs nothing', () => {
    const policy = '1' + '.1'.repeat(1_000_000);
    expect(() => parseTimestampJson(json({ tsaPolicyOID: policy }))).toThrow(code('TIMESTAMP_TOO_LARGE'));
    expect(() => encodeTimestampRequest({ imprint, policy })).toThrow(code('TIMESTAMP_OID'));
  });

  test('any text: returns or throws TimestampError', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.jsonValue().map((nonce) => json({ nonce })),
        ),
        (text) => {
          try {
            parseTimestampJson(text);
          } catch (error) {
            expect(error).toBeInstanceOf(TimestampError);
          }
        },
      ),
    );
  });
});
