import { encodeHex } from '#libs/encoding';

/** How many hex digits a digest has. Rekor v1 tells the hash of a bare digest by its length in the same way. */
const digitsOf: Readonly<Record<string, number>> = { sha1: 40, sha256: 64, sha384: 96, sha512: 128 };
const algorithmOf = new Map(Object.entries(digitsOf).map(([algorithm, digits]) => [digits, algorithm]));

/** The search key of a digest as Rekor v1 writes it: `sha256:<hex>`. `algorithm`: sha256, sha384, sha512 and the like. */
export function digestKeys(algorithm: string, digest: Uint8Array): string[] {
  return [`${algorithm}:${encodeHex(digest)}`];
}

/**
 * The search key of a digest as people write it: `sha256:<hex>`; bare hex, whose length tells the hash; or with another name of in-toto's
 * digest sets (`gitCommit:<hex>`), of any length. Undefined if it is none of these.
 */
export function readDigest(text: string): string | undefined {
  const [, named, hex = ''] = /^(?:([a-z0-9_]{1,32}):)?((?:[0-9a-f]{2}){1,64})$/.exec(text.toLowerCase()) ?? [];
  const algorithm = named ?? algorithmOf.get(hex.length);
  if (algorithm === undefined || hex === '') return undefined;
  const digits = Object.hasOwn(digitsOf, algorithm) ? digitsOf[algorithm] : undefined;
  return digits === undefined || digits === hex.length ? `${algorithm}:${hex}` : undefined;
}
