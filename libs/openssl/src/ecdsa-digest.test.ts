import {
  createECDH,
  generateKeyPairSync,
  hash as hashOneShot,
  randomBytes,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import {
  curves,
  ecdsaDerToP1363,
  encodeEcdsaSignature,
  integerFromBytes,
  integerToBytes,
  parseEcdsaSignature,
  parsePublicKey,
  type Curve,
  type EcdsaPublicKey,
} from '#libs/crypto';
import { describe, expect, it } from 'vitest';
import { verifyEcdsaDigest, verifyEcdsaDigestSync } from './ecdsa-digest.js';
import { sha256 } from './hash.js';
import { inverseModulo } from './inverse.js';

const noble = { 'P-256': p256, 'P-384': p384, 'P-521': p521 };
const opensslNames = { 'P-256': 'prime256v1', 'P-384': 'secp384r1', 'P-521': 'secp521r1' };
const hashes = ['sha256', 'sha384', 'sha512'] as const;

// Random cases for a curve: those that OpenSSL judges, and those that @noble judges, which is slow.
const rounds = { 'P-256': [1500, 150], 'P-384': [250, 60], 'P-521': [120, 40] } as const;

const publicKey = (key: KeyObject) => parsePublicKey(key.export({ type: 'spki', format: 'der' })) as EcdsaPublicKey; // only EC keys are made here
const pick = <T>(items: readonly [T, ...T[]], round: number): T => items[round % items.length] ?? items[0];

function nobleAnswer(key: EcdsaPublicKey, digest: Uint8Array, signature: Uint8Array): boolean {
  const raw = ecdsaDerToP1363(signature, key.type.curve);
  return noble[key.type.curve].verify(raw, digest, key.point, { prehash: false, lowS: false });
}

/** A key whose secret we know. */
function keyOf(curve: Curve, secret: bigint): EcdsaPublicKey {
  const ecdh = createECDH(opensslNames[curve.name]);
  ecdh.setPrivateKey(integerToBytes(secret, curve.bytes));
  const point = new Uint8Array(ecdh.getPublicKey());
  return { kind: 'ecdsa', type: { kind: 'ecdsa', curve: curve.name }, spki: new Uint8Array(0), point };
}

/** r of a nonce: the x of its multiple of the base point. */
function rOf(curve: Curve, nonce: bigint): bigint {
  const { point } = keyOf(curve, nonce);
  return integerFromBytes(point.subarray(1, 1 + curve.bytes)) % curve.n;
}

const mod = (value: bigint, n: bigint) => ((value % n) + n) % n;
const randomBelow = (n: bigint) => (integerFromBytes(new Uint8Array(randomBytes(80))) % (n - 1n)) + 1n;

/** FIPS 186-5 §6.4.1 with everything chosen: the signature of the integer z. */
function signInteger(curve: Curve, z: bigint, secret: bigint, nonce: bigint): Uint8Array {
  const r = rOf(curve, nonce);
  return encodeEcdsaSignature(r, mod((z + r * secret) * inverseModulo(nonce, curve.n), curve.n));
}

/** A digest whose leading bits are the integer z. */
function digestOf(curve: Curve, z: bigint): Uint8Array {
  return integerToBytes(z << BigInt(8 * curve.bytes - curve.orderBits), curve.bytes);
}

/** The integer of the digest of the n-th message that the module knows. */
function knownInteger(curve: Curve, which: number): bigint {
  return integerFromBytes(sha256(Uint8Array.of(which))) >> BigInt(Math.max(0, 256 - curve.orderBits));
}

describe.each(Object.values(curves))('verifyEcdsaDigestSync() on $name', (curve) => {
  const { n } = curve;
  const pairs = Array.from({ length: 8 }, () => generateKeyPairSync('ec', { namedCurve: curve.name }));
  const keys = pairs.map((pair) => ({ ...pair, key: publicKey(pair.publicKey) })) as [
    { key: EcdsaPublicKey; publicKey: KeyObject; privateKey: KeyObject },
  ];
  const [openssl, slow] = rounds[curve.name];

  it(`agrees with OpenSSL's verification of the message in ${openssl} random cases`, () => {
    for (let round = 0; round < openssl; round++) {
      const { privateKey } = pick(keys, round);
      const signed = round % 4 === 1 ? pick(keys, round + 1) : pick(keys, round);
      const hash = pick(hashes, round >> 1);
      const message = new Uint8Array(randomBytes(20));
      const signature = new Uint8Array(sign(hash, message, privateKey));
      if (round % 4 === 2) message[0] = (message[0] ?? 0) ^ 1;
      const { r, s } = parseEcdsaSignature(signature);
      const asked = round % 4 === 3 ? encodeEcdsaSignature(r, mod(s + 1n, n)) : signature;
      const digest = new Uint8Array(hashOneShot(hash, message, 'buffer'));
      const answer = verifyEcdsaDigestSync(signed.key, digest, asked);
      expect(answer).toBe(round % 4 === 0);
      expect(answer).toBe(verify(hash, message, signed.publicKey, asked));
    }
  });

  it(`agrees with @noble on ${slow} digests that are of no message`, () => {
    for (let round = 0; round < slow; round++) {
      const secret = randomBelow(n);
      const key = keyOf(curve, secret);
      const z = randomBelow(n);
      const signature = signInteger(curve, z, secret, randomBelow(n));
      const digest = digestOf(curve, round % 3 === 1 ? z ^ 1n : z);
      const { r, s } = parseEcdsaSignature(signature);
      const asked = round % 3 === 2 ? encodeEcdsaSignature(r, n - s) : signature;
      const answer = verifyEcdsaDigestSync(key, digest, asked);
      expect(answer).toBe(round % 3 !== 1);
      expect(answer).toBe(nobleAnswer(key, digest, asked));
    }
  });

  it('accepts s in either half', () => {
    const { key, privateKey } = keys[0];
    const message = new Uint8Array(randomBytes(20));
    const { r, s } = parseEcdsaSignature(new Uint8Array(sign('sha256', message, privateKey)));
    expect(verifyEcdsaDigestSync(key, sha256(message), encodeEcdsaSignature(r, s))).toBe(true);
    expect(verifyEcdsaDigestSync(key, sha256(message), encodeEcdsaSignature(r, n - s))).toBe(true);
  });

  it('refuses r and s out of [1, n − 1], and what is not DER', () => {
    const { key, privateKey } = keys[0];
    const message = new Uint8Array(randomBytes(20));
    const signature = new Uint8Array(sign('sha256', message, privateKey));
    const { r, s } = parseEcdsaSignature(signature);
    const digest = sha256(message);
    const wrong = [
      encodeEcdsaSignature(r + n, s),
      encodeEcdsaSignature(r, s + n),
      encodeEcdsaSignature(n, s),
      encodeEcdsaSignature(r, n),
      encodeEcdsaSignature(0n, s),
      encodeEcdsaSignature(r, 0n),
      encodeEcdsaSignature(-r, s),
      encodeEcdsaSignature(r, -s),
      new Uint8Array(0),
      Uint8Array.of(...signature, 0),
      signature.subarray(1),
      ecdsaDerToP1363(signature, curve.name),
    ];
    expect(wrong.map((bytes) => verifyEcdsaDigestSync(key, digest, bytes))).toEqual(wrong.map(() => false));
  });

  // δ = (z − h)/r. The four known messages have four integers h; each case below spoils one or two of them.
  const h = [0, 1, 2, 3].map((which) => knownInteger(curve, which)) as [bigint, bigint, bigint, bigint];
  const exceptions: [string, (r: bigint, secret: bigint) => { z: bigint; secret: bigint }][] = [
    ...h.flatMap((hi, i): typeof exceptions => [
      [`δ = 0 for message ${i}`, (_r, secret) => ({ z: hi, secret })],
      [`δ·G = Q for message ${i}`, (r, secret) => ({ z: mod(hi + secret * r, n), secret })],
      [`δ·G = −Q for message ${i}`, (r, secret) => ({ z: mod(hi - secret * r, n), secret })],
    ]),
    [
      'δ = 0 for message 0 and δ·G = Q for message 1',
      (r) => ({ z: h[0], secret: mod((h[0] - h[1]) * inverseModulo(r, n), n) }),
    ],
    [
      'δ = 0 for message 0 and δ·G = −Q for message 1',
      (r) => ({ z: h[0], secret: mod((h[1] - h[0]) * inverseModulo(r, n), n) }),
    ],
    [
      'δ·G = Q for message 0 and δ·G = −Q for message 1',
      (r) => {
        const secret = mod((h[1] - h[0]) * inverseModulo(mod(2n * r, n), n), n);
        return { z: mod(h[0] + secret * r, n), secret };
      },
    ],
    ['z = 0', (_r, secret) => ({ z: 0n, secret })],
  ];

  it.each(exceptions)('is right where %s', (_, choose) => {
    const nonce = randomBelow(n);
    const { z, secret } = choose(rOf(curve, nonce), randomBelow(n));
    const key = keyOf(curve, secret);
    const signature = signInteger(curve, z, secret, nonce);
    const { r, s } = parseEcdsaSignature(signature);
    const digest = digestOf(curve, z);
    const asked: [Uint8Array, Uint8Array, boolean][] = [
      [digest, signature, true],
      [digest, encodeEcdsaSignature(r, n - s), true],
      [digest, encodeEcdsaSignature(r, mod(s + 1n, n)), false],
      [digestOf(curve, z ^ 2n), signature, false],
    ];
    for (const [digestAsked, signatureAsked, expected] of asked) {
      expect(nobleAnswer(key, digestAsked, signatureAsked)).toBe(expected);
      expect(verifyEcdsaDigestSync(key, digestAsked, signatureAsked)).toBe(expected);
    }
  });

  it('refuses a signature whose point R is at infinity', () => {
    const secret = randomBelow(n);
    const key = keyOf(curve, secret);
    const r = rOf(curve, randomBelow(n));
    const digest = digestOf(curve, mod(-r * secret, n));
    const signature = encodeEcdsaSignature(r, randomBelow(n));
    expect(verifyEcdsaDigestSync(key, digest, signature)).toBe(false);
    expect(nobleAnswer(key, digest, signature)).toBe(false);
  });

  it('takes no point off the curve for a key', () => {
    const { key, privateKey } = keys[0];
    const point = key.point.slice();
    point[point.length - 1] = (point[point.length - 1] ?? 0) ^ 1;
    const signature = new Uint8Array(sign('sha256', new Uint8Array(0), privateKey));
    expect(() => verifyEcdsaDigestSync({ ...key, point }, sha256(new Uint8Array(0)), signature)).toThrow();
  });

  it('verifyEcdsaDigest() gives the same answers', async () => {
    const { key, privateKey } = keys[0];
    const message = new Uint8Array(randomBytes(20));
    const signature = new Uint8Array(sign('sha256', message, privateKey));
    const answers = await Promise.all([
      verifyEcdsaDigest(key, sha256(message), signature),
      verifyEcdsaDigest(key, sha256(signature), signature),
      verifyEcdsaDigest(key, sha256(message), new Uint8Array(8)),
    ]);
    expect(answers).toEqual([true, false, false]);
  });
});
