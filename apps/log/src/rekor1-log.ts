import type { Signer } from '#libs/crypto';
import { encodeHex, encodeUtf8 } from '#libs/encoding';
import { parseAnnexedEntry, type Receipt, type Tree } from '#libs/tlog';

/**
 * A tree of the Rekor v1 log, which Rekor calls a shard, with what its entries are named by and promised with. There is one, so an entry's index in the
 * whole log (*virtual* index, which promises state) is that in the tree, and no shard is inactive.
 */
export interface RekorShard {
  readonly tree: Tree;
  /** 1 to 2^63-1. In checkpoints and queries decimal, in entry IDs hex. */
  readonly treeId: bigint;
  /** SHA-256 of the key's SubjectPublicKeyInfo. */
  readonly logId: Uint8Array;
  /** The key of checkpoints and promises, P-256. */
  readonly signer: Signer;
}

/** What an answer says of one entry. JSON numbers where Rekor v2 has strings. */
export interface LogEntry {
  readonly attestation?: { readonly data: string };
  /** Base64 of the canonical bytes. */
  readonly body: string;
  /** Seconds since 1970. */
  readonly integratedTime: number;
  readonly logID: string;
  readonly logIndex: number;
  readonly verification: {
    readonly inclusionProof: {
      readonly checkpoint: string;
      readonly hashes: readonly string[];
      readonly logIndex: number;
      readonly rootHash: string;
      readonly treeSize: number;
    };
    readonly signedEntryTimestamp: string;
  };
}

/** An entry's name: the tree ID in 16 hex digits and the leaf hash in 64. */
export function entryIdOf(treeId: bigint, hash: Uint8Array): string {
  return treeId.toString(16).padStart(16, '0') + encodeHex(hash);
}

/** The fields that a signed entry timestamp promises. */
export type PromisedFields = Pick<LogEntry, 'body' | 'integratedTime' | 'logID' | 'logIndex'>;

/**
 * What a signed entry timestamp (SET) signs: these four fields in RFC 8785's form. Written directly, because sorted names, texts of base64 and hex, and
 * whole numbers below 2^53 leave that form nothing to decide.
 */
export function promiseInput({ body, integratedTime, logID, logIndex }: PromisedFields): Uint8Array {
  return encodeUtf8(`{"body":"${body}","integratedTime":${integratedTime},"logID":"${logID}","logIndex":${logIndex}}`);
}

/**
 * An entry as answers hold it, under its ID. The promise is signed anew for each answer, over fields that never change.
 * `attestation`: the statement that is kept outside the log; no signature of the log covers it.
 */
export function encodeLogEntry(
  shard: RekorShard,
  receipt: Receipt,
  attestation?: Uint8Array,
): { id: string; entry: LogEntry } {
  const { timestampMs, entry } = parseAnnexedEntry(receipt.record);
  const { proof } = receipt;
  const logIndex = Number(receipt.index);
  const promised: PromisedFields = {
    body: base64(entry),
    integratedTime: Number(timestampMs / 1000n),
    logID: encodeHex(shard.logId),
    logIndex,
  };
  return {
    id: entryIdOf(shard.treeId, receipt.leafHash),
    entry: {
      ...(attestation && { attestation: { data: base64(attestation) } }),
      ...promised,
      verification: {
        inclusionProof: {
          checkpoint: receipt.checkpoint,
          hashes: proof.hashes.map(encodeHex),
          logIndex,
          rootHash: encodeHex(proof.rootHash),
          treeSize: Number(proof.size),
        },
        signedEntryTimestamp: base64(shard.signer.sign(promiseInput(promised))),
      },
    },
  };
}

/**
 * The answer that holds one entry, byte for byte as `JSON.stringify` would write it. Written directly: texts of base64 and hex and whole numbers need no
 * escaping, and looking for it in some six thousand characters costs more than the proof.
 */
export function writeLogEntry(id: string, { attestation, verification, ...promised }: LogEntry): string {
  const { body, integratedTime, logID, logIndex } = promised;
  const { inclusionProof: proof, signedEntryTimestamp } = verification;
  const data = attestation === undefined ? '' : `"attestation":{"data":"${attestation.data}"},`;
  const hashes = proof.hashes.length === 0 ? '' : `"${proof.hashes.join('","')}"`;
  return (
    `{"${id}":{${data}"body":"${body}","integratedTime":${integratedTime},"logID":"${logID}","logIndex":${logIndex},"verification":` +
    `{"inclusionProof":{"checkpoint":${JSON.stringify(proof.checkpoint)},"hashes":[${hashes}],"logIndex":${proof.logIndex},` +
    `"rootHash":"${proof.rootHash}","treeSize":${proof.treeSize}},"signedEntryTimestamp":"${signedEntryTimestamp}"}}}`
  );
}

/** The platform's own encoder: on the way of every entry the portable one would be among what costs most. */
function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
