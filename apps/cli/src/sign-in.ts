import {
  login,
  LoginError,
  offersLogin,
  openTokenCache,
  type Login,
  type LoginFlow,
  type LoginOptions,
  type LoginSettings,
  type TokenCache,
} from '#libs/login';
import type { Terminal } from './config.js';
import { CliError } from './exit.js';
import { readInput } from './files.js';
import type { AuthFlow, IdentityOptions } from './identity-token.js';
import { printable, style } from './style.js';

const flows: Readonly<Record<Exclude<AuthFlow, 'token'>, LoginFlow>> = {
  normal: 'browser',
  device: 'device',
  oob: 'oob',
  client_credentials: 'client-credentials',
};

const MAX_SECRET_BYTES = 4096;

/**
 * A token from the cache, if the person wants one, else from the issuer. `mayAsk`: whether there is somebody to sign in; undefined if there is not.
 * @throws LoginError, CliError `usage` if it is not clear with which issuer
 */
export async function signIn(
  terminal: Terminal,
  options: IdentityOptions,
  { issuers, mayAsk }: { issuers: readonly string[]; mayAsk: boolean },
): Promise<Login | undefined> {
  const wantsCache = options.cacheToken ?? terminal.env['CHANCERY_TOKEN_CACHE'] === '1';
  if (!mayAsk && !wantsCache) return undefined;
  const settings = await readSettings(terminal, options, issuers);
  const cache = wantsCache ? await openCache(terminal) : undefined;
  const cached = await cache?.read(settings);
  if (cached !== undefined || !mayAsk) return cached;

  const done = await signInBy(terminal, settings, options.authFlow === undefined);
  const paint = style(terminal.colours.err);
  terminal.err(`${paint.good('Signed in')} as ${printable(nameOf(done))}, ${printable(done.issuer)} says\n`);
  await cache?.write(settings, done);
  return done;
}

/** @throws LoginError `LOGIN_CACHE` */
export function openCache(terminal: Terminal): Promise<TokenCache> {
  const { env, now } = terminal;
  const paint = style(terminal.colours.err);
  return openTokenCache({ env, now, note: (message) => terminal.err(`${paint.warn('note:')} ${message}\n`) });
}

export function nameOf({ email, subject }: Login): string {
  return email ?? subject;
}

async function readSettings(
  terminal: Terminal,
  options: IdentityOptions,
  issuers: readonly string[],
): Promise<LoginSettings> {
  const { authFlow, oidcClientSecretFile: secretFile } = options;
  const clientSecret = secretFile === undefined ? undefined : await readSecret(secretFile);
  const chosen = authFlow === undefined || authFlow === 'token' ? undefined : flows[authFlow];
  return {
    issuer: options.oidcIssuer ?? (await chooseIssuer(terminal, issuers)),
    clientId: options.oidcClientId,
    flow: chosen ?? (terminal.openBrowser === undefined ? 'device' : 'browser'),
    ...(clientSecret !== undefined && { clientSecret }),
    ...(options.oidcScope !== undefined && { scopes: options.oidcScope }),
    ...(options.oidcAudience !== undefined && { audience: options.oidcAudience }),
    ...(options.oidcConnectorId !== undefined && { connectorId: options.oidcConnectorId }),
    ...(options.oidcRedirectUrl !== undefined && { redirectUrl: options.oidcRedirectUrl }),
    ...(options.oidcParam !== undefined && { extra: readParameters(options.oidcParam) }),
  };
}

async function readSecret(path: string): Promise<string> {
  const secret = Buffer.from(await readInput(path, 'the client secret in', MAX_SECRET_BYTES))
    .toString('utf8')
    .trim();
  if (secret === '') throw new CliError('unreadable', `Cannot read the client secret in ${path}: the file is empty`);
  return secret;
}

function readParameters(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw new CliError('usage', 'Cannot read --oidc-param: it must be <name>=<value>');
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

/** With more than one, those that have no page to sign in at are left out: a signing configuration names CI systems too. */
async function chooseIssuer(terminal: Terminal, issuers: readonly string[]): Promise<string> {
  const offers =
    issuers.length > 1 ? await Promise.all(issuers.map((issuer) => offersLogin(issuer, terminal))) : [undefined];
  const open = issuers.filter((_, at) => offers[at] !== false);
  const [first] = open;
  if (first === undefined) {
    throw new CliError(
      'usage',
      'Cannot sign in: the signing configuration names no issuer that people can sign in with',
      {
        cure: 'Name one with --oidc-issuer',
      },
    );
  }
  if (open.length === 1) return first;
  if (terminal.ask === undefined) {
    throw new CliError('usage', `Cannot sign in: there is a choice of issuers: ${open.join(', ')}`, {
      cure: 'Choose one with --oidc-issuer',
    });
  }
  terminal.err(open.map((issuer, at) => `  ${at + 1}  ${printable(issuer)}\n`).join(''));
  const answer = (await terminal.ask(`Sign in with which one? [1-${open.length}] `)).trim();
  const chosen = /^[1-9]\d{0,3}$/.test(answer) ? open[Number(answer) - 1] : undefined;
  if (chosen === undefined) throw new CliError('usage', 'Cannot sign in: none of the issuers was chosen');
  return chosen;
}

async function signInBy(terminal: Terminal, settings: LoginSettings, isOurChoice: boolean): Promise<Login> {
  const { fetch, now, ask, openBrowser } = terminal;
  const options: LoginOptions = {
    ...settings,
    fetch,
    now,
    show: (line) => terminal.err(`${printable(line)}\n`),
    ...(ask && { ask }),
    ...(openBrowser && { openBrowser }),
  };
  try {
    return await login(options);
  } catch (error) {
    const isNotOffered = error instanceof LoginError && error.code === 'LOGIN_FLOW' && settings.flow === 'device';
    if (!isNotOffered || !isOurChoice || ask === undefined) throw error;
    return login({ ...options, flow: 'oob' });
  }
}
