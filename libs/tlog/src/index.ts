/**
 * Transparency logs: trees that only grow, whose every head is signed, and which prove each entry before they
 * acknowledge it.
 *
 * Several trees share one database (heads, right edges, unfinished bundles, deduplication and search keys) and one
 * object store (full tiles, full entry bundles, the newest checkpoint), laid out as in C2SP tlog-tiles:
 * `<tree>/checkpoint`, `<tree>/tile/0/x001/067`, `<tree>/tile/entries/x001/067`. What a record is, the `TreeFormat`
 * says: an entry, or one with its time and annex, which lie beside the bundle in `<tree>/tile/annex/x001/067`. What may
 * be logged, by which texts it is found, who signs, and HTTP are the caller's.
 *
 *     const lock = await lockFolder('data');
 *     const store = await openSqlStore({ file: 'data/log.sqlite', create: true });
 *     const tree = await openTree({ store, objects: folderObjects('data/objects'), name: 'log', origin: 'log.example', format: entriesFormat,
 *       signers: () => [signer], verifier, now: Date.now, create: true });
 *     const { index, proof, checkpoint } = await tree.add({ identity: leafHash(sha256, entry), encode: () => entry, keys: ['who@example.com'] });
 *     const { indexes } = await tree.findByKeys({ keys: ['who@example.com'], match: 'all', below: tree.head().size, limit: 20 });
 */
export { type Place, TlogError, type TlogErrorCode } from './errors.js';
export { type BundleSidecar, entriesFormat, type TreeFormat } from './format.js';
export { type AnnexedEntry, annexedEntriesFormat, encodeAnnexedEntry, parseAnnexedEntry } from './annexed-entry.js';
export { folderObjects, type ObjectStore } from './objects.js';
export { openSqlStore, type Query, type SqlStore, type SqlTransaction } from './sql-store.js';
export { type FolderLock, lockFolder } from './lock.js';
export { openTree, Tree, type TreeOptions } from './tree.js';
export { type TreeGauge, treeGauges } from './gauges.js';
export { type TreeParts } from './state.js';
export { type Head } from './rows.js';
export { type Addition, type Receipt } from './assign.js';
export { type KeyMatches, type KeyQuery } from './find.js';
export { type ReindexOptions } from './reindex.js';
export { type ConsistencyProof, type Proof } from './prove.js';
