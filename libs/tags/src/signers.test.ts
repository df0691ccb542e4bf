import { beforeEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import type { Descriptor } from '#libs/oci';
import { generateSigningKey } from '#libs/sign';
import { expectRefused, forgerIn, type Forger } from '../testing/forgery.js';
import { createTagWorld, signerOf, type TagWorld } from '../testing/tag-world.js';
import { cosignTag, publishTags } from './index.js';
import { HEAD_TAG } from './record.js';

let world: TagWorld;
let tagStatement: Forger['tagStatement'];
let forge: Forger['forge'];
beforeEach(() => {
  world = createTagWorld();
  ({ tagStatement, forge } = forgerIn(world));
});

describe('signers', () => {
  const alice = signerOf('alice@example.com');
  const bob = signerOf('bob@example.com');
  const carol = signerOf('carol@example.com');
  const split = (tags: (typeof alice)[], threshold: number) => ({
    snapshotSigners: [alice],
    snapshotMaxAgeMs: undefined,
    rules: [{ match: '*', signers: tags, threshold, maxAgeMs: undefined }],
  });

  it('a snapshot by somebody who may not', async () => {
    await forge([tagStatement()], {}, { snapshot: 'eve@example.com' });
    expectRefused(await world.verify('v1'), 'snapshot-signer');
  });

  it('a tag by somebody who may not', async () => {
    await forge([tagStatement()], {}, { tags: ['eve@example.com'] });
    expectRefused(await world.verify('v1'), 'tag-signers');
  });

  it('a tag by somebody who may sign other tags: the first rule that fits counts', async () => {
    const policy = {
      ...split([bob], 1),
      rules: [
        { match: 'v*', signers: [alice], threshold: 1, maxAgeMs: undefined },
        { match: '*', signers: [bob], threshold: 1, maxAgeMs: undefined },
      ],
    };
    await forge([tagStatement()], {}, { tags: ['bob@example.com'] });
    expectRefused(await world.verify('v1', world.client({ policy })), 'tag-signers');
    const statement = tagStatement({ tag: 'dev' });
    await forge([statement], {}, { tags: ['bob@example.com'] });
    expect((await world.verify('dev', world.client({ policy }))).ok).toBe(true);
  });

  it('one of two', async () => {
    await forge([tagStatement()]);
    expectRefused(await world.verify('v1', world.client({ policy: split([alice, bob], 2) })), 'tag-signers');
  });

  it('two of three', async () => {
    await forge([tagStatement()], {}, { tags: ['alice@example.com', 'carol@example.com'] });
    const policy = split([alice, bob, carol], 2);
    expect(
      (await world.verify('v1', world.client({ policy }))).tags?.[0]?.signatures.map(({ signer }) => signer),
    ).toEqual(['alice', 'carol']);
  });

  it('the same one twice', async () => {
    await forge([tagStatement()], {}, { tags: ['alice@example.com', 'alice@example.com'] });
    const report = await world.verify('v1', world.client({ policy: split([alice, bob], 2) }));
    expectRefused(report, 'tag-signers');
    expect(report.failure?.message).toContain('a second signature of alice');
  });

  it('the same one under two names of one entry', async () => {
    const both = signerOf('alice@example.com', {
      name: 'team',
      is: { kind: 'identity', san: () => true, issuer: () => true },
    });
    await forge([tagStatement()], {}, { tags: ['alice@example.com', 'bob@example.com'] });
    expectRefused(await world.verify('v1', world.client({ policy: split([both, carol], 2) })), 'tag-signers');
    const group = { ...both, group: true };
    expect((await world.verify('v1', world.client({ policy: split([group], 2) }))).ok).toBe(true);
  });

  it('the same one with accounts at two issuers, in a group: names count', async () => {
    const group = signerOf('team@', { is: { kind: 'identity', san: () => true, issuer: () => true }, group: true });
    await forge([tagStatement()], {}, { tags: ['alice@example.com', { issuer: 'https://other.example' }] });
    expectRefused(await world.verify('v1', world.client({ policy: split([group], 2) })), 'tag-signers');
    // Both are signatures that count, each alone.
    expect((await world.verify('v1', world.client({ policy: split([group], 1) }))).ok).toBe(true);
  });

  it('one whose time is over does not go on under a pattern that fits as well', async () => {
    await world.publish('v1');
    const team = signerOf('team@', { is: { kind: 'identity', san: () => true, issuer: () => true } });
    const gone = { ...alice, notAfter: new Date(world.sigstore.now() - 1000) };
    expectRefused(await world.verify('v1', world.client({ policy: split([team, gone], 1) })), 'tag-signers');
    expect((await world.verify('v1', world.client({ policy: split([team, alice], 1) }))).ok).toBe(true);
  });

  it('one key under two names', async () => {
    const key = generateSigningKey();
    const is = { kind: 'key' as const, publicKey: key.publicKey };
    const policy = split([signerOf('one@', { is }), signerOf('two@', { is })], 2);
    await forge([tagStatement()], {}, { tags: [{ key }, { key }] });
    expectRefused(await world.verify('v1', world.client({ policy })), 'tag-signers');
  });

  it('more than the policy wants, if the statement wants them', async () => {
    await forge([tagStatement({ threshold: 2 })]);
    expectRefused(await world.verify('v1', world.client({ policy: split([alice, bob], 1) })), 'tag-signers');
  });

  it('one whose time is over', async () => {
    await world.publish('v1');
    const gone = { ...alice, notAfter: new Date(world.sigstore.now() - 1000) };
    const policy = { ...split([gone], 1), snapshotSigners: [alice] };
    expectRefused(await world.verify('v1', world.client({ policy })), 'tag-signers');
    const here = { ...alice, notAfter: new Date(world.sigstore.now() + 1000) };
    expect((await world.verify('v1', world.client({ policy: split([here], 1) }))).ok).toBe(true);
  });

  it('garbage beside a good signature changes nothing', async () => {
    await forge([tagStatement()], {}, { tags: ['eve@example.com', 'mallory@example.com', 'alice@example.com'] });
    expect((await world.verify('v1')).ok).toBe(true);
  });

  it('more bundles for one statement than anybody needs are not read', async () => {
    const emails = Array.from({ length: 65 }, () => 'alice@example.com');
    await forge([tagStatement()], {}, { tags: emails.slice(1) });
    expect((await world.verify('v1')).ok).toBe(true);
    await forge([tagStatement()], {}, { tags: emails });
    expectRefused(await world.verify('v1'), 'snapshot-form');
  });

  it('nor more bytes of them, so that a verifier keeps its memory', async () => {
    await forge([tagStatement()]);
    const { descriptor, bytes } = await world.store.manifest(HEAD_TAG);
    const manifest = JSON.parse(new TextDecoder().decode(bytes)) as { layers: Descriptor[] };
    const [own, good] = manifest.layers;
    if (own === undefined || good === undefined) throw new Error('a snapshot and a statement');
    const large = { ...(await world.store.putBlob(new Uint8Array(4 * 1024 * 1024), { mediaType: 'x/y' })) };
    const garbage = Array.from({ length: 20 }, () => ({ ...good, digest: large.digest, size: large.size }));
    const show = async (layers: Descriptor[]) => {
      const changed = encodeUtf8(JSON.stringify({ ...manifest, layers }));
      await world.store.putManifest(changed, descriptor.mediaType, HEAD_TAG);
      let read = 0;
      const blob: typeof world.store.blob = async (layer, limit) => {
        read += layer.size;
        return world.store.blob(layer, limit);
      };
      const report = await world.verify('v1', world.client({ store: { ...world.store, blob } }));
      expect(read).toBeLessThan(34 * 1024 * 1024);
      return report;
    };
    expect((await show([own, good, ...garbage])).ok).toBe(true);
    expectRefused(await show([own, ...garbage, good]), 'tag-found');
  });

  it('a first-time user can refuse to be one', async () => {
    await world.publish('v1');
    expectRefused(await world.verify('v1', world.client({ refuseFirstUse: true })), 'first-use');
  });

  it('two of two, one after the other: the tag means what it meant until the second has signed', async () => {
    const policy = { ...split([alice, bob], 2), snapshotSigners: [alice, bob] };
    const first = world.store.pushImage('v1');
    const published = await publishTags(world.publisher({ policy, init: true }), [
      { kind: 'set', tag: 'v1', target: first },
    ]);
    expect(published).toMatchObject({ snapshot: undefined, tags: [{ missing: 1 }] });
    const client = world.client({ policy });
    expectRefused(await world.verify('v1', client), 'snapshot-found');
    // The same one again does not help.
    const { digest: expected } = first;
    await expect(cosignTag(world.publisher({ policy }), { tag: 'v1', expected })).rejects.toMatchObject({
      code: 'TAGS_TAG_SIGNERS',
    });
    const other = `sha256:${'7'.repeat(64)}` as const;
    const asBob = world.publisher({ policy, email: 'bob@example.com', init: true });
    await expect(cosignTag(asBob, { tag: 'v1', expected: other })).rejects.toMatchObject({ code: 'TAGS_INPUT' });
    expect(await cosignTag(asBob, { tag: 'v1', expected })).toMatchObject({
      tags: [{ missing: 0 }],
      snapshot: { version: 1 },
    });
    expect((await world.verify('v1', client)).ok).toBe(true);
    // Done: it does not wait any more, and is cleared away.
    expect([...world.store.tagged.keys()].filter((name) => name.includes('.p.'))).toEqual([]);
    await expect(cosignTag(asBob, { tag: 'v1', expected })).rejects.toMatchObject({ code: 'TAGS_INPUT' });
  });
});
