import { concatBytes, EncodingError, parseBase64 } from '#libs/encoding';

const begin = /^-----BEGIN (PGP [A-Z ]{1,40})-----$/;
const header = /^[!-9;-~]+:( .*)?$/;
const checksum = /^=[A-Za-z0-9+/]{4}$/;

/**
 * The bytes of a file of keys, which may be armoured, also as several blocks with nothing but blank lines around them.
 * @returns undefined when it is armour, but malformed or not of this label
 * @see RFC 9580 §6.2
 */
export function withoutArmor(bytes: Uint8Array, label: string): Uint8Array | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  if (!text.trimStart().startsWith('-----BEGIN PGP')) return bytes;
  const blocks: Uint8Array[] = [];
  const lines = text.split('\n').map((line) => line.trimEnd());
  for (let at = 0; at < lines.length; at++) {
    if (lines[at] === '') continue;
    if (begin.exec(lines[at] ?? '')?.[1] !== label) return undefined;
    const end = lines.indexOf(`-----END ${label}-----`, at);
    const body = end < 0 ? undefined : readBody(lines.slice(at + 1, end));
    if (body === undefined) return undefined;
    blocks.push(body);
    at = end;
  }
  return concatBytes(...blocks);
}

/** Headers, a blank line, base64, a checksum or none; it is not compared, as RFC 9580 §6.1 asks. */
function readBody(lines: readonly string[]): Uint8Array | undefined {
  const blank = lines.indexOf('');
  if (blank < 0 || !lines.slice(0, blank).every((line) => header.test(line))) return undefined;
  const body = lines.slice(blank + 1);
  if (checksum.test(body.at(-1) ?? '')) body.pop();
  try {
    return parseBase64(body.join(''));
  } catch (error) {
    if (error instanceof EncodingError) return undefined;
    throw error;
  }
}
