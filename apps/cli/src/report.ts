import type { Check, Report } from '#libs/verify';
import type { Terminal } from './config.js';
import { columns, printable, style } from './style.js';

const marks = { passed: '✓', failed: '✗', skipped: '–' } as const;

/** Every check in order, with what was found; for a failed one what would cure it. */
export function printChecks(
  terminal: Terminal,
  checks: readonly Pick<Check, 'state' | 'title' | 'detail' | 'cure'>[],
): void {
  const paint = style(terminal.colours.out);
  const colour = { passed: paint.good, failed: paint.bad, skipped: paint.faint };
  for (const { state, title, detail, cure } of checks) {
    const line = `${title}: ${printable(detail)}`;
    terminal.out(`${colour[state](marks[state])} ${state === 'skipped' ? paint.faint(line) : line}\n`);
    if (cure !== undefined && state !== 'passed') terminal.out(`  ${paint.bold('cure:')} ${printable(cure)}\n`);
  }
}

/** The last lines: what is now known, or that nothing is. */
export function printVerdict(
  terminal: Terminal,
  report: Report,
  { target, policy }: { target: string; policy: { kind: 'any' | 'identity' | 'key' } },
): void {
  const paint = style(terminal.colours.out);
  if (!report.ok) {
    terminal.out(`\n${paint.bad(`NOT VERIFIED: ${printable(target)}`)}\n`);
    return;
  }
  terminal.out(`\n${paint.good(`Verified: ${printable(target)}`)}\n`);
  terminal.out(columns(facts(report).map(([name, value]) => [name, printable(value)] as const)));
  if (policy.kind === 'any') {
    terminal.out(
      `${paint.warn('WARNING: no identity was demanded, so this does not say that the right person signed.')}\n` +
        '  Anyone with an identity at this service could have. Give --certificate-identity and --certificate-oidc-issuer.\n',
    );
  }
}

function facts({ signer, times, logEntries, statement }: Report): (readonly [string, string])[] {
  return [
    ...(signer?.kind === 'certificate'
      ? ([
          ['signer', signer.san],
          ['issuer', signer.issuer],
        ] as const)
      : []),
    ...(signer?.kind === 'key' ? ([['signer', 'the given key']] as const) : []),
    ...(times ?? []).map(({ time, operator }) => ['signed', `${time.toISOString()} according to ${operator}`] as const),
    ...(logEntries ?? []).map(({ origin, index }) => ['log', `entry ${index} of ${origin}`] as const),
    ...(statement ? ([['predicate', statement.predicateType]] as const) : []),
  ];
}
