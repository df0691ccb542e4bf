import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startTestRegistry } from '../world/registry.js';

/** A registry in a process of its own: what it does is not counted as a client's. */
export interface BenchRegistry {
  /** `127.0.0.1:port` */
  readonly host: string;
  close(): Promise<void>;
}

export async function startBenchRegistry(): Promise<BenchRegistry> {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const ended = once(child, 'exit');
  const host = await Promise.race([once(child, 'message').then(([said]) => String(said)), ended.then(() => undefined)]);
  if (host === undefined) throw new Error('The registry ended before it served');
  return {
    host,
    close: async () => {
      child.disconnect();
      await ended;
    },
  };
}

// As the process itself: it serves until whoever started it lets go.
if (process.argv[1] === fileURLToPath(import.meta.url) && process.send !== undefined) {
  const registry = await startTestRegistry({});
  process.once('disconnect', () => void registry.close());
  process.send(registry.host);
}
