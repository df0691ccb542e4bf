import { generateKeyPairSync } from 'node:crypto';
import { ecdsaDerToP1363, parsePublicKey } from '#libs/crypto';
import { concatBytes, encodeBase64, encodeHex, encodePem, encodeUtf8, parseHex, parseUtf8 } from '#libs/encoding';
import { opensslCrypto } from '#libs/openssl';
import { describe, expect, it } from 'vitest';
import { chooseEntryAlgorithms, type V1Ports } from './index.js';
import { proposeEntry } from './proposals.js';
import {
  ecPair,
  hashedRekordProposal,
  hashOf,
  message,
  pemOf,
  ports,
  sha256Hex,
  signOver,
  spkiOf,
  type Json,
  type KeyPair,
  vectorBytes,
  vectorJson,
} from '../testing/proposals.js';

const propose = (json: Json, own: Partial<V1Ports> = {}) => proposeEntry(json, { ...ports, ...own }, { insert: true });
const pair = ecPair('P-256');
const rsa = (modulusLength: number): KeyPair => generateKeyPairSync('rsa', { modulusLength });
const leaf = (body: Uint8Array) => sha256Hex(Uint8Array.of(0, ...body));

describe('hashedrekord 0.0.1 of the public log', () => {
  it('is reproduced byte for byte: body, leaf hash and entry ID', async () => {
    const { body, keys } = await propose(vectorJson('hashedrekord-0.0.1-public-key.json'));
    expect(parseUtf8(body)).toBe(
      '{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf"}},"signature":{"content":"MEUCIQCACfhpIX3+zVXJjwEeIS0yFTK2jRfBjduXAaLHJSARHAIgSUdTM+S5xucODRFtrGHN2uClS0MRPhqZm76g0ZHEQ5c=","publicKey":{"content":"LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFeFJSU1Q3OStQc3JSQm5HQUk0Y011Nk9tejJKaApmd2xNVytnSXV0TktWUmFNeVM0clFLdmduZ2M1cDhVYkxqNTVwVkhoSW9BeGkvU1JnVVJaSTBKM1h3PT0KLS0tLS1FTkQgUFVCTElDIEtFWS0tLS0tCg=="}}}}',
    );
    expect(leaf(body)).toBe('251d7335e207fb694536143ecff500072df1cae8f388a9c181794f31e1b2d42e');
    const treeId = 1193050959916656506n;
    expect(`${treeId.toString(16).padStart(16, '0')}${leaf(body)}`).toBe(
      '108e9186e8c5677a251d7335e207fb694536143ecff500072df1cae8f388a9c181794f31e1b2d42e',
    );
    expect(keys).toContain('sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf');
  });

  it.each(['hashedrekord-0.0.1-public-key.json', 'hashedrekord-0.0.1-certificate.json'])(
    'comes back from its own stored body: %s',
    async (name) => {
      expect((await propose(vectorJson(name))).body).toEqual(vectorBytes(name));
    },
  );

  it('is found by the subject of its certificate, in lower case, and by the hash of the PEM without a prefix', async () => {
    const { keys, unloggedKeys, certificates, publicKeys } = await propose(
      vectorJson('hashedrekord-0.0.1-certificate.json'),
    );
    const pem = Buffer.from(
      vectorJson('hashedrekord-0.0.1-certificate.json').spec.signature.publicKey.content,
      'base64',
    );
    expect(keys).toEqual([
      sha256Hex(pem),
      'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main',
      'sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf',
    ]);
    expect(unloggedKeys).toEqual([]);
    expect(certificates.map(({ der }) => encodeBase64(der))).toEqual([pem.toString().replace(/-----.*-----|\n/g, '')]);
    expect(publicKeys).toHaveLength(1);
  });
});

describe('hashedrekord 0.0.1', () => {
  it.each<[string, KeyPair, string]>([
    ['P-256 with SHA-256', pair, 'sha256'],
    ['P-384 with SHA-384', ecPair('P-384'), 'sha384'],
    ['P-521 with SHA-512', ecPair('P-521'), 'sha512'],
    ['RSA 2048 with SHA-256', rsa(2048), 'sha256'],
    ['RSA 3072 with SHA-256', rsa(3072), 'sha256'],
  ])('takes %s', async (_, by, hash) => {
    const { body, keys, publicKeys } = await propose(hashedRekordProposal(by, hash));
    const digest = encodeHex(hashOf(hash, message));
    expect(keys).toEqual([sha256Hex(pemOf(by)), `${hash}:${digest}`]);
    expect(JSON.parse(parseUtf8(body)).spec.data.hash).toEqual({ algorithm: hash, value: digest });
    expect(publicKeys).toEqual([parsePublicKey(spkiOf(by))]);
  });

  it('takes Ed25519 as Ed25519ph: RFC 8032 §7.3', async () => {
    const raw = parseHex('ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf');
    const signature = parseHex(
      '98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406',
    );
    const pem = encodePem('PUBLIC KEY', concatBytes(parseHex('302a300506032b6570032100'), raw));
    const value = encodeHex(hashOf('sha512', encodeUtf8('abc')));
    const json = hashedRekordProposal(pair);
    json.spec.signature = {
      content: encodeBase64(signature),
      publicKey: { content: encodeBase64(encodeUtf8(pem)) },
    };
    json.spec.data.hash = { algorithm: 'sha512', value };
    expect((await propose(json)).keys).toEqual([sha256Hex(encodeUtf8(pem)), `sha512:${value}`]);
    json.spec.data.hash = { algorithm: 'sha256', value: sha256Hex(encodeUtf8('abc')) };
    await expect(propose(json)).rejects.toMatchObject({ code: 'ENTRY_SIGNATURE' });
  });

  it('does not take pure Ed25519, neither over the message nor over its digest', async () => {
    const by: KeyPair = generateKeyPairSync('ed25519');
    const json = hashedRekordProposal(by, 'sha512');
    for (const over of [message, hashOf('sha512', message)]) {
      json.spec.signature.content = encodeBase64(signOver(by, over));
      await expect(propose(json)).rejects.toMatchObject({ code: 'ENTRY_SIGNATURE' });
    }
  });

  it('takes an ECDSA signature in the form of IEEE P1363, and stores it as it came', async () => {
    const json = hashedRekordProposal(pair);
    const raw = encodeBase64(ecdsaDerToP1363(signOver(pair, message), 'P-256'));
    json.spec.signature.content = raw;
    const { body } = await propose(json);
    expect(JSON.parse(parseUtf8(body)).spec.signature.content).toBe(raw);
    const other = ecdsaDerToP1363(signOver(ecPair('P-256'), message), 'P-256');
    json.spec.signature.content = encodeBase64(other);
    await expect(propose(json)).rejects.toMatchObject({ code: 'ENTRY_SIGNATURE' });
  });

  it('keeps the hash as it came, so upper case is another entry, found by the same key', async () => {
    const json = hashedRekordProposal(pair);
    const lower = await propose(json);
    json.spec.data.hash.value = json.spec.data.hash.value.toUpperCase();
    const upper = await propose(json);
    expect(parseUtf8(upper.body)).toContain(json.spec.data.hash.value);
    expect(upper.body).not.toEqual(lower.body);
    expect(upper.keys).toEqual(lower.keys);
  });

  it.each<[string, (pem: string) => string]>([
    ['CR LF', (pem) => pem.replaceAll('\n', '\r\n')],
    ['no line end', (pem) => pem.trimEnd()],
    ['blank lines around', (pem) => `\n\n${pem}\n\n`],
    ['long lines', (pem) => pem.replace(/\n(?!-)(?=[A-Za-z0-9+/=]+\n-)/, '')],
  ])('writes PEM with %s anew', async (_, change) => {
    const json = hashedRekordProposal(pair);
    const { body } = await propose(json);
    const pem = change(parseUtf8(pemOf(pair)));
    expect(pem).not.toBe(parseUtf8(pemOf(pair)));
    json.spec.signature.publicKey.content = encodeBase64(encodeUtf8(pem));
    expect((await propose(json)).body).toEqual(body);
  });

  it('writes what the general canonicalizer would', async () => {
    const { body } = await propose(vectorJson('hashedrekord-0.0.1-certificate.json'));
    expect(JSON.stringify(JSON.parse(parseUtf8(body)))).toBe(parseUtf8(body));
  });

  it.each<[string, string, string, (spec: Json) => void]>([
    ['no signature', 'ENTRY_PROPOSAL', 'missing signature content', (s) => delete s.signature.content],
    ['an empty signature', 'ENTRY_PROPOSAL', 'missing signature content', (s) => (s.signature.content = '')],
    ['no key', 'ENTRY_PROPOSAL', 'missing public key', (s) => delete s.signature.publicKey],
    ['an empty key', 'ENTRY_PROPOSAL', 'missing publicKey content', (s) => (s.signature.publicKey.content = '')],
    ['no hash', 'ENTRY_PROPOSAL', 'missing hash', (s) => delete s.data.hash],
    ['a short hash', 'ENTRY_PROPOSAL', 'invalid value for hash', (s) => (s.data.hash.value = 'ab')],
    ['no hexadecimal', 'ENTRY_PROPOSAL', 'invalid value for hash', (s) => (s.data.hash.value = 'zz'.repeat(32))],
    ['another length', 'ENTRY_PROPOSAL', 'invalid value for hash', (s) => (s.data.hash.algorithm = 'sha384')],
    [
      'no base64 for the signature',
      'ENTRY_PROPOSAL',
      'failed parsing base64 data for signature content',
      (s) => (s.signature.content = 'AA-_'),
    ],
    [
      'no base64 for the key',
      'ENTRY_PROPOSAL',
      'failed parsing base64 data for public key content',
      (s) => (s.signature.publicKey.content = 'AAA'),
    ],
    [
      'no PEM',
      'ENTRY_PKI',
      'invalid public key: failure decoding PEM',
      (s) => (s.signature.publicKey.content = 'AAAA'),
    ],
    [
      'a PKCS#1 key',
      'ENTRY_PKI',
      'invalid public key: cannot handle type RSA PUBLIC KEY',
      (s) =>
        (s.signature.publicKey.content = encodeBase64(
          encodeUtf8(rsa(2048).publicKey.export({ type: 'pkcs1', format: 'pem' }).toString()),
        )),
    ],
    [
      'another key',
      'ENTRY_SIGNATURE',
      'verifying signature: invalid signature',
      (s) => (s.signature.publicKey.content = encodeBase64(pemOf(ecPair('P-256')))),
    ],
    [
      'another digest',
      'ENTRY_SIGNATURE',
      'verifying signature: invalid signature',
      (s) => (s.data.hash.value = '00'.repeat(32)),
    ],
    [
      'another signature',
      'ENTRY_SIGNATURE',
      'verifying signature: invalid signature',
      (s) => (s.signature.content = encodeBase64(signOver(pair, encodeUtf8('else')))),
    ],
  ])('refuses %s', async (_, code, detail, change) => {
    const json = hashedRekordProposal(pair);
    change(json.spec);
    await expect(propose(json)).rejects.toMatchObject({ code, detail });
  });

  it.each<[string, KeyPair, string, readonly string[]]>([
    ['P-256 with SHA-384', pair, 'sha384', []],
    ['P-384 with SHA-256', ecPair('P-384'), 'sha256', []],
    ['RSA 2048 with SHA-512', rsa(2048), 'sha512', []],
    ['RSA of a size without a row', rsa(2560), 'sha256', []],
    ['what this log leaves out', pair, 'sha256', ['ecdsa-sha2-384-nistp384']],
  ])('refuses %s by policy, though the signature is good', async (_, by, hash, allowed) => {
    const algorithms = allowed.length === 0 ? ports.algorithms : chooseEntryAlgorithms(allowed);
    await expect(propose(hashedRekordProposal(by, hash), { algorithms })).rejects.toMatchObject({
      code: 'ENTRY_PROPOSAL',
      detail: 'entry algorithms are not allowed',
    });
  });

  it('takes a synchronous check of signatures', async () => {
    const { verifyDigest } = opensslCrypto;
    expect((await propose(hashedRekordProposal(pair), { verifyDigest: () => true })).kind).toBe('hashedrekord');
    expect((await propose(hashedRekordProposal(pair), { verifyDigest })).kind).toBe('hashedrekord');
    await expect(propose(hashedRekordProposal(pair), { verifyDigest: () => false })).rejects.toMatchObject({
      code: 'ENTRY_SIGNATURE',
    });
  });
});
