import type { Login } from '#libs/login';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import type { IdentityOptions } from './identity-token.js';
import { openCache, signIn } from './sign-in.js';
import { columns, jsonText, printable, style } from './style.js';
import { issuersIn, readSigningConfig } from './trust-files.js';

export interface LoginCommandOptions extends IdentityOptions {
  url?: string;
  signingConfig?: string;
  token?: boolean;
  json?: boolean;
}

/** `login`: who would sign. Prints the token only when told to. */
export async function loginCommand(terminal: Terminal, options: LoginCommandOptions): Promise<ExitCode> {
  const login = await signIn(terminal, options, { issuers: await findIssuers(terminal, options), mayAsk: true });
  if (login === undefined) throw new Error('Signing in gave neither a token nor an error');
  if (options.json) {
    const { token, ...facts } = login;
    terminal.out(jsonText({ ok: true, ...facts, ...(options.token && { token }) }));
    return exitCodes.ok;
  }
  const facts = columns(describe(login));
  if (options.token) {
    terminal.err(facts);
    terminal.out(`${login.token}\n`);
  } else {
    terminal.out(facts);
  }
  return exitCodes.ok;
}

async function findIssuers(terminal: Terminal, options: LoginCommandOptions): Promise<string[]> {
  if (options.oidcIssuer !== undefined) return [];
  if ((options.url === undefined) === (options.signingConfig === undefined)) {
    throw new CliError('usage', 'Cannot sign in: give --issuer, or --url or --signing-config, which name issuers');
  }
  if (options.signingConfig !== undefined) {
    return issuersIn(await readSigningConfig(options.signingConfig), terminal.now());
  }
  const { fetchTrust } = await import('./trust-service.js');
  const { signingConfig } = await fetchTrust(options.url ?? '', { fetch: terminal.fetch });
  return issuersIn(signingConfig, terminal.now());
}

function describe({ issuer, subject, email, emailVerified, expiresAt }: Login): [string, string][] {
  const doubt = emailVerified === true ? '' : ' (the issuer does not say that it is verified)';
  return [
    ['issuer', printable(issuer)],
    ['subject', printable(subject)],
    ...(email === undefined ? [] : ([['e-mail', `${printable(email)}${doubt}`]] as [string, string][])),
    ['expires', expiresAt.toISOString()],
  ];
}

/** `logout`: forgets every cached token. The issuer's own session in the browser is another matter. */
export async function logoutCommand(terminal: Terminal, { json }: { json?: boolean }): Promise<ExitCode> {
  const removed = await (await openCache(terminal)).clear();
  if (json) terminal.out(jsonText({ ok: true, removed }));
  else terminal.out(`Removed ${removed} cached token${removed === 1 ? '' : 's'}.\n`);
  if (!json && removed > 0) {
    terminal.err(`${style(terminal.colours.err).warn('note:')} the browser may still be signed in at the issuer.\n`);
  }
  return exitCodes.ok;
}
