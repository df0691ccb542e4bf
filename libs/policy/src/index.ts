/**
 * What a deployment accepts, as one file: ClusterImagePolicy and TrustRoot documents of policy-controller, read strictly, and the decision whether an
 * image may run, with an explanation of every rule and every check.
 *
 *     apiVersion: policy.sigstore.dev/v1beta1
 *     kind: ClusterImagePolicy
 *     metadata: { name: web }
 *     spec:
 *       images: [{ glob: 'registry.example.com/web/**' }]
 *       authorities:
 *         - keyless: { identities: [{ subject: ci@example.com, issuer: https://accounts.example.com }] }
 *           signatureFormat: bundle
 *
 *     const { policies } = await parsePolicyFile(text, { defaultTrustRoot });
 *     const decision = await evaluateImage({ image, policies, evidence: imageEvidence({ open }) });
 *     decision.allow; decision.resolvedDigest; decision.explanation;
 *
 * A field that is unknown or not honoured is an error; a regular expression must match the whole text; every signature must be in a log of the trust root.
 * Not here: registries (`oci`), signatures (`image`), Kubernetes' side of admission.
 */
export {
  type AttestationRule,
  type Authority,
  type ImagePolicy,
  type SigningAuthority,
  type StaticAuthority,
  type TrustRoots,
} from './cluster-image-policy.js';
export type { ContentRule } from './content-rule.js';
export { PolicyError, type PolicyErrorCode, type Problem } from './error.js';
export { evaluateImage, type Decision, type EvaluateInput } from './evaluate.js';
export type { Explanation } from './explanation.js';
export {
  imageEvidence,
  type Evidence,
  type EvidencePort,
  type EvidenceQuery,
  type ImageEvidenceOptions,
  type Signature,
} from './evidence.js';
export { compileGlob, namesOf, type Glob } from './glob.js';
export { type IdentityRule, matchesIdentity, type ProvenIdentity, type Text } from './identity.js';
export { parsePolicyFile, type PolicyFile, type PolicyFileOptions } from './policy-file.js';
export { type LabelRule, parseResource, type Resource, type ResourceMatch } from './resource.js';
export { describeProblem } from './section.js';
export type { ReadFile } from './trust-roots.js';
