import type { PublicKey } from '#libs/crypto';
import { encodeHex } from '#libs/encoding';
import { sha256 } from '#libs/openssl';
import {
  type Certificate,
  type Extension,
  fulcioExtensionNumber,
  oid,
  parseSubjectAltNames,
  type SubjectAltName,
  X509Error,
} from '#libs/x509';

/** Somebody or something named by an entry. `username`: Fulcio's otherName; `name`: named by a key that is no certificate. */
export interface Identity {
  readonly kind: 'email' | 'uri' | 'dns' | 'ip' | 'username' | 'name';
  /** As it is written. */
  readonly value: string;
}

/** What a certificate says that can be searched for. All of it is claimed: whether a CA said so is the verifier's to check. */
export interface CertificateFacts {
  readonly identities: readonly Identity[];
  /** The OIDC issuer: extension .8, in old certificates .1. */
  readonly issuers: readonly string[];
  /** Source repository URI (.12) and, of GitHub's first extensions, `owner/name` (.5). */
  readonly repositories: readonly string[];
  /** Build signer URI (.9), build config URI (.18), and, of GitHub's first extensions, the workflow's name (.4). */
  readonly workflows: readonly string[];
  /** Hex SHA-256 of the SubjectPublicKeyInfo. */
  readonly keyFingerprint: string;
  /** Hex SHA-256 of the certificate's DER. */
  readonly certificateFingerprint: string;
}

/** Number of the extension 1.3.6.1.4.1.57264.1.N → what it tells. */
const told: Readonly<Record<number, 'issuers' | 'repositories' | 'workflows'>> = {
  1: 'issuers',
  4: 'workflows',
  5: 'repositories',
  8: 'issuers',
  9: 'workflows',
  12: 'repositories',
  18: 'workflows',
};

/** Up to this number the value is bare bytes, above it a DER UTF8String (Fulcio's certificate specification). */
const LAST_RAW_EXTENSION = 6;
/** Longer values are not indexed: they name nothing that anybody would type. */
const MAX_VALUE = 2048;

/**
 * Reads a certificate for search; about 10 µs. Whoever logs a certificate may have written anything into its
 * extensions: what cannot be read is left out.
 */
export function certificateFacts(certificate: Certificate): CertificateFacts {
  const found = { issuers: [] as string[], repositories: [] as string[], workflows: [] as string[] };
  let identities: readonly Identity[] = [];
  for (const extension of certificate.extensions) {
    if (extension.oid === oid.subjectAltName) {
      identities = readIdentities(extension.value);
      continue;
    }
    const number = fulcioExtensionNumber(extension.oid);
    const field = number === undefined ? undefined : told[number];
    if (number === undefined || field === undefined) continue;
    const value = readText(extension, number);
    if (value !== undefined && !found[field].includes(value)) found[field].push(value);
  }
  return {
    identities,
    ...found,
    keyFingerprint: fingerprint(certificate.spki),
    certificateFingerprint: fingerprint(certificate.der),
  };
}

/** Hex SHA-256. */
export function fingerprint(bytes: Uint8Array): string {
  return encodeHex(sha256(bytes));
}

/**
 * The search keys of a certificate: its subjects as Rekor v1 writes them, bare and in lower case; and, prefixed,
 * `issuer:`, `repository:`, `workflow:`, `key:` (hex SHA-256 of the SubjectPublicKeyInfo) and `certificate:` (of the
 * DER). Never throws: see `certificateFacts`.
 */
export function certificateKeys(certificate: Certificate): string[] {
  return keysOfCertificateFacts(certificateFacts(certificate));
}

/** The same, from what was read. */
export function keysOfCertificateFacts(facts: CertificateFacts): string[] {
  return [
    ...facts.identities.map(({ value }) => value.toLowerCase()),
    ...facts.issuers.map((value) => prefixedKey('issuer', value)),
    ...facts.repositories.map((value) => prefixedKey('repository', value)),
    ...facts.workflows.map((value) => prefixedKey('workflow', value)),
    prefixedKey('key', facts.keyFingerprint),
    prefixedKey('certificate', facts.certificateFingerprint),
  ];
}

/** The search key of a bare public key: `key:` and the hex SHA-256 of its SubjectPublicKeyInfo. */
export function publicKeyKeys(key: Pick<PublicKey, 'spki'>): string[] {
  return [prefixedKey('key', fingerprint(key.spki))];
}

/** Keys of ours begin with what they are; those of Rekor v1 stand as Rekor writes them. Case never counts. */
export function prefixedKey(
  prefix: 'issuer' | 'repository' | 'workflow' | 'key' | 'certificate',
  value: string,
): string {
  return `${prefix}:${value.toLowerCase()}`;
}

function readIdentities(value: Uint8Array): Identity[] {
  let names: SubjectAltName[];
  try {
    names = parseSubjectAltNames(value);
  } catch (error) {
    if (error instanceof X509Error) return [];
    throw error;
  }
  return names.flatMap((name): Identity[] => {
    if (name.value.length > MAX_VALUE) return [];
    switch (name.kind) {
      case 'email':
      case 'uri':
      case 'dns':
      case 'ip':
        return [{ kind: name.kind, value: name.value }];
      case 'other-name':
        return name.oid === oid.fulcioOtherName ? [{ kind: 'username', value: name.value }] : [];
      default:
        return [];
    }
  });
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const UTF8_STRING = 0x0c;

/** The text of an extension by the encoding of its number; undefined if it is empty, too long or encoded otherwise. */
function readText({ value }: Extension, number: number): string | undefined {
  const start = number <= LAST_RAW_EXTENSION ? 0 : textOffset(value);
  if (start === undefined || value.length === start || value.length - start > MAX_VALUE) return undefined;
  try {
    return utf8.decode(value.subarray(start));
  } catch {
    return undefined; // not UTF-8
  }
}

/** Where the text of a DER UTF8String begins that fills `value`; undefined for anything else. */
function textOffset(value: Uint8Array): number | undefined {
  const [tag, first = 0, second = 0, third = 0] = value;
  if (tag !== UTF8_STRING) return undefined;
  if (first < 0x80) return first === value.length - 2 ? 2 : undefined;
  if (first === 0x81) return second >= 0x80 && second === value.length - 3 ? 3 : undefined;
  return first === 0x82 && second > 0 && second * 256 + third === value.length - 4 ? 4 : undefined;
}
