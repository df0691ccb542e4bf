/**
 * Auditing transparency logs, ours or anyone's, over HTTP or in a folder: is every entry in the tree (`fsck`), did the log only grow
 * (`checkConsistency`), a verified copy (`mirror`), and what is new in it (`follow`). Nothing that a log says is believed before it hashes to a
 * checkpoint; what contradicts a checkpoint is kept as evidence that stands on its own.
 *
 * Not here: what entries mean (`entry`, `search`), the log itself (`tlog`), the command line.
 *
 * A log is a prefix (URL or folder) with `checkpoint` and `tile/<L>/<N>` below it, and `tile/entries/<N>` (C2SP tlog-tiles) or `tile/data/<N>` and
 * `issuer/<fingerprint>` (C2SP static-ct-api):
 *
 *     const source = urlSource('https://log.example/api/v2', { fetch });
 *     const head = await readCheckpoint(await source.readNote(), { trustedRoot, nowMs: Date.now() });
 *     const { outcome, problems } = await fsck({ source, layout: await detectLayout(source, head.size), head });
 */
export { AuditError, type AuditErrorCode, type AuditErrorOptions } from './error.js';
export { type HttpOptions } from './http.js';
export { detectLayout, folderSource, type LogSource, urlSource } from './source.js';
export { type Layout } from './layout.js';
export {
  claimedSigner,
  type LogHead,
  type LogKey,
  type LogSigner,
  type LogTrust,
  parseLogKey,
  readCheckpoint,
} from './trust.js';
export { type ProvenEntry, VerifiedTree, type VerifiedBundle } from './tiles.js';
export { fsck, type FsckOptions, type FsckReport } from './fsck.js';
export { type Problem } from './judge.js';
export { type Picked } from './inspect.js';
export { textFilter, type TextFilter } from './text-filter.js';
export {
  checkProof,
  compareHeads,
  type Contradiction,
  type FailedProof,
  type LogProof,
  type ProvableLog,
  tilesLog,
} from './prove.js';
export { rekorLog, type RekorLog } from './rekor.js';
export { checkConsistency, type ConsistencyOptions, type ConsistencyVerdict } from './consistency.js';
export { type LogState } from './state.js';
export { checkEvidence, type Evidence, type EvidenceVerdict, type Fault, MAX_EVIDENCE_BYTES } from './evidence.js';
export { mirror, type MirrorOptions, type MirrorReport } from './mirror.js';
export { type Followed, followLog, type FollowOptions, type LoggedEntry, readEntries } from './follow.js';
