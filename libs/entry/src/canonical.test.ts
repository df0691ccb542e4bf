import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { canonicalizeJson, encodeBase64, parseUtf8 } from '#libs/encoding';
import { findAlgorithm } from '#libs/crypto';
import { describe, expect, it } from 'vitest';
import {
  canonicalizeEntry,
  entryAlgorithms,
  parseEntryBody,
  type DsseEntry,
  type HashedRekord,
  type Verifier,
} from './index.js';

const vector = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../../test/vectors/entry/${name}.json`, import.meta.url)));

const byteArray = (maxLength: number) => fc.uint8Array({ minLength: 1, maxLength });
const verifiers: fc.Arbitrary<Verifier> = fc.oneof(
  byteArray(300).map((publicKey) => ({ publicKey })),
  byteArray(2000).map((x509Certificate) => ({ x509Certificate })),
);
const labels = fc.constantFrom(...entryAlgorithms.map(({ keyDetails }) => keyDetails));
const digestOf = (keyDetails: string) =>
  fc.uint8Array({ minLength: digestLength(keyDetails), maxLength: digestLength(keyDetails) });
const digestLength = (keyDetails: string) =>
  ({ sha256: 32, sha384: 48, sha512: 64 })[findAlgorithm(keyDetails)?.hash ?? 'sha256'];

const rekords: fc.Arbitrary<HashedRekord> = labels.chain((keyDetails) =>
  fc.record({
    kind: fc.constant('hashedrekord' as const),
    keyDetails: fc.constant(keyDetails),
    digest: digestOf(keyDetails),
    signature: byteArray(512),
    verifier: verifiers,
  }),
);
const envelopes: fc.Arbitrary<DsseEntry> = fc.record({
  kind: fc.constant('dsse' as const),
  payloadHash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  signatures: fc.uniqueArray(fc.record({ signature: byteArray(80), keyDetails: labels, verifier: verifiers }), {
    minLength: 1,
    maxLength: 10,
    selector: ({ signature }) => encodeBase64(signature),
  }),
});

const heldJson = (verifier: Verifier) =>
  'publicKey' in verifier
    ? { publicKey: { rawBytes: encodeBase64(verifier.publicKey) } }
    : { x509Certificate: { rawBytes: encodeBase64(verifier.x509Certificate) } };

describe('canonicalizeEntry()', () => {
  it.each(['hashedrekord-0.0.2', 'hashedrekord-0.0.2-dsse'])('writes the bytes of a real log: %s', (name) => {
    const body = parseEntryBody(vector(name));
    if (body.kind !== 'hashedrekord' || body.version !== '0.0.2') throw new Error('not a hashedrekord 0.0.2');
    const { signature, keyDetails, verifier, hash } = body;
    const entry: HashedRekord = { kind: 'hashedrekord', digest: hash.bytes, signature, keyDetails, verifier };
    expect(canonicalizeEntry(entry)).toEqual(vector(name));
  });

  it('is RFC 8785 of the entry, and is read back: hashedrekord', () => {
    fc.assert(
      fc.property(rekords, (entry) => {
        const algorithm = findAlgorithm(entry.keyDetails);
        const canonical = canonicalizeEntry(entry);
        expect(parseUtf8(canonical)).toBe(
          canonicalizeJson({
            kind: 'hashedrekord',
            apiVersion: '0.0.2',
            spec: {
              hashedRekordV002: {
                signature: {
                  verifier: { ...heldJson(entry.verifier), keyDetails: entry.keyDetails },
                  content: encodeBase64(entry.signature),
                },
                data: { digest: encodeBase64(entry.digest), algorithm: algorithm?.hashName ?? '' },
              },
            },
          }),
        );
        const { digest, ...rest } = entry;
        const hash = { algorithm: algorithm?.hash, bytes: digest };
        expect(parseEntryBody(canonical)).toEqual({ ...rest, version: '0.0.2', hash });
      }),
    );
  });

  it('is RFC 8785 of the entry, and is read back: dsse', () => {
    fc.assert(
      fc.property(envelopes, (entry) => {
        const canonical = canonicalizeEntry(entry);
        const sorted = [...entry.signatures].sort((a, b) => Buffer.compare(a.signature, b.signature));
        expect(parseUtf8(canonical)).toBe(
          canonicalizeJson({
            kind: 'dsse',
            apiVersion: '0.0.2',
            spec: {
              dsseV002: {
                signatures: sorted.map((item) => ({
                  content: encodeBase64(item.signature),
                  verifier: { ...heldJson(item.verifier), keyDetails: item.keyDetails },
                })),
                payloadHash: { digest: encodeBase64(entry.payloadHash), algorithm: 'SHA2_256' },
              },
            },
          }),
        );
        expect(parseEntryBody(canonical)).toEqual({
          kind: 'dsse',
          version: '0.0.2',
          payloadHash: { algorithm: 'sha256', bytes: entry.payloadHash },
          signatures: sorted,
        });
      }),
    );
  });

  it('sorts signatures by their bytes, not by their base64', () => {
    // 0xfb is "+w==" and sorts before "AA==" as text.
    const item = (byte: number) => ({
      signature: Uint8Array.of(byte),
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      verifier: { publicKey: Uint8Array.of(1) },
    });
    const entry: DsseEntry = { kind: 'dsse', payloadHash: new Uint8Array(32), signatures: [item(0xfb), item(0)] };
    expect(parseEntryBody(canonicalizeEntry(entry))).toMatchObject({
      signatures: [{ signature: Uint8Array.of(0) }, { signature: Uint8Array.of(0xfb) }],
    });
    expect(entry.signatures[0]?.signature).toEqual(Uint8Array.of(0xfb));
  });

  // log-v2 trap 18
  it('writes at most 65535 bytes', () => {
    const entry = (signature: number, certificate: number): HashedRekord => ({
      kind: 'hashedrekord',
      digest: new Uint8Array(32),
      signature: new Uint8Array(signature),
      keyDetails: 'PKIX_ED25519_PH',
      verifier: { x509Certificate: new Uint8Array(certificate) },
    });
    const rest = canonicalizeEntry(entry(3, 3)).length - 8;
    // The body grows by four bytes for three; the rest of the division goes into the name of the algorithm.
    const largest = 3 * Math.floor((65_535 - rest - 4) / 4);
    expect(canonicalizeEntry(entry(3, largest)).length).toBeGreaterThan(65_531);
    expect(() => canonicalizeEntry(entry(3, largest + 3))).toThrow(
      expect.objectContaining({ code: 'ENTRY_TOO_LARGE' }),
    );
    expect(() => canonicalizeEntry(entry(3, 4_000_000))).toThrow(expect.objectContaining({ code: 'ENTRY_TOO_LARGE' }));
  });
});
