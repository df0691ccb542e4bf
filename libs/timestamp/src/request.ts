import {
  derBoolean,
  derElement,
  derInteger,
  derOid,
  DerReader,
  derSequence,
  derTag,
  EncodingError,
  parseBase64,
  parseDer,
  parseJson,
  readBoolean,
  readInteger,
  readOctetString,
  readOid,
  type DerElement,
  type JsonValue,
} from '#libs/encoding';
import type { HashAlgorithm } from '#libs/crypto';
import { converting, TimestampError } from './errors.js';
import { checkImprint, encodeImprint, readImprint, type MessageImprint } from './imprint.js';
import { oid } from './oid.js';

/** What a client asks to have stamped (RFC 3161 §2.4.1). */
export interface TimestampRequest {
  readonly imprint: MessageImprint;
  /** Dotted OID of the policy to stamp under; absent: the authority's own. */
  readonly policy?: string;
  /** Contents of the INTEGER as they came, of any size and sign: a token echoes them byte for byte. */
  readonly nonce?: Uint8Array;
  /** Whether the token shall carry the signing certificate. */
  readonly certReq: boolean;
  /** Extensions as they came: the elements of the `SEQUENCE OF Extension`, without its tag and length. */
  readonly extensions?: Uint8Array;
}

/** A request with every field is a few hundred bytes; a nonce of this size is nobody's. */
const MAX_REQUEST = 65_536;
/** Limit of the JSON form, from Sigstore's timestamp authority: long numbers are slow to read. */
const MAX_JSON = 1024;

/**
 * Reads a DER TimeStampReq. Strict: version 1, minimal DER, nothing after the end.
 * @throws TimestampError `TIMESTAMP_TOO_LARGE`, `TIMESTAMP_MALFORMED`, then `TIMESTAMP_WEAK_HASH`,
 *   `TIMESTAMP_HASH_UNKNOWN`, `TIMESTAMP_DIGEST_LENGTH`
 * @see RFC 3161 §2.4.1
 */
export function parseTimestampRequest(der: Uint8Array): TimestampRequest {
  if (der.length > MAX_REQUEST) throw tooLarge(der.length, MAX_REQUEST);
  return converting('Cannot parse timestamp request', () => readRequest(new DerReader(parseDer(der), derTag.sequence)));
}

// TimeStampReq ::= SEQUENCE { version INTEGER { v1(1) }, messageImprint, reqPolicy OID OPTIONAL, nonce INTEGER OPTIONAL,
//   certReq BOOLEAN DEFAULT FALSE, extensions [0] IMPLICIT Extensions OPTIONAL }
function readRequest(reader: DerReader): TimestampRequest {
  if (readInteger(reader.next(derTag.integer)) !== 1n) throw malformed('version is not 1');
  const raw = readImprint(reader.next(derTag.sequence));
  const policy = reader.optional(derTag.oid);
  const nonce = reader.optional(derTag.integer);
  const certReq = reader.optional(derTag.boolean);
  const extensions = reader.optional(derTag.context(0));
  reader.end();
  if (nonce !== undefined) readInteger(nonce);
  // X.690 §11.5: a value equal to the default is not encoded.
  if (certReq !== undefined && !readBoolean(certReq)) throw malformed('the default of certReq is spelled out');
  const fields = {
    ...(policy && { policy: readOid(policy) }),
    ...(nonce && { nonce: nonce.contents }),
    certReq: certReq !== undefined,
    ...(extensions && { extensions: checkExtensions(extensions) }),
  };
  // Last: whatever else is wrong with a request comes first, so that each code has one meaning.
  return { imprint: checkImprint(raw), ...fields };
}

/**
 * The contents of an `[n] IMPLICIT Extensions`, once every extension is well-formed.
 * `Extension ::= SEQUENCE { extnID OID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }` (RFC 5280 §4.1)
 */
function checkExtensions(element: DerElement): Uint8Array {
  const list = new DerReader(element);
  do readExtension(list.next(derTag.sequence));
  while (!list.done);
  return element.contents;
}

/** Whether the extension is critical. */
export function readExtension(element: DerElement): boolean {
  const reader = new DerReader(element, derTag.sequence);
  readOid(reader.next(derTag.oid));
  const critical = reader.optional(derTag.boolean);
  if (critical !== undefined && !readBoolean(critical))
    throw malformed('the default of a critical flag is spelled out');
  readOctetString(reader.next(derTag.octetString));
  reader.end();
  return critical !== undefined;
}

/**
 * The DER of a request, for clients.
 * @throws TimestampError `TIMESTAMP_MALFORMED` if the nonce is not the contents of a minimal INTEGER,
 *   `TIMESTAMP_OID`, `TIMESTAMP_DIGEST_LENGTH`
 */
export function encodeTimestampRequest(
  request: Omit<TimestampRequest, 'certReq'> & { readonly certReq?: boolean },
): Uint8Array {
  const { imprint, policy, nonce, certReq, extensions } = request;
  checkImprint({ algorithm: oid[imprint.hash], digest: imprint.digest });
  const parts = [derInteger(1n), encodeImprint(imprint)];
  if (policy !== undefined) parts.push(encodePolicy(policy));
  if (nonce !== undefined) parts.push(encodeNonce(nonce));
  if (certReq === true) parts.push(derBoolean(true));
  if (extensions !== undefined) parts.push(derElement(derTag.context(0), extensions));
  return derSequence(...parts);
}

function encodeNonce(contents: Uint8Array): Uint8Array {
  return converting('Cannot encode timestamp request', () => {
    const der = derElement(derTag.integer, contents);
    readInteger(parseDer(der));
    return der;
  });
}

/**
 * The DER of a policy's OID.
 * @throws TimestampError `TIMESTAMP_OID`
 */
export function encodePolicy(dotted: string): Uint8Array {
  try {
    return derOid(dotted);
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw new TimestampError('TIMESTAMP_OID', 'Cannot read policy: text is not an OID of at most 128 bytes', { cause });
  }
}

/**
 * Reads the JSON form of Sigstore's timestamp authority, at most 1024 bytes:
 * `{"artifactHash": "<base64>", "hashAlgorithm": "sha256", "certificates": false, "nonce": 1, "tsaPolicyOID": "1.2.3"}`.
 * `nonce` is exact at any size; members not listed are ignored.
 * @throws TimestampError `TIMESTAMP_TOO_LARGE`, `TIMESTAMP_MALFORMED`, `TIMESTAMP_OID`, then `TIMESTAMP_WEAK_HASH`,
 *   `TIMESTAMP_HASH_UNKNOWN`, `TIMESTAMP_DIGEST_LENGTH`
 * @see sigstore/timestamp-authority: openapi.yaml, JSONRequest
 */
export function parseTimestampJson(text: string | Uint8Array): TimestampRequest {
  // A string is counted in UTF-16 code units, never more than its bytes: the limit is one on work, either will do.
  if (text.length > MAX_JSON) throw tooLarge(text.length, MAX_JSON);
  return converting('Cannot parse timestamp request', () => {
    const json = parseJson(text, { bigIntegers: true, maxDepth: 8 });
    if (json === null || typeof json !== 'object' || Array.isArray(json)) throw malformed('JSON is not an object');
    const digest = parseBase64(stringMember(json, 'artifactHash'));
    if (digest.length === 0) throw malformed('artifactHash is empty');
    const policy = stringMember(json, 'tsaPolicyOID');
    if (policy !== '') encodePolicy(policy);
    const nonce = nonceMember(json);
    const certReq = json['certificates'] ?? false;
    if (typeof certReq !== 'boolean') throw malformed('certificates is not a boolean');
    return {
      imprint: checkImprint({ algorithm: oidOfName(stringMember(json, 'hashAlgorithm')), digest }),
      ...(policy !== '' && { policy }),
      ...(nonce && { nonce }),
      certReq,
    };
  });
}

function stringMember(json: Readonly<Record<string, JsonValue>>, name: string): string {
  const value = json[name] ?? '';
  if (typeof value !== 'string') throw malformed(`${name} is not a string`);
  return value;
}

function nonceMember(json: Readonly<Record<string, JsonValue>>): Uint8Array | undefined {
  const value = json['nonce'] ?? undefined;
  if (value === undefined) return undefined;
  // A number beyond the safe integers was written with a fraction or exponent: what it means exactly is lost.
  if (typeof value !== 'bigint' && !Number.isSafeInteger(value)) throw malformed('nonce is not an integer');
  return parseDer(derInteger(BigInt(value as number | bigint))).contents; // a safe integer is a number
}

/** As the wire names hashes in JSON; `checkImprint` has the last word, so an unknown name stays what it is. */
function oidOfName(name: string): string {
  const lower = name.toLowerCase();
  if (lower === 'sha1') return oid.sha1;
  const known: readonly HashAlgorithm[] = ['sha256', 'sha384', 'sha512'];
  const hash = known.find((candidate) => candidate === lower);
  if (hash === undefined) {
    throw new TimestampError(
      'TIMESTAMP_HASH_UNKNOWN',
      'Cannot accept message imprint: hashAlgorithm is not sha256, sha384 or sha512',
    );
  }
  return oid[hash];
}

function malformed(state: string): TimestampError {
  return new TimestampError('TIMESTAMP_MALFORMED', `Cannot parse timestamp request: ${state}`);
}

function tooLarge(length: number, limit: number): TimestampError {
  return new TimestampError(
    'TIMESTAMP_TOO_LARGE',
    `Cannot parse timestamp request: ${length} bytes, at most ${limit} are read`,
  );
}
