import { parseBase64Url, parseJson, parseUtf8 } from '#libs/encoding';
import { SignError } from './error.js';

/** What an identity token says, as far as the one who signs needs to know it. Nothing here is verified: the CA does that. */
export interface TokenClaims {
  issuer: string;
  subject: string;
  email: string | undefined;
  audience: string[];
  expiresAt: Date;
}

export interface TokenCheck {
  /** The audience the certificate authority wants. Default `sigstore`. */
  audience?: string;
  /** Milliseconds since 1970. */
  nowMs: number;
}

// Longer than any token an issuer makes; shorter than anything that takes time to read.
const MAX_TOKEN_LENGTH = 16 * 1024;
// Clocks differ a little; the CA has the last word.
const LEEWAY_MS = 5_000;

/**
 * Reads a compact JWT and refuses early what the certificate authority would refuse: another audience, an expired token.
 *
 * @throws SignError `SIGN_TOKEN_MALFORMED`, `SIGN_TOKEN_AUDIENCE`, `SIGN_TOKEN_EXPIRED`
 * @see RFC 7519 §4.1
 */
export function readToken(token: string, { audience = 'sigstore', nowMs }: TokenCheck): TokenClaims {
  const claims = parsePayload(token);
  const { iss: issuer, sub: subject, aud, exp, email } = claims;
  if (typeof issuer !== 'string' || typeof subject !== 'string' || typeof exp !== 'number') {
    throw malformed('it lacks one of the claims iss, sub, exp');
  }
  const audiences = (Array.isArray(aud) ? aud : [aud]).filter((name) => typeof name === 'string');
  if (!audiences.includes(audience)) {
    throw new SignError(
      'SIGN_TOKEN_AUDIENCE',
      `Cannot use the identity token: its audience is ${audiences.map((name) => JSON.stringify(name)).join(', ') || 'absent'}, wanted is ${JSON.stringify(audience)}`,
      { cure: `Request a token for the audience ${JSON.stringify(audience)}` },
    );
  }
  const expiresAt = new Date(exp * 1000);
  if (Number.isNaN(expiresAt.getTime())) throw malformed('its claim exp is out of range');
  if (expiresAt.getTime() + LEEWAY_MS <= nowMs) {
    throw new SignError(
      'SIGN_TOKEN_EXPIRED',
      `Cannot use the identity token: it expired at ${expiresAt.toISOString()}, now it is ${new Date(nowMs).toISOString()}`,
      { cure: 'Request a new token and sign right after; if it is new, set the clock' },
    );
  }
  return { issuer, subject, email: typeof email === 'string' ? email : undefined, audience: audiences, expiresAt };
}

function parsePayload(token: string): Record<string, unknown> {
  if (token.length > MAX_TOKEN_LENGTH) throw malformed(`it is longer than ${MAX_TOKEN_LENGTH} characters`);
  // At most four parts are made, however many dots there are.
  const parts = token.split('.', 4);
  const [, payload] = parts;
  if (parts.length !== 3 || payload === undefined) throw malformed('it is not three parts with dots between them');
  let value: unknown;
  try {
    value = parseJson(parseUtf8(parseBase64Url(payload)));
  } catch (cause) {
    throw malformed('its second part is not JSON in base64url', cause);
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw malformed('its claims are not an object');
  return value as Record<string, unknown>;
}

function malformed(state: string, cause?: unknown): SignError {
  return new SignError('SIGN_TOKEN_MALFORMED', `Cannot read the identity token: ${state}`, {
    ...(cause !== undefined && { cause }),
    cure: 'Give the token itself (three base64url parts with dots between them) or the name of a file that contains it',
  });
}
