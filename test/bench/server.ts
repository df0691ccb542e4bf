import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const cli = join(import.meta.dirname, '..', '..', 'apps', 'cli', 'src', 'main.js');

/** What `npm start` gives Node. */
const { scripts } = JSON.parse(await readFile(join(import.meta.dirname, '..', '..', '..', 'package.json'), 'utf8')) as {
  scripts: { start: string };
};
const startFlags = scripts.start.split(' ').filter((word) => word.startsWith('--'));

/** The real server in a process of its own. */
export interface Server {
  readonly port: number;
  readonly url: string;
  /** Resident memory in MB: now, and the most so far. */
  memory(): Promise<{ now: number; peak: number }>;
  stop(): Promise<void>;
}

export async function startServer(options: {
  port: number;
  folder: string;
  /** Default: those of `npm start`. */
  nodeFlags?: string[];
  environment?: Readonly<Record<string, string>>;
}): Promise<Server> {
  const child = spawn(
    process.execPath,
    [
      ...(options.nodeFlags ?? startFlags),
      cli,
      'up',
      '--dev',
      '--port',
      String(options.port),
      '--data',
      options.folder,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...options.environment } },
  );
  await serving(child);
  return {
    port: options.port,
    url: `http://127.0.0.1:${options.port}`,
    async memory() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      const read = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
      return { now: read('VmRSS'), peak: read('VmHWM') };
    },
    async stop() {
      const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const code = await ended;
      if (code !== 0) throw new Error(`The server ended with exit code ${code}`);
    },
  };
}

function serving(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      if (text.length > 100_000) return;
      text += chunk.toString();
      if (text.includes('"message":"serving"')) resolve();
    });
    child.once('exit', (code) => reject(new Error(`The server ended with exit code ${code}:\n${text}`)));
  });
}
