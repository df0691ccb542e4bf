import { opensslCrypto } from '#libs/openssl';
import { encodeTimestampRequest, parseTimestampResponse, verifyTimestamp } from '#libs/timestamp';
import type { TrustedRoot } from '#libs/trust';
import { equalBytes } from '#libs/encoding';
import { SignError } from './error.js';
import { callService, type HttpOptions } from './http.js';

export interface StampRequest {
  /** The full URL that takes requests. */
  url: string;
  /** What is stamped: the raw signature, never the artifact. */
  signature: Uint8Array;
  trustedRoot?: TrustedRoot;
  /** The certificate's validity, in which the time must fall, or no verifier would accept the bundle. */
  validity?: { notBefore: Date; notAfter: Date };
}

const MAX_RESPONSE_BYTES = 1024 * 1024;

/**
 * Obtains a timestamp (DER TimeStampResp) over a signature, and checks nonce, imprint and time; with a trusted root also the authority.
 *
 * @throws SignError `SIGN_TIMESTAMP`, and those of `callService`
 * @see RFC 3161 §2.4
 */
export async function requestTimestamp(request: StampRequest, http: HttpOptions): Promise<Uint8Array> {
  const digest = opensslCrypto.hash('sha256', request.signature);
  const nonce = opensslCrypto.randomBytes(16);
  // An INTEGER is positive and minimal: neither the sign bit nor a leading zero byte may come from chance.
  nonce[0] = ((nonce[0] ?? 0) & 0x7f) | 0x40;
  const { body } = await callService(
    {
      service: 'timestamp authority',
      url: request.url,
      method: 'POST',
      headers: { 'content-type': 'application/timestamp-query', accept: 'application/timestamp-reply' },
      body: encodeTimestampRequest({ imprint: { hash: 'sha256', digest }, nonce, certReq: true }),
      maxBytes: MAX_RESPONSE_BYTES,
    },
    http,
  );
  const genTime = await verifyStamp(body, { ...request, digest, nonce });
  const { validity } = request;
  if (validity !== undefined && (genTime < validity.notBefore || genTime > validity.notAfter)) {
    throw new SignError(
      'SIGN_TIMESTAMP',
      `Cannot use the timestamp: its time ${genTime.toISOString()} is outside the certificate's ${validity.notBefore.toISOString()} to ${validity.notAfter.toISOString()}`,
      { cure: 'The clocks of the certificate authority and the timestamp authority differ: set them' },
    );
  }
  return body;
}

async function verifyStamp(
  body: Uint8Array,
  wanted: StampRequest & { digest: Uint8Array; nonce: Uint8Array },
): Promise<Date> {
  try {
    const { imprint, nonce, genTime } = parseTimestampResponse(body);
    if (imprint.hash !== 'sha256' || !equalBytes(imprint.digest, wanted.digest))
      throw new Error('it is over other data');
    if (nonce === undefined || !equalBytes(nonce, wanted.nonce)) throw new Error('its nonce is not the one sent');
    if (wanted.trustedRoot !== undefined) {
      await verifyTimestamp(body, {
        signature: wanted.signature,
        authorities: wanted.trustedRoot.timestampAuthorities,
        crypto: opensslCrypto,
        nonce: wanted.nonce,
      });
    }
    return genTime;
  } catch (cause) {
    throw new SignError(
      'SIGN_TIMESTAMP',
      `Cannot use the timestamp of ${wanted.url}: ${cause instanceof Error ? cause.message : 'unreadable'}`,
      {
        cause,
        cure: 'Check that the timestamp authority is the right one and that the trusted root has its certificates',
      },
    );
  }
}
