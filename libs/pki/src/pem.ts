import { EncodingError, parseBase64, type PemBlock } from '#libs/encoding';

const MAX_LABEL = 64;
const begin = '-----BEGIN ';
const dashes = '-----';

export interface PemText {
  readonly blocks: readonly PemBlock[];
  /** What stands behind the last of them. */
  readonly rest: 'nothing' | 'more blocks' | 'other text';
}

/**
 * The first `max` PEM blocks of a text as Rekor reads them: looser than `parsePem`, because what people send was often
 * printed by a tool. Before a block any text may stand (`openssl x509 -text` writes some), lines may be of any length and
 * end in spaces. Headers inside a block are refused. From the first block that is malformed on all is `other text`.
 * @see RFC 7468 §2, §5.2
 */
export function readPem(text: string, max: number): PemText {
  const blocks: PemBlock[] = [];
  let rest = 0;
  while (!isBlank(text, rest)) {
    const block = readBlock(text, rest);
    if (block === undefined) return { blocks, rest: 'other text' };
    if (blocks.length === max) return { blocks, rest: 'more blocks' };
    blocks.push(block);
    rest = block.end;
  }
  return { blocks, rest: 'nothing' };
}

/** The next block that begins at or behind `from`, the start of a line; `end`: where the line after it begins. */
function readBlock(text: string, from: number): (PemBlock & { readonly end: number }) | undefined {
  const start = lineStart(text, begin, from);
  if (start < 0) return undefined;
  const labelEnd = text.indexOf(dashes, start + begin.length);
  const label = text.slice(start + begin.length, labelEnd);
  if (labelEnd < 0 || label.length > MAX_LABEL || label.includes('\n')) return undefined;
  const bodyStart = nextLine(text, labelEnd + dashes.length);
  const endLine = `-----END ${label}-----`;
  const bodyEnd = bodyStart === undefined ? -1 : lineStart(text, endLine, bodyStart);
  const end = bodyEnd < 0 ? undefined : nextLine(text, bodyEnd + endLine.length);
  const der = end === undefined ? undefined : decode(text.slice(bodyStart, bodyEnd));
  return end === undefined || der === undefined ? undefined : { label, der, end };
}

/** Where `token` next begins a line, from `from` on, which itself begins one; -1 if nowhere. */
function lineStart(text: string, token: string, from: number): number {
  if (text.startsWith(token, from)) return from;
  const found = text.indexOf(`\n${token}`, from);
  return found < 0 ? -1 : found + 1;
}

/** Where the line behind this place begins, the end of the text included; undefined if more than blanks stands before. */
function nextLine(text: string, from: number): number | undefined {
  const feed = text.indexOf('\n', from);
  const end = feed < 0 ? text.length : feed;
  return text.slice(from, end).trim() === '' ? Math.min(end + 1, text.length) : undefined;
}

function isBlank(text: string, from: number): boolean {
  return text.slice(from).trim() === '';
}

function decode(body: string): Uint8Array | undefined {
  try {
    return parseBase64(body.replace(/[ \t\r\n]+/g, ''));
  } catch (error) {
    if (error instanceof EncodingError) return undefined;
    throw error;
  }
}
