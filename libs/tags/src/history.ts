import { Checklist, Objection } from './checks.js';
import { TagError } from './error.js';
import { ruleFor } from './policy.js';
import { HEAD_TAG, snapshotTag, type TagStore } from './record.js';
import { countSignatures, type CountedSignature } from './signatures.js';
import { checkSnapshot, readEvidence, type TagContext, type VerifiedSnapshot } from './snapshot.js';
import {
  parseTagStatement,
  TAG_PREDICATE_TYPE,
  type SnapshotEntry,
  type SnapshotId,
  type TagStatement,
} from './statement.js';
import { checkBinding } from './verify.js';

/** One state of a tag. */
export interface HistoryEntry {
  readonly entry: SnapshotEntry;
  /** The snapshot that had it first. */
  readonly snapshot: SnapshotId & { readonly issued: Date; readonly signer: string };
  /** The statement, where the registry still has it. */
  readonly statement: TagStatement | undefined;
  /** By the policy of today: somebody who signed then may be no signer now. */
  readonly signatures: readonly CountedSignature[];
  readonly refused: readonly string[];
}

export interface History {
  /** Newest first. */
  readonly entries: readonly HistoryEntry[];
  /** How many snapshots were read. */
  readonly snapshots: number;
  /** What is missing or does not fit; empty when the chain is whole, back to the first version. */
  readonly gaps: readonly string[];
  /** The walk stopped because it had read enough, not because it was at the beginning. */
  readonly isCut: boolean;
}

/**
 * Follows the chain of snapshots back from the newest one, and with it the statements about one tag. Each link is the digest of a signed statement,
 * so that nothing can be put in or changed; what was removed shows as a gap.
 *
 * @throws TagError what the checks of the newest snapshot say; OciError
 */
export async function readHistory(
  context: TagContext & { readonly store: TagStore },
  tag: string,
  limit = 1000,
): Promise<History> {
  const { store, repository, policy, now, trustedRoot, crypto } = context;
  const { signers } = ruleFor(policy, tag);
  const gaps: string[] = [];
  const found = new Map<string, HistoryEntry>();
  // The memory is asked about the newest state alone: the older ones are older.
  let at: VerifiedSnapshot | undefined = await checkSnapshot(new Checklist(), context, {
    reference: HEAD_TAG,
    anyAge: true,
  });
  const waiting: SnapshotId[] = [];
  const seen = new Set<string>([at.statement.id]);
  let snapshots = 0;
  for (;;) {
    if (at !== undefined) {
      snapshots++;
      const { value, id } = at.statement;
      const entry = value.tags.find((one) => one.tag === tag);
      if (entry !== undefined) {
        const { statement, signatures, refused } = await readStatement(at, entry);
        const { version, issued } = value;
        found.set(entry.statement, {
          entry,
          snapshot: { version, statement: id, issued, signer: at.signature.signer },
          statement,
          signatures,
          refused,
        });
      }
      for (const link of [...(value.previous ? [value.previous] : []), ...value.merged]) {
        if (seen.has(link.statement)) continue;
        seen.add(link.statement);
        waiting.push(link);
      }
    }
    // The highest version next, so that of two branches neither runs ahead.
    waiting.sort((a, b) => a.version - b.version);
    const next = waiting.pop();
    if (next === undefined) break;
    if (snapshots >= limit) return finish(true);
    at = await follow(next);
  }
  return finish(false);

  async function follow(link: SnapshotId): Promise<VerifiedSnapshot | undefined> {
    const bare: TagContext = { store, repository, policy, now, trustedRoot, crypto };
    try {
      const read = await checkSnapshot(new Checklist(), bare, { reference: snapshotTag(link), anyAge: true });
      if (read.statement.id === link.statement) return read;
      gaps.push(
        `version ${link.version} of the snapshots is another: ${read.statement.id}, expected ${link.statement}`,
      );
    } catch (error) {
      if (!(error instanceof TagError) || error.check === undefined) throw error;
      gaps.push(`version ${link.version} of the snapshots: ${error.message}`);
    }
    return undefined;
  }

  async function readStatement(
    { record }: VerifiedSnapshot,
    entry: SnapshotEntry,
  ): Promise<Pick<HistoryEntry, 'statement' | 'signatures' | 'refused'>> {
    const evidence = await readEvidence(store, record, entry.statement);
    if (evidence === undefined)
      return { statement: undefined, signatures: [], refused: ['the statement is not in the registry'] };
    try {
      const { value, id, subject } = parseTagStatement(evidence.payload);
      // Else whoever signs snapshots could show a good statement about something else as what was said of this.
      checkBinding(value, entry, { repository, tag });
      const signed = { id, subject, predicateType: TAG_PREDICATE_TYPE };
      const { counted, refused } = await countSignatures(evidence.bundles, signed, signers, context);
      return { statement: value, signatures: counted, refused };
    } catch (error) {
      if (!(error instanceof TagError || error instanceof Objection)) throw error;
      return { statement: undefined, signatures: [], refused: [error.message] };
    }
  }

  function finish(isCut: boolean): History {
    const entries = [...found.values()].sort((a, b) => b.entry.version - a.entry.version);
    if (!isCut) entries.forEach((one, i) => checkLink(one, entries[i + 1]));
    return { entries, snapshots, gaps, isCut };
  }

  function checkLink({ entry, statement }: HistoryEntry, before: HistoryEntry | undefined): void {
    if (statement === undefined) gaps.push(`version ${entry.version} of ${tag}: its statement is missing`);
    else if (statement.previous !== before?.entry.statement) {
      gaps.push(
        `version ${entry.version} of ${tag} follows ${statement.previous ?? 'nothing'}, which is not in the chain`,
      );
    }
  }
}
