/**
 * The byte formats everything else is written in: base64, hex, UTF-8, PEM, DER, the TLS presentation language and JSON,
 * also canonical JSON. Each parser accepts one spelling and throws `EncodingError`; each encoder writes that spelling.
 *
 * Not here: what the bytes mean. Certificates are in `x509`, keys in `crypto`, notes in `note`.
 *
 * ```ts
 * const spki = new DerReader(parseDer(bytes), derTag.sequence);
 * const algorithm = readOid(new DerReader(spki.next(derTag.sequence)).next(derTag.oid));
 * const key = readBitString(spki.next(derTag.bitString));
 * spki.end();
 * ```
 */
export { EncodingError, type EncodingErrorCode } from './errors.js';
export { concatBytes, compareBytes, equalBytes } from './bytes.js';
export { encodeBase64, encodeBase64Url, parseAnyBase64, parseBase64, parseBase64Url } from './base64.js';
export { encodeHex, parseHex } from './hex.js';
export { encodeUtf8, hasLoneSurrogate, parseUtf8 } from './utf8.js';
export { encodePem, parsePem, type PemBlock } from './pem.js';
export {
  derChildren,
  DerReader,
  derTag,
  parseDer,
  readBits,
  readBitString,
  readBoolean,
  readInteger,
  readNull,
  readOctetString,
  readOid,
  readString,
  readTime,
  type DerElement,
} from './der-reader.js';
export {
  derBitString,
  derBoolean,
  derConstructed,
  derElement,
  derExplicit,
  derGeneralizedTime,
  derIa5String,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derPrintableString,
  derSequence,
  derSet,
  derSetOf,
  derTime,
  derUtcTime,
  derUtf8String,
} from './der-writer.js';
export { TlsReader, TlsWriter } from './tls.js';
export { canonicalizeJson, parseJson, type JsonValue, type ParseJsonOptions } from './json.js';
