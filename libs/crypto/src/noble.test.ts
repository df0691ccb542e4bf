import { constants, createHash, generateKeyPairSync, privateEncrypt, sign, type KeyObject } from 'node:crypto';
import { ed25519ph } from '@noble/curves/ed25519.js';
import { concatBytes, encodeUtf8, parseHex } from '#libs/encoding';
import { describe, expect, it } from 'vitest';
import {
  curves,
  encodeEcdsaSignature,
  encodePkcs1Digest,
  parseEcdsaSignature,
  parsePublicKey,
  type HashAlgorithm,
  type PublicKey,
  type SignatureScheme,
} from './index.js';
import { nobleCrypto } from './noble.js';

// Signatures are made by OpenSSL, which is the other implementation here.
const message = encodeUtf8('message');
const digestOf = (hash: HashAlgorithm) => nobleCrypto.hash(hash, message);
const publicKeyOf = (key: KeyObject): PublicKey => parsePublicKey(key.export({ type: 'spki', format: 'der' }));

const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
const rsa2048 = generateKeyPairSync('rsa', { modulusLength: 2048 });
const rsa2049 = generateKeyPairSync('rsa', { modulusLength: 2049 });
const ed25519 = generateKeyPairSync('ed25519');
const pss = (saltLength: number) => ({ padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });

const cases: [string, ReturnType<typeof ec>, SignatureScheme, object][] = [
  ['P-256, SHA-256', ec('P-256'), { kind: 'ecdsa', hash: 'sha256' }, {}],
  ['P-256, SHA-512 (digest longer than the order)', ec('P-256'), { kind: 'ecdsa', hash: 'sha512' }, {}],
  ['P-384, SHA-384', ec('P-384'), { kind: 'ecdsa', hash: 'sha384' }, {}],
  ['P-384, SHA-256', ec('P-384'), { kind: 'ecdsa', hash: 'sha256' }, {}],
  ['P-521, SHA-512', ec('P-521'), { kind: 'ecdsa', hash: 'sha512' }, {}],
  ['RSA PKCS#1 v1.5, SHA-256', rsa2048, { kind: 'rsa-pkcs1', hash: 'sha256' }, {}],
  ['RSA PKCS#1 v1.5, SHA-384', rsa2048, { kind: 'rsa-pkcs1', hash: 'sha384' }, {}],
  ['RSA PKCS#1 v1.5, SHA-512', rsa2048, { kind: 'rsa-pkcs1', hash: 'sha512' }, {}],
  ['RSA PSS, salt of the digest', rsa2048, { kind: 'rsa-pss', hash: 'sha256' }, pss(constants.RSA_PSS_SALTLEN_DIGEST)],
  ['RSA PSS, longest salt', rsa2048, { kind: 'rsa-pss', hash: 'sha256' }, pss(constants.RSA_PSS_SALTLEN_MAX_SIGN)],
  ['RSA PSS, no salt, SHA-512', rsa2048, { kind: 'rsa-pss', hash: 'sha512' }, pss(0)],
  ['RSA PSS, 2049 bits', rsa2049, { kind: 'rsa-pss', hash: 'sha256' }, pss(32)],
  ['Ed25519', ed25519, { kind: 'ed25519' }, {}],
];

const flipped = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));

describe.each(cases)('nobleCrypto: %s', (_, pair, scheme, options) => {
  const key = publicKeyOf(pair.publicKey);
  const hash = 'hash' in scheme ? scheme.hash : null;
  const signature = new Uint8Array(sign(hash, message, { key: pair.privateKey, ...options }));

  it('verifies a signature of OpenSSL, by message and by digest', async () => {
    expect(await nobleCrypto.verify(key, scheme, message, signature)).toBe(true);
    if (hash === null) return;
    expect(await nobleCrypto.verifyDigest(key, scheme, digestOf(hash), signature)).toBe(true);
  });

  it('refuses another message, another key and a changed signature', async () => {
    const other = publicKeyOf(
      key.kind === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: key.type.bits }).publicKey
        : key.kind === 'ecdsa'
          ? ec(key.type.curve).publicKey
          : generateKeyPairSync('ed25519').publicKey,
    );
    expect(await nobleCrypto.verify(key, scheme, encodeUtf8('Message'), signature)).toBe(false);
    expect(await nobleCrypto.verify(other, scheme, message, signature)).toBe(false);
    expect(await nobleCrypto.verify(key, scheme, message, flipped(signature, signature.length - 1))).toBe(false);
    expect(await nobleCrypto.verify(key, scheme, message, flipped(signature, 5))).toBe(false);
    expect(await nobleCrypto.verify(key, scheme, message, signature.subarray(1))).toBe(false);
    expect(await nobleCrypto.verify(key, scheme, message, concatBytes(signature, Uint8Array.of(0)))).toBe(false);
    expect(await nobleCrypto.verify(key, scheme, message, new Uint8Array(0))).toBe(false);
  });

  it('refuses a digest of another length as a wrong question', async () => {
    const short = digestOf(hash ?? 'sha512').subarray(1);
    await expect(nobleCrypto.verifyDigest(key, scheme, short, signature)).rejects.toMatchObject({
      code: 'CRYPTO_SCHEME',
    });
  });

  it('refuses schemes of other keys as a wrong question', async () => {
    const kinds = { ecdsa: 'ecdsa', 'rsa-pkcs1': 'rsa', 'rsa-pss': 'rsa', ed25519: 'ed25519', ed25519ph: 'ed25519' };
    for (const [kind, keyKind] of Object.entries(kinds)) {
      if (keyKind === key.kind) continue;
      const wrong = { kind, hash: 'sha256' } as SignatureScheme; // each of the union, and one property too many
      await expect(nobleCrypto.verify(key, wrong, message, signature)).rejects.toMatchObject({ code: 'CRYPTO_SCHEME' });
    }
  });
});

describe('nobleCrypto: ECDSA', () => {
  const pair = ec('P-256');
  const key = publicKeyOf(pair.publicKey);
  const scheme = { kind: 'ecdsa', hash: 'sha256' } as const;
  const { n } = curves['P-256'];

  it('accepts s in either half, as OpenSSL does', async () => {
    const { r, s } = parseEcdsaSignature(new Uint8Array(sign('sha256', message, pair.privateKey)));
    expect(await nobleCrypto.verify(key, scheme, message, encodeEcdsaSignature(r, s))).toBe(true);
    expect(await nobleCrypto.verify(key, scheme, message, encodeEcdsaSignature(r, n - s))).toBe(true);
  });

  it('refuses r and s out of range', async () => {
    const { r, s } = parseEcdsaSignature(new Uint8Array(sign('sha256', message, pair.privateKey)));
    for (const [wrongR, wrongS] of [
      [r + n, s],
      [r, s + n],
      [n, s],
      [r, n],
      [0n, s],
      [r, 0n],
    ] as const) {
      expect(await nobleCrypto.verify(key, scheme, message, encodeEcdsaSignature(wrongR, wrongS))).toBe(false);
    }
  });
});

describe('nobleCrypto: RSA PKCS#1 v1.5', () => {
  const key = publicKeyOf(rsa2048.publicKey);
  const scheme = { kind: 'rsa-pkcs1', hash: 'sha256' } as const;
  const encoded = encodePkcs1Digest('sha256', digestOf('sha256'), 256) ?? new Uint8Array(0);
  // What a signer would make who encodes in another way: only the encoding is wrong.
  const signed = (bytes: Uint8Array) =>
    new Uint8Array(privateEncrypt({ key: rsa2048.privateKey, padding: constants.RSA_NO_PADDING }, bytes));

  it('accepts the one encoding', async () => {
    expect(await nobleCrypto.verify(key, scheme, message, signed(encoded))).toBe(true);
  });

  it.each<[string, Uint8Array]>([
    ['block type 2', flipped(flipped(encoded, 1), 1).map((byte, i) => (i === 1 ? 2 : byte))],
    ['a first byte that is not zero', encoded.map((byte, i) => (i === 0 ? 1 : byte))],
    ['a gap in the padding', encoded.map((byte, i) => (i === 50 ? 0xfe : byte))],
    ['an early end of the padding', concatBytes(encoded.subarray(0, 10), encoded.subarray(204), new Uint8Array(194))],
    [
      'DigestInfo without NULL',
      concatBytes(
        encoded.subarray(0, 2),
        parseHex('ffff'),
        encoded.subarray(2, 204),
        parseHex('00302f300b0609608648016503040201'),
        encoded.subarray(222),
      ),
    ],
    ['another hash in DigestInfo', flipped(encoded, 256 - 32 - 5)],
  ])('refuses %s', async (_, wrong) => {
    expect(wrong).toHaveLength(256);
    expect(await nobleCrypto.verify(key, scheme, message, signed(wrong))).toBe(false);
  });

  it('refuses a signature that is not below the modulus', async () => {
    expect(await nobleCrypto.verify(key, scheme, message, new Uint8Array(256).fill(0xff))).toBe(false);
  });

  it('has no room for SHA-512 in 512 bits', () => {
    expect(encodePkcs1Digest('sha512', digestOf('sha512'), 64)).toBeUndefined();
  });
});

describe('nobleCrypto: Ed25519ph', () => {
  // RFC 8032 §7.3
  const secret = parseHex('833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42');
  const raw = parseHex('ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf');
  const known = parseHex(
    '98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406',
  );
  const key: PublicKey = { kind: 'ed25519', type: { kind: 'ed25519' }, spki: raw, raw };
  const abc = encodeUtf8('abc');
  const scheme = { kind: 'ed25519ph' } as const;

  it('knows the answer of RFC 8032', async () => {
    expect(ed25519ph.sign(abc, secret)).toEqual(known);
    expect(await nobleCrypto.verify(key, scheme, abc, known)).toBe(true);
    expect(await nobleCrypto.verifyDigest(key, scheme, nobleCrypto.hash('sha512', abc), known)).toBe(true);
  });

  it('is not pure Ed25519', async () => {
    expect(await nobleCrypto.verify(key, { kind: 'ed25519' }, abc, known)).toBe(false);
    const pure = new Uint8Array(sign(null, message, ed25519.privateKey));
    expect(await nobleCrypto.verify(publicKeyOf(ed25519.publicKey), scheme, message, pure)).toBe(false);
  });

  it('refuses a changed digest, signature or length', async () => {
    const digest = nobleCrypto.hash('sha512', abc);
    expect(await nobleCrypto.verifyDigest(key, scheme, flipped(digest, 0), known)).toBe(false);
    expect(await nobleCrypto.verifyDigest(key, scheme, digest, flipped(known, 40))).toBe(false);
    expect(await nobleCrypto.verifyDigest(key, scheme, digest, known.subarray(1))).toBe(false);
  });
});

describe('nobleCrypto.hash()', () => {
  it.each(['sha1', 'sha256', 'sha384', 'sha512'] as const)('agrees with OpenSSL on %s', (algorithm) => {
    expect(nobleCrypto.hash(algorithm, message)).toEqual(
      new Uint8Array(createHash(algorithm).update(message).digest()),
    );
  });
});

describe('nobleCrypto.randomBytes()', () => {
  it('gives as many as asked, and others each time', () => {
    expect(nobleCrypto.randomBytes(16)).toHaveLength(16);
    expect(nobleCrypto.randomBytes(16)).not.toEqual(nobleCrypto.randomBytes(16));
  });
});
