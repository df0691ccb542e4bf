import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { everythingOf, failureOf, fakeMachine, makeToken, startService, type FakeMachine } from '../testing/ambient.js';
import { gitlabVariable } from './ambient-ci.js';
import {
  ambientHint,
  ambientProviders,
  ambientToken,
  findAmbientProvider,
  SignError,
  type AmbientProviderName,
  type CommandResult,
} from './index.js';

const token = makeToken();
const FILE = '/var/run/sigstore/cosign/oidc-token';
const PROJECTED = '/var/run/secrets/tokens/sigstore';
const SOCKET = '/tmp/spire-agent/public/api.sock';
const DEFAULT_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount/token';
const PRODUCT = '/sys/class/dmi/id/product_name';

const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((name) => name.includes('/@grpc/grpc-js/'));

/** For each provider the least that makes it the one that is here. */
const signs: Record<AmbientProviderName, FakeMachine> = {
  env: { env: { SIGSTORE_ID_TOKEN: token } },
  file: { files: { [FILE]: token } },
  'github-actions': { env: { GITHUB_ACTIONS: 'true' } },
  gitlab: { env: { GITLAB_CI: 'true' } },
  buildkite: { env: { BUILDKITE: 'true' } },
  circleci: { env: { CIRCLECI: 'true' } },
  azure: { env: { TF_BUILD: 'True' } },
  'google-impersonation': { env: { GOOGLE_SERVICE_ACCOUNT_NAME: 'a@b' } },
  kubernetes: { files: { [PROJECTED]: '' } },
  spiffe: { files: { [SOCKET]: '' } },
  google: { files: { [PRODUCT]: 'Google' } },
};
const names = Object.keys(signs) as AmbientProviderName[];

/** A machine that shows the signs of all of these. */
const machineOf = (some: readonly AmbientProviderName[], more: FakeMachine = {}) =>
  fakeMachine({
    ...more,
    env: { ...Object.assign({}, ...some.map((name) => signs[name].env)), ...more.env } as Record<string, string>,
    files: { ...Object.assign({}, ...some.map((name) => signs[name].files)), ...more.files } as Record<string, string>,
  });

describe('ambientToken()', () => {
  it('does not load gRPC for anybody but SPIFFE', async () => {
    for (const name of names.filter((name) => name !== 'spiffe')) {
      await ambientToken(machineOf([name]).environment).catch(() => undefined);
    }
    expect(loaded()).toBe(false);
    const { environment } = fakeMachine({ env: { SPIFFE_ENDPOINT_SOCKET: 'unix:///nowhere' } });
    await ambientToken(environment).catch(() => undefined);
    expect(loaded()).toBe(true);
  });

  it('finds nothing on a plain machine, and asks nobody', async () => {
    const { environment, outgoing } = fakeMachine({ files: { [PRODUCT]: 'Standard PC' } });
    expect(await ambientToken(environment)).toBeUndefined();
    expect(outgoing).toEqual([]);
  });

  it('takes an empty variable for one that is not set', async () => {
    const variables = `SIGSTORE_ID_TOKEN SIGSTORE_ID_TOKEN_FILE GITHUB_ACTIONS ACTIONS_ID_TOKEN_REQUEST_URL ACTIONS_ID_TOKEN_REQUEST_TOKEN
      GITLAB_CI BUILDKITE BUILDKITE_AGENT_ACCESS_TOKEN CIRCLECI TF_BUILD SYSTEM_OIDCREQUESTURI AZURE_FEDERATED_TOKEN_FILE IDENTITY_ENDPOINT
      IDENTITY_HEADER GOOGLE_SERVICE_ACCOUNT_NAME SIGSTORE_KUBERNETES_TOKEN_FILE SPIFFE_ENDPOINT_SOCKET GCE_METADATA_HOST K_SERVICE`;
    const env = Object.fromEntries(variables.split(/\s+/).map((name) => [name, '']));
    expect(await ambientToken(fakeMachine({ env }).environment)).toBeUndefined();
  });

  it('has the providers in the documented order', () => {
    expect(ambientProviders.map(({ name }) => name)).toEqual(names);
  });

  it.each(names)('detects %s by its signs alone', async (name) => {
    const { environment, outgoing } = machineOf([name]);
    const detected = [];
    for (const provider of ambientProviders) if (await provider.detect(environment)) detected.push(provider.name);
    expect(detected).toEqual([name]);
    expect(outgoing).toEqual([]);
  });

  // SIGSTORE_ID_TOKEN and the file have a token: what can fail are the others.
  it.each(names.slice(2).flatMap((first, at) => names.slice(at + 3).map((second) => [first, second] as const)))(
    'with %s failing does not go on to %s',
    async (first, second) => {
      const { environment } = machineOf([second, first], { files: { [PRODUCT]: 'Google' } });
      const failure = await failureOf(ambientToken(environment));
      expect(failure.provider).toBe(first);
      expect(failure.cure).not.toBeUndefined();
    },
  );

  it.each(names.slice(2))('with %s failing does not go on to one that would work', async (first) => {
    const google = await startService(() => ({ headers: { 'metadata-flavor': 'Google' }, body: token }));
    const routes = { 'http://169.254.169.254': google.url };
    const { environment } = machineOf(['google'], { routes });
    expect(await ambientToken(environment)).toEqual({ provider: 'google', token });
    if (first === 'google' || first === 'google-impersonation') return; // they ask this same server
    const failing = machineOf([first, 'google'], { routes });
    expect((await failureOf(ambientToken(failing.environment))).provider).toBe(first);
    expect(google.seen).toHaveLength(1);
  });

  it.each<[string, AmbientProviderName, FakeMachine]>([
    ['an empty one', 'kubernetes', signs.kubernetes],
    ['one of another audience', 'env', { env: { SIGSTORE_ID_TOKEN: makeToken({ aud: 'x' }), GITHUB_ACTIONS: 'true' } }],
    ['one that is none', 'env', { env: { SIGSTORE_ID_TOKEN: 'none' }, files: { [FILE]: token } }],
    ['a file without one', 'file', { files: { [FILE]: '\n', [PROJECTED]: token } }],
  ])('does not go on from a token that is no good: %s', async (_, provider, machine) => {
    expect((await failureOf(ambientToken(fakeMachine(machine).environment))).provider).toBe(provider);
  });

  it('takes what a person set before what the machine is', async () => {
    const all = machineOf(names);
    expect(await ambientToken(all.environment)).toEqual({ provider: 'env', token });
    expect(await ambientToken(all.environment, { skip: ['env'] })).toEqual({ provider: 'file', token });
    expect(all.outgoing).toEqual([]);
  });

  it('skips what it is told to skip, and asks none if all are', async () => {
    const all = machineOf(names);
    expect(await ambientToken(all.environment, { skip: names })).toBeUndefined();
    expect(all.outgoing).toEqual([]);
  });

  it.each(names)('with only: %s asks that one, detected or not', async (only) => {
    const { environment } = fakeMachine({ files: {} });
    const failure = await failureOf(ambientToken(environment, { only }));
    expect(failure.provider).toBe(only);
    expect(failure.cure?.length).toBeGreaterThan(20);
    const others = machineOf(names.filter((name) => name !== only && name !== 'env'));
    expect((await failureOf(ambientToken(others.environment, { only }))).provider).toBe(only);
  });

  it('takes white space off the ends of a token', async () => {
    const { environment } = fakeMachine({ env: { SIGSTORE_ID_TOKEN: ` ${token}\n` } });
    expect(await ambientToken(environment)).toEqual({ provider: 'env', token });
  });

  it('leaves it to the signing whether a token has expired', async () => {
    const old = makeToken({ exp: 1 });
    expect(await ambientToken(fakeMachine({ env: { SIGSTORE_ID_TOKEN: old } }).environment)).toMatchObject({
      token: old,
    });
  });

  it('takes a token for several audiences if ours is one', async () => {
    const SIGSTORE_ID_TOKEN = makeToken({ aud: ['x', 'sigstore'] });
    expect(await ambientToken(fakeMachine({ env: { SIGSTORE_ID_TOKEN } }).environment)).toMatchObject({
      provider: 'env',
    });
  });

  it('passes on what is no failure of signing: a bug is not dressed up', async () => {
    const { environment } = fakeMachine({
      env: { CIRCLECI: 'true' },
      run: () => Promise.reject(new RangeError('bug')),
    });
    await expect(ambientToken(environment)).rejects.toThrow(RangeError);
  });

  it('never shows a token that is no good', async () => {
    const bad = [makeToken({ aud: 'x' }), makeToken({ sub: undefined }), 'eyJhbGciOi.x', 'A'.repeat(20_000), 'a.b.c.d'];
    for (const SIGSTORE_ID_TOKEN of bad) {
      const failure = await failureOf(ambientToken(fakeMachine({ env: { SIGSTORE_ID_TOKEN } }).environment));
      expect(everythingOf(failure)).not.toContain(SIGSTORE_ID_TOKEN.slice(0, 9));
    }
  });

  it('ends with a token or a SignError whatever the environment holds', async () => {
    const variables = [
      'SIGSTORE_ID_TOKEN',
      'GITLAB_CI',
      'BUILDKITE_JOB_ID',
      'BUILDKITE_AGENT_ACCESS_TOKEN',
      'BUILDKITE_AGENT_ENDPOINT',
    ];
    const more = [
      'ACTIONS_ID_TOKEN_REQUEST_URL',
      'ACTIONS_ID_TOKEN_REQUEST_TOKEN',
      'GCE_METADATA_HOST',
      'GOOGLE_SERVICE_ACCOUNT_NAME',
    ];
    const rest = [
      'IDENTITY_ENDPOINT',
      'IDENTITY_HEADER',
      'SYSTEM_OIDCREQUESTURI',
      'SYSTEM_ACCESSTOKEN',
      'AZURE_CLIENT_ID',
    ];
    const name = fc.constantFrom(...variables, ...more, ...rest);
    const value = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.webUrl({ withQueryParameters: true }),
      fc.constant('true'),
    );
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, value), fc.string({ unit: 'grapheme' }), async (env, audience) => {
        const { environment } = fakeMachine({ env, audience });
        const outcome: unknown = await ambientToken(environment).catch((error: unknown) => error);
        expect(outcome === undefined || outcome instanceof SignError || typeof outcome === 'object').toBe(true);
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(SignError);
      }),
      { numRuns: 300 },
    );
  });
});

describe('findAmbientProvider()', () => {
  it.each<[string, AmbientProviderName | undefined]>([
    ['github-actions', 'github-actions'],
    ['filesystem', 'file'],
    ['envvar', 'env'],
    ['buildkite-agent', 'buildkite'],
    ['google-workload-identity', 'google'],
    ['google-impersonate', 'google-impersonation'],
    ['google', 'google'],
    ['spiffe', 'spiffe'],
    ['azure-pipelines', 'azure'],
    ['toString', undefined],
    ['', undefined],
  ])('%j is %j', (given, name) => {
    expect(findAmbientProvider(given)?.name).toBe(name);
  });

  it('has no word for two', () => {
    const words = ambientProviders.flatMap(({ name, aliases }) => [name, ...aliases]);
    expect(new Set(words).size).toBe(words.length);
  });
});

describe('ambientHint()', () => {
  const cases: [string, FakeMachine, RegExp | undefined][] = [
    ['a plain machine', {}, undefined],
    [
      'a pod without a projected token',
      { env: { KUBERNETES_SERVICE_HOST: '10.0.0.1' }, files: { [DEFAULT_ACCOUNT]: 'secret' } },
      /`serviceAccountToken: \{audience: sigstore, path: oidc-token\}`/,
    ],
    ['a pod without any token', { env: { KUBERNETES_SERVICE_HOST: '10.0.0.1' } }, undefined],
    [
      'a virtual machine of Azure',
      { files: { '/sys/class/dmi/id/chassis_asset_tag': '7783-7084-3265-9085-8269-3286-77\n' } },
      /provider azure by name/,
    ],
    [
      'one whose firmware is secret',
      { files: { '/sys/class/dmi/id/chassis_asset_tag': new Error('EACCES') } },
      undefined,
    ],
  ];
  it.each(cases)('on %s', async (_, machine, hint) => {
    const said = await ambientHint(fakeMachine(machine).environment);
    if (hint === undefined) expect(said).toBeUndefined();
    else expect(said).toMatch(hint);
  });
});

/**
 * Every secret of every provider is set at once, and each provider is asked in turn: each request has the headers in this table and no others beside
 * those of the platform, and no secret is seen by a host that it is not for.
 */
describe('CVE-2026-48501: credentials go to their own host', () => {
  const secrets = {
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'secret-of-github',
    BUILDKITE_AGENT_ACCESS_TOKEN: 'secret-of-buildkite',
    SYSTEM_ACCESSTOKEN: 'secret-of-pipelines',
    IDENTITY_HEADER: 'secret-of-app-service',
    SIGSTORE_ID_TOKEN: makeToken({ sub: 'secret-of-env' }),
    GITLAB_TOKEN: 'secret-of-gitlab',
    CIRCLE_OIDC_TOKEN: 'secret-of-circleci',
    AZURE_CLIENT_SECRET: 'secret-of-azure',
    AWS_SECRET_ACCESS_KEY: 'secret-of-aws',
  };
  const hosts = {
    ACTIONS_ID_TOKEN_REQUEST_URL: 'https://github.example/token?v=1',
    BUILDKITE_AGENT_ENDPOINT: 'https://buildkite.example/v3',
    SYSTEM_OIDCREQUESTURI: 'https://pipelines.example/oidc',
    IDENTITY_ENDPOINT: 'https://service.example/msi',
    BUILDKITE_JOB_ID: 'job',
    GOOGLE_SERVICE_ACCOUNT_NAME: 'account@example',
    CIRCLECI: 'true',
    GITLAB_CI: 'true',
  };
  const json = { accept: 'application/json' };
  const post = { ...json, 'content-type': 'application/json' };
  const table: [AmbientProviderName, string, Record<string, string>, without: string[]][] = [
    ['env', '', {}, []],
    ['file', '', {}, []],
    ['gitlab', '', {}, []],
    ['circleci', '', {}, []],
    ['kubernetes', '', {}, []],
    ['github-actions', 'https://github.example', { ...json, authorization: 'bearer secret-of-github' }, []],
    ['buildkite', 'https://buildkite.example', { ...post, authorization: 'Token secret-of-buildkite' }, []],
    [
      'azure',
      'https://pipelines.example',
      { ...post, authorization: 'Bearer secret-of-pipelines', 'x-tfs-fedauthredirect': 'Suppress' },
      [],
    ],
    [
      'azure',
      'https://service.example',
      { ...json, 'x-identity-header': 'secret-of-app-service' },
      ['SYSTEM_OIDCREQUESTURI'],
    ],
    ['azure', 'http://169.254.169.254', { ...json, metadata: 'true' }, ['SYSTEM_OIDCREQUESTURI', 'IDENTITY_ENDPOINT']],
    ['google', 'http://169.254.169.254', { 'metadata-flavor': 'Google' }, []],
    ['google-impersonation', 'http://169.254.169.254', { 'metadata-flavor': 'Google' }, []],
    [
      'google-impersonation',
      'https://iamcredentials.googleapis.com',
      { ...post, authorization: 'Bearer secret-of-machine' },
      [],
    ],
  ];
  // Of Node's fetch itself.
  const platform = new Set(
    'host connection accept accept-language accept-encoding sec-fetch-mode user-agent content-length content-type'.split(
      ' ',
    ),
  );

  it.each(table)('%s asks %s', async (only, origin, headers, without) => {
    const service = await startService(({ path }) => ({
      headers: { 'metadata-flavor': 'Google' },
      body: JSON.stringify({ value: '', access_token: path.includes('default/token') ? 'secret-of-machine' : token }),
    }));
    const origins = new Set(table.map(([, name]) => name));
    const run = async (): Promise<CommandResult> => ({ exit: 1, out: '', err: '' });
    const env: Record<string, string> = { ...secrets, ...hosts };
    for (const name of without) delete env[name];
    const routes = Object.fromEntries([...origins].map((name) => [name, service.url]));
    const { environment, outgoing } = fakeMachine({ env, routes, run, files: { [DEFAULT_ACCOUNT]: 'secret-of-pod' } });
    await ambientToken(environment, { only }).catch(() => undefined);

    const mine = outgoing.filter((request) => request.origin === origin);
    expect(mine.map((request) => Object.fromEntries(request.headers))).toEqual(origin === '' ? [] : [headers]);
    const own = table.filter(([name, at]) => name === only && at !== '').map(([, at]) => at);
    expect(outgoing.every((request) => own.includes(request.origin))).toBe(true);
    // The same on the wire: nothing was added, and no secret is anywhere but in its own header.
    expect(service.seen).toHaveLength(outgoing.length);
    for (const [index, request] of service.seen.entries()) {
      const given = Object.fromEntries(outgoing[index]?.headers ?? []);
      expect(Object.keys(request.headers).filter((name) => !platform.has(name) && given[name] === undefined)).toEqual(
        [],
      );
      const wanted = JSON.stringify(given).match(/secret-of-[a-z-]+/g) ?? [];
      expect(JSON.stringify(request).match(/secret-of-[a-z-]+/g) ?? []).toEqual(wanted);
      expect(wanted.length).toBeLessThanOrEqual(1);
    }
  });
});

describe('gitlabVariable()', () => {
  it.each([
    ['sigstore', 'SIGSTORE_ID_TOKEN'],
    ['http://test.audience', 'HTTP___TEST_AUDIENCE_ID_TOKEN'],
    ['1st', '_ST_ID_TOKEN'],
    ['a1_b', 'A1_B_ID_TOKEN'],
    ['ünï', '_N__ID_TOKEN'],
  ])('%j is in %s', (audience, variable) => {
    expect(gitlabVariable(audience)).toBe(variable);
  });
});
