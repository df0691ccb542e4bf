import { EncodingError, encodeUtf8, parseJson } from '#libs/encoding';
import type { Digest } from '#libs/oci';
import { ImageError } from './error.js';
import { fieldsOf, textsOf } from './statement.js';

/** What the legacy layout signs: cosign's variant of Red Hat's Simple Signing payload. */
export interface SimplePayload {
  /** Which repository the signer meant. cosign does not check it, and neither do we: a copy elsewhere is the same image. */
  dockerReference: string;
  digest: string;
  annotations: Record<string, string>;
}

/** The other payloads of this family are signed for other purposes. */
const PAYLOAD_TYPE = 'cosign container image signature';
const MAX_PAYLOAD_BYTES = 1024 * 1024;

/** The bytes to sign. @see sigstore/cosign: specs/SIGNATURE_SPEC.md, "Payload" */
export function encodePayload(
  digest: Digest,
  { dockerReference, annotations = {} }: { dockerReference: string; annotations?: Readonly<Record<string, string>> },
): Uint8Array {
  return encodeUtf8(
    JSON.stringify({
      critical: {
        identity: { 'docker-reference': dockerReference },
        image: { 'docker-manifest-digest': digest },
        type: PAYLOAD_TYPE,
      },
      optional: Object.keys(annotations).length > 0 ? annotations : null,
    }),
  );
}

/**
 * Reads a payload whose signature was verified. Unknown members are left alone, as cosign does; duplicate ones are refused.
 * @throws ImageError `IMAGE_LEGACY`
 */
export function parsePayload(bytes: Uint8Array): SimplePayload {
  const refuse = (problem: string, cause?: unknown) =>
    new ImageError('IMAGE_LEGACY', `Cannot read signature payload: ${problem}`, { cause });
  let payload;
  try {
    payload = fieldsOf(parseJson(bytes, { maxLength: MAX_PAYLOAD_BYTES }));
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw refuse('it is not JSON', error);
  }
  const critical = fieldsOf(payload['critical']);
  const type = critical['type'];
  if (type !== PAYLOAD_TYPE) {
    throw refuse(`its type is ${JSON.stringify(type ?? null).slice(0, 100)}, expected ${JSON.stringify(PAYLOAD_TYPE)}`);
  }
  const digest = fieldsOf(critical['image'])['docker-manifest-digest'];
  if (typeof digest !== 'string') throw refuse('it names no digest');
  const reference = fieldsOf(critical['identity'])['docker-reference'];
  return {
    dockerReference: typeof reference === 'string' ? reference : '',
    digest,
    annotations: textsOf(fieldsOf(payload['optional'])),
  };
}
