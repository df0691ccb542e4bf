import { type Claims, claim, claimError, encodeUri, optionalText, requireText } from './claims.js';
import type { IssuerKind, PrincipalExtensions } from './kinds.js';

/**
 * How the token of one vendor's CI becomes a certificate. The claims are listed once: these lists are what is read, and the
 * mapping sees nothing else, so that what is said of a kind and what it does cannot drift apart.
 */
interface VendorMapping<Required extends string, Optional extends string> {
  readonly required: readonly Required[];
  readonly optional: readonly Optional[];
  /** What is not a matter of one text. */
  check?(claims: Claims): void;
  /** `identity`: the URI of the SAN, made of `from`. */
  map(
    texts: Readonly<Record<Required, string>>,
    optional: Readonly<Partial<Record<Optional, string>>>,
  ): { readonly identity: string; readonly from: Required; readonly extensions: PrincipalExtensions };
}

function vendorKind<Required extends string, Optional extends string = never>(
  mapping: VendorMapping<Required, Optional>,
): IssuerKind {
  const { required, optional } = mapping;
  return {
    challengeClaim: 'sub',
    fields: [],
    claims: () => ({ required, optional }),
    principal: ({ issuer, subject, claims }) => {
      const texts: Partial<Record<Required, string>> = {};
      for (const name of required) texts[name] = requireText(claims, name);
      const others: Partial<Record<Optional, string>> = {};
      for (const name of optional) {
        const text = optionalText(claims, name);
        if (text !== undefined) others[name] = text;
      }
      mapping.check?.(claims);
      // The cast states what the first loop did: there is a text for each.
      const { identity, from, extensions } = mapping.map(texts as Record<Required, string>, others);
      return {
        issuer,
        subject,
        challenge: subject,
        challengeClaim: 'sub',
        san: { kind: 'uri', value: encodeUri(identity, from) },
        extensions: withoutEmpty(extensions),
      };
    },
  };
}

/** Absent claims give absent extensions. */
function withoutEmpty(extensions: PrincipalExtensions): PrincipalExtensions {
  const entries = Object.entries(extensions);
  return entries.some(([, value]) => value === '')
    ? Object.fromEntries(entries.filter(([, value]) => value !== ''))
    : extensions;
}

/** GitHub Actions, github.com (Fulcio's OID documentation, extensions 2 to 6 and 9 to 23). */
export const githubKind = vendorKind({
  required: [
    'job_workflow_ref',
    'sha',
    'event_name',
    'repository',
    'workflow',
    'ref',
    'job_workflow_sha',
    'runner_environment',
    'repository_id',
    'repository_owner',
    'repository_owner_id',
    'repository_visibility',
    'workflow_ref',
    'workflow_sha',
    'run_id',
    'run_attempt',
  ],
  // Not every job has one. Fulcio's public instance states it through its template for GitHub.
  optional: ['environment'],
  map: (text, { environment = '' }) => {
    const url = (path: string) => `https://github.com/${path}`;
    return {
      identity: url(text.job_workflow_ref),
      from: 'job_workflow_ref',
      extensions: {
        githubWorkflowTrigger: text.event_name,
        githubWorkflowSha: text.sha,
        githubWorkflowName: text.workflow,
        githubWorkflowRepository: text.repository,
        githubWorkflowRef: text.ref,
        buildSignerUri: url(text.job_workflow_ref),
        buildSignerDigest: text.job_workflow_sha,
        runnerEnvironment: text.runner_environment,
        sourceRepositoryUri: url(text.repository),
        sourceRepositoryDigest: text.sha,
        sourceRepositoryRef: text.ref,
        sourceRepositoryIdentifier: text.repository_id,
        sourceRepositoryOwnerUri: url(text.repository_owner),
        sourceRepositoryOwnerIdentifier: text.repository_owner_id,
        buildConfigUri: url(text.workflow_ref),
        buildConfigDigest: text.workflow_sha,
        buildTrigger: text.event_name,
        runInvocationUri: url(`${text.repository}/actions/runs/${text.run_id}/attempts/${text.run_attempt}`),
        sourceRepositoryVisibilityAtSigning: text.repository_visibility,
        deploymentEnvironment: environment,
      },
    };
  },
});

/** GitLab CI, gitlab.com. The same extensions without the first five, which are GitHub's. */
export const gitlabKind = vendorKind({
  required: [
    'project_path',
    'pipeline_source',
    'pipeline_id',
    'ci_config_ref_uri',
    'job_id',
    'ref',
    'ref_type',
    'namespace_path',
    'namespace_id',
    'project_id',
    'sha',
    'runner_environment',
    'runner_id',
  ],
  optional: ['ci_config_sha', 'project_visibility'],
  check: (claims) => {
    const runner = claim(claims, 'runner_id');
    if (typeof runner === 'string' || Number(runner) === 0)
      throw claimError('runner_id', runner, 'a number that is not 0');
  },
  map: (text, { ci_config_sha = '', project_visibility = '' }) => {
    const url = (path: string) => `https://gitlab.com/${path}`;
    // The claim is a URI without its scheme.
    const config = `https://${text.ci_config_ref_uri}`;
    return {
      identity: config,
      from: 'ci_config_ref_uri',
      extensions: {
        buildSignerUri: config,
        buildSignerDigest: ci_config_sha,
        runnerEnvironment: text.runner_environment,
        sourceRepositoryUri: url(text.project_path),
        sourceRepositoryDigest: text.sha,
        sourceRepositoryRef: `refs/${gitlabRefs(text.ref_type)}/${text.ref}`,
        sourceRepositoryIdentifier: text.project_id,
        sourceRepositoryOwnerUri: url(text.namespace_path),
        sourceRepositoryOwnerIdentifier: text.namespace_id,
        buildConfigUri: config,
        buildConfigDigest: ci_config_sha,
        buildTrigger: text.pipeline_source,
        runInvocationUri: url(`${text.project_path}/-/jobs/${text.job_id}`),
        sourceRepositoryVisibilityAtSigning: project_visibility,
      },
    };
  },
});

function gitlabRefs(type: string): string {
  if (type === 'branch') return 'heads';
  if (type === 'tag') return 'tags';
  throw claimError('ref_type', type, '"branch" or "tag"');
}

/** Buildkite: the pipeline, nothing about the build. */
export const buildkiteKind = vendorKind({
  required: ['organization_slug', 'pipeline_slug'],
  optional: [],
  map: (text) => ({
    identity: `https://buildkite.com/${text.organization_slug}/${text.pipeline_slug}`,
    from: 'pipeline_slug',
    extensions: {},
  }),
});

/** Codefresh. Names may change and ids do not: the identity has both. */
export const codefreshKind = vendorKind({
  // Fulcio does without the two names, and then states an identity with holes in it; its template does not.
  required: ['account_id', 'pipeline_id', 'workflow_id', 'account_name', 'pipeline_name'],
  optional: ['platform_url', 'scm_repo_url', 'scm_ref', 'runner_environment'],
  map: (
    text,
    { platform_url = 'https://g.codefresh.io', scm_repo_url = '', scm_ref = '', runner_environment = '' },
  ) => {
    const url = (path: string) => `${platform_url.replace(/\/+$/, '')}/${path}`;
    const build = url(`build/${text.workflow_id}`);
    return {
      identity: url(`${text.account_name}/${text.pipeline_name}:${text.account_id}/${text.pipeline_id}`),
      from: 'pipeline_name',
      extensions: {
        buildSignerUri: build,
        runnerEnvironment: runner_environment,
        sourceRepositoryUri: scm_repo_url,
        sourceRepositoryRef: scm_ref,
        buildConfigUri: url(`api/pipelines/${text.pipeline_id}`),
        runInvocationUri: build,
      },
    };
  },
});
