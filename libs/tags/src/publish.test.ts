import { beforeEach, describe, expect, it } from 'vitest';
import { OciError, type Digest } from '#libs/oci';
import { forgerIn } from '../testing/forgery.js';
import { createTagWorld, DAY_MS, memoryInMemory, policyOf, signerOf, type TagWorld } from '../testing/tag-world.js';
import { HEAD_TAG, publishTags, refreshSnapshot, type PublishContext } from './index.js';
import { putHead, putSnapshotRecord } from './record.js';

let world: TagWorld;
beforeEach(() => {
  world = createTagWorld();
});

/** Publishes one tag, up to the moment that a test chooses. */
const publishing = (tag: string, context: PublishContext, content = tag) =>
  publishTags(context, [{ kind: 'set', tag, target: world.store.pushImage(`pushed-${content}`, content) }]);
const meaning = async (...tags: string[]) => (await world.verify(tags)).tags?.map(({ statement }) => statement.tag);

describe('publishers at once', () => {
  /** Lets the other publisher do all its work at one moment of the first. */
  const at = (moment: (reference: string | undefined) => boolean, work: () => Promise<unknown>) => {
    let done = false;
    world.store.beforePut = async (reference) => {
      if (done || !moment(reference)) return;
      done = true;
      await work();
    };
  };

  it.each([
    [
      'before the first has stored its snapshot',
      (name: string | undefined) => name?.startsWith(`${HEAD_TAG}.v`) === true,
    ],
    ['after the first has stored, before it announces it', (name: string | undefined) => name === HEAD_TAG],
  ])('both survive: the second works %s', async (_, moment) => {
    await world.publish('v0');
    at(moment, () => publishing('other', world.publisher()));
    const published = await publishing('mine', world.publisher());
    expect(published.merged).toBeGreaterThan(0);
    expect(await meaning('v0', 'mine', 'other')).toHaveLength(3);
    const report = await world.verify('mine');
    expect(report.snapshot?.version).toBe(published.snapshot?.version);
  });

  it('both survive when the later one hides the earlier: the head is written over', async () => {
    await world.publish('v0');
    // The first has looked and is just about to announce; the second does everything; then the first announces.
    let second: Promise<unknown> | undefined;
    world.store.beforePut = async (reference) => {
      if (reference !== HEAD_TAG || second !== undefined) return;
      second = publishing('other', world.publisher());
      await second;
    };
    await publishing('mine', world.publisher());
    expect(await meaning('v0', 'mine', 'other')).toHaveLength(3);
  });

  it('all of eight survive, in whatever order', async () => {
    await world.publish('v0');
    const names = Array.from({ length: 8 }, (_, i) => `t${i}`);
    await Promise.all(names.map((name) => publishing(name, world.publisher())));
    expect(await meaning('v0', ...names)).toHaveLength(9);
  });

  it('of whom one dies before it announces lose nothing that was announced', async () => {
    await world.publish('v0');
    world.store.beforePut = async (reference) => {
      if (reference === HEAD_TAG) throw new OciError('OCI_NETWORK', 'Cannot reach the registry: it died');
    };
    await expect(publishing('dead', world.publisher())).rejects.toMatchObject({ code: 'OCI_NETWORK' });
    expect(await meaning('v0')).toEqual(['v0']);
    world.store.beforePut = async () => undefined;
    await publishing('alive', world.publisher());
    // It had been signed and stored: whoever makes the same version takes it up.
    expect(await meaning('v0', 'alive', 'dead')).toHaveLength(3);
  });

  it('that say different things about one tag: one is taken, the other is told', async () => {
    await world.publish('v0');
    const outcomes = await Promise.allSettled([
      publishing('v0', world.publisher(), 'one'),
      publishing('v0', world.publisher(), 'two'),
    ]);
    const lost = outcomes.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
    expect(lost).toHaveLength(1);
    expect(lost[0]?.reason).toMatchObject({ code: 'TAGS_CONFLICT' });
    const won = outcomes.find(({ status }) => status === 'fulfilled');
    const [taken] = won?.status === 'fulfilled' ? won.value.tags : [];
    expect((await world.verify('v0')).tags?.[0]?.statement.digest).toBe(taken?.statement.digest);
  });

  it('leave garbage under names like theirs alone', async () => {
    await world.publish('v0');
    for (const version of [2, 3]) world.store.pushImage(`${HEAD_TAG}.v${version}.${'a'.repeat(32)}`, 'garbage');
    world.store.pushImage(`${HEAD_TAG}.p.${'a'.repeat(32)}.${'b'.repeat(16)}`, 'garbage');
    await publishing('v1', world.publisher());
    expect(await meaning('v0', 'v1')).toHaveLength(2);
  });

  it('take up nothing that somebody else signed', async () => {
    await world.publish('v0');
    const head = await world.store.manifest(HEAD_TAG);
    const eve = world.publisher({
      email: 'eve@example.com',
      policy: policyOf([signerOf('eve@example.com'), signerOf('alice@example.com')]),
    });
    await publishing('evil', eve);
    await world.store.putManifest(head.bytes, head.descriptor.mediaType, HEAD_TAG);
    await publishing('v1', world.publisher());
    expect(await meaning('v0', 'v1')).toHaveLength(2);
    expect((await world.verify('evil')).failure?.check).toBe('tag-listed');
  });
});

describe('publishTags()', () => {
  it('does not begin anew where a registry hides what there was', async () => {
    const memory = memoryInMemory();
    await publishing('v1', world.publisher({ memory, init: true }));
    world.store.tagged.delete(HEAD_TAG);
    await expect(publishing('v2', world.publisher({ memory }))).rejects.toMatchObject({ code: 'TAGS_SNAPSHOT_FOUND' });
    await expect(publishing('v2', world.publisher({ memory, init: true }))).rejects.toMatchObject({
      code: 'TAGS_SNAPSHOT_FOUND',
    });
  });

  it('does not build on an old state that it is shown', async () => {
    const memory = memoryInMemory();
    await publishing('v1', world.publisher({ memory, init: true }));
    const old = world.store.fork();
    await publishing('v1', world.publisher({ memory }), 'fixed');
    world.store = old;
    await expect(publishing('v2', world.publisher({ memory }))).rejects.toMatchObject({
      code: 'TAGS_SNAPSHOT_ROLLBACK',
    });
  });

  it('goes on from an expired state, and refreshes it', async () => {
    await world.publish('v1');
    world.sigstore.clock.nowMs += 30 * DAY_MS;
    expect((await world.verify('v1')).failure?.check).toBe('snapshot-fresh');
    expect((await refreshSnapshot(world.publisher())).snapshot?.version).toBe(2);
    expect((await world.verify('v1')).tags?.[0]?.statement.version).toBe(1);
  });

  it('signs nothing for somebody whom the policy does not name', async () => {
    await world.publish('v1');
    const before = world.store.tagged.get(HEAD_TAG);
    const policy = world.client().policy;
    await expect(publishing('v2', world.publisher({ email: 'eve@example.com', policy }))).rejects.toMatchObject({
      code: 'TAGS_TAG_SIGNERS',
    });
    const apart = { ...policyOf([signerOf('bob@example.com')]), snapshotSigners: policy.snapshotSigners };
    await expect(publishing('v2', world.publisher({ email: 'bob@example.com', policy: apart }))).rejects.toMatchObject({
      code: 'TAGS_SNAPSHOT_SIGNER',
    });
    expect(world.store.tagged.get(HEAD_TAG)).toBe(before);
  });

  it('does not carry on a tag whose statement was removed', async () => {
    await world.publish('v1');
    const { manifest, descriptor } = await world.store.manifest(HEAD_TAG);
    if (manifest.kind !== 'image') throw new Error('a manifest');
    const text = new TextDecoder().decode(world.store.manifests.get(descriptor.digest)?.bytes);
    const cut = JSON.parse(text) as { layers: unknown[] };
    cut.layers.length = 1;
    await world.store.putManifest(new TextEncoder().encode(JSON.stringify(cut)), descriptor.mediaType, HEAD_TAG);
    await expect(publishing('v2', world.publisher())).rejects.toMatchObject({ code: 'TAGS_TAG_FOUND' });
    // Publishing it anew is the cure.
    await publishing('v1', world.publisher());
    expect(await meaning('v1')).toEqual(['v1']);
  });

  it.each([
    ['no tag', [], {}],
    ['a tag twice', ['a', 'a'], {}],
    ['its own place', [HEAD_TAG], {}],
    ['a place below its own', [`${HEAD_TAG}.x`], {}],
    ['what is no tag', ['a/b'], {}],
    ['a lifetime of nothing', ['a'], { tagLifetimeMs: 0 }],
    ['a lifetime without end', ['a'], { snapshotLifetimeMs: Infinity }],
  ])('refuses %s', async (_, tags, options) => {
    const target = world.store.pushImage('v1');
    const changes = tags.map((tag) => ({ kind: 'set' as const, tag, target }));
    await expect(publishTags(world.publisher({ init: true, ...options }), changes)).rejects.toMatchObject({
      code: 'TAGS_INPUT',
    });
  });

  it.each(['never', 'v1'])('refuses to revoke what is no trusted tag, or not any more: %s', async (tag) => {
    await world.publish('v1');
    await publishTags(world.publisher(), [{ kind: 'revoke', tag: 'v1' }]);
    await expect(publishTags(world.publisher(), [{ kind: 'revoke', tag }])).rejects.toMatchObject({
      code: 'TAGS_INPUT',
    });
  });
});

describe('what nobody could read', () => {
  it.each([
    ['a reason that is too long', { kind: 'revoke', tag: 'v1', reason: 'x'.repeat(501) }],
    ['a threshold that no statement may have', { kind: 'revoke', tag: 'v1', threshold: 33 }],
  ] as const)('is not signed: %s', async (_, change) => {
    await world.publish('v1');
    const logged = world.sigstore.entries.length;
    await expect(publishTags(world.publisher(), [change])).rejects.toMatchObject({ code: 'TAGS_INPUT' });
    expect(world.sigstore.entries).toHaveLength(logged);
    expect(await meaning('v1')).toEqual(['v1']);
  });

  it('is not made of an empty reason', async () => {
    await world.publish('v1');
    await publishTags(world.publisher(), [{ kind: 'revoke', tag: 'v1', reason: '' }]);
    expect((await world.verify('v1')).failure).toMatchObject({ code: 'TAGS_TAG_REVOKED' });
  });
});

describe('a snapshot that nobody could read', () => {
  it('is not announced: with more bundles than a manifest may list', async () => {
    const { forge, tagStatement } = forgerIn(world);
    const statements = Array.from({ length: 64 }, (_, i) => tagStatement({ tag: `t${String(i).padStart(2, '0')}` }));
    await forge(statements, {}, { tags: [] });
    // As many as fit, whatever they are: nobody looks at them until a tag is asked for.
    const { manifest } = await world.store.manifest(HEAD_TAG);
    const [own] = manifest.kind === 'image' ? manifest.layers : [];
    if (own === undefined) throw new Error('a snapshot');
    const layers = statements.flatMap(({ id }, i) =>
      Array.from({ length: i === 0 ? 63 : 64 }, () => ({ ...own, annotations: { 'chancery.tags.statement': id } })),
    );
    const id = { version: 1, statement: own.annotations?.['chancery.tags.statement'] as Digest };
    await putHead(world.store, await putSnapshotRecord(world.store, id, [own, ...layers]));
    const before = world.store.tagged.get(HEAD_TAG);
    await expect(world.publish('v1')).rejects.toMatchObject({ code: 'TAGS_INPUT' });
    expect(world.store.tagged.get(HEAD_TAG)).toBe(before);
    expect((await world.verify('v1')).failure?.check).toBe('tag-listed');
  });

  it('is not announced: with a version that none may have', async () => {
    const { forge, tagStatement } = forgerIn(world);
    const statement = tagStatement();
    const last = { version: Number.MAX_SAFE_INTEGER, previous: { version: 1, statement: statement.id } };
    await forge([statement], last);
    await expect(refreshSnapshot(world.publisher())).rejects.toMatchObject({ code: 'TAGS_INPUT' });
    expect((await world.verify('v1')).ok).toBe(true);
  });
});
