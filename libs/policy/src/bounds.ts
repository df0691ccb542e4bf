import { PolicyError } from './error.js';

/** @throws PolicyError `POLICY_DEADLINE` as soon as the deadline is there; what is under way then is left alone. */
export async function beforeDeadline<Value>(
  start: () => Promise<Value>,
  signal: AbortSignal | undefined,
): Promise<Value> {
  if (signal === undefined) return start();
  const over = () => new PolicyError('POLICY_DEADLINE', 'Cannot decide: the deadline is over');
  if (signal.aborted) throw over();
  let onAbort: () => void = () => undefined;
  const deadline = new Promise<never>((_, reject) => {
    onAbort = () => reject(over());
    signal.addEventListener('abort', onAbort, { once: true });
  });
  const work = start();
  // If the deadline wins, nobody waits for the work's own end.
  work.catch(() => undefined);
  try {
    return await Promise.race([work, deadline]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Runs at most `max` at a time, the others in the order they came. */
export function createLimit(max: number): <Value>(work: () => Promise<Value>) => Promise<Value> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      // The place is handed on, so that nobody who comes now takes it.
      if (next === undefined) running--;
      else next();
    }
  };
}
