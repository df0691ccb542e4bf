import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeHex, encodeUtf8, parseJson } from '#libs/encoding';
import { loadProposals } from '#libs/entry';
import { generateSigner, opensslCrypto, sha256 } from '#libs/openssl';
import { x509KeyOf } from '#libs/pki';
import { encodeAnnexedEntry } from '#libs/tlog';
import { encodeLeafIndex, encodeTileLeaf, merkleTreeLeaf, type TileLeaf } from '#libs/x509';
import {
  certificateKeys,
  ctFacts,
  recordKeysCt,
  encodeAnnexKeys,
  entryFacts,
  indexEntry,
  publicKeyKeys,
  recordKeysV1,
  recordKeysV2,
} from './index.js';
import { bodyKinds, bodyOf, email, makeCertificate } from '../testing/trees.js';

const { bodyKeys } = await loadProposals();

const vectors = `${import.meta.dirname}/../../../test/vectors/entry`;
const digest = sha256(encodeUtf8('artifact'));
const signed = `sha256:${encodeHex(digest)}`;
const second = `sha256:${encodeHex(sha256(digest))}`;
const certificate = makeCertificate({
  sans: [email('Me@example.com')],
  told: { 8: 'https://issuer.example', 12: 'https://forge.example/A', 9: 'https://forge.example/w' },
});
const bare = generateSigner('P-256');

describe('entryFacts() of', () => {
  test.each(bodyKinds)('%s with a certificate', (kind) => {
    const facts = entryFacts(bodyOf(kind, [certificate], digest), []);
    const [name, version] = kind.split(' ');
    expect(facts).toMatchObject({
      kind: name,
      version,
      identities: [{ kind: 'email', value: 'Me@example.com' }],
      issuer: 'https://issuer.example',
      repository: 'https://forge.example/A',
      workflow: 'https://forge.example/w',
      keyFingerprints: [encodeHex(sha256(certificate.spki))],
      certificateFingerprints: [encodeHex(sha256(certificate.der))],
      subjects: [],
    });
    const both = kind === 'dsse 0.0.1' || kind === 'intoto 0.0.1';
    expect([...facts.digests].sort()).toEqual((both ? [signed, second] : [signed]).sort());
    expect(facts.keys).toEqual(expect.arrayContaining([...facts.digests, ...certificateKeys(certificate)]));
  });

  test.each(bodyKinds)('%s with a bare key', (kind) => {
    const facts = entryFacts(bodyOf(kind, [bare], digest), []);
    expect(facts).toMatchObject({
      identities: [],
      keyFingerprints: [encodeHex(sha256(bare.publicKey.spki))],
      certificateFingerprints: [],
    });
    expect(facts).not.toHaveProperty('issuer');
    expect(facts.keys).toEqual(expect.arrayContaining([...facts.digests, ...publicKeyKeys(bare.publicKey)]));
  });

  test('an attestation whose statement the log was shown', () => {
    const unlogged = ['sha256:00', 'gitcommit:11', signed];
    const facts = entryFacts(bodyOf('dsse 0.0.1', [bare], digest), unlogged);
    // Not the digest of the payload itself, which the body has.
    expect(facts.subjects).toEqual(['sha256:00', 'gitcommit:11']);
    expect(facts.keys).toEqual(expect.arrayContaining(unlogged));
  });

  test('an entry whose key names somebody that its body does not', () => {
    const facts = entryFacts(bodyOf('rekord 0.0.1', [bare]), ['pgp@example.com', 'a name']);
    expect(facts.identities).toEqual([
      { kind: 'email', value: 'pgp@example.com' },
      { kind: 'name', value: 'a name' },
    ]);
    expect(facts.subjects).toEqual([]);
  });

  test('a certificate that cannot be read: the rest of the entry', () => {
    const broken = { ...certificate, der: certificate.der.map((byte, at) => (at === 4 ? byte ^ 0xff : byte)) };
    const facts = entryFacts(bodyOf('hashedrekord 0.0.2', [broken], digest), []);
    expect(facts).toMatchObject({
      kind: 'hashedrekord',
      digests: [signed],
      identities: [],
      certificateFingerprints: [],
    });
  });
});

describe('entryFacts() calls unknown, and gives no keys of,', () => {
  test.each([
    ['nothing', ''],
    ['no JSON', 'not JSON'],
    ['no object', '[]'],
    ['null', 'null'],
    ['a kind of other logs', '{"apiVersion":"0.0.1","kind":"cose","spec":{}}'],
    ['a version to come', '{"apiVersion":"0.0.3","kind":"hashedrekord","spec":{}}'],
    ['a body without a spec', '{"apiVersion":"0.0.1","kind":"hashedrekord"}'],
    ['a body of Rekor v2 without a spec', '{"apiVersion":"0.0.2","kind":"hashedrekord"}'],
    ['the name of a method as its kind', '{"apiVersion":"0.0.1","kind":"toString","spec":{}}'],
    ['bytes that are not UTF-8', Uint8Array.of(0xff)],
  ])('%s', (_name, body) => {
    const bytes = typeof body === 'string' ? encodeUtf8(body) : body;
    expect(entryFacts(bytes, ['sha256:00'])).toMatchObject({ kind: 'unknown', version: '', keys: [], subjects: [] });
  });

  test('any bytes, and any value in any place of a body, without an exception', () => {
    const bodies = bodyKinds.map((kind) => parseJson(bodyOf(kind, [certificate])));
    const body = fc
      .tuple(fc.constantFrom(...bodies), fc.infiniteStream(fc.nat(20)), fc.jsonValue({ maxDepth: 2 }))
      .map(([json, path, value]) => {
        const copy = structuredClone(json) as Record<string, unknown>;
        let at: Record<string, unknown> = copy;
        for (;;) {
          const names = Object.keys(at);
          const name = names[(path.next().value as number) % names.length] ?? '';
          const next = at[name];
          if (typeof next !== 'object' || next === null || (path.next().value as number) < 3) {
            at[name] = value;
            return encodeUtf8(JSON.stringify(copy));
          }
          at = next as Record<string, unknown>;
        }
      });
    fc.assert(
      fc.property(fc.oneof(body, fc.uint8Array()), (bytes) => {
        const facts = entryFacts(bytes, []);
        expect(facts.kind).toBeTypeOf('string');
        expect(facts.keys.length).toBeLessThanOrEqual(1024);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('recordKeysV1() and recordKeysV2()', () => {
  const record = (entry: Uint8Array, annex: Uint8Array) => encodeAnnexedEntry({ timestampMs: 5n, annex, entry });

  test.each(bodyKinds)('of %s: what indexEntry() gave', (kind) => {
    for (const verifier of [certificate, bare]) {
      const body = bodyOf(kind, [verifier]);
      const { annex, keys } = indexEntry(body, ['sha256:00', 'a@example.com', '']);
      expect(keys).toEqual(expect.arrayContaining(['sha256:00', 'a@example.com']));
      expect(recordKeysV1(record(body, annex))).toEqual(keys);
      expect(recordKeysV2(record(body, annex))).toEqual(keys);
    }
  });

  test.each(bodyKinds.filter((kind) => kind === 'intoto 0.0.2' || kind.endsWith('0.0.1')))(
    'of %s: the keys that Rekor v1 writes among them',
    (kind) => {
      for (const verifier of [certificate, bare]) {
        const body = bodyOf(kind, [verifier]);
        const rekor = bodyKeys(body, { hash: opensslCrypto.hash, x509KeyOf });
        expect(rekor.length).toBeGreaterThan(1);
        expect(entryFacts(body, []).keys).toEqual(expect.arrayContaining(rekor));
      }
    },
  );

  test.each(readdirSync(vectors).filter((name) => /^(?!.*envelope).*\.json$/.test(name)))(
    'of the public entry %s',
    (name) => {
      const body = new Uint8Array(readFileSync(`${vectors}/${name}`));
      const { annex, keys } = indexEntry(body, []);
      expect(recordKeysV1(record(body, annex))).toEqual(keys);
      expect(keys.length).toBeGreaterThan(1);
    },
  );

  test('of an annex that holds something else: what the body says', () => {
    const body = bodyOf('hashedrekord 0.0.2', [certificate]);
    expect(recordKeysV2(record(body, Uint8Array.of(1)))).toEqual(indexEntry(body, []).keys);
  });

  test('no more keys than the engine stores, and none that encodeAnnexKeys() left out', () => {
    const unlogged = Array.from({ length: 2000 }, (_, at) => `sha256:${at}`);
    const { keys } = indexEntry(bodyOf('dsse 0.0.1', [certificate]), unlogged);
    expect(keys.length).toBeLessThanOrEqual(1024);
    expect(keys).toContain('sha256:959');
    expect(keys).not.toContain('sha256:960');
    expect(encodeAnnexKeys(unlogged).length).toBeLessThan(65_536);
  });
});

describe('ctFacts() and recordKeysCt()', () => {
  const { der, tbs } = certificate;
  const issuerKeyHash = sha256(certificate.spki);
  const common = { timestampMs: 1_767_225_600_000n, extensions: encodeLeafIndex(3n), fingerprints: [sha256(der)] };
  const asCertificate: TileLeaf = { ...common, entry: { kind: 'x509', certificate: der } };
  const asPrecertificate: TileLeaf = { ...common, entry: { kind: 'precert', issuerKeyHash, tbs }, precertificate: der };

  test.each([
    ['x509_entry', asCertificate],
    ['precert_entry', asPrecertificate],
  ])('of an %s: the keys of the certificate as it was submitted', (kind, leaf) => {
    const record = encodeTileLeaf(leaf);
    expect(recordKeysCt(record)).toEqual(certificateKeys(certificate));
    expect(ctFacts(record)).toMatchObject({
      kind,
      version: 'v1',
      timestampMs: leaf.timestampMs,
      leaf: merkleTreeLeaf(leaf),
      digests: [],
      issuer: 'https://issuer.example',
      certificateFingerprints: [encodeHex(sha256(der))],
    });
  });

  test('of a certificate that cannot be read: nothing, and no exception', () => {
    const record = encodeTileLeaf({ ...common, entry: { kind: 'x509', certificate: Uint8Array.of(0x30, 0) } });
    expect(ctFacts(record)).toMatchObject({ kind: 'x509_entry', identities: [], keys: [] });
  });

  test('bytes that are no record are refused', () => {
    const record = encodeTileLeaf(asCertificate);
    const refused = expect.objectContaining({ code: 'X509_CT_MALFORMED' }) as Error;
    expect(() => ctFacts(record.subarray(1))).toThrow(refused);
    expect(() => recordKeysCt(new Uint8Array())).toThrow(refused);
  });
});
