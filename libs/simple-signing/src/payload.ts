import { encodeUtf8, hasLoneSurrogate, type JsonValue } from '#libs/encoding';
import { quoted, SimpleSigningError } from './error.js';
import { isJsonObject, openFields, readJson } from './json.js';
import { isDigest } from './reference.js';

/** What a signature of the one kind and the other says of itself. */
export type PayloadType = 'atomic container signature' | 'cosign container image signature';

/** What is signed: this name means this manifest. */
export interface SignedPayload {
  readonly type: PayloadType;
  /** As it was signed, which need not be a reference at all. */
  readonly dockerReference: string;
  /** `sha256:<hex>`, or of SHA-384 or SHA-512. */
  readonly manifestDigest: string;
  /** The program that signed, as it says. */
  readonly creator?: string;
  /** When it was signed, as the signer says; seconds since 1970. */
  readonly timestamp?: number;
}

/** A payload has some 300 bytes; a reference cannot be longer than 600. */
const MAX_PAYLOAD = 65_536;
const MAX_TEXT = 4096;
const code = 'SIMPLE_PAYLOAD';

/**
 * Reads a payload, strictly: duplicate members anywhere, and unknown ones in all that is critical, are refused, as another
 * reader might believe them. Members of `optional` that nobody knows are passed over.
 * @throws SimpleSigningError `SIMPLE_PAYLOAD`, `SIMPLE_TOO_LARGE`
 * @see containers-signature(5), "The payload"
 */
export function parsePayload(bytes: Uint8Array, type: PayloadType = 'atomic container signature'): SignedPayload {
  const value = readJson(bytes, { code, what: 'the payload of the signature', maxLength: MAX_PAYLOAD });
  const top = openFields(value, { code, what: 'the payload of the signature', known: ['critical', 'optional'] });
  const critical = openFields(top.object['critical'], { code, what: 'critical', known: ['type', 'image', 'identity'] });
  const given = critical.requiredText('type');
  if (given !== type) throw critical.fault('type', `is ${quoted(given)}, and not ${quoted(type)}`);
  const image = openFields(critical.object['image'], {
    code,
    what: 'critical.image',
    known: ['docker-manifest-digest'],
  });
  const manifestDigest = image.requiredText('docker-manifest-digest');
  if (!isDigest(manifestDigest)) throw image.fault('docker-manifest-digest', 'is no digest');
  const identity = openFields(critical.object['identity'], {
    code,
    what: 'critical.identity',
    known: ['docker-reference'],
  });
  const dockerReference = identity.requiredText('docker-reference');
  if (dockerReference.length > MAX_TEXT) throw identity.fault('docker-reference', 'is too long');
  return { type, dockerReference, manifestDigest, ...readOptional(top.object['optional'], type) };
}

function readOptional(value: JsonValue | undefined, type: PayloadType): { creator?: string; timestamp?: number } {
  // cosign writes null when there are no annotations.
  if (value === null && type === 'cosign container image signature') return {};
  const optional = openFields(value, { code, what: 'optional', known: 'any' });
  const creator = optional.text('creator');
  const timestamp = optional.object['timestamp'];
  if (timestamp !== undefined && !(typeof timestamp === 'number' && Number.isSafeInteger(timestamp))) {
    throw optional.fault('timestamp', 'is no whole number');
  }
  return { ...(creator !== undefined && { creator }), ...(timestamp !== undefined && { timestamp }) };
}

/**
 * The payload as bytes, members in the order in which containers/image writes them.
 * @throws SimpleSigningError `SIMPLE_PAYLOAD` if it says something that `parsePayload` would not read
 */
export function encodePayload(payload: SignedPayload): Uint8Array {
  const { type, dockerReference, manifestDigest, creator, timestamp } = payload;
  const bad = (state: string) => new SimpleSigningError(code, `Cannot write the payload of the signature: ${state}`);
  if (!isDigest(manifestDigest)) throw bad('its digest is malformed');
  if (dockerReference === '' || dockerReference.length > MAX_TEXT) throw bad('its reference is empty or too long');
  if ([dockerReference, creator ?? ''].some(hasLoneSurrogate)) throw bad('a text in it is not Unicode');
  if ((creator?.length ?? 0) > MAX_TEXT) throw bad('its creator is too long');
  if (timestamp !== undefined && !Number.isSafeInteger(timestamp)) throw bad('its timestamp is no whole number');
  return encodeUtf8(
    JSON.stringify({
      critical: {
        identity: { 'docker-reference': dockerReference },
        image: { 'docker-manifest-digest': manifestDigest },
        type,
      },
      // JSON.stringify leaves out what is undefined; -0 it writes as 0.
      optional: { creator, timestamp },
    }),
  );
}

/** Whether these bytes are JSON with the members of a payload, right or wrong: for telling a payload that was not signed from a signature. */
export function looksLikePayload(bytes: Uint8Array): boolean {
  try {
    const value = readJson(bytes, { code, what: 'the payload', maxLength: MAX_PAYLOAD });
    return isJsonObject(value) && 'critical' in value;
  } catch (error) {
    if (error instanceof SimpleSigningError) return false;
    throw error;
  }
}
