import { signInOutOfBand, signInWithBrowser } from './browser-flow.js';
import { signInAsClient } from './client-credentials.js';
import { signInWithDevice } from './device-flow.js';
import { type Connection, connect } from './issuer.js';
import type { Login, LoginFlow, LoginOptions } from './options.js';

const flows: Readonly<Record<LoginFlow, (connection: Connection, options: LoginOptions) => Promise<Login>>> = {
  browser: signInWithBrowser,
  device: signInWithDevice,
  oob: signInOutOfBand,
  'client-credentials': signInAsClient,
};

/**
 * Gets an identity token from an issuer, by the flow that `options` names, and verifies it: signature, issuer, audience, times, and where they
 * belong to the flow nonce and `at_hash`. Nothing is stored.
 * @throws LoginError any but `LOGIN_CACHE`
 */
export async function login(options: LoginOptions): Promise<Login> {
  return flows[options.flow](await connect(options), options);
}
