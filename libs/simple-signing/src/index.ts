/**
 * Red Hat's Simple Signing: OpenPGP signatures that say "this name means this manifest", where they are stored, and the
 * policy.json by which podman, skopeo and CRI-O accept images. Written and read as containers/image does, and more strictly
 * where it passes over things.
 *
 * Not here: registries (`oci`), and verifying what else Sigstore has but podman does not read: bundles, Rekor v2, timestamps
 * (`verify`, `image`).
 *
 *   {"critical":{"identity":{"docker-reference":"registry.example.com/ns/app:v1"},
 *                "image":{"docker-manifest-digest":"sha256:4355…"},"type":"atomic container signature"},
 *    "optional":{"creator":"chancery 0.1.0","timestamp":1700000000}}
 *
 * in a binary signed message, at `<lookaside>/ns/app@sha256=4355…/signature-1`.
 */
export { SimpleSigningError, type SimpleSigningErrorCode } from './error.js';
export {
  formatImageName,
  parseImageIdentity,
  parseImageName,
  repositoryName,
  scopesOf,
  type ImageIdentity,
  type ImageName,
} from './reference.js';
export { encodePayload, parsePayload, type PayloadType, type SignedPayload } from './payload.js';
export { readKeyRing, type KeyRing, type VerifiedMessage } from './key-ring.js';
export { readSigner, type SimpleSigner } from './sign.js';
export { describeIdentity, matchesIdentity, type SignedIdentity } from './identity.js';
export { lookasidePath, openLookaside, type Lookaside, type LookasideOptions } from './lookaside.js';
export {
  encodeRegistries,
  lookasideToRead,
  lookasideToWrite,
  parseRegistries,
  usesSigstoreAttachments,
  type RegistriesConfig,
  type RegistrySection,
} from './registries.js';
export {
  encodePodmanPolicy,
  findRequirements,
  parsePodmanPolicy,
  type Material,
  type PodmanPolicy,
  type PolicySection,
  type Requirement,
  type SigstoreSigned,
} from './policy.js';
export {
  checkPayload,
  digestLike,
  evaluatePolicy,
  type PolicyDecision,
  type PolicyImage,
  type PolicyPorts,
  type RequirementVerdict,
  type SignatureVerdict,
} from './evaluate.js';
export { verifySigstoreAttachment, type SigstoreAttachment, type SigstoreTrust } from './sigstore.js';
