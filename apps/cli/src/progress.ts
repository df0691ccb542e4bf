import type { Terminal } from './config.js';
import { grouped } from './log-text.js';

/** Tells how far work on entries has come. */
export interface Progress {
  update: (done: bigint, total: bigint) => void;
  /** Removes the bar, and tells the rate. */
  end: () => { entries: bigint; seconds: number; rate: number };
}

const BAR_WIDTH = 30;
const BAR_EVERY_MS = 100;
const LINE_EVERY_MS = 5_000;

/** A bar on a terminal, a line now and then elsewhere; nothing where a program reads (`quiet`). `what`: a word for the work, as `checked`. */
export function startProgress(terminal: Terminal, { what, quiet }: { what: string; quiet: boolean }): Progress {
  const begun = terminal.now();
  const isBar = terminal.errColumns !== undefined;
  let shown = begun;
  let entries = 0n;
  let first: bigint | undefined;
  const rateOf = (): { seconds: number; rate: number } => {
    const seconds = Math.max(1, terminal.now() - begun) / 1000;
    return { seconds, rate: Number(entries - (first ?? 0n)) / seconds };
  };
  return {
    update: (done, total) => {
      // What was done before this run is no merit of it.
      first ??= done < total ? done : 0n;
      entries = done;
      if (quiet || terminal.now() - shown < (isBar ? BAR_EVERY_MS : LINE_EVERY_MS)) return;
      shown = terminal.now();
      const share = total === 0n ? 1 : Number((done * 1000n) / total) / 1000;
      const text = `${Math.floor(share * 100)} %, ${grouped(done)} of ${grouped(total)} entries ${what}, ${grouped(rateOf().rate)} entries/s`;
      if (!isBar) return terminal.err(`${text}\n`);
      const filled = Math.round(share * BAR_WIDTH);
      // Erases to the end of the line (ECMA-48 §8.3.41).
      const line = `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}] ${text}`;
      terminal.err(`\r${line.slice(0, Math.max(1, (terminal.errColumns ?? 80) - 1))}\u001b[K`);
    },
    end: () => {
      if (isBar && !quiet && shown !== begun) terminal.err('\r\u001b[K');
      return { entries, ...rateOf() };
    },
  };
}
