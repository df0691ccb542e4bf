import {
  derConstructed,
  derElement,
  derExplicit,
  derGeneralizedTime,
  derInteger,
  derOctetString,
  derOid,
  derSequence,
  derSet,
  derSetOf,
  derTag,
  derTime,
  equalBytes,
} from '#libs/encoding';
import type { CryptoPort, HashAlgorithm, Signer } from '#libs/crypto';
import type { Certificate } from '#libs/x509';
import { hashBare, hashWithNull, signatureOid } from './algorithm.js';
import { TimestampError } from './errors.js';
import { encodeImprint } from './imprint.js';
import { oid } from './oid.js';
import { encodePolicy, type TimestampRequest } from './request.js';

/** What stays the same for all tokens of one signing key. */
export interface TimestamperOptions {
  /** Its scheme fixes the hash of the CMS signature, whatever the hash of the request. */
  readonly signer: Signer;
  /** Signing certificate first, root last. */
  readonly chain: readonly Certificate[];
  /** Dotted OID for requests that name no policy. */
  readonly policy: string;
  /** Policies that a request may name; matched exactly, and `policy` is not implied. */
  readonly acceptedPolicies: readonly string[];
  /** Copies a request's extensions into the token instead of refusing them. Default false. */
  readonly allowExtensions?: boolean;
  /** The whole chain, instead of its first certificate, for requests that ask for certificates. Default false. */
  readonly includeChain?: boolean;
  readonly hash: CryptoPort['hash'];
}

export interface Issuance {
  readonly now: Date;
  /** Unsigned magnitude of 1 to 20 bytes, not zero, never used before under this key. */
  readonly serial: Uint8Array;
}

export interface Timestamper {
  /**
   * A DER TimeStampResp with status granted. `now` is cut to the second, never rounded up.
   * @throws TimestampError `TIMESTAMP_POLICY`, then `TIMESTAMP_EXTENSION`; `TIMESTAMP_CERTIFICATE` when a certificate
   *   of the chain is not valid at `now`
   */
  issue(request: TimestampRequest, issuance: Issuance): Uint8Array;
}

/** One token; for a service make a `createTimestamper` once instead. */
export function issueTimestamp(
  options: TimestamperOptions & Issuance & { readonly request: TimestampRequest },
): Uint8Array {
  return createTimestamper(options).issue(options.request, options);
}

/**
 * Prepares everything that tokens of one key have in common, so that a request costs two hashes and one signature.
 * @throws Error if the chain is empty, does not belong to the signer, or the scheme has no place in CMS
 * @see RFC 3161 §2.4.2, RFC 5652 §5, RFC 5035 §3
 */
export function createTimestamper(options: TimestamperOptions): Timestamper {
  const { signer, chain, hash } = options;
  const leaf = chain[0];
  if (leaf === undefined) throw new Error('Cannot prepare timestamps: chain is empty');
  if (!equalBytes(leaf.spki, signer.publicKey.spki)) {
    throw new Error('Cannot prepare timestamps: signing certificate is not for the key of the signer');
  }
  const algorithm = signatureOid(signer.scheme);
  if (algorithm === undefined) throw new Error(`Cannot prepare timestamps: ${signer.scheme.kind} is not supported`);
  // RFC 8419 §2.3: with Ed25519 the digest algorithm is SHA-512.
  const digestHash = 'hash' in signer.scheme ? signer.scheme.hash : 'sha512';

  const notBefore = Math.max(...chain.map((certificate) => certificate.notBefore.getTime()));
  const notAfter = Math.min(...chain.map((certificate) => certificate.notAfter.getTime()));
  const defaultPolicy = encodePolicy(options.policy);
  const policies = new Map(options.acceptedPolicies.map((dotted) => [dotted, encodePolicy(dotted)]));
  // [0] EXPLICIT GeneralName, which is [4] EXPLICIT Name because Name is a CHOICE; the subject's own bytes.
  const tsa = derExplicit(0, derExplicit(4, leaf.subject));
  const version1 = derInteger(1n);
  const accuracy = derSequence(derInteger(1n)); // one second, as the policy 1.3.6.1.4.1.57264.2 promises

  const contentType = attribute(oid.contentType, derOid(oid.tstInfo));
  const signingCertificates = {
    sha256: signingCertificate(leaf, 'sha256', hash),
    sha384: signingCertificate(leaf, 'sha384', hash),
    sha512: signingCertificate(leaf, 'sha512', hash),
  };
  const digestAlgorithm = hashBare(digestHash);
  const signedDataHead = [derInteger(3n), derSet(digestAlgorithm)];
  const signedDataType = derOid(oid.signedData);
  const tstInfoType = derOid(oid.tstInfo);
  // Not sorted although a SET: leaf first is what clients of Sigstore read, and the set is not signed.
  const certificates = derConstructed(
    derTag.context(0),
    (options.includeChain === true ? chain : [leaf]).map(({ der }) => der),
  );
  const signerHead = [
    version1,
    derSequence(leaf.issuer, derElement(derTag.integer, leaf.serialBytes)), // IssuerAndSerialNumber, raw bytes
    digestAlgorithm,
  ];
  const signatureAlgorithm = derSequence(derOid(algorithm));
  const granted = derSequence(derInteger(0n));

  return { issue };

  function issue(request: TimestampRequest, { now, serial }: Issuance): Uint8Array {
    const policy = request.policy === undefined ? defaultPolicy : policies.get(request.policy);
    if (policy === undefined) {
      throw new TimestampError('TIMESTAMP_POLICY', 'Cannot issue timestamp: requested policy is not offered');
    }
    if (request.extensions !== undefined && options.allowExtensions !== true) {
      throw new TimestampError('TIMESTAMP_EXTENSION', 'Cannot issue timestamp: requests must not have extensions');
    }
    if (!(now.getTime() >= notBefore && now.getTime() <= notAfter)) {
      throw new TimestampError('TIMESTAMP_CERTIFICATE', 'Cannot issue timestamp: the chain is not valid at this time');
    }
    if (serial.length > 20 || serial.every((byte) => byte === 0)) {
      throw new Error('Cannot issue timestamp: serial number must be of 1 to 20 bytes and not zero');
    }

    // TSTInfo ::= SEQUENCE { version 1, policy, messageImprint, serialNumber, genTime, accuracy, ordering DEFAULT FALSE,
    //   nonce OPTIONAL, tsa [0] EXPLICIT GeneralName, extensions [1] IMPLICIT OPTIONAL }
    const fields = [
      version1,
      policy,
      encodeImprint(request.imprint),
      derInteger(serial),
      derGeneralizedTime(now),
      accuracy,
    ];
    if (request.nonce !== undefined) fields.push(derElement(derTag.integer, request.nonce));
    fields.push(tsa);
    if (request.extensions !== undefined) fields.push(derElement(derTag.context(1), request.extensions));
    const tstInfo = derConstructed(derTag.sequence, fields);

    const signedAttributes = derSetOf([
      contentType,
      attribute(oid.signingTime, derTime(now)),
      attribute(oid.messageDigest, derOctetString(hash(digestHash, tstInfo))),
      signingCertificates[request.imprint.hash],
    ]);
    // RFC 5652 §5.4: signed as a SET OF, sent as [0] IMPLICIT.
    const signature = signer.sign(signedAttributes);
    signedAttributes[0] = derTag.context(0);

    // SignerInfo ::= SEQUENCE { version 1, sid, digestAlgorithm, signedAttrs [0], signatureAlgorithm, signature }
    const signerInfo = derConstructed(derTag.sequence, [
      ...signerHead,
      signedAttributes,
      signatureAlgorithm,
      derOctetString(signature),
    ]);
    // SignedData ::= SEQUENCE { version 3, digestAlgorithms, encapContentInfo, certificates [0] OPTIONAL, signerInfos }
    const signedData = derConstructed(derTag.sequence, [
      ...signedDataHead,
      derSequence(tstInfoType, derExplicit(0, derOctetString(tstInfo))),
      ...(request.certReq ? [certificates] : []),
      derSet(signerInfo),
    ]);
    // TimeStampResp ::= SEQUENCE { status PKIStatusInfo, timeStampToken ContentInfo }
    return derSequence(granted, derSequence(signedDataType, derExplicit(0, signedData)));
  }
}

const attributeTypes = new Map<string, Uint8Array>(
  [oid.contentType, oid.signingTime, oid.messageDigest, oid.signingCertificateV2].map((dotted) => [
    dotted,
    derOid(dotted),
  ]),
);

/** `Attribute ::= SEQUENCE { attrType OID, attrValues SET OF ANY }`, of one value. */
function attribute(type: string, value: Uint8Array): Uint8Array {
  return derSequence(attributeTypes.get(type) ?? derOid(type), derSet(value));
}

/**
 * The signingCertificateV2 attribute: which certificate the signature is for, so that no other one with the same key
 * can be put in its place.
 * `ESSCertIDv2 ::= SEQUENCE { hashAlgorithm DEFAULT sha256, certHash, issuerSerial }` (RFC 5035 §4)
 */
function signingCertificate(leaf: Certificate, algorithm: HashAlgorithm, hash: CryptoPort['hash']): Uint8Array {
  const issuerSerial = derSequence(
    derSequence(derExplicit(4, leaf.issuer)),
    derElement(derTag.integer, leaf.serialBytes),
  );
  const certHash = derOctetString(hash(algorithm, leaf.der));
  const id = [...(algorithm === 'sha256' ? [] : [hashWithNull(algorithm)]), certHash, issuerSerial];
  return attribute(oid.signingCertificateV2, derSequence(derSequence(derSequence(...id))));
}
