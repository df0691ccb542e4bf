import type { AmbientEnvironment } from './ambient-environment.js';
import { readTokenFile } from './ambient-file.js';
import {
  ambientProvider,
  checkCredentialUrl,
  credential,
  missing,
  requestToken,
  setting,
  stringMember,
  withQuery,
} from './ambient-provider.js';

const TITLE = 'Azure';
const PIPELINES = 'Azure Pipelines';

/** The one audience of tokens that Azure Pipelines and the workload identity of AKS make. */
const FIXED_AUDIENCE = 'api://AzureADTokenExchange';
// The number that the firmware of every virtual machine of Azure carries; documented for telling them from others.
const CHASSIS_FILE = '/sys/class/dmi/id/chassis_asset_tag';
const CHASSIS_TAG = '7783-7084-3265-9085-8269-3286-77';
const METADATA_TIMEOUT_MS = 5_000;

/**
 * The four ways by which Azure gives a JWT that a certificate authority can check against a published issuer:
 *
 * | place | issuer | audience |
 * |---|---|---|
 * | a job of Azure Pipelines | `https://vstoken.dev.azure.com/<organization>` | `api://AzureADTokenExchange` |
 * | a pod of AKS with workload identity | the cluster | `api://AzureADTokenExchange` |
 * | App Service, Functions, Container Apps with a managed identity | `https://sts.windows.net/<tenant>/` | an application's ID URI |
 * | a virtual machine with a managed identity; asked by name only | the same | the same |
 *
 * None of them makes a token for a bare word such as `sigstore`: who signs here chooses another audience, and the certificate authority must be set up
 * for it. That is on purpose no automatism: the fixed audience is the one that Entra takes tokens for, so such a token is worth more than a signature.
 *
 * A virtual machine says nothing about an identity (the hosted runners of GitHub are some), so it is used if asked for by name.
 *
 * @see Azure DevOps REST API, "Oidctoken - Create"; Microsoft Entra documentation, "How to use managed identities to acquire an access token"
 */
export const azure = ambientProvider({
  name: 'azure',
  title: TITLE,
  aliases: ['azure-pipelines', 'azure-devops'],
  detect: (environment) => chooseWay(environment) !== undefined,
  obtain: (environment) => (chooseWay(environment) ?? machineToken)(environment),
  cure(environment) {
    if (isPipeline(environment)) {
      return environment.audience === FIXED_AUDIENCE
        ? 'Add `env: SYSTEM_ACCESSTOKEN: $(System.AccessToken)` to the step'
        : `Add \`env: SYSTEM_ACCESSTOKEN: $(System.AccessToken)\` to the step, and sign for the audience ${FIXED_AUDIENCE}: Azure Pipelines makes no others, so the certificate authority must accept it`;
    }
    if (setting(environment, 'AZURE_FEDERATED_TOKEN_FILE') !== undefined) {
      return `Sign for the audience ${FIXED_AUDIENCE} if the certificate authority accepts it; else add a projected volume with \`serviceAccountToken: {audience: ${environment.audience}, path: oidc-token}\`, and mount it at /var/run/sigstore/cosign`;
    }
    return 'Assign a managed identity, register an application in Entra, and sign for its Application ID URI as the audience (api://…), which the certificate authority must accept';
  },
  async hint({ files }) {
    const tag = await files.read(CHASSIS_FILE).catch(() => undefined);
    return tag?.trim() === CHASSIS_TAG
      ? 'To sign as the managed identity of this virtual machine, choose the provider azure by name'
      : undefined;
  },
});

type Way = (environment: AmbientEnvironment) => Promise<string>;

/** The most specific first: the job, then what is given to the pod or container. */
function chooseWay(environment: AmbientEnvironment): Way | undefined {
  const has = (variable: string) => setting(environment, variable) !== undefined;
  if (isPipeline(environment)) return pipelineToken;
  if (has('AZURE_FEDERATED_TOKEN_FILE')) {
    return () => readTokenFile(environment, TITLE, setting(environment, 'AZURE_FEDERATED_TOKEN_FILE') ?? '');
  }
  // Machines of Azure Arc set the endpoint alone, and give the secret by a file that only administrators read.
  return has('IDENTITY_ENDPOINT') && has('IDENTITY_HEADER') ? serviceToken : undefined;
}

function isPipeline(environment: AmbientEnvironment): boolean {
  return setting(environment, 'TF_BUILD') !== undefined || setting(environment, 'SYSTEM_OIDCREQUESTURI') !== undefined;
}

/** As the pipeline, not as one of its service connections: a connection is shared by pipelines, and signing as all of them says less. */
async function pipelineToken(environment: AmbientEnvironment): Promise<string> {
  const url = setting(environment, 'SYSTEM_OIDCREQUESTURI');
  const secret = credential(environment, 'SYSTEM_ACCESSTOKEN', PIPELINES);
  if (url === undefined) throw missing(PIPELINES, 'the job has no SYSTEM_OIDCREQUESTURI');
  if (secret === undefined) throw missing(PIPELINES, 'the step has no SYSTEM_ACCESSTOKEN');
  checkCredentialUrl(url, { variable: 'SYSTEM_OIDCREQUESTURI', title: PIPELINES, plain: 'loopback' });
  const response = await requestToken(environment, PIPELINES, {
    url: withQuery(url, { 'api-version': '7.1-preview.1' }),
    method: 'POST',
    headers: {
      authorization: `Bearer ${secret}`,
      accept: 'application/json',
      'content-type': 'application/json',
      // Without it a refusal is a redirect to a page for signing in.
      'x-tfs-fedauthredirect': 'Suppress',
    },
    secrets: [secret],
  });
  return stringMember(PIPELINES, response, 'oidcToken');
}

/** App Service, Functions and Container Apps: an endpoint inside the sandbox, with a secret against requests that were forged from outside. */
async function serviceToken(environment: AmbientEnvironment): Promise<string> {
  const url = setting(environment, 'IDENTITY_ENDPOINT');
  const secret = credential(environment, 'IDENTITY_HEADER', TITLE);
  if (url === undefined || secret === undefined)
    throw missing(TITLE, 'IDENTITY_ENDPOINT or IDENTITY_HEADER is not set');
  checkCredentialUrl(url, { variable: 'IDENTITY_ENDPOINT', title: TITLE, plain: 'link-local' });
  const response = await requestToken(environment, TITLE, {
    url: withQuery(url, { 'api-version': '2019-08-01', ...identityQuery(environment) }),
    headers: { 'x-identity-header': secret, accept: 'application/json' },
    secrets: [secret],
  });
  return stringMember(TITLE, response, 'access_token');
}

/** The metadata server of a virtual machine; the variable is what Microsoft's own libraries take another address from. */
async function machineToken(environment: AmbientEnvironment): Promise<string> {
  const variable = 'AZURE_POD_IDENTITY_AUTHORITY_HOST';
  const host = setting(environment, variable) ?? 'http://169.254.169.254';
  checkCredentialUrl(host, { variable, title: TITLE, plain: 'link-local' });
  const response = await requestToken(environment, TITLE, {
    url: withQuery(new URL('/metadata/identity/oauth2/token', host).href, {
      'api-version': '2018-02-01',
      ...identityQuery(environment),
    }),
    headers: { metadata: 'true', accept: 'application/json' },
    timeoutMs: METADATA_TIMEOUT_MS,
  });
  return stringMember(TITLE, response, 'access_token');
}

/** For whom, and as which of several identities. */
function identityQuery(environment: AmbientEnvironment): Record<string, string> {
  const client = setting(environment, 'AZURE_CLIENT_ID');
  return { resource: environment.audience, ...(client !== undefined && { client_id: client }) };
}
