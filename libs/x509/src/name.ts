import {
  type DerElement,
  derOid,
  DerReader,
  derSequence,
  derSet,
  derTag,
  derUtf8String,
  encodeHex,
  parseDer,
  readOid,
  readString,
} from '#libs/encoding';
import { converting, X509Error } from './errors.js';
import { oid } from './oid.js';

/** What is read out of a Name for people; never compare names by it, compare the bytes. */
export interface ParsedName {
  readonly organization?: string;
  readonly commonName?: string;
  /** RFC 4514: last component first, `CN=sigstore,O=sigstore.dev`; empty for the empty name. */
  readonly text: string;
}

const MAX_COMPONENTS = 32;

/** RFC 4514 §3: the short names that every reader knows. */
const shortNames: ReadonlyMap<string, string> = new Map([
  [oid.commonName, 'CN'],
  [oid.countryName, 'C'],
  [oid.localityName, 'L'],
  [oid.stateOrProvinceName, 'ST'],
  [oid.organizationName, 'O'],
  [oid.organizationalUnitName, 'OU'],
]);

const stringTags: ReadonlySet<number> = new Set([
  derTag.utf8String,
  derTag.printableString,
  derTag.teletexString,
  derTag.ia5String,
  derTag.bmpString,
]);

/**
 * Reads a Name: `SEQUENCE OF SET OF SEQUENCE { type OID, value ANY }`.
 * @throws X509Error `X509_MALFORMED`
 * @see RFC 5280 §4.1.2.4, RFC 4514 for the text
 */
export function parseName(name: Uint8Array): ParsedName {
  return converting('Cannot read name', 'X509_MALFORMED', () => {
    const reader = new DerReader(parseDer(name), derTag.sequence);
    const parts: string[] = [];
    const found = new Map<string, string>();
    while (!reader.done) {
      if (parts.length === MAX_COMPONENTS) {
        throw new X509Error('X509_MALFORMED', `Cannot read name: more than ${MAX_COMPONENTS} components`);
      }
      parts.push(readComponent(reader.next(derTag.set), found));
    }
    const organization = found.get(oid.organizationName);
    const commonName = found.get(oid.commonName);
    return {
      ...(organization !== undefined && { organization }),
      ...(commonName !== undefined && { commonName }),
      text: parts.reverse().join(','),
    };
  });
}

function readComponent(set: DerElement, found: Map<string, string>): string {
  const attributes = new DerReader(set, derTag.set);
  const texts: string[] = [];
  do {
    const attribute = new DerReader(attributes.next(derTag.sequence), derTag.sequence);
    const type = readOid(attribute.next(derTag.oid));
    const value = attribute.next();
    attribute.end();
    const label = shortNames.get(type);
    if (stringTags.has(value.tag)) {
      const text = readString(value);
      if (!found.has(type)) found.set(type, text);
      texts.push(`${label ?? type}=${escape(text)}`);
    } else {
      texts.push(`${label ?? type}=#${encodeHex(value.bytes)}`);
    }
    if (texts.length > MAX_COMPONENTS) throw new X509Error('X509_MALFORMED', 'Cannot read name: too many attributes');
  } while (!attributes.done);
  return texts.join('+');
}

/** RFC 4514 §2.4, and control characters in hex so that a name cannot write over a terminal. */
function escape(text: string): string {
  return (
    text
      .replace(/[\\"+,;<>]/g, '\\$&')
      .replace(/^[ #]/, '\\$&')
      .replace(/ $/, '\\ ')
      // eslint-disable-next-line no-control-regex -- these are the characters in question
      .replace(/[\u0000-\u001f\u007f]/g, (c) => `\\${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
  );
}

/** The Name of an organization and a common name, in this order, as UTF8Strings; the empty Name for neither. */
export function encodeName(name: { organization?: string; commonName?: string }): Uint8Array {
  const parts: Uint8Array[] = [];
  const add = (type: string, value: string | undefined) => {
    if (value) parts.push(derSet(derSequence(derOid(type), derUtf8String(value))));
  };
  add(oid.organizationName, name.organization);
  add(oid.commonName, name.commonName);
  return derSequence(...parts);
}
