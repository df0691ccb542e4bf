import { EncodingError } from './errors.js';

const encoder = new TextEncoder();
// ignoreBOM: a byte order mark is a character like any other; dropping it would give two byte strings one text.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// With the u flag a surrogate pair is one code point, so only an unpaired half matches.
const loneSurrogate = /[\ud800-\udfff]/u;

/** Whether the string holds half a surrogate pair, which UTF-8 cannot carry. */
export function hasLoneSurrogate(text: string): boolean {
  return loneSurrogate.test(text);
}

/**
 * UTF-8 bytes of the text.
 * @throws EncodingError `ENCODING_UTF8` on an unpaired surrogate, instead of silently writing U+FFFD
 */
export function encodeUtf8(text: string): Uint8Array {
  if (hasLoneSurrogate(text)) throw new EncodingError('ENCODING_UTF8', 'Cannot encode UTF-8: unpaired surrogate');
  return encoder.encode(text);
}

/**
 * The text of UTF-8 bytes; a byte order mark is kept.
 * @throws EncodingError `ENCODING_UTF8` on anything that is not shortest-form UTF-8 (RFC 3629 §3)
 */
export function parseUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new EncodingError('ENCODING_UTF8', 'Cannot parse UTF-8: invalid byte sequence', { cause });
  }
}
