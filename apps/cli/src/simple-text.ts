import type { PolicyDecision } from '#libs/simple-signing';
import type { Terminal } from './config.js';
import { printable, style } from './style.js';

/** One decision, with the platform that it is about where the image is an index. */
export interface NamedDecision {
  readonly decision: PolicyDecision;
  readonly platform?: string | undefined;
}

/** Each requirement with what was asked for and found, and each signature with why it counts or not. */
export function printDecision(terminal: Terminal, { decision, platform }: NamedDecision): void {
  const paint = style(terminal.colours.out);
  const mark = (good: boolean) => (good ? paint.good('✓') : paint.bad('✗'));
  const { image, manifestDigest, scope, requirements, allowed } = decision;
  terminal.out(`${paint.bold(printable(image))}${platform === undefined ? '' : ` for ${printable(platform)}`}\n`);
  terminal.out(`  manifest ${manifestDigest}\n  decided by ${printable(scope)}\n`);
  for (const { requirement, passed, asked, detail, signatures } of requirements) {
    terminal.out(`${mark(passed)} ${requirement.type}: ${printable(detail)}\n`);
    terminal.out(paint.faint(`  asked for: ${printable(asked)}\n`));
    for (const { signature, accepted, detail: why } of signatures) {
      terminal.out(`  ${mark(accepted)} ${signature} ${printable(why)}\n`);
    }
  }
  terminal.out(allowed ? `${paint.good('Accepted')}\n` : `${paint.bad('REFUSED')}\n`);
}

/** The same for programs. */
export function decisionJson({ decision, platform }: NamedDecision): object {
  const { allowed, image, manifestDigest, scope, requirements } = decision;
  return {
    allowed,
    image,
    platform: platform ?? null,
    manifestDigest,
    scope,
    requirements: requirements.map(({ requirement, passed, asked, detail, signatures }) => ({
      type: requirement.type,
      passed,
      asked,
      detail,
      signatures,
    })),
  };
}
