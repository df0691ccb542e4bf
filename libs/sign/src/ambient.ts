import { buildkite, circleci, githubActions, gitlab } from './ambient-ci.js';
import { azure } from './ambient-azure.js';
import type { AmbientEnvironment } from './ambient-environment.js';
import { env, file, kubernetes } from './ambient-file.js';
import { google, googleImpersonation } from './ambient-google.js';
import type { AmbientProvider, AmbientProviderName } from './ambient-provider.js';
import { spiffe } from './ambient-spiffe.js';

/**
 * All providers in the order they are asked:
 *
 * 1. what a person set: the token itself, then a file with it;
 * 2. the CI system whose job this is, because runners stand in clouds and clusters, and the job says more than the machine under it;
 * 3. what somebody set up for this workload: an account to speak for, a projected token, a Workload API;
 * 4. the machine.
 */
export const ambientProviders: readonly AmbientProvider[] = [
  env,
  file,
  githubActions,
  gitlab,
  buildkite,
  circleci,
  azure,
  googleImpersonation,
  kubernetes,
  spiffe,
  google,
];

/** The provider by its name, or by what other clients call it: `filesystem`, `buildkite-agent`. */
export function findAmbientProvider(name: string): AmbientProvider | undefined {
  return ambientProviders.find((provider) => provider.name === name || provider.aliases.includes(name));
}

/**
 * An identity token of the first provider that is detected here; undefined if there is none. `only`: that provider, detected or not; `skip`: as if these
 * did not exist.
 *
 * One that is detected and fails is an error: taking the next one would sign as somebody else without saying so.
 *
 *     const found = await ambientToken(nodeAmbientEnvironment({ env, audience: 'sigstore', http: { fetch } }));
 *
 * @throws SignError with `provider` and `cure`: `SIGN_TOKEN_MISSING`, `SIGN_TOKEN_AUDIENCE`, `SIGN_TOKEN_MALFORMED`, or what calling its service ended with
 */
export async function ambientToken(
  environment: AmbientEnvironment,
  { only, skip = [] }: { only?: AmbientProviderName; skip?: readonly AmbientProviderName[] } = {},
): Promise<{ provider: AmbientProviderName; token: string } | undefined> {
  for (const provider of ambientProviders) {
    const chosen =
      only === undefined
        ? !skip.includes(provider.name) && (await provider.detect(environment))
        : provider.name === only;
    if (chosen) return { provider: provider.name, token: await provider.token(environment) };
  }
  return undefined;
}

/** What to add so that this place, where no provider was detected, gives a token; undefined if it is no place that could. */
export async function ambientHint(environment: AmbientEnvironment): Promise<string | undefined> {
  for (const provider of ambientProviders) {
    const hint = await provider.hint?.(environment);
    if (hint !== undefined) return hint;
  }
  return undefined;
}
