import type { AmbientEnvironment } from './ambient-environment.js';
import { ambientProvider, missing, setting } from './ambient-provider.js';
import { addIdToken } from './ambient-ci.js';

/** Where clients of Sigstore look for a token that somebody mounted. */
const DEFAULT_FILE = '/var/run/sigstore/cosign/oidc-token';
const FILE_VARIABLE = 'SIGSTORE_ID_TOKEN_FILE';

// Kubernetes names no path for projected tokens; its documentation mounts them under the first of these folders.
const projectedFiles = ['/var/run/secrets/tokens/sigstore', '/var/run/secrets/sigstore/token'];
const KUBERNETES_VARIABLE = 'SIGSTORE_KUBERNETES_TOKEN_FILE';
/** The token that every pod gets. It is for the API server: never read here. */
const DEFAULT_SERVICE_ACCOUNT_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/** The token itself in the environment. */
export const env = ambientProvider({
  name: 'env',
  title: 'SIGSTORE_ID_TOKEN',
  aliases: ['envvar'],
  detect: (environment) => setting(environment, 'SIGSTORE_ID_TOKEN') !== undefined,
  async obtain(environment) {
    const token = setting(environment, 'SIGSTORE_ID_TOKEN');
    if (token === undefined) throw missing('SIGSTORE_ID_TOKEN', 'the variable is not set');
    return token;
  },
  cure: (environment) =>
    // In GitLab the variable is not set by hand but comes of the job's definition.
    setting(environment, 'GITLAB_CI') !== undefined && environment.audience === 'sigstore'
      ? addIdToken(environment)
      : `Set SIGSTORE_ID_TOKEN to an identity token for the audience ${JSON.stringify(environment.audience)}`,
});

/** A file that somebody put a token into. */
export const file = ambientProvider({
  name: 'file',
  title: 'the token file',
  aliases: ['filesystem'],
  detect: (environment) => setting(environment, FILE_VARIABLE) !== undefined || environment.files.exists(DEFAULT_FILE),
  obtain: (environment) =>
    readTokenFile(environment, 'the token file', setting(environment, FILE_VARIABLE) ?? DEFAULT_FILE),
  cure: (environment) =>
    `Put an identity token for the audience ${JSON.stringify(environment.audience)} into ${DEFAULT_FILE}, or into the file that ${FILE_VARIABLE} names`,
});

/**
 * A service account token that is projected into the pod for our audience.
 * @see Kubernetes documentation, "Configure Service Accounts for Pods", service account token volume projection
 */
export const kubernetes = ambientProvider({
  name: 'kubernetes',
  title: 'Kubernetes',
  detect: async (environment) => (await findProjected(environment)) !== undefined,
  async obtain(environment) {
    const path = await findProjected(environment);
    if (path !== undefined) return readTokenFile(environment, 'Kubernetes', path);
    throw missing(
      'Kubernetes',
      (await isPod(environment))
        ? 'the pod has only its default service account token, which is for the API server'
        : `there is no projected token (${projectedFiles.join(', ')})`,
    );
  },
  cure: addProjectedToken,
  hint: async (environment) => ((await isPod(environment)) ? addProjectedToken(environment) : undefined),
});

async function findProjected(environment: AmbientEnvironment): Promise<string | undefined> {
  const set = setting(environment, KUBERNETES_VARIABLE);
  if (set !== undefined) return set;
  for (const path of projectedFiles) if (await environment.files.exists(path)) return path;
  return undefined;
}

async function isPod(environment: AmbientEnvironment): Promise<boolean> {
  return (
    setting(environment, 'KUBERNETES_SERVICE_HOST') !== undefined &&
    (await environment.files.exists(DEFAULT_SERVICE_ACCOUNT_FILE))
  );
}

// Mounted where every client looks, not only this one.
function addProjectedToken({ audience }: AmbientEnvironment): string {
  return `Add a projected volume to the pod, with \`serviceAccountToken: {audience: ${yamlScalar(audience)}, path: oidc-token}\`, and mount it at /var/run/sigstore/cosign`;
}

/** Quoted where a bare word would mean something else to YAML. */
export function yamlScalar(text: string): string {
  return /^[A-Za-z][\w.-]*$/.test(text) ? text : JSON.stringify(text);
}

/** The text of a token file. @throws SignError `SIGN_TOKEN_MISSING` */
export async function readTokenFile(environment: AmbientEnvironment, title: string, path: string): Promise<string> {
  let text: string | undefined;
  try {
    text = await environment.files.read(path);
  } catch (cause) {
    const { code, message } = cause as { code?: unknown; message: string };
    throw missing(title, `${JSON.stringify(path)} cannot be read: ${typeof code === 'string' ? code : message}`, {
      cause,
    });
  }
  if (text === undefined) throw missing(title, `there is no file ${JSON.stringify(path)}`);
  if (text.trim() === '') throw missing(title, `the file ${JSON.stringify(path)} is empty`);
  return text;
}
