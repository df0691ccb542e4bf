import type { Digest } from '#libs/oci';

/** `bundle`: one referrer of the image for each signature, a Sigstore bundle. `legacy`: all in the manifest under one tag. */
export type Layout = 'bundle' | 'legacy';

/** What is attached to an image: signatures claim nothing but the digest, attestations have a predicate. */
export type Kind = 'signature' | 'attestation';

/** Media type of a bundle, as layer and as artifact type. */
export const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

/** Any version of it: what version it really is, its own media type says. */
export function isBundleType(type: string | undefined): boolean {
  return type !== undefined && /^application\/vnd\.dev\.sigstore\.bundle[.+]/.test(type);
}

export const SIMPLE_SIGNING_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';
export const DSSE_TYPE = 'application/vnd.dsse.envelope.v1+json';

/** Hints for whoever lists referrers; nobody signed them. */
export const CONTENT_ANNOTATION = 'dev.sigstore.bundle.content';
export const PREDICATE_TYPE_ANNOTATION = 'dev.sigstore.bundle.predicateType';
export const CREATED_ANNOTATION = 'org.opencontainers.image.created';

/** Annotations of a layer in the legacy layout. */
export const SIGNATURE_ANNOTATION = 'dev.cosignproject.cosign/signature';
export const CERTIFICATE_ANNOTATION = 'dev.sigstore.cosign/certificate';
export const CHAIN_ANNOTATION = 'dev.sigstore.cosign/chain';
export const LOG_ANNOTATION = 'dev.sigstore.cosign/bundle';
export const TIMESTAMP_ANNOTATION = 'dev.sigstore.cosign/rfc3161timestamp';
export const LEGACY_PREDICATE_TYPE_ANNOTATION = 'predicateType';

const suffixes = { signature: 'sig', attestation: 'att', sbom: 'sbom' } as const;

/** `sha256-<hex>.sig`: where the legacy layout keeps what is about a digest. */
export function legacyTag(digest: Digest, kind: keyof typeof suffixes): string {
  return `${digest.replace(':', '-')}.${suffixes[kind]}`;
}
