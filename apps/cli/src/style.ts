/** Paints text for a terminal, or leaves it as it is. */
export interface Style {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly warn: (text: string) => string;
  readonly faint: (text: string) => string;
  readonly bold: (text: string) => string;
}

/** SGR codes of ECMA-48 §8.3.117, where colours are wanted. */
export function style(colours: boolean): Style {
  const paint = (on: number, off: number) => (text: string) => (colours ? `\u001b[${on}m${text}\u001b[${off}m` : text);
  return { good: paint(32, 39), bad: paint(31, 39), warn: paint(33, 39), faint: paint(2, 22), bold: paint(1, 22) };
}

/**
 * Makes a text from outside (a name in a certificate, a service's message) safe to print: no control or direction-changing character reaches the terminal.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd');
}

/** Lines of names and values, the values below each other. */
export function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}\n`).join('');
}

/** JSON for programs: two spaces, bigint as decimal string, ends in a newline. Escaped where a terminal would be driven by it. */
export function jsonText(value: unknown): string {
  return writeJson(value, 2);
}

/** The same on one line, for programs that read as it comes. */
export function jsonLine(value: unknown): string {
  return writeJson(value, 0);
}

function writeJson(value: unknown, indent: number): string {
  const plain = (_: string, field: unknown) => (typeof field === 'bigint' ? field.toString() : field);
  const text = JSON.stringify(value, plain, indent);
  const escape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  // One UTF-16 unit at a time: JSON escapes characters beyond 16 bits as two.
  return `${text.replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => character.replace(/[^]/g, escape))}\n`;
}
