import { AuditError } from './error.js';
import { keepEvidence, makeEvidence } from './evidence.js';
import { compareHeads, tilesLog } from './prove.js';
import type { LogSource } from './source.js';
import { identityOf } from './state.js';
import type { LogHead } from './trust.js';

/**
 * Checks that a head follows an earlier one of the same log; else keeps both, with what excludes them, in a file of evidence.
 * @throws AuditError `AUDIT_INCONSISTENT` with that file as `evidence`; as `compareHeads` if it cannot be told
 */
export async function checkFollows(given: {
  source: LogSource;
  previous: LogHead;
  head: LogHead;
  seen: Date;
  /** What cannot be done then, as `follow the log`. */
  action: string;
  evidenceFolder: string;
}): Promise<void> {
  const { source, previous, head, seen, action, evidenceFolder } = given;
  const compared =
    identityOf(previous) === identityOf(head)
      ? await compareHeads(tilesLog(source), previous, head)
      : {
          kind: 'foreign' as const,
          explanation: `the log was ${previous.origin}, now it is ${head.origin} or has another key`,
        };
  if (compared.kind === 'consistent') return;
  const sides = { older: { head: previous, seen }, newer: { head, seen } };
  const evidence = await keepEvidence(evidenceFolder, makeEvidence({ ...compared, log: source.location, ...sides }));
  throw new AuditError('AUDIT_INCONSISTENT', `Cannot ${action}: ${compared.explanation}`, {
    cure: `Keep ${evidence}, which shows it, and ask whoever runs the log`,
    evidence,
  });
}
