import { fsck, type FsckReport, type LogHead, type Problem } from '#libs/audit';
import type { Terminal } from './config.js';
import { exitCodes, type ExitCode } from './exit.js';
import { openTiles, orUntold, readingThreads, type LogOptions } from './log-open.js';
import { grouped, headJson, headRows, signatureRow } from './log-text.js';
import { startProgress } from './progress.js';
import { columns, jsonText, printable, style } from './style.js';

export interface FsckCommand extends LogOptions {
  threads?: number;
}

const MAX_PRINTED = 50;

/** `log fsck`: the whole log from its entries up to the root of its checkpoint. */
export async function checkLog(terminal: Terminal, options: FsckCommand): Promise<ExitCode> {
  const progress = startProgress(terminal, { what: 'checked', quiet: options.json === true });
  const { head, layout, report } = await orUntold(
    (async () => {
      const { source, layoutOf, readHead } = await openTiles(terminal, options);
      const head = await readHead();
      const layout = await layoutOf(head.size);
      const threads = readingThreads(options.threads);
      return { head, layout, report: await fsck({ source, layout, head, threads, progress: progress.update }) };
    })(),
  );
  const { seconds, rate } = progress.end();
  if (options.json) {
    const { outcome, problems, more, untold, entries, bytes } = report;
    const result = { ok: outcome === 'intact', outcome, layout, ...headJson(head), entries, bytes };
    terminal.out(
      jsonText({ ...result, seconds, entriesPerSecond: Math.round(rate), problems, moreProblems: more, untold }),
    );
  } else printReport(terminal, head, report);
  if (!options.json) {
    terminal.err(
      `${grouped(report.entries)} entries (${grouped(report.bytes / 1e6)} MB) in ${seconds.toFixed(1)} s: ${grouped(rate)} entries/s\n`,
    );
  }
  return { intact: exitCodes.ok, damaged: exitCodes.failed, untold: exitCodes.untold }[report.outcome];
}

function printReport(
  terminal: Terminal,
  head: LogHead,
  { outcome, problems, more, untold, entries }: FsckReport,
): void {
  const paint = style(terminal.colours.out);
  const [first] = problems;
  if (outcome === 'intact') {
    terminal.out(
      `${paint.good('✓ intact')}: all ${head.size} entries and every tile over them give the root of the checkpoint\n`,
    );
  } else if (outcome === 'untold') {
    terminal.out(`${paint.warn('– could not tell')}: the ${entries} entries that are here fit their tiles, but\n`);
    for (const what of untold) terminal.out(`  ${what}\n`);
  } else if (first === undefined) {
    terminal.out(`${paint.bad('✗ error: damaged')}\n`);
  } else {
    terminal.out(`${paint.bad('✗ error: damaged')}, first ${describe(first)}\n`);
    for (const problem of problems.slice(1, MAX_PRINTED)) terminal.out(`  ${paint.bad('✗')} ${describe(problem)}\n`);
    const others = Math.max(0, problems.length - MAX_PRINTED) + more;
    if (others > 0) terminal.out(`  and ${others} more\n`);
    for (const what of untold) terminal.out(`  ${what}\n`);
  }
  terminal.out(columns([...headRows(head), signatureRow(head, terminal.colours.out)]));
}

/** `tile/0/003, bytes 64 to 95 (log index 770): …` */
function describe({ kind, object, offset, end, logIndex, against, reason }: Problem): string {
  const place =
    offset === undefined
      ? ''
      : end === undefined || end <= offset
        ? `, at byte ${offset}`
        : `, bytes ${offset} to ${end - 1}`;
  const entry = logIndex === undefined ? '' : ` (log index ${logIndex})`;
  const other = against === undefined ? '' : kind === 'disagree' ? `; it or ${against} is wrong` : ` [${against}]`;
  return `${printable(object)}${place}${entry}: ${kind === 'disagree' ? 'cannot tell which is wrong: ' : ''}${printable(reason)}${other}`;
}
