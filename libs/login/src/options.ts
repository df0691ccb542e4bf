import { LoginError } from './error.js';

/** How a token is got: see docs/login.md for which one fits where. */
export type LoginFlow = 'browser' | 'device' | 'oob' | 'client-credentials';

/** Who is asked for a token, and as whom. Together with the flow they say which identity comes back. */
export interface LoginSettings {
  /** The issuer exactly as it calls itself; `https`, or `http` on this machine. */
  readonly issuer: string;
  readonly clientId: string;
  /** Of a confidential client. Sent to the token endpoint alone. */
  readonly clientSecret?: string;
  /** Default `openid` and `email`; with `client-credentials` none. */
  readonly scopes?: readonly string[];
  /** Whom the token is for, when that is not the client: sent as parameter `audience`, and demanded of the token. */
  readonly audience?: string;
  /** Dex: which of its upstream logins to go to at once. */
  readonly connectorId?: string;
  /** Loopback `http` URL to which the browser returns; port 0 is a free one. Default `http://localhost:0/auth/callback`. */
  readonly redirectUrl?: string;
  /** Further parameters of the authorization request, such as `prompt` or `login_hint`. */
  readonly extra?: Readonly<Record<string, string>>;
  readonly flow: LoginFlow;
}

/** The world around a sign-in; every field has a test double. */
export interface LoginEdge {
  readonly fetch: typeof globalThis.fetch;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** A line for the person. Holds nothing that drives a terminal. */
  readonly show: (line: string) => void;
  /** Opens a page in the person's browser. Rejects if there is none; the address is shown in any case. */
  readonly openBrowser?: (url: string) => Promise<void>;
  /** Asks the person at the terminal. Absent: there is none, and nothing is asked. */
  readonly ask?: (question: string) => Promise<string>;
  /** Milliseconds that a person has. Default 120 000 in the browser; with a device what the issuer gives. */
  readonly timeoutMs?: number;
  /** Waits between two questions to the issuer, in milliseconds; the default is a timer. */
  readonly sleep?: (milliseconds: number) => Promise<void>;
}

export type LoginOptions = LoginSettings & LoginEdge;

/** A verified token and what it says. */
export interface Login {
  /** The compact JWT. */
  readonly token: string;
  readonly expiresAt: Date;
  readonly issuer: string;
  readonly subject: string;
  readonly email?: string;
  /** What the issuer says about the address; absent where it says nothing. */
  readonly emailVerified?: boolean;
}

const DEFAULT_SCOPES = ['openid', 'email'];

/** What this library sets itself; from outside it would undo the protections of the flow. */
const ownParameters: ReadonlySet<string> = new Set([
  ...['response_type', 'response_mode', 'client_id', 'client_secret', 'redirect_uri', 'scope', 'state', 'nonce'],
  ...['code_challenge', 'code_challenge_method', 'code_verifier', 'request', 'request_uri', 'grant_type', 'audience'],
  ...['connector_id', 'device_code', 'code'],
]);

/**
 * The parameters of an authorization request that do not change from one to the next.
 * @throws LoginError `LOGIN_SETTINGS`
 */
export function requestParameters(settings: LoginSettings): Record<string, string> {
  for (const name of Object.keys(settings.extra ?? {})) {
    if (!ownParameters.has(name)) continue;
    throw new LoginError('LOGIN_SETTINGS', `Cannot sign in: the parameter ${name} cannot be set from outside`);
  }
  const scopes = settings.scopes ?? (settings.flow === 'client-credentials' ? [] : DEFAULT_SCOPES);
  return {
    ...settings.extra,
    ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    ...(settings.audience !== undefined && { audience: settings.audience }),
    ...(settings.connectorId !== undefined && { connector_id: settings.connectorId }),
  };
}
