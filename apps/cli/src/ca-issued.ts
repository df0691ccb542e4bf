import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { loadStack, stackFailure } from './stack.js';
import { jsonText, printable, style } from './style.js';

/** The flags of `ca issued`. */
export interface IssuedCommand {
  data?: string;
  file?: string;
  identity?: string;
  issuer?: string;
  serial?: string;
  request?: string;
  since?: string;
  until?: string;
  limit: number;
  before?: string;
  json?: boolean;
}

type Issued = Awaited<ReturnType<Awaited<ReturnType<typeof loadStack>>['searchIssued']>>['records'][number];

/** Units of a time that is told by how long ago it was. */
const unitsMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** `ca issued`: what the issuing record of a CA holds, newest first. */
export async function listIssued(terminal: Terminal, options: IssuedCommand): Promise<ExitCode> {
  if (options.file !== undefined && options.data !== undefined) {
    throw new CliError('usage', 'Cannot read the issuing record: --file and --data name two of them');
  }
  const { searchIssued, isIssuedCursor } = await loadStack();
  const { identity, issuer, request, since, until, before, limit } = options;
  if (before !== undefined && !isIssuedCursor(before)) {
    throw new CliError('usage', 'Cannot go on from --before: it is not what a page ended with');
  }
  const query = {
    limit,
    ...(identity !== undefined && { identity }),
    ...(issuer !== undefined && { issuer }),
    ...(options.serial !== undefined && { serial: readSerial(options.serial) }),
    ...(request !== undefined && { requestId: request }),
    ...(since !== undefined && { sinceMs: readTime('since', since, terminal.now()) }),
    ...(until !== undefined && { untilMs: readTime('until', until, terminal.now()) }),
    ...(before !== undefined && { before }),
  };
  const { file, data } = options;
  const where = { ...(file !== undefined && { file }), ...(data !== undefined && { data }) };
  const { records, next } = await searchIssued(where, query).catch((cause: unknown) => {
    throw stackFailure(cause);
  });
  if (options.json) {
    terminal.out(jsonText({ ok: true, certificates: records.map(recordJson), next: next ?? null }));
    return exitCodes.ok;
  }
  if (records.length > 0) terminal.out(table(records, terminal.colours.out));
  const more = next === undefined ? '' : `; older ones with --before ${next}`;
  terminal.err(`${records.length} certificates${more}\n`);
  return exitCodes.ok;
}

/** Serials are written in many ways: `0x`, colons between bytes, without leading zeros. */
function readSerial(text: string): string {
  const digits = text.replace(/^0x/i, '').replaceAll(':', '').toLowerCase();
  if (!/^[0-9a-f]{1,40}$/.test(digits)) {
    throw new CliError('usage', `Cannot search by serial ${text}: expected up to 40 hexadecimal digits`);
  }
  return digits.padStart(40, '0');
}

function readTime(flag: string, text: string, nowMs: number): number {
  const [, count, unit = ''] = /^(\d{1,6})([smhdw])$/.exec(text) ?? [];
  const unitMs = unitsMs[unit];
  if (count !== undefined && unitMs !== undefined) return nowMs - Number(count) * unitMs;
  // A date alone is its beginning in UTC; a time needs its zone, or it would mean another instant on each machine.
  const isTime = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/.test(text);
  const time = isTime ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  throw new CliError(
    'usage',
    `Cannot read --${flag} ${text}: expected a time of RFC 3339, a date, or how long ago it was, like 90m or 7d`,
  );
}

function recordJson(record: Issued): object {
  const { serial, identity, sanKind, issuer, subject, requestId, fingerprint, scts, notBeforeMs } = record;
  return {
    serial,
    notBefore: new Date(notBeforeMs).toISOString(),
    identity,
    identityKind: sanKind,
    issuer,
    subject,
    requestId,
    fingerprint,
    scts: scts.map(({ logId, timestampMs, leafIndex }) => ({
      logId,
      timestamp: new Date(timestampMs).toISOString(),
      leafIndex: leafIndex ?? null,
    })),
  };
}

/** What fits side by side; the rest is in JSON. */
function table(records: readonly Issued[], colours: boolean): string {
  const heads = ['TIME', 'IDENTITY', 'ISSUER', 'SERIAL', 'CT', 'REQUEST'];
  const rows = records.map(({ notBeforeMs, identity, issuer, serial, scts, requestId }) => [
    `${new Date(notBeforeMs).toISOString().slice(0, 19)}Z`,
    ...[identity, issuer, serial].map(printable),
    scts.map(({ leafIndex }) => (leafIndex === undefined ? 'yes' : String(leafIndex))).join(',') || 'none',
    printable(requestId),
  ]);
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return [style(colours).bold(line(heads)), ...rows.map(line)].map((text) => `${text}\n`).join('');
}
