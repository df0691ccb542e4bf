import { bundleFromJSON } from '@sigstore/bundle';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodeBase64, encodeUtf8 } from '#libs/encoding';
import {
  BUNDLE_MEDIA_TYPE,
  BundleError,
  encodeBundle,
  parseBundle,
  type Bundle,
  type BundleErrorCode,
} from './index.js';

/** What JSON.parse() returns, to be changed in any place. */
type Json = ReturnType<typeof JSON.parse>;

const vectors = `${import.meta.dirname}/../../../test/vectors/bundle`;
const read = (name: string) => readFileSync(`${vectors}/${name}.json`, 'utf8');

/** A vector with one change made to its JSON. */
function changed(name: string, change: (json: Json) => void): string {
  const json = JSON.parse(read(name));
  change(json);
  return JSON.stringify(json);
}

function codeOf(text: string | Uint8Array): BundleErrorCode | 'accepted' {
  try {
    parseBundle(text);
    return 'accepted';
  } catch (error) {
    if (error instanceof BundleError) return error.code;
    throw error;
  }
}

describe('parseBundle()', () => {
  test('reads a 0.3 bundle of Rekor v2', () => {
    const bundle = parseBundle(read('rekor2-happy-path'));
    expect(bundle.version).toBe('0.3');
    expect(bundle.material).toMatchObject({ kind: 'certificate' });
    expect(bundle.timestamps).toHaveLength(1);
    expect(bundle.content).toMatchObject({ kind: 'message', digest: { algorithm: 'sha256' } });
    const [entry] = bundle.tlogEntries;
    expect(entry).toMatchObject({ logIndex: 735n, kind: 'hashedrekord', version: '0.0.2' });
    expect(entry).not.toHaveProperty('integratedTime');
    expect(entry).not.toHaveProperty('inclusionPromise');
    expect(entry?.inclusionProof).toMatchObject({ logIndex: 735n, treeSize: 736n });
    expect(entry?.inclusionProof?.checkpoint).toMatch(/^log2025-alpha1\.rekor\.sigstage\.dev\n736\n/);
  });

  test('keeps the two indexes of Rekor v1 apart', () => {
    const [entry] = parseBundle(read('happy-path-v0.1')).tlogEntries;
    expect(entry).toMatchObject({ logIndex: 27246492n, integratedTime: 1689177396n });
    expect(entry?.inclusionProof?.logIndex).toBe(23083061n);
  });

  test.each([
    ['happy-path-v0.1', '0.1', 'message'],
    ['happy-path-v0.2', '0.2', 'message'],
    ['happy-path-v0.3-new-mediaType', '0.3', 'message'],
    ['happy-path-intoto-in-dsse-v3', '0.3', 'dsse'],
    ['intoto-with-custom-trust-root', '0.2', 'dsse'],
    ['rekor2-dsse-happy-path', '0.3', 'dsse'],
    ['rekor2-checkpoint-multiple-cosigs', '0.3', 'message'],
  ])('reads %s as version %s, %s', (name, version, kind) => {
    expect(parseBundle(encodeUtf8(read(name)))).toMatchObject({ version, content: { kind } });
  });

  test('reads a bundle of a managed key', () => {
    expect(parseBundle(read('managed-key-happy-path')).material).toEqual({
      kind: 'publicKey',
      hint: 'TLMsSDfG3ajPsWge+z/vX5T/zluXnmvbkTkwLIV68Tk=',
    });
  });

  test.each<[string, (json: Json) => void]>([
    [
      'the old spelling of media type 0.3',
      (b) => (b.mediaType = 'application/vnd.dev.sigstore.bundle+json;version=0.3'),
    ],
    ['int64 as a number', (b) => (b.verificationMaterial.tlogEntries[0].logIndex = 735)],
    ['null for what may be absent', (b) => (b.verificationMaterial.tlogEntries[0].inclusionPromise = null)],
    ['integratedTime 0', (b) => (b.verificationMaterial.tlogEntries[0].integratedTime = '0')],
    ['no message digest', (b) => delete b.messageSignature.messageDigest],
    ['no timestamps', (b) => delete b.verificationMaterial.timestampVerificationData],
    ['no log entries', (b) => delete b.verificationMaterial.tlogEntries],
    ['URL-safe base64 without padding', (b) => (b.messageSignature.signature = 'MEQ-_w')],
  ])('accepts %s', (_, change) => {
    expect(codeOf(changed('rekor2-happy-path', change))).toBe('accepted');
  });

  test('takes a missing log index for 0', () => {
    const text = changed('rekor2-happy-path', (b) => delete b.verificationMaterial.tlogEntries[0].logIndex);
    expect(parseBundle(text).tlogEntries[0]?.logIndex).toBe(0n);
  });

  const entryOf = (b: Json) => b.verificationMaterial.tlogEntries[0];
  const refused: [string, BundleErrorCode, (json: Json) => void][] = [
    ['no media type', 'BUNDLE_MEDIA_TYPE', (b) => delete b.mediaType],
    ['a later version', 'BUNDLE_MEDIA_TYPE', (b) => (b.mediaType = BUNDLE_MEDIA_TYPE.replace('0.3', '0.4'))],
    [
      'version 99.9',
      'BUNDLE_MEDIA_TYPE',
      (b) => (b.mediaType = 'application/vnd.dev.sigstore.bundle+json;version=99.9'),
    ],
    ['something after the media type', 'BUNDLE_MEDIA_TYPE', (b) => (b.mediaType += ' ')],
    ['a media type that is a number', 'BUNDLE_MALFORMED', (b) => (b.mediaType = 3)],
    ['an unknown field at the top', 'BUNDLE_MALFORMED', (b) => (b.extra = 1)],
    ['an unknown field that is null', 'BUNDLE_MALFORMED', (b) => (b.extra = null)],
    ['an unknown field deep inside', 'BUNDLE_MALFORMED', (b) => (entryOf(b).inclusionProof.checkpoint.note = '')],
    ['snake_case names', 'BUNDLE_MALFORMED', (b) => (b.media_type = BUNDLE_MEDIA_TYPE)],
    ['no verification material', 'BUNDLE_MALFORMED', (b) => delete b.verificationMaterial],
    ['material that is a list', 'BUNDLE_MALFORMED', (b) => (b.verificationMaterial = [])],
    ['neither certificate nor key', 'BUNDLE_MALFORMED', (b) => delete b.verificationMaterial.certificate],
    [
      'both certificate and chain',
      'BUNDLE_MALFORMED',
      (b) => (b.verificationMaterial.x509CertificateChain = { certificates: [b.verificationMaterial.certificate] }),
    ],
    ['both certificate and key', 'BUNDLE_MALFORMED', (b) => (b.verificationMaterial.publicKey = { hint: 'x' })],
    ['an empty certificate', 'BUNDLE_MALFORMED', (b) => (b.verificationMaterial.certificate = { rawBytes: '' })],
    ['neither message nor envelope', 'BUNDLE_MALFORMED', (b) => delete b.messageSignature],
    [
      'both message and envelope',
      'BUNDLE_MALFORMED',
      (b) => (b.dsseEnvelope = { payload: 'e30=', payloadType: 'x', signatures: [{ sig: 'AA==' }] }),
    ],
    ['no signature', 'BUNDLE_MALFORMED', (b) => delete b.messageSignature.signature],
    ['a hash we do not know', 'BUNDLE_MALFORMED', (b) => (b.messageSignature.messageDigest.algorithm = 'SHA3_256')],
    ['a hash by its number', 'BUNDLE_MALFORMED', (b) => (b.messageSignature.messageDigest.algorithm = 1)],
    ['a digest of another length', 'BUNDLE_MALFORMED', (b) => (b.messageSignature.messageDigest.digest = 'AAAA')],
    ['base64 with a space in it', 'BUNDLE_MALFORMED', (b) => (b.messageSignature.signature = 'ME QC')],
    ['base64 with a newline after it', 'BUNDLE_MALFORMED', (b) => (b.messageSignature.signature += '\n')],
    ['base64 with a foreign character', 'BUNDLE_MALFORMED', (b) => (b.messageSignature.signature = 'ME!C')],
    ['a negative log index', 'BUNDLE_MALFORMED', (b) => (entryOf(b).logIndex = '-1')],
    ['a negative number as log index', 'BUNDLE_MALFORMED', (b) => (entryOf(b).logIndex = -1)],
    ['a log index beyond 64 bits', 'BUNDLE_MALFORMED', (b) => (entryOf(b).logIndex = '9223372036854775808')],
    ['a log index with a leading zero', 'BUNDLE_MALFORMED', (b) => (entryOf(b).logIndex = '0735')],
    ['a log index in hex', 'BUNDLE_MALFORMED', (b) => (entryOf(b).logIndex = '0x2df')],
    ['a log index with a fraction', 'BUNDLE_MALFORMED', (b) => (entryOf(b).logIndex = 735.5)],
    ['a negative tree size', 'BUNDLE_MALFORMED', (b) => (entryOf(b).inclusionProof.treeSize = '-736')],
    ['an index outside the tree', 'BUNDLE_MALFORMED', (b) => (entryOf(b).inclusionProof.treeSize = '735')],
    ['a negative integrated time', 'BUNDLE_MALFORMED', (b) => (entryOf(b).integratedTime = '-5')],
    [
      'a root hash of 31 bytes',
      'BUNDLE_MALFORMED',
      (b) => (entryOf(b).inclusionProof.rootHash = encodeBase64(new Uint8Array(31))),
    ],
    [
      'a proof hash of 33 bytes',
      'BUNDLE_MALFORMED',
      (b) => (entryOf(b).inclusionProof.hashes[0] = encodeBase64(new Uint8Array(33))),
    ],
    ['an empty promise', 'BUNDLE_MALFORMED', (b) => (entryOf(b).inclusionPromise = {})],
    ['no log id', 'BUNDLE_MALFORMED', (b) => delete entryOf(b).logId],
    ['a log id of 33 bytes', 'BUNDLE_MALFORMED', (b) => (entryOf(b).logId.keyId = encodeBase64(new Uint8Array(33)))],
    ['no kind', 'BUNDLE_MALFORMED', (b) => delete entryOf(b).kindVersion],
    ['no body', 'BUNDLE_MALFORMED', (b) => delete entryOf(b).canonicalizedBody],
    ['the same entry twice', 'BUNDLE_MALFORMED', (b) => b.verificationMaterial.tlogEntries.push(entryOf(b))],
    [
      'the same timestamp twice',
      'BUNDLE_MALFORMED',
      ({
        verificationMaterial: {
          timestampVerificationData: { rfc3161Timestamps: list },
        },
      }) => list.push(list[0]),
    ],
    ['no inclusion proof in 0.3', 'BUNDLE_VERSION_RULE', (b) => delete entryOf(b).inclusionProof],
    ['no checkpoint in 0.3', 'BUNDLE_VERSION_RULE', (b) => delete entryOf(b).inclusionProof.checkpoint],
    [
      'a chain in 0.3',
      'BUNDLE_VERSION_RULE',
      ({ verificationMaterial: m }) => {
        m.x509CertificateChain = { certificates: [m.certificate] };
        delete m.certificate;
      },
    ],
    [
      'a single certificate in 0.2',
      'BUNDLE_VERSION_RULE',
      (b) => (b.mediaType = 'application/vnd.dev.sigstore.bundle+json;version=0.2'),
    ],
    ['33 log entries', 'BUNDLE_LIMIT', (b) => (b.verificationMaterial.tlogEntries = Array(33).fill(entryOf(b)))],
    [
      '33 timestamps',
      'BUNDLE_LIMIT',
      ({ verificationMaterial: { timestampVerificationData: data } }) =>
        (data.rfc3161Timestamps = Array(33).fill(data.rfc3161Timestamps[0])),
    ],
    [
      '64 proof hashes',
      'BUNDLE_LIMIT',
      (b) => (entryOf(b).inclusionProof.hashes = Array(64).fill(entryOf(b).inclusionProof.rootHash)),
    ],
  ];
  test.each(refused)('refuses %s (%s)', (_, code, change) => {
    expect(codeOf(changed('rekor2-happy-path', change))).toBe(code);
  });

  test.each<[string, string, BundleErrorCode, (json: Json) => void]>([
    [
      'an empty chain',
      'happy-path-v0.1',
      'BUNDLE_MALFORMED',
      (b) => (b.verificationMaterial.x509CertificateChain.certificates = []),
    ],
    ['0.1 without a promise', 'happy-path-v0.1', 'BUNDLE_VERSION_RULE', (b) => delete entryOf(b).inclusionPromise],
    ['0.2 without a proof', 'happy-path-v0.2', 'BUNDLE_VERSION_RULE', (b) => delete entryOf(b).inclusionProof],
    [
      'two envelope signatures',
      'rekor2-dsse-happy-path',
      'BUNDLE_MALFORMED',
      ({ dsseEnvelope: e }) => e.signatures.push(e.signatures[0]),
    ],
    ['no envelope signature', 'rekor2-dsse-happy-path', 'BUNDLE_MALFORMED', (b) => (b.dsseEnvelope.signatures = [])],
    ['no payload', 'rekor2-dsse-happy-path', 'BUNDLE_MALFORMED', (b) => delete b.dsseEnvelope.payload],
    [
      'a payload type with half a surrogate pair',
      'rekor2-dsse-happy-path',
      'BUNDLE_MALFORMED',
      (b) => (b.dsseEnvelope.payloadType = '\ud800'),
    ],
    [
      'a key id that is not the hint',
      'rekor2-dsse-happy-path',
      'BUNDLE_MALFORMED',
      (b) => {
        delete b.verificationMaterial.certificate;
        b.verificationMaterial.publicKey = { hint: 'one' };
        b.dsseEnvelope.signatures[0].keyid = 'other';
      },
    ],
  ])('refuses %s', (_, name, code, change) => {
    expect(codeOf(changed(name, change))).toBe(code);
  });

  test('0.1 does without a proof', () => {
    expect(codeOf(changed('happy-path-v0.1', (b) => delete entryOf(b).inclusionProof))).toBe('accepted');
  });

  test.each([
    ['nothing', ''],
    ['cut text', read('rekor2-happy-path').slice(0, -20)],
    ['text behind', `${read('rekor2-happy-path')}{}`],
    ['a duplicate key', read('rekor2-happy-path').replace('{', '{"mediaType":"x",')],
  ])('refuses %s (BUNDLE_JSON)', (_, text) => {
    expect(codeOf(text)).toBe('BUNDLE_JSON');
  });

  test('names the field that is wrong', () => {
    expect(() => parseBundle(changed('rekor2-happy-path', (b) => (entryOf(b).logIndex = '-1')))).toThrow(
      'Cannot read bundle: verificationMaterial.tlogEntries[0].logIndex must not be negative',
    );
  });

  // sigstore-go looped over as many as came.
  test('CVE-2024-45395: refuses 100,000 log entries before reading one', () => {
    const text = changed('rekor2-happy-path', (b) => (b.verificationMaterial.tlogEntries = Array(100_000).fill({})));
    expect(codeOf(text)).toBe('BUNDLE_LIMIT');
  });

  test('refuses a text over the limit before parsing it', () => {
    expect(codeOf(' '.repeat(32 * 1024 * 1024 + 1))).toBe('BUNDLE_LIMIT');
  });

  test('returns or throws its own error for any bytes, and for any JSON', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.json(), fc.string()), (input) => {
        expect(codeOf(input)).toMatch(/^BUNDLE_/);
      }),
    );
  });

  test('returns or throws its own error whatever value stands in any one place', () => {
    const original = JSON.parse(read('rekor2-happy-path'));
    const places: string[][] = [];
    (function walk(value: unknown, path: string[]) {
      if (path.length > 0) places.push(path);
      if (typeof value === 'object' && value !== null) {
        for (const [key, child] of Object.entries(value)) walk(child, [...path, key]);
      }
    })(original, []);
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.jsonValue({ maxDepth: 2 }), (path, value) => {
        const json = structuredClone(original);
        const parent = path.slice(0, -1).reduce((at, key) => at[key], json);
        parent[path.at(-1) ?? ''] = value;
        expect(codeOf(JSON.stringify(json))).toMatch(/^BUNDLE_|accepted/);
      }),
      { numRuns: 500 },
    );
  });
});

describe('encodeBundle()', () => {
  test.each([
    'happy-path-v0.3-new-mediaType',
    'happy-path-intoto-in-dsse-v3',
    'managed-key-happy-path',
    'rekor2-happy-path',
    'rekor2-dsse-happy-path',
  ])('writes what parseBundle() read of %s', (name) => {
    const bundle = parseBundle(read(name));
    expect(parseBundle(encodeBundle(bundle))).toEqual(bundle);
  });

  test.each(['happy-path-v0.2', 'rekor2-happy-path', 'rekor2-dsse-happy-path', 'managed-key-happy-path'])(
    'writes %s so that @sigstore/bundle reads it',
    (name) => {
      const theirs = bundleFromJSON(JSON.parse(encodeBundle(parseBundle(read(name)))));
      expect(theirs.mediaType).toBe(BUNDLE_MEDIA_TYPE);
      expect(theirs.verificationMaterial.tlogEntries).toHaveLength(1);
    },
  );

  test('writes one line of the newest version', () => {
    const text = encodeBundle(parseBundle(read('happy-path-v0.2')));
    expect(text).not.toContain('\n');
    expect(JSON.parse(text).mediaType).toBe('application/vnd.dev.sigstore.bundle.v0.3+json');
    expect(parseBundle(text).version).toBe('0.3');
  });

  test('writes int64 as strings, and no key for what is absent', () => {
    const json = JSON.parse(encodeBundle(parseBundle(read('rekor2-happy-path'))));
    const [entry] = json.verificationMaterial.tlogEntries;
    expect(entry.logIndex).toBe('735');
    expect(Object.keys(entry)).toEqual(['logIndex', 'logId', 'kindVersion', 'inclusionProof', 'canonicalizedBody']);
  });

  test('refuses an entry without a checkpoint', () => {
    const bundle = parseBundle(
      changed('happy-path-v0.1', (b) => delete b.verificationMaterial.tlogEntries[0].inclusionProof),
    );
    expect(() => encodeBundle(bundle)).toThrow(expect.objectContaining({ code: 'BUNDLE_VERSION_RULE' }));
  });

  test('parseBundle() reads back any bundle', () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 });
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const index = fc.bigInt({ min: 0n, max: 2n ** 62n });
    const text = fc.string({ minLength: 1, maxLength: 5, unit: 'grapheme' });
    const entry = fc.record({
      logIndex: index,
      logId: hash,
      kind: text,
      version: text,
      inclusionProof: index.chain((logIndex) =>
        fc.record({
          logIndex: fc.constant(logIndex),
          treeSize: fc.bigInt({ min: logIndex + 1n, max: 2n ** 63n - 1n }),
          rootHash: hash,
          hashes: fc.array(hash, { maxLength: 5 }),
          checkpoint: text,
        }),
      ),
      canonicalizedBody: bytes,
    });
    const bundle: fc.Arbitrary<Bundle> = fc.record({
      mediaType: fc.constant(BUNDLE_MEDIA_TYPE),
      version: fc.constant('0.3' as const),
      material: bytes.map((der) => ({ kind: 'certificate' as const, certificates: [der] })),
      tlogEntries: fc.uniqueArray(entry, { maxLength: 3, selector: ({ logIndex }) => logIndex }),
      timestamps: fc.uniqueArray(bytes, { maxLength: 3, selector: encodeBase64 }),
      content: fc.oneof(
        fc.record({
          kind: fc.constant('message' as const),
          digest: hash.map((digest) => ({ algorithm: 'sha256' as const, digest })),
          signature: bytes,
        }),
        fc.record({
          kind: fc.constant('dsse' as const),
          envelope: fc.record({
            payload: bytes,
            payloadType: text,
            signatures: fc.record({ sig: bytes, keyid: fc.constant('') }).map((signature) => [signature]),
          }),
        }),
      ),
    });
    fc.assert(
      fc.property(bundle, (value) => {
        expect(parseBundle(encodeBundle(value))).toEqual(value);
      }),
    );
  });
});
