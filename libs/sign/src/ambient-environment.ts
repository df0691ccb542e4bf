import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { HttpOptions } from './http.js';

/** What ambient providers see of the machine they run on; every field has a test double. */
export interface AmbientEnvironment {
  env: Readonly<Record<string, string | undefined>>;
  /** The audience the certificate authority wants: `sigstore`, as a rule. */
  audience: string;
  http: HttpOptions;
  files: AmbientFiles;
  /** Runs an agent that is a command; absent where there are no processes. */
  run?(command: string, args: readonly string[]): Promise<CommandResult>;
}

/** The two questions asked of the file system. */
export interface AmbientFiles {
  /** The text of a regular file, undefined if there is none; rejects for one that is unreadable or longer than 64 KiB. */
  read(path: string): Promise<string | undefined>;
  /** Whether there is anything by that name, a socket for one. */
  exists(path: string): Promise<boolean>;
}

/** How a command ended: its exit status, or why it has none. Output beyond the limit is not kept. */
export interface CommandResult {
  exit: number | 'missing' | 'killed' | 'timeout' | 'too-large';
  out: string;
  err: string;
}

const MAX_FILE_BYTES = 64 * 1024;
const MAX_OUTPUT_BYTES = 64 * 1024;
const COMMAND_TIMEOUT_MS = 30_000;

/** The machine this process runs on: real files, child processes with 30 seconds and 64 KiB for their output. */
export function nodeAmbientEnvironment({
  env,
  audience,
  http,
  commandTimeoutMs = COMMAND_TIMEOUT_MS,
}: Pick<AmbientEnvironment, 'env' | 'audience' | 'http'> & {
  /** Milliseconds. */
  commandTimeoutMs?: number;
}): AmbientEnvironment {
  return {
    env,
    audience,
    http,
    files: { read: readText, exists },
    run: (command, args) => runCommand(command, args, { env, timeoutMs: commandTimeoutMs }),
  };
}

async function readText(path: string): Promise<string | undefined> {
  let file;
  try {
    // O_NONBLOCK: opening a named pipe would wait for whoever writes to it.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
  try {
    if (!(await file.stat()).isFile()) throw new Error('it is not a regular file');
    // The size that stat tells is not asked: files of the kernel lie about theirs.
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
      if (length > MAX_FILE_BYTES) throw new Error(`it is longer than ${MAX_FILE_BYTES} bytes`);
    }
    return buffer.toString('utf8', 0, length);
  } finally {
    await file.close();
  }
}

/** True also for what may not be looked at: it is there, and using it will say what is wrong. */
async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    return !isAbsence(error);
  }
}

function isAbsence(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Without a shell, so that nothing in an argument is anything but an argument. */
function runCommand(
  command: string,
  args: readonly string[],
  { env, timeoutMs }: { env: AmbientEnvironment['env']; timeoutMs: number },
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'], shell: false, windowsHide: true });
    const chunks: Record<'out' | 'err', Buffer[]> = { out: [], err: [] };
    let length = 0;
    const finish = (exit: CommandResult['exit']) => {
      clearTimeout(timer);
      // A grandchild may still hold the pipes: closing our ends lets this process end without it.
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({
        exit,
        out: Buffer.concat(chunks.out).toString('utf8'),
        err: Buffer.concat(chunks.err).toString('utf8'),
      });
    };
    const stop = (exit: 'timeout' | 'too-large') => {
      child.kill('SIGKILL');
      finish(exit);
    };
    const timer = setTimeout(() => stop('timeout'), timeoutMs);
    const keep = (name: 'out' | 'err') => (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_OUTPUT_BYTES) stop('too-large');
      else chunks[name].push(chunk);
    };
    child.stdout.on('data', keep('out'));
    child.stderr.on('data', keep('err'));
    // EACCES: it is there, but not as a command.
    child.on('error', () => finish('missing'));
    child.on('close', (code) => finish(code ?? 'killed'));
  });
}
