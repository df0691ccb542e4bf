import { type CiMetadata, type CiProvider, createCiProvider } from './ci-provider.js';

/**
 * CI systems that an issuer can name in its `ci-provider` without a section of its own in the file. The first five are called
 * and mapped as the configuration of Sigstore's public instance has them, so that a policy written for its certificates fits
 * ours. Every claim here is one that the vendor documents.
 */
const metadata = {
  // https://docs.github.com/en/actions/reference/security/oidc
  'github-workflow': {
    defaults: { url: 'https://github.com', environment: '' },
    san: '{{ .url }}/{{ .job_workflow_ref }}',
    extensions: {
      githubWorkflowTrigger: 'event_name',
      githubWorkflowSha: 'sha',
      githubWorkflowName: 'workflow',
      githubWorkflowRepository: 'repository',
      githubWorkflowRef: 'ref',
      buildSignerUri: '{{ .url }}/{{ .job_workflow_ref }}',
      buildSignerDigest: 'job_workflow_sha',
      runnerEnvironment: 'runner_environment',
      sourceRepositoryUri: '{{ .url }}/{{ .repository }}',
      sourceRepositoryDigest: 'sha',
      sourceRepositoryRef: 'ref',
      sourceRepositoryIdentifier: 'repository_id',
      sourceRepositoryOwnerUri: '{{ .url }}/{{ .repository_owner }}',
      sourceRepositoryOwnerIdentifier: 'repository_owner_id',
      buildConfigUri: '{{ .url }}/{{ .workflow_ref }}',
      buildConfigDigest: 'workflow_sha',
      buildTrigger: 'event_name',
      runInvocationUri: '{{ .url }}/{{ .repository }}/actions/runs/{{ .run_id }}/attempts/{{ .run_attempt }}',
      sourceRepositoryVisibilityAtSigning: 'repository_visibility',
      deploymentEnvironment: 'environment',
    },
  },
  // https://docs.gitlab.com/ci/secrets/id_token_authentication/
  'gitlab-pipeline': {
    defaults: { url: 'https://gitlab.com', environment: '' },
    san: 'https://{{ .ci_config_ref_uri }}',
    extensions: {
      buildSignerUri: 'https://{{ .ci_config_ref_uri }}',
      buildSignerDigest: 'ci_config_sha',
      runnerEnvironment: 'runner_environment',
      sourceRepositoryUri: '{{ .url }}/{{ .project_path }}',
      sourceRepositoryDigest: 'sha',
      sourceRepositoryRef: 'refs/{{ if eq .ref_type "branch" }}heads/{{ else }}tags/{{ end }}{{ .ref }}',
      sourceRepositoryIdentifier: 'project_id',
      sourceRepositoryOwnerUri: '{{ .url }}/{{ .namespace_path }}',
      sourceRepositoryOwnerIdentifier: 'namespace_id',
      buildConfigUri: 'https://{{ .ci_config_ref_uri }}',
      buildConfigDigest: 'ci_config_sha',
      buildTrigger: 'pipeline_source',
      runInvocationUri: '{{ .url }}/{{ .project_path }}/-/jobs/{{ .job_id }}',
      sourceRepositoryVisibilityAtSigning: 'project_visibility',
      deploymentEnvironment: 'environment',
    },
  },
  // https://buildkite.com/docs/agent/v3/cli-oidc
  'buildkite-job': {
    defaults: { url: 'https://buildkite.com' },
    san: '{{ .url }}/{{ .organization_slug }}/{{ .pipeline_slug }}',
    extensions: {
      runnerEnvironment: 'runner_environment',
      sourceRepositoryDigest: 'build_commit',
      buildTrigger: 'build_source',
      runInvocationUri:
        '{{ .url }}/{{ .organization_slug }}/{{ .pipeline_slug }}/builds/{{ .build_number }}#{{ .job_id }}',
    },
  },
  // https://codefresh.io/docs/docs/integrations/oidc-pipelines/
  'codefresh-workflow': {
    defaults: { platform_url: 'https://g.codefresh.io', scm_repo_url: '', scm_ref: '', runner_environment: '' },
    san: '{{ .platform_url }}/{{ .account_name }}/{{ .pipeline_name }}:{{ .account_id }}/{{ .pipeline_id }}',
    extensions: {
      buildSignerUri: '{{ .platform_url }}/build/{{ .workflow_id }}',
      runnerEnvironment: 'runner_environment',
      sourceRepositoryUri: 'scm_repo_url',
      sourceRepositoryRef: 'scm_ref',
      buildConfigUri: '{{ .platform_url }}/api/pipelines/{{ .pipeline_id }}',
      runInvocationUri: '{{ .platform_url }}/build/{{ .workflow_id }}',
    },
  },
  // https://circleci.com/docs/openid-connect-tokens/
  'circleci-job': {
    defaults: { api_url: 'https://circleci.com/api/v2', platform_url: 'https://app.circleci.com/' },
    san: '{{ .api_url }}/projects/{{ index . "oidc.circleci.com/project-id" }}/pipeline-definitions/{{ index . "oidc.circleci.com/pipeline-definition-id" }}',
    extensions: {
      buildSignerUri:
        '{{ .api_url }}/projects/{{ index . "oidc.circleci.com/project-id" }}/pipeline-definitions/{{ index . "oidc.circleci.com/pipeline-definition-id" }}',
      // Two quotation marks where nothing is meant: a slip of the public instance, kept because its certificates have them.
      runnerEnvironment: '{{ if eq (index . "oidc.circleci.com/ssh-rerun") "true" }}ssh-rerun{{ else }}""{{ end }}',
      sourceRepositoryUri: '{{ index . "oidc.circleci.com/vcs-origin" }}',
      sourceRepositoryRef: '{{ index . "oidc.circleci.com/vcs-ref" }}',
      buildConfigUri: '{{ .api_url }}/pipeline/{{ index . "oidc.circleci.com/pipeline-id" }}/config',
      runInvocationUri:
        '{{ .platform_url }}/workflow/{{ index . "oidc.circleci.com/workflow-id" }}/job/{{ index . "oidc.circleci.com/job-id" }}',
    },
  },
  // https://buddy.works/docs/integrations/oidc
  'buddy-pipeline': {
    defaults: { base_url: 'https://app.buddy.works', revision: '', ref: '' },
    san: '{{ .base_url }}/{{ .workspace_domain }}/{{ .project_name }}/pipelines/pipeline/{{ .pipeline_id }}',
    extensions: {
      buildSignerUri:
        '{{ .base_url }}/{{ .workspace_domain }}/{{ .project_name }}/pipelines/pipeline/{{ .pipeline_id }}',
      runnerEnvironment: 'runner_environment',
      sourceRepositoryUri: '{{ .base_url }}/{{ .workspace_domain }}/{{ .project_name }}',
      sourceRepositoryDigest: 'revision',
      sourceRepositoryRef: 'ref',
      sourceRepositoryOwnerUri: '{{ .base_url }}/{{ .workspace_domain }}',
      buildTrigger: 'triggered_on',
      runInvocationUri:
        '{{ .base_url }}/{{ .workspace_domain }}/{{ .project_name }}/pipelines/pipeline/{{ .pipeline_id }}/execution/{{ .execution_id }}',
    },
  },
  // https://support.atlassian.com/bitbucket-cloud/docs/integrate-pipelines-with-resource-servers-using-oidc/
  // Its claims name by UUID, in braces, which its addresses take in place of names; a step has no branch when it runs for a tag.
  'bitbucket-pipeline': {
    defaults: { url: 'https://bitbucket.org', deploymentEnvironmentUuid: '' },
    san: '{{ .url }}/{{ .workspaceUuid }}/{{ .repositoryUuid }}',
    extensions: {
      sourceRepositoryUri: '{{ .url }}/{{ .workspaceUuid }}/{{ .repositoryUuid }}',
      sourceRepositoryRef: '{{ if index . "branchName" }}refs/heads/{{ .branchName }}{{ end }}',
      sourceRepositoryIdentifier: 'repositoryUuid',
      sourceRepositoryOwnerUri: '{{ .url }}/{{ .workspaceUuid }}',
      sourceRepositoryOwnerIdentifier: 'workspaceUuid',
      runInvocationUri:
        'https://api.bitbucket.org/2.0/repositories/{{ .workspaceUuid }}/{{ .repositoryUuid }}/pipelines/{{ .pipelineUuid }}/steps/{{ .stepUuid }}',
      deploymentEnvironment: 'deploymentEnvironmentUuid',
    },
  },
  // https://learn.microsoft.com/rest/api/azure/devops/distributedtask/oidctoken/create and sigstore/fulcio issue 1803.
  // `sub` is p://<organization>/<project>/<pipeline>, and the issuer's address has the organization's UUID.
  'azure-pipeline': {
    san: '{{ .sub }}',
    extensions: {
      sourceRepositoryUri: 'rpo_uri',
      sourceRepositoryDigest: 'rpo_ver',
      sourceRepositoryRef: 'rpo_ref',
      sourceRepositoryIdentifier: 'rpo_id',
    },
  },
  // https://plugins.jenkins.io/oidc-provider/
  // `sub` is the job's address with a slash at its end. Tokens made outside of builds have no build number and are refused.
  'jenkins-job': {
    san: '{{ .sub }}',
    extensions: { buildSignerUri: '{{ .sub }}', runInvocationUri: '{{ .sub }}{{ .build_number }}/' },
  },
  // https://docs.semaphoreci.com/reference/openid
  // In a debug job a person types the commands: what is signed there is not signed by the project's pipeline.
  'semaphore-job': {
    san: '{{ .iss }}/projects/{{ .prj }}{{ if ne .job_type "pipeline_job" }}#{{ .job_type }}{{ end }}',
    extensions: {
      sourceRepositoryRef: 'ref',
      buildTrigger: 'trg',
      runInvocationUri: '{{ .iss }}/jobs/{{ .job_id }}',
    },
  },
} as const satisfies Record<string, CiMetadata>;

/** The built-in CI systems by the name that an issuer's `ci-provider` gives. */
export const ciProviders: Readonly<Record<string, CiProvider>> = Object.fromEntries(
  Object.entries(metadata).map(([name, description]) => [name, createCiProvider(name, description)]),
);
