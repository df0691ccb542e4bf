import type { Layout } from './layout.js';

/**
 * Texts that an entry must contain to be worth a closer look: at least one of each group. They are compared without regard to the case of ASCII
 * letters. What passes may still not match; what matches always passes.
 */
export interface TextFilter {
  /** Latin-1 text of UTF-8 bytes, in lower case: see `textFilter`. */
  readonly groups: readonly (readonly string[])[];
}

/** Strings in an entry that are shorter are neither keys nor certificates nor digests: not decoded. */
const MIN_ENCODED = 40;
/** Certificates lie in PEM in base64; in some kinds of entry that is in base64 again. */
const MAX_DEPTH = 4;

/**
 * A filter from groups of alternatives. Of an alternative that is not all ASCII the longest run of ASCII is taken: lower-casing by bytes is not
 * lower-casing of letters. A group in which an alternative is left empty lets all pass; without groups all pass.
 */
export function textFilter(groups: readonly (readonly (string | Uint8Array)[])[]): TextFilter {
  const usable = groups
    .map((group) => group.map((one) => (typeof one === 'string' ? asciiRun(one) : latin1(one).toLowerCase())))
    .filter((group) => group.every((one) => one !== ''));
  return { groups: usable };
}

/** Whether every group has an alternative in the entry, in what it encodes in base64, or in its annex. */
export function findText(
  { groups }: TextFilter,
  layout: Layout,
  record: Uint8Array,
  annex: Uint8Array | undefined,
): boolean {
  let missing = groups;
  const look = (text: string): boolean => {
    const lower = text.toLowerCase();
    missing = missing.filter((group) => !group.some((one) => lower.includes(one)));
    return missing.length === 0;
  };
  const text = latin1(record);
  if (look(text)) return true;
  if (annex !== undefined && look(latin1(annex))) return true;
  // An escape may hide anything: who has one is looked at closely. Canonical bodies seldom do.
  if (layout === 'tlog-tiles' && text.includes('\\')) return true;
  // A CT log has its certificates in DER as they are.
  return layout === 'tlog-tiles' && lookInEncoded(text, look, 0);
}

/** Looks into each quoted string that may be base64. */
function lookInEncoded(json: string, look: (text: string) => boolean, depth: number): boolean {
  for (let open = json.indexOf('"'); open >= 0;) {
    const close = json.indexOf('"', open + 1);
    if (close < 0) return false;
    if (close - open > MIN_ENCODED) {
      if (lookInBase64(json.slice(open + 1, close), look, depth)) return true;
    }
    // A closing quote is taken for an opening one too: what lies between two strings is short.
    open = close;
  }
  return false;
}

function lookInBase64(text: string, look: (text: string) => boolean, depth: number): boolean {
  const decoded = Buffer.from(text, 'base64').toString('latin1');
  if (look(decoded)) return true;
  if (depth >= MAX_DEPTH) return false;
  if (decoded.startsWith('-----BEGIN')) {
    // One block or several: armour lines, headers and checksums are not base64 lines.
    const blocks = decoded.split(/-----[^-\n]*-----/).map((block) =>
      block
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => /^[A-Za-z0-9+/]+={0,2}$/.test(line))
        .join(''),
    );
    return blocks.some((block) => block.length >= MIN_ENCODED && lookInBase64(block, look, depth + 1));
  }
  if (decoded.startsWith('{')) return lookInEncoded(decoded, look, depth + 1);
  return /^[A-Za-z0-9+/\s]{40,}={0,2}\s*$/.test(decoded) && lookInBase64(decoded, look, depth + 1);
}

function asciiRun(text: string): string {
  const runs = text.match(/[\x20-\x7e]+/g) ?? [];
  return runs.reduce((longest, run) => (run.length > longest.length ? run : longest), '').toLowerCase();
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
