import { describe, expect, test } from 'vitest';
import { type IssuerConfig } from './config.js';
import { issuerKinds, type Principal } from './kinds.js';

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
