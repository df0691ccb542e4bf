import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { encodeBundle, type Bundle } from '#libs/bundle';
import { encodeUtf8 } from '#libs/encoding';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import { ISSUER, SAN, SmallSigstore } from '../../../test/world/small-sigstore.js';
import { artifactFromBytes, verifyBundle, type Policy, type Report, type VerifyInput } from './index.js';

// Advisories of verifiers like this one, each with the test that would have caught it.
// CVE-2022-36056, CVE-2022-23649 and CVE-2026-22703 are in swap-matrix.test.ts.
const world = new SmallSigstore();
const artifact = encodeUtf8('hello');
const other = encodeUtf8('other');
const at = (minutes: number) => new Date(world.now.getTime() + minutes * 60_000);
const identity: Policy = { kind: 'identity', san: SAN, issuer: ISSUER };

function verify(bundle: VerifyInput['bundle'], changes: Partial<VerifyInput> = {}): Promise<Report> {
  return verifyBundle({
    bundle,
    artifact: artifactFromBytes(artifact, opensslCrypto),
    trustedRoot: world.trustedRoot(),
    policy: identity,
    crypto: opensslCrypto,
    ...changes,
  });
}

describe('CVE-2022-23649, CVE-2024-51746: a valid log entry of something else', () => {
  test.each<[string, Policy, (bytes: Uint8Array, log: 'v1' | 'v2') => Bundle]>([
    ['message', identity, (bytes, log) => world.signMessage(bytes, { log, timestamp: true })],
    ['envelope', identity, (bytes, log) => world.signStatement(bytes, { log, timestamp: true })],
  ])('is no entry of this %s, in either log', async (_, policy, sign) => {
    for (const log of ['v1', 'v2'] as const) {
      const bundle = { ...sign(artifact, log), tlogEntries: sign(other, log).tlogEntries };
      expect((await verify(bundle, { policy })).failure?.check).toBe('log-binding');
    }
  });

  test('is none of a managed key either', async () => {
    const managedKey = generateSigner();
    const bundle = world.signMessage(artifact, { managedKey });
    const policy: Policy = { kind: 'key', publicKey: managedKey.publicKey };
    expect((await verify(bundle, { policy })).ok).toBe(true);
    const { tlogEntries } = world.signMessage(other, { managedKey });
    expect((await verify({ ...bundle, tlogEntries }, { policy })).failure?.check).toBe('log-binding');
  });
});

test('CVE-2022-35929: the right signer of a statement of another type is refused', async () => {
  const bundle = world.signStatement(artifact, { predicateType: 'https://cosign.sigstore.dev/attestation/v1' });
  expect((await verify(bundle)).ok).toBe(true);
  expect((await verify(bundle, { predicateType: 'https://cosign.sigstore.dev/attestation/v1' })).ok).toBe(true);
  expect((await verify(bundle, { predicateType: 'https://slsa.dev/provenance/v1' })).failure?.check).toBe(
    'predicate-type',
  );
});

describe('CVE-2026-39395: a payload that cannot be read is a failure', () => {
  const valid = JSON.stringify({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ digest: { sha256: createHash('sha256').update(artifact).digest('hex') } }],
    predicateType: 'https://example.com/type',
  });
  test.each([
    ['text', 'hello'],
    ['cut', valid.slice(0, -1)],
    ['with something behind', `${valid}{}`],
    ['with a duplicate subject', valid.replace('{', '{"subject":[],')],
    ['without type', valid.replace('Statement/v1', 'Statement/v9')],
    ['with a subject that is a string', valid.replace(/"subject":\[.*\]/, '"subject":"hello"')],
    ['null', 'null'],
  ])('%s', async (_, payload) => {
    for (const log of ['v1', 'v2'] as const) {
      const bundle = world.signStatement(artifact, { payload: encodeUtf8(payload), log });
      expect((await verify(bundle)).failure?.check).toBe('statement');
    }
  });
});

describe('CVE-2026-24122: a path with one expired certificate', () => {
  const expired = { notBefore: at(-60), notAfter: at(-1) };
  const managedTime = { thresholds: { times: 1 } };
  const cases: [string, () => { bundle: Bundle; trustedRoot: VerifyInput['trustedRoot'] }][] = [
    [
      'leaf',
      () => ({
        bundle: world.signMessage(artifact, { holder: world.issue(expired) }),
        trustedRoot: world.trustedRoot(),
      }),
    ],
    [
      'intermediate',
      () => {
        const intermediate = world.issueAuthority(world.root, { name: 'old intermediate', ...expired });
        const trustedRoot = world.trustedRoot();
        trustedRoot.certificateAuthorities.forEach(
          (ca) => (ca.certChain = [intermediate.certificate, world.root.certificate]),
        );
        return { bundle: world.signMessage(artifact, { holder: world.issue({ by: intermediate }) }), trustedRoot };
      },
    ],
    [
      'root',
      () => {
        const root = world.issueAuthority(undefined, { name: 'old root', ...expired });
        const intermediate = world.issueAuthority(root, { name: 'its intermediate' });
        const trustedRoot = world.trustedRoot();
        trustedRoot.certificateAuthorities.forEach(
          (ca) => (ca.certChain = [intermediate.certificate, root.certificate]),
        );
        return { bundle: world.signMessage(artifact, { holder: world.issue({ by: intermediate }) }), trustedRoot };
      },
    ],
  ];
  test.each(cases)('is refused: the %s', async (_, make) => {
    const { bundle, trustedRoot } = make();
    for (const options of [{}, managedTime]) {
      expect((await verify(bundle, { trustedRoot, ...options })).failure?.check).toBe('certificate-chain');
    }
  });
});

test('CVE-2024-45395: 100,000 log entries or timestamps are refused at once', async () => {
  const json = JSON.parse(encodeBundle(world.signMessage(artifact)));
  const [entry] = json.verificationMaterial.tlogEntries;
  json.verificationMaterial.tlogEntries = Array(100_000).fill({ ...entry, canonicalizedBody: 'e30=' });
  const started = performance.now();
  expect((await verify(JSON.stringify(json))).failure?.check).toBe('bundle-format');
  expect(performance.now() - started).toBeLessThan(5000);
});

describe('CVE-2026-49834: the same log entry twice is one', () => {
  const bundle = world.signMessage(artifact);
  const twice = { ...bundle, tlogEntries: [...bundle.tlogEntries, ...bundle.tlogEntries] };

  test('and does not meet a threshold of two', async () => {
    expect((await verify(twice, { thresholds: { logs: 2 } })).failure?.check).toBe('log-threshold');
  });

  test('and makes the bundle malformed when it is read', async () => {
    expect((await verify(encodeBundle(twice))).failure?.check).toBe('bundle-format');
  });

  test('nor do two timestamps of one authority', async () => {
    const signature = bundle.content.kind === 'message' ? bundle.content.signature : artifact;
    const timestamps = [world.timestamp(signature), world.timestamp(signature, at(1))];
    expect((await verify({ ...bundle, timestamps })).ok).toBe(true);
    expect((await verify({ ...bundle, timestamps }, { thresholds: { times: 2 } })).failure?.check).toBe('trusted-time');
  });
});

describe('CVE-2026-54787: a managed key is good for its validity only, both ends included', () => {
  const managedKey = generateSigner();
  const policyFor = (start: Date, end?: Date): Policy => ({
    kind: 'key',
    publicKey: managedKey.publicKey,
    validFor: { start, ...(end ? { end } : {}) },
  });
  test.each<[string, Policy, boolean]>([
    ['signed before', policyFor(at(1)), false],
    ['signed at the start', policyFor(at(0)), true],
    ['signed within', policyFor(at(-1), at(1)), true],
    ['signed at the end', policyFor(at(-1), at(0)), true],
    ['signed after', policyFor(at(-2), at(-1)), false],
  ])('%s', async (_, policy, ok) => {
    for (const log of ['v1', 'v2'] as const) {
      const report = await verify(world.signMessage(artifact, { managedKey, log }), { policy });
      expect(report.failure?.check).toBe(ok ? undefined : 'key-validity');
    }
  });
});

test('sigstore-js#1659: the time of a log entry without a promise is no trusted time', async () => {
  const bundle = world.signMessage(artifact, { log: 'v1' });
  expect((await verify(bundle)).ok).toBe(true);
  const tlogEntries = bundle.tlogEntries.map(({ inclusionPromise: _, ...entry }) => entry);
  expect((await verify({ ...bundle, tlogEntries })).failure?.check).toBe('trusted-time');
});

test('sigstore-js#1657: a payload type beyond ASCII is signed by its bytes, not its characters', async () => {
  const bundle = world.signStatement(artifact, { payloadType: 'application/vnd.in-toto+json;é' });
  // Signature and log entry hold; it is only the type that is not accepted.
  expect((await verify(bundle)).failure?.check).toBe('statement');
});

test('CVE-2023-47122: a hostile log with a key of its own is not believed', async () => {
  const hostile = new SmallSigstore(); // the same names, other keys
  const { tlogEntries } = hostile.signMessage(artifact);
  const bundle = { ...world.signMessage(artifact), tlogEntries };
  expect((await verify(bundle)).failure?.check).toBe('log-key');
});

test('CVE-2026-44310: no certificates are a failure, not a crash', async () => {
  const bundle = world.signMessage(artifact);
  const report = await verify({ ...bundle, material: { kind: 'certificate', certificates: [] } });
  expect(report.ok).toBe(false);
});

describe('CVE-2025-25204: nothing to verify is a failure', () => {
  const empty: VerifyInput['trustedRoot'] = {
    tlogs: [],
    certificateAuthorities: [],
    ctlogs: [],
    timestampAuthorities: [],
  };
  test.each<[string, VerifyInput['bundle'], Partial<VerifyInput>]>([
    ['an empty file', '', {}],
    ['an empty list', '[]', {}],
    [
      'a bundle without entries and timestamps',
      { ...world.signMessage(artifact), tlogEntries: [], timestamps: [] },
      {},
    ],
    ['an empty trusted root', world.signMessage(artifact), { trustedRoot: empty }],
    [
      'an empty trusted root and a bundle without entries',
      { ...world.signMessage(artifact), tlogEntries: [] },
      { trustedRoot: empty },
    ],
    ['an artifact of which nothing is known', world.signMessage(artifact), { artifact: { digest: () => undefined } }],
  ])('%s', async (_, bundle, changes) => {
    expect((await verify(bundle, changes)).ok).toBe(false);
  });
});
