/**
 * Trust, as files: the trusted root (whose signatures to believe, and for which time) and the signing config (which
 * services to sign with). A trusted root is the only source of trust; what a service says about itself is none.
 *
 * Times are closed ranges: `{"start":"2026-01-01T00:00:00Z","end":"2026-12-31T23:59:59Z"}` holds at both ends.
 *
 *   {"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1",
 *    "tlogs":[{"baseUrl":"https://log.example","hashAlgorithm":"SHA2_256",
 *              "publicKey":{"rawBytes":"MCow…","keyDetails":"PKIX_ED25519","validFor":{"start":"2026-01-01T00:00:00Z"}},
 *              "logId":{"keyId":"8w1a…"}}], "certificateAuthorities":[…], "ctlogs":[…], "timestampAuthorities":[…]}
 *
 * Not here: fetching these files (TUF), and using them (`verify`, `sign`).
 */
export { TrustError, type TrustErrorCode } from './error.js';
export {
  SIGNING_CONFIG_MEDIA_TYPE,
  encodeSigningConfig,
  parseSigningConfig,
  selectServices,
  type Service,
  type ServiceKind,
  type ServiceSelection,
  type SigningConfig,
} from './signing-config.js';
export { isValidAt, type TimeRange } from './time-range.js';
export {
  TRUSTED_ROOT_MEDIA_TYPE,
  encodeTrustedRoot,
  parseTrustedRoot,
  type CertificateAuthority,
  type TlogInstance,
  type TrustedRoot,
} from './trusted-root.js';
