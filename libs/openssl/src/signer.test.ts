import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { encodeUtf8 } from '#libs/encoding';
import type { SignatureScheme } from '#libs/crypto';
import { describe, expect, it } from 'vitest';
import { generateSigner, loadSigner, verifySync } from './index.js';

const message = encodeUtf8('message');
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ed = generateKeyPairSync('ed25519');
const pem = (pair: typeof ec, type: 'pkcs8' | 'sec1' | 'pkcs1' = 'pkcs8', encryption: object = {}) =>
  pair.privateKey.export({ type, format: 'pem', ...encryption }).toString();
const encrypted = (passphrase: string) => pem(ec, 'pkcs8', { cipher: 'aes-256-cbc', passphrase });

describe('generateSigner()', () => {
  it.each([
    [undefined, { kind: 'ecdsa', hash: 'sha256' }],
    ['P-256', { kind: 'ecdsa', hash: 'sha256' }],
    ['P-384', { kind: 'ecdsa', hash: 'sha384' }],
    ['ed25519', { kind: 'ed25519' }],
  ] as const)('%s signs, and comes back from its PEM', (type, scheme) => {
    const signer = generateSigner(type);
    const loaded = loadSigner(signer.exportPkcs8Pem());
    expect(signer.scheme).toEqual(scheme);
    expect(loaded.publicKey).toEqual(signer.publicKey);
    expect(verifySync(signer.publicKey, scheme, message, signer.sign(message))).toBe(true);
    expect(verifySync(signer.publicKey, scheme, message, loaded.sign(message))).toBe(true);
    expect(signer.sign(message).constructor).toBe(Uint8Array);
  });

  it('makes another key each time', () => {
    expect(generateSigner().publicKey).not.toEqual(generateSigner().publicKey);
  });
});

describe('loadSigner()', () => {
  it.each<[string, string, SignatureScheme | undefined]>([
    ['PKCS#8', pem(ec), undefined],
    ['SEC 1', pem(ec, 'sec1'), undefined],
    ['PKCS#1', pem(rsa, 'pkcs1'), undefined],
    ['RSA with PSS', pem(rsa), { kind: 'rsa-pss', hash: 'sha256' }],
    ['RSA with SHA-512', pem(rsa), { kind: 'rsa-pkcs1', hash: 'sha512' }],
    ['Ed25519', pem(ed), undefined],
    ['Ed25519ph', pem(ed), { kind: 'ed25519ph' }],
    ['P-256 with SHA-512', pem(ec), { kind: 'ecdsa', hash: 'sha512' }],
  ])('signs with %s', (_, text, scheme) => {
    const signer = loadSigner(text, scheme ? { scheme } : {});
    if (scheme) expect(signer.scheme).toEqual(scheme);
    expect(verifySync(signer.publicKey, signer.scheme, message, signer.sign(message))).toBe(true);
    expect(verifySync(signer.publicKey, signer.scheme, encodeUtf8(''), signer.sign(message))).toBe(false);
  });

  it('opens an encrypted key with its passphrase', () => {
    const signer = loadSigner(encrypted('secret'), { passphrase: 'secret' });
    expect(signer.publicKey).toEqual(loadSigner(pem(ec)).publicKey);
  });

  it.each([
    ['no passphrase', {}],
    ['another passphrase', { passphrase: 'Secret' }],
    ['an empty passphrase', { passphrase: '' }],
  ])('refuses an encrypted key with %s', (_, options) => {
    expect(() => loadSigner(encrypted('secret'), options)).toThrow(
      expect.objectContaining({ code: 'CRYPTO_KEY_ENCRYPTED' }),
    );
  });

  it.each([
    ['nothing', ''],
    ['text', 'key'],
    ['a public key', ec.publicKey.export({ type: 'spki', format: 'pem' }).toString()],
    ['a cut key', pem(ec).slice(0, 100)],
    ['a long text', `${pem(ec)}${' '.repeat(32_768)}`],
  ])('refuses %s', (_, text) => {
    expect(() => loadSigner(text)).toThrow(expect.objectContaining({ code: 'CRYPTO_KEY_MALFORMED' }));
  });

  it('refuses keys of other kinds', () => {
    const x25519 = pem(generateKeyPairSync('x25519'));
    const koblitz = pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }));
    for (const text of [x25519, koblitz]) {
      expect(() => loadSigner(text)).toThrow(expect.objectContaining({ code: 'CRYPTO_KEY_UNSUPPORTED' }));
    }
  });

  it('refuses a scheme that is not for the key', () => {
    expect(() => loadSigner(pem(ec), { scheme: { kind: 'ed25519' } })).toThrow(
      expect.objectContaining({ code: 'CRYPTO_SCHEME' }),
    );
  });

  it('does not give the key away', () => {
    const { d = '?' } = ec.privateKey.export({ format: 'jwk' });
    const signer = loadSigner(pem(ec));
    const shown = JSON.stringify(signer) + inspect(signer, { depth: 9, showHidden: true });
    expect(shown).not.toContain(d);
    expect(shown).not.toContain('PrivateKeyObject');
    expect(Object.keys(signer)).toEqual(['publicKey', 'scheme', 'sign']);
  });
});
