import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

/** A token of one kind of issuer, and what the proof of possession signs. */
export interface KindToken {
  readonly token: string;
  readonly challenge: string;
}

/** An identity provider of every kind at once, on loopback: each kind is an issuer of its own below `url`. */
export interface BenchIssuers {
  /** Fulcio's configuration file that believes them, JSON. */
  readonly config: string;
  readonly kinds: readonly string[];
  tokenOf(kind: string): Promise<KindToken>;
  stop(): Promise<void>;
}

interface Kind {
  /** Fields of the configuration beside URL and client id. */
  readonly fields: (host: string) => Record<string, unknown>;
  /** Claims beside iss, aud, exp. */
  readonly claims: Record<string, unknown> & { readonly sub: string };
  readonly challenge?: string;
}

const sha = '714a629c0b401fdce83e847fc9589983fc6f46bc';
const email = 'bench@example.com';
const type = (name: string) => (): Record<string, unknown> => ({ Type: name });

/** Claims as the systems document them: as many and as long. */
const kinds: Readonly<Record<string, Kind>> = {
  email: { fields: type('email'), claims: { sub: '1234567890', email, email_verified: true }, challenge: email },
  username: { fields: (host) => ({ Type: 'username', SubjectDomain: host }), claims: { sub: 'bench' } },
  uri: {
    fields: (host) => ({ Type: 'uri', SubjectDomain: `http://${host}` }),
    claims: { sub: 'http://127.0.0.1/users/1' },
  },
  spiffe: {
    fields: () => ({ Type: 'spiffe', SPIFFETrustDomain: 'example.com' }),
    claims: { sub: 'spiffe://example.com/ns/prod/sa/builder' },
  },
  kubernetes: {
    fields: type('kubernetes'),
    claims: {
      sub: 'system:serviceaccount:prod:builder',
      'kubernetes.io': {
        namespace: 'prod',
        serviceaccount: { name: 'builder', uid: 'a' },
        pod: { name: 'b', uid: 'c' },
      },
    },
  },
  'github-workflow': {
    fields: type('github-workflow'),
    claims: {
      sub: 'repo:octo-org/octo-repo:ref:refs/heads/main',
      ref: 'refs/heads/main',
      sha,
      repository: 'octo-org/octo-repo',
      repository_owner: 'octo-org',
      repository_visibility: 'private',
      repository_id: '74',
      repository_owner_id: '65',
      run_id: '12345678901',
      run_number: '10',
      run_attempt: '2',
      runner_environment: 'github-hosted',
      actor: 'octocat',
      workflow: 'example workflow',
      event_name: 'push',
      ref_type: 'branch',
      workflow_ref: 'octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main',
      workflow_sha: sha,
      job_workflow_ref: 'octo-org/octo-automation/.github/workflows/oidc.yml@refs/tags/v1',
      job_workflow_sha: sha,
    },
  },
  'gitlab-pipeline': {
    fields: type('gitlab-pipeline'),
    claims: {
      sub: 'project_path:my-group/my-project:ref_type:branch:ref:main',
      namespace_id: '72',
      namespace_path: 'my-group',
      project_id: '20',
      project_path: 'my-group/my-project',
      user_login: 'sample-user',
      pipeline_id: '574',
      pipeline_source: 'push',
      job_id: '302',
      ref: 'main',
      ref_type: 'branch',
      runner_id: 1,
      runner_environment: 'self-hosted',
      sha,
      project_visibility: 'public',
      ci_config_ref_uri: 'gitlab.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main',
      ci_config_sha: sha,
    },
  },
  'buildkite-job': {
    fields: type('buildkite-job'),
    claims: {
      sub: 'organization:acme:pipeline:super-duper-app:ref:refs/heads/main:commit:9f3182:step:build',
      organization_slug: 'acme',
      pipeline_slug: 'super-duper-app',
      build_number: 1,
      build_branch: 'main',
      build_commit: sha,
      step_key: 'build_step',
      job_id: '0184990a-477b-4fa8-9968-496074483cee',
    },
  },
  'codefresh-workflow': {
    fields: type('codefresh-workflow'),
    claims: {
      sub: 'account:628a80b693a15c0f9c13ab75:pipeline:65e6d5551e47e5bc243ca93f',
      account_id: '628a80b693a15c0f9c13ab75',
      account_name: 'acme',
      pipeline_id: '65e6d5551e47e5bc243ca93f',
      pipeline_name: 'oidc-test/oidc-test',
      workflow_id: '65e6ebe0bfbfa1782876165e',
      scm_repo_url: 'https://github.com/acme/app',
      scm_ref: 'main',
      runner_environment: 'hybrid',
      platform_url: 'https://g.codefresh.io',
    },
  },
  'chainguard-identity': { fields: type('chainguard-identity'), claims: { sub: 'a9d2b6fb1a5a4a2c/0f0f' } },
  'ci-provider': {
    fields: () => ({ Type: 'ci-provider', CIProvider: 'circleci-job' }),
    claims: {
      sub: 'org/4a23/project/77c1/user/9e12',
      'oidc.circleci.com/project-id': '77c1a3f0-6d5c-4a54-8b5e-0d0f5d5a3a10',
      'oidc.circleci.com/org-id': '4a23a3f0-6d5c-4a54-8b5e-0d0f5d5a3a11',
      'oidc.circleci.com/pipeline-definition-id': '11c1a3f0-6d5c-4a54-8b5e-0d0f5d5a3a12',
      'oidc.circleci.com/pipeline-id': '22c1a3f0-6d5c-4a54-8b5e-0d0f5d5a3a13',
      'oidc.circleci.com/workflow-id': '33c1a3f0-6d5c-4a54-8b5e-0d0f5d5a3a14',
      'oidc.circleci.com/job-id': '44c1a3f0-6d5c-4a54-8b5e-0d0f5d5a3a15',
      'oidc.circleci.com/vcs-ref': 'refs/heads/main',
      'oidc.circleci.com/vcs-origin': 'github.com/acme/app',
      'oidc.circleci.com/ssh-rerun': false,
    },
  },
};

export async function startIssuers(): Promise<BenchIssuers> {
  const pair = await generateKeyPair('ES256');
  const keys = JSON.stringify({
    keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'bench', use: 'sig', alg: 'ES256' }],
  });
  let url = '';
  const server = createServer((request, response) => {
    const kind = request.url?.split('/')[1] ?? '';
    const issuer = `${url}/${kind}`;
    const discovery = { issuer, jwks_uri: `${issuer}/keys`, id_token_signing_alg_values_supported: ['ES256'] };
    response.setHeader('content-type', 'application/json');
    response.end(request.url?.endsWith('/keys') === true ? keys : JSON.stringify(discovery));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const issuers = Object.entries(kinds).map(([kind, { fields }]) => {
    const issuer = `${url}/${kind}`;
    return [issuer, { IssuerURL: issuer, ClientID: 'sigstore', ...fields('127.0.0.1') }];
  });
  return {
    config: JSON.stringify({ OIDCIssuers: Object.fromEntries(issuers) as unknown }),
    kinds: Object.keys(kinds),
    async tokenOf(kind) {
      const row = kinds[kind];
      if (row === undefined) throw new Error(`No kind ${kind}`);
      const token = await new SignJWT(row.claims)
        .setProtectedHeader({ alg: 'ES256', kid: 'bench' })
        .setIssuer(`${url}/${kind}`)
        .setAudience('sigstore')
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(pair.privateKey);
      return { token, challenge: row.challenge ?? row.claims.sub };
    },
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
