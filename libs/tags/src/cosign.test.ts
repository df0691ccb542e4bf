import { beforeEach, describe, expect, it } from 'vitest';
import { encodeBundle } from '#libs/bundle';
import { encodeUtf8 } from '#libs/encoding';
import { expectRefused, forgerIn, seconds, type Forger } from '../testing/forgery.js';
import { createTagWorld, DAY_MS, policyOf, signerOf, type TagWorld } from '../testing/tag-world.js';
import { cosignTag, pendingTags, publishTags, type TagStatement, type Written } from './index.js';
import { HEAD_TAG, putBundle, putPending } from './record.js';

let world: TagWorld;
let tagStatement: Forger['tagStatement'];
beforeEach(() => {
  world = createTagWorld();
  ({ tagStatement } = forgerIn(world));
});

describe('what waits for signers', () => {
  const alice = signerOf('alice@example.com');
  const bob = signerOf('bob@example.com');
  const policy = policyOf([alice, bob], 2);
  const asBob = (options = {}) => world.publisher({ policy, email: 'bob@example.com', init: true, ...options });
  /** Puts a statement there as anybody can who may push. */
  const leave = async (statement: Written<TagStatement>, email: string) => {
    const bundle = encodeUtf8(encodeBundle(await world.publisher({ email }).sign(statement.payload)));
    await putPending(world.store, statement.id, await putBundle(world.store, statement.id, bundle));
    return { tag: statement.value.tag, expected: statement.value.digest };
  };

  it('is cosigned where a signer signed it', async () => {
    const statement = tagStatement();
    await leave(statement, 'alice@example.com');
    // Twice, and still one.
    expect(await cosignTag(asBob(), await leave(statement, 'alice@example.com'))).toMatchObject({
      snapshot: { version: 1 },
      tags: [{ missing: 0, signatures: [{ signer: 'alice' }, { signer: 'bob' }] }],
    });
    expect((await world.verify('v1', world.client({ policy }))).ok).toBe(true);
  });

  it('is not cosigned where nobody did who counts: its dates and its threshold could be anything', async () => {
    const left = await leave(tagStatement(), 'eve@example.com');
    await expect(cosignTag(asBob(), left)).rejects.toMatchObject({ code: 'TAGS_INPUT' });
  });

  it('comes into force by the threshold of the policy, whatever it says itself', async () => {
    const three = policyOf([alice, bob, signerOf('carol@example.com')], 3);
    const left = await leave(tagStatement({ threshold: 1 }), 'alice@example.com');
    expect(await cosignTag(asBob({ policy: three }), left)).toMatchObject({
      snapshot: undefined,
      tags: [{ missing: 1 }],
    });
    const [pending] = await pendingTags(world.publisher({ policy: three }));
    expect(pending?.missing).toBe(1);
  });

  it('is not cosigned where it holds longer than this signer wants', async () => {
    const until = new Date(seconds(world.sigstore.now()).getTime() + 91 * DAY_MS);
    const left = await leave(tagStatement({ until }), 'alice@example.com');
    await expect(cosignTag(asBob(), left)).rejects.toMatchObject({
      code: 'TAGS_INPUT',
      cure: expect.stringContaining('--valid-for') as string,
    });
    expect(await cosignTag(asBob({ tagLifetimeMs: 92 * DAY_MS }), left)).toMatchObject({ snapshot: { version: 1 } });
  });

  it('is no revocation for who vouches, and nothing to vouch for who revokes', async () => {
    const image = world.store.pushImage('v1');
    await publishTags(asBob({ policy: policyOf([alice, bob]) }), [{ kind: 'set', tag: 'v1', target: image }]);
    await publishTags(asBob({ email: 'alice@example.com', init: false }), [{ kind: 'revoke', tag: 'v1' }]);
    const named = { tag: 'v1', expected: image.digest };
    await expect(cosignTag(asBob(), named)).rejects.toMatchObject({ code: 'TAGS_INPUT' });
    expect(await cosignTag(asBob(), { ...named, state: 'revoked' })).toMatchObject({ tags: [{ missing: 0 }] });
    expectRefused(await world.verify('v1', world.client({ policy: policyOf([alice, bob]) })), 'tag-revoked');
  });

  it('takes no garbage along into the snapshot, of which nobody would read so much', async () => {
    const statement = tagStatement();
    const left = await leave(statement, 'alice@example.com');
    const { sign } = world.publisher({ email: 'eve@example.com' });
    for (let i = 0; i < 64; i++) {
      const bundle = encodeUtf8(encodeBundle(await sign(statement.payload)));
      await putPending(world.store, statement.id, await putBundle(world.store, statement.id, bundle));
    }
    await cosignTag(asBob(), left);
    expect((await world.verify('v1', world.client({ policy }))).ok).toBe(true);
    const { manifest } = await world.store.manifest(HEAD_TAG);
    expect(manifest.kind === 'image' && manifest.layers).toHaveLength(3);
  });
});
