import { keepEvidence, makeEvidence, type Fault } from './evidence.js';
import { compareHeads, type FailedProof, type ProvableLog } from './prove.js';
import { originOf } from './rekor.js';
import { identityOf, StateFolder, type LogState } from './state.js';
import { claimSameLog, readCheckpoint, type LogHead, type LogTrust } from './trust.js';

export interface ConsistencyOptions {
  log: ProvableLog;
  trust: LogTrust;
  /** The folder that remembers. Evidence goes there too. */
  folder: string;
}

/** What comparing a log with what is remembered of it came to. */
export type ConsistencyVerdict =
  | {
      /** `pinned`: the log was not known, and now is. */
      outcome: 'pinned';
      head: LogHead;
    }
  | { outcome: 'consistent'; head: LogHead; previous: LogState; hashes: Uint8Array[] }
  | {
      outcome: 'inconsistent';
      kind: Fault;
      explanation: string;
      head: LogHead;
      previous: LogState;
      /** The file with the evidence. */
      evidence: string;
    };

/**
 * Compares a log's newest checkpoint with the last one that was verified, and remembers the newer. Nothing is remembered of a log that contradicts
 * itself: the older checkpoint stays, and both go into a file of evidence.
 *
 * A log is known by where it was read and by origin and key, so two addresses of one log are held against each other. In a log of several shards (Rekor v1)
 * the shard that is remembered may have ended: then its last head must follow, and the new shard is pinned.
 *
 * @throws AuditError if it cannot be told: as `ProvableLog`, `readCheckpoint`; `AUDIT_STATE`, `AUDIT_FOLDER`
 */
export async function checkConsistency({ log, trust, folder }: ConsistencyOptions): Promise<ConsistencyVerdict> {
  const states = new StateFolder(folder);
  const notes = await log.readNotes();
  const [newest = ''] = notes;
  const seen = new Date(trust.nowMs);
  const origins = notes.map(originOf);
  const known = await states.load(
    trust,
    ({ note, locations }) => locations.includes(log.location) || notes.some((one) => claimSameLog(one, note)),
  );
  const hasTrust = trust.trustedRoot !== undefined || trust.logKeys !== undefined;
  const read = (note: string, state: LogState | undefined): Promise<LogHead> =>
    // Without anybody to believe, the log is held to the key it had.
    readCheckpoint(note, hasTrust || state?.key === undefined ? trust : { ...trust, logKeys: [state.key] });

  // The log that was here before must be among what is here now.
  const here = known.filter(({ locations }) => locations.includes(log.location));
  if (here.length > 0 && !here.some(({ head }) => origins.includes(head.origin))) {
    const [previous] = here.sort((a, b) => b.lastChecked.getTime() - a.lastChecked.getTime()) as [LogState];
    const head = await readCheckpoint(newest, trust);
    const explanation = `here was the log ${previous.head.origin}, now there is ${head.origin}`;
    return condemn({ kind: 'foreign', explanation, head, previous });
  }

  const checked: { head: LogHead; previous: LogState; hashes: Uint8Array[] }[] = [];
  for (const previous of known) {
    const note = notes[origins.indexOf(previous.head.origin)];
    if (note === undefined) continue; // an earlier shard, which this address does not show any more
    const head = await read(note, previous);
    if (identityOf(head) !== identityOf(previous.head)) {
      if (!previous.locations.includes(log.location)) continue; // a log elsewhere, that only has the same name
      const explanation = `the log ${head.origin} signs with another key than before`;
      return condemn({ kind: 'foreign', explanation, head, previous });
    }
    const comparison = await compareHeads(log, previous.head, head);
    if (comparison.kind !== 'consistent') return condemn({ ...comparison, head, previous });
    checked.push({ head, previous, hashes: comparison.hashes });
    await states.save({
      head,
      key: head.signedBy ?? previous.key,
      locations: [...new Set([...previous.locations, log.location])].slice(-100),
      firstSeen: previous.firstSeen,
      lastChecked: seen,
    });
  }

  const current = checked.find(({ head }) => head.note === newest) ?? undefined;
  if (current !== undefined) return { outcome: 'consistent', ...current };
  const head = await read(newest, undefined);
  await states.save({ head, key: head.signedBy, locations: [log.location], firstSeen: seen, lastChecked: seen });
  return { outcome: 'pinned', head };

  async function condemn(found: {
    kind: Fault;
    explanation: string;
    head: LogHead;
    previous: LogState;
    proof?: FailedProof;
  }): Promise<ConsistencyVerdict> {
    const { kind, explanation, head, previous, proof } = found;
    const evidence = makeEvidence({
      kind,
      explanation,
      log: log.location,
      older: { head: previous.head, seen: previous.lastChecked },
      newer: { head, seen },
      ...(proof && { proof }),
    });
    return {
      outcome: 'inconsistent',
      kind,
      explanation,
      head,
      previous,
      evidence: await keepEvidence(folder, evidence),
    };
  }
}
