import { generateKeyPairSync } from 'node:crypto';
import { encodeBase64, encodeUtf8, parseUtf8 } from '#libs/encoding';
import { parsePublicKey } from '#libs/crypto';
import { describe, expect, it } from 'vitest';
import { FailedChecks, proposeEntry } from './proposals.js';
import { sshFingerprint } from './v1-intoto-001.js';
import {
  dsseProposal,
  ecPair,
  envelopeOf,
  intoto1Proposal,
  intoto2Proposal,
  inToto,
  payloadBytes,
  pemOf,
  ports,
  sha256Hex,
  spkiOf,
  statementKeyTexts,
  twice,
  type Json,
  type KeyPair,
  vectorBytes,
  vectorJson,
} from '../testing/proposals.js';

const propose = (json: Json, insert = true) => proposeEntry(json, ports, { insert });
const stored = (body: Uint8Array): Json => JSON.parse(parseUtf8(body));
const [a, b, c] = [ecPair('P-256'), ecPair('P-256'), ecPair('P-256')];
const ed25519: KeyPair = generateKeyPairSync('ed25519');
const rsa: KeyPair = generateKeyPairSync('rsa', { modulusLength: 2048 });
const keyHash = (pair: KeyPair) => `sha256:${sha256Hex(pemOf(pair))}`;
const noMatch = 'accepted signatures do not match threshold, Found: 0, Expected 1';

describe('dsse 0.0.1', () => {
  const name = 'dsse-0.0.1.json';

  it('of the public log is reproduced from its envelope, byte for byte', async () => {
    const [{ verifier }] = vectorJson(name).spec.signatures;
    const envelope = parseUtf8(vectorBytes('dsse-0.0.1-envelope.json'));
    const json = {
      kind: 'dsse',
      apiVersion: '0.0.1',
      spec: {
        proposedContent: { envelope, verifiers: [verifier] },
        signatures: null,
        envelopeHash: null,
        payloadHash: null,
      },
    };
    const { body, keys, unloggedKeys } = await propose(json);
    expect(body).toEqual(vectorBytes(name));
    const { envelopeHash, payloadHash } = vectorJson(name).spec;
    const [subject] = JSON.parse(Buffer.from(JSON.parse(envelope).payload, 'base64').toString()).subject;
    expect(keys).toContain(`sha256:${envelopeHash.value}`);
    expect(keys).toContain(`sha256:${payloadHash.value}`);
    expect(unloggedKeys).toContain(`sha256:${subject.digest.sha256}`);

    // The same envelope with a space in it is another entry.
    json.spec.proposedContent.envelope = envelope.replace('{', '{ ');
    const other = await propose(json);
    expect(stored(other.body).spec.payloadHash).toEqual(payloadHash);
    expect(other.body).not.toEqual(body);
  });

  it('of the public log is found again by what is stored of it, but not logged again', async () => {
    const { body, keys, unloggedKeys } = await propose(vectorJson(name), false);
    expect(body).toEqual(vectorBytes(name));
    expect(keys.length).toBeGreaterThan(3);
    expect(unloggedKeys).toEqual([]);
    await expect(propose(vectorJson(name))).rejects.toMatchObject({
      code: 'ENTRY_NOT_INSERTABLE',
      detail: 'entry not insertable into log: missing proposed content',
    });
  });

  it('writes its index keys like Rekor', async () => {
    const envelope = JSON.stringify(envelopeOf([a]));
    const { keys, unloggedKeys, publicKeys, attestation } = await propose(dsseProposal([a], { envelope }));
    const logged = [keyHash(a), `sha256:${sha256Hex(payloadBytes)}`, `sha256:${sha256Hex(encodeUtf8(envelope))}`];
    expect(keys).toEqual([...logged, ...statementKeyTexts]);
    expect(unloggedKeys).toEqual(statementKeyTexts);
    expect(publicKeys).toEqual([parsePublicKey(spkiOf(a))]);
    expect(attestation).toBeUndefined();
  });

  it.each<[string, string, Uint8Array]>([
    ['another payload type', 'application/json', payloadBytes],
    ['no JSON', inToto, encodeUtf8('no JSON')],
    ['no UTF-8', inToto, Uint8Array.of(0xff)],
    ['nothing', inToto, new Uint8Array(0)],
    ['a subject that is no list', inToto, encodeUtf8('{"subject":{"0":{"digest":{"sha256":"aa"}}}}')],
    ['digests that are no texts', inToto, encodeUtf8('{"subject":[{"digest":{"sha256":1}},{"digest":["aa"]},null,1]}')],
    ['null', inToto, encodeUtf8('null')],
  ])('takes a payload of %s and has no keys for it', async (_, payloadType, payload) => {
    const envelope = JSON.stringify(envelopeOf([a], { payload, payloadType }));
    expect((await propose(dsseProposal([a], { envelope }))).unloggedKeys).toEqual([]);
  });

  it('sorts signatures by their text, each with its key', async () => {
    const { body } = await propose(dsseProposal([a, b, c]));
    const { signatures } = stored(body).spec;
    expect(signatures.map(({ signature }: Json) => signature)).toEqual(
      signatures.map(({ signature }: Json) => signature).sort(),
    );
    const envelope = envelopeOf([a, b, c]);
    const proposal = dsseProposal([a, b, c], { envelope: JSON.stringify(envelope) });
    for (const { signature, verifier } of stored((await propose(proposal)).body).spec.signatures) {
      const at = envelope.signatures.findIndex(({ sig }) => sig === signature);
      expect(verifier).toBe(encodeBase64(pemOf([a, b, c][at] as KeyPair))); // found, or undefined differs
    }
  });

  it('collapses the same signature twice', async () => {
    const envelope = envelopeOf([a]);
    envelope.signatures.push(...envelope.signatures);
    const { body } = await propose(dsseProposal([a], { envelope: JSON.stringify(envelope) }));
    expect(stored(body).spec.signatures).toHaveLength(1);
  });

  it('wants a key as often as it has signed', async () => {
    const envelope = JSON.stringify(envelopeOf([a, a]));
    const twiceListed = { envelope, verifiers: [pemOf(a), pemOf(a)] };
    expect(stored((await propose(dsseProposal([a], twiceListed))).body).spec.signatures).toHaveLength(2);
    await expect(propose(dsseProposal([a], { envelope }))).rejects.toMatchObject({
      code: 'ENTRY_SIGNATURE',
      detail: 'all signatures must have a key that verifies it',
    });
  });

  it('does not read verifiers after the last signature', async () => {
    const verifiers = [pemOf(a), encodeUtf8('no key at all')];
    const { body } = await propose(dsseProposal([a], { envelope: JSON.stringify(envelopeOf([a])), verifiers }));
    expect(stored(body).spec.signatures).toHaveLength(1);
    verifiers.reverse();
    await expect(
      propose(dsseProposal([a], { envelope: JSON.stringify(envelopeOf([a])), verifiers })),
    ).rejects.toMatchObject({
      code: 'ENTRY_PKI',
      detail: 'could not parse public key as x509: invalid public key: failure decoding PEM',
    });
  });

  it('takes another spelling of a key that has signed already', async () => {
    const envelope = JSON.stringify(envelopeOf([a, b]));
    const crlf = encodeUtf8(parseUtf8(pemOf(a)).replaceAll('\n', '\r\n'));
    const proposal = dsseProposal([], { envelope, verifiers: [pemOf(a), crlf, pemOf(b)] });
    expect(stored((await propose(proposal)).body).spec.signatures).toHaveLength(2);
  });

  it('tries signatures in any order, up to a bound', async () => {
    const pairs = Array.from({ length: 16 }, () => ecPair('P-256'));
    const inOrder = (count: number) => dsseProposal(pairs.slice(0, count));
    // The last verifier first: each is tried with all signatures that are still open.
    const backwards = (count: number) => {
      const some = pairs.slice(0, count);
      return dsseProposal(some, { verifiers: some.map(pemOf).reverse() });
    };
    expect(stored((await propose(inOrder(16))).body).spec.signatures).toHaveLength(16);
    expect(stored((await propose(backwards(11))).body).spec.signatures).toHaveLength(11);
    const tooMany = {
      code: 'ENTRY_SIGNATURE',
      detail: 'too many signatures do not fit the keys they are tried with',
    };
    await expect(propose(backwards(12))).rejects.toMatchObject(tooMany);

    // Three backwards fail three times, the second of two once: seven together.
    const failedChecks = new FailedChecks(7);
    const options = { insert: false, failedChecks };
    await proposeEntry(backwards(3), ports, options);
    await proposeEntry(inOrder(16), ports, options);
    await proposeEntry(backwards(3), ports, options);
    const second = intoto1Proposal(b, JSON.stringify(envelopeOf([a, b])));
    await proposeEntry(second, ports, options);
    await expect(proposeEntry(second, ports, options)).rejects.toMatchObject(tooMany);
    await expect(proposeEntry(backwards(2), ports, options)).rejects.toMatchObject(tooMany);
    await proposeEntry(inOrder(16), ports, options);
  });

  it('does not look at key ids', async () => {
    const envelope = JSON.stringify(envelopeOf([a], { keyid: 'of somebody else' }));
    expect((await propose(dsseProposal([a], { envelope }))).kind).toBe('dsse');
  });

  it('takes a payload in URL-safe base64', async () => {
    const envelope = envelopeOf([a], { payload: Uint8Array.of(0xfb, 0xff), payloadType: 'x' });
    expect(envelope.payload).toBe('+/8=');
    envelope.payload = '-_8=';
    const { keys } = await propose(dsseProposal([a], { envelope: JSON.stringify(envelope) }));
    expect(keys).toContain(`sha256:${sha256Hex(Uint8Array.of(0xfb, 0xff))}`);
  });

  it.each<[string, KeyPair]>([
    ['Ed25519, pure', ed25519],
    ['RSA with SHA-256', rsa],
    ['P-384 with SHA-256', ecPair('P-384')],
    ['P-521 with SHA-256', ecPair('P-521')],
  ])('verifies %s', async (_, pair) => {
    expect((await propose(dsseProposal([pair]))).keys).toContain(keyHash(pair));
  });

  const urlSafe = () => {
    for (;;) {
      const envelope = envelopeOf([a]);
      const [signature] = envelope.signatures;
      if (signature !== undefined && /[+/]/.test(signature.sig)) {
        signature.sig = signature.sig.replaceAll('+', '-').replaceAll('/', '_');
        return JSON.stringify(envelope);
      }
    }
  };

  const either = 'either proposedContent or envelopeHash, payloadHash, and signatures must be present';
  it.each<[string, string, string, Json]>([
    ['nothing', 'ENTRY_PROPOSAL', either, { ...dsseProposal([a]), spec: {} }],
    [
      'two of three stored fields',
      'ENTRY_PROPOSAL',
      either,
      { ...dsseProposal([a]), spec: { ...vectorJson(name).spec, payloadHash: null } },
    ],
    [
      'both forms',
      'ENTRY_PROPOSAL',
      `${either} but not both`,
      { ...dsseProposal([a]), spec: { ...vectorJson(name).spec, ...dsseProposal([a]).spec } },
    ],
    [
      'no signatures',
      'ENTRY_PROPOSAL',
      'DSSE envelope must contain 1 or more signatures',
      dsseProposal([a], { envelope: JSON.stringify(envelopeOf([])) }),
    ],
    [
      'a key that has not signed',
      'ENTRY_SIGNATURE',
      `could not verify envelope: ${noMatch}`,
      dsseProposal([a], { verifiers: [pemOf(b)] }),
    ],
    [
      'a signature without its key',
      'ENTRY_SIGNATURE',
      'all signatures must have a key that verifies it',
      dsseProposal([a, b], { verifiers: [pemOf(a)] }),
    ],
    [
      'another payload',
      'ENTRY_SIGNATURE',
      `could not verify envelope: ${noMatch}`,
      dsseProposal([a], { envelope: JSON.stringify({ ...envelopeOf([a]), payload: 'AAAA' }) }),
    ],
    [
      'another payload type',
      'ENTRY_SIGNATURE',
      `could not verify envelope: ${noMatch}`,
      dsseProposal([a], { envelope: JSON.stringify({ ...envelopeOf([a]), payloadType: 'x' }) }),
    ],
    [
      'a payload that is no base64',
      'ENTRY_PROPOSAL',
      'invalid DSSE envelope: payload is not base64',
      dsseProposal([a], { envelope: JSON.stringify({ ...envelopeOf([a]), payload: '!' }) }),
    ],
    [
      'a signature in another spelling than it will be read with',
      'ENTRY_PROPOSAL',
      'signature is not padded standard base64',
      dsseProposal([a], { envelope: urlSafe() }),
    ],
    [
      'an envelope without a payload',
      'ENTRY_PROPOSAL',
      'invalid DSSE envelope: payload in body is required',
      dsseProposal([a], { envelope: JSON.stringify({ ...envelopeOf([a]), payload: undefined }) }),
    ],
  ])('refuses %s', async (_, code, detail, json) => {
    await expect(propose(json)).rejects.toMatchObject({ code, detail });
  });
});

describe('intoto 0.0.1', () => {
  it('stores two hashes and the key', async () => {
    const envelope = JSON.stringify(envelopeOf([a]));
    const { body, keys, unloggedKeys, attestation } = await propose(intoto1Proposal(a, envelope));
    expect(stored(body)).toEqual({
      apiVersion: '0.0.1',
      kind: 'intoto',
      spec: {
        content: {
          hash: { algorithm: 'sha256', value: sha256Hex(encodeUtf8(envelope)) },
          payloadHash: { algorithm: 'sha256', value: sha256Hex(payloadBytes) },
        },
        publicKey: encodeBase64(pemOf(a)),
      },
    });
    const logged = [keyHash(a), `sha256:${sha256Hex(encodeUtf8(envelope))}`, `sha256:${sha256Hex(payloadBytes)}`];
    expect(keys).toEqual([...logged, ...statementKeyTexts]);
    expect(unloggedKeys).toEqual(statementKeyTexts);
    expect(attestation).toEqual({ key: `sha256:${sha256Hex(payloadBytes)}`, data: payloadBytes });
  });

  it('is found by what is stored, also by that of old entries without the hash of the payload', async () => {
    const { body } = await propose(intoto1Proposal(a));
    expect((await propose(stored(body), false)).body).toEqual(body);
    const old = stored(body);
    delete old.spec.content.payloadHash;
    expect(stored((await propose(old, false)).body)).toEqual(old);
    await expect(propose(stored(body))).rejects.toMatchObject({
      code: 'ENTRY_NOT_INSERTABLE',
      detail: 'entry not insertable into log: missing envelope content',
    });
  });

  it('overrides hashes that a client adds to an envelope', async () => {
    const envelope = JSON.stringify(envelopeOf([a]));
    const { body } = await propose(intoto1Proposal(a, envelope));
    const json = intoto1Proposal(a, envelope);
    json.spec.content.hash = { algorithm: 'sha256', value: '00'.repeat(32) };
    json.spec.content.payloadHash = { algorithm: 'sha256', value: '00'.repeat(32) };
    expect((await propose(json)).body).toEqual(body);
  });

  it('wants one signature by the key, whatever the others', async () => {
    const envelope = JSON.stringify(envelopeOf([b, a]));
    expect((await propose(intoto1Proposal(a, envelope))).kind).toBe('intoto');
    await expect(propose(intoto1Proposal(c, envelope))).rejects.toMatchObject({
      code: 'ENTRY_SIGNATURE',
      detail: noMatch,
    });
  });

  it.each<[string, KeyPair]>([
    ['ECDSA', a],
    ['P-521', ecPair('P-521')],
    ['RSA', rsa],
    ['Ed25519', ed25519],
  ])('passes over a signature with a key id, unless it is the SSH fingerprint: %s', async (_, pair) => {
    const keyid = sshFingerprint(parsePublicKey(spkiOf(pair)), ports.hash);
    expect((await propose(intoto1Proposal(pair, JSON.stringify(envelopeOf([pair], { keyid }))))).kind).toBe('intoto');
    const other = JSON.stringify(envelopeOf([pair], { keyid: `${keyid}x` }));
    await expect(propose(intoto1Proposal(pair, other))).rejects.toMatchObject({ code: 'ENTRY_SIGNATURE' });
  });

  it('names keys like ssh-keygen -l does', () => {
    // ssh-keygen -t ed25519 / ecdsa / rsa, then ssh-keygen -l; the keys as SubjectPublicKeyInfo
    for (const { spki, fingerprint } of sshKeys) {
      expect(sshFingerprint(parsePublicKey(new Uint8Array(Buffer.from(spki, 'base64'))), ports.hash)).toBe(fingerprint);
    }
  });

  it.each<[string, string, string, (spec: Json) => void]>([
    ['no envelope and no hash', 'ENTRY_PROPOSAL', 'missing hash value for envelope', (s) => (s.content = {})],
    ['no PEM', 'ENTRY_PKI', 'invalid public key: failure decoding PEM', (s) => (s.publicKey = 'AAAA')],
    [
      'an empty payload',
      'ENTRY_NOT_INSERTABLE',
      'entry not insertable into log: invalid DSSE envelope',
      (s) => (s.content.envelope = JSON.stringify(envelopeOf([a], { payload: new Uint8Array(0) }))),
    ],
    [
      'no JSON',
      'ENTRY_PROPOSAL',
      'invalid DSSE envelope: not JSON, or of more than one meaning',
      (s) => (s.content.envelope = 'x'),
    ],
  ])('refuses %s', async (_, code, detail, change) => {
    const json = intoto1Proposal(a);
    change(json.spec);
    await expect(propose(json)).rejects.toMatchObject({ code, detail });
  });
});

describe('intoto 0.0.2', () => {
  it('of the public log comes back from its stored body, without the payload that old entries kept', async () => {
    const json = vectorJson('intoto-0.0.2.json');
    const { body, attestation, keys } = await propose(json);
    const { payload } = json.spec.content.envelope;
    delete json.spec.content.envelope.payload;
    expect(parseUtf8(body)).toBe(JSON.stringify(json));
    expect(twice(attestation?.data ?? new Uint8Array(0))).toBe(payload);
    expect(attestation?.key).toBe(`sha256:${json.spec.content.payloadHash.value}`);
    expect(keys).toContain(attestation?.key);
    // The hash that the client gave for the envelope is no key.
    expect(keys).not.toContain(`sha256:${json.spec.content.hash.value}`);
    expect((await propose(json, false)).body).toEqual(body);
    await expect(propose(json)).rejects.toMatchObject({
      code: 'ENTRY_NOT_INSERTABLE',
      detail: 'entry not insertable into log: missing envelope content',
    });
  });

  it('stores keys and signatures as they came, the key id if there is one', async () => {
    const json = intoto2Proposal([a, b], { keyid: 'k' });
    const crlf = encodeBase64(encodeUtf8(parseUtf8(pemOf(a)).replaceAll('\n', '\r\n')));
    json.spec.content.envelope.signatures[0].publicKey = crlf;
    json.spec.content.envelope.signatures[1].keyid = '';
    const { body, keys } = await propose(json);
    const [first, second] = stored(body).spec.content.envelope.signatures;
    expect(first).toEqual({ ...json.spec.content.envelope.signatures[0], keyid: 'k' });
    expect(Object.keys(second)).toEqual(['publicKey', 'sig']);
    expect(stored(body).spec.content.hash).toEqual(json.spec.content.hash);
    // The index has the hash of the canonical key nevertheless.
    expect(keys).toEqual([keyHash(a), keyHash(b), `sha256:${sha256Hex(payloadBytes)}`, ...statementKeyTexts]);
  });

  it('escapes a payload type like RFC 8785', async () => {
    const payloadType = 'a "b" \u20ac \u0001 / \u{1f600}';
    const { body } = await propose(intoto2Proposal([a], { payloadType }));
    expect(parseUtf8(body)).toContain('"payloadType":"a \\"b\\" \u20ac \\u0001 / \u{1f600}"');
  });

  it('overrides the hash of the payload', async () => {
    const json = intoto2Proposal([a]);
    const { body } = await propose(json);
    json.spec.content.payloadHash = { algorithm: 'sha256', value: '00'.repeat(32) };
    expect((await propose(json)).body).toEqual(body);
  });

  it.each<[string, string, string, (content: Json) => void]>([
    ['no hash of the envelope', 'ENTRY_PROPOSAL', 'missing envelope digest', (v) => delete v.hash],
    [
      'an empty payload type',
      'ENTRY_NOT_INSERTABLE',
      'entry not insertable into log: missing payloadType content',
      (v) => (v.envelope = intoto2Proposal([a], { payloadType: '' }).spec.content.envelope),
    ],
    [
      'a payload in base64 once',
      'ENTRY_PROPOSAL',
      'failed parsing base64 data for payload: it has to be base64 twice',
      (v) => (v.envelope.payload = encodeBase64(Uint8Array.of(0xff))),
    ],
    [
      'a signature in base64 once',
      'ENTRY_PROPOSAL',
      'failed parsing base64 data for signature: it has to be base64 twice',
      (v) => (v.envelope.signatures[0].sig = encodeBase64(Uint8Array.of(0xff))),
    ],
    [
      'a signature in another spelling than it will be read with',
      'ENTRY_PROPOSAL',
      'failed parsing base64 data for signature',
      (v) => (v.envelope.signatures[0].sig = encodeBase64(encodeUtf8('-_8='))),
    ],
    [
      'another key',
      'ENTRY_SIGNATURE',
      `could not verify envelope: ${noMatch}`,
      (v) => (v.envelope.signatures[0].publicKey = encodeBase64(pemOf(b))),
    ],
    [
      'a key that is none, behind one that has signed',
      'ENTRY_PKI',
      'could not parse public key as x509: invalid public key: failure decoding PEM',
      (v) => v.envelope.signatures.push({ ...v.envelope.signatures[0], publicKey: 'AAAA' }),
    ],
    [
      'half a surrogate pair as payload type',
      'ENTRY_PROPOSAL',
      'invalid DSSE envelope: payloadType is not valid Unicode',
      (v) => (v.envelope.payloadType = '\ud800'),
    ],
  ])('refuses %s', async (_, code, detail, change) => {
    const json = intoto2Proposal([a]);
    change(json.spec.content);
    await expect(propose(json)).rejects.toMatchObject({ code, detail });
  });

  it('refuses to look up what lacks a hash', async () => {
    const json = intoto2Proposal([a]);
    delete json.spec.content.envelope.payload;
    await expect(propose(json, false)).rejects.toMatchObject({ detail: 'missing payload digest' });
  });
});

const sshKeys = [
  {
    spki: 'MCowBQYDK2VwAyEA6unmJNCZq4qDIaXyJKjzIJMmFoquERwwUa1FQ3+TIgU=',
    fingerprint: 'SHA256:YS6bHyON9nvLWWfSW0lRIggrndMogNZkMon7Dgdxv6U',
  },
  {
    spki: 'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2L1ZmOo+ash5uFeYkFmqmbSF3qngJemetanzQVrmFzY6rwHHSCawMRIdiQmd4AmLwRL5eCVUaxTRLB5Jn3VU3g==',
    fingerprint: 'SHA256:lQabFP1cFLkxGWAc98MoO7n4nOjYmmD74DsYAwesfjY',
  },
  {
    spki: 'MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQB/le0EX/t+n4UvRwQODPvpLtYZkZEN7+UG9U+dXPbcXnxui5wSUglpW2GofipFIZjvGpJl1/xD/q6Ao/LsRcH2vEB/F8XVMSxVhkvmFyeXaZe5VVYPfLOpU2vzxH/MUazodPQ4x0BfHnDCEIekdmkWFQRkqLGYfftPfg0nAdGhC9uwHI=',
    fingerprint: 'SHA256:dhKltomDqlu1XqsUhJlccXZ2AQ0PSV5Rmeoo9cyvTKA',
  },
  {
    spki: 'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAyx9djvOSbwj7ldu0zPWLUTxVF5ys4g8H8CPNzWEmPw/A8DcBY8h8QdzcqJmgH0qa3Iij+PHy5q7B0KanCkLypkopkpiy/HzsOJhE9vIP8VDIIKi70AdNxn3QrZk+qr6C7UOUzDp3Sol8qII+K7FxUJmb6z1qJceZKonHUZ0yvdWJJUkqEDtWoViIadZ1k1WwA8tqLc0MeoMYE9w95FU4aGlqctqAj2zXGk63RTC7pMOSiJt2kDlu9SuKh/ipwxH2gG+df+uaNc5phm+dvyb2AdBYSAb/D6J3d2KL9EaiI2hWesQ4CpYOLgAhR2aZSEvYj1NGIz/4vcRskMhH6eitgwIDAQAB',
    fingerprint: 'SHA256:arZmNJiQuPWlEVBLyc+sU8fCufmMa6afUGKbzmWPDLQ',
  },
];

describe('half a surrogate pair, which JSON can spell and UTF-8 cannot carry', () => {
  const half = String.raw`\ud800`;
  const plain = JSON.stringify(envelopeOf([a]));
  it.each<[string, string]>([
    ['in the payload type', plain.replace(inToto, half)],
    ['in the payload', plain.replace('"payload":"', `"payload":"${half}`)],
    ['in a signature', plain.replace('"sig":"', `"sig":"${half}`)],
    ['itself', plain.replace(inToto, '\ud800')],
  ])('%s of an envelope is refused, not a fault', async (_, envelope) => {
    const intoto1 = {
      kind: 'intoto',
      apiVersion: '0.0.1',
      spec: { content: { envelope }, publicKey: encodeBase64(pemOf(a)) },
    };
    for (const json of [dsseProposal([a], { envelope }), intoto1]) {
      for (const insert of [true, false]) {
        await expect(propose(json, insert)).rejects.toMatchObject({ name: 'EntryError', code: 'ENTRY_PROPOSAL' });
      }
    }
  });

  it('in the digest of a subject is refused, because nobody could find it', async () => {
    const payload = encodeUtf8(`{"subject":[{"digest":{"sha256":"${half}"}}]}`);
    const envelope = JSON.stringify(envelopeOf([a], { payload }));
    await expect(propose(dsseProposal([a], { envelope }))).rejects.toMatchObject({
      code: 'ENTRY_PROPOSAL',
      detail: 'subject is not valid Unicode',
    });
  });
});
