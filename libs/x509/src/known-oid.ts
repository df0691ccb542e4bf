import { type DerElement, derOid, equalBytes, parseDer, readOid } from '#libs/encoding';
import { oid } from './oid.js';

// A Fulcio leaf has two dozen extensions, and turning each OID into text costs more than all the rest of reading it. Nearly all are among a few dozen
// that we know beforehand, so they are found by their bytes. The table is made once and never grows.

interface KnownOid {
  /** Contents of the OBJECT IDENTIFIER. */
  readonly contents: Uint8Array;
  readonly text: string;
}

const TABLE_SIZE = 1024;
const table: KnownOid[][] = Array.from({ length: TABLE_SIZE }, () => []);
const encoded = new Map<string, Uint8Array>();

const fulcioNumbers = Array.from({ length: 24 }, (_, i) => `${oid.fulcio}.${i + 1}`);
for (const text of new Set([...Object.values(oid), ...fulcioNumbers])) {
  const der = derOid(text);
  const { contents } = parseDer(der);
  encoded.set(text, der);
  table[slot(contents)]?.push({ contents, text });
}

function slot(contents: Uint8Array): number {
  let sum = contents.length;
  for (let i = 0; i < contents.length; i++) sum = (sum * 31 + (contents[i] ?? 0)) & (TABLE_SIZE - 1);
  return sum;
}

/**
 * The dotted form of an OBJECT IDENTIFIER, as `readOid` of the DER reader gives it.
 * @throws EncodingError `ENCODING_DER`
 */
export function readExtensionOid(element: DerElement): string {
  const { contents } = element;
  const known = table[slot(contents)]?.find((entry) => equalBytes(entry.contents, contents));
  return known ? known.text : readOid(element);
}

/** The DER of a dotted OID, tag and length included. */
export function encodeOid(text: string): Uint8Array {
  return encoded.get(text) ?? derOid(text);
}
