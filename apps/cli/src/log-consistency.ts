import { encodeBase64, encodeHex } from '#libs/encoding';
import {
  checkConsistency,
  checkEvidence,
  compareHeads,
  MAX_EVIDENCE_BYTES,
  readCheckpoint,
  type LogHead,
} from '#libs/audit';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { readInput } from './files.js';
import { openLog, orUntold, readLogTrust, stateFolder, type LogOptions } from './log-open.js';
import { explain, headJson } from './log-text.js';
import { columns, jsonText, printable, style } from './style.js';

export interface ConsistencyCommand extends LogOptions {
  old?: string;
  state?: string;
  evidence?: string;
}

const MAX_CHECKPOINT_BYTES = 64 * 1024;

/** `log consistency`: the log of today contains the log of then. */
export async function showConsistency(terminal: Terminal, options: ConsistencyCommand): Promise<ExitCode> {
  const { old, state, evidence } = options;
  if ([old, state, evidence].filter((one) => one !== undefined).length > 1) {
    throw new CliError('usage', 'Cannot compare: give only one of --old, --state and --evidence');
  }
  if (evidence !== undefined) return showEvidence(terminal, evidence, options);
  return old === undefined ? compareWithState(terminal, options) : compareWithFile(terminal, old, options);
}

/** With what is remembered of the log. */
async function compareWithState(terminal: Terminal, options: ConsistencyCommand): Promise<ExitCode> {
  const folder = stateFolder(terminal, options.state);
  const verdict = await orUntold(
    (async () => {
      const log = await openLog(terminal, options);
      if (options.origin !== undefined) await log.readHead();
      return checkConsistency({ log: log.provable, trust: log.trust, folder });
    })(),
  );
  const { outcome, head } = verdict;
  if (outcome === 'inconsistent') {
    const { kind, explanation, previous, evidence } = verdict;
    return reportInconsistent(terminal, options, { kind, explanation, older: previous.head, newer: head, evidence });
  }
  if (options.json) {
    terminal.out(
      jsonText({
        ok: true,
        outcome,
        ...(outcome === 'consistent' && {
          old: { ...headJson(verdict.previous.head), lastChecked: verdict.previous.lastChecked },
          hashes: verdict.hashes.map((hash) => encodeBase64(hash)),
        }),
        new: headJson(head),
        state: folder,
      }),
    );
    return exitCodes.ok;
  }
  if (outcome === 'pinned') {
    terminal.out(
      `First look at the log ${printable(head.origin)}: its ${head.size} entries are remembered, and from now on it is held to them.\n`,
    );
    explain(terminal, head, [['remembered in', printable(folder)]]);
    return exitCodes.ok;
  }
  reportConsistent(terminal, { older: verdict.previous.head, newer: head, hashes: verdict.hashes.length });
  return exitCodes.ok;
}

/** With a checkpoint that was kept. Both are verified alike. */
async function compareWithFile(terminal: Terminal, old: string, options: ConsistencyCommand): Promise<ExitCode> {
  const trust = await readLogTrust(terminal, options);
  const older = await readCheckpoint(await readInput(old, 'the older checkpoint', MAX_CHECKPOINT_BYTES), trust);
  const { newer, comparison } = await orUntold(
    (async () => {
      const log = await openLog(terminal, options);
      const newer = await log.readHead();
      if (newer.origin !== older.origin) {
        const explanation = `the older checkpoint is of ${older.origin}, the log is ${newer.origin}`;
        return { newer, comparison: { kind: 'foreign' as const, explanation } };
      }
      return { newer, comparison: await compareHeads(log.provable, older, newer) };
    })(),
  );
  if (comparison.kind !== 'consistent') {
    const { kind, explanation } = comparison;
    return reportInconsistent(terminal, options, { kind, explanation, older, newer });
  }
  if (options.json) {
    terminal.out(
      jsonText({
        ok: true,
        outcome: 'consistent',
        old: headJson(older),
        new: headJson(newer),
        hashes: comparison.hashes.map((hash) => encodeBase64(hash)),
      }),
    );
    return exitCodes.ok;
  }
  reportConsistent(terminal, { older, newer, hashes: comparison.hashes.length });
  return exitCodes.ok;
}

function reportConsistent(
  terminal: Terminal,
  { older, newer, hashes }: { older: LogHead; newer: LogHead; hashes: number },
): void {
  const grown = newer.size - older.size;
  terminal.out(
    `The log ${printable(newer.origin)} has kept its first ${older.size} entries${grown === 0n ? ' and has no new ones' : `; ${grown} came after them`}.\n`,
  );
  explain(terminal, newer, [
    ['older size', older.size.toString()],
    ['older root', encodeHex(older.rootHash)],
    ['proof', `${hashes} hashes`],
  ]);
}

function reportInconsistent(
  terminal: Terminal,
  { json }: LogOptions,
  found: { kind: string; explanation: string; older: LogHead; newer: LogHead; evidence?: string },
): ExitCode {
  const { kind, explanation, older, newer, evidence } = found;
  if (json) {
    const verdict = { ok: false, outcome: 'inconsistent', kind, explanation, evidence: evidence ?? null };
    terminal.out(jsonText({ ...verdict, old: headJson(older), new: headJson(newer) }));
    return exitCodes.failed;
  }
  const paint = style(terminal.colours.err);
  terminal.err(`${paint.bad('error:')} INCONSISTENT (${kind}): ${printable(explanation)}\n`);
  const isSigned = older.signedBy !== undefined && newer.signedBy !== undefined;
  terminal.err(
    columns([
      ['before', `${printable(older.origin)}, size ${older.size}, root ${encodeHex(older.rootHash)}`],
      ['now', `${printable(newer.origin)}, size ${newer.size}, root ${encodeHex(newer.rootHash)}`],
      ['signatures', isSigned ? 'both verified' : 'not verified: it may be the connection that lies'],
      ...(evidence === undefined ? [] : [['evidence', printable(evidence)] as const]),
    ]),
  );
  if (evidence !== undefined) {
    terminal.err(
      `${paint.faint('cure:')}  Keep that file, and show it to whoever runs the log and to others who rely on it\n`,
    );
  }
  return exitCodes.failed;
}

/** What a file of evidence shows by itself. Never exit code 0: it cannot show that a log is consistent. */
async function showEvidence(terminal: Terminal, path: string, options: ConsistencyCommand): Promise<ExitCode> {
  const bytes = await readInput(path, 'the evidence', MAX_EVIDENCE_BYTES);
  const { evidence, holds, reason, signatures } = await checkEvidence(bytes, await readLogTrust(terminal, options));
  const { kind, log, older, newer, keys } = evidence;
  if (options.json) {
    terminal.out(
      jsonText({
        ok: false,
        outcome: holds ? 'inconsistent' : 'untold',
        kind,
        reason,
        signatures,
        log,
        older,
        newer,
        keys,
      }),
    );
  } else {
    const paint = style(terminal.colours.out);
    terminal.out(
      holds
        ? `${paint.bad(`INCONSISTENT (${kind})`)}: ${printable(reason)}\n`
        : `${paint.warn('This file shows nothing')}: ${printable(reason)}\n`,
    );
    const own =
      'good by the keys that the file itself names: compare them with those of the log, or give --trusted-root';
    const said = {
      trusted: 'good by the keys you trust',
      'own keys': own,
      'not verified': 'there are no keys in it: anybody could have written it',
    };
    terminal.out(
      columns([
        ['log', printable(log)],
        ['before', older.seen],
        ['now', newer.seen],
        ['signatures', said[signatures]],
        ...keys.map(({ verifierKey }) => ['key', printable(verifierKey)] as const),
      ]),
    );
  }
  return holds ? exitCodes.failed : exitCodes.untold;
}
