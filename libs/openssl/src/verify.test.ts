import { constants, generateKeyPairSync, privateEncrypt, sign, type KeyObject } from 'node:crypto';
import { ed25519ph } from '@noble/curves/ed25519.js';
import { concatBytes, encodeUtf8, parseBase64Url } from '#libs/encoding';
import {
  encodePkcs1Digest,
  loadNobleCrypto,
  parsePublicKey,
  type HashAlgorithm,
  type PublicKey,
  type SignatureScheme,
} from '#libs/crypto';
import { describe, expect, it } from 'vitest';
import { opensslCrypto, verifyDigestAsync, verifyDigestSync, verifySync } from './index.js';

const nobleCrypto = await loadNobleCrypto();

const message = encodeUtf8('message');
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const rsaOdd = generateKeyPairSync('rsa', { modulusLength: 2049 });
const ed = generateKeyPairSync('ed25519');
const parsed = (key: KeyObject): PublicKey => parsePublicKey(key.export({ type: 'spki', format: 'der' }));
const pss = (saltLength: number) => ({ padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
const changed = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));

const byOpenssl = (pair: ReturnType<typeof ec>, hash: HashAlgorithm | null, options: object = {}) =>
  new Uint8Array(sign(hash, message, { key: pair.privateKey, ...options }));
const byNoble = () => ed25519ph.sign(message, parseBase64Url(ed.privateKey.export({ format: 'jwk' }).d ?? ''));

type Pair = ReturnType<typeof ec>;
function schemeCase(pair: Pair, scheme: SignatureScheme, options: object = {}) {
  const signature =
    scheme.kind === 'ed25519ph' ? byNoble() : byOpenssl(pair, 'hash' in scheme ? scheme.hash : null, options);
  return { key: parsed(pair.publicKey), scheme, signature };
}

const cases: [string, ReturnType<typeof schemeCase>][] = [
  ['P-256', schemeCase(ec('P-256'), { kind: 'ecdsa', hash: 'sha256' })],
  ['P-256 with SHA-512', schemeCase(ec('P-256'), { kind: 'ecdsa', hash: 'sha512' })],
  ['P-384', schemeCase(ec('P-384'), { kind: 'ecdsa', hash: 'sha384' })],
  ['P-384 with SHA-256', schemeCase(ec('P-384'), { kind: 'ecdsa', hash: 'sha256' })],
  ['P-521', schemeCase(ec('P-521'), { kind: 'ecdsa', hash: 'sha512' })],
  ['PKCS#1 v1.5', schemeCase(rsa, { kind: 'rsa-pkcs1', hash: 'sha256' })],
  ['PKCS#1 v1.5 with SHA-512', schemeCase(rsa, { kind: 'rsa-pkcs1', hash: 'sha512' })],
  ['PSS', schemeCase(rsa, { kind: 'rsa-pss', hash: 'sha256' }, pss(32))],
  ['PSS with the longest salt', schemeCase(rsa, { kind: 'rsa-pss', hash: 'sha256' }, pss(222))],
  ['PSS without salt', schemeCase(rsa, { kind: 'rsa-pss', hash: 'sha384' }, pss(0))],
  ['PSS of 2049 bits', schemeCase(rsaOdd, { kind: 'rsa-pss', hash: 'sha256' }, pss(32))],
  ['Ed25519', schemeCase(ed, { kind: 'ed25519' })],
  ['Ed25519ph', schemeCase(ed, { kind: 'ed25519ph' })],
];

describe.each(cases)('%s', (_, { key, scheme, signature }) => {
  const digest = nobleCrypto.hash('hash' in scheme ? scheme.hash : 'sha512', message);
  const wrongSignatures = [
    changed(signature, signature.length - 1),
    changed(signature, 6),
    signature.subarray(1),
    signature.subarray(0, -1),
    concatBytes(signature, Uint8Array.of(0)),
    concatBytes(Uint8Array.of(0), signature),
    new Uint8Array(0),
    new Uint8Array(signature.length),
    new Uint8Array(signature.length).fill(0xff),
  ];

  it('verifySync() accepts the message, and no other message or signature', () => {
    expect(verifySync(key, scheme, message, signature)).toBe(true);
    expect(verifySync(key, scheme, encodeUtf8('Message'), signature)).toBe(false);
    expect(wrongSignatures.map((wrong) => verifySync(key, scheme, message, wrong))).not.toContain(true);
  });

  it('the port answers as nobleCrypto does', async () => {
    for (const [text, bytes] of [
      [message, signature],
      [encodeUtf8(''), signature],
      ...wrongSignatures.map((wrong) => [message, wrong] as const),
    ] as const) {
      const answer = await opensslCrypto.verify(key, scheme, text, bytes);
      expect(answer).toBe(await nobleCrypto.verify(key, scheme, text, bytes));
    }
  });

  it.skipIf(scheme.kind === 'ed25519')('by digest: accepts it, and no other digest or signature', async () => {
    expect(verifyDigestSync(key, scheme, digest, signature)).toBe(true);
    expect(verifyDigestSync(key, scheme, changed(digest, 0), signature)).toBe(false);
    expect(wrongSignatures.map((wrong) => verifyDigestSync(key, scheme, digest, wrong))).not.toContain(true);
    expect(await verifyDigestAsync(key, scheme, digest, signature)).toBe(true);
    expect(await verifyDigestAsync(key, scheme, changed(digest, 0), signature)).toBe(false);
    expect(await opensslCrypto.verifyDigest(key, scheme, digest, signature)).toBe(true);
  });

  it('by digest: refuses a wrong question', async () => {
    const error = expect.objectContaining({ code: 'CRYPTO_SCHEME' });
    const short = digest.subarray(1);
    expect(() => verifyDigestSync(key, scheme, short, signature)).toThrow(error);
    await expect(verifyDigestAsync(key, scheme, short, signature)).rejects.toEqual(error);
  });

  it('refuses a scheme of another key', async () => {
    const error = expect.objectContaining({ code: 'CRYPTO_SCHEME' });
    const other: SignatureScheme = key.kind === 'ecdsa' ? { kind: 'ed25519ph' } : { kind: 'ecdsa', hash: 'sha512' };
    const sha512 = new Uint8Array(64);
    expect(() => verifySync(key, other, message, signature)).toThrow(error);
    expect(() => verifyDigestSync(key, other, sha512, signature)).toThrow(error);
    await expect(verifyDigestAsync(key, other, sha512, signature)).rejects.toEqual(error);
    await expect(opensslCrypto.verify(key, other, message, signature)).rejects.toEqual(error);
  });
});

describe('verifyDigestSync() with RSA', () => {
  const key = parsed(rsa.publicKey);
  const digest = nobleCrypto.hash('sha256', message);
  const encoded = encodePkcs1Digest('sha256', digest, 256) ?? new Uint8Array(0);
  const raw = (bytes: Uint8Array) =>
    new Uint8Array(privateEncrypt({ key: rsa.privateKey, padding: constants.RSA_NO_PADDING }, bytes));

  it.each<[string, Uint8Array]>([
    ['a gap in the padding', changed(encoded, 50)],
    ['block type 0', changed(encoded, 1)],
    ['a change in DigestInfo', changed(encoded, 256 - 40)],
    ['hash at the front', concatBytes(encoded.subarray(0, 10), encoded.subarray(204), new Uint8Array(194))],
  ])('refuses %s', (_, wrong) => {
    expect(verifyDigestSync(key, { kind: 'rsa-pkcs1', hash: 'sha256' }, digest, raw(encoded))).toBe(true);
    expect(verifyDigestSync(key, { kind: 'rsa-pkcs1', hash: 'sha256' }, digest, raw(wrong))).toBe(false);
  });

  it('does not take one padding for the other', () => {
    const pkcs1 = byOpenssl(rsa, 'sha256');
    expect(verifyDigestSync(key, { kind: 'rsa-pss', hash: 'sha256' }, digest, pkcs1)).toBe(false);
    const salted = byOpenssl(rsa, 'sha256', pss(32));
    expect(verifyDigestSync(key, { kind: 'rsa-pkcs1', hash: 'sha256' }, digest, salted)).toBe(false);
  });
});

describe('opensslCrypto', () => {
  it.each(['sha1', 'sha256', 'sha384', 'sha512'] as const)('hashes like nobleCrypto: %s', (algorithm) => {
    const hashed = opensslCrypto.hash(algorithm, message);
    expect(hashed).toEqual(nobleCrypto.hash(algorithm, message));
    expect(hashed.constructor).toBe(Uint8Array);
  });

  it('gives random bytes', () => {
    expect(opensslCrypto.randomBytes(20)).toHaveLength(20);
    expect(opensslCrypto.randomBytes(20)).not.toEqual(opensslCrypto.randomBytes(20));
  });
});

it('verifySync() refuses a PSS signature without its leading zero', () => {
  const scheme = { kind: 'rsa-pss', hash: 'sha256' } as const;
  let signature = byOpenssl(rsaOdd, 'sha256', pss(32));
  // A modulus of 2049 bits leaves one bit for the first byte: soon it is zero.
  while (signature[0] !== 0) signature = byOpenssl(rsaOdd, 'sha256', pss(32));
  expect(verifySync(parsed(rsaOdd.publicKey), scheme, message, signature)).toBe(true);
  expect(verifySync(parsed(rsaOdd.publicKey), scheme, message, signature.subarray(1))).toBe(false);
});
