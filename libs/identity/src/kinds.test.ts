import { describe, expect, test } from 'vitest';
import type { Claims } from './claims.js';
import type { IssuerConfig } from './config.js';
import { type IssuerKind, issuerKinds, type Principal } from './kinds.js';

const issuer: IssuerConfig = {
  issuerUrl: 'https://token.actions.githubusercontent.com',
  wildcard: false,
  clientId: 'sigstore',
  type: 'github-workflow',
};

// Every claim another text, so that no two can be mixed up.
const github: Record<string, string> = {
  job_workflow_ref: 'octo/shared/.github/workflows/build.yml@refs/tags/v2',
  sha: 'aaaa1111',
  event_name: 'push',
  repository: 'octo/app',
  workflow: 'Release',
  ref: 'refs/heads/main',
  job_workflow_sha: 'bbbb2222',
  runner_environment: 'github-hosted',
  repository_id: '1001',
  repository_owner: 'octo',
  repository_owner_id: '2002',
  repository_visibility: 'public',
  workflow_ref: 'octo/app/.github/workflows/release.yml@refs/heads/main',
  workflow_sha: 'cccc3333',
  run_id: '3003',
  run_attempt: '4',
};

function principal(claims: Record<string, string>): Principal {
  const kind = issuerKinds['github-workflow'];
  if (kind === undefined) throw new Error('no such kind');
  return kind.principal({ issuer: issuer.issuerUrl, subject: 'repo:octo/app:ref:refs/heads/main', claims }, issuer);
}

describe('github-workflow', () => {
  test('maps every claim to its extension, as the public instance does', () => {
    expect(principal(github)).toEqual({
      issuer: 'https://token.actions.githubusercontent.com',
      subject: 'repo:octo/app:ref:refs/heads/main',
      challenge: 'repo:octo/app:ref:refs/heads/main',
      challengeClaim: 'sub',
      san: { kind: 'uri', value: 'https://github.com/octo/shared/.github/workflows/build.yml@refs/tags/v2' },
      extensions: {
        githubWorkflowTrigger: 'push',
        githubWorkflowSha: 'aaaa1111',
        githubWorkflowName: 'Release',
        githubWorkflowRepository: 'octo/app',
        githubWorkflowRef: 'refs/heads/main',
        buildSignerUri: 'https://github.com/octo/shared/.github/workflows/build.yml@refs/tags/v2',
        buildSignerDigest: 'bbbb2222',
        runnerEnvironment: 'github-hosted',
        sourceRepositoryUri: 'https://github.com/octo/app',
        sourceRepositoryDigest: 'aaaa1111',
        sourceRepositoryRef: 'refs/heads/main',
        sourceRepositoryIdentifier: '1001',
        sourceRepositoryOwnerUri: 'https://github.com/octo',
        sourceRepositoryOwnerIdentifier: '2002',
        buildConfigUri: 'https://github.com/octo/app/.github/workflows/release.yml@refs/heads/main',
        buildConfigDigest: 'cccc3333',
        buildTrigger: 'push',
        runInvocationUri: 'https://github.com/octo/app/actions/runs/3003/attempts/4',
        sourceRepositoryVisibilityAtSigning: 'public',
      },
    });
  });

  test('states the deployment environment where the job has one', () => {
    expect(principal({ ...github, environment: 'production' }).extensions.deploymentEnvironment).toBe('production');
    expect(principal({ ...github, environment: '' }).extensions).not.toHaveProperty('deploymentEnvironment');
  });

  test('encodes the SAN, which is ASCII, and leaves the extension as the claim says', () => {
    const { san, extensions } = principal({ ...github, job_workflow_ref: 'octo/app/a b.yml@refs/heads/ü' });
    expect(san.value).toBe('https://github.com/octo/app/a%20b.yml@refs/heads/%C3%BC');
    expect(extensions.buildSignerUri).toBe('https://github.com/octo/app/a b.yml@refs/heads/ü');
  });

  test.each(Object.keys(github))('refuses a token without %s, and one where it is empty', (name) => {
    const { [name]: _left, ...rest } = github;
    const message = new RegExp(`^Cannot read claim ${name}: `);
    expect(() => principal(rest)).toThrow(message);
    expect(() => principal({ ...rest, [name]: '' })).toThrow(message);
  });
});

const verified = (claims: object, subject = 'sub-1', iss = 'https://issuer.example') => ({
  issuer: iss,
  subject,
  claims: claims as Claims,
});
const config = (type: string, fields: Partial<IssuerConfig> = {}): IssuerConfig => ({
  issuerUrl: 'https://issuer.example',
  wildcard: false,
  clientId: 'sigstore',
  type,
  ...fields,
});
const kind = (type: string): IssuerKind => {
  const found = issuerKinds[type];
  if (found === undefined) throw new Error(`no kind ${type}`);
  return found;
};
const of = (type: string, claims: object, subject?: string, fields?: Partial<IssuerConfig>): Principal =>
  kind(type).principal(verified(claims, subject), config(type, fields));

describe('username', () => {
  const name = (subject: string) => of('username', {}, subject, { subjectDomain: 'example.com' });

  test('is an otherName of name and domain, and the name alone is signed', () => {
    expect(name('ann')).toEqual({
      issuer: 'https://issuer.example',
      subject: 'ann',
      challenge: 'ann',
      challengeClaim: 'sub',
      san: { kind: 'other-name', oid: '1.3.6.1.4.1.57264.1.7', value: 'ann!example.com' },
      extensions: {},
    });
    expect(name('ünï').san.value).toBe('ünï!example.com');
  });

  test.each(['a!b', '!', 'ann@example.com', 'Ann <ann@example.com>', 'änn@example.com', 'a b', 'a\nb', 'a\0', ' '])(
    'refuses %j',
    (subject) => {
      expect(() => name(subject)).toThrow(/Cannot read claim sub: .*expected a user name/);
    },
  );
});

describe('uri', () => {
  const uri = (subject: string) => of('uri', {}, subject, { subjectDomain: 'https://example.com' });

  test.each([
    ['https://example.com/users/1', 'https://example.com/users/1'],
    ['https://example.com', 'https://example.com'],
    ['https://example.com:8443/x', 'https://example.com:8443/x'],
    ['https://example.com/a b', 'https://example.com/a%20b'],
  ])('takes %s', (subject, value) => {
    expect(uri(subject)).toMatchObject({ challenge: subject, san: { kind: 'uri', value } });
  });

  test.each([
    'ann@example.com',
    'users/1',
    'http://example.com/',
    'https://example.org/',
    'https://sub.example.com/',
    'https://example.com.evil.example/',
    'https://example.com@evil.example/',
    'https://evil.example/?https://example.com/',
    'https://evil.example#https://example.com/',
    'https://example.com\\@evil.example/',
    'https://EXAMPLE.com/',
  ])('refuses %s', (subject) => {
    expect(() => uri(subject)).toThrow(/Cannot read claim sub: .*begins with https:\/\/example\.com/);
  });
});

describe('spiffe', () => {
  const spiffe = (subject: string) => of('spiffe', {}, subject, { spiffeTrustDomain: 'example.org' });

  test('is the ID itself', () => {
    expect(spiffe('spiffe://example.org/ns/a/sa/b').san).toEqual({
      kind: 'uri',
      value: 'spiffe://example.org/ns/a/sa/b',
    });
  });

  test.each([
    ['spiffe://example.com/a', /of trust domain "example\.org"/],
    ['spiffe://sub.example.org/a', /of trust domain/],
    ['spiffe://Example.org/a', /expected a SPIFFE ID/],
    ['spiffe://example.org//a', /expected a SPIFFE ID/],
    ['spiffe://example.org/a/', /expected a SPIFFE ID/],
    ['https://example.org/a', /expected a SPIFFE ID/],
  ])('refuses %s', (subject, message) => {
    expect(() => spiffe(subject)).toThrow(message);
  });
});

describe('kubernetes', () => {
  const claims = (namespace: unknown, name: unknown) => ({
    'kubernetes.io': { namespace, serviceaccount: { name, uid: 'u' } },
  });

  test('is the service account', () => {
    expect(of('kubernetes', claims('prod', 'build.bot')).san).toEqual({
      kind: 'uri',
      value: 'https://kubernetes.io/namespaces/prod/serviceaccounts/build.bot',
    });
  });

  test.each<[string, object, string]>([
    ['nothing', {}, 'kubernetes.io.namespace'],
    ['a text', { 'kubernetes.io': 'prod' }, 'kubernetes.io.namespace'],
    ['no namespace', claims(undefined, 'a'), 'kubernetes.io.namespace'],
    ['an empty namespace', claims('', 'a'), 'kubernetes.io.namespace'],
    ['a namespace with a slash', claims('a/serviceaccounts/b', 'c'), 'kubernetes.io.namespace'],
    ['a number for a namespace', claims(1, 'a'), 'kubernetes.io.namespace'],
    ['no account', { 'kubernetes.io': { namespace: 'a' } }, 'kubernetes.io.serviceaccount.name'],
    ['an empty account', claims('a', ''), 'kubernetes.io.serviceaccount.name'],
    ['an account in capitals', claims('a', 'B'), 'kubernetes.io.serviceaccount.name'],
    ['a list of accounts', claims('a', ['b']), 'kubernetes.io.serviceaccount.name'],
  ])('refuses %s', (_name, token, claim) => {
    expect(() => of('kubernetes', token)).toThrow(`Cannot read claim ${claim}: `);
  });
});

describe('chainguard-identity', () => {
  test('is the subject below the issuer, and the verified address is signed where there is one', () => {
    expect(of('chainguard-identity', {}, 'a1/b2')).toMatchObject({
      challenge: 'a1/b2',
      challengeClaim: 'sub',
      san: { kind: 'uri', value: 'https://issuer.example/a1/b2' },
    });
    expect(of('chainguard-identity', { email: 'ann@example.com', email_verified: true }, 'a1')).toMatchObject({
      challenge: 'ann@example.com',
      challengeClaim: 'email',
      subject: 'a1',
      san: { kind: 'uri', value: 'https://issuer.example/a1' },
    });
    expect(of('chainguard-identity', {}, 'a?b#c d').san.value).toBe('https://issuer.example/a%3Fb%23c%20d');
    const slash = kind('chainguard-identity').principal(verified({}, 'a', 'https://issuer.example/x/'), config(''));
    expect(slash.san.value).toBe('https://issuer.example/x/a');
  });

  test('refuses an address that is not verified', () => {
    expect(() => of('chainguard-identity', { email: 'ann@example.com' })).toThrow(/email_verified is nothing/);
    expect(() => of('chainguard-identity', { email: 'ann@example.com', email_verified: false })).toThrow(/is false/);
  });

  test.each(['..', 'a/../b', './a', '/a', 'a//b', 'a/', 'a\nb'])('refuses the subject %j', (subject) => {
    expect(() => of('chainguard-identity', {}, subject)).toThrow(/Cannot (read|make a URI of) claim sub/);
  });
});

const gitlab: Record<string, unknown> = {
  project_path: 'group/app',
  pipeline_source: 'push',
  pipeline_id: '574',
  ci_config_ref_uri: 'gitlab.com/group/app//.gitlab-ci.yml@refs/heads/main',
  job_id: '302',
  ref: 'main',
  ref_type: 'branch',
  namespace_path: 'group',
  namespace_id: '72',
  project_id: '20',
  sha: 'aaaa1111',
  runner_environment: 'gitlab-hosted',
  runner_id: 1,
  ci_config_sha: 'bbbb2222',
  project_visibility: 'public',
};

describe('gitlab-pipeline', () => {
  test.each([
    ['branch', 'refs/heads/main'],
    ['tag', 'refs/tags/main'],
  ])('knows the %s', (ref_type, ref) => {
    expect(of('gitlab-pipeline', { ...gitlab, ref_type }).extensions.sourceRepositoryRef).toBe(ref);
  });

  test('does without the digest of a configuration that is elsewhere', () => {
    for (const ci_config_sha of [null, '', undefined]) {
      const { extensions } = of('gitlab-pipeline', { ...gitlab, ci_config_sha });
      expect(extensions).not.toHaveProperty('buildConfigDigest');
      expect(extensions).not.toHaveProperty('buildSignerDigest');
    }
  });

  test.each<[string, unknown]>([
    ['ref_type', 'merge_request'],
    ['ref_type', 'Branch'],
    ['runner_id', 0],
    ['runner_id', '1'],
    ['runner_id', 1.5],
    ['project_visibility', ['public']],
    ['ci_config_ref_uri', 'gitlab.com/a\nb'],
  ])('refuses %s %j', (name, value) => {
    expect(() => of('gitlab-pipeline', { ...gitlab, [name]: value })).toThrow(`claim ${name}`);
  });
});

describe('codefresh-workflow', () => {
  const codefresh = {
    account_id: 'a1',
    account_name: 'acme',
    pipeline_id: 'p1',
    pipeline_name: 'app/build',
    workflow_id: 'w1',
  };

  test('is at the address that the token names, without doubled slashes', () => {
    const { san, extensions } = of('codefresh-workflow', { ...codefresh, platform_url: 'https://cf.example/' });
    expect(san.value).toBe('https://cf.example/acme/app/build:a1/p1');
    expect(extensions.runInvocationUri).toBe('https://cf.example/build/w1');
  });

  test.each(Object.keys(codefresh))('refuses a token without %s', (name) => {
    expect(() => of('codefresh-workflow', { ...codefresh, [name]: '' })).toThrow(`Cannot read claim ${name}: `);
  });
});

describe('claims()', () => {
  /** The names of the claims that are looked at. */
  function watch(claims: object): { claims: Claims; seen: Set<string> } {
    const seen = new Set<string>();
    const look = <T>(name: string | symbol, result: T): T => {
      if (typeof name === 'string') seen.add(name);
      return result;
    };
    const proxy = new Proxy(claims, {
      get: (target, name) => look(name, Reflect.get(target, name)),
      has: (target, name) => look(name, Reflect.has(target, name)),
      getOwnPropertyDescriptor: (target, name) => look(name, Reflect.getOwnPropertyDescriptor(target, name)),
    });
    return { claims: proxy as Claims, seen };
  }

  const account = { 'kubernetes.io': { namespace: 'a', serviceaccount: { name: 'b' } } };
  const broker = { issuerClaim: '$.federated_claims.connector_id' };
  const cases: [string, object, Partial<IssuerConfig>?, string?][] = [
    ['email', { email: 'ann@example.com', email_verified: true }],
    ['email', { email: 'ann@example.com' }, { skipEmailVerification: true }],
    ['email', { email: 'ann@example.com', email_verified: true, federated_claims: { connector_id: 'x' } }, broker],
    ['username', {}, { subjectDomain: 'example.com' }, 'ann'],
    ['uri', {}, { subjectDomain: 'https://example.com' }, 'https://example.com/ann'],
    ['spiffe', {}, { spiffeTrustDomain: 'example.org' }, 'spiffe://example.org'],
    ['kubernetes', account],
    ['github-workflow', { ...github, environment: 'prod' }],
    ['gitlab-pipeline', gitlab],
    ['buildkite-job', { organization_slug: 'acme', pipeline_slug: 'app' }],
    [
      'codefresh-workflow',
      { account_id: '1', account_name: '2', pipeline_id: '3', pipeline_name: '4', workflow_id: '5' },
    ],
    ['chainguard-identity', { email: 'ann@example.com', email_verified: true }],
  ];

  test('has a case for each kind', () => {
    expect(new Set([...cases.map(([type]) => type), 'ci-provider'])).toEqual(new Set(Object.keys(issuerKinds)));
  });

  test.each(cases)('of %s, %j are those that are read', (type, claims, fields = {}, subject = 'sub-1') => {
    const { required, optional } = kind(type).claims(config(type, fields));
    const watched = watch(claims);
    kind(type).principal({ ...verified({}, subject), claims: watched.claims }, config(type, fields));
    expect([...watched.seen].sort()).toEqual([...required, ...optional].sort());
    for (const name of required) {
      const { [name]: _left, ...rest } = claims as Record<string, unknown>;
      expect(() => of(type, rest, subject, fields)).toThrow(new RegExp(name.replace('.', '\\.')));
    }
    // What is optional can all be left out.
    const rest = Object.fromEntries(Object.entries(claims).filter(([name]) => required.includes(name)));
    expect(() => of(type, rest, subject, fields)).not.toThrow();
  });
});
