/**
 * X.509 as keyless signing uses it: reading certificates and requests, writing the leaf certificates of a Fulcio-compatible CA, finding a path to a trust
 * anchor at a given time, and the structures of Certificate Transparency (RFC 6962) that are about certificates.
 *
 * Not here: making CA certificates, revocation, host names, policy about whom to trust. Cryptography comes in as a `CryptoPort` or `Signer`.
 *
 * A leaf is `SEQUENCE { tbsCertificate, signatureAlgorithm, signature }`, its subject is empty, and who it is stands in one critical name and in
 * extensions 1.3.6.1.4.1.57264.1.*. Reading one:
 *
 *     const [leaf] = parseCertificatePem(pem);
 *     subjectAltNames(leaf);          // [{ kind: 'email', value: 'a@example.com' }]
 *     fulcioExtensions(leaf).issuer;  // 'https://accounts.google.com'
 *
 * Issuing one: `prepareCertificate(profile, hash)`, `signPrecertificate(signer)`, the log's SCT through `verifySct`, `signCertificate(signer, [sct])`.
 */
export { X509Error, type X509ErrorCode, type X509ErrorDetails } from './errors.js';
export { oid } from './oid.js';
export {
  parseCertificate,
  parseCertificatePem,
  verifyCertificateSignature,
  type Certificate,
  type Extension,
  isParsed,
} from './certificate.js';
export { encodeAlgorithm, issuingScheme, schemeOfAlgorithm } from './algorithm.js';
export {
  authorityKeyId,
  basicConstraints,
  checkLeafUsage,
  extendedKeyUsage,
  findExtension,
  keyUsage,
  subjectKeyId,
  type BasicConstraints,
  type ExtendedKeyUsage,
  type KeyUsage,
} from './extensions.js';
export { encodeName, parseName, type ParsedName } from './name.js';
export {
  describeSan,
  encodeSubjectAltName,
  parseSubjectAltNames,
  subjectAltNames,
  type SubjectAltName,
} from './san.js';
export {
  encodeFulcioExtensions,
  fulcioExtensionNumber,
  fulcioExtensions,
  type FulcioExtensionName,
  type FulcioExtensions,
} from './fulcio.js';
export { csrScheme, parseCsr, type CertificateRequest } from './csr.js';
export { lintRules, type LeafProfile, type LintFinding, type LintRuleName } from './lint.js';
export { keyIdentifier, lintProfile, prepareCertificate, type PreparedCertificate } from './issue.js';
export { buildChain, buildChainSync, type ChainOptions, type VerifySignature } from './chain.js';
export { isPrecertificate, preTbs, type CtExtension } from './precert.js';
export { ctEntry, embeddedScts, sctScheme, sctSignedInput, verifySct } from './sct.js';
export {
  ctHash,
  ctSignature,
  encodeDigitallySigned,
  encodeExtraData,
  encodeLeafIndex,
  encodeSct,
  encodeSctList,
  encodeTileLeaf,
  merkleTreeLeaf,
  parseDataTile,
  parseDigitallySigned,
  parseExtraData,
  parseLeafIndex,
  parseMerkleTreeLeaf,
  parseSct,
  parseSctList,
  parseTileLeaf,
  splitDataTile,
  sthSignedInput,
  type CtEntry,
  type CtExtraData,
  type DigitallySigned,
  type Sct,
  type TileLeaf,
  type TimestampedEntry,
} from './ct.js';
