import { afterAll, expect, it } from 'vitest';
import { treeGauges } from './gauges.js';
import { TestLog } from './test-log.js';

const { log, tree } = await TestLog.create();
afterAll(() => log.remove());

it('treeGauges() gives what each tree says at the moment of asking', async () => {
  const other = await log.open({ name: 'other', create: true });
  const gauges = treeGauges({ v2: tree, v1: other });
  const look = () => Object.fromEntries(gauges.map(({ name, collect }) => [name, collect()]));
  const quiet = { chancery_waiting_entries: { v2: 0, v1: 0 }, chancery_tree_halted: { v2: 0, v1: 0 } };
  expect(look()).toEqual({ ...quiet, chancery_tree_size_entries: { v2: 0n, v1: 0n } });
  await log.add(tree, 'an entry');
  expect(look()).toEqual({ ...quiet, chancery_tree_size_entries: { v2: 1n, v1: 0n } });

  const store = await log.openStore();
  const transaction = await store.begin();
  await transaction.query('UPDATE edge SET hashes = zeroblob(length(hashes)) WHERE tree = 1', []);
  await transaction.commit();
  await expect(log.add(tree, 'another')).rejects.toMatchObject({ code: 'TLOG_CORRUPT' });
  expect(look()).toMatchObject({ chancery_tree_halted: { v2: 1, v1: 0 } });
});
