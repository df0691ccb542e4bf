import { concatBytes, encodeUtf8 } from '#libs/encoding';

/** The payload type of an in-toto statement, the only one that Sigstore clients accept in a bundle. */
export const IN_TOTO_PAYLOAD_TYPE = 'application/vnd.in-toto+json';

/** A DSSE envelope with exactly one signature, as bundles require. */
export interface Envelope {
  payload: Uint8Array;
  payloadType: string;
  /** One item. `keyid` is a hint and never decides anything. */
  signatures: { sig: Uint8Array; keyid: string }[];
}

/**
 * The bytes that a DSSE signature covers: `"DSSEv1" SP len(type) SP type SP len(body) SP body`.
 * Lengths count bytes of UTF-8, not characters.
 * @example pae('t', utf8('hello')) // the bytes of "DSSEv1 1 t 5 hello"
 * @see secure-systems-lab/dsse: protocol.md, "Signature Definition"
 */
export function pae(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = encodeUtf8(payloadType);
  return concatBytes(encodeUtf8(`DSSEv1 ${type.length} `), type, encodeUtf8(` ${payload.length} `), payload);
}
