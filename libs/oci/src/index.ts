/**
 * Images and artifacts where they are kept: registries that speak the OCI distribution protocol, and OCI image layout
 * folders. References, manifests, blobs, referrers with their fallback tag, and the credentials that registries ask for.
 * Nothing is given out before its digest is right; whatever a registry sends costs bounded time and memory.
 *
 * Not here: what signatures in a registry mean (`image`), tags that can be believed (`tags`), the command line.
 *
 *     const repository = parseReference('registry.example.com/ns/app:1.2');
 *     const store = openRegistry({ repository, credentials: loadCredentials({ env, home }) });
 *     const { digest } = await store.resolve('1.2');                       // sha256:6a2b…
 *     for await (const listed of store.referrers(digest)) await readReferrer(store, digest, listed);
 */
export { OciError, type OciErrorCode, type OciErrorOptions } from './error.js';
export {
  checkContent,
  type ContentId,
  type Digest,
  type DigestAlgorithm,
  digestOf,
  isDigest,
  parseDigest,
  splitDigest,
} from './digest.js';
export {
  DOCKER_HUB,
  formatReference,
  isRepository,
  isTag,
  parseReference,
  parseRegistry,
  type Reference,
  repositoryOf,
  type SpellingOptions,
  withDefaultTag,
} from './reference.js';
export {
  artifactTypeOf,
  type Descriptor,
  emptyConfig,
  encodeDescriptor,
  type ImageIndex,
  type ImageManifest,
  isManifestType,
  type Manifest,
  MAX_DESCRIPTORS,
  MAX_MANIFEST_BYTES,
  mediaTypes,
  parseManifest,
  type Platform,
} from './manifest.js';
export {
  type BlobContent,
  type ImageStore,
  type PutBlobOptions,
  type PutManifestResult,
  readReferrer,
  type StoredManifest,
} from './store.js';
export { anonymous, type Credential, type Credentials, credentialsFor } from './credentials.js';
export { type CredentialSources, loadCredentials } from './credential-files.js';
export { fallbackTag } from './fallback.js';
export {
  openRegistry,
  type RegistryLimits,
  type RegistryOptions,
  type RegistryStore,
  type RegistryTimeouts,
} from './registry.js';
export { type TlsOptions } from './transport.js';
export { type Patience } from './http.js';
export { type HelperOutput, type RunHelper } from './credential-helper.js';
export { type LayoutOptions, type LayoutStore, openLayout } from './layout.js';
