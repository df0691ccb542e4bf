/**
 * Signing in: a person (or a program with a secret) gets an identity token from an OpenID Connect issuer. Authorization code with PKCE in the
 * browser of this machine, device flow on another one, a code copied by hand, or client credentials; and a cache of tokens for whoever wants one.
 *
 * Not here: tokens that a CI system offers by itself (see `sign`), what a certificate authority makes of a token (see `identity`), refresh tokens,
 * sessions. A token is kept in memory and given to the caller.
 *
 *     const { token, email } = await login({
 *       issuer: 'https://login.example.com', clientId: 'sigstore', flow: 'browser',
 *       fetch, now: Date.now, show: console.error, openBrowser,
 *     });
 */
export { LoginError, type LoginErrorCode } from './error.js';
export { offersLogin } from './issuer.js';
export { login } from './login.js';
export { type Login, type LoginEdge, type LoginFlow, type LoginOptions, type LoginSettings } from './options.js';
export { openTokenCache, type TokenCache, type TokenCacheOptions } from './token-cache.js';
