// The official client conformance suite's verification cases, through the executable that the suite would call.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { listCases, type ConformanceCase } from '../conformance/cases.js';

const executable = join(import.meta.dirname, '../../bin/conformance');
const publicGood = join(import.meta.dirname, '../../apps/cli/trust/public-good.trusted_root.json');

function run(args: string[]): Promise<{ exit: number; output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [executable, ...args], { timeout: 60_000 }, (error, stdout, stderr) => {
      // A signal has no code: it is neither success nor a verdict.
      const exit = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ exit, output: stdout + stderr });
    });
  });
}

function argumentsFor(test: ConformanceCase, target: string): string[] {
  const who = test.key
    ? ['--key', test.key]
    : ['--certificate-identity', test.identity, '--certificate-oidc-issuer', test.issuer];
  // Without a trusted root of its own a case means the public good instance's, which the client has to know.
  const isPublicGood = readFileSync(test.trustedRoot, 'utf8') === readFileSync(publicGood, 'utf8');
  return [
    'verify-bundle',
    '--bundle',
    test.bundle,
    ...who,
    ...(isPublicGood ? [] : ['--trusted-root', test.trustedRoot]),
    target,
  ];
}

const cases = listCases();
if (cases.length === 0) console.warn('skipped: the conformance suite is not at hand');

describe.skipIf(cases.length === 0).concurrent('bin/conformance verify-bundle', () => {
  it.each(cases.map((test) => [test.name, test] as const))('%s, by path and by digest', async (_, test) => {
    const digest = createHash('sha256').update(readFileSync(test.artifact)).digest('hex');
    for (const target of [test.artifact, `sha256:${digest}`]) {
      const { exit, output } = await run(argumentsFor(test, target));
      // 1 is a verdict, 3 a bundle that cannot be read; a crash (70) or wrong usage (2) would be no answer at all.
      expect(test.mustFail ? [1, 3] : [0], output).toContain(exit);
      if (test.mustFail) expect(output).toContain('✗');
    }
  });
});
