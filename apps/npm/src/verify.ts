/**
 * `chancery/verify`: verifies Sigstore bundles offline, with the cryptography of this Node.
 *
 *     import { parseTrustedRoot, verify } from 'chancery/verify';
 *     const report = await verify(bundleText, { path: 'app.tar.gz' }, {
 *       trustedRoot: parseTrustedRoot(rootText),
 *       identity: 'alice@example.com',
 *       issuer: 'https://accounts.google.com',
 *     });
 *     if (!report.ok) throw report.failure;
 *
 * It never throws for a bad signature: look at `ok`.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parseBundle, type Bundle } from '#libs/bundle';
import { parsePublicKeyPem } from '#libs/crypto';
import { opensslCrypto } from '#libs/openssl';
import { parseTrustedRoot, type TrustedRoot } from '#libs/trust';
import {
  artifactFromBytes,
  identityMatcher,
  parseArtifactDigest,
  verifyBundle,
  VerifyError,
  type Artifact,
  type Check,
  type CheckId,
  type Matcher,
  type Policy,
  type Report,
  type Thresholds,
  type VerifyErrorCode,
} from '#libs/verify';

export { identityMatcher, parseBundle, parseTrustedRoot, VerifyError };
export type { Bundle, Check, CheckId, Matcher, Report, Thresholds, TrustedRoot, VerifyErrorCode };

/** What the signature should be about: bytes, a file, or a digest as `sha256:<64 hex digits>`. */
export type ArtifactSource = Uint8Array | { path: string } | { digest: string };

/** Whose signature to accept: a name and the issuer that vouched for it, or the owner of a key. */
export type Signer =
  | {
      /** E-mail address or URI in the certificate: compared exactly, or judged by a function (see `identityMatcher`). */
      identity: string | Matcher;
      /** The OIDC issuer in the certificate. */
      issuer: string | Matcher;
    }
  | {
      /** A public key in PEM. */
      publicKey: string;
    };

export type VerifyOptions = Signer & {
  trustedRoot: TrustedRoot;
  thresholds?: Thresholds;
  /** Accept only a statement with this predicate type. */
  predicateType?: string;
};

/**
 * Verifies that the artifact was signed by whom the options name. Makes no network call.
 *
 * @throws VerifyError `VERIFY_POLICY` for options that make no sense; an error of the file system if the file cannot be read
 */
export async function verify(
  bundle: string | Uint8Array | Bundle,
  artifact: ArtifactSource,
  options: VerifyOptions,
): Promise<Report> {
  const policy: Policy =
    'publicKey' in options
      ? { kind: 'key', publicKey: parsePublicKeyPem(options.publicKey) }
      : { kind: 'identity', san: options.identity, issuer: options.issuer };
  return verifyBundle({
    bundle,
    artifact: openArtifact(artifact),
    trustedRoot: options.trustedRoot,
    policy,
    crypto: opensslCrypto,
    ...(options.thresholds && { thresholds: options.thresholds }),
    ...(options.predicateType !== undefined && { predicateType: options.predicateType }),
  });
}

function openArtifact(source: ArtifactSource): Artifact {
  if (source instanceof Uint8Array) return artifactFromBytes(source, opensslCrypto);
  if ('digest' in source) {
    const artifact = parseArtifactDigest(source.digest);
    if (artifact !== undefined) return artifact;
    throw new VerifyError('VERIFY_POLICY', 'Cannot verify: the digest must be spelled sha256:<64 hex digits>', {
      cure: 'Give the digest with its algorithm in front',
    });
  }
  return {
    digest: async (algorithm) => {
      const hash = createHash(algorithm);
      for await (const chunk of createReadStream(source.path)) hash.update(chunk as Uint8Array);
      return new Uint8Array(hash.digest());
    },
    bytes: async () => new Uint8Array(await readFile(source.path)),
  };
}
