import { encodeBase64, EncodingError, parseBase64 } from '#libs/encoding';

const LINE = 64;
const begin = /^-----BEGIN (PGP [A-Z ]{1,40})-----$/;
const header = /^[!-9;-~]+:( .*)?$/;
const checksum = /^=[A-Za-z0-9+/]{4}$/;

/** One armoured block: what stands behind `BEGIN`, and the bytes inside. */
export interface ArmorBlock {
  readonly label: string;
  readonly bytes: Uint8Array;
}

/** Whether the text sets out to be armour, rightly or not. */
export function isArmor(text: string): boolean {
  return text.trimStart().startsWith('-----BEGIN PGP');
}

/**
 * The blocks of an armoured text, one after the other with nothing but blank lines around them. Headers are passed over.
 * The checksum is not compared: RFC 9580 §6.1 forbids to refuse anything for it.
 * @returns undefined when the text is not that
 * @see RFC 9580 §6.2
 */
export function readArmor(text: string): ArmorBlock[] | undefined {
  const blocks: ArmorBlock[] = [];
  const lines = text.split('\n').map((line) => line.trimEnd());
  for (let at = 0; at < lines.length; at++) {
    if (lines[at] === '') continue;
    const label = begin.exec(lines[at] ?? '')?.[1];
    const end = label === undefined ? -1 : lines.indexOf(`-----END ${label}-----`, at);
    if (label === undefined || end < 0) return undefined;
    const bytes = readBody(lines.slice(at + 1, end));
    if (bytes === undefined) return undefined;
    blocks.push({ label, bytes });
    at = end;
  }
  return blocks.length > 0 ? blocks : undefined;
}

/** Headers, a blank line, base64, a checksum or none. */
function readBody(lines: readonly string[]): Uint8Array | undefined {
  const blank = lines.indexOf('');
  if (blank < 0 || !lines.slice(0, blank).every((line) => header.test(line))) return undefined;
  const body = lines.slice(blank + 1);
  if (checksum.test(body.at(-1) ?? '')) body.pop();
  if (body.includes('')) return undefined;
  try {
    return parseBase64(body.join(''));
  } catch (error) {
    if (error instanceof EncodingError) return undefined;
    throw error;
  }
}

/** The block as Go's `armor.Encode` writes it, without headers: 64 columns, a checksum, no line feed at the end. */
export function encodeArmor(label: string, bytes: Uint8Array): string {
  const body = encodeBase64(bytes);
  let out = `-----BEGIN ${label}-----\n\n`;
  for (let i = 0; i < body.length; i += LINE) out += body.slice(i, i + LINE) + '\n';
  return `${out}=${encodeBase64(crc24(bytes))}\n-----END ${label}-----`;
}

/** @see RFC 9580 §6.1.1 */
function crc24(bytes: Uint8Array): Uint8Array {
  let crc = 0xb704ce;
  for (const byte of bytes) {
    crc ^= byte << 16;
    for (let bit = 0; bit < 8; bit++) {
      crc <<= 1;
      if ((crc & 0x1000000) !== 0) crc ^= 0x1864cfb;
    }
  }
  return Uint8Array.of((crc >> 16) & 0xff, (crc >> 8) & 0xff, crc & 0xff);
}
