import { listenForCallback } from './callback-server.js';
import { startCodeRequest } from './code-flow.js';
import { LoginError } from './error.js';
import type { Connection } from './issuer.js';
import type { Login, LoginOptions } from './options.js';

const DEFAULT_TIMEOUT_MS = 120_000;
const OUT_OF_BAND = 'urn:ietf:wg:oauth:2.0:oob';

/**
 * The person signs in with the browser of this machine, which comes back to a port of ours. When nobody does within the time-out and there
 * is a person at the terminal, they may copy a code instead.
 * @throws LoginError any but `LOGIN_EXPIRED`, `LOGIN_CACHE`
 */
export async function signInWithBrowser(connection: Connection, options: LoginOptions): Promise<Login> {
  const server = await listenForCallback(options.redirectUrl);
  try {
    const request = await startCodeRequest(connection, options, server.redirectUri);
    options.show(`Sign in with your browser: ${request.url}`);
    // Not waited for: the browser may come back before the program that opened it has ended. Whoever has no browser still has the address.
    void options.openBrowser?.(request.url).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : 'unknown reason';
      options.show(`No browser could be opened (${reason}): open the address yourself.`);
    });
    const answer = await within(server.answer, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    if (answer !== undefined) {
      const outcome = await request.finish(answer.parameters).then(
        (login) => ({ login }),
        (error: unknown) => ({ error }),
      );
      await answer.settle('login' in outcome);
      if ('error' in outcome) throw outcome.error;
      return outcome.login;
    }
  } finally {
    await server.close();
  }
  if (options.ask === undefined) throw timeout(options);
  options.show('No browser came back.');
  return signInOutOfBand(connection, options);
}

/**
 * The person signs in wherever they like, and copies the code. Issuers that show no code send the browser to the redirect URL instead, where
 * nothing listens; then the address of that page, which has the code in it, may be given.
 * @throws LoginError as `signInWithBrowser`
 */
export async function signInOutOfBand(connection: Connection, options: LoginOptions): Promise<Login> {
  if (options.ask === undefined) {
    throw new LoginError('LOGIN_SETTINGS', 'Cannot sign in out of band: there is no terminal to read the code from', {
      cure: 'Run it in a terminal, or choose --auth-flow device',
    });
  }
  const request = await startCodeRequest(
    connection,
    options,
    options.flow === 'oob' ? (options.redirectUrl ?? OUT_OF_BAND) : OUT_OF_BAND,
  );
  options.show(`Sign in at: ${request.url}`);
  const given = (await options.ask('Code, or the address of the page you end on: ')).trim();
  if (given === '') throw timeout(options);
  if (!/^https?:\/\//.test(given)) return request.finishWithCode(given);
  if (!URL.canParse(given))
    throw new LoginError('LOGIN_STATE', 'Cannot use the address that was given: it is not a URL');
  return request.finish(new URL(given).searchParams);
}

function timeout({ issuer }: LoginOptions): LoginError {
  return new LoginError('LOGIN_TIMEOUT', `Cannot sign in with ${issuer}: nobody did so in time`, {
    cure: 'Try again; without a browser on this machine use --auth-flow device',
  });
}

/** Undefined when it takes longer. */
async function within<T>(work: Promise<T>, milliseconds: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, milliseconds, undefined);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
