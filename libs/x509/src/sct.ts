import { equalBytes } from '#libs/encoding';
import type { CryptoPort, PublicKey, SignatureScheme } from '#libs/crypto';
import type { Certificate } from './certificate.js';
import { type CtEntry, ctHash, ctSignature, merkleTreeLeaf, parseSctList, type Sct } from './ct.js';
import { X509Error } from './errors.js';
import { findExtension } from './extensions.js';
import { oid } from './oid.js';
import { isPrecertificate, preTbs } from './precert.js';

/**
 * The SCTs embedded in a certificate, none when it has no such extension.
 * @throws X509Error `X509_SCT_MALFORMED`
 * @see RFC 6962 §3.3
 */
export function embeddedScts(certificate: Certificate): Sct[] {
  const extension = findExtension(certificate, oid.sctList);
  return extension ? parseSctList(extension.value) : [];
}

/**
 * What a log has in its tree for this certificate: a precert entry for a precertificate and for a certificate with embedded SCTs, else an x509 entry.
 * `issuer`: the certificate whose key signed it, taken from a verified path.
 * @throws X509Error `X509_POISON`, `X509_MALFORMED`
 * @see RFC 6962 §3.2
 */
export function ctEntry(certificate: Certificate, issuer: Certificate, hash: CryptoPort['hash']): CtEntry {
  if (!isPrecertificate(certificate) && !findExtension(certificate, oid.sctList)) {
    return { kind: 'x509', certificate: certificate.der };
  }
  // The whole SubjectPublicKeyInfo as it stands in the issuer's certificate: not the key identifier, not the BIT STRING.
  return { kind: 'precert', issuerKeyHash: hash('sha256', issuer.spki), tbs: preTbs(certificate) };
}

/**
 * The bytes under the signature of `sct` for this certificate; they are the log's leaf as well.
 * @see RFC 6962 §3.2
 */
export function sctSignedInput(
  sct: Pick<Sct, 'timestampMs' | 'extensions'>,
  certificate: Certificate,
  issuer: Certificate,
  hash: CryptoPort['hash'],
): Uint8Array {
  const { timestampMs, extensions } = sct;
  return merkleTreeLeaf({ timestampMs, extensions, entry: ctEntry(certificate, issuer, hash) });
}

/**
 * The scheme that an SCT states, if this log key can have made it: SHA-256 with ECDSA or with RSA (PKCS#1 v1.5), nothing else.
 * @throws X509Error `X509_SCT_INVALID`
 * @see RFC 6962 §2.1.4
 */
export function sctScheme(sct: Sct, logKey: PublicKey): SignatureScheme {
  const { hashAlgorithm, signatureAlgorithm } = sct;
  if (hashAlgorithm === ctHash.sha256) {
    if (signatureAlgorithm === ctSignature.ecdsa && logKey.type.kind === 'ecdsa')
      return { kind: 'ecdsa', hash: 'sha256' };
    if (signatureAlgorithm === ctSignature.rsa && logKey.type.kind === 'rsa')
      return { kind: 'rsa-pkcs1', hash: 'sha256' };
  }
  throw invalid(
    `algorithms ${hashAlgorithm} and ${signatureAlgorithm} are not SHA-256 with the log's ${logKey.type.kind} key`,
  );
}

/**
 * Proves that the log of `logKey` promised to include this certificate. Takes a precertificate, a certificate with embedded SCTs, or
 * a plain certificate with its SCT beside it. Whether the log is trusted at `sct.timestampMs` is for the caller.
 * @throws X509Error `X509_SCT_INVALID`, `X509_POISON`
 * @see RFC 6962 §3.2
 */
export async function verifySct(
  sct: Sct,
  certificate: Certificate,
  issuer: Certificate,
  logKey: PublicKey,
  crypto: CryptoPort,
): Promise<void> {
  if (!equalBytes(sct.logId, crypto.hash('sha256', logKey.spki)))
    throw invalid('its log id is not that of the log key');
  const scheme = sctScheme(sct, logKey);
  const input = sctSignedInput(sct, certificate, issuer, (algorithm, data) => crypto.hash(algorithm, data));
  if (!(await crypto.verify(logKey, scheme, input, sct.signature))) {
    throw invalid('the signature does not match this certificate, issuer and log key');
  }
}

function invalid(state: string): X509Error {
  return new X509Error('X509_SCT_INVALID', `Cannot verify SCT: ${state}`);
}
