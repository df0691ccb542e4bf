/**
 * What an entry of the transparency log may be: reading the request to log one, proving its signature, writing its
 * canonical bytes, and reading bodies back, also those of older logs. An entry says that the holder of a key signed
 * something with a digest: in Rekor v2 kind `hashedrekord` 0.0.2 (`dsse` 0.0.2 is its former sibling for envelopes), in
 * Rekor v1 the kinds of the table `proposedKinds`, each in a file `v1-*.ts` with its schema.
 *
 * Not here: certificates and other spellings of keys (v2 takes the key of one, v1 a port), the tree, HTTP.
 *
 * ```ts
 * const request = parseCreateEntryRequest(JSON.parse(body)); // { hashedRekordRequestV002: { digest, signature } }
 * const entry = await verifyEntry(request, { publicKeyOf, verifyDigest, hash });
 * canonicalizeEntry(entry); // {"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":…
 *
 * const { proposeEntry } = await loadProposals();
 * await proposeEntry(JSON.parse(body), ports, { insert: true }); // v1: { body: {"apiVersion":"0.0.1",…, keys, … }
 * ```
 */
import type * as Proposals from './proposals.js';

export { EntryError, type EntryErrorCode, type EntryInvalidReason, type SchemaViolation } from './error.js';
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
export type { PkiCertificate, PkiFormat, PkiFormatName, PkiFormats, PkiKey } from './pki.js';
export type { BodyKeyPorts, ProposedKind, ProposeOptions, V1Contents, V1Ports, V1Proposal } from './v1-proposal.js';
export { checkSearchKeys } from './search-keys.js';
export { statementKeys } from './statement.js';
export type { V1Body } from './v1-body.js';

/**
 * The entries that clients propose to Rekor v1, with their schemas, and what is read back of them: for logs and their readers. Loaded when it is
 * asked for: whoever verifies a bundle would wait for the schemas longer than for the signatures.
 */
export function loadProposals(): Promise<typeof Proposals> {
  return import('./proposals.js');
}
