/**
 * The verifier: bundle + artifact + trusted root + policy -> who signed, or the check that objected.
 *
 *     const report = await verifyBundle({
 *       bundle: await readFile('app.tgz.sigstore.json'), artifact: artifactFromBytes(bytes, crypto), trustedRoot, crypto,
 *       policy: { kind: 'identity', san: 'me@example.com', issuer: 'https://accounts.example.com' },
 *     });
 *     report.ok;      // true only if every check passed or had nothing to check
 *     report.checks;  // [{ id: 'bundle-format', title: …, state: 'passed', detail: … }, …], `cure` where one failed
 *
 * It makes no network call and does not look at the clock: what counts is the time of signing. What it trusts is in the
 * trusted root. Not here: finding bundles, trusted roots and artifacts, and hashing large files.
 */
export { artifactFromBytes, artifactFromDigest, parseArtifactDigest, type Artifact } from './artifact.js';
export type { Identity } from './certificate.js';
export { checkIds, type Check, type CheckId } from './checks.js';
export { VerifyError, type VerifyErrorCode } from './error.js';
export type { LogRecord } from './log.js';
export {
  identityMatcher,
  type IdentityPolicy,
  type KeyPolicy,
  type Matcher,
  type Policy,
  type Thresholds,
} from './policy.js';
export type { TrustedTime } from './time.js';
export { verifyBundle, type Report, type VerifyInput } from './verify-bundle.js';
