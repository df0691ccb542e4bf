/** Makes certificates for the tests of this lib, well-formed and otherwise. Not exported: real CA certificates are made by the apps. */
import {
  derBitString,
  derBoolean,
  derElement,
  derExplicit,
  derInteger,
  derOctetString,
  derOid,
  derSequence,
  derTag,
  derTime,
} from '#libs/encoding';
import type { Signer } from '#libs/crypto';
import { encodeAlgorithm, issuingScheme } from './algorithm.js';
import { type Certificate, type Extension, parseCertificate } from './certificate.js';
import { encodeAuthorityKeyId } from './extensions.js';
import { encodeName } from './name.js';
import { oid } from './oid.js';

export interface Forgery {
  readonly subject?: Uint8Array;
  readonly issuer?: Uint8Array;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly spki: Uint8Array;
  readonly signer: Signer;
  readonly extensions?: readonly (Extension | Uint8Array)[];
  /** DER of these fields, in place of the right ones. */
  readonly version?: Uint8Array;
  readonly serial?: Uint8Array;
  readonly innerAlgorithm?: Uint8Array;
  readonly outerAlgorithm?: Uint8Array;
  /** DER of everything behind the key. */
  readonly tail?: Uint8Array;
}

/** DER of a certificate with these fields. */
export function forge(fields: Forgery): Uint8Array {
  const algorithm = encodeAlgorithm(issuingScheme(fields.signer.publicKey)) ?? new Uint8Array();
  const extensions = (fields.extensions ?? []).map((extension) =>
    extension instanceof Uint8Array ? extension : encodeExtension(extension),
  );
  const tail = extensions.length > 0 ? derExplicit(3, derSequence(...extensions)) : new Uint8Array();
  const tbs = derSequence(
    fields.version ?? derExplicit(0, derInteger(2n)),
    fields.serial ?? derInteger(77n),
    fields.innerAlgorithm ?? algorithm,
    fields.issuer ?? encodeName({ commonName: 'issuer' }),
    derSequence(derTime(fields.notBefore ?? day(1)), derTime(fields.notAfter ?? day(30))),
    fields.subject ?? encodeName({}),
    fields.spki,
    fields.tail ?? tail,
  );
  return derSequence(tbs, fields.outerAlgorithm ?? algorithm, derBitString(fields.signer.sign(tbs)));
}

export function encodeExtension({ oid: type, critical, value }: Extension): Uint8Array {
  return derSequence(derOid(type), ...(critical ? [derBoolean(true)] : []), derOctetString(value));
}

/** A day of January 2025, at midnight. */
export function day(number: number): Date {
  return new Date(Date.UTC(2025, 0, number));
}

export const extension = {
  ca: (pathLength?: number): Extension => ({
    oid: oid.basicConstraints,
    critical: true,
    value: derSequence(derBoolean(true), ...(pathLength === undefined ? [] : [derInteger(BigInt(pathLength))])),
  }),
  /** keyCertSign and cRLSign. */
  certSign: { oid: oid.keyUsage, critical: true, value: derBitString(Uint8Array.of(0x06), 1) },
  digitalSignature: { oid: oid.keyUsage, critical: true, value: derBitString(Uint8Array.of(0x80), 7) },
  purposes: (...purposes: string[]): Extension => ({
    oid: oid.extendedKeyUsage,
    critical: false,
    value: derSequence(...purposes.map(derOid)),
  }),
  keyId: (id: Uint8Array): Extension => ({ oid: oid.subjectKeyIdentifier, critical: false, value: derOctetString(id) }),
  authority: (id: Uint8Array): Extension => ({
    oid: oid.authorityKeyIdentifier,
    critical: false,
    value: encodeAuthorityKeyId(id),
  }),
  email: (address: string): Extension => ({
    oid: oid.subjectAltName,
    critical: true,
    value: derSequence(derElement(derTag.contextPrimitive(1), new TextEncoder().encode(address))),
  }),
} as const;

/** A CA: its certificate and the key behind it. */
export interface Authority {
  readonly certificate: Certificate;
  readonly signer: Signer;
}

/** A CA certificate signed by `parent`, or by itself. `keyId`: one byte, repeated. */
export function authority(
  name: string,
  signer: Signer,
  parent?: Authority,
  changes: Partial<Forgery> & { keyId?: number } = {},
): Authority {
  const subject = encodeName({ organization: 'example', commonName: name });
  const id = new Uint8Array(20).fill(changes.keyId ?? name.length);
  const certificate = parseCertificate(
    forge({
      subject,
      issuer: parent?.certificate.subject ?? subject,
      spki: signer.publicKey.spki,
      signer: parent?.signer ?? signer,
      extensions: [extension.certSign, extension.ca(), extension.keyId(id)],
      ...changes,
    }),
  );
  return { certificate, signer };
}
