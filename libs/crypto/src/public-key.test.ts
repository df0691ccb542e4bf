import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { derBitString, derInteger, derNull, derOid, derSequence, encodePem } from '#libs/encoding';
import { describe, expect, it } from 'vitest';
import { CryptoError, parsePublicKey, parsePublicKeyPem, parseRsaPublicKey, rsaPublicKey } from './index.js';

const EC = '1.2.840.10045.2.1';
const P256 = '1.2.840.10045.3.1.7';
const RSA = '1.2.840.113549.1.1.1';
const ED25519 = '1.3.101.112';

const pairs = {
  'P-256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'P-384': generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'P-521': generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ed25519: generateKeyPairSync('ed25519'),
};
const spki = (name: keyof typeof pairs) =>
  new Uint8Array(pairs[name].publicKey.export({ type: 'spki', format: 'der' }));
const point = spki('P-256').subarray(26);
const modulus = 2n ** 2047n + 1n;

const malformed = expect.objectContaining({ name: 'CryptoError', code: 'CRYPTO_KEY_MALFORMED' });
const unsupported = expect.objectContaining({ name: 'CryptoError', code: 'CRYPTO_KEY_UNSUPPORTED' });

describe('parsePublicKey()', () => {
  it.each(['P-256', 'P-384', 'P-521'] as const)('reads a point of %s', (curve) => {
    const key = parsePublicKey(spki(curve));
    const { x = '', y = '' } = pairs[curve].publicKey.export({ format: 'jwk' });
    expect(key).toEqual({
      kind: 'ecdsa',
      type: { kind: 'ecdsa', curve },
      spki: spki(curve),
      point: new Uint8Array(Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])),
    });
  });

  it('reads RSA', () => {
    const { n = '' } = pairs.rsa.publicKey.export({ format: 'jwk' });
    expect(parsePublicKey(spki('rsa'))).toEqual({
      kind: 'rsa',
      type: { kind: 'rsa', bits: 2048 },
      spki: spki('rsa'),
      modulus: BigInt(`0x${Buffer.from(n, 'base64url').toString('hex')}`),
      exponent: 65537n,
    });
  });

  it('reads Ed25519', () => {
    const { x = '' } = pairs.ed25519.publicKey.export({ format: 'jwk' });
    expect(parsePublicKey(spki('ed25519'))).toEqual({
      kind: 'ed25519',
      type: { kind: 'ed25519' },
      spki: spki('ed25519'),
      raw: new Uint8Array(Buffer.from(x, 'base64url')),
    });
  });

  it.each([
    ['Uint8Array', spki('P-256')],
    ['Buffer', Buffer.from(spki('P-256'))],
  ])('keeps its own copy of the bytes of a %s', (_, bytes) => {
    const key = parsePublicKey(bytes);
    bytes.fill(0);
    expect(key).toEqual(parsePublicKey(spki('P-256')));
  });

  const algorithm = derSequence(derOid(EC), derOid(P256));
  const offCurve = point.slice();
  offCurve[64] = (offCurve[64] ?? 0) ^ 1;
  const compressed = Uint8Array.of(2, ...point.subarray(1, 33));
  const hybrid = point.slice();
  hybrid[0] = 6 + ((point[64] ?? 0) & 1);
  const rsaKey = (n: bigint, e: bigint) => derSequence(derInteger(n), derInteger(e));
  const rsaSpki = (pkcs1: Uint8Array, ...parameters: Uint8Array[]) =>
    derSequence(derSequence(derOid(RSA), ...parameters), derBitString(pkcs1));

  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['a trailing byte', Uint8Array.of(...spki('P-256'), 0)],
    ['a third element', derSequence(algorithm, derBitString(point), derNull())],
    [
      'unused bits',
      derSequence(
        algorithm,
        derBitString(
          point.map((b, i) => (i === 64 ? b & 0xfe : b)),
          1,
        ),
      ),
    ],
    ['a parameter too many', derSequence(derSequence(derOid(EC), derOid(P256), derNull()), derBitString(point))],
    ['a point off the curve', derSequence(algorithm, derBitString(offCurve))],
    ['a compressed point', derSequence(algorithm, derBitString(compressed))],
    ['a hybrid point', derSequence(algorithm, derBitString(hybrid))],
    ['the point at infinity', derSequence(algorithm, derBitString(Uint8Array.of(0)))],
    ['a point of another curve', derSequence(algorithm, derBitString(spki('P-384').subarray(23)))],
    ['a short Ed25519 key', derSequence(derSequence(derOid(ED25519)), derBitString(new Uint8Array(31)))],
    ['Ed25519 with parameters', derSequence(derSequence(derOid(ED25519), derNull()), derBitString(new Uint8Array(32)))],
    ['RSA without parameters', rsaSpki(rsaKey(modulus, 65537n))],
    ['RSA with other parameters', rsaSpki(rsaKey(modulus, 65537n), derInteger(0n))],
    ['RSA with a negative modulus', rsaSpki(rsaKey(-modulus, 65537n), derNull())],
    ['RSA with a negative exponent', rsaSpki(rsaKey(modulus, -3n), derNull())],
    ['RSA with an even modulus', rsaSpki(rsaKey(modulus + 1n, 65537n), derNull())],
    ['RSA with a third integer', rsaSpki(derSequence(derInteger(modulus), derInteger(3n), derInteger(3n)), derNull())],
    ['2049 bytes', new Uint8Array(2049)],
  ])('refuses %s as malformed', (_, bytes) => {
    expect(() => parsePublicKey(bytes)).toThrow(malformed);
  });

  it.each<[string, Uint8Array]>([
    ['X25519', new Uint8Array(generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'der' }))],
    ['Ed448', new Uint8Array(generateKeyPairSync('ed448').publicKey.export({ type: 'spki', format: 'der' }))],
    [
      'secp256k1',
      new Uint8Array(
        generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey.export({ type: 'spki', format: 'der' }),
      ),
    ],
    [
      'explicit curve parameters',
      new Uint8Array(
        generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }).publicKey.export({
          type: 'spki',
          format: 'der',
        }),
      ),
    ],
    ['RSA of 511 bits', rsaSpki(rsaKey(2n ** 510n + 1n, 65537n), derNull())],
    ['RSA of 8193 bits', rsaSpki(rsaKey(2n ** 8192n + 1n, 65537n), derNull())],
    ['RSA with exponent 1', rsaSpki(rsaKey(modulus, 1n), derNull())],
    ['RSA with an even exponent', rsaSpki(rsaKey(modulus, 65536n), derNull())],
    ['RSA with a long exponent', rsaSpki(rsaKey(modulus, 2n ** 32n + 1n), derNull())],
  ])('refuses %s as unsupported', (_, bytes) => {
    expect(() => parsePublicKey(bytes)).toThrow(unsupported);
  });

  it('reads RSA keys that are only weak', () => {
    expect(parsePublicKey(rsaSpki(rsaKey(2n ** 1023n + 1n, 3n), derNull())).type).toEqual({ kind: 'rsa', bits: 1024 });
  });

  it('returns or throws CryptoError for any bytes, and for any change of one byte', () => {
    const answers = (bytes: Uint8Array) => {
      try {
        return parsePublicKey(bytes).spki.length > 0;
      } catch (error) {
        return error instanceof CryptoError;
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), answers));
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(pairs) as (keyof typeof pairs)[])),
        fc.nat(400),
        fc.integer({ min: 1, max: 255 }),
        (name, at, change) => {
          const bytes = spki(name);
          bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ change;
          return answers(bytes);
        },
      ),
    );
  });
});

describe('parseRsaPublicKey()', () => {
  it('gives the key of the SubjectPublicKeyInfo', () => {
    const pkcs1 = new Uint8Array(pairs.rsa.publicKey.export({ type: 'pkcs1', format: 'der' }));
    expect(parseRsaPublicKey(pkcs1)).toEqual(parsePublicKey(spki('rsa')));
  });

  it('refuses a trailing byte', () => {
    const pkcs1 = pairs.rsa.publicKey.export({ type: 'pkcs1', format: 'der' });
    expect(() => parseRsaPublicKey(Uint8Array.of(...pkcs1, 0))).toThrow(malformed);
  });

  it('refuses 2049 bytes', () => {
    expect(() => parseRsaPublicKey(new Uint8Array(2049))).toThrow(malformed);
  });
});

describe('rsaPublicKey()', () => {
  it('is the key of its parts', () => {
    const key = parsePublicKey(spki('rsa'));
    if (key.kind !== 'rsa') throw new Error('not RSA');
    expect(rsaPublicKey(key.modulus, key.exponent)).toEqual(key);
  });
});

describe('parsePublicKeyPem()', () => {
  it('reads PUBLIC KEY and RSA PUBLIC KEY', () => {
    expect(parsePublicKeyPem(pairs['P-256'].publicKey.export({ type: 'spki', format: 'pem' }).toString())).toEqual(
      parsePublicKey(spki('P-256')),
    );
    expect(parsePublicKeyPem(pairs.rsa.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString())).toEqual(
      parsePublicKey(spki('rsa')),
    );
  });

  it.each([
    ['another label', encodePem('PRIVATE KEY', spki('P-256'))],
    ['two keys', encodePem('PUBLIC KEY', spki('P-256')).repeat(2)],
    ['no PEM', 'key'],
    ['no text', ''],
  ])('refuses %s', (_, pem) => {
    expect(() => parsePublicKeyPem(pem)).toThrow(malformed);
  });
});
