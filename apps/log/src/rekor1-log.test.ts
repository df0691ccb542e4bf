import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { parsePublicKey } from '#libs/crypto';
import { encodeBase64, encodeHex, parseBase64, parseHex } from '#libs/encoding';
import { leafHash } from '#libs/merkle';
import { ecdsaNoteVerifier, verifyCheckpoint } from '#libs/note';
import { opensslCrypto, sha256, verifySync } from '#libs/openssl';
import { encodeAnnexedEntry, type Tree } from '#libs/tlog';
import { encodeLogEntry, entryIdOf, type LogEntry, promiseInput, writeLogEntry } from './rekor1-log.js';
import { cleanRekorPath } from './rekor1-path.js';

// An entry of the public instance, from the bundle managed-key-happy-path of sigstore/sigstore-conformance (test/assets/bundle-verify).
const golden = {
  body: readFileSync(join(import.meta.dirname, '../../../test/vectors/entry/hashedrekord-0.0.1-public-key.json')),
  spki: parseBase64(
    'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2G2Y+2tabdTV5BcGiBIx0a9fAFwrkBbmLSGtks4L3qX6yYY0zufBnhC8Ur/iy55GhWP/9A/bY2LhC30M9+RYtw==',
  ),
  logID: 'c0d23d6ad406973f9559f3ba2d1ca01f84147d8ffc5b8445c224f98b9591801d',
  treeId: 1193050959916656506n,
  leafHash: '251d7335e207fb694536143ecff500072df1cae8f388a9c181794f31e1b2d42e',
  logIndex: 771488337,
  integratedTime: 1766077479,
  rootHash: 'ae7a5a7085d28e84e8103874a83e022c029d90f9d6d58e11d43845312f801a52',
  size: 649584076n,
  promiseDigest: 'e398750bc17b62cac442860d3c90183c6abcdccb452525e52e9722e3d0f96b28',
  promise: 'MEQCIDCmqrzKHm8Y9CvXE/AzDdOfHGBUyWV9Pw0/qN2CJp2sAiAbgHsHGonTsf+F2DH1RYaTibMDseyHs40JpXEILqOmnw==',
  checkpoint:
    'rekor.sigstore.dev - 1193050959916656506\n649584076\nrnpacIXSjoToEDh0qD4CLAKdkPnW1Y4R1DhFMS+AGlI=\n\n' +
    '— rekor.sigstore.dev wNI9ajBFAiB+dI3iNRQRRAEwq+BzKTSdPsCKz/m9BkbkJhT9TXRKxQIhANcH3cgUq9pObcC7hQct9sqjd4ZW54GyCHRXiLC8FF17\n',
};

describe('an entry of the public instance', () => {
  const key = parsePublicKey(golden.spki);

  it('promiseInput() gives the bytes that its signed entry timestamp signs', () => {
    const { logID, logIndex, integratedTime } = golden;
    const input = promiseInput({ body: encodeBase64(golden.body), integratedTime, logID, logIndex });
    expect(input).toHaveLength(879);
    expect(encodeHex(sha256(input))).toBe(golden.promiseDigest);
    const scheme = { kind: 'ecdsa', hash: 'sha256' } as const;
    expect(verifySync(key, scheme, input, parseBase64(golden.promise))).toBe(true);
    for (const wrong of [
      { logIndex: logIndex + 1 },
      { integratedTime: integratedTime - 1 },
      { logID: '00' },
      { body: '' },
    ]) {
      const other = promiseInput({ body: encodeBase64(golden.body), integratedTime, logID, logIndex, ...wrong });
      expect(verifySync(key, scheme, other, parseBase64(golden.promise))).toBe(false);
    }
  });

  it('entryIdOf() gives its ID', () => {
    expect(entryIdOf(golden.treeId, leafHash(sha256, golden.body))).toBe(`108e9186e8c5677a${golden.leafHash}`);
    expect(entryIdOf(2605736670972794746n, parseHex(golden.leafHash))).toMatch(/^24296fb24b8ad77a/);
    expect(entryIdOf(1n, parseHex(golden.leafHash))).toBe(`0000000000000001${golden.leafHash}`);
  });

  it('its checkpoint verifies under a key name that is not its origin', async () => {
    const verifier = ecdsaNoteVerifier('rekor.sigstore.dev', key, opensslCrypto);
    expect(encodeHex(verifier.keyId)).toBe(golden.logID.slice(0, 8));
    const origin = `rekor.sigstore.dev - ${golden.treeId}`;
    const checkpoint = await verifyCheckpoint(golden.checkpoint, [verifier], { origin });
    expect([checkpoint.size, encodeHex(checkpoint.rootHash)]).toEqual([golden.size, golden.rootHash]);
  });

  it('encodeLogEntry() writes it as that instance does, but for the signature', () => {
    const signed: Uint8Array[] = [];
    const { id, entry } = encodeLogEntry(
      {
        tree: {} as Tree, // not looked at
        treeId: golden.treeId,
        logId: parseHex(golden.logID),
        signer: {
          publicKey: key,
          scheme: { kind: 'ecdsa', hash: 'sha256' },
          sign: (message) => {
            signed.push(message);
            return parseBase64(golden.promise);
          },
        },
      },
      {
        index: BigInt(golden.logIndex),
        record: encodeAnnexedEntry({
          timestampMs: BigInt(golden.integratedTime) * 1000n + 999n,
          annex: new Uint8Array(),
          entry: golden.body,
        }),
        leafHash: parseHex(golden.leafHash),
        duplicate: false,
        proof: { size: golden.size, rootHash: parseHex(golden.rootHash), hashes: [parseHex(golden.leafHash)] },
        checkpoint: golden.checkpoint,
      },
    );
    expect(id).toBe(`108e9186e8c5677a${golden.leafHash}`);
    expect(signed.map((message) => encodeHex(sha256(message)))).toEqual([golden.promiseDigest]);
    expect(JSON.stringify(entry)).toBe(
      `{"body":"${encodeBase64(golden.body)}","integratedTime":1766077479,"logID":"${golden.logID}","logIndex":771488337,` +
        `"verification":{"inclusionProof":{"checkpoint":${JSON.stringify(golden.checkpoint)},"hashes":["${golden.leafHash}"],` +
        `"logIndex":771488337,"rootHash":"${golden.rootHash}","treeSize":649584076},"signedEntryTimestamp":"${golden.promise}"}}`,
    );
  });
});

test('writeLogEntry() writes what JSON.stringify() would', () => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(encodeHex);
  const base64 = fc.uint8Array().map(encodeBase64);
  const anyEntry: fc.Arbitrary<LogEntry> = fc
    .record({ checkpoint: fc.string({ unit: 'binary' }), hashes: fc.array(hash), number: fc.maxSafeNat() })
    .chain(({ checkpoint, hashes, number }) =>
      fc.record(
        {
          attestation: fc.record({ data: base64 }),
          body: base64,
          integratedTime: fc.maxSafeNat(),
          logID: hash,
          logIndex: fc.constant(number),
          verification: fc.record({
            inclusionProof: fc.record({
              checkpoint: fc.constant(checkpoint),
              hashes: fc.constant(hashes),
              logIndex: fc.constant(number),
              rootHash: hash,
              treeSize: fc.maxSafeNat(),
            }),
            signedEntryTimestamp: base64,
          }),
        },
        { requiredKeys: ['body', 'integratedTime', 'logID', 'logIndex', 'verification'] },
      ),
    );
  fc.assert(
    fc.property(hash, anyEntry, (id, entry) => {
      expect(writeLogEntry(id, entry)).toBe(JSON.stringify({ [id]: entry }));
    }),
  );
});

describe('cleanRekorPath()', () => {
  it.each([
    ['/api/v1/log/', '/api/v1/log'],
    ['/api/v1/log/entries/retrieve/', '/api/v1/log/entries/retrieve'],
    ['//api/v1/log/entries?logIndex=1', '/api/v1/log/entries?logIndex=1'],
    ['/api/v1//log///entries//?logIndex=1//', '/api/v1/log/entries?logIndex=1//'],
    ['/api/v1/log/./entries', '/api/v1/log/entries'],
    ['/api/v1/log/entries/../publicKey', '/api/v1/log/publicKey'],
    ['/api/v1/index//retrieve', '/api/v1/index/retrieve'],
    ['/api/v1/x/../log', '/api/v1/log'],
  ])('cleans %s', (url, clean) => {
    expect(cleanRekorPath(url)).toBe(clean);
  });

  it.each([
    ...[
      '/',
      '',
      '*',
      '//',
      '/api/v1/log',
      '/api/v1/log/entries?logIndex=1',
      '/api/v1/log?x=//',
      '/api/v1/tile//0/000',
      '/api/v1/tile/0/000/',
    ],
    ...[
      '/api/v1/tile/entries/../0/000',
      '/api/v2/log//entries',
      '/api/v1/logs/',
      '/ct/v1//get-sth',
      '/api/v1/timestamp/',
      '/checkpoint/',
    ],
    ...['/api/v1/log/..', '/api/v1/log/../../..', 'http://host/api/v1/log', '/api/v1/log%2f'],
  ])('leaves %s alone', (url) => {
    expect(cleanRekorPath(url)).toBe(url);
  });
});
