import * as oidc from 'openid-client';
import { LoginError, quoted } from './error.js';
import { readIdToken, type TokenAnswer } from './id-token.js';
import { type Connection, isLoopback, loginError, requireEndpoint } from './issuer.js';
import { type Login, type LoginOptions, requestParameters } from './options.js';

const GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
/** Seconds, where the issuer names no interval. */
const DEFAULT_INTERVAL = 5;
const SLOW_DOWN = 5;
/** Whatever the issuer says: nobody wants to wait a minute after having confirmed, nor for an hour for somebody who went home. */
const MAX_INTERVAL = 60;
const MAX_LIFETIME = 30 * 60;

/**
 * The person confirms a code on another device, while we ask whether they have.
 * @throws LoginError `LOGIN_FLOW`, `LOGIN_DENIED`, `LOGIN_EXPIRED`, `LOGIN_REFUSED`, `LOGIN_TOKEN`, `LOGIN_NETWORK`, `LOGIN_RESPONSE`
 * @see RFC 8628
 */
export async function signInWithDevice(connection: Connection, options: LoginOptions): Promise<Login> {
  requireEndpoint(connection, 'device_authorization_endpoint', 'device flow');
  // RFC 8628 has no PKCE, but Dex demands the verifier of whoever sent a challenge, and others ignore it.
  const verifier = oidc.randomPKCECodeVerifier();
  const device = await oidc
    .initiateDeviceAuthorization(connection.config, {
      ...requestParameters(options),
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    })
    .catch((cause: unknown) => {
      throw loginError(cause, connection);
    });
  showCode(device, connection, options);
  const answer = await poll(connection, options, device, verifier);
  return readIdToken(answer, connection, options);
}

/** §3.3: the address that needs no typing first, and always the code, so that the person can compare it (§5.4). */
function showCode(device: oidc.DeviceAuthorizationResponse, { issuer }: Connection, options: LoginOptions): void {
  const { user_code: code, verification_uri: plain, verification_uri_complete: complete } = device;
  for (const address of [plain, complete].filter((given) => given !== undefined)) {
    const url = URL.canParse(address) ? new URL(address) : undefined;
    if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url) && issuer.startsWith('http:')))
      continue;
    throw new LoginError(
      'LOGIN_RESPONSE',
      `Cannot sign in with ${issuer}: its page for codes is ${quoted(address)}, which is not https`,
    );
  }
  // It goes to the terminal as it is.
  if (!/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u.test(code)) {
    throw new LoginError(
      'LOGIN_RESPONSE',
      `Cannot sign in with ${issuer}: its code is ${quoted(code)}, which nobody can type`,
    );
  }
  options.show(`Sign in on any device: ${new URL(complete ?? plain).href}`);
  options.show(complete === undefined ? `Enter the code ${code}` : `Check that the page shows the code ${code}`);
}

/** §3.5. A failed connection is no answer: the pause doubles, and we ask again. */
async function poll(
  connection: Connection,
  { now, sleep = pause, timeoutMs }: LoginOptions,
  device: oidc.DeviceAuthorizationResponse,
  verifier: string,
): Promise<TokenAnswer> {
  const lifetimeMs = Math.min(device.expires_in, MAX_LIFETIME) * 1000;
  const deadline = now() + Math.min(lifetimeMs, timeoutMs ?? lifetimeMs);
  let interval = device.interval ?? DEFAULT_INTERVAL;
  for (;;) {
    await sleep(Math.min(interval, MAX_INTERVAL) * 1000);
    if (now() >= deadline) {
      throw new LoginError(
        'LOGIN_EXPIRED',
        `Cannot sign in with ${connection.issuer}: nobody confirmed the code in time`,
        {
          cure: 'Sign in again, and confirm sooner',
        },
      );
    }
    try {
      return await oidc.genericGrantRequest(connection.config, GRANT, {
        device_code: device.device_code,
        code_verifier: verifier,
      });
    } catch (cause) {
      if (cause instanceof oidc.ResponseBodyError && cause.error === 'authorization_pending') continue;
      if (cause instanceof oidc.ResponseBodyError && cause.error === 'slow_down') {
        interval += SLOW_DOWN;
        continue;
      }
      const error = loginError(cause, connection);
      if (!(error instanceof LoginError) || error.code !== 'LOGIN_NETWORK') throw error;
      interval *= 2;
    }
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
