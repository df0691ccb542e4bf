import {
  derConstructed,
  derElement,
  derExplicit,
  derOid,
  DerReader,
  derSequence,
  derTag,
  derUtf8String,
  encodeHex,
  encodeUtf8,
  parseDer,
  readOid,
  readString,
} from '#libs/encoding';
import type { Certificate } from './certificate.js';
import { converting, X509Error } from './errors.js';
import { findExtension } from './extensions.js';
import { parseName } from './name.js';
import { oid } from './oid.js';

/**
 * Whom a certificate names. `other-name` is an otherName whose value is a UTF8String, as Fulcio writes user names (type 1.3.6.1.4.1.57264.1.7);
 * what no identity can be compared with is `unknown`: the GeneralName's tag and its bytes in hex.
 */
export type SubjectAltName =
  | { readonly kind: 'email'; readonly value: string }
  | { readonly kind: 'uri'; readonly value: string }
  | { readonly kind: 'other-name'; readonly oid: string; readonly value: string }
  | { readonly kind: 'dns'; readonly value: string }
  | { readonly kind: 'directory-name'; readonly value: string }
  | { readonly kind: 'ip'; readonly value: string }
  | { readonly kind: 'unknown'; readonly tag: number; readonly value: string };

/** Public CAs put up to 100 names (Let's Encrypt) or 250 (DigiCert) into one certificate. Each may become a search key of a log entry, so there is an end. */
const MAX_NAMES = 256;

/**
 * The names of the subjectAltName extension, in order; none when it is absent.
 * @throws X509Error `X509_MALFORMED`
 * @see RFC 5280 §4.2.1.6
 */
export function subjectAltNames(certificate: Certificate): SubjectAltName[] {
  const extension = findExtension(certificate, oid.subjectAltName);
  return extension ? parseSubjectAltNames(extension.value) : [];
}

/** Reads the value of a subjectAltName extension: `GeneralNames ::= SEQUENCE SIZE (1..MAX) OF GeneralName`. */
export function parseSubjectAltNames(value: Uint8Array): SubjectAltName[] {
  return converting('Cannot read subject alternative name', 'X509_MALFORMED', () => {
    const reader = new DerReader(parseDer(value), derTag.sequence);
    const names: SubjectAltName[] = [];
    while (!reader.done) {
      if (names.length === MAX_NAMES) throw malformed(`more than ${MAX_NAMES} names`);
      names.push(readGeneralName(reader));
    }
    if (names.length === 0) throw malformed('the list is empty');
    return names;
  });
}

function malformed(state: string): X509Error {
  return new X509Error('X509_MALFORMED', `Cannot read subject alternative name: ${state}`);
}

function readGeneralName(reader: DerReader): SubjectAltName {
  const name = reader.next();
  switch (name.tag) {
    case derTag.context(0):
      return readOtherName(new DerReader(name, derTag.context(0)), name.bytes);
    case derTag.contextPrimitive(1):
      return { kind: 'email', value: readIa5(name.contents) };
    case derTag.contextPrimitive(2):
      return { kind: 'dns', value: readIa5(name.contents) };
    case derTag.context(4): {
      // directoryName is EXPLICIT because Name is a CHOICE.
      const explicit = new DerReader(name, derTag.context(4));
      const value = parseName(explicit.next(derTag.sequence).bytes).text;
      explicit.end();
      return { kind: 'directory-name', value };
    }
    case derTag.contextPrimitive(6):
      return { kind: 'uri', value: readIa5(name.contents) };
    case derTag.contextPrimitive(7):
      return { kind: 'ip', value: ipText(name.contents) };
    default:
      return { kind: 'unknown', tag: name.tag, value: encodeHex(name.bytes) };
  }
}

// OtherName ::= SEQUENCE { type-id OID, value [0] EXPLICIT ANY }
function readOtherName(reader: DerReader, whole: Uint8Array): SubjectAltName {
  const type = readOid(reader.next(derTag.oid));
  const explicit = new DerReader(reader.next(derTag.context(0)), derTag.context(0));
  const value = explicit.next();
  explicit.end();
  reader.end();
  if (value.tag === derTag.utf8String) return { kind: 'other-name', oid: type, value: readString(value) };
  if (type === oid.fulcioOtherName) throw malformed('the value of the otherName is not a UTF8String');
  return { kind: 'unknown', tag: derTag.context(0), value: encodeHex(whole) };
}

/** IA5String contents without control characters: a NUL or a line feed in a name is only ever there to deceive a reader. */
function readIa5(contents: Uint8Array): string {
  let text = '';
  for (const byte of contents) {
    if (byte < 0x20 || byte > 0x7e) throw malformed('a name holds a byte that is not printable ASCII');
    text += String.fromCharCode(byte);
  }
  return text;
}

function ipText(address: Uint8Array): string {
  if (address.length === 4) return address.join('.');
  if (address.length !== 16) throw malformed('an IP address of neither 4 nor 16 bytes');
  const groups = Array.from({ length: 8 }, (_, i) => encodeHex(address.subarray(2 * i, 2 * i + 2)));
  return groups.join(':');
}

/**
 * The value of a subjectAltName extension with this one name.
 * @throws X509Error `X509_PROFILE` for a kind that no certificate of ours carries, or text that IA5String cannot hold
 */
export function encodeSubjectAltName(san: SubjectAltName): Uint8Array {
  switch (san.kind) {
    case 'email':
      return derSequence(derElement(derTag.contextPrimitive(1), encodeIa5(san.value)));
    case 'uri':
      return derSequence(derElement(derTag.contextPrimitive(6), encodeIa5(san.value)));
    case 'other-name':
      return derSequence(
        derConstructed(derTag.context(0), [derOid(san.oid), derExplicit(0, derUtf8String(san.value))]),
      );
    default:
      throw new X509Error('X509_PROFILE', `Cannot encode subject alternative name: kind ${san.kind} is not issued`, {
        rule: 'san-kind',
      });
  }
}

function encodeIa5(text: string): Uint8Array {
  if (!isPrintableAscii(text)) {
    throw new X509Error('X509_PROFILE', 'Cannot encode subject alternative name: text is not printable ASCII', {
      rule: 'san-ascii',
    });
  }
  return encodeUtf8(text);
}

/** Whether a text can stand in an e-mail or URI name: printable ASCII. */
export function isPrintableAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}

/** One line for people: the value, preceded by its kind where that is not plain to see. */
export function describeSan(san: SubjectAltName): string {
  switch (san.kind) {
    case 'email':
    case 'uri':
      return san.value;
    case 'other-name':
      return san.oid === oid.fulcioOtherName ? san.value : `otherName ${san.oid}: ${san.value}`;
    case 'unknown':
      return `GeneralName with tag 0x${san.tag.toString(16)}`;
    default:
      return `${san.kind}:${san.value}`;
  }
}
