import { EncodingError } from './errors.js';

const common = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const standardAlphabet = `${common}+/`; // RFC 4648 §4
const urlAlphabet = `${common}-_`; // RFC 4648 §5

const FOREIGN = 0xff;
const FOREIGN_PAIR = 0xffff;
const standard = tables(standardAlphabet);
const url = tables(urlAlphabet);

/** What turns an alphabet's characters into bits and back. */
interface Tables {
  /** The two characters of each twelve bits: half the lookups and half the appends of one for each six. */
  readonly pairs: readonly string[];
  /** The six bits of a character. */
  readonly values: Uint8Array;
  /** The twelve bits of two characters, by their two bytes as this machine reads them. */
  readonly pairValues: Uint16Array;
}

/** Padded base64 of the standard alphabet (RFC 4648 §4). */
export function encodeBase64(bytes: Uint8Array): string {
  return encode(bytes, standard.pairs, standardAlphabet, true);
}

/** Unpadded base64 of the URL-safe alphabet (RFC 4648 §5). */
export function encodeBase64Url(bytes: Uint8Array): string {
  return encode(bytes, url.pairs, urlAlphabet, false);
}

/**
 * Bytes of padded standard base64. One spelling only: no whitespace, padding present, unused bits zero.
 * @throws EncodingError `ENCODING_BASE64`
 * @see RFC 4648 §3.3, §3.5, §4
 */
export function parseBase64(text: string): Uint8Array {
  if (text.length % 4 !== 0) throw fail(`length ${text.length} is not a multiple of 4`);
  return decode(text, unpaddedLength(text), standard);
}

/**
 * Bytes of unpadded URL-safe base64, as JOSE uses it (RFC 7515 §2). Unused bits must be zero.
 * @throws EncodingError `ENCODING_BASE64`
 */
export function parseBase64Url(text: string): Uint8Array {
  return decode(text, text.length, url);
}

/**
 * Bytes of base64 as protobuf's JSON form allows it: standard or URL-safe alphabet (not both in one text), padded or
 * not. Nothing else is relaxed: no whitespace, no foreign characters, unused bits zero, padding complete if present.
 * @throws EncodingError `ENCODING_BASE64`
 */
export function parseAnyBase64(text: string): Uint8Array {
  const length = unpaddedLength(text);
  if (length !== text.length && text.length % 4 !== 0) throw fail('padding is incomplete');
  return decode(text, length, text.includes('-') || text.includes('_') ? url : standard);
}

function encode(bytes: Uint8Array, pairs: readonly string[], alphabet: string, pad: boolean): string {
  const whole = bytes.length - (bytes.length % 3);
  let out = '';
  for (let i = 0; i < whole; i += 3) {
    const group = ((bytes[i] as number) << 16) | ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number);
    out += (pairs[group >> 12] as string) + (pairs[group & 0xfff] as string);
  }
  if (bytes.length - whole === 1) {
    out += (pairs[(bytes[whole] as number) << 4] as string) + (pad ? '==' : '');
  } else if (bytes.length - whole === 2) {
    const rest = ((bytes[whole] as number) << 8) | (bytes[whole + 1] as number);
    out += (pairs[rest >> 4] as string) + alphabet.charAt((rest & 15) << 2) + (pad ? '=' : '');
  }
  return out;
}

function unpaddedLength(text: string): number {
  if (text.endsWith('==')) return text.length - 2;
  return text.endsWith('=') ? text.length - 1 : text.length;
}

const utf8 = new TextEncoder();
/** Room for the characters being decoded, of texts that are not longer. */
const room = new Uint16Array(32_768);

function decode(text: string, length: number, { values, pairValues }: Tables): Uint8Array {
  const tail = length % 4;
  if (tail === 1) throw fail(`${length} characters do not make whole bytes`);
  const pairsOfText = text.length > 2 * room.length ? new Uint16Array(Math.ceil(text.length / 2)) : room;
  const bytesOfText = new Uint8Array(pairsOfText.buffer);
  // Characters out of a string one by one are the larger half of the work; this takes them all at once.
  const { read, written } = utf8.encodeInto(text, bytesOfText);
  if (read !== written || read !== text.length) throw fail('it has characters that are not ASCII');
  const out = new Uint8Array((length - tail) * 0.75 + (tail === 0 ? 0 : tail - 1));
  let end = 0;
  let i = 0;
  for (; i < (length - tail) / 2; i += 2) {
    const high = pairValues[pairsOfText[i] as number] as number;
    const low = pairValues[pairsOfText[i + 1] as number] as number;
    // All real values have twelve bits: one comparison finds a foreign character in any of the four.
    if ((high | low) > 0xfff) throw fail(`foreign character after character ${2 * i}`);
    const group = (high << 12) | low;
    out[end] = group >> 16;
    out[end + 1] = group >> 8;
    out[end + 2] = group;
    end += 3;
  }
  if (tail === 0) return out;
  const at = (index: number): number => values[bytesOfText[index] as number] ?? FOREIGN;
  const a = at(2 * i);
  const b = at(2 * i + 1);
  const c = tail === 3 ? at(2 * i + 2) : 0;
  if ((a | b | c) > 63) throw fail(`foreign character after character ${2 * i}`);
  // RFC 4648 §3.5: otherwise several texts would mean the same bytes.
  if ((tail === 2 ? b & 15 : c & 3) !== 0) throw fail('unused bits of the last character are not zero');
  out[end++] = (a << 2) | (b >> 4);
  if (tail === 3) out[end] = (b << 4) | (c >> 2);
  return out;
}

function tables(alphabet: string): Tables {
  const pairs = Array.from({ length: 4096 }, (_, bits) => alphabet.charAt(bits >> 6) + alphabet.charAt(bits & 63));
  const values = new Uint8Array(128).fill(FOREIGN);
  for (let value = 0; value < alphabet.length; value++) values[alphabet.charCodeAt(value)] = value;
  const pairValues = new Uint16Array(65_536).fill(FOREIGN_PAIR);
  const pair = new Uint16Array(1);
  const bytes = new Uint8Array(pair.buffer);
  pairs.forEach((characters, bits) => {
    bytes[0] = characters.charCodeAt(0);
    bytes[1] = characters.charCodeAt(1);
    pairValues[pair[0] as number] = bits;
  });
  return { pairs, values, pairValues };
}

function fail(state: string): EncodingError {
  return new EncodingError('ENCODING_BASE64', `Cannot parse base64: ${state}`);
}
