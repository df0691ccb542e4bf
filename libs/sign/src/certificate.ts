import {
  derBitString,
  derElement,
  derInteger,
  derOid,
  derSequence,
  encodeBase64,
  encodePem,
  encodeUtf8,
  equalBytes,
  type JsonValue,
} from '#libs/encoding';
import { opensslCrypto } from '#libs/openssl';
import { isValidAt, type TrustedRoot } from '#libs/trust';
import {
  buildChain,
  embeddedScts,
  parseCertificatePem,
  verifyCertificateSignature,
  verifySct,
  type Certificate,
  type Sct,
} from '#libs/x509';
import { SignError } from './error.js';
import { callService, joinUrl, parseJsonResponse, type HttpOptions } from './http.js';
import type { SigningKey } from './key.js';

export interface CertificateRequest {
  /** Base URL of the CA. */
  url: string;
  /** An OpenID Connect identity token, a compact JWT. */
  token: string;
  key: SigningKey;
  /** With it the chain and the SCT are verified; without it only that the chain fits together. */
  trustedRoot?: TrustedRoot;
  nowMs: number;
}

// A chain of certificates is a few kilobytes.
const MAX_RESPONSE_BYTES = 1024 * 1024;
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';

/**
 * Exchanges an identity token for a short-lived certificate over our key, and refuses to go on with a wrong one.
 *
 * The proof of possession is a certificate request's own signature and not one over the token's subject: which claim is the subject
 * depends on the issuer's kind, which the CA knows and we would have to guess.
 *
 * @throws SignError `SIGN_CERTIFICATE_*`, `SIGN_RESPONSE_MALFORMED`, and those of `callService`
 * @see Fulcio's API v2, CreateSigningCertificate; RFC 2986
 */
export async function requestCertificate(request: CertificateRequest, http: HttpOptions): Promise<Certificate> {
  const csr = encodePem('CERTIFICATE REQUEST', await certificationRequest(request.key));
  const response = await callService(
    {
      service: 'certificate authority',
      url: joinUrl(request.url, '/api/v2/signingCert'),
      method: 'POST',
      headers: { authorization: `Bearer ${request.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ certificateSigningRequest: encodeBase64(encodeUtf8(csr)) }),
      maxBytes: MAX_RESPONSE_BYTES,
    },
    http,
  );
  const chain = parseChain(parseJsonResponse('certificate authority', response));
  await verifyIssued(chain, request);
  // parseChain() returns at least one.
  return chain[0] as Certificate;
}

/**
 * ```asn1
 * CertificationRequest ::= SEQUENCE { info CertificationRequestInfo, signatureAlgorithm, signature BIT STRING }
 * CertificationRequestInfo ::= SEQUENCE { version INTEGER {0}, subject Name, subjectPKInfo, attributes [0] }
 * ```
 * The subject stays empty: the CA takes the name from the token. Only P-256 keys come here (RFC 5758 §3.2).
 */
async function certificationRequest(key: SigningKey): Promise<Uint8Array> {
  const info = derSequence(derInteger(0n), derSequence(), key.publicKey.spki, derElement(0xa0, new Uint8Array(0)));
  const { signature } = await key.signChunks([info]);
  const ecdsaWithSha256 = derSequence(derOid('1.2.840.10045.4.3.2'));
  return derSequence(info, ecdsaWithSha256, derBitString(signature));
}

/** Leaf first. A detached SCT is refused: a bundle has no place for one. */
function parseChain(json: JsonValue): Certificate[] {
  const answer = isObject(json) ? json : {};
  if (isObject(answer['signedCertificateDetachedSct'])) {
    throw new SignError(
      'SIGN_CERTIFICATE_SCT',
      'Cannot use the certificate: the certificate authority gave its SCT apart from it, and a bundle cannot carry that',
      { cure: 'Let the certificate authority embed SCTs' },
    );
  }
  const embedded = answer['signedCertificateEmbeddedSct'];
  const chain = isObject(embedded) ? embedded['chain'] : undefined;
  const list = isObject(chain) ? chain['certificates'] : undefined;
  try {
    if (
      !Array.isArray(list) ||
      list.length === 0 ||
      list.length > 10 ||
      !list.every((pem) => typeof pem === 'string')
    ) {
      throw new Error('signedCertificateEmbeddedSct.chain.certificates is not a list of 1 to 10 PEM texts');
    }
    return list.flatMap((pem) => parseCertificatePem(pem));
  } catch (cause) {
    throw new SignError(
      'SIGN_RESPONSE_MALFORMED',
      `Cannot read the answer of the certificate authority: ${cause instanceof Error ? cause.message : 'no certificate'}`,
      { cause },
    );
  }
}

async function verifyIssued(chain: Certificate[], { key, trustedRoot, nowMs }: CertificateRequest): Promise<void> {
  const [leaf, next] = chain;
  if (leaf === undefined)
    throw new SignError(
      'SIGN_RESPONSE_MALFORMED',
      'Cannot read the answer of the certificate authority: no certificate',
    );
  if (!equalBytes(leaf.spki, key.publicKey.spki)) {
    throw new SignError(
      'SIGN_CERTIFICATE_KEY',
      'Cannot use the certificate: it is for another key than the one requested',
    );
  }
  if (leaf.notAfter.getTime() <= nowMs) {
    throw new SignError(
      'SIGN_CERTIFICATE_TIME',
      `Cannot use the certificate: it was valid until ${leaf.notAfter.toISOString()}, now it is ${new Date(nowMs).toISOString()}`,
      { cure: 'Set the clock of this machine, or that of the certificate authority' },
    );
  }
  const scts = readScts(leaf);
  if (scts.length === 0) {
    throw new SignError('SIGN_CERTIFICATE_SCT', 'Cannot use the certificate: it has no embedded SCT', {
      cure: 'Let the certificate authority submit its certificates to a CT log',
    });
  }
  if (trustedRoot === undefined) {
    if (next !== undefined && !(await verifyCertificateSignature(leaf, next, opensslCrypto))) {
      throw new SignError(
        'SIGN_CERTIFICATE_CHAIN',
        'Cannot use the certificate: the next one in the answer did not sign it',
      );
    }
    return;
  }
  const issuer = await findIssuer(leaf, chain.slice(1), trustedRoot);
  const failures: string[] = [];
  for (const sct of scts) {
    const log = trustedRoot.ctlogs.find(
      ({ logId, validFor }) => equalBytes(logId, sct.logId) && isValidAt(validFor, new Date(Number(sct.timestampMs))),
    );
    if (log === undefined) {
      failures.push(`the CT log ${encodeBase64(sct.logId)} is not in the trusted root at that time`);
      continue;
    }
    try {
      await verifySct(sct, leaf, issuer, log.publicKey, opensslCrypto);
      return;
    } catch (error) {
      failures.push(error instanceof Error ? error.message : 'the SCT does not verify');
    }
  }
  throw new SignError('SIGN_CERTIFICATE_SCT', `Cannot use the certificate: ${failures.join('; ')}`, {
    cure: 'Check that the trusted root belongs to this certificate authority and is up to date',
  });
}

function readScts(leaf: Certificate): Sct[] {
  try {
    return embeddedScts(leaf);
  } catch (cause) {
    throw new SignError(
      'SIGN_CERTIFICATE_SCT',
      `Cannot use the certificate: ${cause instanceof Error ? cause.message : 'its SCTs cannot be read'}`,
      { cause },
    );
  }
}

/** The trusted certificate that signed the leaf: the SCT is over its key (RFC 6962 §3.2). */
async function findIssuer(leaf: Certificate, helpers: Certificate[], trustedRoot: TrustedRoot): Promise<Certificate> {
  let failure: unknown;
  for (const { certChain, validFor } of trustedRoot.certificateAuthorities) {
    const anchor = certChain.at(-1);
    if (anchor === undefined || !isValidAt(validFor, leaf.notBefore)) continue;
    try {
      const chain = await buildChain(
        leaf,
        {
          intermediates: [...certChain.slice(0, -1), ...helpers],
          anchors: [anchor],
          time: leaf.notBefore,
          extendedKeyUsage: CODE_SIGNING,
        },
        opensslCrypto,
      );
      if (chain[1] !== undefined) return chain[1];
    } catch (error) {
      failure = error;
    }
  }
  const reason = failure instanceof Error ? failure.message : 'it has no certificate authority that is valid now';
  throw new SignError(
    'SIGN_CERTIFICATE_CHAIN',
    `Cannot use the certificate: it does not chain to the trusted root: ${reason}`,
    {
      cause: failure,
      cure: 'Check that the trusted root belongs to this certificate authority and is up to date',
    },
  );
}

function isObject(value: JsonValue | undefined): value is { [key: string]: JsonValue } {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
