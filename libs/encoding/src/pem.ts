import { encodeBase64, parseBase64 } from './base64.js';
import { EncodingError } from './errors.js';

/** One block: `label` as in `BEGIN CERTIFICATE`, and the bytes inside. */
export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
}

const LINE = 64; // RFC 7468 §2: generators wrap at exactly 64 characters
const begin = /^-----BEGIN ([A-Z0-9][A-Z0-9 ]{0,63})-----$/;

/** The block as text of 64 columns, with a line feed at the end (RFC 7468 §3). */
export function encodePem(label: string, der: Uint8Array): string {
  const body = encodeBase64(der);
  let out = `-----BEGIN ${label}-----\n`;
  for (let i = 0; i < body.length; i += LINE) out += body.slice(i, i + LINE) + '\n';
  return `${out}-----END ${label}-----\n`;
}

/**
 * All blocks of the text, in order. Lines may end in CR LF and blank lines may stand between blocks; any other text
 * outside a block, headers inside one, mismatched labels or loose base64 are refused. Line widths are not checked.
 * @throws EncodingError `ENCODING_PEM`, also when there is no block at all
 * @see RFC 7468 §3
 */
export function parsePem(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  let label: string | undefined;
  let body: string[] = [];
  let number = 0;
  for (const raw of text.split('\n')) {
    number++;
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    if (label === undefined) {
      if (line.trim() === '') continue;
      label = begin.exec(line)?.[1];
      if (label === undefined) throw fail(`line ${number} is outside a block`);
      body = [];
    } else if (line.startsWith('-----')) {
      if (line !== `-----END ${label}-----`) throw fail(`line ${number} does not end the block ${label}`);
      blocks.push({ label, der: parseBody(body, label) });
      label = undefined;
    } else {
      if (line === '') throw fail(`line ${number} is blank inside the block ${label}`);
      body.push(line);
    }
  }
  if (label !== undefined) throw fail(`the block ${label} does not end`);
  if (blocks.length === 0) throw fail('no block found');
  return blocks;
}

function parseBody(lines: readonly string[], label: string): Uint8Array {
  if (lines.length === 0) throw fail(`the block ${label} is empty`);
  try {
    return parseBase64(lines.join(''));
  } catch (cause) {
    throw new EncodingError('ENCODING_PEM', `Cannot parse PEM: the block ${label} is not base64`, { cause });
  }
}

function fail(state: string): EncodingError {
  return new EncodingError('ENCODING_PEM', `Cannot parse PEM: ${state}`);
}
