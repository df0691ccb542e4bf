import { mirror } from '#libs/audit';
import type { Terminal } from './config.js';
import { exitCodes, type ExitCode } from './exit.js';
import { openTiles, type LogOptions } from './log-open.js';
import { explain, grouped, headJson } from './log-text.js';
import { startProgress } from './progress.js';
import { jsonText, printable } from './style.js';

/** `log mirror`: a verified copy, brought up to date. */
export async function mirrorLog(terminal: Terminal, options: LogOptions & { to: string }): Promise<ExitCode> {
  const log = await openTiles(terminal, options);
  // What is copied must be the log that was asked for.
  if (options.origin !== undefined) await log.readHead();
  const progress = startProgress(terminal, { what: 'copied', quiet: options.json === true });
  const { source, trust } = log;
  const signal = terminal.stopSignal?.();
  const report = await mirror({
    source,
    ...(options.url !== undefined && { layout: await log.layoutOf(0n) }),
    folder: options.to,
    trust,
    progress: progress.update,
    ...(signal && { signal }),
  });
  const { head, from, written, layout } = report;
  const { seconds, rate } = progress.end();
  if (options.json) {
    terminal.out(jsonText({ ok: true, folder: options.to, layout, from, ...headJson(head), written, seconds }));
    return exitCodes.ok;
  }
  const grown = head.size - from;
  terminal.out(
    grown === 0n
      ? `${printable(options.to)} has all ${head.size} entries already.\n`
      : `${printable(options.to)} has ${grown} entries more, ${head.size} in all, each verified.\n`,
  );
  explain(terminal, head, [
    ['objects', `${written} written`],
    ['rate', `${grouped(rate)} entries/s`],
  ]);
  return exitCodes.ok;
}
