import type { CryptoPort, HashAlgorithm } from '#libs/crypto';
import { EncodingError, parseHex } from '#libs/encoding';
import { VerifyError } from './error.js';

/** What the signature should be about. A large file is hashed by whoever has it, piece by piece. */
export interface Artifact {
  /** The digest, or undefined if this artifact is known only by a digest of another algorithm. */
  digest: (algorithm: HashAlgorithm) => Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** All bytes. Only pure Ed25519 needs them, which cannot be verified by digest. */
  bytes?: () => Uint8Array | Promise<Uint8Array>;
}

/** An artifact in memory. */
export function artifactFromBytes(bytes: Uint8Array, crypto: Pick<CryptoPort, 'hash'>): Artifact {
  return { digest: (algorithm) => crypto.hash(algorithm, bytes), bytes: () => bytes };
}

/** An artifact of which only a digest is known. */
export function artifactFromDigest(algorithm: HashAlgorithm, digest: Uint8Array): Artifact {
  return { digest: (wanted) => (wanted === algorithm ? digest : undefined) };
}

/**
 * Reads `sha256:<64 hex>`, `sha384:…` or `sha512:…`; undefined if the text does not look like a digest at all.
 * @throws VerifyError `VERIFY_POLICY` if it does, but has another length or other characters
 */
export function parseArtifactDigest(text: string): Artifact | undefined {
  const match = /^(sha256|sha384|sha512):(.*)$/s.exec(text);
  if (match === null) return undefined;
  const [, algorithm, hex] = match as unknown as [string, HashAlgorithm, string]; // both groups are in every match
  let digest: Uint8Array | undefined;
  try {
    digest = parseHex(hex);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
  }
  const length = Number(algorithm.slice(3)) / 8;
  if (digest?.length !== length) {
    throw new VerifyError('VERIFY_POLICY', `Cannot read digest: ${algorithm} needs ${length * 2} hex digits`, {
      cure: `Give the artifact's digest as ${algorithm}:<${length * 2} hex digits>, or its path`,
    });
  }
  return artifactFromDigest(algorithm, digest);
}

/** The same artifact, which computes each digest once. */
export function rememberDigests(artifact: Artifact): Artifact {
  const digests = new Map<HashAlgorithm, ReturnType<Artifact['digest']>>();
  return {
    digest: (algorithm) => {
      if (!digests.has(algorithm)) digests.set(algorithm, artifact.digest(algorithm));
      return digests.get(algorithm);
    },
    ...(artifact.bytes === undefined ? {} : { bytes: artifact.bytes }),
  };
}
