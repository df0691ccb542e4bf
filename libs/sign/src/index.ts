/**
 * Signing: artifact and identity token become a Sigstore bundle, in the order certificate, signature, timestamp, log entry. Every answer of a service
 * is verified before the next step.
 *
 * The token is the caller's, or what the machine offers without being asked for a password: `ambientToken()` knows the CI systems, clouds and
 * workload identities. Asking a person to sign in is elsewhere (`login`), and so is verifying bundles (`verify`) and reading logs for others (`audit`).
 *
 *     const services = chooseServices(parseSigningConfig(text), { now: new Date() });
 *     const bundle = await sign({ kind: 'file', path: 'app.tar.gz' }, { services, identityToken, trustedRoot, fetch, now: Date.now });
 *     await writeFile('app.tar.gz.sigstore.json', encodeBundle(bundle));
 */
export { ambientHint, ambientProviders, ambientToken, findAmbientProvider } from './ambient.js';
export {
  nodeAmbientEnvironment,
  type AmbientEnvironment,
  type AmbientFiles,
  type CommandResult,
} from './ambient-environment.js';
export { type AmbientProvider, type AmbientProviderName } from './ambient-provider.js';
export { type Artifact } from './artifact.js';
export { SignError, type SignErrorCode, type SignErrorOptions } from './error.js';
export { callService, joinUrl, type HttpOptions, type ServiceRequest, type ServiceResponse } from './http.js';
export { generateSigningKey, loadSigningKey, type SignedChunks, type SigningKey } from './key.js';
export { encodeEnvelope } from './log-v1.js';
export { chooseServices, type Services } from './services.js';
export { sign, signMany, type SignOptions } from './sign.js';
export { readToken, type TokenCheck, type TokenClaims } from './token.js';
