import { encodePem } from '#libs/encoding';
import type { CryptoPort } from '#libs/crypto';
import { createTimestamper, parseTimestampRequest, type Timestamper } from '#libs/timestamp';
import type { TimestampAuthority } from './authority.js';
import { TsaRequestError } from './errors.js';
import { parseJsonRequest } from './wire.js';

/** Sigstore's time-stamp policy (timestamp-authority: docs/tsa-policy.md). */
export const defaultPolicy = '1.3.6.1.4.1.57264.2';

/** A timestamp request as it came over HTTP, turned into a token. */
export class IssueTimestamp {
  readonly chainPem: string;
  readonly successStatus: 200 | 201;
  readonly #timestamper: Timestamper;
  readonly #expires: number;

  constructor(
    private readonly parts: {
      authority: TimestampAuthority;
      crypto: CryptoPort;
      now: () => Date;
      acceptedPolicies: readonly string[];
      includeChain: boolean;
      successStatus: 200 | 201;
    },
  ) {
    const { chain, signer } = parts.authority;
    this.chainPem = chain.map(({ der }) => encodePem('CERTIFICATE', der)).join('');
    this.successStatus = parts.successStatus;
    this.#expires = Math.min(...chain.map(({ notAfter }) => notAfter.getTime()));
    this.#timestamper = createTimestamper({
      signer,
      chain: [...chain],
      policy: defaultPolicy,
      acceptedPolicies: [...parts.acceptedPolicies],
      includeChain: parts.includeChain,
      hash: parts.crypto.hash,
    });
  }

  /** Whether a certificate of the chain has expired, so that no token would verify. */
  get expired(): boolean {
    return this.parts.now().getTime() > this.#expires;
  }

  /**
   * @throws TsaRequestError for the wrong kind of request
   * @throws TimestampError for a request that cannot be stamped
   */
  issue(request: {
    body: Uint8Array | undefined;
    contentType: string | undefined;
    accept: string | undefined;
  }): Uint8Array {
    const mediaType = (request.contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
    if (mediaType !== 'application/timestamp-query' && mediaType !== 'application/json') {
      throw new TsaRequestError(
        'TSA_MEDIA_TYPE',
        // What is not named is read as bytes (RFC 9110 §8.3).
        `unsupported media type "${mediaType.slice(0, 100) || 'application/octet-stream'}", only [application/json application/timestamp-query] are allowed`,
      );
    }
    if (!accepts(request.accept)) {
      throw new TsaRequestError(
        'TSA_NOT_ACCEPTABLE',
        'unsupported media type requested, only [application/timestamp-reply] are available',
      );
    }
    if (request.body === undefined || request.body.length === 0) {
      throw new TsaRequestError('TSA_EMPTY', 'request in body is required');
    }
    const parsed =
      mediaType === 'application/json' ? parseJsonRequest(request.body) : parseTimestampRequest(request.body);
    const now = this.parts.now();
    // A token under an expired certificate verifies nowhere; better to fail here, where somebody looks.
    if (now.getTime() > this.#expires) throw new Error("The timestamp authority's certificate chain has expired");
    return this.#timestamper.issue(parsed, { now, serial: positiveSerial(this.parts.crypto.randomBytes(20)) });
  }
}

/** 160 random bits; never zero, because RFC 3161 wants a unique positive number. */
function positiveSerial(bytes: Uint8Array): Uint8Array {
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) | 1;
  return bytes;
}

function accepts(accept: string | undefined): boolean {
  if (accept === undefined || accept.trim() === '') return true;
  return accept
    .split(',', 32)
    .map((range) => range.split(';', 1)[0]?.trim().toLowerCase())
    .some((range) => range === '*/*' || range === 'application/*' || range === 'application/timestamp-reply');
}
