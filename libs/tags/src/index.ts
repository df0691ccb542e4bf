/**
 * Trusted tags: signed, logged, short-lived statements "in this repository this tag means this digest", kept in the registry beside the image. What
 * Docker Content Trust had, without its server and its keys. The format and what it resists are in docs/trusted-tags.md.
 *
 * Under the tag `_trusted-tags` of a repository is one manifest of Sigstore bundles: one with the *snapshot*, an in-toto statement that lists all tags
 * with version, digest and the SHA-256 of their statements; and for each tag those with its own statement, by its own signers:
 *
 *   {"_type":"https://in-toto.io/Statement/v1","predicate":{"digest":"sha256:6a2b…","from":"2026-06-01T12:00:00Z","issued":"2026-06-01T12:00:00Z",
 *    "mediaType":"application/vnd.oci.image.manifest.v1+json","repository":"registry.example.com/app","size":1234,"state":"current","tag":"1.4",
 *    "threshold":1,"until":"2027-06-01T12:00:00Z","version":1},"predicateType":"urn:chancery:trusted-tag:v1","subject":[…]}
 *
 *     const report = await verifyTags({ store, repository, policy, trustedRoot, crypto, now: Date.now, memory: stateFolder(folder) }, ['1.4']);
 *     if (report.ok) report.tags?.[0]?.statement.digest;   // what to pull
 *
 * Not here: whether the image itself is signed (`image`), files of policies and keys, the command line.
 */
export { tagCheckIds, type TagCheck, type TagCheckId } from './checks.js';
export { cosignTag } from './cosign.js';
export { TagError, type TagErrorCode } from './error.js';
export { readHistory, type History, type HistoryEntry } from './history.js';
export { type Remembered, type TagMemory } from './memory.js';
export { pendingTags, type PendingTag } from './pending.js';
export {
  parseAge,
  policyOfOne,
  readTagPolicy,
  type ReadPolicyOptions,
  type SignerIdentity,
  type TagPolicy,
  type TagRule,
  type TagSigner,
} from './policy.js';
export { publishTags, refreshSnapshot, type Published, type PublishedTag, type TagChange } from './publish.js';
export { type PublishContext } from './publisher.js';
export { HEAD_TAG, SNAPSHOT_ARTIFACT_TYPE, type TagReader, type TagStore } from './record.js';
export { type CountedSignature, type Trust } from './signatures.js';
export { type TagContext } from './snapshot.js';
export { stateFolder } from './state-folder.js';
export {
  encodeSnapshot,
  encodeTagStatement,
  parseSnapshot,
  parseTagStatement,
  SNAPSHOT_PREDICATE_TYPE,
  TAG_PREDICATE_TYPE,
  type SnapshotEntry,
  type SnapshotId,
  type SnapshotStatement,
  type TagStatement,
  type Written,
} from './statement.js';
export { verifyTags, type TagReport, type VerifiedTag } from './verify.js';
