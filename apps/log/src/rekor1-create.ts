import { loadProposals, type V1Ports } from '#libs/entry';
import { encodeAnnexedEntry } from '#libs/tlog';
import { proposalKeys } from './entry-keys.js';
import type { Attestations } from './rekor1-attestations.js';
import { DuplicateLogEntryError } from './rekor1-errors.js';
import { encodeLogEntry, entryIdOf, type RekorShard, writeLogEntry } from './rekor1-log.js';
import { parseRekorBody } from './rekor1-request.js';

const { proposeEntry } = await loadProposals();

export interface CreateLogEntryOptions {
  readonly shard: RekorShard;
  readonly ports: V1Ports;
  /** Keeps statements of `intoto` entries. */
  readonly attestations?: Attestations;
}

/** POST /api/v1/log/entries: a proposed entry in, its LogEntry out, with the promise and the proof that it is in the tree. */
export class CreateLogEntry {
  constructor(private readonly options: CreateLogEntryOptions) {}

  /**
   * @throws RekorError, RekorSchemaError, EntryError, PkiError for an entry that cannot be logged
   * @throws DuplicateLogEntryError when it is there already
   * @throws TlogError when the log cannot take it now
   */
  async create(body: Uint8Array | undefined): Promise<{ id: string; json: string }> {
    const { shard, ports, attestations } = this.options;

    // 1. Schema, keys, signatures and policy. What remains are the canonical bytes, and what the log keeps beside them.
    const { leafInput, annex, keys, attestation } = await proposed(body, ports);

    // 2. The statement is durable before the entry that points to it: a crash in between leaves a statement that no entry
    //    names, and never an acknowledged entry without its statement. A full queue leaves one too. A tree that was stopped
    //    stays so until somebody repairs it, and would leave one for each request: there nothing is kept.
    if (attestation !== undefined && shard.tree.halted === undefined) await attestations?.keep(attestation);

    // 3. The leaf hash is the entry's identity. From here on a crash either leaves no trace or leaves the entry in the tree, with
    //    its search keys; the client that repeats itself gets 409 and the place of the entry.
    const receipt = await shard.tree.add({
      leafInput,
      encode: (_index, timestampMs) => encodeAnnexedEntry({ timestampMs, annex, entry: leafInput }),
      keys,
    });
    if (receipt.duplicate) throw new DuplicateLogEntryError(entryIdOf(shard.treeId, receipt.leafHash));

    // 4. The engine proved the entry against the checkpoint it just published. Only now may it be promised.
    const { id, entry } = encodeLogEntry(shard, receipt);
    return { id, json: writeLogEntry(id, entry) };
  }
}

/** What is left of a proposal once it is proven: its certificates and the rest need not outlive the wait for the batch. */
async function proposed(body: Uint8Array | undefined, ports: V1Ports) {
  const proposal = await proposeEntry(parseRekorBody(body, 'proposedEntry'), ports, { insert: true });
  return { leafInput: proposal.body, attestation: proposal.attestation, ...proposalKeys(proposal) };
}
