import type { Terminal } from './config.js';
import { describeFailure, exitCodes, type ExitCode } from './exit.js';
import { jsonText, printable, style } from './style.js';

/** Says what went wrong: to a person on stderr, to a program as JSON on stdout. */
export function reportFailure(error: unknown, terminal: Terminal, json: boolean): ExitCode {
  const { exitCode, code, message, cure } = describeFailure(error);
  if (json) terminal.out(jsonText({ ok: false, error: { code, message, cure: cure ?? null } }));
  else {
    const paint = style(terminal.colours.err);
    terminal.err(`${paint.bad('error:')} ${printable(message)}\n`);
    if (cure !== undefined) terminal.err(`${paint.faint('cure:')}  ${printable(cure)}\n`);
  }
  return exitCode;
}

/**
 * Ends the process with what `work` comes to. Whatever happens instead (an error in a callback, a promise that nobody waited for, an event
 * loop that runs dry) is never exit code 0.
 */
export async function endWith(terminal: Terminal, work: Promise<ExitCode>, json = false): Promise<void> {
  process.on('uncaughtException', (error) => {
    reportFailure(error, terminal, json);
    process.exit(exitCodes.bug);
  });
  // `chancery … | head`: the reader has gone. The work goes on, and its exit code is still the answer.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') process.exit(exitCodes.bug);
  });
  process.exitCode = exitCodes.bug;
  process.exitCode = await work;
}
