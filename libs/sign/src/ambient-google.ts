import type { AmbientEnvironment } from './ambient-environment.js';
import { ambientProvider, missing, requestToken, setting, stringMember, withQuery } from './ambient-provider.js';
import { SignError } from './error.js';
import { parseServiceUrl, type ServiceResponse } from './http.js';

const TITLE = 'Google Cloud';
const IMPERSONATION = 'Google Cloud (impersonation)';

/** What the firmware of a virtual machine calls itself. */
const PRODUCT_NAME_FILE = '/sys/class/dmi/id/product_name';
const productNames: ReadonlySet<string> = new Set(['Google', 'Google Compute Engine']);
/** Sandboxes of Cloud Run hide the firmware; Knative elsewhere sets the first of these too, so that they are only a reason to ask. */
const runVariables = ['K_SERVICE', 'CLOUD_RUN_JOB'];

// The address, not the name: a resolver on the way cannot then be the metadata server.
const METADATA_HOST = '169.254.169.254';
const METADATA_TIMEOUT_MS = 5_000;
const DETECTION_TIMEOUT_MS = 1_000;
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';

/**
 * The service account of the machine, pod or job.
 * @see Google Cloud documentation, "Get an ID token" from the metadata server
 */
export const google = ambientProvider({
  name: 'google',
  title: TITLE,
  aliases: ['google-workload-identity'],
  async detect(environment) {
    if (setting(environment, 'GCE_METADATA_HOST') !== undefined) return true;
    const product = await productName(environment);
    if (product !== undefined) return productNames.has(product);
    return runVariables.some((name) => setting(environment, name) !== undefined) && hasMetadataServer(environment);
  },
  async obtain(environment) {
    const path = 'instance/service-accounts/default/identity';
    const response = await getMetadata(environment, TITLE, path, { audience: environment.audience, format: 'full' });
    return Buffer.from(response.body).toString('utf8');
  },
  cure: ({ audience }) =>
    `Attach a service account to the instance (in GKE: to the Kubernetes service account); its token must be for the audience ${JSON.stringify(audience)}`,
});

/**
 * A service account that the machine's own one may speak for.
 * @see Google Cloud documentation, IAM Service Account Credentials API, projects.serviceAccounts.generateIdToken
 */
export const googleImpersonation = ambientProvider({
  name: 'google-impersonation',
  title: IMPERSONATION,
  aliases: ['google-impersonate'],
  detect: (environment) => setting(environment, 'GOOGLE_SERVICE_ACCOUNT_NAME') !== undefined,
  async obtain(environment) {
    const account = setting(environment, 'GOOGLE_SERVICE_ACCOUNT_NAME');
    // It becomes part of a URL's path: an address or a number, nothing that could lead elsewhere.
    if (account === undefined || !/^(?!\.)[A-Za-z0-9@.:_-]{1,256}$/.test(account)) {
      throw missing(IMPERSONATION, 'GOOGLE_SERVICE_ACCOUNT_NAME is not the address of a service account', {
        cure: 'Set GOOGLE_SERVICE_ACCOUNT_NAME to NAME@PROJECT.iam.gserviceaccount.com',
      });
    }
    const own = await getMetadata(environment, IMPERSONATION, 'instance/service-accounts/default/token', {
      scopes: SCOPE,
    });
    const secret = stringMember(IMPERSONATION, own, 'access_token');
    if (!/^[\x21-\x7e]+$/.test(secret)) throw missing(IMPERSONATION, "the machine's own access token is malformed");
    const response = await requestToken(environment, IMPERSONATION, {
      url: `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${account}:generateIdToken`,
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, accept: 'application/json', 'content-type': 'application/json' },
      body: JSON.stringify({ audience: environment.audience, includeEmail: true }),
      secrets: [secret],
    });
    return stringMember(IMPERSONATION, response, 'token');
  },
  cure: (environment) =>
    `Grant roles/iam.serviceAccountOpenIdTokenCreator on ${setting(environment, 'GOOGLE_SERVICE_ACCOUNT_NAME') ?? 'the account in GOOGLE_SERVICE_ACCOUNT_NAME'} to the service account that this machine runs as`,
});

async function productName({ files }: AmbientEnvironment): Promise<string | undefined> {
  try {
    return (await files.read(PRODUCT_NAME_FILE))?.trim();
  } catch {
    return undefined; // not to be read is not to be told by: the same as absent
  }
}

async function hasMetadataServer(environment: AmbientEnvironment): Promise<boolean> {
  const http = { ...environment.http, attempts: 1 };
  try {
    const response = await requestToken({ ...environment, http }, TITLE, {
      url: `http://${METADATA_HOST}/computeMetadata/v1/`,
      headers: { 'metadata-flavor': 'Google' },
      timeoutMs: DETECTION_TIMEOUT_MS,
    });
    return isGoogle(response);
  } catch (error) {
    if (error instanceof SignError) return false;
    throw error;
  }
}

async function getMetadata(
  environment: AmbientEnvironment,
  title: string,
  path: string,
  query: Readonly<Record<string, string>>,
): Promise<ServiceResponse> {
  const response = await requestToken(environment, title, {
    url: withQuery(`http://${metadataHost(environment, title)}/computeMetadata/v1/${path}`, query),
    headers: { 'metadata-flavor': 'Google' },
    timeoutMs: METADATA_TIMEOUT_MS,
  });
  if (!isGoogle(response)) {
    throw new SignError(
      'SIGN_RESPONSE_MALFORMED',
      `Cannot get an identity token from ${title}: the answer is not from a metadata server of Google, it lacks the header Metadata-Flavor: Google`,
      { cure: 'Check what answers at the metadata address, and GCE_METADATA_HOST if it is set' },
    );
  }
  return response;
}

/** Host, with a port if it has one: what Google's own libraries take from the variable. */
function metadataHost(environment: AmbientEnvironment, title: string): string {
  const host = setting(environment, 'GCE_METADATA_HOST') ?? METADATA_HOST;
  if (!/^([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$/.test(host)) {
    throw new SignError(
      'SIGN_URL',
      `Cannot get an identity token from ${title}: GCE_METADATA_HOST is not a host name`,
      {
        cure: 'Set GCE_METADATA_HOST to a host name or address, with :PORT if it needs one',
      },
    );
  }
  parseServiceUrl(`http://${host}/`, 'metadata server (GCE_METADATA_HOST)');
  return host;
}

/** A header that no other server sends: a proxy or a captive portal in between is not mistaken for Google. */
function isGoogle({ headers }: ServiceResponse): boolean {
  return headers.get('metadata-flavor') === 'Google';
}
