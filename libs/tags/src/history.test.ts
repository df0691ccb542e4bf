import { beforeEach, describe, expect, it } from 'vitest';
import { entryOf, forgerIn, type Forger } from '../testing/forgery.js';
import { createTagWorld, policyOf, signerOf, type TagWorld } from '../testing/tag-world.js';
import { HEAD_TAG, publishTags, readHistory } from './index.js';

let world: TagWorld;
beforeEach(async () => {
  world = createTagWorld();
  await world.publish('v1', { content: 'one' });
  await world.publish('other');
  await world.publish('v1', { content: 'two' });
  await publishTags(world.publisher(), [{ kind: 'revoke', tag: 'v1', reason: 'why not' }]);
});

const history = (tag = 'v1', limit?: number) => readHistory({ ...world.client(), store: world.store }, tag, limit);

describe('readHistory()', () => {
  it('shows the chain of one tag, with the snapshot that had each version first', async () => {
    const { entries, gaps, snapshots, isCut } = await history();
    expect(entries.map(({ entry, snapshot }) => [entry.version, entry.state, snapshot.version])).toEqual([
      [3, 'revoked', 4],
      [2, 'current', 3],
      [1, 'current', 1],
    ]);
    expect({ gaps, snapshots, isCut }).toEqual({ gaps: [], snapshots: 4, isCut: false });
    expect(entries[0]?.statement?.reason).toBe('why not');
    expect(entries[2]?.signatures[0]).toMatchObject({
      signer: 'the given signer',
      identity: { san: 'alice@example.com' },
    });
  });

  it('finds a snapshot that was removed', async () => {
    for (const name of [...world.store.tagged.keys()])
      if (name.startsWith(`${HEAD_TAG}.v2.`)) world.store.tagged.delete(name);
    const { gaps } = await history();
    expect(gaps.join('\n')).toMatch(/version 2 of the snapshots: there is nothing/);
    expect(gaps.join('\n')).toMatch(/version 2 of v1 follows sha256:\w+, which is not in the chain/);
  });

  it('finds a snapshot that is another', async () => {
    const [one, two] = [1, 2].map((version) =>
      [...world.store.tagged.keys()].find((name) => name.startsWith(`${HEAD_TAG}.v${version}.`)),
    );
    world.store.tagged.set(two ?? '', world.store.tagged.get(one ?? '') ?? 'sha256:');
    expect((await history()).gaps.join('\n')).toMatch(/version 2 of the snapshots is another/);
  });

  it('finds a statement that was removed', async () => {
    const name = [...world.store.tagged.keys()].find((tag) => tag.startsWith(`${HEAD_TAG}.v1.`)) ?? '';
    const { manifest } = await world.store.manifest(name);
    if (manifest.kind !== 'image') throw new Error('a manifest');
    world.store.blobs.delete(manifest.layers[1]?.digest ?? 'sha256:');
    const { gaps } = await history();
    expect(gaps).toContain('version 1 of v1: its statement is missing');
  });

  it('stops where it was told to, and says so', async () => {
    expect(await history('v1', 2)).toMatchObject({ snapshots: 2, isCut: true, gaps: [] });
  });

  it('follows both of two publishers who worked at once', async () => {
    await Promise.all([world.publish('a'), world.publish('b')]);
    expect(await history('a')).toMatchObject({ gaps: [], isCut: false });
    expect(await history('v1')).toMatchObject({ gaps: [] });
  });

  it('judges old signatures by the policy of today', async () => {
    const policy = { ...world.client().policy, rules: policyOf([signerOf('bob@example.com')]).rules };
    const { entries } = await readHistory({ ...world.client({ policy }), store: world.store }, 'v1');
    expect(entries[0]).toMatchObject({ signatures: [] });
    expect(entries[0]?.refused.join()).toContain('is not a signer here');
  });
});

describe('readHistory() of what somebody forged who may sign snapshots', () => {
  let tagStatement: Forger['tagStatement'];
  let forge: Forger['forge'];
  beforeEach(() => {
    world = createTagWorld();
    ({ tagStatement, forge } = forgerIn(world));
  });

  it('shows what a tag has meant', async () => {
    await forge([tagStatement()]);
    expect(await history()).toMatchObject({ gaps: [], entries: [{ signatures: [{ signer: 'the given signer' }] }] });
  });

  it.each([
    ['another digest', { digest: `sha256:${'7'.repeat(64)}` as const }],
    ['another state', { state: 'revoked' as const }],
  ])('does not say that its signers said it, where the snapshot says %s', async (_, change) => {
    const statement = tagStatement();
    await forge([statement], { tags: [{ ...entryOf(statement), ...change }] });
    const { entries, gaps } = await history();
    expect(entries[0]).toMatchObject({ statement: undefined, signatures: [] });
    expect(gaps).toHaveLength(1);
  });

  it('nor of a statement about another tag', async () => {
    const statement = tagStatement({ tag: 'v2' });
    await forge([statement], { tags: [{ ...entryOf(statement), tag: 'v1' }] });
    expect(await history()).toMatchObject({ entries: [{ signatures: [] }] });
  });
});
