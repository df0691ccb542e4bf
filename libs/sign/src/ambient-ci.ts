import type { AmbientEnvironment } from './ambient-environment.js';
import {
  ambientProvider,
  checkCredentialUrl,
  credential,
  missing,
  requestToken,
  setting,
  stringMember,
  withoutSecrets,
  withQuery,
} from './ambient-provider.js';
import { SignError } from './error.js';
import { joinUrl, printable } from './http.js';

/** @see GitHub Docs, "OpenID Connect reference", requesting the token by environment variables */
export const githubActions = ambientProvider({
  name: 'github-actions',
  title: 'GitHub Actions',
  aliases: ['github'],
  // Also without the variables of the token service: that they are absent is what must be told.
  detect: (environment) =>
    setting(environment, 'GITHUB_ACTIONS') === 'true' ||
    setting(environment, 'ACTIONS_ID_TOKEN_REQUEST_URL') !== undefined ||
    setting(environment, 'ACTIONS_ID_TOKEN_REQUEST_TOKEN') !== undefined,
  async obtain(environment) {
    const url = setting(environment, 'ACTIONS_ID_TOKEN_REQUEST_URL');
    const secret = credential(environment, 'ACTIONS_ID_TOKEN_REQUEST_TOKEN', 'GitHub Actions');
    if (url === undefined || secret === undefined) throw missing('GitHub Actions', 'the job may not request one');
    checkCredentialUrl(url, { variable: 'ACTIONS_ID_TOKEN_REQUEST_URL', title: 'GitHub Actions', plain: 'loopback' });
    const response = await requestToken(environment, 'GitHub Actions', {
      url: withQuery(url, { audience: environment.audience }),
      headers: { authorization: `bearer ${secret}`, accept: 'application/json' },
      secrets: [secret],
    });
    return stringMember('GitHub Actions', response, 'value');
  },
  cure: () => 'Add `permissions: id-token: write` to the job; a pull request from a fork gets no token',
});

/** @see GitLab documentation, "OpenID Connect (OIDC) Authentication Using ID Tokens" */
export const gitlab = ambientProvider({
  name: 'gitlab',
  title: 'GitLab CI',
  aliases: ['gitlab-ci'],
  detect: (environment) => setting(environment, 'GITLAB_CI') !== undefined,
  async obtain(environment) {
    const variable = gitlabVariable(environment.audience);
    const token = setting(environment, variable);
    if (token === undefined) throw missing('GitLab CI', `the job has no ${variable}`);
    return token;
  },
  cure: addIdToken,
});

/** What a GitLab job lacks. */
export function addIdToken({ audience }: AmbientEnvironment): string {
  return `Add \`id_tokens: ${gitlabVariable(audience)}: aud: ${audience}\` to the job`;
}

/** The variable by which GitLab jobs hand on the token for an audience, as other clients of Sigstore read it: `sigstore` is in `SIGSTORE_ID_TOKEN`. */
export function gitlabVariable(audience: string): string {
  return `${audience.toUpperCase().replace(/[^A-Z0-9]|^[0-9]/g, '_')}_ID_TOKEN`;
}

/** @see Buildkite documentation, "OIDC with Buildkite"; the agent's API is in its source, api/oidc.go */
export const buildkite = ambientProvider({
  name: 'buildkite',
  title: 'Buildkite',
  aliases: ['buildkite-agent'],
  detect: (environment) =>
    setting(environment, 'BUILDKITE') !== undefined ||
    setting(environment, 'BUILDKITE_AGENT_ACCESS_TOKEN') !== undefined,
  async obtain(environment) {
    const { audience } = environment;
    const secret = credential(environment, 'BUILDKITE_AGENT_ACCESS_TOKEN', 'Buildkite');
    const job = setting(environment, 'BUILDKITE_JOB_ID');
    if (secret === undefined || job === undefined) {
      return runAgent(environment, 'Buildkite', 'buildkite-agent', ['oidc', 'request-token', '--audience', audience]);
    }
    if (!/^[\w-]{1,64}$/.test(job)) throw missing('Buildkite', 'BUILDKITE_JOB_ID is not the id of a job');
    const endpoint = setting(environment, 'BUILDKITE_AGENT_ENDPOINT') ?? 'https://agent.buildkite.com/v3';
    checkCredentialUrl(endpoint, { variable: 'BUILDKITE_AGENT_ENDPOINT', title: 'Buildkite', plain: 'loopback' });
    const response = await requestToken(environment, 'Buildkite', {
      url: joinUrl(endpoint, `/jobs/${job}/oidc/tokens`),
      method: 'POST',
      headers: {
        authorization: `Token ${secret}`,
        accept: 'application/json',
        'content-type': 'application/json',
      },
      body: JSON.stringify({ audience }),
      secrets: [secret],
    });
    return stringMember('Buildkite', response, 'token');
  },
  cure: ({ audience }) =>
    `Check that \`buildkite-agent oidc request-token --audience ${audience}\` works in the job; in a container, add \`mount-buildkite-agent: true\` to the docker plugin`,
});

/**
 * `--root-issuer`: the token is then of `https://oidc.circleci.com` for every organization, as other clients of Sigstore ask for it, and not of
 * `https://oidc.circleci.com/org/<id>`.
 * @see CircleCI documentation, "OIDC tokens with custom claims"
 */
export const circleci = ambientProvider({
  name: 'circleci',
  title: 'CircleCI',
  detect: (environment) => setting(environment, 'CIRCLECI') !== undefined,
  obtain: (environment) =>
    runAgent(environment, 'CircleCI', 'circleci', [
      ...['run', 'oidc', 'get', '--root-issuer'],
      ...['--claims', JSON.stringify({ aud: environment.audience })],
    ]),
  cure: ({ audience }) =>
    `Check that \`circleci run oidc get --root-issuer --claims '${JSON.stringify({ aud: audience })}'\` works in a step of the job`,
});

/** The output of the platform's own command: the token. What it says on stderr is quoted, what it prints never. */
async function runAgent(
  environment: AmbientEnvironment,
  title: string,
  command: string,
  args: readonly string[],
): Promise<string> {
  if (environment.run === undefined) throw missing(title, `the command ${command} cannot be run here`);
  const { exit, out, err } = await environment.run(command, args);
  if (exit === 0) return out;
  if (exit === 'too-large') {
    throw new SignError(
      'SIGN_RESPONSE_TOO_LARGE',
      `Cannot get an identity token from ${title}: ${command} printed too much`,
    );
  }
  const said = printable(withoutSecrets(err, [setting(environment, 'BUILDKITE_AGENT_ACCESS_TOKEN') ?? []].flat()));
  const ends = {
    missing: `the command ${command} is not on the PATH`,
    killed: `${command} was killed`,
    timeout: `${command} did not end in time`,
  };
  const state = typeof exit === 'number' ? `${command} ended with status ${exit}` : ends[exit];
  throw missing(title, said === undefined ? state : `${state}: ${said}`);
}
