import { expect, it } from 'vitest';
import { entryAlgorithms } from '#libs/entry';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import { pkiFormats } from '#libs/pki';
import { type ObjectStore, TlogError, type Tree } from '#libs/tlog';
import { intoto1, intoto2 } from '../testing/proposals.js';
import { Attestations } from './rekor1-attestations.js';
import { CreateLogEntry } from './rekor1-create.js';

it.each([
  ['TLOG_CORRUPT', new TlogError('TLOG_CORRUPT', 'Cannot add entry: the tree was stopped'), 0],
  ['TLOG_STORE', undefined, 2],
] as const)('CreateLogEntry keeps no statement for a tree that was stopped: %s', async (code, halted, expected) => {
  const kept: string[] = [];
  const objects = { putIfAbsent: async (path: string) => void kept.push(path) } as unknown as ObjectStore;
  const tree = { halted, add: async () => Promise.reject(new TlogError(code, 'Cannot add entry')) } as unknown as Tree;
  const flow = new CreateLogEntry({
    shard: { tree, treeId: 1n, logId: new Uint8Array(32), signer: generateSigner('P-256') },
    ports: {
      ...{ pki: pkiFormats, hash: opensslCrypto.hash, verifyDigest: opensslCrypto.verifyDigest },
      ...{ algorithms: entryAlgorithms, checkTimestampResponse: () => undefined },
    },
    attestations: new Attestations(objects, 10_000),
  });
  for (const proposal of [intoto1(), intoto2()]) {
    await expect(flow.create(Buffer.from(JSON.stringify(proposal)))).rejects.toMatchObject({ code });
  }
  expect(kept).toHaveLength(expected);
});
