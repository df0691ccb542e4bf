/**
 * One search over all trees of a log: which texts an entry can be found by, what an entry says, and answering a query from an index that
 * only suggests. Every entry of an answer was read from its tree and compared with the query, so an index that is stale or was tampered with
 * can leave out entries, never invent one; up to which tree size and root hash nothing is left out, each answer says.
 *
 * Search keys are texts. Those of Rekor v1 keep Rekor's spelling (`sha256:<hex>`, subjects bare and in lower case); others say what they are:
 * `issuer:`, `key:`, `certificate:`, `repository:`, `workflow:`. Not here: the index itself (a table of `tlog`), HTTP, who signed truly.
 *
 *     const query = parseSearchQuery({ email: 'a@example.com', issuer: 'https://accounts.google.com' });
 *     const { entries, complete, next } = await searchTrees(trees, query);
 */
export { SearchError, type SearchErrorCode } from './error.js';
export { certificateKeys, publicKeyKeys, type CertificateFacts, type Identity } from './certificate-facts.js';
export { entryCertificateKeys } from './body-facts.js';
export { digestKeys } from './digest-key.js';
export { encodeAnnexKeys, parseAnnexKeys } from './annex.js';
export {
  ctFacts,
  entryFacts,
  indexEntry,
  recordFactsV1,
  recordFactsV2,
  recordKeysCt,
  recordKeysV1,
  recordKeysV2,
  type EntryFacts,
  type RecordFacts,
  type Signer,
} from './facts.js';
export { matches, parseSearchQuery, searchParameters, type SearchQuery, type TreeName } from './query.js';
export { searchTrees, type Completeness, type SearchAnswer } from './search.js';
export { type FoundEntry, type SearchableTree, type SearchedTree } from './walk.js';
export { encodeSearchAnswer, searchAnswerSchema, type SearchAnswerJson } from './answer.js';
