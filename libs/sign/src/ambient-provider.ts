import type { AmbientEnvironment } from './ambient-environment.js';
import { SignError, type SignErrorCode } from './error.js';
import { callService, parseJsonResponse, parseServiceUrl, type ServiceRequest, type ServiceResponse } from './http.js';
import { readToken } from './token.js';

export type AmbientProviderName =
  | 'env'
  | 'file'
  | 'github-actions'
  | 'gitlab'
  | 'buildkite'
  | 'circleci'
  | 'azure'
  | 'google-impersonation'
  | 'kubernetes'
  | 'spiffe'
  | 'google';

/** A place that gives identity tokens without asking a person, as CI systems and clouds do. */
export interface AmbientProvider {
  readonly name: AmbientProviderName;
  /** For messages: `GitHub Actions`. */
  readonly title: string;
  /** What other clients call it. */
  readonly aliases: readonly string[];
  /** Whether this is where we run. Cheap and without side effects; no network unless nothing else can tell. */
  detect(environment: AmbientEnvironment): boolean | Promise<boolean>;
  /**
   * An identity token for the environment's audience; what it says is read, not verified.
   * @throws SignError with `provider`, and a cure that names what the job, pod or machine lacks
   */
  token(environment: AmbientEnvironment): Promise<string>;
  /** For a place that could give a token if it were set up to: what to add. Undefined if this is no such place. */
  hint?(environment: AmbientEnvironment): Promise<string | undefined>;
}

/** What each provider says of itself; `ambientProvider` makes it one. */
export interface AmbientProviderDefinition extends Pick<AmbientProvider, 'name' | 'title' | 'detect' | 'hint'> {
  readonly aliases?: readonly string[];
  /** Gets the token. A SignError of it without a cure gets the one below. */
  obtain(environment: AmbientEnvironment): Promise<string>;
  /** The line to add, or the setting to change, when the place refuses, lacks something or gives a token for somebody else. */
  cure(environment: AmbientEnvironment): string;
}

/** Bytes of an answer that are read at most. */
export const MAX_ANSWER_BYTES = 64 * 1024;

/** Failures that a general sentence cannot help with: only the place itself knows what to set. */
const curedByPlace: ReadonlySet<SignErrorCode> = new Set([
  'SIGN_REFUSED',
  'SIGN_TOKEN_AUDIENCE',
  'SIGN_TOKEN_MALFORMED',
] satisfies SignErrorCode[]);

/** Gives every provider the same end: the token is one, it is for our audience, and every failure names the provider and a cure. */
export function ambientProvider(definition: AmbientProviderDefinition): AmbientProvider {
  const { name, title, aliases = [], hint } = definition;
  return {
    name,
    title,
    aliases,
    ...(hint && { hint }),
    detect: (environment) => definition.detect(environment),
    token: async (environment) => {
      try {
        const token = (await definition.obtain(environment)).trim();
        if (token === '') throw missing(title, 'what it gave is empty');
        checkToken(title, token, environment.audience);
        return token;
      } catch (error) {
        if (!(error instanceof SignError)) throw error;
        const cure = definition.cure(environment);
        throw new SignError(error.code, error.message, {
          provider: name,
          cure: curedByPlace.has(error.code) ? cure : (error.cure ?? cure),
          ...(error.status !== undefined && { status: error.status }),
          ...(error.cause !== undefined && { cause: error.cause }),
        });
      }
    },
  };
}

/** A token of another audience is not only useless: whoever gets it can use it where it is meant for. So it ends here, unsent. */
function checkToken(title: string, token: string, audience: string): void {
  try {
    // Whether it has expired is for the one who signs to say, who has the clock.
    readToken(token, { audience, nowMs: 0 });
  } catch (error) {
    if (!(error instanceof SignError)) throw error;
    const state = error.message.slice(error.message.indexOf(': ') + 2);
    throw new SignError(error.code, `Cannot use the identity token from ${title}: ${state}`, { cause: error.cause });
  }
}

/** The place is known, but there is no token to be had. */
export function missing(title: string, state: string, options: { cause?: unknown; cure?: string } = {}): SignError {
  return new SignError('SIGN_TOKEN_MISSING', `Cannot get an identity token from ${title}: ${state}`, options);
}

/** The value of a variable; undefined if it is not set or empty, which shells make of "not set". */
export function setting({ env }: AmbientEnvironment, variable: string): string | undefined {
  const value = env[variable];
  return value === undefined || value === '' ? undefined : value;
}

/**
 * The value of a variable that is sent as a credential.
 * @throws SignError `SIGN_TOKEN_MISSING` if it cannot stand in a header: the platform's own message would quote it
 */
export function credential(environment: AmbientEnvironment, variable: string, title: string): string | undefined {
  const value = setting(environment, variable);
  if (value !== undefined && !/^[\x21-\x7e]+$/.test(value)) {
    throw missing(title, `${variable} has characters that no credential has`, {
      cure: `Set ${variable} again, without spaces or line breaks`,
    });
  }
  return value;
}

/**
 * Checks where a credential would go: `https`, so that nobody on the way reads it, or a host that no network is between. `local`: addresses that
 * never leave the machine or its link.
 *
 * @throws SignError `SIGN_URL`
 */
export function checkCredentialUrl(
  url: string,
  { variable, title, plain }: { variable: string; title: string; plain: 'loopback' | 'link-local' },
): void {
  const { protocol, hostname } = parseServiceUrl(url, `token service of ${title} (${variable})`);
  if (protocol === 'https:' || isLoopback(hostname)) return;
  if (plain === 'link-local' && isLinkLocal(hostname)) return;
  throw new SignError(
    'SIGN_URL',
    `Cannot get an identity token from ${title}: ${variable} must start with https://, for a credential goes there`,
    { cure: `Check who sets ${variable}: a job's own platform sets it to an https URL` },
  );
}

// `hostname` of a URL is normalised: 0x7f.1 has become 127.0.0.1.
function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}

function isLinkLocal(hostname: string): boolean {
  return /^169\.254(\.\d+){2}$/.test(hostname) || /^\[fe[89ab][0-9a-f]:/.test(hostname);
}

/** A request for a token. */
export interface TokenRequest extends Pick<ServiceRequest, 'url' | 'method' | 'headers' | 'body'> {
  /** Credentials in it, so that an answer that repeats one does not bring it into a message. */
  secrets?: readonly string[];
  /** Milliseconds for an attempt, if less than usual: a metadata server is a hop away or nowhere. */
  timeoutMs?: number;
}

/**
 * Asks the token service of a place, three times at most. Redirects are refused as everywhere, so that a credential goes to the host it is for and no further.
 * @throws SignError as `callService` does
 */
export async function requestToken(
  { http }: AmbientEnvironment,
  title: string,
  { secrets = [], timeoutMs, ...request }: TokenRequest,
): Promise<ServiceResponse> {
  const patience = timeoutMs !== undefined && { timeoutMs: Math.min(timeoutMs, http.timeoutMs ?? timeoutMs) };
  try {
    return await callService(
      { service: `token service of ${title}`, maxBytes: MAX_ANSWER_BYTES, ...request },
      { ...http, ...patience, attempts: Math.min(http.attempts ?? 3, 3) },
    );
  } catch (error) {
    if (!(error instanceof SignError)) throw error;
    const { code, cure, status, cause } = error;
    throw new SignError(code, withoutSecrets(error.message, secrets), {
      ...(cure !== undefined && { cure }),
      ...(status !== undefined && { status }),
      ...(cause !== undefined && { cause }),
    });
  }
}

/** The string member of a JSON answer. @throws SignError `SIGN_RESPONSE_MALFORMED` */
export function stringMember(title: string, response: ServiceResponse, member: string): string {
  const json = parseJsonResponse(`token service of ${title}`, response);
  const value = json !== null && typeof json === 'object' && !Array.isArray(json) ? json[member] : undefined;
  if (typeof value !== 'string' || value === '') {
    throw new SignError(
      'SIGN_RESPONSE_MALFORMED',
      `Cannot get an identity token from ${title}: the answer has no \`${member}\``,
    );
  }
  return value;
}

/** Appends query parameters to a URL that may have some already. */
export function withQuery(url: string, parameters: Readonly<Record<string, string>>): string {
  const query = Object.entries(parameters)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&');
  return `${url}${url.includes('?') ? '&' : '?'}${query}`;
}

/** The text with each secret taken out, also one that was cut off at the end of a shortened quotation. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  const removed = '(secret removed)';
  let clean = text;
  for (const secret of secrets) {
    clean = clean.replaceAll(secret, removed);
    for (let length = secret.length - 1; length >= 6; length--) {
      const tail = `${secret.slice(0, length)}…`;
      if (clean.endsWith(tail)) clean = clean.slice(0, -tail.length) + removed;
    }
  }
  return clean;
}
