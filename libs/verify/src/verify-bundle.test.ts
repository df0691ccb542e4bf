import { describe, expect, test } from 'vitest';
import { encodeBundle, parseBundle, type Bundle } from '#libs/bundle';
import { encodeUtf8 } from '#libs/encoding';
import { generateSigner, loadSigner, opensslCrypto } from '#libs/openssl';
import { bodyIntoto2 } from '../../../test/world/entry-bodies.js';
import { ISSUER, SAN, SmallSigstore, type SignOptions } from '../../../test/world/small-sigstore.js';
import {
  artifactFromBytes,
  artifactFromDigest,
  checkIds,
  identityMatcher,
  verifyBundle,
  type Policy,
  type Report,
  type VerifyInput,
} from './index.js';

const world = new SmallSigstore();
const artifact = encodeUtf8('hello');
const me: Policy = { kind: 'identity', san: SAN, issuer: ISSUER };

function verify(bundle: Bundle, changes: Partial<VerifyInput> = {}): Promise<Report> {
  return verifyBundle({
    bundle,
    artifact: artifactFromBytes(artifact, opensslCrypto),
    trustedRoot: world.trustedRoot(),
    policy: me,
    crypto: opensslCrypto,
    ...changes,
  });
}

describe('verifyBundle() accepts', () => {
  test.each<[string, (options: SignOptions) => Bundle, SignOptions]>([
    ['a message in Rekor v2', (options) => world.signMessage(artifact, options), { log: 'v2' }],
    ['a message in Rekor v1', (options) => world.signMessage(artifact, options), { log: 'v1' }],
    [
      'a message in Rekor v1 with a timestamp too',
      (options) => world.signMessage(artifact, options),
      { log: 'v1', timestamp: true },
    ],
    ['a statement in Rekor v2', (options) => world.signStatement(artifact, options), { log: 'v2' }],
    ['a statement in Rekor v1', (options) => world.signStatement(artifact, options), { log: 'v1' }],
  ])('%s', async (_, sign, options) => {
    const bundle = sign(options);
    const report = await verify(bundle);
    expect(report.failure).toBeUndefined();
    expect(report.ok).toBe(true);
    expect(report.signer).toMatchObject({ kind: 'certificate', san: SAN, issuer: ISSUER });
    expect(report.checks.map(({ id }) => id)).toEqual(checkIds);
    expect(report.checks.filter(({ state }) => state === 'failed')).toEqual([]);
  });

  test('a bundle as text and as bytes', async () => {
    const text = encodeBundle(world.signMessage(artifact));
    for (const bundle of [text, encodeUtf8(text)]) expect((await verify(parseBundle(text), { bundle })).ok).toBe(true);
  });

  test('an intoto entry, whose signature is base64 twice', async () => {
    const holder = world.issue();
    const bundle = world.signStatement(artifact, { holder, log: 'v1' });
    if (bundle.content.kind !== 'dsse') throw new Error('not an envelope');
    const { payload, signatures } = bundle.content.envelope;
    const signature = signatures[0]?.sig ?? new Uint8Array();
    const body = bodyIntoto2({ digest: new Uint8Array(), algorithm: 'sha256', signature, payload }, holder);
    const entry = world.entry1(body, { kind: 'intoto', version: '0.0.2' });
    expect((await verify({ ...bundle, tlogEntries: [entry] })).failure).toBeUndefined();
  });

  test('version 0.1 with a promise and no proof', async () => {
    const bundle = world.signMessage(artifact, { log: 'v1' });
    const tlogEntries = bundle.tlogEntries.map(({ inclusionProof: _, ...entry }) => entry);
    expect((await verify({ ...bundle, version: '0.1', tlogEntries })).failure).toBeUndefined();
  });

  test('an artifact by its digest', async () => {
    const digest = opensslCrypto.hash('sha256', artifact);
    for (const bundle of [world.signMessage(artifact), world.signStatement(artifact)]) {
      expect((await verify(bundle, { artifact: artifactFromDigest('sha256', digest) })).ok).toBe(true);
    }
  });

  test.each([
    ['P-256', generateSigner()],
    ['P-384', generateSigner('P-384')],
    [
      'P-384 with SHA-256, as old clients signed',
      loadSigner(generateSigner('P-384').exportPkcs8Pem(), { scheme: { kind: 'ecdsa', hash: 'sha256' } }),
    ],
    [
      'Ed25519 with a pre-hash',
      loadSigner(generateSigner('ed25519').exportPkcs8Pem(), { scheme: { kind: 'ed25519ph' } }),
    ],
  ])('a managed key: %s', async (_, managedKey) => {
    const hash = 'hash' in managedKey.scheme ? managedKey.scheme.hash : 'sha512';
    const policy: Policy = { kind: 'key', publicKey: managedKey.publicKey };
    // A v2 log takes its hash from the registry, so what old clients made is in a v1 log.
    const options = { managedKey, hash, log: 'v1', timestamp: false } as const;
    const report = await verify(world.signMessage(artifact, options), { policy });
    expect(report.failure).toBeUndefined();
    expect(report.signer).toEqual({ kind: 'key' });
    expect(report.times).toHaveLength(1);
  });

  test('a managed key of unknown validity without any time', async () => {
    const managedKey = generateSigner();
    const policy: Policy = { kind: 'key', publicKey: managedKey.publicKey };
    const report = await verify(world.signMessage(artifact, { managedKey, timestamp: false }), { policy });
    expect(report).toMatchObject({ ok: true, times: [] });
  });

  test('a statement by a managed Ed25519 key, in the pure form', async () => {
    const managedKey = generateSigner('ed25519');
    const policy: Policy = { kind: 'key', publicKey: managedKey.publicKey };
    expect((await verify(world.signStatement(artifact, { managedKey }), { policy })).failure).toBeUndefined();
    expect(
      (await verify(world.signStatement(artifact, { managedKey, log: 'v1' }), { policy })).failure,
    ).toBeUndefined();
  });

  test('a message by a managed Ed25519 key in the pure form, which needs the artifact itself', async () => {
    const managedKey = generateSigner('ed25519');
    const policy: Policy = { kind: 'key', publicKey: managedKey.publicKey };
    const bundle = world.signMessage(artifact, { managedKey, log: 'v1' });
    expect((await verify(bundle, { policy })).failure).toBeUndefined();
    const byDigest = artifactFromDigest('sha512', opensslCrypto.hash('sha512', artifact));
    expect((await verify(bundle, { policy, artifact: byDigest })).failure).toMatchObject({
      check: 'signature',
      cure: expect.stringContaining('give the artifact itself'),
    });
  });

  test('a user name of Fulcio, and a URI', async () => {
    const san = 'https://github.com/example/repo/.github/workflows/w.yml@refs/heads/main';
    const uri = world.issue({ san: [{ kind: 'uri', value: san }] });
    expect((await verify(world.signMessage(artifact, { holder: uri }), { policy: { ...me, san } })).ok).toBe(true);
    const user = world.issue({ san: [{ kind: 'other-name', oid: '1.3.6.1.4.1.57264.1.7', value: 'root!example' }] });
    const report = await verify(world.signMessage(artifact, { holder: user }), {
      policy: { ...me, san: 'root!example' },
    });
    expect(report.ok).toBe(true);
  });

  test('an identity by expression', async () => {
    const policy: Policy = {
      ...me,
      san: await identityMatcher('.*@example\\.com'),
      issuer: await identityMatcher('https://.*'),
    };
    expect((await verify(world.signMessage(artifact), { policy })).ok).toBe(true);
  });

  test('an SCT of a log we do not know beside one that we know', async () => {
    const holder = world.issue({ ctLogs: [generateSigner(), world.ctLog] });
    expect((await verify(world.signMessage(artifact, { holder }))).ok).toBe(true);
  });

  test('a certificate that has expired since, and one authority that has retired since', async () => {
    const trustedRoot = world.trustedRoot();
    // Both ends of a range are included: everything happened in its last moment.
    for (const list of [
      trustedRoot.tlogs,
      trustedRoot.ctlogs,
      trustedRoot.certificateAuthorities,
      trustedRoot.timestampAuthorities,
    ]) {
      for (const item of list) item.validFor = { start: world.now, end: world.now };
    }
    const holder = world.issue({ notBefore: world.now, notAfter: world.now });
    for (const log of ['v1', 'v2'] as const) {
      expect((await verify(world.signMessage(artifact, { holder, log }), { trustedRoot })).failure).toBeUndefined();
    }
  });

  test('a base URL with a port or without a scheme, when the checkpoint names the host', async () => {
    const trustedRoot = world.trustedRoot();
    for (const log of trustedRoot.tlogs) log.baseUrl = `${log.baseUrl}:8700/`;
    expect((await verify(world.signMessage(artifact), { trustedRoot })).ok).toBe(true);
    for (const log of trustedRoot.tlogs) log.baseUrl = log.baseUrl.replace('https://', '');
    expect((await verify(world.signMessage(artifact), { trustedRoot })).ok).toBe(true);
  });
});

describe('the report', () => {
  test('says what is proven', async () => {
    const report = await verify(world.signStatement(artifact));
    expect(report.times).toEqual([{ time: world.now, source: 'timestamp-authority', operator: 'tsa.example' }]);
    expect(report.logEntries).toEqual([{ index: 3n, origin: 'log.example.test', operator: 'log.example' }]);
    expect(report.statement).toMatchObject({ predicateType: 'https://slsa.dev/provenance/v1' });
  });

  test('lists after a failure what was not reached, and believes nothing', async () => {
    const report = await verify(world.signMessage(artifact), { policy: { ...me, san: 'you@example.com' } });
    expect(report).toMatchObject({
      ok: false,
      failure: { code: 'VERIFY_CERTIFICATE_IDENTITY', check: 'certificate-identity' },
    });
    const at = checkIds.indexOf('certificate-identity');
    expect(report.checks.slice(at).map(({ state }) => state)).toEqual([
      'failed',
      ...checkIds.slice(at + 1).map(() => 'skipped'),
    ]);
    expect(report.checks.at(-1)?.detail).toBe('not reached: certificate-identity failed');
    expect(report.checks[at]).toMatchObject({
      detail: "the certificate's identity is me@example.com, expected you@example.com",
      cure: expect.stringContaining('expected identity'),
    });
    for (const proven of ['signer', 'times', 'logEntries', 'statement']) expect(report).not.toHaveProperty(proven);
  });

  test('does not depend on the run', async () => {
    const bundle = world.signStatement(artifact);
    const first = JSON.stringify(await verify(bundle), (_, value) => (typeof value === 'bigint' ? `${value}` : value));
    for (let i = 0; i < 50; i++) {
      const again = JSON.stringify(await verify(bundle), (_, value) =>
        typeof value === 'bigint' ? `${value}` : value,
      );
      expect(again).toBe(first);
    }
  });

  test('a failure can be printed as JSON', async () => {
    const report = await verify(world.signMessage(artifact), { policy: { ...me, issuer: 'https://evil.example' } });
    expect(JSON.parse(JSON.stringify(report.failure))).toEqual({
      code: 'VERIFY_CERTIFICATE_ISSUER',
      check: 'certificate-issuer',
      message: expect.stringContaining('expected https://evil.example'),
      cure: expect.any(String),
    });
  });
});

describe('verifyBundle() throws for a policy that makes no sense', () => {
  test.each<[string, Partial<VerifyInput>]>([
    ['an empty identity', { policy: { ...me, san: '' } }],
    ['an empty issuer', { policy: { ...me, issuer: '' } }],
    ['a threshold of 0', { thresholds: { logs: 0 } }],
    ['a threshold of 1.5', { thresholds: { times: 1.5 } }],
  ])('%s', async (_, changes) => {
    await expect(verify(world.signMessage(artifact), changes)).rejects.toMatchObject({ code: 'VERIFY_POLICY' });
  });

  test('a bug rises, and is not taken for a bad bundle', async () => {
    const bug = new TypeError('bug');
    const broken = { digest: () => Promise.reject(bug) };
    await expect(verify(world.signMessage(artifact), { artifact: broken })).rejects.toBe(bug);
  });
});
