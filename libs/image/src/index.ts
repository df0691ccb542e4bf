/**
 * Signatures and attestations of container images: made, kept beside the image in its registry, found again and judged; and what else
 * goes with an image: listing, copying, saving and removing what is attached to it.
 *
 * Two layouts. *Bundle*: each signature is a referrer (OCI 1.1) of the image whose one layer is a Sigstore bundle over the statement
 *   {"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"6a2b…"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}
 * *Legacy*: all signatures are layers of one manifest under the tag `sha256-6a2b….sig`, the evidence in their annotations. One verifier judges both.
 *
 *     const { digest } = await store.resolve('1.2');   // once: what follows is about this digest
 *     const report = await verifyImage(store, digest, { layouts: ['bundle'], policy, trustedRoot });
 *     report.ok; report.candidates;                    // each with the check that objected
 *
 * Not here: registries (`oci`), signing itself (`sign`), the verifier (`verify`), tags that can be believed (`tags`).
 */
export type { Patience } from './attach.js';
export type { AttachmentKind } from './attachments.js';
export type { CleanedImage, CleanType } from './clean.js';
export type { CopyOptions, CopyResult } from './copy.js';
export { ImageError, type ImageErrorCode } from './error.js';
export {
  findEvidence,
  SearchEnded,
  type EvidenceLimits,
  type FindOptions,
  type Found,
  type Place,
} from './evidence.js';
export { judge, type Accepted, type Candidate, type CandidateCheck, type Demand } from './judge.js';
export { isBundleType, legacyTag, type Kind, type Layout } from './layout.js';
export { bundleOfLayer, layerOfBundle, type LegacyLayer } from './legacy.js';
export { encodePayload, parsePayload, type SimplePayload } from './payload.js';
export { choosePlatform, describePlatform, listManifests, type PlatformManifest } from './platforms.js';
export { predicateFault, predicateTypeNames, predicateTypeUri } from './predicate.js';
export type { Attested, AttestImageOptions, SignedImage, SignImageOptions } from './sign.js';
export { attestImage, signImage } from './signing.js';
export { celPolicy, regoPolicy, schemaPolicy, type PolicyLimits, type StatementPolicy } from './statement-policy.js';
export { attestationStatement, signatureStatement, subjectAnnotations, SIGN_PREDICATE_TYPE } from './statement.js';
export {
  attachBundle,
  attachLayers,
  cleanImage,
  copyImage,
  listArtifacts,
  loadImage,
  openSaved,
  saveImage,
} from './storing.js';
export type { Artifact } from './tree.js';
export {
  judgeAll,
  verifyAttestations,
  verifyImage,
  verifyImageRecursively,
  type ImageFailure,
  type ImageReport,
  type PlatformReport,
  type VerifyImageOptions,
} from './verify.js';
