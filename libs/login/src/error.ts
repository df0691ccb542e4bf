/** What went wrong while signing in; stable, part of the API. */
export type LoginErrorCode =
  /** The issuer's URL cannot be used: not a URL, or not encrypted. */
  | 'LOGIN_ISSUER'
  /** A setting makes no sense, or does not go with the flow. */
  | 'LOGIN_SETTINGS'
  /** The issuer's description of itself is missing or wrong. */
  | 'LOGIN_DISCOVERY'
  /** The issuer does not offer this way of signing in. */
  | 'LOGIN_FLOW'
  /** The port for the browser's return is taken. */
  | 'LOGIN_PORT'
  /** An answer came back that does not belong to this sign-in. */
  | 'LOGIN_STATE'
  /** The person, or the issuer on their behalf, said no. */
  | 'LOGIN_DENIED'
  /** The issuer refused the request. */
  | 'LOGIN_REFUSED'
  /** The time the issuer gives for confirming a device is over. */
  | 'LOGIN_EXPIRED'
  /** Nobody signed in while we waited. */
  | 'LOGIN_TIMEOUT'
  /** The issuer cannot be reached. */
  | 'LOGIN_NETWORK'
  /** The issuer's answer is not what the protocol says. */
  | 'LOGIN_RESPONSE'
  /** The token that came does not hold. */
  | 'LOGIN_TOKEN'
  /** The token cache cannot be used. */
  | 'LOGIN_CACHE';

/** Thrown by everything in this library. No message holds a token, a code or a secret. */
export class LoginError extends Error {
  override readonly name = 'LoginError';
  /** One sentence: what the person who signs in can do about it. */
  readonly cure: string | undefined;

  constructor(
    readonly code: LoginErrorCode,
    message: string,
    options: ErrorOptions & { cure?: string } = {},
  ) {
    super(message, options);
    this.cure = options.cure;
  }
}

/** What a stranger sent, fit for a message: one line, at most 200 characters, nothing that drives a terminal, nothing that looks like a token. */
export function quoted(text: string): string {
  const line = text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .replace(/eyJ[\w-]+(\.[\w-]*)*/g, '(token removed)')
    .trim();
  return JSON.stringify(line.length > 200 ? `${line.slice(0, 200)}…` : line);
}
