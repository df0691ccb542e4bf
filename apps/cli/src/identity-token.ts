import {
  ambientHint,
  ambientProviders,
  ambientToken,
  findAmbientProvider,
  nodeAmbientEnvironment,
  readToken,
  type AmbientEnvironment,
  type AmbientProviderName,
  type HttpOptions,
} from '#libs/sign';
import { CliError } from './exit.js';
import { exists, readInput } from './files.js';
import type { Terminal } from './config.js';

/** How a person (or a program) signs in; `token`: not at all, the token must be there. cosign's words. */
export type AuthFlow = 'normal' | 'device' | 'oob' | 'client_credentials' | 'token';

/** The flags about who signs. */
export interface IdentityOptions {
  identityToken?: string;
  oidcIssuer?: string;
  oidcClientId: string;
  oidcClientSecretFile?: string;
  oidcRedirectUrl?: string;
  oidcScope?: string[];
  oidcAudience?: string;
  oidcConnectorId?: string;
  oidcParam?: string[];
  oidcProvider?: string;
  oidcDisableAmbientProviders?: boolean;
  authFlow?: AuthFlow;
  cacheToken?: boolean;
}

const MAX_TOKEN_FILE = 64 * 1024;

/**
 * The identity token to sign with. What a person said wins over what the machine offers: the token on the command line (or a file that has one),
 * else a sign-in that was asked for by name, else what the environment offers, else a sign-in if there is a person to do it.
 * `issuers`: where one could sign in.
 *
 * @throws CliError, and what the source that was chosen fails with: taking the next identity instead would sign as someone else
 */
export async function findIdentityToken(
  terminal: Terminal,
  options: IdentityOptions,
  { http, issuers }: { http: HttpOptions; issuers: readonly string[] },
): Promise<string> {
  checkUsage(options);
  if (options.identityToken !== undefined) return readGivenToken(options.identityToken);
  const { authFlow } = options;
  const isAskedFor = authFlow !== undefined && authFlow !== 'token';
  const environment = nodeAmbientEnvironment({ env: terminal.env, audience: audienceOf(options), http });
  if (!isAskedFor && options.oidcDisableAmbientProviders !== true) {
    const token = await findAmbientToken(terminal, options, environment);
    if (token !== undefined) return token;
  }
  const mayAsk = isAskedFor || (authFlow === undefined && terminal.ask !== undefined);
  if (authFlow !== 'token') {
    // Loaded here only: it brings the OpenID Connect client with it.
    const { signIn } = await import('./sign-in.js');
    const login = await signIn(terminal, options, { issuers, mayAsk });
    if (login !== undefined) return login.token;
  }
  throw new CliError('usage', 'Cannot sign: there is no identity token', {
    cure:
      (await ambientHint(environment)) ??
      'Give --identity-token, set SIGSTORE_ID_TOKEN, run in GitHub Actions with `permissions: id-token: write`, sign in with --auth-flow (normal in a browser, device anywhere), or sign with --key',
  });
}

/** The audience that the token must have. */
export function audienceOf({ oidcAudience, oidcClientId }: IdentityOptions): string {
  return oidcAudience ?? oidcClientId;
}

function checkUsage(options: IdentityOptions): void {
  const { identityToken, authFlow, oidcProvider } = options;
  const isAskedFor = authFlow !== undefined && authFlow !== 'token';
  if (identityToken !== undefined && (oidcProvider !== undefined || isAskedFor)) {
    throw new CliError('usage', 'Cannot sign with --identity-token and another source of a token: it is one of them');
  }
  if (oidcProvider !== undefined && (options.oidcDisableAmbientProviders === true || isAskedFor)) {
    throw new CliError(
      'usage',
      'Cannot sign with --oidc-provider and without ambient providers: it names one of them',
      { cure: 'Leave out --oidc-provider, or the flag that turns ambient providers off' },
    );
  }
}

async function findAmbientToken(
  terminal: Terminal,
  options: IdentityOptions,
  environment: AmbientEnvironment,
): Promise<string | undefined> {
  const only = options.oidcProvider === undefined ? undefined : parseProvider(options.oidcProvider);
  const found = await ambientToken(environment, only === undefined ? {} : { only });
  if (found === undefined || options.oidcIssuer === undefined) return found?.token;
  const { issuer } = readToken(found.token, { audience: environment.audience, nowMs: terminal.now() });
  if (issuer === options.oidcIssuer) return found.token;
  throw new CliError(
    'usage',
    `Cannot sign as ${options.oidcIssuer} says: the environment (${found.provider}) offers a token of ${issuer}`,
    { cure: 'Leave out --oidc-issuer to sign with that token, or give --oidc-disable-ambient-providers to sign in' },
  );
}

/** Ours, or cosign's name for it. */
function parseProvider(name: string): AmbientProviderName {
  const provider = findAmbientProvider(name);
  if (provider !== undefined) return provider.name;
  throw new CliError('usage', 'Cannot use --oidc-provider: there is no provider of that name', {
    cure: `Known ones are ${ambientProviders.map((known) => known.name).join(', ')}`,
  });
}

async function readGivenToken(given: string): Promise<string> {
  if (/^[\w-]+\.[\w-]+\.[\w-]*$/.test(given) && !(given.length < 1024 && (await exists(given)))) return given;
  if (given === '' || given.length > 4096 || !(await exists(given))) {
    // The value is not repeated: it may be a token that lost a character.
    throw new CliError(
      'unreadable',
      'Cannot use the value of --identity-token: it is neither a token nor the name of a file',
      {
        cure: 'Give a compact JWT (three parts with dots between them), or a file that contains one',
      },
    );
  }
  return Buffer.from(await readInput(given, 'the identity token in', MAX_TOKEN_FILE))
    .toString('utf8')
    .trim();
}
