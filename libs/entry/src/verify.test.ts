import { createHash, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { concatBytes, encodeUtf8 } from '#libs/encoding';
import { loadNobleCrypto, parsePublicKey, type PublicKey } from '#libs/crypto';
import { describe, expect, it } from 'vitest';
import { verifyEntry, type DsseRequest, type HashedRekord, type Verifier } from './index.js';

const nobleCrypto = await loadNobleCrypto();

const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
type Pair = ReturnType<typeof ec>;
const keyOf = (pair: Pair): PublicKey => parsePublicKey(pair.publicKey.export({ type: 'spki', format: 'der' }));
const message = encodeUtf8('message');
const sha = (algorithm: string, data: Uint8Array) => new Uint8Array(createHash(algorithm).update(data).digest());

// A certificate's bytes are opaque here: these stand for one that holds the key.
const certificateOf = (key: PublicKey): Verifier => ({ x509Certificate: concatBytes(Uint8Array.of(0), key.spki) });
const publicKeyOf = (verifier: Verifier): PublicKey =>
  parsePublicKey('publicKey' in verifier ? verifier.publicKey : verifier.x509Certificate.subarray(1));
const verification = { publicKeyOf, hash: nobleCrypto.hash, verifyDigest: nobleCrypto.verifyDigest };

const pairs = { p256: ec('P-256'), other: ec('P-256'), p384: ec('P-384'), p521: ec('P-521') };
const rsa2048 = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ed25519 = generateKeyPairSync('ed25519');

function rekord(pair: Pair, hash: string, keyDetails: string): HashedRekord {
  const signature = new Uint8Array(sign(hash, message, pair.privateKey));
  return {
    kind: 'hashedrekord',
    digest: sha(hash, message),
    signature,
    keyDetails,
    verifier: { publicKey: keyOf(pair).spki },
  };
}

describe('verifyEntry() of a hashedrekord', () => {
  it.each([
    ['P-256', rekord(pairs.p256, 'sha256', 'PKIX_ECDSA_P256_SHA_256')],
    ['P-384', rekord(pairs.p384, 'sha384', 'PKIX_ECDSA_P384_SHA_384')],
    ['P-521', rekord(pairs.p521, 'sha512', 'PKIX_ECDSA_P521_SHA_512')],
    ['RSA', rekord(rsa2048, 'sha256', 'PKIX_RSA_PKCS1V15_2048_SHA256')],
  ])('returns it: %s', async (_, entry) => {
    expect(await verifyEntry(entry, verification)).toBe(entry);
  });

  it('takes a synchronous check', async () => {
    const entry = rekord(pairs.p256, 'sha256', 'PKIX_ECDSA_P256_SHA_256');
    expect(await verifyEntry(entry, { ...verification, verifyDigest: () => true })).toBe(entry);
    await expect(verifyEntry(entry, { ...verification, verifyDigest: () => false })).rejects.toMatchObject({
      code: 'ENTRY_SIGNATURE',
    });
  });

  const good = rekord(pairs.p256, 'sha256', 'PKIX_ECDSA_P256_SHA_256');
  it.each<[string, HashedRekord]>([
    ['another digest', { ...good, digest: sha('sha256', encodeUtf8('')) }],
    ['another signature', { ...good, signature: rekord(pairs.other, 'sha256', good.keyDetails).signature }],
    ['another key', { ...good, verifier: { publicKey: keyOf(pairs.other).spki } }],
    ['no DER', { ...good, signature: new Uint8Array(70) }],
  ])('refuses %s', async (_, entry) => {
    await expect(verifyEntry(entry, verification)).rejects.toMatchObject({ code: 'ENTRY_SIGNATURE' });
  });

  // The reference server looks at the hash of the label only, and stores it as it is.
  it.each<[string, HashedRekord]>([
    ['P-256 as RSA', { ...good, keyDetails: 'PKIX_RSA_PKCS1V15_2048_SHA256' }],
    ['RSA as P-256', { ...rekord(rsa2048, 'sha256', 'PKIX_ECDSA_P256_SHA_256') }],
    ['RSA of another size', { ...rekord(rsa2048, 'sha256', 'PKIX_RSA_PKCS1V15_3072_SHA256') }],
    [
      'P-384 as P-256, in a certificate',
      { ...rekord(pairs.p384, 'sha256', 'PKIX_ECDSA_P256_SHA_256'), verifier: certificateOf(keyOf(pairs.p384)) },
    ],
    [
      'Ed25519 as P-521',
      { ...good, keyDetails: 'PKIX_ECDSA_P521_SHA_512', verifier: { publicKey: keyOf(ed25519).spki } },
    ],
  ])('refuses a label that does not name the key: %s', async (_, entry) => {
    await expect(verifyEntry(entry, { ...verification, verifyDigest: () => true })).rejects.toMatchObject({
      code: 'ENTRY_INVALID',
      reason: 'algorithm-mismatch',
    });
  });

  it('lets pass what the caller says about a key', async () => {
    const error = new Error('no certificate');
    const refuse = () => {
      throw error;
    };
    await expect(verifyEntry(good, { ...verification, publicKeyOf: refuse })).rejects.toBe(error);
  });
});

describe('verifyEntry() of an envelope', () => {
  const payload = encodeUtf8('{"hello":"wörld"}');
  const payloadType = 'text/ünusual';
  // Lengths count bytes of UTF-8, not characters: ü and ö have two.
  const encoded = encodeUtf8(`DSSEv1 13 ${payloadType} 18 {"hello":"wörld"}`);
  const signed = (pair: Pair, hash = 'sha256') => new Uint8Array(sign(hash, encoded, pair.privateKey));
  const verifier = (pair: Pair, keyDetails: string, isCertificate = false) => ({
    keyDetails,
    verifier: isCertificate ? certificateOf(keyOf(pair)) : { publicKey: keyOf(pair).spki },
  });
  const P256 = 'PKIX_ECDSA_P256_SHA_256';
  const request = (signatures: Uint8Array[], verifiers: DsseRequest['verifiers']): DsseRequest => ({
    kind: 'dsse',
    payload,
    payloadType,
    signatures,
    verifiers,
  });

  it('returns the hash of the payload, and each signature with its verifier', async () => {
    const [a, b] = [signed(pairs.p256), signed(pairs.p384, 'sha384')];
    const verifiers = [verifier(pairs.p256, P256), verifier(pairs.p384, 'PKIX_ECDSA_P384_SHA_384')];
    expect(await verifyEntry(request([b, a], verifiers), verification)).toEqual({
      kind: 'dsse',
      payloadHash: sha('sha256', payload),
      signatures: [
        { signature: a, ...verifiers[0] },
        { signature: b, ...verifiers[1] },
      ],
    });
  });

  it('gives one verifier all signatures that are its own', async () => {
    const signatures = [signed(pairs.p256), signed(pairs.p256)];
    const stored = await verifyEntry(request(signatures, [verifier(pairs.p256, P256)]), verification);
    expect(stored).toMatchObject({ signatures: [{ signature: signatures[0] }, { signature: signatures[1] }] });
  });

  it.each<[string, DsseRequest]>([
    [
      'a signature that fits no verifier',
      request([signed(pairs.p256), signed(pairs.other)], [verifier(pairs.p256, P256)]),
    ],
    [
      'a verifier that has signed nothing',
      request([signed(pairs.p256)], [verifier(pairs.other, P256), verifier(pairs.p256, P256)]),
    ],
    ['another payload', { ...request([signed(pairs.p256)], [verifier(pairs.p256, P256)]), payload: message }],
    ['another type', { ...request([signed(pairs.p256)], [verifier(pairs.p256, P256)]), payloadType: 'text/plain' }],
  ])('refuses %s', async (_, wrong) => {
    await expect(verifyEntry(wrong, verification)).rejects.toMatchObject({ code: 'ENTRY_SIGNATURE' });
  });

  it('does not ask for a verifier when no signature is left', async () => {
    const stored = await verifyEntry(
      request([signed(pairs.p256)], [verifier(pairs.p256, P256), verifier(pairs.other, P256)]),
      verification,
    );
    expect(stored).toMatchObject({ signatures: [{ verifier: { publicKey: keyOf(pairs.p256).spki } }] });
  });

  // log-v2 trap 15: sigstore-js labels every certificate P-256.
  it('takes the P-256 label of a certificate as SHA-256', async () => {
    const entry = await verifyEntry(request([signed(rsa2048)], [verifier(rsa2048, P256, true)]), verification);
    expect(entry).toMatchObject({ signatures: [{ keyDetails: P256 }] });
  });

  it.each<[string, DsseRequest]>([
    ['of a bare key', request([signed(rsa2048)], [verifier(rsa2048, P256)])],
    [
      'of a P-384 certificate, which has no algorithm with SHA-256',
      request([signed(pairs.p384)], [verifier(pairs.p384, P256, true)]),
    ],
    [
      'that is another one',
      request([signed(pairs.p256)], [verifier(pairs.p256, 'PKIX_RSA_PKCS1V15_2048_SHA256', true)]),
    ],
  ])('refuses the wrong label %s', async (_, wrong) => {
    await expect(verifyEntry(wrong, verification)).rejects.toMatchObject({ reason: 'algorithm-mismatch' });
  });

  it('gives the same answer a thousand times', async () => {
    const certificates = [verifier(pairs.p256, P256), verifier(pairs.other, P256)];
    const wanted = request([signed(pairs.other), signed(pairs.p256)], certificates);
    const byOpenssl = (key: PublicKey, _: unknown, digest: Uint8Array, signature: Uint8Array) => {
      expect(digest).toEqual(sha('sha256', encoded));
      const object = createPublicKey({ key: Buffer.from(key.spki), format: 'der', type: 'spki' });
      return verify('sha256', encoded, object, signature);
    };
    const first = await verifyEntry(wanted, { ...verification, verifyDigest: byOpenssl });
    for (let i = 0; i < 1000; i++) {
      expect(await verifyEntry(wanted, { ...verification, verifyDigest: byOpenssl })).toEqual(first);
    }
  });
});
