// The search index of an instance is derived: what `chancery log reindex` makes from the tiles is what appending wrote.
import { join } from 'node:path';
import { attest, sign } from 'sigstore';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLog } from '#libs/nest';
import { openSqlStore } from '#libs/tlog';
import { startWorld, type World } from '../../../test/world/index.js';
import { readStackConfig } from './config.js';
import { reindexSearch, type ReindexProgress } from './reindex.js';

const statement = JSON.stringify({
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ name: 'hello.txt', digest: { sha256: 'ab'.repeat(32) } }],
  predicateType: 'https://example.com/predicate/v1',
  predicate: {},
});

describe('reindexSearch()', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
    for (const email of ['alice@example.com', 'bob@example.com']) {
      const identityToken = await world.token({ email });
      const v1 = { fulcioURL: world.url, rekorURL: world.url, identityToken };
      await sign(Buffer.from(`by ${email}`), v1);
      await attest(Buffer.from(statement), 'application/vnd.in-toto+json', v1);
    }
  });
  afterAll(() => world.close());

  interface Pair {
    key: string;
    tree: number;
    idx: string;
  }

  async function withStore<T>(work: (store: Awaited<ReturnType<typeof openSqlStore>>) => Promise<T>): Promise<T> {
    const store = await openSqlStore({ file: join(world.folder, 'chancery.db') });
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  }

  const pairs = (): Promise<Pair[]> =>
    withStore(({ read }) =>
      read<Pair>(
        'SELECT CAST(key AS text) AS key, tree, CAST(idx AS text) AS idx FROM search_key ORDER BY search_key.key, tree, search_key.idx',
      ),
    );

  const reindex = (progress?: (progress: ReindexProgress) => void) => {
    const now = (): Date => new Date();
    const log = createLog({ format: 'json', now, write: () => {} });
    const config = readStackConfig({ data: world.folder, dev: true }, {});
    return reindexSearch(config, { now, log, ...(progress && { progress }) });
  };

  const search = async (query: string): Promise<unknown> => (await fetch(`${world.url}/api/search?${query}`)).json();

  it('refuses while the instance is running', async () => {
    await expect(reindex()).rejects.toMatchObject({ code: 'TLOG_LOCKED' });
  });

  // lessons: "Public search index: 80 % SLO, gaps"
  it('public search index: dropped and rebuilt from the tiles it is equal, and so are the answers', async () => {
    const queries = ['email=alice@example.com', `digest=sha256:${'ab'.repeat(32)}`, `issuer=${world.issuer}`];
    const answers = await Promise.all(queries.map(search));
    expect(answers).toMatchObject([{ entries: [{}, {}, {}, {}] }, { entries: [{}, {}] }, {}]);
    await world.stop();
    const written = await pairs();
    expect(written.length).toBeGreaterThan(20);

    const seen: ReindexProgress[] = [];
    const results = await reindex((one) => seen.push(one));
    expect(results.map(({ tree, done, total }) => [tree, done === total])).toEqual([
      ['v2', true],
      ['v1', true],
      ['ct', true],
    ]);
    expect(seen.length).toBeGreaterThan(0);
    expect(await pairs()).toEqual(written);
    await world.restart();
    expect(await Promise.all(queries.map(search))).toEqual(answers);
  });

  it('completes an index that is not complete when it serves again, and says how far it is meanwhile', async () => {
    await world.stop();
    const written = await pairs();
    await withStore(async (store) => {
      const transaction = await store.begin();
      await transaction.query('DELETE FROM search_key');
      await transaction.query('UPDATE search_state SET size = 0');
      await transaction.commit();
    });
    await world.restart();
    await expect
      .poll(() => world.log.filter((line) => line.includes('search index complete')).length, { timeout: 20_000 })
      .toBe(2);
    await world.stop();
    expect(await pairs()).toEqual(written);
    await world.restart();
  });
});
