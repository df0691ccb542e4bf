import { compareBytes } from './bytes.js';
import { derTag } from './der-reader.js';
import { EncodingError } from './errors.js';
import { encodeUtf8 } from './utf8.js';

const MAX_OID_BYTES = 128; // what the reader accepts
const MAX_OID_TEXT = 512;

/** An element of any tag around finished contents. For raw INTEGER contents too, as when a nonce is echoed. */
export function derElement(tag: number, contents: Uint8Array): Uint8Array {
  const { out, body } = open(tag, contents.length);
  out.set(contents, body);
  return out;
}

/** SEQUENCE of finished elements, in the order given. */
export function derSequence(...parts: readonly Uint8Array[]): Uint8Array {
  return derConstructed(derTag.sequence, parts);
}

/** SET of finished elements, in the order given: for a SET OF use `derSetOf`. */
export function derSet(...parts: readonly Uint8Array[]): Uint8Array {
  return derConstructed(derTag.set, parts);
}

/** SET OF: the elements sorted by their encodings (X.690 §11.6). */
export function derSetOf(parts: readonly Uint8Array[]): Uint8Array {
  return derConstructed(derTag.set, parts.length < 2 ? parts : [...parts].sort(compareBytes));
}

/** `[n]` EXPLICIT around one finished element. n below 31. */
export function derExplicit(n: number, inner: Uint8Array): Uint8Array {
  return derElement(derTag.context(n), inner);
}

/** An element of any constructed tag around finished elements, for IMPLICIT tags such as `[0] IMPLICIT SET OF`. */
export function derConstructed(tag: number, parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const { out, body } = open(tag, length);
  let offset = body;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

/** INTEGER in the fewest octets. Bytes are an unsigned magnitude, big-endian: the result is never negative. */
export function derInteger(value: bigint | Uint8Array): Uint8Array {
  if (typeof value === 'bigint') return derElement(derTag.integer, integerContents(value));
  let start = 0;
  while (start < value.length - 1 && value[start] === 0) start++;
  const pad = value.length === 0 || (value[start] as number) > 127 ? 1 : 0; // X.690 §8.3.3: the top bit is the sign
  const { out, body } = open(derTag.integer, value.length - start + pad);
  out.set(value.subarray(start), body + pad);
  return out;
}

/**
 * OBJECT IDENTIFIER from its dotted form, without leading zeros; arcs may be of any size.
 * @throws EncodingError `ENCODING_DER` if the text is no OID, or needs more than 128 bytes
 */
export function derOid(dotted: string): Uint8Array {
  if (dotted.length > MAX_OID_TEXT || !/^[0-2](\.(0|[1-9][0-9]*))+$/.test(dotted)) {
    throw fail('OBJECT IDENTIFIER', 'text is not a dotted OID');
  }
  const [first, second, ...rest] = dotted.split('.') as [string, string, ...string[]]; // the pattern has two arcs
  if (first !== '2' && (second.length > 2 || Number(second) > 39)) {
    throw fail('OBJECT IDENTIFIER', `second arc under ${first} is above 39`); // X.690 §8.19.4
  }
  const contents: number[] = [];
  pushArc(contents, second, 40 * Number(first));
  for (const arc of rest) pushArc(contents, arc, 0);
  if (contents.length > MAX_OID_BYTES) {
    throw fail('OBJECT IDENTIFIER', `${contents.length} bytes, must be at most ${MAX_OID_BYTES}`);
  }
  return derElement(derTag.oid, Uint8Array.from(contents));
}

export function derOctetString(bytes: Uint8Array): Uint8Array {
  return derElement(derTag.octetString, bytes);
}

/** BIT STRING; `unusedBits` (0 to 7) of the last byte do not count and must be zero (X.690 §11.2.1). */
export function derBitString(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  const last = bytes[bytes.length - 1];
  const valid = last === undefined ? unusedBits === 0 : unusedBits <= 7 && (last & ((1 << unusedBits) - 1)) === 0;
  if (!valid) throw fail('BIT STRING', `the last ${unusedBits} bits cannot be unused`);
  const { out, body } = open(derTag.bitString, bytes.length + 1);
  out[body] = unusedBits;
  out.set(bytes, body + 1);
  return out;
}

export function derNull(): Uint8Array {
  return Uint8Array.of(derTag.null, 0);
}

export function derBoolean(value: boolean): Uint8Array {
  return Uint8Array.of(derTag.boolean, 1, value ? 0xff : 0);
}

export function derUtf8String(text: string): Uint8Array {
  return derElement(derTag.utf8String, encodeUtf8(text));
}

/** @throws EncodingError `ENCODING_DER` on a character beyond ASCII */
export function derIa5String(text: string): Uint8Array {
  if (!/^[\0-\x7f]*$/.test(text)) throw fail('IA5String', 'text has a character beyond ASCII');
  return derElement(derTag.ia5String, ascii(text));
}

/** @throws EncodingError `ENCODING_DER` on a character outside the set of X.680 §41.4 */
export function derPrintableString(text: string): Uint8Array {
  if (!/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text)) throw fail('PrintableString', 'text has a character outside its set');
  return derElement(derTag.printableString, ascii(text));
}

/**
 * UTCTime, cut to the second.
 * @throws EncodingError `ENCODING_DER` outside 1950 to 2049
 */
export function derUtcTime(date: Date): Uint8Array {
  const year = date.getUTCFullYear();
  if (!(year >= 1950 && year <= 2049)) throw fail('UTCTime', `year ${year} is outside 1950 to 2049`);
  return derElement(derTag.utcTime, ascii(`${two(year % 100)}${monthToSecond(date)}Z`));
}

/** GeneralizedTime, cut to the second: RFC 5280 §4.1.2.5.2 forbids fractions. */
export function derGeneralizedTime(date: Date): Uint8Array {
  const year = date.getUTCFullYear();
  if (!(year >= 0 && year <= 9999)) throw fail('GeneralizedTime', `year ${year} is outside 0 to 9999`);
  return derElement(derTag.generalizedTime, ascii(`${String(year).padStart(4, '0')}${monthToSecond(date)}Z`));
}

/** UTCTime until 2049, GeneralizedTime from 2050 and before 1950 (RFC 5280 §4.1.2.5). */
export function derTime(date: Date): Uint8Array {
  const year = date.getUTCFullYear();
  return year >= 1950 && year <= 2049 ? derUtcTime(date) : derGeneralizedTime(date);
}

/** A new array with tag and length written, and where the contents begin. */
function open(tag: number, length: number): { out: Uint8Array; body: number } {
  let body = 2;
  if (length > 127) for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) body++;
  const out = new Uint8Array(body + length);
  out[0] = tag;
  if (body === 2) {
    out[1] = length;
  } else {
    out[1] = 0x80 | (body - 2);
    for (let i = body - 1, rest = length; i > 1; i--, rest = Math.floor(rest / 256)) out[i] = rest % 256;
  }
  return { out, body };
}

function integerContents(value: bigint): Uint8Array {
  if (value >= -128n && value <= 127n) return Uint8Array.of(Number(BigInt.asUintN(8, value)));
  // -2^(8n-1) fits n bytes where +2^(8n-1) does not: the complement of a negative value has the length that matters.
  const magnitude = (value < 0n ? ~value : value).toString(16);
  const length = Math.floor((magnitude.length * 4 - Math.clz32(parseInt(magnitude.charAt(0), 16)) + 28) / 8) + 1;
  const digits = BigInt.asUintN(8 * length, value)
    .toString(16)
    .padStart(2 * length, '0');
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return out;
}

function pushArc(contents: number[], text: string, plus: number): void {
  const groups: number[] = [];
  if (text.length <= 15) {
    let value = Number(text) + plus; // below 2^53
    do {
      groups.push(value % 128);
      value = Math.floor(value / 128);
    } while (value > 0);
  } else {
    for (let value = BigInt(text) + BigInt(plus); value > 0n; value >>= 7n) groups.push(Number(value & 0x7fn));
  }
  for (let i = groups.length - 1; i >= 0; i--) contents.push((groups[i] as number) | (i > 0 ? 0x80 : 0)); // in range
}

function monthToSecond(date: Date): string {
  return (
    two(date.getUTCMonth() + 1) +
    two(date.getUTCDate()) +
    two(date.getUTCHours()) +
    two(date.getUTCMinutes()) +
    two(date.getUTCSeconds())
  );
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

function ascii(text: string): Uint8Array {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

function fail(type: string, state: string): EncodingError {
  return new EncodingError('ENCODING_DER', `Cannot write ${type}: ${state}`);
}
