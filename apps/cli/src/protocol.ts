import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Terminal } from './config.js';
import { CliError, type ExitCode } from './exit.js';
import { reportFailure } from './failure.js';

/*
 * The command line that the Sigstore client conformance suite drives:
 *
 *   sign-bundle [--staging] [--in-toto] --identity-token TOKEN --bundle FILE [--trusted-root F] [--signing-config F] FILE
 *   verify-bundle [--staging] --bundle FILE (--certificate-identity ID --certificate-oidc-issuer URL | --key PEM) [--trusted-root F] FILE_OR_DIGEST
 *
 * Exit code 0 is success, anything else a failure. See sigstore/sigstore-conformance: docs/cli_protocol.md.
 */

const NO_NETWORK_TRUST = 'Give --trusted-root and --signing-config: this client fetches neither from a TUF repository';

/** Runs one command of the protocol. */
export async function runConformance(argv: readonly string[], terminal: Terminal): Promise<ExitCode> {
  try {
    const [command, ...rest] = argv;
    if (command === 'verify-bundle') return await verifyBundle(terminal, rest);
    if (command === 'sign-bundle') return await signBundle(terminal, rest);
    throw new CliError('usage', 'Cannot run: the command must be sign-bundle or verify-bundle');
  } catch (error) {
    return reportFailure(error, terminal, false);
  }
}

async function verifyBundle(terminal: Terminal, argv: string[]): Promise<ExitCode> {
  const { values, target } = readArguments(argv, {
    staging: { type: 'boolean' },
    bundle: { type: 'string' },
    'certificate-identity': { type: 'string' },
    'certificate-oidc-issuer': { type: 'string' },
    key: { type: 'string' },
    'trusted-root': { type: 'string' },
  });
  const text = (name: string) => (typeof values[name] === 'string' ? values[name] : undefined);
  const bundle = need(text('bundle'), 'bundle');
  refuseStaging(values, text('trusted-root'));
  const identity = text('certificate-identity');
  const issuer = text('certificate-oidc-issuer');
  const key = text('key');
  // The protocol always says who must have signed; without it anybody would do.
  if (key === undefined && (identity === undefined || issuer === undefined)) {
    throw new CliError('usage', 'Cannot verify: give --certificate-identity and --certificate-oidc-issuer, or --key');
  }
  const { verifyFile } = await import('./verify.js');
  return verifyFile(terminal, target, {
    bundle,
    trustedRoot: text('trusted-root') ?? publicGoodTrustedRoot(),
    ...(identity !== undefined && { certificateIdentity: identity }),
    ...(issuer !== undefined && { certificateOidcIssuer: issuer }),
    ...(key !== undefined && { key }),
  });
}

async function signBundle(terminal: Terminal, argv: string[]): Promise<ExitCode> {
  const { values, target } = readArguments(argv, {
    staging: { type: 'boolean' },
    'in-toto': { type: 'boolean' },
    'identity-token': { type: 'string' },
    bundle: { type: 'string' },
    'trusted-root': { type: 'string' },
    'signing-config': { type: 'string' },
  });
  const text = (name: string) => (typeof values[name] === 'string' ? values[name] : undefined);
  const signingConfig = text('signing-config');
  refuseStaging(values, signingConfig);
  if (signingConfig === undefined) {
    throw new CliError('usage', 'Cannot sign with the public good instance: --signing-config is missing', {
      cure: NO_NETWORK_TRUST,
    });
  }
  const trustedRoot = text('trusted-root');
  const { signFiles } = await import('./sign.js');
  return signFiles(terminal, [target], {
    bundle: need(text('bundle'), 'bundle'),
    identityToken: need(text('identity-token'), 'identity-token'),
    signingConfig,
    oidcClientId: 'sigstore',
    ...(trustedRoot !== undefined && { trustedRoot }),
    ...(values['in-toto'] === true && { inToto: true }),
  });
}

type Options = Record<string, { type: 'boolean' | 'string' }>;

/** Options in any order, each at most once, and exactly one operand. */
function readArguments(argv: string[], options: Options): { values: Record<string, unknown>; target: string } {
  try {
    const { values, positionals, tokens } = parseArgs({ args: argv, options, allowPositionals: true, tokens: true });
    const [target, ...more] = positionals;
    if (target === undefined || more.length > 0) throw new Error('exactly one file is wanted');
    const names = tokens.flatMap((token) => (token.kind === 'option' ? [token.name] : []));
    const twice = names.find((name, at) => names.indexOf(name) !== at);
    if (twice !== undefined) throw new Error(`--${twice} is given twice`);
    return { values, target };
  } catch (cause) {
    throw new CliError(
      'usage',
      `Cannot read the command line: ${cause instanceof Error ? cause.message : 'unreadable'}`,
      { cause },
    );
  }
}

function need(value: string | undefined, name: string): string {
  if (value === undefined) throw new CliError('usage', `Cannot run: --${name} is missing`);
  return value;
}

function refuseStaging(values: Record<string, unknown>, given: string | undefined): void {
  if (values['staging'] !== true || given !== undefined) return;
  throw new CliError(
    'network',
    'Cannot use the staging instance: its trust material has to be fetched, and this client does not fetch it',
    {
      cure: NO_NETWORK_TRUST,
    },
  );
}

/** The public good instance's trusted root, beside the sources; one level further up when compiled into dist. */
function publicGoodTrustedRoot(): string {
  const candidates = ['../trust/', '../../../../apps/cli/trust/'].map((folder) =>
    fileURLToPath(new URL(`${folder}public-good.trusted_root.json`, import.meta.url)),
  );
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined)
    throw new CliError('unreadable', 'Cannot find the trusted root of the public good instance', {
      cure: 'Give --trusted-root',
    });
  return found;
}
