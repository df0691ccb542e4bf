import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

export const executable = join(import.meta.dirname, '..', '..', '..', 'bin', 'chancery');

/** Runs `chancery …` to its end; its standard output, and how long it took in seconds. */
export function chancery(args: readonly string[]): { out: string; seconds: number } {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, [executable, ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const seconds = (performance.now() - started) / 1000;
  if (status !== 0) throw new Error(`chancery ${args.slice(0, 2).join(' ')} ended with exit code ${status}: ${stderr}`);
  return { out: stdout, seconds };
}

/** Median of the wall time of a Node process, milliseconds. */
export function timeProcess(args: readonly string[]): number {
  const times = Array.from({ length: 15 }, () => {
    const started = performance.now();
    const { status } = spawnSync(process.execPath, args, { stdio: 'ignore' });
    if (status !== 0) throw new Error(`${args.join(' ')} ended with exit code ${status}`);
    return performance.now() - started;
  });
  return times.sort((a, b) => a - b)[7] ?? 0;
}
