import { beforeEach, describe, expect, it } from 'vitest';
import { encodeBundle, parseBundle } from '#libs/bundle';
import { encodeUtf8 } from '#libs/encoding';
import type { Digest } from '#libs/oci';
import { sha256 } from '#libs/openssl';
import { generateSigningKey } from '#libs/sign';
import { encodeTimestampRequest } from '#libs/timestamp';
import { entryOf, expectRefused, forgerIn, seconds, type Forger } from '../testing/forgery.js';
import { createTagWorld, DAY_MS, policyOf, signerOf, type TagWorld } from '../testing/tag-world.js';
import { publishTags, tagCheckIds } from './index.js';
import { HEAD_TAG, putBundle, putHead, putSnapshotRecord } from './record.js';

let world: TagWorld;
let tagStatement: Forger['tagStatement'];
let forge: Forger['forge'];
beforeEach(() => {
  world = createTagWorld();
  ({ tagStatement, forge } = forgerIn(world));
});

describe('a tag that nobody attacks', () => {
  it('is verified, and says what to pull', async () => {
    await world.publish('v1');
    const report = await world.verify('v1');
    expect(report.failure).toBeUndefined();
    expect(report.tags?.[0]?.statement.digest).toBe(world.store.tagged.get('v1'));
    expect(report.isFirstUse).toBe(true);
    expect(report.checks.map(({ id }) => id)).toEqual(tagCheckIds);
  });

  it('of the forger is verified as well, so that what follows fails by what it changes alone', async () => {
    await forge([tagStatement()]);
    expect((await world.verify('v1')).failure).toBeUndefined();
  });
});

describe('freeze: an old state is shown for ever', () => {
  it('ends with the snapshot', async () => {
    await world.publish('v1');
    world.sigstore.clock.nowMs += 14 * DAY_MS;
    expect((await world.verify('v1')).ok).toBe(true);
    world.sigstore.clock.nowMs += 1000;
    expectRefused(await world.verify('v1'), 'snapshot-fresh');
  });

  it('ends earlier where the policy wants it', async () => {
    await world.publish('v1');
    world.sigstore.clock.nowMs += DAY_MS + 1000;
    const policy = { ...world.client().policy, snapshotMaxAgeMs: DAY_MS };
    expectRefused(await world.verify('v1', world.client({ policy })), 'snapshot-fresh');
  });

  it('ends with the statement, also if snapshots go on', async () => {
    await world.publish('v1', { tagLifetimeMs: DAY_MS });
    world.sigstore.clock.nowMs += 2 * DAY_MS;
    await world.publish('v2');
    expect((await world.verify('v2')).ok).toBe(true);
    expectRefused(await world.verify('v1'), 'tag-fresh');
  });

  it('is not prolonged by a new timestamp for an old signature of a key: the age is what was signed', async () => {
    const key = generateSigningKey();
    const signer = signerOf('release', { is: { kind: 'key', publicKey: key.publicKey } });
    const policy = { ...policyOf([signer]), snapshotMaxAgeMs: DAY_MS };
    const target = world.store.pushImage('v1');
    await publishTags(world.publisher({ key, policy, init: true }), [{ kind: 'set', tag: 'v1', target }]);
    world.sigstore.clock.nowMs += 2 * DAY_MS;
    // Anybody can have a new timestamp made for the old signature, which proves less.
    const { manifest } = await world.store.manifest(HEAD_TAG);
    if (manifest.kind !== 'image') throw new Error('a manifest');
    const [layer] = manifest.layers;
    const bundle = parseBundle((layer && world.store.blobs.get(layer.digest)) ?? '');
    if (layer === undefined || bundle.content.kind !== 'dsse') throw new Error('an envelope');
    const [signature] = bundle.content.envelope.signatures;
    const answer = await world.sigstore.fetch(`${world.sigstore.baseUrl}/api/v1/timestamp`, {
      method: 'POST',
      headers: { 'content-type': 'application/timestamp-query' },
      body: encodeTimestampRequest({
        imprint: { hash: 'sha256', digest: sha256(signature?.sig ?? new Uint8Array()) },
        nonce: Uint8Array.of(1),
        certReq: true,
      }) as Uint8Array<ArrayBuffer>,
    });
    expect(answer.ok).toBe(true);
    const renewed = encodeUtf8(encodeBundle({ ...bundle, timestamps: [new Uint8Array(await answer.arrayBuffer())] }));
    const statement = layer.annotations?.['chancery.tags.statement'] as Digest;
    const layers = [await putBundle(world.store, statement, renewed), ...manifest.layers.slice(1)];
    await putHead(world.store, await putSnapshotRecord(world.store, { version: 1, statement }, layers));
    const report = await world.verify('v1', world.client({ policy }));
    expectRefused(report, 'snapshot-fresh');
    const signed = report.checks.find(({ id }) => id === 'snapshot-signer');
    expect(signed?.detail).toContain(new Date(world.sigstore.now()).toISOString().slice(0, 19));
  });

  it('does not work by setting the clock of the client back', async () => {
    const client = world.client();
    await world.publish('v1');
    const then = world.sigstore.now();
    world.sigstore.clock.nowMs += 10 * DAY_MS;
    await world.publish('v2');
    expect((await world.verify('v1', client)).ok).toBe(true);
    expectRefused(await world.verify('v1', { ...client, now: () => then }), 'clock');
  });

  it('does not work by showing the old state to a client whose clock went back', async () => {
    const client = world.client();
    await world.publish('v1', { snapshotLifetimeMs: DAY_MS });
    const old = world.store.fork();
    const then = world.sigstore.now();
    world.sigstore.clock.nowMs += 10 * DAY_MS;
    await world.publish('v2');
    expect((await world.verify('v1', client)).ok).toBe(true);
    expectRefused(await world.verify('v1', { ...client, store: old, now: () => then }), 'clock');
  });
});

describe('rollback: an older state than this client has seen', () => {
  it('is refused by its version, while it is still fresh', async () => {
    const client = world.client();
    await world.publish('v1', { content: 'vulnerable' });
    const old = world.store.fork();
    await world.publish('v1', { content: 'fixed' });
    expect((await world.verify('v1', client)).ok).toBe(true);
    expectRefused(await world.verify('v1', { ...client, store: old }), 'snapshot-rollback');
    // A client that has seen nothing cannot know: until it is too old.
    expect((await world.verify('v1', world.client({ store: old }))).ok).toBe(true);
  });

  it('under a higher version is refused by the time it was made', async () => {
    const client = world.client();
    await world.publish('v1');
    expect((await world.verify('v1', client)).ok).toBe(true);
    const statement = tagStatement();
    const issued = seconds(world.sigstore.now() - 60_000);
    await forge([statement], { version: 9, previous: { version: 1, statement: statement.id }, issued });
    expectRefused(await world.verify('v1', client), 'snapshot-rollback');
  });

  it('under a higher version is refused by its place in the log', async () => {
    // The same second, so that only the log knows the order.
    const statement = tagStatement();
    await forge([statement], { version: 9, previous: { version: 1, statement: statement.id } });
    const earlier = world.store.fork();
    await forge([statement], { version: 3, previous: { version: 1, statement: statement.id } });
    const client = world.client();
    expect((await world.verify('v1', client)).ok).toBe(true);
    expectRefused(await world.verify('v1', { ...client, store: earlier }), 'snapshot-rollback');
  });

  it('of one tag in a newer snapshot is refused', async () => {
    const client = world.client();
    await world.publish('v1', { content: 'vulnerable' });
    const first = tagStatement();
    await world.publish('v1', { content: 'fixed' });
    expect((await world.verify('v1', client)).ok).toBe(true);
    await forge([first], { version: 3, previous: { version: 2, statement: first.id } });
    expectRefused(await world.verify('v1', client), 'snapshot-continuity');
  });
});

describe('replay', () => {
  it('between repositories: the snapshot is about another', async () => {
    await world.publish('v1');
    const elsewhere = world.client({ repository: 'registry.example.com/ns/other' });
    expectRefused(await world.verify('v1', elsewhere), 'snapshot-repository');
  });

  it.each([
    'registry.example.com/ns/ap',
    'registry.example.com/ns/app2',
    'registry.example.com:443/ns/app',
    'mirror.example.com/ns/app',
  ])('between repositories: %s is not registry.example.com/ns/app', async (repository) => {
    await world.publish('v1');
    expectRefused(await world.verify('v1', world.client({ repository })), 'snapshot-repository');
  });

  it('between repositories, by somebody who may sign snapshots: the statement is about another', async () => {
    await forge([tagStatement({ repository: 'registry.example.com/ns/other' })]);
    expectRefused(await world.verify('v1'), 'tag-binding');
  });

  it('between tags: the registry puts the statement of another tag in its place', async () => {
    await world.publish('v1');
    await world.publish('v2');
    const { descriptor } = await world.store.manifest(HEAD_TAG);
    const text = new TextDecoder().decode(world.store.manifests.get(descriptor.digest)?.bytes);
    const manifest = JSON.parse(text) as { layers: { digest: string; size: number }[] };
    const [, one, two] = manifest.layers;
    if (one === undefined || two === undefined) throw new Error('two tags, two layers');
    [one.digest, two.digest] = [two.digest, one.digest];
    [one.size, two.size] = [two.size, one.size];
    await world.store.putManifest(encodeUtf8(JSON.stringify(manifest)), descriptor.mediaType, HEAD_TAG);
    expectRefused(await world.verify('v1'), 'tag-found');
  });

  it('between tags, by somebody who may sign snapshots: the statement is about another', async () => {
    const other = tagStatement({ tag: 'v2' });
    await forge([other], { tags: [{ ...entryOf(other), tag: 'v1' }] });
    expectRefused(await world.verify('v1'), 'tag-binding');
  });

  it.each([
    ['version', { version: 2 }],
    ['state', { state: 'revoked' as const }],
    ['digest', { digest: `sha256:${'7'.repeat(64)}` as const }],
  ])('of a statement whose %s is not what the snapshot says', async (_, change) => {
    const statement = tagStatement();
    await forge([statement], { tags: [{ ...entryOf(statement), ...change }] });
    expectRefused(await world.verify('v1'), 'tag-binding');
  });
});

describe('mix and match: tags of different states together', () => {
  it('is refused: what is listed is one signed list', async () => {
    const client = world.client();
    await world.publish('v1', { content: 'old' });
    const old = await world.store.manifest(HEAD_TAG);
    await world.publish('v1', { content: 'new' });
    await world.publish('v2');
    // The new list with the old bundle of v1.
    const head = await world.store.manifest(HEAD_TAG);
    const manifest = JSON.parse(new TextDecoder().decode(head.bytes)) as { layers: unknown[] };
    const before = JSON.parse(new TextDecoder().decode(old.bytes)) as { layers: unknown[] };
    manifest.layers[1] = before.layers[1];
    await world.store.putManifest(encodeUtf8(JSON.stringify(manifest)), head.descriptor.mediaType, HEAD_TAG);
    expectRefused(await world.verify(['v2', 'v1'], client), 'tag-found');
    expect((await world.verify('v2', client)).ok).toBe(true);
  });
});

describe('removing and hiding', () => {
  it('a removed statement is missed: the snapshot names it', async () => {
    await world.publish('v1');
    const { manifest } = await world.store.manifest(HEAD_TAG);
    if (manifest.kind !== 'image') throw new Error('a manifest');
    world.store.blobs.delete(manifest.layers[1]?.digest ?? 'sha256:');
    expectRefused(await world.verify('v1'), 'tag-found');
  });

  it('a removed snapshot is an error, never "not signed"', async () => {
    await world.publish('v1');
    world.store.tagged.delete(HEAD_TAG);
    const report = await world.verify('v1');
    expectRefused(report, 'snapshot-found');
    expect(report.failure?.cure).toContain('hides them');
  });

  it('a registry without referrers, or that hides them and all lists of tags, changes nothing for a verifier', async () => {
    await world.publish('v1');
    // eslint-disable-next-line require-yield
    const tags = async function* (): AsyncGenerator<string> {
      throw new Error('not here');
    };
    expect((await world.verify('v1', world.client({ store: { ...world.store, tags } as never }))).ok).toBe(true);
  });

  it('something else under the name of the snapshot', async () => {
    await world.publish('v1');
    world.store.pushImage(HEAD_TAG, 'an image');
    expectRefused(await world.verify('v1'), 'snapshot-form');
  });

  it('a snapshot whose bundle is gone', async () => {
    await world.publish('v1');
    const { manifest } = await world.store.manifest(HEAD_TAG);
    if (manifest.kind !== 'image') throw new Error('a manifest');
    world.store.blobs.delete(manifest.layers[0]?.digest ?? 'sha256:');
    expectRefused(await world.verify('v1'), 'snapshot-form');
  });

  it('a tag that is left out of a new snapshot, to a client that has seen it', async () => {
    const client = world.client();
    await forge([tagStatement(), tagStatement({ tag: 'v2' })]);
    expect((await world.verify('v1', client)).ok).toBe(true);
    const statement = tagStatement();
    await forge([statement], { version: 2, previous: { version: 1, statement: statement.id } });
    expectRefused(await world.verify('v1', client), 'snapshot-continuity');
  });

  it('a tag that was never published is absent by the word of the snapshot', async () => {
    await world.publish('v1');
    expectRefused(await world.verify('v3'), 'tag-listed');
  });

  it('the image itself', async () => {
    await world.publish('v1');
    world.store.manifests.delete(world.store.tagged.get('v1') ?? 'sha256:');
    expectRefused(await world.verify('v1'), 'image');
  });

  it('an image of another size than was signed', async () => {
    await forge([tagStatement({ size: 1 })]);
    expectRefused(await world.verify('v1'), 'image');
  });
});

describe('mix and match: tags of different states together', () => {
  it('is refused: what is listed is one signed list', async () => {
    const client = world.client();
    await world.publish('v1', { content: 'old' });
    const old = await world.store.manifest(HEAD_TAG);
    await world.publish('v1', { content: 'new' });
    await world.publish('v2');
    // The new list with the old bundle of v1.
    const head = await world.store.manifest(HEAD_TAG);
    const manifest = JSON.parse(new TextDecoder().decode(head.bytes)) as { layers: unknown[] };
    const before = JSON.parse(new TextDecoder().decode(old.bytes)) as { layers: unknown[] };
    manifest.layers[1] = before.layers[1];
    await world.store.putManifest(encodeUtf8(JSON.stringify(manifest)), head.descriptor.mediaType, HEAD_TAG);
    expectRefused(await world.verify(['v2', 'v1'], client), 'tag-found');
    expect((await world.verify('v2', client)).ok).toBe(true);
  });
});

describe('a revoked tag', () => {
  it('is refused, with the reason, and stays known', async () => {
    await world.publish('v1');
    await world.publish('v2');
    await publishTags(world.publisher(), [{ kind: 'revoke', tag: 'v1', reason: 'it eats data' }]);
    const report = await world.verify('v1');
    expectRefused(report, 'tag-revoked');
    expect(report.failure?.message).toContain('it eats data');
    expect((await world.verify('v2')).ok).toBe(true);
  });

  it('is not current again where the registry shows the state before, to a client that knows', async () => {
    const client = world.client();
    await world.publish('v1');
    const before = world.store.fork();
    await publishTags(world.publisher(), [{ kind: 'revoke', tag: 'v1' }]);
    expectRefused(await world.verify('v1', client), 'tag-revoked');
    expectRefused(await world.verify('v1', { ...client, store: before }), 'snapshot-rollback');
    // The state before is still fresh.
    expect((await world.verify('v1', world.client({ store: before }))).ok).toBe(true);
  });

  it('can be published again', async () => {
    await world.publish('v1');
    await publishTags(world.publisher(), [{ kind: 'revoke', tag: 'v1' }]);
    await world.publish('v1', { content: 'repaired' });
    expect((await world.verify('v1')).tags?.[0]?.statement.version).toBe(3);
  });
});

describe('times that cannot be', () => {
  const later = () => seconds(world.sigstore.now() + 3_600_000);

  it('a snapshot that says it is of the future', async () => {
    await forge([tagStatement()], { issued: later(), until: new Date(later().getTime() + DAY_MS) });
    expectRefused(await world.verify('v1'), 'snapshot-time');
  });

  it('a snapshot that was over before it began', async () => {
    await forge([tagStatement()], { until: seconds(world.sigstore.now() - 60_000) });
    expectRefused(await world.verify('v1'), 'snapshot-time');
  });

  it('a statement that says it is of the future', async () => {
    await forge([tagStatement({ issued: later(), until: new Date(later().getTime() + DAY_MS) })]);
    expectRefused(await world.verify('v1'), 'tag-time');
  });

  it('a statement that holds from tomorrow', async () => {
    await forge([tagStatement({ from: new Date(seconds(world.sigstore.now()).getTime() + DAY_MS / 2) })]);
    expectRefused(await world.verify('v1'), 'tag-fresh');
    world.sigstore.clock.nowMs += DAY_MS / 2;
    expect((await world.verify('v1')).ok).toBe(true);
  });

  it('a statement older than the policy wants', async () => {
    await world.publish('v1');
    world.sigstore.clock.nowMs += DAY_MS + 1000;
    const { policy } = world.client();
    const rules = policy.rules.map((rule) => ({ ...rule, maxAgeMs: DAY_MS }));
    expectRefused(await world.verify('v1', world.client({ policy: { ...policy, rules } })), 'tag-fresh');
  });

  it('a signature of the future, seen by a clock that is behind', async () => {
    await world.publish('v1');
    const now = () => world.sigstore.now() - 3_600_000;
    expectRefused(await world.verify('v1', world.client({ now })), 'clock');
  });
});
