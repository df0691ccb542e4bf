import { X509Certificate, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { encodeBase64, encodeHex, encodeUtf8, parseUtf8 } from '#libs/encoding';
import { describe, expect, it } from 'vitest';
import { EntryError, parseEntryBody, type Verifier } from './index.js';

const names = [
  'hashedrekord-0.0.1-certificate',
  'hashedrekord-0.0.1-public-key',
  'hashedrekord-0.0.2',
  'hashedrekord-0.0.2-dsse',
  'dsse-0.0.1',
  'intoto-0.0.2',
] as const;
type Name = (typeof names)[number];
const vector = (name: Name) =>
  new Uint8Array(readFileSync(new URL(`../../../test/vectors/entry/${name}.json`, import.meta.url)));

/* eslint-disable-next-line @typescript-eslint/no-explicit-any -- a JSON tree to break in many ways */
type Json = any;
const json = (name: Name): Json => JSON.parse(parseUtf8(vector(name)));
const bodyOf = (value: Json) => parseEntryBody(encodeUtf8(JSON.stringify(value)));
const malformed = expect.objectContaining({ name: 'EntryError', code: 'ENTRY_BODY_MALFORMED' });

function derOf(verifier: Verifier): Uint8Array {
  return 'publicKey' in verifier ? verifier.publicKey : verifier.x509Certificate;
}

describe('parseEntryBody() of real entries', () => {
  it('hashedrekord 0.0.1 with a certificate', () => {
    const { spec } = json('hashedrekord-0.0.1-certificate');
    const body = parseEntryBody(vector('hashedrekord-0.0.1-certificate'));
    if (body.kind !== 'hashedrekord') throw new Error('not a hashedrekord');
    expect(body.version).toBe('0.0.1');
    expect(body.hash.algorithm).toBe('sha256');
    expect(encodeHex(body.hash.bytes)).toBe(spec.data.hash.value);
    expect(encodeBase64(body.signature)).toBe(spec.signature.content);
    const pem = Buffer.from(spec.signature.publicKey.content, 'base64');
    expect(body.verifier).toEqual({ x509Certificate: new Uint8Array(new X509Certificate(pem).raw) });
  });

  it('hashedrekord 0.0.1 with a public key', () => {
    const { spec } = json('hashedrekord-0.0.1-public-key');
    const body = parseEntryBody(vector('hashedrekord-0.0.1-public-key'));
    const pem = Buffer.from(spec.signature.publicKey.content, 'base64');
    const spki = createPublicKey(pem).export({ type: 'spki', format: 'der' });
    expect(body).toMatchObject({ verifier: { publicKey: new Uint8Array(spki) } });
  });

  it.each(['hashedrekord-0.0.2', 'hashedrekord-0.0.2-dsse'] as const)('%s', (name) => {
    const { data, signature } = json(name).spec.hashedRekordV002;
    const body = parseEntryBody(vector(name));
    if (body.kind !== 'hashedrekord' || body.version !== '0.0.2') throw new Error('not a hashedrekord 0.0.2');
    expect(encodeBase64(body.hash.bytes)).toBe(data.digest);
    expect(encodeBase64(body.signature)).toBe(signature.content);
    expect(body.keyDetails).toBe('PKIX_ECDSA_P256_SHA_256');
    expect(encodeBase64(derOf(body.verifier))).toBe(signature.verifier.x509Certificate.rawBytes);
  });

  it('dsse 0.0.1', () => {
    const { spec } = json('dsse-0.0.1');
    const body = parseEntryBody(vector('dsse-0.0.1'));
    if (body.kind !== 'dsse') throw new Error('not dsse');
    expect(encodeHex(body.payloadHash.bytes)).toBe(spec.payloadHash.value);
    expect(body.signatures.map(({ signature }) => encodeBase64(signature))).toEqual([spec.signatures[0].signature]);
    expect(body.signatures[0]?.verifier).toHaveProperty('x509Certificate');
  });

  it('intoto 0.0.2, whose signature is base64 twice', () => {
    const { content } = json('intoto-0.0.2').spec;
    const body = parseEntryBody(vector('intoto-0.0.2'));
    if (body.kind !== 'intoto') throw new Error('not intoto');
    expect(encodeHex(body.payloadHash.bytes)).toBe(content.payloadHash.value);
    const twice = encodeBase64(encodeUtf8(encodeBase64(body.signatures[0]?.signature ?? new Uint8Array(0))));
    expect(twice).toBe(content.envelope.signatures[0].sig);
    expect(body.signatures[0]?.signature[0]).toBe(0x30);
  });
});

describe('parseEntryBody()', () => {
  it('reads RSA PUBLIC KEY as the SubjectPublicKeyInfo that it is', () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const value = json('hashedrekord-0.0.1-public-key');
    value.spec.signature.publicKey.content = encodeBase64(
      encodeUtf8(publicKey.export({ type: 'pkcs1', format: 'pem' }).toString()),
    );
    expect(bodyOf(value)).toMatchObject({
      verifier: { publicKey: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })) },
    });
  });

  it.each(['sha384', 'sha512'] as const)('reads %s', (algorithm) => {
    const value = json('hashedrekord-0.0.1-certificate');
    const length = algorithm === 'sha384' ? 48 : 64;
    value.spec.data.hash = { algorithm, value: '0a'.repeat(length) };
    expect(bodyOf(value)).toMatchObject({ hash: { algorithm, bytes: new Uint8Array(length).fill(10) } });
  });

  it('does not mind what old entries hold besides', () => {
    const value = json('hashedrekord-0.0.1-certificate');
    value.spec.data.url = 'https://example.com';
    expect(bodyOf(value).kind).toBe('hashedrekord');
  });

  it.each<[string, Name, (value: Json) => void]>([
    ['an unknown kind', 'hashedrekord-0.0.2', (v) => (v.kind = 'rekord')],
    ['an unknown version', 'hashedrekord-0.0.2', (v) => (v.apiVersion = '0.0.3')],
    ['intoto 0.0.1', 'intoto-0.0.2', (v) => (v.apiVersion = '0.0.1')],
    ['the version of another log', 'hashedrekord-0.0.2', (v) => (v.apiVersion = '0.0.1')],
    ['the other version', 'hashedrekord-0.0.1-certificate', (v) => (v.apiVersion = '0.0.2')],
    ['a kind split elsewhere', 'hashedrekord-0.0.2', (v) => ([v.kind, v.apiVersion] = ['hashedrekord 0.0.2', ''])],
    ['a field beside spec', 'hashedrekord-0.0.1-certificate', (v) => (v.extra = 1)],
    ['an unknown field in the entry', 'hashedrekord-0.0.2', (v) => (v.spec.hashedRekordV002.extra = null)],
    ['an unknown field in spec', 'hashedrekord-0.0.2', (v) => (v.spec.dsseV002 = {})],
    ['an unknown field in data', 'hashedrekord-0.0.2', (v) => (v.spec.hashedRekordV002.data.extra = 1)],
    ['an unknown field in the signature', 'hashedrekord-0.0.2', (v) => (v.spec.hashedRekordV002.signature.extra = 1)],
    [
      'key and certificate',
      'hashedrekord-0.0.2',
      (v) => (v.spec.hashedRekordV002.signature.verifier.publicKey = { rawBytes: 'AAAA' }),
    ],
    [
      'an unknown field in the certificate',
      'hashedrekord-0.0.2',
      (v) => (v.spec.hashedRekordV002.signature.verifier.x509Certificate.extra = 1),
    ],
    ['an unknown hash', 'hashedrekord-0.0.2', (v) => (v.spec.hashedRekordV002.data.algorithm = 'SHA3_256')],
    ['an inherited name as hash', 'hashedrekord-0.0.2', (v) => (v.spec.hashedRekordV002.data.algorithm = 'toString')],
    [
      'another length than the hash',
      'hashedrekord-0.0.2',
      (v) => (v.spec.hashedRekordV002.data.algorithm = 'SHA2_512'),
    ],
    [
      'SHA-1',
      'hashedrekord-0.0.1-certificate',
      (v) => (v.spec.data.hash = { algorithm: 'sha1', value: '00'.repeat(20) }),
    ],
    ['a short hash', 'hashedrekord-0.0.1-certificate', (v) => (v.spec.data.hash.value = '00'.repeat(31))],
    [
      'a hash that is not hexadecimal',
      'hashedrekord-0.0.1-certificate',
      (v) => (v.spec.data.hash.value = 'zz'.repeat(32)),
    ],
    [
      'unpadded base64',
      'hashedrekord-0.0.2',
      (v) => (v.spec.hashedRekordV002.data.digest = encodeBase64(new Uint8Array(32)).slice(0, -1)),
    ],
    ['an empty signature', 'hashedrekord-0.0.1-certificate', (v) => (v.spec.signature.content = '')],
    ['DER where PEM belongs', 'hashedrekord-0.0.1-certificate', (v) => (v.spec.signature.publicKey.content = 'MAAA')],
    [
      'a private key as verifier',
      'hashedrekord-0.0.1-certificate',
      (v) =>
        (v.spec.signature.publicKey.content = encodeBase64(
          encodeUtf8('-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n'),
        )),
    ],
    ['no signatures', 'dsse-0.0.1', (v) => (v.spec.signatures = [])],
    ['33 signatures', 'dsse-0.0.1', (v) => (v.spec.signatures = Array(33).fill(v.spec.signatures[0]))],
    ['signatures that are an object', 'dsse-0.0.1', (v) => (v.spec.signatures = { 0: v.spec.signatures[0] })],
    ['no signatures', 'intoto-0.0.2', (v) => (v.spec.content.envelope.signatures = [])],
    ['a signature in base64 once', 'intoto-0.0.2', (v) => (v.spec.content.envelope.signatures[0].sig = 'AAAA')],
    ['no spec', 'hashedrekord-0.0.2', (v) => delete v.spec],
  ])('refuses %s in %s', (_, name, change) => {
    const value = json(name);
    expect(bodyOf(value).kind).toBe(value.kind);
    change(value);
    expect(() => bodyOf(value)).toThrow(malformed);
  });

  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['no UTF-8', Uint8Array.of(0xff)],
    ['an array', encodeUtf8('[]')],
    ['null', encodeUtf8('null')],
    ['a duplicate key', encodeUtf8(parseUtf8(vector('hashedrekord-0.0.2')).replace('{', '{"kind":"hashedrekord",'))],
    ['a trailing brace', encodeUtf8(`${parseUtf8(vector('hashedrekord-0.0.2'))}}`)],
    ['8 MiB and a byte', new Uint8Array(8 * 1024 * 1024 + 1)],
    ['deep nesting', encodeUtf8('['.repeat(100_000))],
  ])('refuses %s', (_, bytes) => {
    expect(() => parseEntryBody(bytes)).toThrow(malformed);
  });

  // Every field dropped, nulled, or of another type: a log could be made to hold each of these.
  it.each(names)('answers with its own error whatever is missing in %s', (name) => {
    const optional = ['envelopeHash', 'hash', 'payload', 'payloadType', 'keyid'];
    const walk = (at: Json, path: string[]): void => {
      for (const key of Object.keys(at)) {
        const original = at[key];
        for (const wrong of [undefined, null, 5, true, '', [], {}, 'x']) {
          at[key] = wrong;
          const isOld = name !== 'hashedrekord-0.0.2' && name !== 'hashedrekord-0.0.2-dsse';
          const isUnread = isOld && optional.includes(key) && path[path.length - 1] !== 'data';
          if (key === 'keyDetails' && typeof wrong === 'string') continue;
          if (isUnread) expect(bodyOf(root).kind).toBe(root.kind);
          else expect(() => bodyOf(root), [...path, key, JSON.stringify(wrong)].join('.')).toThrow(malformed);
        }
        at[key] = original;
        if (typeof original === 'object' && original !== null) {
          const isUnread = ['envelopeHash', 'hash'].includes(key) && path[path.length - 1] !== 'data';
          if (!isUnread) walk(original, [...path, key]);
        }
      }
    };
    const root = json(name);
    walk(root, []);
    expect(bodyOf(root)).toEqual(parseEntryBody(vector(name)));
  });

  it('returns or throws EntryError for any bytes, and for any change of one', () => {
    const answers = (bytes: Uint8Array): boolean => {
      try {
        return parseEntryBody(bytes).kind.length > 0;
      } catch (error) {
        return error instanceof EntryError;
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), answers));
    fc.assert(fc.property(fc.jsonValue(), (value) => answers(encodeUtf8(JSON.stringify(value)))));
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.nat(5000), fc.nat(255), (name, at, byte) => {
        const bytes = vector(name);
        bytes[at % bytes.length] = byte;
        return answers(bytes);
      }),
    );
  });
});
