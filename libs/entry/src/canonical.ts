import { compareBytes, encodeBase64, encodeUtf8 } from '#libs/encoding';
import { knownAlgorithm, type Entry, type LabelledVerifier } from './entry.js';
import { EntryError } from './error.js';

/** Tiles frame each entry with a 16-bit length (C2SP tlog-tiles). */
const MAX_BODY_BYTES = 65_535;

/**
 * The bytes that a log stores and hashes as the leaf: RFC 8785 canonical JSON of the entry, at most 65535 bytes. They
 * are written down here in their final order of keys; base64 and the names of the registry need no escaping.
 * @throws EntryError `ENTRY_TOO_LARGE`
 * @see sigstore/rekor-tiles, api/proto/rekor/v2/entry.proto
 */
export function canonicalizeEntry(entry: Entry): Uint8Array {
  const text = entry.kind === 'hashedrekord' ? hashedRekordText(entry) : dsseText(entry);
  // All of it is ASCII: characters are bytes.
  if (text.length > MAX_BODY_BYTES) {
    throw new EntryError(
      'ENTRY_TOO_LARGE',
      `Cannot accept entry: body has ${text.length} bytes, at most ${MAX_BODY_BYTES} are stored`,
    );
  }
  return encodeUtf8(text);
}

function hashedRekordText(entry: Extract<Entry, { kind: 'hashedrekord' }>): string {
  const { hashName } = knownAlgorithm(entry.keyDetails);
  const data = `{"algorithm":"${hashName}","digest":"${encodeBase64(entry.digest)}"}`;
  const spec = `{"hashedRekordV002":{"data":${data},"signature":${signatureText(entry.signature, entry)}}}`;
  return `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":${spec}}`;
}

function dsseText(entry: Extract<Entry, { kind: 'dsse' }>): string {
  const payloadHash = `{"algorithm":"SHA2_256","digest":"${encodeBase64(entry.payloadHash)}"}`;
  // By raw bytes, so that an envelope is one entry however its signatures were ordered.
  const signatures = [...entry.signatures].sort((a, b) => compareBytes(a.signature, b.signature));
  const list = signatures.map((item) => signatureText(item.signature, item)).join();
  const spec = `{"dsseV002":{"payloadHash":${payloadHash},"signatures":[${list}]}}`;
  return `{"apiVersion":"0.0.2","kind":"dsse","spec":${spec}}`;
}

function signatureText(signature: Uint8Array, { keyDetails, verifier }: LabelledVerifier): string {
  const [member, bytes] =
    'publicKey' in verifier ? ['publicKey', verifier.publicKey] : ['x509Certificate', verifier.x509Certificate];
  const held = `"${member}":{"rawBytes":"${encodeBase64(bytes)}"}`;
  return `{"content":"${encodeBase64(signature)}","verifier":{"keyDetails":"${keyDetails}",${held}}}`;
}
