import {
  concatBytes,
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
import { generateSigner, opensslCrypto } from '#libs/openssl';
import { encodeAlgorithm, encodeName, parseCertificate, type Certificate } from '#libs/x509';

/** Authorities for tests, good and bad: every certificate field can be set. */

export const timeStamping = '1.3.6.1.5.5.7.3.8';
export const start = new Date('2030-01-01T00:00:00Z');
export const now = new Date('2030-06-01T12:00:00.789Z');
export const end = new Date('2031-01-01T00:00:00Z');

export interface CertificateFields {
  commonName: string;
  serial?: bigint;
  notBefore?: Date;
  notAfter?: Date;
  ca?: boolean;
  /** Purposes; null: no such extension. */
  purposes?: readonly string[] | null;
  purposesCritical?: boolean;
  /** First byte of the key usage; null: no such extension. */
  usage?: number | null;
}

/** A certificate for `subject`'s key, signed by `issuer`; without an issuer, by itself. */
export function makeCertificate(
  fields: CertificateFields,
  subject: Signer,
  issuer?: { signer: Signer; certificate: Certificate },
): Certificate {
  const { ca = false, purposes = ca ? null : [timeStamping], usage = ca ? 0x04 : 0x80 } = fields;
  const name = encodeName({ organization: 'Example', commonName: fields.commonName });
  const signer = issuer?.signer ?? subject;
  const algorithm = encodeAlgorithm(signer.scheme);
  if (algorithm === undefined) throw new Error('no algorithm');
  const extensions: Uint8Array[] = [];
  if (ca) extensions.push(extension('2.5.29.19', true, derSequence(derBoolean(true))));
  if (usage !== null)
    extensions.push(extension('2.5.29.15', true, derBitString(Uint8Array.of(usage), lowZeros(usage))));
  if (purposes !== null) {
    extensions.push(extension('2.5.29.37', fields.purposesCritical ?? true, derSequence(...purposes.map(derOid))));
  }
  const tbs = derSequence(
    derExplicit(0, derInteger(2n)),
    derInteger(fields.serial ?? 1n),
    algorithm,
    issuer?.certificate.subject ?? name,
    derSequence(derTime(fields.notBefore ?? start), derTime(fields.notAfter ?? end)),
    name,
    subject.publicKey.spki,
    ...(extensions.length === 0 ? [] : [derExplicit(3, derSequence(...extensions))]),
  );
  return parseCertificate(derSequence(tbs, algorithm, derBitString(signer.sign(tbs))));
}

function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  return derSequence(derOid(oid), ...(critical ? [derBoolean(true)] : []), derOctetString(value));
}

function lowZeros(byte: number): number {
  return 31 - Math.clz32(byte & -byte);
}

export interface TestAuthority {
  signer: Signer;
  root: Certificate;
  rootSigner: Signer;
  leaf: Certificate;
  chain: Certificate[];
}

/** Root and signing certificate; `leaf` fields go into the latter. */
export function makeAuthority(
  leafFields: Partial<CertificateFields> = {},
  signer: Signer = generateSigner(),
): TestAuthority {
  const rootSigner = generateSigner();
  const root = makeCertificate({ commonName: 'root', ca: true, serial: 100n }, rootSigner);
  const leaf = makeCertificate({ commonName: 'tsa', serial: 0x80n, ...leafFields }, signer, {
    signer: rootSigner,
    certificate: root,
  });
  return { signer, root, rootSigner, leaf, chain: [leaf, root] };
}

/** What a token says and how it is built; each part can be replaced, and the signature is made last. */
export interface TokenParts {
  status: Uint8Array;
  contentInfoType: string;
  signedDataVersion: bigint;
  digestAlgorithms: readonly string[];
  eContentType: string;
  tstInfo: Uint8Array;
  /** The whole field, tag included; undefined: absent. */
  certificates: Uint8Array | undefined;
  signerVersion: bigint;
  sid: Uint8Array;
  digestAlgorithm: string;
  /** Elements of the signed attributes; sorted unless `unsorted`. */
  attributes: readonly Uint8Array[];
  unsorted: boolean;
  signatureAlgorithm: Uint8Array;
  signer: Signer;
  signers: 0 | 1 | 2;
}

const oids = {
  signedData: '1.2.840.113549.1.7.2',
  tstInfo: '1.2.840.113549.1.9.16.1.4',
  sha256: '2.16.840.1.101.3.4.2.1',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
};

export function attribute(type: string, ...values: readonly Uint8Array[]): Uint8Array {
  return derSequence(derOid(type), derElement(derTag.set, concatBytes(...values)));
}

export const contentType = (type = oids.tstInfo): Uint8Array => attribute('1.2.840.113549.1.9.3', derOid(type));
export const messageDigest = (tstInfo: Uint8Array): Uint8Array =>
  attribute('1.2.840.113549.1.9.4', derOctetString(opensslCrypto.hash('sha256', tstInfo)));
export const signingCertificateV2 = (certificate: Certificate, ...more: readonly Uint8Array[]): Uint8Array =>
  attribute(
    '1.2.840.113549.1.9.16.2.47',
    derSequence(derSequence(derSequence(derOctetString(opensslCrypto.hash('sha256', certificate.der)), ...more))),
  );
export const issuerAndSerial = ({ issuer, serialBytes }: Certificate): Uint8Array =>
  derSequence(issuer, derElement(derTag.integer, serialBytes));

/** TSTInfo from its fields in order. */
export function makeTstInfo(
  digest: Uint8Array,
  overrides: {
    version?: bigint;
    hash?: Uint8Array;
    genTime?: Uint8Array;
    after?: readonly Uint8Array[];
    serial?: Uint8Array;
  } = {},
): Uint8Array {
  return derSequence(
    derInteger(overrides.version ?? 1n),
    derOid('1.3.6.1.4.1.57264.2'),
    derSequence(overrides.hash ?? derSequence(derOid(oids.sha256)), derOctetString(digest)),
    overrides.serial ?? derInteger(7n),
    overrides.genTime ?? derElement(derTag.generalizedTime, new TextEncoder().encode('20300601120000Z')),
    ...(overrides.after ?? []),
  );
}

/** A token of this authority over `signature`, built by hand rather than by the code under test. */
export function makeToken(
  authority: TestAuthority,
  signature: Uint8Array,
  overrides: Partial<TokenParts> | ((parts: TokenParts) => Partial<TokenParts>) = {},
): Uint8Array {
  const tstInfo =
    (typeof overrides === 'function' ? undefined : overrides.tstInfo) ??
    makeTstInfo(opensslCrypto.hash('sha256', signature));
  const defaults: TokenParts = {
    status: derSequence(derInteger(0n)),
    contentInfoType: oids.signedData,
    signedDataVersion: 3n,
    digestAlgorithms: [oids.sha256],
    eContentType: oids.tstInfo,
    tstInfo,
    certificates: undefined,
    signerVersion: 1n,
    sid: issuerAndSerial(authority.leaf),
    digestAlgorithm: oids.sha256,
    attributes: [contentType(), messageDigest(tstInfo), signingCertificateV2(authority.leaf)],
    unsorted: false,
    signatureAlgorithm: derSequence(derOid(oids.ecdsaWithSha256)),
    signer: authority.signer,
    signers: 1,
  };
  const parts = { ...defaults, ...(typeof overrides === 'function' ? overrides(defaults) : overrides) };
  const order = (a: Uint8Array, b: Uint8Array): number => Buffer.compare(a, b);
  const attributes = concatBytes(...(parts.unsorted ? parts.attributes : [...parts.attributes].sort(order)));
  const signerInfo = derSequence(
    derInteger(parts.signerVersion),
    parts.sid,
    derSequence(derOid(parts.digestAlgorithm)),
    derElement(derTag.context(0), attributes),
    parts.signatureAlgorithm,
    derOctetString(parts.signer.sign(derElement(derTag.set, attributes))),
  );
  const signedData = derSequence(
    derInteger(parts.signedDataVersion),
    derElement(derTag.set, concatBytes(...parts.digestAlgorithms.map((oid) => derSequence(derOid(oid))))),
    derSequence(derOid(parts.eContentType), derExplicit(0, derOctetString(parts.tstInfo))),
    ...(parts.certificates === undefined ? [] : [parts.certificates]),
    derElement(derTag.set, concatBytes(...Array.from({ length: parts.signers }, () => signerInfo))),
  );
  return derSequence(parts.status, derSequence(derOid(parts.contentInfoType), derExplicit(0, signedData)));
}

/** The certificates field with these, in this order. */
export function embed(...certificates: readonly Certificate[]): Uint8Array {
  return derElement(derTag.context(0), concatBytes(...certificates.map(({ der }) => der)));
}
