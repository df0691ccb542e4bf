import { encodeBase64 } from '#libs/encoding';
import { BundleError } from './error.js';
import { JsonMessage, type MakeJsonError } from './json-message.js';

/** A hash of the tree is a SHA-256. */
const HASH_LENGTH = 32;
/** An audit path in a tree of fewer than 2^63 entries. */
const MAX_PROOF_HASHES = 63;
/** A checkpoint with room for hundreds of cosignatures. */
const MAX_CHECKPOINT_LENGTH = 65_536;

/** Where an entry stands in a Merkle tree, and the way from it to the root (RFC 9162 §2.1.3). */
export interface InclusionProof {
  /** Index *in this tree*. Rekor v1 counts `TlogEntry.logIndex` over all its trees, so the two differ there. */
  logIndex: bigint;
  treeSize: bigint;
  /** 32 bytes. */
  rootHash: Uint8Array;
  /** Sibling hashes from leaf to root, 32 bytes each. */
  hashes: Uint8Array[];
  /** The signed note over size and root. */
  checkpoint?: string;
}

/** What a transparency log says about one signature. Nothing in it is verified yet. */
export interface TlogEntry {
  /** Rekor v1: over all trees of the log; v2: in the log's one tree. */
  logIndex: bigint;
  /** Which key of the trusted root: Rekor v1, SHA-256 of the SPKI; v2, the untruncated note key ID. 1 to 32 bytes. */
  logId: Uint8Array;
  kind: string;
  version: string;
  /** Seconds since 1970; means something only together with a verified `inclusionPromise`. */
  integratedTime?: bigint;
  /** Signed entry timestamp (Rekor v1). */
  inclusionPromise?: Uint8Array;
  inclusionProof?: InclusionProof;
  /** The exact bytes of the leaf. */
  canonicalizedBody: Uint8Array;
}

const malformed: MakeJsonError = (fault, problem) =>
  new BundleError(fault === 'limit' ? 'BUNDLE_LIMIT' : 'BUNDLE_MALFORMED', `Cannot read log entry: ${problem}`);

/**
 * Reads a `TransparencyLogEntry`: one of a bundle, or a log's whole answer. `json`: what {@link parseJson} of
 * `#libs/encoding` returns for it.
 * @throws BundleError `BUNDLE_MALFORMED`, `BUNDLE_LIMIT`
 * @see sigstore/protobuf-specs: protos/sigstore_rekor.proto
 */
export function parseTlogEntry(json: unknown): TlogEntry {
  return readTlogEntry(new JsonMessage(json, '', malformed));
}

export function readTlogEntry(entry: JsonMessage): TlogEntry {
  entry.only(
    'logIndex',
    'logId',
    'kindVersion',
    'integratedTime',
    'inclusionPromise',
    'inclusionProof',
    'canonicalizedBody',
  );
  const logId = entry.requiredMessage('logId').only('keyId').requiredBytes('keyId');
  if (logId.length > 32) throw entry.fault('malformed', 'logId.keyId', 'is longer than 32 bytes');
  const kindVersion = entry.requiredMessage('kindVersion').only('kind', 'version');
  const integratedTime = entry.count64('integratedTime');
  const promise = entry.message('inclusionPromise')?.only('signedEntryTimestamp').requiredBytes('signedEntryTimestamp');
  const proof = entry.message('inclusionProof');
  return {
    logIndex: entry.count64('logIndex'),
    logId,
    kind: kindVersion.requiredString('kind', 64),
    version: kindVersion.requiredString('version', 64),
    // proto3 cannot tell 0 from absent, and Rekor v2 writes 0 for "no such time".
    ...(integratedTime === 0n ? {} : { integratedTime }),
    ...(promise === undefined ? {} : { inclusionPromise: promise }),
    ...(proof === undefined ? {} : { inclusionProof: readInclusionProof(proof) }),
    canonicalizedBody: entry.requiredBytes('canonicalizedBody'),
  };
}

function readInclusionProof(proof: JsonMessage): InclusionProof {
  proof.only('logIndex', 'rootHash', 'treeSize', 'hashes', 'checkpoint');
  const logIndex = proof.count64('logIndex');
  const treeSize = proof.count64('treeSize');
  if (logIndex >= treeSize) {
    throw proof.fault('malformed', 'logIndex', `${logIndex} is not below treeSize ${treeSize}`);
  }
  const rootHash = proof.requiredBytes('rootHash');
  const hashes = proof.bytesList('hashes', MAX_PROOF_HASHES);
  for (const hash of [rootHash, ...hashes]) {
    if (hash.length !== HASH_LENGTH) {
      throw proof.fault(
        'malformed',
        hash === rootHash ? 'rootHash' : 'hashes',
        `must have ${HASH_LENGTH} bytes, not ${hash.length}`,
      );
    }
  }
  const checkpoint = proof.message('checkpoint')?.only('envelope').requiredString('envelope', MAX_CHECKPOINT_LENGTH);
  return { logIndex, treeSize, rootHash, hashes, ...(checkpoint === undefined ? {} : { checkpoint }) };
}

/**
 * The inverse of {@link parseTlogEntry}: an object for `JSON.stringify`, int64 as decimal strings, bytes as base64.
 * `emitDefaults` also writes what is absent (`"integratedTime": "0"`, `"inclusionPromise": null`), as a Rekor v2 log
 * answers; in bundles it stays away.
 */
export function encodeTlogEntry(
  entry: TlogEntry,
  { emitDefaults = false }: { emitDefaults?: boolean } = {},
): Record<string, unknown> {
  const { integratedTime, inclusionPromise, inclusionProof: proof } = entry;
  return {
    // Always written: index 0 is an index like any other, and readers differ in what an absent one means.
    logIndex: entry.logIndex.toString(),
    logId: { keyId: encodeBase64(entry.logId) },
    kindVersion: { kind: entry.kind, version: entry.version },
    ...(integratedTime !== undefined || emitDefaults ? { integratedTime: (integratedTime ?? 0n).toString() } : {}),
    ...(inclusionPromise !== undefined
      ? { inclusionPromise: { signedEntryTimestamp: encodeBase64(inclusionPromise) } }
      : emitDefaults
        ? { inclusionPromise: null }
        : {}),
    ...(proof !== undefined
      ? {
          inclusionProof: {
            logIndex: proof.logIndex.toString(),
            rootHash: encodeBase64(proof.rootHash),
            treeSize: proof.treeSize.toString(),
            hashes: proof.hashes.map(encodeBase64),
            ...(proof.checkpoint === undefined ? {} : { checkpoint: { envelope: proof.checkpoint } }),
          },
        }
      : emitDefaults
        ? { inclusionProof: null }
        : {}),
    canonicalizedBody: encodeBase64(entry.canonicalizedBody),
  };
}
