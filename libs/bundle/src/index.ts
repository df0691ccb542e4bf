/**
 * Sigstore bundles, and what they carry: log entries, DSSE envelopes, in-toto statements.
 *
 * A bundle holds a signature with everything needed to verify it offline:
 *   {"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",
 *    "verificationMaterial":{"certificate":{"rawBytes":"MIIC…"},"tlogEntries":[{"logIndex":"7",…}],
 *                            "timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"MIIE…"}]}},
 *    "messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"oM/H…"},"signature":"MEUC…"}}
 *
 * This lib reads and writes the form, strictly: unknown fields, duplicate keys, foreign characters in base64 and broken
 * version rules are refused. It verifies nothing and does not look into certificates, timestamps or entry bodies.
 */
export {
  BUNDLE_MEDIA_TYPE,
  encodeBundle,
  parseBundle,
  type Bundle,
  type BundleContent,
  type BundleVersion,
  type VerificationMaterial,
} from './bundle.js';
export { IN_TOTO_PAYLOAD_TYPE, pae, type Envelope } from './dsse.js';
export { BundleError, type BundleErrorCode } from './error.js';
export { JsonMessage, type JsonFault, type MakeJsonError } from './json-message.js';
export { parseStatement, type Statement, type Subject } from './statement.js';
export { encodeTlogEntry, parseTlogEntry, type InclusionProof, type TlogEntry } from './tlog-entry.js';
