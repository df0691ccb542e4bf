/**
 * `chancery/sign`: signs with an identity token (or a key) and returns a Sigstore bundle.
 *
 *     import { encodeBundle, parseSigningConfig, sign } from 'chancery/sign';
 *     const bundle = await sign({ path: 'app.tar.gz' }, { signingConfig: parseSigningConfig(text), identityToken });
 *     await writeFile('app.tar.gz.sigstore.json', encodeBundle(bundle));
 *
 * Give `trustedRoot` to have every answer of the services verified to the end. It throws SignError, with a stable `code` and a `cure`.
 */
import { encodeBundle, parseBundle, type Bundle } from '#libs/bundle';
import {
  chooseServices,
  loadSigningKey,
  sign as signArtifact,
  SignError,
  signMany as signArtifacts,
  type Artifact,
  type Services,
  type SigningKey,
  type SignErrorCode,
  type SignOptions as LibSignOptions,
} from '#libs/sign';
import { parseSigningConfig, parseTrustedRoot, type SigningConfig, type TrustedRoot } from '#libs/trust';

export { encodeBundle, loadSigningKey, parseBundle, parseSigningConfig, parseTrustedRoot, SignError };
export type { Bundle, Services, SignErrorCode, SigningConfig, SigningKey, TrustedRoot };

/** Bytes, a file, or an in-toto statement, whose bytes go into a DSSE envelope as they are. */
export type ArtifactSource = Uint8Array | { path: string } | { statement: Uint8Array };

export interface SignOptions {
  /** Which services to use: a signing configuration to choose from, or their URLs. */
  signingConfig: SigningConfig | Services;
  /** An OIDC identity token, or a function that gets one when a certificate is needed. */
  identityToken?: string | (() => Promise<string>);
  /** The audience that the certificate authority expects in the token. Default `sigstore`. */
  audience?: string;
  /** A key of one's own instead of an identity. */
  key?: SigningKey;
  /** Whom to believe about the services' answers. */
  trustedRoot?: TrustedRoot;
  /** Another `fetch`, to go through a proxy for example. */
  fetch?: typeof globalThis.fetch;
}

/**
 * Signs one artifact.
 * @throws SignError
 */
export async function sign(artifact: ArtifactSource, options: SignOptions): Promise<Bundle> {
  return signArtifact(toArtifact(artifact), toLibOptions(options));
}

/**
 * Signs several artifacts with one certificate, as long as it lasts. Yields each bundle when it is complete.
 * @throws SignError
 */
export function signMany(artifacts: Iterable<ArtifactSource>, options: SignOptions): AsyncGenerator<Bundle> {
  return signArtifacts(Array.from(artifacts, toArtifact), toLibOptions(options));
}

function toArtifact(source: ArtifactSource): Artifact {
  if (source instanceof Uint8Array) return { kind: 'bytes', bytes: source };
  return 'path' in source ? { kind: 'file', path: source.path } : { kind: 'statement', bytes: source.statement };
}

function toLibOptions(options: SignOptions): LibSignOptions {
  const { signingConfig, fetch = globalThis.fetch, ...rest } = options;
  const services =
    'caUrls' in signingConfig
      ? chooseServices(signingConfig, { now: new Date(), managedKey: options.key !== undefined })
      : signingConfig;
  return { ...rest, services, fetch, now: Date.now };
}
