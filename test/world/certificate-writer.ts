/** Writes certificates that say anything, also what x509's own writer refuses: verifiers need wrong answers. */
import type { Signer } from '#libs/crypto';
import {
  concatBytes,
  derBitString,
  derBoolean,
  derElement,
  derExplicit,
  derInteger,
  derOctetString,
  derOid,
  DerReader,
  derSequence,
  derTag,
  derTime,
  encodeUtf8,
  parseDer,
} from '#libs/encoding';
import { opensslCrypto } from '#libs/openssl';
import {
  encodeAlgorithm,
  encodeSubjectAltName,
  keyIdentifier,
  parseCertificate,
  type Certificate,
  type SubjectAltName,
} from '#libs/x509';

/** Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING } */
export function extension(type: string, critical: boolean, value: Uint8Array): Uint8Array {
  return derSequence(derOid(type), ...(critical ? [derBoolean(true)] : []), derOctetString(value));
}

/** AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] KeyIdentifier OPTIONAL, … } */
export function authorityKeyId(spki: Uint8Array): Uint8Array {
  return derSequence(
    derElement(
      derTag.contextPrimitive(0),
      keyIdentifier(spki, (algorithm, data) => opensslCrypto.hash(algorithm, data)),
    ),
  );
}

/** GeneralNames. x509 writes what Fulcio issues, one name; of that the element inside is taken. A host name is [2]. */
export function encodeNames(sans: readonly SubjectAltName[]): Uint8Array {
  return derSequence(
    ...sans.map((san) =>
      san.kind === 'dns'
        ? derElement(derTag.contextPrimitive(2), encodeUtf8(san.value))
        : new DerReader(parseDer(encodeSubjectAltName(san))).next().bytes,
    ),
  );
}

export interface Tbs {
  serial: bigint;
  by: Signer;
  issuerName: Uint8Array;
  subject: Uint8Array;
  signer: Signer;
  notBefore: Date;
  notAfter: Date;
  extensions: Uint8Array[];
}

/** TBSCertificate (RFC 5280 §4.1), whatever it says: no lint stands in the way of a wrong answer. */
export function tbsCertificate(tbs: Tbs): Uint8Array {
  return derSequence(
    derExplicit(0, derInteger(2n)),
    derInteger(tbs.serial),
    algorithmOf(tbs.by),
    tbs.issuerName,
    derSequence(derTime(tbs.notBefore), derTime(tbs.notAfter)),
    tbs.subject,
    tbs.signer.publicKey.spki,
    derExplicit(3, derSequence(concatBytes(...tbs.extensions))),
  );
}

export function sealCertificate(tbs: Uint8Array, by: Signer): Certificate {
  return parseCertificate(derSequence(tbs, algorithmOf(by), derBitString(by.sign(tbs))));
}

function algorithmOf(signer: Signer): Uint8Array {
  const algorithm = encodeAlgorithm(signer.scheme);
  if (algorithm === undefined) throw new Error(`no certificate can be signed with ${signer.scheme.kind}`);
  return algorithm;
}
