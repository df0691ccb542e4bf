import { mkdtemp, rm, writeFile, mkdir, symlink } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { everythingOf, failureOf, fakeMachine, makeToken } from '../testing/ambient.js';
import { ambientToken, nodeAmbientEnvironment, type AmbientProviderName } from './index.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ambient-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const token = makeToken();
const http = { fetch: () => Promise.reject(new TypeError('no network in this test')) };

let count = 0;
/** A folder for the PATH with a command of that name, which does this. */
async function install(command: string, script: string, mode = 0o755): Promise<string> {
  const path = join(folder, `path-${++count}`);
  await mkdir(path);
  await writeFile(join(path, command), `#!/bin/sh\n${script}\n`, { mode });
  return `${path}:/usr/bin:/bin`;
}

const agents: {
  name: AmbientProviderName;
  command: string;
  env: Record<string, string>;
  args: string[];
  cure: RegExp;
}[] = [
  {
    name: 'buildkite',
    command: 'buildkite-agent',
    env: { BUILDKITE: 'true', BUILDKITE_JOB_ID: 'job' },
    args: ['oidc', 'request-token', '--audience', 'sigstore'],
    cure: /`buildkite-agent oidc request-token --audience sigstore`/,
  },
  {
    name: 'circleci',
    command: 'circleci',
    env: { CIRCLECI: 'true' },
    args: ['run', 'oidc', 'get', '--root-issuer', '--claims', '{"aud":"sigstore"}'],
    cure: /`circleci run oidc get --root-issuer --claims '\{"aud":"sigstore"\}'`/,
  },
];

describe.each(agents)('$name, by its command', ({ name, command, env, args, cure }) => {
  async function ask(script: string, options: { audience?: string; commandTimeoutMs?: number; mode?: number } = {}) {
    const { audience = 'sigstore', commandTimeoutMs = 10_000 } = options;
    const PATH = await install(command, script, options.mode);
    return ambientToken(nodeAmbientEnvironment({ env: { ...env, PATH }, audience, http, commandTimeoutMs }));
  }

  it('gives what the command prints', async () => {
    const out = join(folder, `${name}-args`);
    const found = await ask(`for a in "$@"; do echo "$a"; done > '${out}'; echo '${token}'`);
    expect(found).toEqual({ provider: name, token });
    expect(execFileSync('cat', [out]).toString().trimEnd().split('\n')).toEqual(args);
  });

  it('runs it without a shell: an audience is an argument, whatever is in it', async () => {
    const audience = `$(touch '${folder}/owned'); "'\`id\` & | x`;
    const found = await ask(`echo '${makeToken({ aud: audience })}'`, { audience });
    expect(found).toMatchObject({ provider: name });
    expect(await nodeAmbientEnvironment({ env, audience, http }).files.exists(`${folder}/owned`)).toBe(false);
  });

  it.each<[string, string, string, RegExp]>([
    ['fails', 'echo "no permission" >&2; exit 3', 'SIGN_TOKEN_MISSING', /ended with status 3: no permission$/],
    ['fails silently', 'exit 1', 'SIGN_TOKEN_MISSING', /ended with status 1$/],
    ['fails after printing a token', `echo ${token}; exit 1`, 'SIGN_TOKEN_MISSING', /ended with status 1$/],
    ['is killed', 'kill -9 $$', 'SIGN_TOKEN_MISSING', /was killed$/],
    ['prints nothing', 'exit 0', 'SIGN_TOKEN_MISSING', /what it gave is empty$/],
    ['prints something else', 'echo Usage: run', 'SIGN_TOKEN_MALFORMED', /not three parts/],
    ['prints too much', 'exec head -c 65537 /dev/zero', 'SIGN_RESPONSE_TOO_LARGE', /printed too much$/],
    ['prints without end', 'exec cat /dev/zero', 'SIGN_RESPONSE_TOO_LARGE', /printed too much$/],
    ['complains without end', 'exec cat /dev/zero >&2', 'SIGN_RESPONSE_TOO_LARGE', /printed too much$/],
    ['has a token of others', `echo '${makeToken({ aud: 'x' })}'`, 'SIGN_TOKEN_AUDIENCE', /"x", wanted is "sigstore"/],
  ])('says so if the command %s', async (_, script, code, message) => {
    const failure = await failureOf(ask(script));
    expect(failure).toMatchObject({ code, provider: name });
    expect(failure.message).toMatch(message);
    if (code !== 'SIGN_RESPONSE_TOO_LARGE') expect(failure.cure).toMatch(cure);
    expect(everythingOf(failure)).not.toContain(token.slice(0, 12));
  });

  it('quotes what the command complains of on one line, without tokens', async () => {
    const failure = await failureOf(ask(`printf 'bad\\033[31m\\n%s\\n' '${token}' >&2; exit 1`));
    expect(failure.message).toMatch(/: bad \[31m \(token removed\)$/);
  });

  it.each<[string, string]>([
    ['hangs', 'exec sleep 60'],
    ['leaves a child that holds its output', 'sleep 3 & exec sleep 60'],
  ])('does not wait for a command that %s', async (_, script) => {
    const before = process.getActiveResourcesInfo().filter((kind) => /Pipe|Process/.test(kind)).length;
    const start = Date.now();
    const failure = await failureOf(ask(script, { commandTimeoutMs: 200 }));
    expect(failure.message).toMatch(/did not end in time$/);
    expect(Date.now() - start).toBeLessThan(2_500);
    // Not even the ends of the pipes that the child's child still holds: they would keep this process alive as long.
    const open = () => process.getActiveResourcesInfo().filter((kind) => /Pipe|Process/.test(kind)).length;
    await vi.waitFor(() => expect(open()).toBeLessThanOrEqual(before), { timeout: 1_500, interval: 10 });
  });

  it.each<[string, () => Promise<unknown>]>([
    [
      'absent',
      () => ambientToken(nodeAmbientEnvironment({ env: { ...env, PATH: folder }, audience: 'sigstore', http })),
    ],
    ['no command', () => ask('echo x', { mode: 0o644 })],
  ])('says that the command is missing if it is %s', async (_, work) => {
    const failure = await failureOf(work());
    expect(failure).toMatchObject({ code: 'SIGN_TOKEN_MISSING', provider: name });
    expect(failure.message).toContain(`the command ${command} is not on the PATH`);
    expect(failure.cure).toMatch(cure);
  });

  it('says that there are no commands where there are no processes', async () => {
    const failure = await failureOf(ambientToken(fakeMachine({ env }).environment));
    expect(failure).toMatchObject({ code: 'SIGN_TOKEN_MISSING', provider: name });
  });
});

describe('Buildkite', () => {
  it('keeps the access token out of what the agent complains of', async () => {
    const PATH = await install('buildkite-agent', 'echo "token Bq7x-agent-secret is revoked" >&2; exit 1');
    const env = { BUILDKITE_AGENT_ACCESS_TOKEN: 'Bq7x-agent-secret', PATH }; // no job: so the command is asked
    const failure = await failureOf(ambientToken(nodeAmbientEnvironment({ env, audience: 'sigstore', http })));
    expect(failure.message).toMatch(/: token \(secret removed\) is revoked$/);
  });

  it.each(['../..', 'a/b', 'a?b', '', ' ', 'x'.repeat(65)])('does not put the job id %j into a URL', async (id) => {
    const { environment, outgoing } = fakeMachine({
      env: { BUILDKITE_AGENT_ACCESS_TOKEN: 'secret', BUILDKITE_JOB_ID: id },
    });
    expect((await failureOf(ambientToken(environment))).code).toBe('SIGN_TOKEN_MISSING');
    expect(outgoing).toEqual([]);
  });

  it('asks the public service where no endpoint is set', async () => {
    const env = { BUILDKITE_AGENT_ACCESS_TOKEN: 'secret', BUILDKITE_JOB_ID: 'job' };
    const { environment, outgoing } = fakeMachine({ env });
    expect((await failureOf(ambientToken(environment))).code).toBe('SIGN_NETWORK');
    expect(outgoing[0]?.url).toBe('https://agent.buildkite.com/v3/jobs/job/oidc/tokens');
  });
});

describe('GitHub Actions', () => {
  it.each<[string, Record<string, string>]>([
    ['both variables', {}],
    ['the token', { ACTIONS_ID_TOKEN_REQUEST_URL: 'https://example.com/?v=1' }],
    ['the URL', { ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'secret' }],
    ['the token, which is empty', { ACTIONS_ID_TOKEN_REQUEST_URL: 'https://x/', ACTIONS_ID_TOKEN_REQUEST_TOKEN: '' }],
  ])('names the missing permission if the job lacks %s', async (_, env) => {
    const { environment, outgoing } = fakeMachine({ env: { GITHUB_ACTIONS: 'true', ...env } });
    const failure = await failureOf(ambientToken(environment));
    expect(failure).toMatchObject({ code: 'SIGN_TOKEN_MISSING', provider: 'github-actions' });
    expect(failure.cure).toContain('`permissions: id-token: write`');
    expect(outgoing).toEqual([]);
  });

  it.each([
    ['https://example.com/a?v=1', 'https://example.com/a?v=1&audience=a%20b%26c%3Dd'],
    ['https://example.com/a', 'https://example.com/a?audience=a%20b%26c%3Dd'],
  ])('appends the audience to %s', async (url, wanted) => {
    const env = { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'secret' };
    const { environment, outgoing } = fakeMachine({ env, audience: 'a b&c=d' });
    await failureOf(ambientToken(environment));
    expect(outgoing[0]?.url).toBe(wanted);
  });
});

describe('GitLab CI', () => {
  it('gives the token of the job for our audience', async () => {
    const env = { GITLAB_CI: 'true', HTTPS___CA_EXAMPLE_ID_TOKEN: makeToken({ aud: 'https://ca.example' }) };
    const { environment } = fakeMachine({ env, audience: 'https://ca.example' });
    expect(await ambientToken(environment)).toEqual({ provider: 'gitlab', token: env.HTTPS___CA_EXAMPLE_ID_TOKEN });
  });

  it.each<[string, Record<string, string>]>([
    ['is missing', {}],
    ['is empty', { SIGSTORE_ID_TOKEN: '' }],
    ['is for another audience', { SIGSTORE_ID_TOKEN: makeToken({ aud: 'x' }) }],
  ])('names the line to add if the token %s', async (_, env) => {
    const { environment } = fakeMachine({ env: { GITLAB_CI: 'true', CI_JOB_JWT: 'old', ...env } });
    expect((await failureOf(ambientToken(environment))).cure).toBe(
      'Add `id_tokens: SIGSTORE_ID_TOKEN: aud: sigstore` to the job',
    );
  });

  it('names the line of another audience', async () => {
    const { environment } = fakeMachine({ env: { GITLAB_CI: 'true' }, audience: 'https://ca.example' });
    const failure = await failureOf(ambientToken(environment));
    expect(failure).toMatchObject({ code: 'SIGN_TOKEN_MISSING', provider: 'gitlab' });
    expect(failure.cure).toBe('Add `id_tokens: HTTPS___CA_EXAMPLE_ID_TOKEN: aud: https://ca.example` to the job');
  });
});

describe('nodeAmbientEnvironment()', () => {
  const { files } = nodeAmbientEnvironment({ env: {}, audience: 'sigstore', http });

  it('reads a file, also through links, as projected volumes are', async () => {
    await writeFile(join(folder, 'data'), `${token}\n`);
    await symlink('data', join(folder, 'link'));
    expect(await files.read(join(folder, 'link'))).toBe(`${token}\n`);
    expect(await files.exists(join(folder, 'link'))).toBe(true);
  });

  it('finds nothing where there is nothing', async () => {
    await writeFile(join(folder, 'plain'), 'x');
    for (const path of [join(folder, 'absent'), join(folder, 'plain', 'below')]) {
      expect(await files.read(path)).toBeUndefined();
      expect(await files.exists(path)).toBe(false);
    }
  });

  it('reads 64 KiB, and no more', async () => {
    await writeFile(join(folder, 'long'), 'x'.repeat(64 * 1024));
    expect(await files.read(join(folder, 'long'))).toHaveLength(64 * 1024);
    await writeFile(join(folder, 'longer'), 'x'.repeat(64 * 1024 + 1));
    await expect(files.read(join(folder, 'longer'))).rejects.toThrow('longer than 65536 bytes');
  });

  it('does not read what is no regular file, nor wait for it', async () => {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    for (const path of [join(folder, 'pipe'), '/dev/zero', folder]) {
      await expect(files.read(path)).rejects.toThrow('not a regular file');
    }
  });
});

describe('tokens in files', () => {
  const ask = (env: Record<string, string>) =>
    ambientToken(nodeAmbientEnvironment({ env, audience: 'sigstore', http }));
  const variables = [
    ['file', 'SIGSTORE_ID_TOKEN_FILE', /^Put an identity token for the audience "sigstore" into/],
    ['kubernetes', 'SIGSTORE_KUBERNETES_TOKEN_FILE', /`serviceAccountToken: \{audience: sigstore, path: oidc-token\}`/],
  ] as const;

  it.each(variables)('%s: the one that %s names', async (provider, variable) => {
    const path = join(folder, `token-${provider}`);
    await writeFile(path, `${token}\n`);
    expect(await ask({ [variable]: path })).toEqual({ provider, token });
  });

  it.each(variables)('%s: failures name the file and the cure', async (provider, variable, cure) => {
    const cases: [string, string | undefined, string, RegExp][] = [
      ['empty', ' \n', 'SIGN_TOKEN_MISSING', /is empty$/],
      ['large', 'x'.repeat(70_000), 'SIGN_TOKEN_MISSING', /cannot be read: it is longer than 65536 bytes$/],
      ['gone', undefined, 'SIGN_TOKEN_MISSING', /there is no file/],
      ['other', makeToken({ aud: ['https://kubernetes.default.svc'] }), 'SIGN_TOKEN_AUDIENCE', /"https:\/\/kubernetes/],
      ['text', 'hello', 'SIGN_TOKEN_MALFORMED', /not three parts/],
    ];
    for (const [name, text, code, message] of cases) {
      const path = join(folder, `${provider}-${name}`);
      if (text !== undefined) await writeFile(path, text);
      const failure = await failureOf(ask({ [variable]: path }));
      expect(failure).toMatchObject({ code, provider });
      expect(failure.message).toMatch(message);
      expect(failure.cure).toMatch(cure);
    }
  });

  it.each(['/var/run/secrets/tokens/sigstore', '/var/run/secrets/sigstore/token'])(
    'kubernetes: the projected one at %s',
    async (path) => {
      expect(await ambientToken(fakeMachine({ files: { [path]: token } }).environment)).toEqual({
        provider: 'kubernetes',
        token,
      });
    },
  );

  it("kubernetes: never the pod's default token, not even if it would do", async () => {
    const files = { '/var/run/secrets/kubernetes.io/serviceaccount/token': token };
    const { environment } = fakeMachine({ env: { KUBERNETES_SERVICE_HOST: '10.0.0.1' }, files });
    expect(await ambientToken(environment)).toBeUndefined();
    const failure = await failureOf(ambientToken(environment, { only: 'kubernetes' }));
    expect(failure.code).toBe('SIGN_TOKEN_MISSING');
    expect(failure.message).toContain('only its default service account token');
    expect(failure.cure).toContain('serviceAccountToken: {audience: sigstore, path: oidc-token}');
  });

  it('quotes an audience that is no bare word to YAML', async () => {
    const { environment } = fakeMachine({ audience: 'https://ca.example' });
    const failure = await failureOf(ambientToken(environment, { only: 'kubernetes' }));
    expect(failure.cure).toContain('serviceAccountToken: {audience: "https://ca.example", path: oidc-token}');
  });

  it('says why a file cannot be read', async () => {
    const denied = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
    const { environment } = fakeMachine({ files: { '/var/run/sigstore/cosign/oidc-token': denied } });
    const failure = await failureOf(ambientToken(environment));
    expect(failure).toMatchObject({ code: 'SIGN_TOKEN_MISSING', provider: 'file', cause: denied });
    expect(failure.message).toMatch(/cannot be read: EACCES$/);
  });
});

describe('Azure', () => {
  const AUDIENCE = 'api://AzureADTokenExchange';
  const federated = { AZURE_FEDERATED_TOKEN_FILE: '/var/run/secrets/azure/tokens/azure-identity-token' };
  const files = { [federated.AZURE_FEDERATED_TOKEN_FILE]: makeToken({ aud: [AUDIENCE] }) };

  it("takes the pod's federated token if that audience is wanted", async () => {
    const { environment } = fakeMachine({ env: federated, files, audience: AUDIENCE });
    expect(await ambientToken(environment)).toMatchObject({ provider: 'azure' });
  });

  it('does not hand out a token that Entra would take where another audience is wanted', async () => {
    const failure = await failureOf(ambientToken(fakeMachine({ env: federated, files }).environment));
    expect(failure).toMatchObject({ code: 'SIGN_TOKEN_AUDIENCE', provider: 'azure' });
    expect(failure.cure).toMatch(
      /^Sign for the audience api:\/\/AzureADTokenExchange .*serviceAccountToken: \{audience: sigstore,/,
    );
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['the variable of its token', { TF_BUILD: 'True', SYSTEM_OIDCREQUESTURI: 'https://x/' }, /no SYSTEM_ACCESSTOKEN$/],
    ['the variable of its URL', { TF_BUILD: 'True', SYSTEM_ACCESSTOKEN: 'secret' }, /no SYSTEM_OIDCREQUESTURI$/],
  ])('names the line to add to a step that lacks %s', async (_, env, message) => {
    const { environment, outgoing } = fakeMachine({ env });
    const failure = await failureOf(ambientToken(environment));
    expect(failure).toMatchObject({ code: 'SIGN_TOKEN_MISSING', provider: 'azure' });
    expect(failure.message).toMatch(message);
    expect(failure.cure).toMatch(/`env: SYSTEM_ACCESSTOKEN: \$\(System\.AccessToken\)`.*api:\/\/AzureADTokenExchange/);
    expect(outgoing).toEqual([]);
  });

  it.each<[string, Record<string, string>]>([
    ['Azure Arc, which sets the endpoint alone', { IDENTITY_ENDPOINT: 'http://localhost:40342/x', IMDS_ENDPOINT: 'x' }],
    ['a header alone', { IDENTITY_HEADER: 'secret' }],
  ])('is not detected by %s', async (_, env) => {
    expect(await ambientToken(fakeMachine({ env }).environment)).toBeUndefined();
  });
});
