import { EncodingError } from './errors.js';

const common = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const standardAlphabet = `${common}+/`; // RFC 4648 §4
const urlAlphabet = `${common}-_`; // RFC 4648 §5

const FOREIGN = 0xff;
const standard = { pairs: pairTable(standardAlphabet), values: valueTable(standardAlphabet) };
const url = { pairs: pairTable(urlAlphabet), values: valueTable(urlAlphabet) };

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
  return decode(text, unpaddedLength(text), standard.values);
}

/**
 * Bytes of unpadded URL-safe base64, as JOSE uses it (RFC 7515 §2). Unused bits must be zero.
 * @throws EncodingError `ENCODING_BASE64`
 */
export function parseBase64Url(text: string): Uint8Array {
  return decode(text, text.length, url.values);
}

/**
 * Bytes of base64 as protobuf's JSON form allows it: standard or URL-safe alphabet (not both in one text), padded or
 * not. Nothing else is relaxed: no whitespace, no foreign characters, unused bits zero, padding complete if present.
 * @throws EncodingError `ENCODING_BASE64`
 */
export function parseAnyBase64(text: string): Uint8Array {
  const length = unpaddedLength(text);
  if (length !== text.length && text.length % 4 !== 0) throw fail('padding is incomplete');
  const values = text.includes('-') || text.includes('_') ? url.values : standard.values;
  return decode(text, length, values);
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

function decode(text: string, length: number, values: Uint8Array): Uint8Array {
  const tail = length % 4;
  if (tail === 1) throw fail(`${length} characters do not make whole bytes`);
  const out = new Uint8Array((length - tail) * 0.75 + (tail === 0 ? 0 : tail - 1));
  const at = (index: number): number => values[text.charCodeAt(index)] ?? FOREIGN;
  let end = 0;
  let i = 0;
  for (; i < length - tail; i += 4) {
    const a = values[text.charCodeAt(i)] ?? FOREIGN;
    const b = values[text.charCodeAt(i + 1)] ?? FOREIGN;
    const c = values[text.charCodeAt(i + 2)] ?? FOREIGN;
    const d = values[text.charCodeAt(i + 3)] ?? FOREIGN;
    // All real values have six bits: one comparison finds a foreign character in any of the four.
    if ((a | b | c | d) > 63) throw fail(`foreign character after character ${i}`);
    out[end++] = (a << 2) | (b >> 4);
    out[end++] = (b << 4) | (c >> 2);
    out[end++] = (c << 6) | d;
  }
  if (tail === 0) return out;
  const a = at(i);
  const b = at(i + 1);
  const c = tail === 3 ? at(i + 2) : 0;
  if ((a | b | c) > 63) throw fail(`foreign character after character ${i}`);
  // RFC 4648 §3.5: otherwise several texts would mean the same bytes.
  if ((tail === 2 ? b & 15 : c & 3) !== 0) throw fail('unused bits of the last character are not zero');
  out[end++] = (a << 2) | (b >> 4);
  if (tail === 3) out[end] = (b << 4) | (c >> 2);
  return out;
}

/** Two characters for each twelve bits: half the lookups and half the appends of one for each six. */
function pairTable(alphabet: string): string[] {
  return Array.from({ length: 4096 }, (_, bits) => alphabet.charAt(bits >> 6) + alphabet.charAt(bits & 63));
}

function valueTable(alphabet: string): Uint8Array {
  const table = new Uint8Array(128).fill(FOREIGN);
  for (let value = 0; value < alphabet.length; value++) table[alphabet.charCodeAt(value)] = value;
  return table;
}

function fail(state: string): EncodingError {
  return new EncodingError('ENCODING_BASE64', `Cannot parse base64: ${state}`);
}
