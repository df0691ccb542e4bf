import { describe, expect, test } from 'vitest';
import type { Bundle, TlogEntry } from '#libs/bundle';
import { encodeBase64, encodeUtf8 } from '#libs/encoding';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import type { TrustedRoot } from '#libs/trust';
import { extension } from '../../../test/world/certificate-writer.js';
import { body2, bodyDsse1, bodyHashedRekord1, type Logged } from '../../../test/world/entry-bodies.js';
import { ISSUER, SAN, SmallSigstore, type Holder, type IssueOptions } from '../../../test/world/small-sigstore.js';
import {
  artifactFromBytes,
  artifactFromDigest,
  checkIds,
  verifyBundle,
  type CheckId,
  type VerifyInput,
} from './index.js';

// One wrong answer after the other, everything else in it true, so that no other check can object in its place.
const world = new SmallSigstore();
const other = new SmallSigstore('other');
const artifact = encodeUtf8('hello');
const otherArtifact = encodeUtf8('other');
const minute = 60_000;
const at = (minutes: number) => new Date(world.now.getTime() + minutes * minute);

type Wrong = Partial<VerifyInput> & { bundle: VerifyInput['bundle'] };

async function failedCheck(wrong: Wrong): Promise<CheckId | undefined> {
  const report = await verifyBundle({
    artifact: artifactFromBytes(artifact, opensslCrypto),
    trustedRoot: world.trustedRoot(),
    policy: { kind: 'identity', san: SAN, issuer: ISSUER },
    crypto: opensslCrypto,
    ...wrong,
  });
  expect(report.ok).toBe(report.failure === undefined);
  if (report.failure) {
    expect(report.failure.message).not.toBe('');
    expect(report.failure.cure).not.toBe('');
    expect(report.checks.find(({ state }) => state === 'failed')?.id).toBe(report.failure.check);
  }
  return report.failure?.check;
}

/** A true bundle with its first log entry changed. */
function withEntry(bundle: Bundle, change: (entry: TlogEntry) => TlogEntry): Bundle {
  return { ...bundle, tlogEntries: bundle.tlogEntries.map(change) };
}

function root(change: (root: TrustedRoot) => void): TrustedRoot {
  const trustedRoot = world.trustedRoot();
  change(trustedRoot);
  return trustedRoot;
}

/** A message whose log entry has this body, properly logged. */
function messageWithBody(makeBody: (logged: Logged, holder: Holder) => TlogEntry): Bundle {
  const holder = world.issue();
  const bundle = world.signMessage(artifact, { holder });
  if (bundle.content.kind !== 'message' || !bundle.content.digest) throw new Error('not a message with a digest');
  const {
    signature,
    digest: { digest },
  } = bundle.content;
  return { ...bundle, tlogEntries: [makeBody({ digest, algorithm: 'sha256', signature }, holder)] };
}

/** The same for an envelope. */
function statementWithBody(makeBody: (logged: Logged & { payload: Uint8Array }, holder: Holder) => TlogEntry): Bundle {
  const holder = world.issue();
  const bundle = world.signStatement(artifact, { holder });
  if (bundle.content.kind !== 'dsse') throw new Error('not an envelope');
  const {
    payload,
    signatures: [item],
  } = bundle.content.envelope;
  const logged = {
    payload,
    signature: item?.sig ?? new Uint8Array(),
    digest: new Uint8Array(32),
    algorithm: 'sha256' as const,
  };
  return { ...bundle, tlogEntries: [makeBody(logged, holder)] };
}

const issued = (options: IssueOptions): Bundle => world.signMessage(artifact, { holder: world.issue(options) });
const flipped = (bytes: Uint8Array) => bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte));
const managedKey = generateSigner();
const keyPolicy = { kind: 'key', publicKey: managedKey.publicKey } as const;

const wrongAnswers: Record<CheckId, Record<string, () => Wrong>> = {
  'bundle-format': {
    'no JSON': () => ({ bundle: '{' }),
    'no bytes': () => ({ bundle: new Uint8Array() }),
  },
  'signer-kind': {
    'a certificate, where a key is expected': () => ({ bundle: world.signMessage(artifact), policy: keyPolicy }),
    'a key, where an identity is expected': () => ({ bundle: world.signMessage(artifact, { managedKey }) }),
    'no certificate': () => ({
      bundle: { ...world.signMessage(artifact), material: { kind: 'certificate', certificates: [] } },
    }),
    'bytes that are no certificate': () => ({
      bundle: {
        ...world.signMessage(artifact),
        material: { kind: 'certificate', certificates: [Uint8Array.of(0x30, 0)] },
      },
    }),
  },
  'log-key': {
    'a log that the root does not have': () => ({
      bundle: world.signMessage(artifact),
      trustedRoot: root((r) => r.tlogs.pop()),
    }),
    'one of two logs that the root does not have': () => {
      const bundle = world.signMessage(artifact);
      return {
        bundle: { ...bundle, tlogEntries: [...bundle.tlogEntries, ...other.signMessage(artifact).tlogEntries] },
      };
    },
  },
  timestamp: {
    'a timestamp over other bytes': () => ({
      bundle: { ...world.signMessage(artifact), timestamps: [world.timestamp(artifact)] },
    }),
    'an authority that the root does not have': () => ({
      bundle: world.signMessage(artifact),
      trustedRoot: root((r) => (r.timestampAuthorities = other.trustedRoot().timestampAuthorities)),
    }),
    'an authority that was not trusted any more': () => ({
      bundle: world.signMessage(artifact),
      trustedRoot: root((r) => r.timestampAuthorities.forEach((a) => (a.validFor.end = at(-1)))),
    }),
    'an authority that was not trusted yet': () => ({
      bundle: world.signMessage(artifact),
      trustedRoot: root((r) => r.timestampAuthorities.forEach((a) => (a.validFor.start = at(1)))),
    }),
    'bytes that are no timestamp': () => ({
      bundle: { ...world.signMessage(artifact), timestamps: [Uint8Array.of(0x30, 0)] },
    }),
    'a good one and a bad one': () => {
      const bundle = world.signMessage(artifact);
      return { bundle: { ...bundle, timestamps: [...bundle.timestamps, world.timestamp(artifact)] } };
    },
  },
  'log-promise': {
    'another time': () => ({
      bundle: withEntry(world.signMessage(artifact, { log: 'v1' }), (e) => ({
        ...e,
        integratedTime: (e.integratedTime ?? 0n) + 1n,
      })),
    }),
    'another index': () => ({
      bundle: withEntry(world.signMessage(artifact, { log: 'v1' }), (e) => ({ ...e, logIndex: e.logIndex + 1n })),
    }),
    'no time': () => ({
      bundle: withEntry(world.signMessage(artifact, { log: 'v1' }), ({ integratedTime: _, ...e }) => e),
    }),
    'a number that is no time': () => ({
      bundle: withEntry(world.signMessage(artifact, { log: 'v1' }), (e) => ({ ...e, integratedTime: 2n ** 62n })),
    }),
    'another signature': () => ({
      bundle: withEntry(world.signMessage(artifact, { log: 'v1' }), (e) => ({
        ...e,
        inclusionPromise: flipped(e.inclusionPromise ?? artifact),
      })),
    }),
    'a key that was not valid any more': () => ({
      bundle: world.signMessage(artifact, { log: 'v1' }),
      trustedRoot: root((r) => r.tlogs.forEach((log) => (log.validFor.end = at(-1)))),
    }),
  },
  'trusted-time': {
    'no time': () => ({ bundle: world.signMessage(artifact, { timestamp: false }) }),
    'two times of one operator, where two operators are needed': () => {
      const holder = world.issue();
      const bundle = world.signMessage(artifact, { holder });
      const signature = bundle.content.kind === 'message' ? bundle.content.signature : artifact;
      return {
        bundle: { ...bundle, timestamps: [world.timestamp(signature), world.timestamp(signature, at(1))] },
        thresholds: { times: 2 },
      };
    },
    'a managed key without time, where one is asked for': () => ({
      bundle: world.signMessage(artifact, { managedKey, timestamp: false }),
      policy: keyPolicy,
      thresholds: { times: 1 },
    }),
    'a managed key of known validity without time': () => ({
      bundle: world.signMessage(artifact, { managedKey, timestamp: false }),
      policy: { ...keyPolicy, validFor: { start: at(-1), end: at(1) } },
    }),
  },
  'key-validity': {
    'a key that was not valid any more': () => ({
      bundle: world.signMessage(artifact, { managedKey }),
      policy: { ...keyPolicy, validFor: { start: at(-9), end: at(-1) } },
    }),
    'a key that was not valid yet': () => ({
      bundle: world.signMessage(artifact, { managedKey }),
      policy: { ...keyPolicy, validFor: { start: at(1) } },
    }),
  },
  'certificate-profile': {
    'a CA': () => ({ bundle: issued({ ca: true }) }),
    'a key that may not sign': () => ({ bundle: issued({ keyUsage: Uint8Array.of(0x03, 0x02, 0x05, 0x20) }) }),
    'a certificate for another purpose': () => ({ bundle: issued({ extendedKeyUsage: '1.3.6.1.5.5.7.3.2' }) }),
    'a certificate for any purpose': () => ({ bundle: issued({ extendedKeyUsage: '2.5.29.37.0' }) }),
    'no name': () => ({ bundle: issued({ san: [] }) }),
    'two names, one of them the expected one': () => ({
      bundle: issued({
        san: [
          { kind: 'email', value: SAN },
          { kind: 'email', value: 'you@example.com' },
        ],
      }),
    }),
    'a host name': () => ({ bundle: issued({ san: [{ kind: 'dns', value: 'example.com' }] }) }),
    'a root beside the certificate': () => {
      const bundle = world.signMessage(artifact);
      const certificates = bundle.material.kind === 'certificate' ? bundle.material.certificates : [];
      return {
        bundle: {
          ...bundle,
          material: { kind: 'certificate', certificates: [...certificates, world.root.certificate.der] },
        },
      };
    },
  },
  'certificate-chain': {
    'a certificate that had expired': () => ({ bundle: issued({ notAfter: at(-1) }) }),
    'a certificate that was not valid yet': () => ({ bundle: issued({ notBefore: at(1) }) }),
    'an authority that the root does not have': () => ({ bundle: issued({ by: other.intermediate }) }),
    'an authority of the same name with another key': () => {
      const namesake = new SmallSigstore();
      return { bundle: issued({ by: namesake.intermediate }) };
    },
    'an authority that was not trusted any more': () => ({
      bundle: world.signMessage(artifact),
      trustedRoot: root((r) => r.certificateAuthorities.forEach((ca) => (ca.validFor.end = at(-1)))),
    }),
    'a critical extension that nobody knows': () => ({
      bundle: issued({ extra: [extension('1.2.3.4', true, Uint8Array.of(5, 0))] }),
    }),
    'a precertificate': () => ({
      bundle: issued({ extra: [extension('1.3.6.1.4.1.11129.2.4.3', true, Uint8Array.of(5, 0))] }),
    }),
    'valid at one of two times only': () => {
      const holder = world.issue();
      const bundle = world.signMessage(artifact, { holder });
      const signature = bundle.content.kind === 'message' ? bundle.content.signature : artifact;
      return { bundle: { ...bundle, timestamps: [world.timestamp(signature), world.timestamp(signature, at(6))] } };
    },
    'a leaf that issued the leaf': () => ({ bundle: issued({ by: world.issue() }) }),
    'a foreign authority that the bundle brings along': () => {
      const bundle = issued({ by: other.intermediate });
      const certificates = bundle.material.kind === 'certificate' ? bundle.material.certificates : [];
      return {
        bundle: {
          ...bundle,
          material: { kind: 'certificate', certificates: [...certificates, other.intermediate.certificate.der] },
        },
      };
    },
  },
  'certificate-transparency': {
    'no SCT': () => ({ bundle: issued({ ctLogs: [] }) }),
    'an SCT of a log that the root does not have': () => ({ bundle: issued({ ctLogs: [generateSigner()] }) }),
    'an SCT for another certificate': () => ({ bundle: issued({ foreignScts: true }) }),
    'an SCT of a key that was not valid any more': () => ({
      bundle: world.signMessage(artifact),
      trustedRoot: root((r) => r.ctlogs.forEach((log) => (log.validFor.end = at(-1)))),
    }),
    'an SCT from before the key was valid': () => ({ bundle: issued({ sctTime: new Date('2025-12-31T23:59:59Z') }) }),
    'two SCTs of one log, where two are needed': () => ({
      bundle: issued({ ctLogs: [world.ctLog, world.ctLog] }),
      thresholds: { ctLogs: 2 },
    }),
  },
  'certificate-identity': {
    'somebody else': () => ({ bundle: issued({ san: 'you@example.com' }) }),
    'the same in capitals': () => ({ bundle: issued({ san: 'ME@example.com' }) }),
    'a longer name': () => ({ bundle: issued({ san: 'me@example.com.evil' }) }),
    'a name that no matcher takes': () => ({
      bundle: world.signMessage(artifact),
      policy: { kind: 'identity', san: () => false, issuer: ISSUER },
    }),
  },
  'certificate-issuer': {
    'another issuer': () => ({ bundle: issued({ issuer: 'https://evil.example' }) }),
    'a longer issuer': () => ({ bundle: issued({ issuer: `${ISSUER}/` }) }),
    'no issuer': () => ({ bundle: issued({ issuer: null }) }),
  },
  'log-entry': {
    'a kind that nobody knows': () => ({
      bundle: withEntry(world.signMessage(artifact), (e) => ({ ...e, version: '0.0.9' })),
    }),
    'a kind that is not that of the body': () => ({
      bundle: withEntry(world.signMessage(artifact), (e) => ({ ...e, version: '0.0.1' })),
    }),
    'a body that is not JSON': () => ({
      bundle: { ...world.signMessage(artifact), tlogEntries: [world.entry2(encodeUtf8('body'))] },
    }),
  },
  'log-inclusion': {
    'another body': () => ({
      bundle: withEntry(world.signMessage(artifact), (e) => ({
        ...e,
        canonicalizedBody: world.signMessage(otherArtifact).tlogEntries[0]?.canonicalizedBody ?? artifact,
      })),
    }),
    'another hash in the path': () => ({
      bundle: withEntry(world.signMessage(artifact), (e) =>
        changedProof(e, (p) => ({ ...p, hashes: p.hashes.map((h, i) => (i === 0 ? flipped(h) : h)) })),
      ),
    }),
    'a path without its last hash': () => ({
      bundle: withEntry(world.signMessage(artifact), (e) =>
        changedProof(e, (p) => ({ ...p, hashes: p.hashes.slice(0, -1) })),
      ),
    }),
    'a path with a hash too many': () => ({
      bundle: withEntry(world.signMessage(artifact), (e) =>
        changedProof(e, (p) => ({ ...p, hashes: [...p.hashes, p.rootHash] })),
      ),
    }),
    'another place': () => ({
      bundle: withEntry(world.signMessage(artifact), (e) => ({
        ...changedProof(e, (p) => ({ ...p, logIndex: 2n })),
        logIndex: 2n,
      })),
    }),
    'one index outside and another inside, in Rekor v2': () => ({
      bundle: withEntry(world.signMessage(artifact), (e) => ({ ...e, logIndex: 4n })),
    }),
    'no proof': () => ({ bundle: withEntry(world.signMessage(artifact), ({ inclusionProof: _, ...e }) => e) }),
    'no proof but a promise, after version 0.1': () => ({
      bundle: withEntry(world.signMessage(artifact, { log: 'v1' }), ({ inclusionProof: _, ...e }) => e),
    }),
  },
  'log-checkpoint': {
    'a checkpoint of another root': () => ({
      bundle: withCheckpoint((p) => world.checkpoint2({ size: p.treeSize, rootHash: flipped(p.rootHash) })),
    }),
    'a checkpoint of another size': () => ({
      bundle: withCheckpoint((p) => world.checkpoint2({ size: p.treeSize + 1n, rootHash: p.rootHash })),
    }),
    'a checkpoint of another origin': () => ({
      bundle: withCheckpoint((p) =>
        world.checkpoint2({ size: p.treeSize, rootHash: p.rootHash, origin: 'log.evil.test' }),
      ),
    }),
    'a checkpoint that another log signed': () => ({
      bundle: withCheckpoint((p) =>
        other.checkpoint2({ size: p.treeSize, rootHash: p.rootHash, origin: world.origin2 }),
      ),
    }),
    'a checkpoint that another log signed in the name of this one': () => ({
      bundle: withCheckpoint((p) => new SmallSigstore().checkpoint2({ size: p.treeSize, rootHash: p.rootHash })),
    }),
    'a checkpoint that was changed after it was signed': () => ({
      bundle: withCheckpoint((p) => {
        const text = world.checkpoint2({ size: p.treeSize, rootHash: flipped(p.rootHash) });
        return text.replace(encodeBase64(flipped(p.rootHash)), encodeBase64(p.rootHash));
      }),
    }),
    'no checkpoint': () => ({
      bundle: withEntry(world.signMessage(artifact), (e) => changedProof(e, ({ checkpoint: _, ...p }) => p)),
    }),
    'text that is no note': () => ({ bundle: withCheckpoint(() => 'note') }),
    'a key that was not valid at the time of the timestamp': () => ({
      bundle: world.signMessage(artifact),
      trustedRoot: root((r) => r.tlogs.forEach((log) => (log.validFor.end = at(-1)))),
    }),
  },
  'log-binding': {
    'an entry about another artifact': () => ({
      bundle: messageWithBody((logged, holder) =>
        world.entry2(body2({ ...logged, digest: opensslCrypto.hash('sha256', otherArtifact) }, holder)),
      ),
    }),
    'an entry with another signature': () => ({
      bundle: messageWithBody((logged, holder) =>
        world.entry2(body2({ ...logged, signature: holder.signer.sign(artifact) }, holder)),
      ),
    }),
    'an entry with another certificate': () => ({
      bundle: messageWithBody((logged) => world.entry2(body2(logged, world.issue()))),
    }),
    'an entry with the key alone, without the certificate': () => ({
      bundle: messageWithBody((logged, { signer }) => world.entry2(body2(logged, { signer }))),
    }),
    'an entry with another managed key': () => {
      const bundle = world.signMessage(artifact, { managedKey });
      return { bundle, policy: { kind: 'key', publicKey: generateSigner().publicKey } };
    },
    'an entry of Rekor v1 about another artifact': () => ({
      bundle: messageWithBody((logged, holder) =>
        world.entry1(bodyHashedRekord1({ ...logged, digest: opensslCrypto.hash('sha256', otherArtifact) }, holder)),
      ),
    }),
    'an entry for an envelope, in the bundle of a message': () => ({
      bundle: messageWithBody((logged, holder) =>
        world.entry1(bodyDsse1({ ...logged, payload: artifact }, holder), { kind: 'dsse' }),
      ),
    }),
    'an entry about another payload': () => ({
      bundle: statementWithBody((logged, holder) =>
        world.entry1(bodyDsse1({ ...logged, payload: otherArtifact }, holder), { kind: 'dsse' }),
      ),
    }),
    'an entry about the payload without its type': () => ({
      bundle: statementWithBody((logged, holder) =>
        world.entry2(body2({ ...logged, digest: opensslCrypto.hash('sha256', logged.payload) }, holder)),
      ),
    }),
    'a hashedrekord 0.0.1 for an envelope': () => ({
      bundle: statementWithBody((logged, holder) => world.entry1(bodyHashedRekord1(logged, holder))),
    }),
    'a good entry and one about something else': () => {
      const bundle = world.signMessage(artifact);
      return {
        bundle: {
          ...bundle,
          tlogEntries: [...bundle.tlogEntries, ...world.signMessage(artifact, { log: 'v1' }).tlogEntries],
        },
      };
    },
    'a digest by another hash than that of the entry': () => ({
      bundle: world.signMessage(artifact),
      artifact: artifactFromDigest('sha512', opensslCrypto.hash('sha512', artifact)),
    }),
  },
  'log-time': {
    'a time after the certificate, without a promise': () => ({
      bundle: messageWithBody((logged, holder) =>
        world.entry1(bodyHashedRekord1(logged, holder), { at: at(6), promise: false }),
      ),
    }),
    'a number that is no time': () => ({
      bundle: withEntry(
        messageWithBody((logged, holder) => world.entry1(bodyHashedRekord1(logged, holder), { promise: false })),
        (e) => ({ ...e, integratedTime: 2n ** 62n }),
      ),
    }),
    'a time before the certificate, without a promise': () => ({
      bundle: messageWithBody((logged, holder) =>
        world.entry1(bodyHashedRekord1(logged, holder), { at: at(-6), promise: false }),
      ),
    }),
  },
  'log-threshold': {
    'no entry': () => ({ bundle: { ...world.signMessage(artifact), tlogEntries: [] } }),
    'one log, where two are needed': () => ({ bundle: world.signMessage(artifact), thresholds: { logs: 2 } }),
    'two logs of one operator, where two are needed': () => ({
      bundle: messageWithBothLogs(),
      trustedRoot: root((r) => r.tlogs.forEach((log) => (log.operator = 'one'))),
      thresholds: { logs: 2 },
    }),
  },
  signature: {
    'a signature by another key, logged and stamped': () => {
      const holder = world.issue();
      const signature = generateSigner().sign(artifact);
      const digest = opensslCrypto.hash('sha256', artifact);
      const content = { kind: 'message', digest: { algorithm: 'sha256', digest }, signature } as const;
      return { bundle: world.bundle(content, { digest, algorithm: 'sha256', signature }, { holder }) };
    },
    'bytes that are no signature, logged and stamped': () => {
      const digest = opensslCrypto.hash('sha256', artifact);
      const content = { kind: 'message', signature: artifact } as const;
      return { bundle: world.bundle(content, { digest, algorithm: 'sha256', signature: artifact }) };
    },
    'a signature over the payload without its type': () => {
      const holder = world.issue();
      const bundle = world.signStatement(artifact, { holder, log: 'v1' });
      if (bundle.content.kind !== 'dsse') throw new Error('not an envelope');
      const { envelope } = bundle.content;
      const signature = holder.signer.sign(envelope.payload);
      const content = { kind: 'dsse', envelope: { ...envelope, signatures: [{ sig: signature, keyid: '' }] } } as const;
      const logged = { digest: artifact, algorithm: 'sha256', signature, payload: envelope.payload } as const;
      return { bundle: world.bundle(content as unknown as Bundle['content'], logged, { holder, log: 'v1' }) };
    },
    'a payload type that was changed, with an entry that only knows the payload': () => {
      const bundle = world.signStatement(artifact, { log: 'v1' });
      if (bundle.content.kind !== 'dsse') throw new Error('not an envelope');
      return {
        bundle: {
          ...bundle,
          content: { kind: 'dsse', envelope: { ...bundle.content.envelope, payloadType: 'text/plain' } },
        },
      };
    },
  },
  statement: {
    'another payload type, signed as such': () => ({
      bundle: world.signStatement(artifact, { payloadType: 'application/json' }),
    }),
    'a payload that is not JSON': () => ({
      bundle: world.signStatement(artifact, { payload: encodeUtf8('statement') }),
    }),
    'a payload that is no statement': () => ({ bundle: world.signStatement(artifact, { payload: encodeUtf8('{}') }) }),
  },
  'artifact-digest': {
    'a digest in the bundle that is another': () => {
      const bundle = world.signMessage(artifact);
      if (bundle.content.kind !== 'message') throw new Error('not a message');
      const digest = opensslCrypto.hash('sha256', otherArtifact);
      return { bundle: { ...bundle, content: { ...bundle.content, digest: { algorithm: 'sha256', digest } } } };
    },
    'a statement about another artifact': () => ({ bundle: world.signStatement(otherArtifact) }),
    'a statement whose digests are all weak': () => ({
      bundle: world.signStatement(artifact, {
        payload: statementWith({ sha1: 'f572d396fae9206628714fb2ce00f72e94f2258f' }),
      }),
    }),
    'a statement whose stronger digest is another': () => ({
      bundle: world.signStatement(artifact, {
        payload: statementWith({ sha256: hex('sha256', artifact), sha512: hex('sha512', otherArtifact) }),
      }),
    }),
    'a statement with the digest in capitals': () => ({
      bundle: world.signStatement(artifact, {
        payload: statementWith({ sha256: hex('sha256', artifact).toUpperCase() }),
      }),
    }),
    'a digest by a hash that the statement does not have': () => ({
      bundle: world.signStatement(artifact),
      artifact: artifactFromDigest('sha512', opensslCrypto.hash('sha512', artifact)),
    }),
  },
  'predicate-type': {
    'another type': () => ({
      bundle: world.signStatement(artifact),
      predicateType: 'https://slsa.dev/provenance/v0.2',
    }),
    'a message, which has none': () => ({
      bundle: world.signMessage(artifact),
      predicateType: 'https://slsa.dev/provenance/v1',
    }),
  },
};

function changedProof(
  entry: TlogEntry,
  change: (proof: NonNullable<TlogEntry['inclusionProof']>) => TlogEntry['inclusionProof'] & {},
): TlogEntry {
  return entry.inclusionProof ? { ...entry, inclusionProof: change(entry.inclusionProof) } : entry;
}

function withCheckpoint(make: (proof: NonNullable<TlogEntry['inclusionProof']>) => string): Bundle {
  return withEntry(world.signMessage(artifact), (e) => changedProof(e, (p) => ({ ...p, checkpoint: make(p) })));
}

function messageWithBothLogs(): Bundle {
  let second: TlogEntry | undefined;
  const bundle = messageWithBody((logged, holder) => {
    second = world.entry1(bodyHashedRekord1(logged, holder));
    return world.entry2(body2(logged, holder));
  });
  return { ...bundle, tlogEntries: [...bundle.tlogEntries, ...(second ? [second] : [])] };
}

function statementWith(digest: Record<string, string>): Uint8Array {
  return encodeUtf8(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ digest }],
      predicateType: 'https://example.com/type',
    }),
  );
}

function hex(algorithm: 'sha256' | 'sha512', bytes: Uint8Array): string {
  return Buffer.from(opensslCrypto.hash(algorithm, bytes)).toString('hex');
}

describe.each(checkIds)('%s objects to', (id) => {
  test.each(Object.entries(wrongAnswers[id]))('%s', async (_, wrong) => {
    expect(await failedCheck(wrong())).toBe(id);
  });
});

test('two logs of two operators meet a threshold of two', async () => {
  expect(await failedCheck({ bundle: messageWithBothLogs(), thresholds: { logs: 2, times: 2 } })).toBeUndefined();
});

test('any one-bit change of what was signed, logged or stamped is noticed', async () => {
  const bundle = world.signMessage(artifact);
  if (bundle.content.kind !== 'message' || bundle.material.kind !== 'certificate') throw new Error('unexpected kind');
  const { signature } = bundle.content;
  const [certificate = artifact] = bundle.material.certificates;
  for (let bit = 0; bit < 8; bit++) {
    const change = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => (i === at ? byte ^ (1 << bit) : byte));
    for (let i = 0; i < signature.length; i += 7) {
      expect(
        await failedCheck({ bundle: { ...bundle, content: { kind: 'message', signature: change(signature, i) } } }),
      ).toBeDefined();
    }
    for (let i = 0; i < certificate.length; i += 61) {
      const certificates = [change(certificate, i)];
      expect(
        await failedCheck({ bundle: { ...bundle, material: { kind: 'certificate', certificates } } }),
      ).toBeDefined();
    }
    const changedBody = withEntry(bundle, (e) => ({ ...e, canonicalizedBody: change(e.canonicalizedBody, 100 + bit) }));
    expect(await failedCheck({ bundle: changedBody })).toBeDefined();
    expect(
      await failedCheck({ bundle, artifact: artifactFromBytes(change(artifact, 1), opensslCrypto) }),
    ).toBeDefined();
  }
});
