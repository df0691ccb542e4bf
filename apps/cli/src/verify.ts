import { parsePublicKeyPem } from '#libs/crypto';
import { opensslCrypto } from '#libs/openssl';
import { verifyBundle, VerifyError, type Artifact, type Check, type Policy, type Report } from '#libs/verify';
import type { TrustedRoot } from '#libs/trust';
import { openArtifact } from './artifact.js';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { readInput } from './files.js';
import { readMatcher } from './matcher.js';
import { printChecks, printVerdict } from './report.js';
import { jsonText } from './style.js';
import { parseOr, readTrustedRoot } from './trust-files.js';

/** Whose signature to accept, as the command line says it. */
export interface PolicyOptions {
  certificateIdentity?: string;
  certificateIdentityRegexp?: string;
  certificateOidcIssuer?: string;
  certificateOidcIssuerRegexp?: string;
  key?: string;
}

export interface VerifyOptions extends PolicyOptions {
  bundle?: string;
  trustedRoot?: string;
  json?: boolean;
}

const MAX_BUNDLE_BYTES = 32 * 1024 * 1024;
const MAX_KEY_BYTES = 64 * 1024;

/** `verify`: everything comes from files; there is no network code in this module nor in what it loads. */
export async function verifyFile(terminal: Terminal, target: string, options: VerifyOptions): Promise<ExitCode> {
  if (options.trustedRoot === undefined) {
    throw new CliError('usage', 'Cannot verify: --trusted-root is missing', {
      cure: 'Get the trusted root of the service that signed, once and by a way you trust; its operator makes it with `chancery trust export`',
    });
  }
  const policy = await readPolicy(options);
  const artifact = await openArtifact(target);
  if (options.bundle === undefined && target.startsWith('sha256:')) {
    throw new CliError('usage', 'Cannot verify a digest: --bundle is missing');
  }
  const bundlePath = options.bundle ?? `${target}.sigstore.json`;
  const report = await verifyBytes(
    await readInput(bundlePath, 'the bundle', MAX_BUNDLE_BYTES),
    artifact,
    policy,
    await readTrustedRoot(options.trustedRoot),
  );
  const names = { target, bundle: bundlePath, policy };
  if (options.json) terminal.out(jsonText(reportJson(report, names)));
  else {
    printChecks(terminal, report.checks);
    printVerdict(terminal, report, names);
  }
  return exitCodeOf(report);
}

/** A policy, or `any`: every signer will do, as long as all else holds. */
export type Demand = Policy | { kind: 'any' };

/**
 * What the flags demand. An identity is a name and the issuer that vouched for it: one without the other is no identity.
 * @throws CliError `usage`, `unreadable`
 */
export async function readPolicy(options: PolicyOptions): Promise<Demand> {
  const flags = (name: string) => ({ exact: `--${name}`, pattern: `--${name}-regexp` });
  const san = await readMatcher(
    options.certificateIdentity,
    options.certificateIdentityRegexp,
    flags('certificate-identity'),
  );
  const issuer = await readMatcher(
    options.certificateOidcIssuer,
    options.certificateOidcIssuerRegexp,
    flags('certificate-oidc-issuer'),
  );
  if (options.key !== undefined) {
    if (san !== undefined || issuer !== undefined) {
      throw new CliError('usage', 'Cannot verify with both a key and an identity: a signature is by one of them');
    }
    const pem = Buffer.from(await readInput(options.key, 'the public key', MAX_KEY_BYTES)).toString('utf8');
    return {
      kind: 'key',
      publicKey: parseOr('unreadable', `the public key ${options.key}`, () => parsePublicKeyPem(pem)),
    };
  }
  if (san === undefined && issuer === undefined) return { kind: 'any' };
  if (san === undefined || issuer === undefined) {
    const missing = san === undefined ? '--certificate-identity' : '--certificate-oidc-issuer';
    throw new CliError('usage', `Cannot verify an identity: ${missing} is missing`, {
      cure: 'Give both the name and the issuer that vouched for it: any issuer can write any name',
    });
  }
  return { kind: 'identity', san, issuer };
}

/** Makes every check; those about the identity are marked as not made when none was demanded. */
export async function verifyBytes(
  bundle: Uint8Array | string,
  artifact: Artifact,
  demand: Demand,
  trustedRoot: TrustedRoot,
): Promise<Report> {
  const anyone: Policy = { kind: 'identity', san: () => true, issuer: () => true };
  const policy = demand.kind === 'any' ? anyone : demand;
  try {
    const report = await verifyBundle({ bundle, artifact, trustedRoot, policy, crypto: opensslCrypto });
    return demand.kind === 'any' ? { ...report, checks: report.checks.map(markUndemanded) } : report;
  } catch (error) {
    if (error instanceof VerifyError && error.code === 'VERIFY_POLICY') {
      throw new CliError('usage', error.message, { cause: error, cure: error.cure });
    }
    throw error;
  }
}

/** 3 for a bundle that could not be read, 1 for one that was read and does not verify. */
export function exitCodeOf(report: Report): ExitCode {
  if (report.ok) return exitCodes.ok;
  return report.failure?.check === 'bundle-format' ? exitCodes.unreadable : exitCodes.failed;
}

function markUndemanded(check: Check): Check {
  if ((check.id !== 'certificate-identity' && check.id !== 'certificate-issuer') || check.state !== 'passed')
    return check;
  const flag = check.id === 'certificate-identity' ? '--certificate-identity' : '--certificate-oidc-issuer';
  return {
    ...check,
    state: 'skipped',
    detail: `not demanded; the certificate says ${check.detail}`,
    cure: `Give ${flag} to demand it`,
  };
}

function reportJson(
  report: Report,
  { target, bundle, policy }: { target: string; bundle: string; policy: Demand },
): object {
  const { ok, checks, signer, times, logEntries, statement, failure } = report;
  return {
    ok,
    artifact: target,
    bundle,
    demanded: policy.kind,
    checks,
    ...(signer && { signer }),
    ...(times && { times }),
    ...(logEntries && { logEntries }),
    ...(statement && { statement: { predicateType: statement.predicateType, subjects: statement.subjects } }),
    ...(failure && { error: failure.toJSON() }),
  };
}
