/**
 * The compiled executable as processes of its own: for what only a process can show, such as exit codes, signals and `kill -9`.
 *
 *     ensureBuilt();
 *     const server = await startServer({ data: join(folder, 'data'), port: await freePort() });
 *     const { exit, out } = await chancery(['verify', 'README.md'], { cwd: folder });
 *     await server.end('SIGTERM');
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout: this file lies in test/world of it, or in dist/test/world once compiled. */
export const checkout = dirname(dirname(dirname(fileURLToPath(import.meta.url)))).replace(/[\\/]dist$/, '');
export const executable = join(checkout, 'bin', 'chancery');

/** How long we wait for what takes a second on an idle machine. */
const patienceMs = 120_000;

/**
 * Compiles what is stale; `npm test` has done that already, and then it takes a tenth of a second.
 * @throws Error with what the compiler said
 */
export function ensureBuilt(): void {
  const { status, stderr } = spawnSync(process.execPath, [join(checkout, 'scripts', 'setup.mjs')], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`The set-up failed: ${stderr}`);
}

/** Nothing of the machine that runs the tests decides who signs, or where. */
export function cleanEnvironment(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) =>
      !/^(SIGSTORE_|ACTIONS_|GITHUB_|GITLAB_|CI_|BUILDKITE|CIRCLE|GOOGLE_|GCE_|AZURE_|SYSTEM_|SPIFFE_|CHANCERY_|COSIGN_|npm_|(NODE_OPTIONS|BROWSER|DISPLAY|SSH_TTY|SSH_CONNECTION)$)/.test(
        name,
      ),
  );
  return { ...Object.fromEntries(own), ...more };
}

export interface Ran {
  /** -1: it did not end by itself. */
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Flags of Node itself. */
  readonly nodeFlags?: readonly string[];
}

/** Runs `chancery …` to its end. */
export function chancery(args: readonly string[], options: RunOptions): Promise<Ran> {
  return run(process.execPath, [...(options.nodeFlags ?? []), executable, ...args], options);
}

/** Runs any command to its end. */
export function run(command: string, args: readonly string[], { cwd, environment }: RunOptions): Promise<Ran> {
  return new Promise((resolve) => {
    const options = { cwd, env: cleanEnvironment(environment), timeout: patienceMs, maxBuffer: 1 << 26 };
    execFile(command, args, options, (error, out, err) => {
      resolve({ exit: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err });
    });
  });
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A server that has been started, and may or may not serve yet. */
export interface ServerProcess {
  readonly url: string;
  /** What it has written so far. */
  output(): string;
  /** Resolves when it is gone. */
  readonly ended: Promise<Ended>;
  /** Resolves when it serves; rejects with its output if it ends first. */
  serving(): Promise<void>;
  /** Sends a signal to it, and waits for its end. */
  end(signal: NodeJS.Signals): Promise<Ended>;
}

export interface ServerOptions {
  readonly port: number;
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts `chancery up --dev` and does not wait for it. */
export function spawnServer({ data, ...options }: ServerOptions & { readonly data: string }): ServerProcess {
  const args = [executable, 'up', '--dev', '--port', String(options.port), '--data', data];
  return spawnServing(process.execPath, args, options);
}

/** Starts `chancery up --dev` and waits until it serves. */
export async function startServer(options: ServerOptions & { readonly data: string }): Promise<ServerProcess> {
  const server = spawnServer(options);
  await server.serving();
  return server;
}

/** Starts any command that becomes a server on that port. It gets a process group of its own, which hears the signals as a whole. */
export function spawnServing(command: string, args: readonly string[], options: ServerOptions): ServerProcess {
  const url = `http://127.0.0.1:${options.port}`;
  const child = spawn(command, args, {
    cwd: options.cwd ?? checkout,
    env: cleanEnvironment(options.environment),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const pid = child.pid;
  // In a group of its own it would outlive a test run that is broken off.
  const killGroup = (): void => signalGroup(pid, 'SIGKILL');
  process.once('exit', killGroup);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  let isGone = false;
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      isGone = true;
      process.off('exit', killGroup);
      resolve({ code, signal });
    });
  });
  return {
    url,
    output: () => output,
    ended,
    serving: async () => {
      const isUp = await waitUntil(async () => isGone || (await isHealthy(url)));
      if (isGone) throw new Error(`The server ended before it served: ${output}`);
      if (!isUp) throw new Error(`The server does not serve: ${output}`);
    },
    end: (signal) => {
      if (!isGone) signalGroup(pid, signal);
      return ended;
    },
  };
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // It has ended, and we are about to hear of it.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Asks again and again, and gives up after two minutes: a loaded machine is no failure. */
export async function waitUntil(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const deadline = Date.now() + patienceMs; Date.now() < deadline;) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/healthz`);
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false; // nobody listens yet
  }
}
