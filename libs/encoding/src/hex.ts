import { EncodingError } from './errors.js';

const pairs: string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

const FOREIGN = 0xff;
const values = new Uint8Array(128).fill(FOREIGN);
for (let digit = 0; digit < 16; digit++) {
  values[digit.toString(16).charCodeAt(0)] = digit;
  values[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

const ascii = new TextDecoder();
const digits = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));
/** The digits of one SHA-256. */
const hashDigits = new Uint8Array(64);

/** Lower-case hexadecimal, two digits a byte. */
export function encodeHex(bytes: Uint8Array): string {
  // Most of what is written so is a SHA-256: all digits at once leave one string behind instead of one for each byte.
  if (bytes.length === 32) {
    for (let i = 0; i < 32; i++) {
      const byte = bytes[i] as number;
      hashDigits[2 * i] = digits[byte >> 4] as number;
      hashDigits[2 * i + 1] = digits[byte & 15] as number;
    }
    return ascii.decode(hashDigits);
  }
  let out = '';
  for (let i = 0; i < bytes.length; i++) out += pairs[bytes[i] as number];
  return out;
}

/**
 * Bytes of hexadecimal digits, lower or upper case, without prefix or separators.
 * @throws EncodingError `ENCODING_HEX` on an odd number of digits or any other character
 */
export function parseHex(text: string): Uint8Array {
  if (text.length % 2 !== 0) {
    throw new EncodingError('ENCODING_HEX', `Cannot parse hex: odd number of digits ${text.length}`);
  }
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) {
    // Beyond the table the lookup is undefined; both that and FOREIGN have bits above the low four.
    const high = values[text.charCodeAt(2 * i)] ?? FOREIGN;
    const low = values[text.charCodeAt(2 * i + 1)] ?? FOREIGN;
    if ((high | low) > 15) throw new EncodingError('ENCODING_HEX', `Cannot parse hex: foreign character in pair ${i}`);
    out[i] = (high << 4) | low;
  }
  return out;
}
