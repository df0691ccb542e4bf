/**
 * A small Sigstore on this machine for stories: the real stack on a free port over a new data folder, with the development issuer.
 * Nothing in it is faked.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog } from '#libs/nest';
import { readStackConfig } from '../../apps/stack/src/config.js';
import { type RunningStack, startStack } from '../../apps/stack/src/stack.js';

export interface World {
  readonly url: string;
  readonly issuer: string;
  /** Data folder. */
  readonly folder: string;
  /** What the stack wrote to its log so far, lines of JSON. */
  readonly log: string[];
  token(claims: Record<string, unknown>): Promise<string>;
  trustedRoot(): Promise<string>;
  /** Stops and starts the stack again over the same folder. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  /** Stops, and removes the folder. */
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly environment?: Readonly<Record<string, string>>;
  readonly now?: () => Date;
}

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'chancery-world-'));
  const port = await freePort();
  const lines: string[] = [];
  const now = options.now ?? (() => new Date());
  const log = createLog({ format: 'json', now, write: (line) => void lines.push(line) });
  const config = readStackConfig(
    { data: join(folder, 'data'), port: String(port), dev: true },
    // From its sources the server verifies in its own thread: a thread needs compiled code.
    { CHANCERY_VERIFY_THREADS: '0', ...options.environment },
  );
  let stack: RunningStack | undefined = await startStack(config, log, now);
  const url = stack.url;
  const stop = async (): Promise<void> => {
    await stack?.close();
    stack = undefined;
  };
  return {
    url,
    issuer: `${url}/dev/oidc`,
    folder: join(folder, 'data'),
    log: lines,
    token: (claims) => fetchToken(url, claims),
    trustedRoot: async () => (await fetch(`${url}/trust/trusted_root.json`)).text(),
    restart: async () => {
      await stop();
      stack = await startStack(config, log, now);
    },
    stop,
    close: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A token of the development issuer. */
export async function fetchToken(url: string, claims: Record<string, unknown>): Promise<string> {
  const response = await fetch(`${url}/dev/oidc/token`, { method: 'POST', body: JSON.stringify(claims) });
  const answer = (await response.json()) as { id_token?: string };
  if (answer.id_token === undefined) throw new Error(`No token: ${JSON.stringify(answer)}`);
  return answer.id_token;
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('No port');
  return address.port;
}

/** The claims of a GitHub Actions token, as that system documents them. */
export const gitHubClaims = {
  sub: 'repo:octo-org/octo-repo:ref:refs/heads/main',
  repository: 'octo-org/octo-repo',
  repository_id: '74',
  repository_owner: 'octo-org',
  repository_owner_id: '65',
  repository_visibility: 'public',
  ref: 'refs/heads/main',
  ref_type: 'branch',
  sha: 'c6a9d3b56c1d1ee6ee5b5a0e0e5a3ff4d6f5d5a1',
  workflow: 'release',
  workflow_ref: 'octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main',
  workflow_sha: 'c6a9d3b56c1d1ee6ee5b5a0e0e5a3ff4d6f5d5a1',
  job_workflow_ref: 'octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main',
  job_workflow_sha: 'c6a9d3b56c1d1ee6ee5b5a0e0e5a3ff4d6f5d5a1',
  event_name: 'push',
  run_id: '12345678901',
  run_number: '10',
  run_attempt: '2',
  runner_environment: 'github-hosted',
  actor: 'octocat',
  actor_id: '12',
} as const;
