import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, derOctetString, encodeHex, parseBase64, parseHex } from '#libs/encoding';
import { parsePublicKey } from '#libs/crypto';
import { verifySync } from '#libs/openssl';
import {
  encodeDigitallySigned,
  encodeExtraData,
  encodeLeafIndex,
  encodeSct,
  encodeSctList,
  encodeTileLeaf,
  merkleTreeLeaf,
  parseDataTile,
  parseDigitallySigned,
  parseExtraData,
  parseLeafIndex,
  parseMerkleTreeLeaf,
  parseSct,
  parseSctList,
  parseTileLeaf,
  splitDataTile,
  sthSignedInput,
  type CtEntry,
  type Sct,
  type TileLeaf,
} from './ct.js';
import { X509Error } from './errors.js';

const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const bytes = (maxLength = 40) => fc.uint8Array({ maxLength });
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
const u8 = fc.nat(255);
const signed = { hashAlgorithm: u8, signatureAlgorithm: u8, signature: bytes() };
const sct: fc.Arbitrary<Sct> = fc.record({
  version: fc.constant(0 as const),
  logId: hash,
  timestampMs: u64,
  extensions: bytes(),
  ...signed,
});
const entry: fc.Arbitrary<CtEntry> = fc.oneof(
  fc.record({ kind: fc.constant('x509' as const), certificate: bytes() }),
  fc.record({ kind: fc.constant('precert' as const), issuerKeyHash: hash, tbs: bytes() }),
);
const timestamped = fc.record({ timestampMs: u64, entry, extensions: bytes() });
const tileLeaf: fc.Arbitrary<TileLeaf> = fc
  .tuple(timestamped, bytes(), fc.array(hash, { maxLength: 4 }))
  .map(([leaf, precertificate, fingerprints]) => ({
    ...leaf,
    ...(leaf.entry.kind === 'precert' && { precertificate }),
    fingerprints,
  }));

const example: Sct = {
  version: 0,
  logId: new Uint8Array(32).fill(0x2c),
  timestampMs: 1768517364925n,
  extensions: encodeLeafIndex(112n),
  hashAlgorithm: 4,
  signatureAlgorithm: 3,
  signature: Uint8Array.of(0xaa, 0xbb),
};

describe('encodings', () => {
  it('SCT: the layout of RFC 6962 §3.2', () => {
    expect(encodeHex(encodeSct(example))).toBe(
      '00' + '2c'.repeat(32) + '0000019bc3d96cbd' + '0008' + '0000050000000070' + '0403' + '0002aabb',
    );
  });

  it('leaf index: the extension of leaf 112 in a certificate of a tile log', () => {
    expect(encodeHex(encodeLeafIndex(112n))).toBe('0000050000000070');
    expect(encodeHex(encodeLeafIndex((1n << 40n) - 1n))).toBe('000005ffffffffff');
    expect(parseLeafIndex(parseHex('0000050000000070'))).toBe(112n);
    expect(parseLeafIndex(parseHex('ff0001aa0000050000000070'))).toBe(112n);
    expect(parseLeafIndex(new Uint8Array())).toBeUndefined();
    for (const index of [-1n, 1n << 40n]) expect(() => encodeLeafIndex(index)).toThrow(X509Error);
    for (const bad of ['00000400000070', '00000500000000', '00000500000000700000050000000070', '00']) {
      expect(() => parseLeafIndex(parseHex(bad)), bad).toThrow(X509Error);
    }
  });

  it('tree head: the signed bytes and signature of a log in the field', () => {
    const vector = JSON.parse(
      readFileSync(join(import.meta.dirname, '../../../test/vectors/x509/static-ct-checkpoint.json'), 'utf8'),
    ) as Record<string, string>;
    const value = (name: string) => vector[name] ?? '';
    const input = sthSignedInput({
      timestampMs: BigInt(value('timestampMs')),
      size: BigInt(value('size')),
      rootHash: parseBase64(value('rootHash')),
    });
    expect(encodeHex(input)).toBe(value('signedInput'));
    expect(input).toHaveLength(50);
    const { hashAlgorithm, signatureAlgorithm, signature } = parseDigitallySigned(
      parseBase64(value('digitallySigned')),
    );
    expect([hashAlgorithm, signatureAlgorithm]).toEqual([4, 3]);
    const key = parsePublicKey(parseBase64(value('publicKey')));
    expect(verifySync(key, { kind: 'ecdsa', hash: 'sha256' }, input, signature)).toBe(true);
  });

  it('Merkle tree leaf: two zero bytes, u64 milliseconds, u16 type, u24 and u16 lengths', () => {
    const x509 = merkleTreeLeaf({
      timestampMs: 1n,
      entry: { kind: 'x509', certificate: Uint8Array.of(0xcc) },
      extensions: Uint8Array.of(0xee),
    });
    expect(encodeHex(x509)).toBe('0000' + '0000000000000001' + '0000' + '000001cc' + '0001ee');
    const issuerKeyHash = new Uint8Array(32).fill(0x11);
    const precert = merkleTreeLeaf({
      timestampMs: 2n,
      entry: { kind: 'precert', issuerKeyHash, tbs: Uint8Array.of(0xdd) },
      extensions: new Uint8Array(),
    });
    expect(encodeHex(precert)).toBe('0000' + '0000000000000002' + '0001' + '11'.repeat(32) + '000001dd' + '0000');
  });

  it('tile leaf: no leading zeros, precertificate after the extensions, fingerprints counted in bytes', () => {
    const leaf: TileLeaf = {
      timestampMs: 2n,
      entry: { kind: 'precert', issuerKeyHash: new Uint8Array(32).fill(0x11), tbs: Uint8Array.of(0xdd) },
      extensions: Uint8Array.of(0xee),
      precertificate: Uint8Array.of(0xcc),
      fingerprints: [new Uint8Array(32).fill(0x22)],
    };
    expect(encodeHex(encodeTileLeaf(leaf))).toBe(
      '0000000000000002' + '0001' + '11'.repeat(32) + '000001dd' + '0001ee' + '000001cc' + '0020' + '22'.repeat(32),
    );
  });

  it('extra data: the precertificate comes first, and only for a precert entry', () => {
    const chain = [Uint8Array.of(1), Uint8Array.of(2, 3)];
    expect(encodeHex(encodeExtraData({ chain }))).toBe('000009' + '00000101' + '0000020203');
    expect(encodeHex(encodeExtraData({ precertificate: Uint8Array.of(9), chain: [] }))).toBe('00000109' + '000000');
  });
});

describe('round trips', () => {
  it('SCT and SCT list', () => {
    fc.assert(fc.property(sct, (value) => void expect(parseSct(encodeSct(value))).toEqual(value)));
    fc.assert(
      fc.property(
        fc.array(sct, { minLength: 1, maxLength: 16 }),
        (list) => void expect(parseSctList(encodeSctList(list.map(encodeSct)))).toEqual(list),
      ),
    );
  });
  it('DigitallySigned', () => {
    fc.assert(
      fc.property(
        fc.record(signed),
        (value) => void expect(parseDigitallySigned(encodeDigitallySigned(value))).toEqual(value),
      ),
    );
  });
  it('Merkle tree leaf', () => {
    fc.assert(
      fc.property(timestamped, (value) => void expect(parseMerkleTreeLeaf(merkleTreeLeaf(value))).toEqual(value)),
    );
  });
  it('extra data', () => {
    fc.assert(
      fc.property(
        fc.option(bytes(), { nil: undefined }),
        fc.array(bytes(), { maxLength: 16 }),
        (precertificate, chain) => {
          const value = { ...(precertificate && { precertificate }), chain };
          expect(parseExtraData(precertificate ? 'precert' : 'x509', encodeExtraData(value))).toEqual(value);
        },
      ),
    );
  });
  it('tile leaves, alone and in a data tile', () => {
    fc.assert(
      fc.property(fc.array(tileLeaf, { maxLength: 5 }), (leaves) => {
        const encoded = leaves.map(encodeTileLeaf);
        const tile = concatBytes(...encoded);
        expect(encoded.map(parseTileLeaf)).toEqual(leaves);
        expect(parseDataTile(tile, leaves.length)).toEqual(leaves);
        expect(splitDataTile(tile, leaves.length)).toEqual(encoded);
        expect(() => parseDataTile(tile, leaves.length + 1)).toThrow(X509Error);
        if (leaves.length > 0) expect(() => parseDataTile(tile, leaves.length - 1)).toThrow(X509Error);
      }),
    );
  });
  it('leaf index', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: (1n << 40n) - 1n }),
        (index) => void expect(parseLeafIndex(encodeLeafIndex(index))).toBe(index),
      ),
    );
  });
});

describe('refusals', () => {
  const good = encodeSct(example);
  it.each<[string, () => unknown]>([
    ['an SCT of version 2', () => parseSct(good.with(0, 1))],
    ['an SCT with a byte too many', () => parseSct(concatBytes(good, Uint8Array.of(0)))],
    ['an SCT with a byte too few', () => parseSct(good.subarray(0, -1))],
    ['an empty SCT list', () => parseSctList(derOctetString(Uint8Array.of(0, 0)))],
    ['an SCT list without the inner OCTET STRING', () => parseSctList(Uint8Array.of(0, 0))],
    ['an SCT list with bytes after it', () => parseSctList(derOctetString(concatBytes(Uint8Array.of(0, 0), good)))],
    [
      'an SCT list of seventeen',
      () =>
        parseSctList(
          derOctetString(
            concatBytes(
              Uint8Array.of((17 * (good.length + 2)) >> 8, (17 * (good.length + 2)) & 255),
              ...Array.from({ length: 17 }, () => concatBytes(Uint8Array.of(0, good.length), good)),
            ),
          ),
        ),
    ],
    ['encoding no SCTs', () => encodeSctList([])],
    ['encoding seventeen SCTs', () => encodeSctList(Array.from({ length: 17 }, () => good))],
  ])('%s', (_, run) => {
    expect(run).toThrow(expect.objectContaining({ code: 'X509_SCT_MALFORMED' }));
  });

  const leaf = {
    timestampMs: 0n,
    entry: { kind: 'x509', certificate: new Uint8Array(1) },
    extensions: new Uint8Array(),
  } as const;
  const encoded = merkleTreeLeaf(leaf);
  it.each<[string, () => unknown]>([
    ['a leaf of version 2', () => parseMerkleTreeLeaf(encoded.with(0, 1))],
    ['a leaf of another type', () => parseMerkleTreeLeaf(encoded.with(1, 1))],
    ['an entry of another type', () => parseMerkleTreeLeaf(encoded.with(11, 2))],
    ['a leaf with a byte too many', () => parseMerkleTreeLeaf(concatBytes(encoded, Uint8Array.of(0)))],
    [
      'an issuer key hash of 31 bytes',
      () => merkleTreeLeaf({ ...leaf, entry: { kind: 'precert', issuerKeyHash: new Uint8Array(31), tbs: encoded } }),
    ],
    ['a log id of 31 bytes', () => encodeSct({ ...example, logId: new Uint8Array(31) })],
    ['a root hash of 31 bytes', () => sthSignedInput({ timestampMs: 0n, size: 0n, rootHash: new Uint8Array(31) })],
    ['a negative time', () => merkleTreeLeaf({ ...leaf, timestampMs: -1n })],
    ['extensions beyond u16', () => merkleTreeLeaf({ ...leaf, extensions: new Uint8Array(65_536) })],
    [
      'a precert tile leaf without precertificate',
      () =>
        encodeTileLeaf({
          ...leaf,
          entry: { kind: 'precert', issuerKeyHash: new Uint8Array(32), tbs: encoded },
          fingerprints: [],
        }),
    ],
    [
      'an x509 tile leaf with precertificate',
      () => encodeTileLeaf({ ...leaf, precertificate: encoded, fingerprints: [] }),
    ],
    ['a fingerprint of 31 bytes', () => encodeTileLeaf({ ...leaf, fingerprints: [new Uint8Array(31)] })],
    [
      'fingerprints of 33 bytes',
      () => parseTileLeaf(concatBytes(encoded.subarray(2), Uint8Array.of(0, 33), new Uint8Array(33))),
    ],
    [
      'seventeen issuers',
      () => parseExtraData('x509', encodeExtraData({ chain: Array.from({ length: 17 }, () => encoded) })),
    ],
  ])('%s', (_, run) => {
    expect(run).toThrow(expect.objectContaining({ code: 'X509_CT_MALFORMED' }));
  });

  it('parsers return or throw X509Error for any bytes', () => {
    const parsers = [
      parseSct,
      parseSctList,
      parseDigitallySigned,
      parseMerkleTreeLeaf,
      parseTileLeaf,
      parseLeafIndex,
      (b: Uint8Array) => parseExtraData('precert', b),
    ];
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 120 }),
        fc.constantFrom(...parsers),
        fc.boolean(),
        (input, parse, zero) => {
          try {
            parse(zero ? concatBytes(new Uint8Array(2), input) : input);
          } catch (error) {
            expect(error).toBeInstanceOf(X509Error);
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});
