/**
 * RFC 3161 timestamps: an authority's statement that a digest existed at a time. Requests (DER, and the JSON form of
 * Sigstore's timestamp authority), tokens as that authority writes them, and their verification.
 *
 * Not here: HTTP, keys and where chains come from, serial numbers (random ones of the caller), other uses of CMS.
 *
 * ```ts
 * const timestamper = createTimestamper({ signer, chain, policy: '1.3.6.1.4.1.57264.2', acceptedPolicies: [], hash });
 * const response = timestamper.issue(parseTimestampRequest(der), { now: new Date(), serial: randomBytes(20) });
 * const { genTime } = await verifyTimestamp(response, { signature, authorities, crypto });
 * ```
 */
export { TimestampError, type TimestampErrorCode } from './errors.js';
export type { MessageImprint } from './imprint.js';
export { encodeTimestampRequest, parseTimestampJson, parseTimestampRequest, type TimestampRequest } from './request.js';
export {
  createTimestamper,
  issueTimestamp,
  type Issuance,
  type Timestamper,
  type TimestamperOptions,
} from './issue.js';
export type { Accuracy, TstInfo } from './tst-info.js';
export { parseTimestampResponse, type SignerInfo, type Timestamp } from './response.js';
export {
  verifyTimestamp,
  type TrustedAuthority,
  type VerifiedTimestamp,
  type VerifyTimestampOptions,
} from './verify.js';
