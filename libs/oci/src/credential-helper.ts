import { parseJson, type JsonValue } from '#libs/encoding';
import { checkCredential, type Credential } from './credentials.js';
import { OciError } from './error.js';
import { isObject } from './manifest.js';

/** What a program said, and how it ended. */
export interface HelperOutput {
  readonly code: number | null;
  readonly stdout: Uint8Array;
}

/** Runs `program get` with `input`; throws if it cannot be run, says too much, or does not end. */
export type RunHelper = (program: string, input: string) => Promise<HelperOutput>;

const MAX_OUTPUT = 64 * 1024;
const TIMEOUT_MS = 30_000;
// What docker-credential-helpers say of a server that they do not know.
const NOT_FOUND = 'credentials not found in native keychain';

/**
 * Asks a credential helper, `docker-credential-<name> get`; undefined if it has nothing for `server`.
 * @throws OciError `OCI_CREDENTIALS`; what the helper said is never in the message
 * @see docker-credential-helpers: README.md, Development
 */
export async function askHelper(name: string, server: string, run: RunHelper): Promise<Credential | undefined> {
  // A name, found on the PATH: with a slash in it, it would be any program.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new OciError('OCI_CREDENTIALS', 'Cannot ask a credential helper: its name is malformed');
  }
  const program = `docker-credential-${name}`;
  const fail = (state: string, cause?: unknown): OciError =>
    new OciError('OCI_CREDENTIALS', `Cannot get the credentials for ${server} from ${program}: ${state}`, { cause });
  let output: HelperOutput;
  try {
    output = await run(program, server);
  } catch (cause) {
    throw fail(
      (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'it is not installed' : 'it cannot be run, or does not end',
      cause,
    );
  }
  if (output.code !== 0) {
    if (new TextDecoder().decode(output.stdout).trim() === NOT_FOUND) return undefined;
    throw fail(`it ended with ${output.code ?? 'a signal'}`);
  }
  let json: JsonValue;
  try {
    json = parseJson(output.stdout, { maxDepth: 4 });
  } catch {
    throw fail('what it says is not JSON'); // without the cause: it may name what is in it
  }
  const { Username: username, Secret: secret } = isObject(json) ? json : {};
  if (typeof username !== 'string' || typeof secret !== 'string') throw fail('it gives no user name and secret');
  if (secret === '') return undefined;
  return checkCredential(
    username === '<token>' ? { kind: 'identity-token', token: secret } : { kind: 'basic', username, password: secret },
  );
}

/**
 * Runs helpers as programs of their own, without a shell: at most 64 KiB of output in at most 30 seconds.
 * `env`: their whole environment; `PATH` says where they are.
 */
export function helperRunner(env: Readonly<Record<string, string | undefined>>, timeoutMs = TIMEOUT_MS): RunHelper {
  return async (program, input) => {
    // Few have a helper, and the others need not wait for what could run it.
    const { spawn } = await import('node:child_process');
    return new Promise((resolve, reject) => {
      const child = spawn(program, ['get'], { env, stdio: ['pipe', 'pipe', 'ignore'], shell: false });
      const chunks: Buffer[] = [];
      let length = 0;
      const stop = (reason: string): void => {
        child.kill('SIGKILL');
        child.stdout.destroy(); // a child of its own may hold it open
        reject(new Error(reason));
      };
      const timer = setTimeout(() => stop('the helper did not end'), timeoutMs);
      child.once('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      child.stdout.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > MAX_OUTPUT) stop('the helper said too much');
        else chunks.push(chunk);
      });
      child.once('close', (code) => {
        clearTimeout(timer);
        resolve({ code, stdout: Buffer.concat(chunks) });
      });
      child.stdin.on('error', () => undefined); // one that does not read its input may still answer
      child.stdin.end(input);
    });
  };
}
