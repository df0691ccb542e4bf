import { derTag, encodeUtf8, parseDer, parseUtf8, readString } from '#libs/encoding';
import type { Certificate, Extension } from './certificate.js';
import { DerBuffer } from './der-buffer.js';
import { converting, X509Error } from './errors.js';
import { oid } from './oid.js';

/**
 * What Fulcio's extensions say about the signer: each field is one or two extensions of the arc 1.3.6.1.4.1.57264.1, its number is in the table below.
 * Names are those of Fulcio's OID registry in camel case; `subject` is the token's `sub`.
 */
export interface FulcioExtensions {
  readonly issuer?: string;
  readonly githubWorkflowTrigger?: string;
  readonly githubWorkflowSha?: string;
  readonly githubWorkflowName?: string;
  readonly githubWorkflowRepository?: string;
  readonly githubWorkflowRef?: string;
  readonly buildSignerUri?: string;
  readonly buildSignerDigest?: string;
  readonly runnerEnvironment?: string;
  readonly sourceRepositoryUri?: string;
  readonly sourceRepositoryDigest?: string;
  readonly sourceRepositoryRef?: string;
  readonly sourceRepositoryIdentifier?: string;
  readonly sourceRepositoryOwnerUri?: string;
  readonly sourceRepositoryOwnerIdentifier?: string;
  readonly buildConfigUri?: string;
  readonly buildConfigDigest?: string;
  readonly buildTrigger?: string;
  readonly runInvocationUri?: string;
  readonly sourceRepositoryVisibilityAtSigning?: string;
  readonly deploymentEnvironment?: string;
  readonly subject?: string;
}

/** The names of the fields, as identity providers fill them. */
export type FulcioExtensionName = keyof FulcioExtensions;

/**
 * Extension number → field. 1 to 6 hold the bare UTF-8 bytes (a defect of the first version, kept for its readers), 8 and above a DER UTF8String.
 * 7 is not an extension but the type of an otherName.
 */
const numbers: readonly (readonly [number, FulcioExtensionName])[] = [
  [1, 'issuer'],
  [2, 'githubWorkflowTrigger'],
  [3, 'githubWorkflowSha'],
  [4, 'githubWorkflowName'],
  [5, 'githubWorkflowRepository'],
  [6, 'githubWorkflowRef'],
  [8, 'issuer'],
  [9, 'buildSignerUri'],
  [10, 'buildSignerDigest'],
  [11, 'runnerEnvironment'],
  [12, 'sourceRepositoryUri'],
  [13, 'sourceRepositoryDigest'],
  [14, 'sourceRepositoryRef'],
  [15, 'sourceRepositoryIdentifier'],
  [16, 'sourceRepositoryOwnerUri'],
  [17, 'sourceRepositoryOwnerIdentifier'],
  [18, 'buildConfigUri'],
  [19, 'buildConfigDigest'],
  [20, 'buildTrigger'],
  [21, 'runInvocationUri'],
  [22, 'sourceRepositoryVisibilityAtSigning'],
  [23, 'deploymentEnvironment'],
  [24, 'subject'],
];

/** Up to this number the value is bare bytes. */
const LAST_RAW_EXTENSION = 6;
const MAX_VALUE = 16_384;

const fields = numbers.map(([number, name]) => ({ number, name, oid: `${oid.fulcio}.${number}` }));
const byOid = new Map(fields.map((field) => [field.oid, field]));

/** The number N of an extension 1.3.6.1.4.1.57264.1.N that Fulcio's registry knows, else undefined. */
export function fulcioExtensionNumber(dotted: string): number | undefined {
  return byOid.get(dotted)?.number;
}

/**
 * Reads the Fulcio extensions of a certificate. Numbers that the registry does not know are left out; the issuer is taken from 8, from 1 in old certificates.
 * @throws X509Error `X509_MALFORMED` when a value is not UTF-8, or not a DER UTF8String where one belongs
 */
export function fulcioExtensions(certificate: Certificate): FulcioExtensions {
  const found: { -readonly [name in FulcioExtensionName]?: string } = {};
  for (const extension of certificate.extensions) {
    const field = byOid.get(extension.oid);
    if (!field) continue;
    const value = fulcioExtensionValue(extension, field.number);
    if (field.number === 1 && found.issuer !== undefined) continue;
    found[field.name] = value;
  }
  return found;
}

/** The text of one extension by the encoding of its number. */
export function fulcioExtensionValue(extension: Extension, number: number): string {
  return converting(`Cannot read extension ${extension.oid}`, 'X509_MALFORMED', () => {
    if (extension.value.length > MAX_VALUE) {
      throw new X509Error('X509_MALFORMED', `Cannot read extension ${extension.oid}: more than ${MAX_VALUE} bytes`);
    }
    if (number <= LAST_RAW_EXTENSION) return parseUtf8(extension.value);
    const element = parseDer(extension.value);
    if (element.tag !== derTag.utf8String) {
      throw new X509Error('X509_MALFORMED', `Cannot read extension ${extension.oid}: value is not a UTF8String`);
    }
    return readString(element);
  });
}

/**
 * Whether a value is encoded as its number demands, and says something.
 * Plain ASCII, which nearly all values are, is seen without making a string of it.
 */
export function isFulcioValue(extension: Extension, number: number): boolean {
  const { value } = extension;
  const start = number <= LAST_RAW_EXTENSION ? 0 : textOffset(value);
  if (start !== undefined && value.length > start && value.length <= MAX_VALUE && isAscii(value, start)) return true;
  try {
    return fulcioExtensionValue(extension, number) !== '';
  } catch (error) {
    if (error instanceof X509Error) return false;
    throw error;
  }
}

/** Where the text of a UTF8String of fewer than 256 bytes begins, undefined for anything else. */
function textOffset(value: Uint8Array): number | undefined {
  const [tag, first = 0, second = 0] = value;
  if (tag !== derTag.utf8String) return undefined;
  if (first < 0x80) return first === value.length - 2 ? 2 : undefined;
  return first === 0x81 && second >= 0x80 && second === value.length - 3 ? 3 : undefined;
}

function isAscii(bytes: Uint8Array, start: number): boolean {
  for (let i = start; i < bytes.length; i++) if ((bytes[i] ?? 0) > 0x7f) return false;
  return true;
}

/**
 * Encodes what is known about a signer as extensions, in the order of their numbers, none critical. Absent and empty values are skipped.
 * @throws X509Error `X509_PROFILE` without an issuer: every reader looks for it first
 */
export function encodeFulcioExtensions(values: FulcioExtensions): Extension[] {
  if (!values.issuer) {
    throw new X509Error('X509_PROFILE', 'Cannot encode extensions: the issuer is missing', {
      rule: 'issuer-extension',
    });
  }
  const present = fields.filter(({ name }) => values[name]);
  // Three bytes for a UTF-16 unit are enough for UTF-8, five for tag and length.
  const room = present.reduce((sum, { name }) => sum + 3 * (values[name]?.length ?? 0) + 5, 0);
  const buffer = new DerBuffer(room);
  return present.map(({ number, name, oid }) => ({
    oid,
    critical: false,
    value: encodeValue(buffer, values[name] ?? '', number > LAST_RAW_EXTENSION),
  }));
}

/** Bare UTF-8, or a UTF8String. Almost every value is ASCII, whose length is known before it is encoded. */
function encodeValue(buffer: DerBuffer, text: string, tagged: boolean): Uint8Array {
  const start = buffer.length;
  if (tagged) buffer.header(derTag.utf8String, text.length);
  if (!buffer.ascii(text)) {
    buffer.length = start;
    const bytes = encodeUtf8(text);
    if (tagged) buffer.header(derTag.utf8String, bytes.length);
    buffer.append(bytes);
  }
  return buffer.since(start);
}
