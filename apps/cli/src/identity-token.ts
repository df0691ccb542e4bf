import { callService, SignError, type HttpOptions } from '#libs/sign';
import { CliError } from './exit.js';
import { exists, readInput } from './files.js';
import type { Terminal } from './config.js';

/** A place that gives identity tokens without being told, as CI systems have. */
interface TokenSource {
  name: string;
  /** Whether we run there. Cheap, and without side effects. */
  isHere: (env: Terminal['env']) => boolean;
  getToken: (env: Terminal['env'], audience: string, http: HttpOptions) => Promise<string>;
}

const MAX_TOKEN_FILE = 64 * 1024;
const MAX_RESPONSE_BYTES = 64 * 1024;

/**
 * In the order they are asked: what a person set wins over what a machine offers. One that is here but fails is an error, because silently
 * taking the next identity would sign as someone else.
 */
const tokenSources: readonly TokenSource[] = [
  {
    name: 'SIGSTORE_ID_TOKEN',
    isHere: (env) => (env['SIGSTORE_ID_TOKEN'] ?? '') !== '',
    getToken: async (env) => env['SIGSTORE_ID_TOKEN'] ?? '',
  },
  {
    name: 'GitHub Actions',
    isHere: (env) => env['GITHUB_ACTIONS'] === 'true' || (env['ACTIONS_ID_TOKEN_REQUEST_URL'] ?? '') !== '',
    getToken: getGithubToken,
  },
];

/**
 * The identity token to sign with: the one given on the command line (a token or a file that has one), else the first that the environment offers;
 * undefined if it offers none.
 *
 * @throws CliError `unreadable` if what was given is neither; and what the source that is here fails with
 */
export async function findIdentityToken(
  given: string | undefined,
  { terminal, audience, http }: { terminal: Terminal; audience: string; http: HttpOptions },
): Promise<string | undefined> {
  if (given !== undefined) return readGivenToken(given);
  const source = tokenSources.find(({ isHere }) => isHere(terminal.env));
  return source?.getToken(terminal.env, audience, http);
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

/** @see GitHub Docs, "OpenID Connect reference", requesting the token by environment variables */
async function getGithubToken(env: Terminal['env'], audience: string, http: HttpOptions): Promise<string> {
  const url = env['ACTIONS_ID_TOKEN_REQUEST_URL'] ?? '';
  const requestToken = env['ACTIONS_ID_TOKEN_REQUEST_TOKEN'] ?? '';
  if (url === '' || requestToken === '') {
    throw new SignError(
      'SIGN_TOKEN_MISSING',
      'Cannot get an identity token from GitHub Actions: the job may not request one',
      {
        cure: 'Add `permissions: id-token: write` to the job',
      },
    );
  }
  // The URL has a query already.
  const separator = url.includes('?') ? '&' : '?';
  const { body } = await callService(
    {
      service: 'token service of GitHub Actions',
      url: `${url}${separator}audience=${encodeURIComponent(audience)}`,
      headers: { authorization: `bearer ${requestToken}`, accept: 'application/json' },
      maxBytes: MAX_RESPONSE_BYTES,
    },
    { ...http, attempts: 3 },
  );
  let token: unknown;
  try {
    token = (JSON.parse(Buffer.from(body).toString('utf8')) as { value?: unknown }).value;
  } catch {
    token = undefined; // told below: the parser's message would quote the answer
  }
  if (typeof token !== 'string' || token === '') {
    throw new SignError(
      'SIGN_RESPONSE_MALFORMED',
      'Cannot get an identity token from GitHub Actions: the answer has no `value`',
    );
  }
  return token;
}
