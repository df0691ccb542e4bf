import 'reflect-metadata';
import { readdirSync, readFileSync } from 'node:fs';
import { AsnConvert } from '@peculiar/asn1-schema';
import { TBSCertificate } from '@peculiar/asn1-x509';
import { beforeAll, describe, expect, test } from 'vitest';
import { type JsonValue, parseJson } from '#libs/encoding';
import {
  type IssuerConfig,
  type IssuerKind,
  IdentityError,
  issuerKinds,
  parseFulcioConfig,
  type Principal,
} from '#libs/identity';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import { encodeFulcioExtensions, prepareCertificate } from '#libs/x509';
import { type CertificateAuthority, createAuthority, loadAuthority } from './authority.js';

/** One kind of issuer, or one CI system: a token as the vendor documents it, and what the certificate must say. */
interface Case {
  readonly name: string;
  /** A file of docs/issuers, or an issuer file's text. */
  readonly file?: string;
  readonly config?: string;
  /** Which claims may not be missing; each is then taken away in turn. */
  readonly required: readonly string[];
  /** The token's payload, JSON, so that numbers are written as they come. */
  readonly token: string;
  readonly san: { readonly email?: string; readonly uri?: string; readonly otherName?: string };
  /** Extension number → text, without 1, 8 and 24, which all have. */
  readonly extensions?: Readonly<Record<number, string>>;
  /** What extensions 1 and 8 say, if not the token's `iss`. */
  readonly issuer?: string;
}

const issuerFile = (issuer: string, fields: Record<string, unknown>): string =>
  JSON.stringify({ OIDCIssuers: { [issuer]: { IssuerURL: issuer, ClientID: 'sigstore', ...fields } } });

// GitHub's documentation of the claims, "OpenID Connect reference", with the example's names.
const github = {
  required: [
    ...['job_workflow_ref', 'sha', 'event_name', 'repository', 'workflow', 'ref', 'job_workflow_sha'],
    ...['runner_environment', 'repository_id', 'repository_owner', 'repository_owner_id', 'repository_visibility'],
    ...['workflow_ref', 'workflow_sha', 'run_id', 'run_attempt'],
  ],
  claims: {
    jti: 'example-id',
    sub: 'repo:octo-org/octo-repo:environment:prod',
    environment: 'prod',
    aud: 'sigstore',
    ref: 'refs/heads/main',
    sha: '9f3182061f1e2cca4702c368cbc039b7dc9d4485',
    repository: 'octo-org/octo-repo',
    repository_owner: 'octo-org',
    actor_id: '12',
    repository_visibility: 'private',
    repository_id: '74',
    repository_owner_id: '65',
    run_id: '12345678901',
    run_number: '10',
    run_attempt: '2',
    runner_environment: 'github-hosted',
    actor: 'octocat',
    workflow: 'example workflow',
    head_ref: '',
    base_ref: '',
    event_name: 'workflow_dispatch',
    ref_type: 'branch',
    workflow_ref: 'octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main',
    workflow_sha: '1111111111111111111111111111111111111111',
    job_workflow_ref: 'octo-org/octo-automation/.github/workflows/oidc.yml@refs/tags/v1',
    job_workflow_sha: '2222222222222222222222222222222222222222',
    iss: 'https://token.actions.githubusercontent.com',
    nbf: 1632492967,
    exp: 1632493867,
    iat: 1632493567,
  },
  extensions: (url: string) => ({
    2: 'workflow_dispatch',
    3: '9f3182061f1e2cca4702c368cbc039b7dc9d4485',
    4: 'example workflow',
    5: 'octo-org/octo-repo',
    6: 'refs/heads/main',
    9: `${url}/octo-org/octo-automation/.github/workflows/oidc.yml@refs/tags/v1`,
    10: '2222222222222222222222222222222222222222',
    11: 'github-hosted',
    12: `${url}/octo-org/octo-repo`,
    13: '9f3182061f1e2cca4702c368cbc039b7dc9d4485',
    14: 'refs/heads/main',
    15: '74',
    16: `${url}/octo-org`,
    17: '65',
    18: `${url}/octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main`,
    19: '1111111111111111111111111111111111111111',
    20: 'workflow_dispatch',
    21: `${url}/octo-org/octo-repo/actions/runs/12345678901/attempts/2`,
    22: 'private',
    23: 'prod',
  }),
};

// GitLab's documentation of ID tokens, "Token payload".
const gitlab = {
  required: [
    ...['project_path', 'pipeline_source', 'ci_config_ref_uri', 'job_id', 'ref', 'ref_type', 'namespace_path'],
    ...['namespace_id', 'project_id', 'sha', 'runner_environment'],
  ],
  token: (host: string, more = ''): string => `{
    "namespace_id": "72", "namespace_path": "my-group", "project_id": "20", "project_path": "my-group/my-project",
    "user_id": "1", "user_login": "sample-user", "user_email": "sample-user@example.com", "user_access_level": "developer",
    "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "feature-branch-1", "ref_type": "branch",
    "ref_path": "refs/heads/feature-branch-1", "ref_protected": "false", "runner_id": 1, "runner_environment": "self-hosted",
    "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "project_visibility": "public",
    "ci_config_ref_uri": "${host}/my-group/my-project//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bd",
    "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b", "iat": 1681395193, "nbf": 1681395188, "exp": 1681398793, ${more}
    "sub": "project_path:my-group/my-project:ref_type:branch:ref:feature-branch-1", "iss": "https://${host}", "aud": "sigstore"
  }`,
  extensions: (host: string) => ({
    9: `https://${host}/my-group/my-project//.gitlab-ci.yml@refs/heads/main`,
    10: '714a629c0b401fdce83e847fc9589983fc6f46bd',
    11: 'self-hosted',
    12: `https://${host}/my-group/my-project`,
    13: '714a629c0b401fdce83e847fc9589983fc6f46bc',
    14: 'refs/heads/feature-branch-1',
    15: '20',
    16: `https://${host}/my-group`,
    17: '72',
    18: `https://${host}/my-group/my-project//.gitlab-ci.yml@refs/heads/main`,
    19: '714a629c0b401fdce83e847fc9589983fc6f46bd',
    20: 'push',
    21: `https://${host}/my-group/my-project/-/jobs/302`,
    22: 'public',
  }),
};

// Buildkite's documentation of `buildkite-agent oidc request-token`; the build number is a number.
const buildkite = `{
  "iss": "https://agent.buildkite.com", "aud": "sigstore", "iat": 1669014898, "nbf": 1669014898, "exp": 1669015198,
  "sub": "organization:acme-inc:pipeline:super-duper-app:ref:refs/heads/main:commit:9f3182061f1e2cca4702c368cbc039b7dc9d4485:step:build",
  "organization_slug": "acme-inc", "pipeline_slug": "super-duper-app", "build_number": 12345678901, "build_branch": "main",
  "build_tag": null, "build_commit": "9f3182061f1e2cca4702c368cbc039b7dc9d4485", "step_key": "build",
  "job_id": "0184990a-477b-4fa8-9968-496074483cee", "agent_id": "0184990a-4782-42b5-afc1-16715b10b8ff",
  "build_source": "ui", "runner_environment": "self-hosted"
}`;

// Codefresh's documentation of OIDC for pipelines.
const codefresh = {
  token: `{
    "sub": "account:628a80b693a15c0f9c13ab75:pipeline:65e5a53e52853dc51a5b0cc1:initiator:codefresh-user",
    "account_id": "628a80b693a15c0f9c13ab75", "account_name": "codefresh-account", "pipeline_id": "65e5a53e52853dc51a5b0cc1",
    "pipeline_name": "oidc-test/get-token", "workflow_id": "64f447c02199f903000gh20", "initiator": "codefresh-user",
    "scm_user_name": "codefresh-user", "scm_repo_url": "https://github.com/codefresh-user/oidc-test", "scm_ref": "main",
    "runner_environment": "hybrid", "iat": 1632492967, "exp": 1632493867, "aud": "sigstore", "iss": "https://oidc.codefresh.io"
  }`,
  san: {
    uri: 'https://g.codefresh.io/codefresh-account/oidc-test/get-token:628a80b693a15c0f9c13ab75/65e5a53e52853dc51a5b0cc1',
  },
  required: ['account_id', 'pipeline_id', 'workflow_id', 'account_name', 'pipeline_name'],
  extensions: {
    9: 'https://g.codefresh.io/build/64f447c02199f903000gh20',
    11: 'hybrid',
    12: 'https://github.com/codefresh-user/oidc-test',
    14: 'main',
    18: 'https://g.codefresh.io/api/pipelines/65e5a53e52853dc51a5b0cc1',
    21: 'https://g.codefresh.io/build/64f447c02199f903000gh20',
  },
};

const kubernetes = (iss: string): string => `{
  "aud": ["sigstore"], "exp": 1681398793, "iat": 1681395193, "nbf": 1681395193, "iss": "${iss}",
  "kubernetes.io": {
    "namespace": "default", "pod": { "name": "oidc-test", "uid": "49ad3572-b3dd-43a6-8d77-5858d3660275" },
    "serviceaccount": { "name": "builder", "uid": "f5720c1d-e152-4356-a897-11b07aff165d" }
  },
  "sub": "system:serviceaccount:default:builder"
}`;
const kubernetesSan = { uri: 'https://kubernetes.io/namespaces/default/serviceaccounts/builder' };

const cases: readonly Case[] = [
  {
    name: 'email',
    file: 'people',
    required: ['email', 'email_verified'],
    token: '{"iss":"https://login.example.com","sub":"248289761001","email":"jane@example.com","email_verified":true}',
    san: { email: 'jane@example.com' },
  },
  {
    name: 'email, behind a broker',
    config: issuerFile('https://oauth2.example/auth', {
      Type: 'email',
      IssuerClaim: '$.federated_claims.connector_id',
    }),
    required: ['email', 'email_verified', 'federated_claims'],
    token: `{"iss":"https://oauth2.example/auth","sub":"CgUxMjM0NRIGZ2l0aHVi","email":"jane@example.com","email_verified":"true",
      "federated_claims":{"connector_id":"https://github.com/login/oauth","user_id":"12345"}}`,
    san: { email: 'jane@example.com' },
    issuer: 'https://github.com/login/oauth',
  },
  {
    // Google Cloud's documentation of instance identity tokens, format=full.
    name: 'email, a service account of Google Cloud',
    file: 'google-cloud',
    required: ['email', 'email_verified'],
    token: `{"iss":"https://accounts.google.com","iat":1496953245,"exp":1496956845,"aud":"sigstore","sub":"107517467455664443766",
      "azp":"107517467455664443766","email":"123456789012@cloudbuild.gserviceaccount.com","email_verified":true,
      "google":{"compute_engine":{"project_number":739419398126,"instance_id":152986662232938449}}}`,
    san: { email: '123456789012@cloudbuild.gserviceaccount.com' },
  },
  {
    name: 'username',
    config: issuerFile('https://accounts.example.com', { Type: 'username', SubjectDomain: 'example.com' }),
    required: [],
    token: '{"iss":"https://accounts.example.com","sub":"exampleUsername"}',
    san: { otherName: 'exampleUsername!example.com' },
  },
  {
    name: 'uri',
    config: issuerFile('https://accounts.example.com', { Type: 'uri', SubjectDomain: 'https://example.com' }),
    required: [],
    token: '{"iss":"https://accounts.example.com","sub":"https://example.com/users/1"}',
    san: { uri: 'https://example.com/users/1' },
  },
  {
    name: 'spiffe',
    file: 'spiffe',
    required: [],
    token: '{"iss":"https://spire.example.org","sub":"spiffe://example.org/ns/prod/sa/build","aud":["sigstore"]}',
    san: { uri: 'spiffe://example.org/ns/prod/sa/build' },
  },
  ...[
    'https://kubernetes.default.svc',
    'https://container.googleapis.com/v1/projects/acme/locations/us-west1-b/clusters/prod',
    'https://oidc.eks.us-west-2.amazonaws.com/id/B02C93B6A2D30341AD01E1B6D48164CB',
    'https://eastus.oic.prod-aks.azure.com/72f988bf-86f1-41af-91ab-2d7cd011db47/4b2d7a1e-5a3c-4e0d-9d2b-8f6c1e2a3b4c/',
  ].map((iss): Case => ({
    name: `kubernetes, ${iss}`,
    file: 'kubernetes',
    required: ['kubernetes.io'],
    token: kubernetes(iss),
    san: kubernetesSan,
  })),
  {
    name: 'chainguard-identity',
    config: issuerFile('https://issuer.enforce.dev', { Type: 'chainguard-identity' }),
    required: [],
    token: `{"iss":"https://issuer.enforce.dev","aud":"sigstore","sub":"720909c9f5279097d847ad02a2f24ba8f59de36a/a033a6fabe0bfa0d",
      "act":{"iss":"https://token.actions.githubusercontent.com"},"internal":{}}`,
    san: { uri: 'https://issuer.enforce.dev/720909c9f5279097d847ad02a2f24ba8f59de36a/a033a6fabe0bfa0d' },
  },
  {
    name: 'github-workflow',
    config: issuerFile('https://token.actions.githubusercontent.com', { Type: 'github-workflow' }),
    required: github.required,
    token: JSON.stringify(github.claims),
    san: { uri: 'https://github.com/octo-org/octo-automation/.github/workflows/oidc.yml@refs/tags/v1' },
    extensions: github.extensions('https://github.com'),
  },
  {
    name: 'gitlab-pipeline',
    config: issuerFile('https://gitlab.com', { Type: 'gitlab-pipeline' }),
    required: [...gitlab.required, 'pipeline_id', 'runner_id'],
    token: gitlab.token('gitlab.com'),
    san: { uri: 'https://gitlab.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main' },
    extensions: gitlab.extensions('gitlab.com'),
  },
  {
    name: 'buildkite-job',
    config: issuerFile('https://agent.buildkite.com', { Type: 'buildkite-job' }),
    required: ['organization_slug', 'pipeline_slug'],
    token: buildkite,
    san: { uri: 'https://buildkite.com/acme-inc/super-duper-app' },
  },
  {
    name: 'codefresh-workflow',
    config: issuerFile('https://oidc.codefresh.io', { Type: 'codefresh-workflow' }),
    ...codefresh,
  },
  {
    name: 'ci-provider, GitHub',
    file: 'github',
    required: github.required,
    token: JSON.stringify(github.claims),
    san: { uri: 'https://github.com/octo-org/octo-automation/.github/workflows/oidc.yml@refs/tags/v1' },
    extensions: github.extensions('https://github.com'),
  },
  {
    name: "ci-provider, an enterprise's own issuer at GitHub",
    file: 'github',
    required: github.required,
    token: JSON.stringify({ ...github.claims, iss: 'https://token.actions.githubusercontent.com/octo-enterprise' }),
    san: { uri: 'https://github.com/octo-org/octo-automation/.github/workflows/oidc.yml@refs/tags/v1' },
    extensions: github.extensions('https://github.com'),
  },
  {
    name: 'ci-provider, GitHub Enterprise Server',
    file: 'github-enterprise-server',
    required: github.required,
    token: JSON.stringify({ ...github.claims, iss: 'https://github.example.com/_services/token' }),
    san: { uri: 'https://github.example.com/octo-org/octo-automation/.github/workflows/oidc.yml@refs/tags/v1' },
    extensions: github.extensions('https://github.example.com'),
  },
  {
    name: 'ci-provider, GitLab',
    file: 'gitlab',
    required: [...gitlab.required, 'ci_config_sha', 'project_visibility'],
    token: gitlab.token('gitlab.com', '"environment": "production",'),
    san: { uri: 'https://gitlab.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main' },
    extensions: { ...gitlab.extensions('gitlab.com'), 23: 'production' },
  },
  {
    name: 'ci-provider, your own GitLab',
    file: 'gitlab-self-managed',
    required: [...gitlab.required, 'ci_config_sha', 'project_visibility'],
    token: gitlab.token('gitlab.example.com'),
    san: { uri: 'https://gitlab.example.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main' },
    extensions: gitlab.extensions('gitlab.example.com'),
  },
  {
    name: 'ci-provider, Buildkite',
    file: 'buildkite',
    required: [
      ...['organization_slug', 'pipeline_slug', 'build_number', 'job_id', 'build_source', 'build_commit'],
      'runner_environment',
    ],
    token: buildkite,
    san: { uri: 'https://buildkite.com/acme-inc/super-duper-app' },
    extensions: {
      11: 'self-hosted',
      13: '9f3182061f1e2cca4702c368cbc039b7dc9d4485',
      20: 'ui',
      21: 'https://buildkite.com/acme-inc/super-duper-app/builds/12345678901#0184990a-477b-4fa8-9968-496074483cee',
    },
  },
  { name: 'ci-provider, Codefresh', file: 'codefresh', ...codefresh },
  ...(
    [
      ['false', '""'],
      ['true', 'ssh-rerun'],
    ] as const
  ).map(([rerun, environment]): Case => ({
    // CircleCI's documentation, "Format of the OpenID Connect ID token".
    name: `ci-provider, CircleCI, ssh-rerun ${rerun}`,
    file: 'circleci',
    required: ['oidc.circleci.com/project-id', 'oidc.circleci.com/pipeline-definition-id'],
    token: `{
      "iss": "https://oidc.circleci.com/org/0ed2c1a4-2b7b-4f1e-9b40-6b2f3f4c2f11", "aud": "sigstore", "iat": 1, "exp": 2,
      "sub": "org/0ed2c1a4-2b7b-4f1e-9b40-6b2f3f4c2f11/project/ab70c257-7c86-45e2-b988-86003f49734d/user/7c5e8f9a-0000-4000-8000-000000000001",
      "oidc.circleci.com/org-id": "0ed2c1a4-2b7b-4f1e-9b40-6b2f3f4c2f11",
      "oidc.circleci.com/project-id": "ab70c257-7c86-45e2-b988-86003f49734d",
      "oidc.circleci.com/pipeline-definition-id": "70b80fd1-b928-5fbf-817d-75ab416ccc87",
      "oidc.circleci.com/pipeline-id": "5034460f-c7c4-4c43-9457-de07e2029e7b",
      "oidc.circleci.com/workflow-id": "fda08377-fe7e-46b1-8992-3a7aaecac9c3",
      "oidc.circleci.com/job-id": "44444444-4444-4444-8444-444444444444",
      "oidc.circleci.com/context-ids": ["a1b2c3d4-e5f6-7890-abcd-ef1234567890"],
      "oidc.circleci.com/ssh-rerun": ${rerun},
      "oidc.circleci.com/vcs-origin": "github.com/acme/app", "oidc.circleci.com/vcs-ref": "refs/heads/main"
    }`,
    san: {
      uri: 'https://circleci.com/api/v2/projects/ab70c257-7c86-45e2-b988-86003f49734d/pipeline-definitions/70b80fd1-b928-5fbf-817d-75ab416ccc87',
    },
    extensions: {
      9: 'https://circleci.com/api/v2/projects/ab70c257-7c86-45e2-b988-86003f49734d/pipeline-definitions/70b80fd1-b928-5fbf-817d-75ab416ccc87',
      11: environment,
      12: 'github.com/acme/app',
      14: 'refs/heads/main',
      18: 'https://circleci.com/api/v2/pipeline/5034460f-c7c4-4c43-9457-de07e2029e7b/config',
      21: 'https://app.circleci.com//workflow/fda08377-fe7e-46b1-8992-3a7aaecac9c3/job/44444444-4444-4444-8444-444444444444',
    },
  })),
  {
    // Buddy's documentation, "OIDC for pipelines"; names as Fulcio's templates for it read them.
    name: 'ci-provider, Buddy',
    file: 'buddy',
    required: [
      ...['workspace_domain', 'project_name', 'pipeline_id', 'execution_id', 'triggered_on', 'runner_environment'],
    ],
    token: `{
      "iss": "https://oidc.buddyusercontent.com", "sub": "acme/L39J4q2VolejO3K5ajNmGQBW71", "aud": "https://app.buddy.works/WORKSPACE",
      "workspace_domain": "acme", "project_name": "app", "pipeline_id": 9007199254740993, "execution_id": "63ef4ab3", "triggered_on": "CLICK",
      "runner_environment": "buddy-hosted", "revision": "9f3182061f1e2cca4702c368cbc039b7dc9d4485", "ref": "refs/heads/main"
    }`,
    san: { uri: 'https://app.buddy.works/acme/app/pipelines/pipeline/9007199254740993' },
    extensions: {
      9: 'https://app.buddy.works/acme/app/pipelines/pipeline/9007199254740993',
      11: 'buddy-hosted',
      12: 'https://app.buddy.works/acme/app',
      13: '9f3182061f1e2cca4702c368cbc039b7dc9d4485',
      14: 'refs/heads/main',
      16: 'https://app.buddy.works/acme',
      20: 'CLICK',
      21: 'https://app.buddy.works/acme/app/pipelines/pipeline/9007199254740993/execution/63ef4ab3',
    },
  },
  {
    // Atlassian's documentation, "Integrate Pipelines with resource servers using OIDC".
    name: 'ci-provider, Bitbucket',
    file: 'bitbucket',
    required: ['workspaceUuid', 'repositoryUuid', 'pipelineUuid', 'stepUuid'],
    token: `{
      "sub": "{2e9e429c-7b8b-404f-8648-8c40c27c9ebd}:{1c4e0f7b-5d2f-4d2b-9a07-0d7a3b1c2d3e}",
      "aud": ["ari:cloud:bitbucket::workspace/7baee083-4f25-4a97-8a9a-0fde1b623b45", "sigstore"],
      "stepUuid": "{1c4e0f7b-5d2f-4d2b-9a07-0d7a3b1c2d3e}",
      "iss": "https://api.bitbucket.org/2.0/workspaces/WORKSPACE/pipelines-config/identity/oidc",
      "repositoryUuid": "{2e9e429c-7b8b-404f-8648-8c40c27c9ebd}", "branchName": "main",
      "exp": 1681398793, "iat": 1681395193, "pipelineUuid": "{0f8e6d5c-4b3a-4291-8807-f6e5d4c3b2a1}",
      "workspaceUuid": "{7baee083-4f25-4a97-8a9a-0fde1b623b45}"
    }`,
    san: {
      uri: 'https://bitbucket.org/%7B7baee083-4f25-4a97-8a9a-0fde1b623b45%7D/%7B2e9e429c-7b8b-404f-8648-8c40c27c9ebd%7D',
    },
    extensions: {
      12: 'https://bitbucket.org/{7baee083-4f25-4a97-8a9a-0fde1b623b45}/{2e9e429c-7b8b-404f-8648-8c40c27c9ebd}',
      14: 'refs/heads/main',
      15: '{2e9e429c-7b8b-404f-8648-8c40c27c9ebd}',
      16: 'https://bitbucket.org/{7baee083-4f25-4a97-8a9a-0fde1b623b45}',
      17: '{7baee083-4f25-4a97-8a9a-0fde1b623b45}',
      21: 'https://api.bitbucket.org/2.0/repositories/{7baee083-4f25-4a97-8a9a-0fde1b623b45}/{2e9e429c-7b8b-404f-8648-8c40c27c9ebd}/pipelines/{0f8e6d5c-4b3a-4291-8807-f6e5d4c3b2a1}/steps/{1c4e0f7b-5d2f-4d2b-9a07-0d7a3b1c2d3e}',
    },
  },
  {
    // sigstore/fulcio issue 1803 has a token of Azure Pipelines.
    name: 'ci-provider, Azure DevOps',
    file: 'azure-devops',
    required: ['rpo_uri', 'rpo_ver', 'rpo_ref', 'rpo_id'],
    token: `{
      "jti": "90b75b0a-61b6-4b71-ba6f-11107d95f4c5", "sub": "p://example/test oidc/test-oidc", "aud": "api://AzureADTokenExchange",
      "org_id": "0ca3ddd9-f0b0-4635-a98c-5866526961b6", "prj_id": "271ef6f7-5998-4b0f-86fb-4b54d9129990", "def_id": "1",
      "rpo_id": "7b0c1f3e-1111-4222-8333-944455566677", "rpo_uri": "https://dev.azure.com/example/test-oidc/_git/test-oidc",
      "rpo_ver": "c291ea713801eb300054d353d279e7b02331f671", "rpo_ref": "refs/heads/main", "run_id": "5",
      "iss": "https://vstoken.dev.azure.com/ORGANIZATION_ID", "nbf": 1745839609, "exp": 1745840508, "iat": 1745840209
    }`,
    san: { uri: 'p://example/test%20oidc/test-oidc' },
    extensions: {
      12: 'https://dev.azure.com/example/test-oidc/_git/test-oidc',
      13: 'c291ea713801eb300054d353d279e7b02331f671',
      14: 'refs/heads/main',
      15: '7b0c1f3e-1111-4222-8333-944455566677',
    },
  },
  {
    // The plugin's README: sub is the job's URL, and the build number is an integer.
    name: 'ci-provider, Jenkins',
    file: 'jenkins',
    required: ['build_number'],
    token: `{"iss":"https://jenkins.example.com/oidc","aud":"sigstore","exp":2,"iat":1,
      "sub":"https://jenkins.example.com/job/my-folder/job/my-job/","build_number":42}`,
    san: { uri: 'https://jenkins.example.com/job/my-folder/job/my-job/' },
    extensions: {
      9: 'https://jenkins.example.com/job/my-folder/job/my-job/',
      21: 'https://jenkins.example.com/job/my-folder/job/my-job/42/',
    },
  },
  ...(
    [
      ['pipeline_job', ''],
      ['debug_job', '#debug_job'],
    ] as const
  ).map(([type, suffix]): Case => ({
    // Semaphore's documentation, "OIDC Tokens".
    name: `ci-provider, Semaphore, ${type}`,
    file: 'semaphore',
    required: ['prj', 'job_type', 'job_id', 'ref', 'trg'],
    token: `{
      "iss": "https://ORG.semaphoreci.com", "aud": "https://ORG.semaphoreci.com", "exp": 1660317851, "iat": 1660317851, "nbf": 1660317851,
      "sub": "org:ORG:project:936a5312-a3b8-4921-8b3f-2cec8baac574:repo:web:ref_type:branch:ref:refs/heads/main",
      "jti": "2s557dchalv2mv76kk000el1", "branch": "main", "pr_branch": "", "pr": "", "ref": "refs/heads/main", "ref_type": "branch",
      "tag": "", "repo": "web", "repo_slug": "acme/web", "org": "ORG", "org_id": "d7dd33ad-9317-498c-9cc6-51c250749be7", "prj": "docs",
      "prj_id": "1e1fcfb5-09c0-487e-b051-2d0b5514c42a", "wf_id": "1be81412-6ab8-4fc0-9d0d-7af33335a6ec",
      "ppl_id": "1e1fcfb5-09c0-487e-b051-2d0b5514c42a", "job_type": "${type}", "job_id": "c117e453-1189-4eaf-b03a-dd6538eb49b2", "trg": "h:f-i:f"
    }`,
    san: { uri: `https://ORG.semaphoreci.com/projects/docs${suffix}` },
    extensions: {
      14: 'refs/heads/main',
      20: 'h:f-i:f',
      21: 'https://ORG.semaphoreci.com/jobs/c117e453-1189-4eaf-b03a-dd6538eb49b2',
    },
  })),
];

const folder = new URL('../../../docs/issuers/', import.meta.url);
const textOf = ({ file, config }: Case): string => config ?? readFileSync(new URL(`${file}.yaml`, folder), 'utf8');

type Claims = Readonly<Record<string, JsonValue>>;
// As tokens are read: integers beyond 2^53 keep their digits.
const claimsOf = (token: string): Claims => parseJson(token, { bigIntegers: true }) as Claims;

function textClaim(claims: Claims, name: string): string {
  const value = claims[name];
  if (typeof value !== 'string') throw new Error(`claim ${name} is not a text`);
  return value;
}

/** The issuer of a file that this token is from, and its row. */
function rowOf(each: Case): { issuer: IssuerConfig; kind: IssuerKind; claims: Claims } {
  const claims = claimsOf(each.token);
  const issuers = parseFulcioConfig(textOf(each));
  const matches = ({ issuerUrl }: IssuerConfig) =>
    new RegExp(`^${issuerUrl.replaceAll('.', '\\.').replaceAll('*', '[-_a-zA-Z0-9]+')}$`).test(
      textClaim(claims, 'iss'),
    );
  const issuer = issuers.find(matches);
  const kind = issuer && issuerKinds[issuer.type];
  if (issuer === undefined || kind === undefined) throw new Error(`no issuer for ${textClaim(claims, 'iss')}`);
  return { issuer, kind, claims };
}

function principalOf(each: Case, change: (claims: Claims) => Claims = (claims) => claims): Principal {
  const { issuer, kind, claims } = rowOf(each);
  const changed = change(claims);
  return kind.principal(
    { issuer: textClaim(claims, 'iss'), subject: textClaim(claims, 'sub'), claims: changed },
    issuer,
  );
}

// --- DER by hand: ITU-T X.690, nothing of ours ---------------------------------------------------------------------------

function der(tag: number, ...contents: Buffer[]): Buffer {
  const body = Buffer.concat(contents);
  const length = body.length;
  const header = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...header]), body]);
}

const utf8 = (text: string): Buffer => Buffer.from(text, 'utf8');

/** GeneralNames with one name (RFC 5280 §4.2.1.6). 2b06010401 83bf30 0107 is 1.3.6.1.4.1.57264.1.7. */
function sanOf({ email, uri, otherName }: Case['san']): string {
  if (email !== undefined) return der(0x30, der(0x81, utf8(email))).toString('hex');
  if (uri !== undefined) return der(0x30, der(0x86, utf8(uri))).toString('hex');
  const type = der(0x06, Buffer.from('2b0601040183bf300107', 'hex'));
  return der(0x30, der(0xa0, type, der(0xa0, der(0x0c, utf8(otherName ?? ''))))).toString('hex');
}

/** Extensions 1 to 6 are bare text, the others a UTF8String. */
const extensionOf = (number: number, text: string): string =>
  (number <= 6 ? utf8(text) : der(0x0c, utf8(text))).toString('hex');

// --- The certificate -------------------------------------------------------------------------------------------------------

const now = new Date('2026-03-04T05:06:07Z');
const key = generateSigner('P-256').publicKey;
let authority: CertificateAuthority;
beforeAll(async () => {
  authority = await loadAuthority(
    await createAuthority({ organization: 'Tests', commonName: 'tests', now }),
    now,
    opensslCrypto,
  );
});

/** The extensions of the certificate that this principal gets, read by another implementation: OID, critical, DER in hex. */
function issue({ san, extensions, issuer, subject }: Principal): [string, boolean, string][] {
  const prepared = prepareCertificate(
    {
      issuer: authority.issuer,
      serial: Uint8Array.from({ length: 20 }, (_, i) => i + 1),
      notBefore: now,
      notAfter: new Date(now.getTime() + 600_000),
      spki: key.spki,
      san,
      extensions: encodeFulcioExtensions({ ...extensions, issuer, subject }),
      signatureScheme: authority.signer.scheme,
    },
    (algorithm, data) => opensslCrypto.hash(algorithm, data),
  );
  const parsed = AsnConvert.parse(prepared.tbs(), TBSCertificate);
  return (parsed.extensions ?? []).map(({ extnID, critical, extnValue }) => [
    extnID,
    critical,
    Buffer.from(extnValue.buffer).toString('hex'),
  ]);
}

const ARC = '1.3.6.1.4.1.57264.1';

describe('the certificate of', () => {
  test.each(cases)('$name has exactly this SAN and these extensions', (each) => {
    const claims = claimsOf(each.token);
    const issuer = each.issuer ?? textClaim(claims, 'iss');
    const texts = Object.entries({ ...each.extensions, 1: issuer, 8: issuer, 24: textClaim(claims, 'sub') });
    const expected = texts
      .map(([number, text]) => [Number(number), text] as const)
      .sort(([a], [b]) => a - b)
      .map(([number, text]) => [`${ARC}.${number}`, false, extensionOf(number, text)]);
    const found = issue(principalOf(each));
    expect(found.slice(0, 4).map(([oid]) => oid)).toEqual(['2.5.29.15', '2.5.29.37', '2.5.29.14', '2.5.29.35']);
    expect(found.slice(4)).toEqual([['2.5.29.17', true, sanOf(each.san)], ...expected]);
  });

  test('someone by mail, and someone by name, written out', () => {
    const found = (name: string) => {
      const each = cases.find((one) => one.name === name);
      if (each === undefined) throw new Error(`no case ${name}`);
      return issue(principalOf(each)).slice(4);
    };
    expect(found('email')).toEqual([
      ['2.5.29.17', true, '301281106a616e65406578616d706c652e636f6d'],
      [`${ARC}.1`, false, '68747470733a2f2f6c6f67696e2e6578616d706c652e636f6d'],
      [`${ARC}.8`, false, '0c1968747470733a2f2f6c6f67696e2e6578616d706c652e636f6d'],
      [`${ARC}.24`, false, '0c0c323438323839373631303031'],
    ]);
    expect(found('username')[0]).toEqual([
      '2.5.29.17',
      true,
      '302da02b060a2b0601040183bf300107a01d0c1b6578616d706c65557365726e616d65216578616d706c652e636f6d',
    ]);
  });
});

describe('a token without a claim that is needed', () => {
  const missing = cases.flatMap((each) => each.required.map((name) => ({ each, name, title: each.name })));

  test.each(missing)('$title: $name', ({ each, name }) => {
    let failure: unknown;
    try {
      principalOf(each, ({ [name]: _left, ...rest }) => rest);
    } catch (error) {
      failure = error;
    }
    expect(failure).toBeInstanceOf(IdentityError);
    expect((failure as IdentityError).code).toBe(
      name === 'email_verified' ? 'IDENTITY_EMAIL_UNVERIFIED' : 'IDENTITY_CLAIM',
    );
    expect((failure as IdentityError).message).toContain(name);
  });

  test.each(cases)('$name: the table has all that its kind needs', (each) => {
    const { kind, issuer } = rowOf(each);
    expect([...kind.claims(issuer).required].sort()).toEqual([...each.required].sort());
  });
});

describe('the issuer files that we ship', () => {
  const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'));

  test('each have a case above', () => {
    expect(new Set(cases.flatMap(({ file }) => (file === undefined ? [] : [`${file}.yaml`])))).toEqual(new Set(files));
  });

  test.each(files)('%s is in the list', (name) => {
    expect(readFileSync(new URL('README.md', folder), 'utf8')).toContain(`[${name}](${name})`);
  });

  test.each(files)('%s is for the audience of its tokens', (name) => {
    for (const each of cases.filter(({ file }) => `${file}.yaml` === name)) {
      const { issuer, claims } = rowOf(each);
      if (claims.aud !== undefined) expect([claims.aud].flat()).toContain(issuer.clientId);
    }
  });
});
