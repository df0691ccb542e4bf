/**
 * Signing: artifact and identity token become a Sigstore bundle, in the order certificate, signature, timestamp, log entry. Every answer of a service
 * is verified before the next step.
 *
 * It neither obtains identity tokens nor writes files, does not verify bundles (see `verify`) nor read logs for others (see `audit`).
 *
 *     const services = chooseServices(parseSigningConfig(text), { now: new Date() });
 *     const bundle = await sign({ kind: 'file', path: 'app.tar.gz' }, { services, identityToken, trustedRoot, fetch, now: Date.now });
 *     await writeFile('app.tar.gz.sigstore.json', encodeBundle(bundle));
 */
export { type Artifact } from './artifact.js';
export { SignError, type SignErrorCode, type SignErrorOptions } from './error.js';
export { callService, joinUrl, type HttpOptions, type ServiceRequest, type ServiceResponse } from './http.js';
export { generateSigningKey, loadSigningKey, type SignedChunks, type SigningKey } from './key.js';
export { chooseServices, type Services } from './services.js';
export { sign, signMany, type SignOptions } from './sign.js';
export { readToken, type TokenCheck, type TokenClaims } from './token.js';
