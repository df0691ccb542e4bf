/**
 * What an entry of the transparency log may be: reading the request to log one, proving its signature, writing its
 * canonical bytes, and reading bodies back, also those of older logs. An entry says that the holder of a key signed
 * something with a digest: kind `hashedrekord` 0.0.2; `dsse` 0.0.2 is its former sibling for envelopes.
 *
 * Not here: certificates (the caller hands in the key of one), the tree, HTTP.
 *
 * ```ts
 * const request = parseCreateEntryRequest(JSON.parse(body)); // { hashedRekordRequestV002: { digest, signature } }
 * const entry = await verifyEntry(request, { publicKeyOf, verifyDigest, hash });
 * canonicalizeEntry(entry); // {"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":…
 * ```
 */
export { EntryError, type EntryErrorCode, type EntryInvalidReason } from './error.js';
export {
  chooseEntryAlgorithms,
  entryAlgorithms,
  type CreateEntryRequest,
  type Digest,
  type DsseEntry,
  type DsseRequest,
  type Entry,
  type HashedRekord,
  type LabelledVerifier,
  type Verifier,
} from './entry.js';
export { parseCreateEntryRequest, type RequestOptions } from './request.js';
export { verifyEntry, type EntryVerification, type VerifyDigest } from './verify.js';
export { canonicalizeEntry } from './canonical.js';
export { parseEntryBody, type BodySignature, type EntryBody } from './body.js';
