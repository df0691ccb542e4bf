import { encodeBase64, encodeHex, parseJson } from '#libs/encoding';
import type { LogHead } from '#libs/audit';
import type { Terminal } from './config.js';
import { columns, jsonText, printable, style } from './style.js';

/** What was found, on stderr: stdout has the result alone. */
export function explain(terminal: Terminal, head: LogHead, facts: readonly (readonly [string, string])[]): void {
  terminal.err(columns([...headRows(head), ...facts, signatureRow(head, terminal.colours.err)]));
}

export function headRows(head: LogHead): (readonly [string, string])[] {
  return [
    ['log', printable(head.origin)],
    ['size', head.size.toString()],
    ['root', encodeHex(head.rootHash)],
  ];
}

/** Without it everything else is only as good as the connection. */
export function signatureRow({ signedBy }: LogHead, colours: boolean): readonly [string, string] {
  const paint = style(colours);
  if (signedBy === undefined) {
    return [
      'signature',
      paint.warn('not verified: give --trusted-root or --verifier-key to know that the log itself signed this'),
    ];
  }
  const by = signedBy.logId === undefined ? 'the verifier key' : 'the trusted root';
  return ['signature', paint.good(`verified with ${by}`)];
}

/** As JSON with indentation if it is JSON, which is what these logs contain. */
export function bodyText(body: Uint8Array): string {
  try {
    return jsonText(parseJson(body, { bigIntegers: true }));
  } catch {
    return `${encodeBase64(body)}\n`; // still the entry, in a form that any terminal survives
  }
}

export function headJson(head: LogHead): object {
  return {
    origin: head.origin,
    treeSize: head.size,
    rootHash: encodeBase64(head.rootHash),
    signatureVerified: head.signedBy !== undefined,
    checkpoint: head.note,
  };
}

/** Grouped digits, for people. */
export function grouped(count: bigint | number): string {
  return BigInt(typeof count === 'number' ? Math.round(count) : count)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ' ');
}
