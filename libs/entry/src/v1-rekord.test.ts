import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { encodeBase64, encodeUtf8, parseUtf8 } from '#libs/encoding';
import { pkiFormats, x509KeyOf } from '#libs/pki';
import { describe, expect, it } from 'vitest';
import { bodyKeys, parseV1Body, proposeEntry } from './proposals.js';
import {
  ecPair,
  edgeRekordProposal,
  edgeSignature,
  message,
  pemOf,
  ports,
  rekordProposal,
  rfc3161Proposal,
  sample,
  sampleNames,
  sha256Hex,
  signOver,
  type Json,
  type KeyPair,
  vectorBytes,
} from '../testing/proposals.js';

const propose = (json: Json, insert = true) => proposeEntry(json, ports, { insert });
const stored = (body: Uint8Array): Json => JSON.parse(parseUtf8(body));
const pair = ecPair('P-256');
const pkiVector = (name: string) => new Uint8Array(readFileSync(new URL(`../../pki/vectors/${name}`, import.meta.url)));
const digest = `sha256:${sha256Hex(message)}`;

describe('rekord 0.0.1', () => {
  it('stores the hash instead of the artifact', async () => {
    const json = rekordProposal(pair);
    const { body, keys, unloggedKeys } = await propose(json);
    const { signature } = json.spec;
    expect(stored(body)).toEqual({
      apiVersion: '0.0.1',
      kind: 'rekord',
      spec: { data: { hash: { algorithm: 'sha256', value: sha256Hex(message) } }, signature },
    });
    expect(keys).toEqual([sha256Hex(pemOf(pair)), digest]);
    expect(unloggedKeys).toEqual([]);
    delete json.spec.data.hash;
    expect((await propose(json)).body).toEqual(body);
  });

  it.each<[string, KeyPair]>([
    ['Ed25519, pure', generateKeyPairSync('ed25519')],
    ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['P-384 with SHA-256', ecPair('P-384')],
  ])('verifies x509 with %s', async (_, by) => {
    expect((await propose(rekordProposal(by))).keys).toEqual([sha256Hex(pemOf(by)), digest]);
  });

  it.each(['pgp', 'minisign', 'ssh'] as const)('stores canonical %s, and keeps its subjects aside', async (format) => {
    const { body, keys, unloggedKeys, publicKeys, certificates } = await propose(edgeRekordProposal(format));
    const canonical = encodeUtf8('canonical alice');
    expect(stored(body).spec.signature).toEqual({
      content: encodeBase64(encodeUtf8(`canonical ${encodeBase64(encodeUtf8(edgeSignature('alice', message)))}`)),
      format,
      publicKey: { content: encodeBase64(canonical) },
    });
    expect(keys).toEqual([sha256Hex(canonical), digest, 'alice@example.com']);
    expect(unloggedKeys).toEqual(['alice@example.com']);
    expect([publicKeys, certificates]).toEqual([[], []]);
  });

  // Keys and signatures that signify, minisign, ssh-keygen and GnuPG made.
  it.each<[string, string, string, string]>([
    ['minisign', 'signify.pub', 'signify.sig', 'message.txt'],
    ['minisign', 'go-minisign.pub', 'minisign-prehashed.sig', 'test'],
    ['ssh', 'ssh-rsa.pub', 'ssh-rsa.sig', 'ssh-message.txt'],
    ['pgp', 'pgp-rsa.asc', 'pgp-rsa.sig.asc', 'message.txt'],
  ])(
    'logs %s of other tools, and the canonical forms make the same entry: %s',
    async (format, key, signature, text) => {
      const content = text === 'test' ? encodeUtf8('test') : pkiVector(text);
      const proposal = (keyText: string, signatureText: string): Json => ({
        kind: 'rekord',
        apiVersion: '0.0.1',
        spec: {
          signature: { format, content: signatureText, publicKey: { content: keyText } },
          data: { content: encodeBase64(content) },
        },
      });
      const json = proposal(encodeBase64(pkiVector(key)), encodeBase64(pkiVector(signature)));
      const real = { ...ports, pki: pkiFormats };
      const { body, keys, unloggedKeys } = await proposeEntry(json, real, { insert: true });
      const { signature: kept } = stored(body).spec;
      expect(keys).toContain(`sha256:${sha256Hex(content)}`);
      expect(keys).toContain(sha256Hex(new Uint8Array(Buffer.from(kept.publicKey.content, 'base64'))));
      expect([...bodyKeys(body, { hash: ports.hash, x509KeyOf }), ...unloggedKeys].sort()).toEqual([...keys].sort());
      const again = await proposeEntry(proposal(kept.publicKey.content, kept.content), real, { insert: true });
      expect(again.body).toEqual(body);
      json.spec.data.content = encodeBase64(encodeUtf8('something else'));
      await expect(proposeEntry(json, real, { insert: true })).rejects.toMatchObject({ code: 'ENTRY_SIGNATURE' });
    },
  );

  it('takes a format at its word', async () => {
    const json = rekordProposal(pair);
    json.spec.signature.format = 'ssh';
    await expect(propose(json)).rejects.toMatchObject({ code: 'ENTRY_PKI', detail: 'no key of the edge' });
  });

  it.each<[string, string, string, (spec: Json) => void]>([
    ['neither content nor hash', 'ENTRY_PROPOSAL', "'content' must be specified for data", (s) => (s.data = {})],
    [
      'an empty signature',
      'ENTRY_PROPOSAL',
      "'content' must be specified for signature",
      (s) => (s.signature.content = ''),
    ],
    [
      'an empty key',
      'ENTRY_PROPOSAL',
      "'content' must be specified for publicKey",
      (s) => (s.signature.publicKey.content = ''),
    ],
    [
      'a hash alone',
      'ENTRY_NOT_INSERTABLE',
      'entry not insertable into log: missing data content',
      (s) => delete s.data.content,
    ],
    [
      'the hash of something else',
      'ENTRY_PROPOSAL',
      `SHA mismatch: ${sha256Hex(message)} != ${'00'.repeat(32)}`,
      (s) => (s.data.hash.value = '00'.repeat(32)),
    ],
    [
      'another signature',
      'ENTRY_SIGNATURE',
      'verifying signature: invalid signature',
      (s) => (s.signature.content = encodeBase64(signOver(pair, encodeUtf8('else')))),
    ],
    [
      'another key',
      'ENTRY_SIGNATURE',
      'verifying signature: invalid signature',
      (s) => (s.signature.publicKey.content = encodeBase64(pemOf(ecPair('P-256')))),
    ],
    [
      'no PEM',
      'ENTRY_PKI',
      'invalid public key: failure decoding PEM',
      (s) => (s.signature.publicKey.content = 'AAAA'),
    ],
    ['no base64', 'ENTRY_PROPOSAL', 'failed parsing base64 data for data content', (s) => (s.data.content = '****')],
  ])('refuses %s', async (_, code, detail, change) => {
    const json = rekordProposal(pair);
    change(json.spec);
    await expect(propose(json)).rejects.toMatchObject({ code, detail });
  });

  it('cannot be looked up by what is stored, like in Rekor', async () => {
    const { body } = await propose(rekordProposal(pair));
    await expect(propose(stored(body), false)).rejects.toMatchObject({ code: 'ENTRY_PROPOSAL' });
  });
});

describe('rfc3161 0.0.1', () => {
  it('is stored as it is', async () => {
    const json = rfc3161Proposal();
    const { body, keys, unloggedKeys } = await propose(json);
    expect(parseUtf8(body)).toBe(
      `{"apiVersion":"0.0.1","kind":"rfc3161","spec":{"tsr":{"content":"${json.spec.tsr.content}"}}}`,
    );
    expect(keys).toEqual([`sha256:${sha256Hex(encodeUtf8('granted, they say'))}`]);
    expect(unloggedKeys).toEqual([]);
    expect((await propose(stored(body), false)).body).toEqual(body);
  });

  it.each<[string, string, string]>([
    ['nothing', '', "'content' must be specified for data"],
    ['10 KiB and a byte', 'granted'.padEnd(10_241), 'tsr exceeds maximum allowed size (10kB)'],
    ['a rejection', 'rejected', 'tsr verification error: Cannot read response: status is rejection'],
  ])('refuses %s', async (_, response, detail) => {
    await expect(propose(rfc3161Proposal(response))).rejects.toMatchObject({ code: 'ENTRY_PROPOSAL', detail });
  });

  it('takes 10 KiB', async () => {
    expect((await propose(rfc3161Proposal('granted'.padEnd(10_240)))).kind).toBe('rfc3161');
  });
});

describe('parseV1Body()', () => {
  it.each(sampleNames)('says what the stored body of %s is about, and who signed it', async (name) => {
    const { kind, version, body, keys } = await propose(sample(name));
    const read = parseV1Body(body, ports.hash);
    expect([read.kind, read.version]).toEqual([kind, version]);
    expect(read.digests.length).toBeGreaterThan(0);
    expect(keys).toEqual(expect.arrayContaining([...read.digests]));
    const signers = { rfc3161: 0, dsse: 2, 'intoto 0.0.2': 2 };
    expect(read.verifiers).toHaveLength(signers[name as keyof typeof signers] ?? 1); // the others have one
    const format = name.startsWith('rekord ') ? name.slice('rekord '.length) : 'x509';
    expect(read.verifiers.every((verifier) => verifier.format === format)).toBe(true);
  });

  it.each([
    'hashedrekord-0.0.1-certificate.json',
    'hashedrekord-0.0.1-public-key.json',
    'dsse-0.0.1.json',
    'intoto-0.0.2.json',
  ])('reads %s of the public log', (name) => {
    const { verifiers, digests } = parseV1Body(vectorBytes(name), ports.hash);
    expect(digests[0]).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(parseUtf8(verifiers[0]?.content ?? new Uint8Array(0))).toMatch(
      /^-----BEGIN (PUBLIC KEY|CERTIFICATE)-----\n/,
    );
    expect(bodyKeys(vectorBytes(name), { hash: ports.hash, x509KeyOf }).length).toBeGreaterThan(1);
  });

  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['a body of Rekor v2', vectorBytes('hashedrekord-0.0.2.json')],
    ['no object', encodeUtf8('[]')],
    ['no kind', encodeUtf8('{"apiVersion":"0.0.1","spec":{}}')],
    ['a kind that is an object', encodeUtf8('{"kind":{},"apiVersion":"0.0.1","spec":{}}')],
    ['no spec', encodeUtf8('{"kind":"dsse","apiVersion":"0.0.1"}')],
    [
      'a name twice',
      encodeUtf8('{"kind":"rfc3161","kind":"rfc3161","apiVersion":"0.0.1","spec":{"tsr":{"content":"AAAA"}}}'),
    ],
    ['no base64', encodeUtf8('{"kind":"rfc3161","apiVersion":"0.0.1","spec":{"tsr":{"content":"AAA"}}}')],
  ])('refuses %s', (_, bytes) => {
    const malformed = expect.objectContaining({ name: 'EntryError', code: 'ENTRY_BODY_MALFORMED' });
    expect(() => parseV1Body(bytes, ports.hash)).toThrow(malformed);
    expect(() => bodyKeys(bytes, { hash: ports.hash, x509KeyOf })).toThrow(malformed);
  });
});
