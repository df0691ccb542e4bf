import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import type { Terminal } from './config.js';
import { exitCodes, type ExitCode } from './exit.js';
import { reportFailure } from './failure.js';
import { addIdentityOptions, addLogin } from './program-identity.js';

/** An action gets what commander read and returns how to end. */
export type Action<Arguments extends unknown[]> = (terminal: Terminal, ...given: Arguments) => Promise<ExitCode>;

const EXIT_HELP = `
Exit codes:
  0   success
  1   a signature, a proof or a service's answer does not verify
  2   wrong usage
  3   a file or token given cannot be used: missing, unreadable, malformed, expired
  4   a service cannot be reached or does not work
  5   a service refused the request
  6   a question about a log has no answer: what it takes is missing, unreachable or unsigned, or the work was stopped
  10  an image has no signature or attestation of the kind asked for
  11  the registry has no such image
  12  an image has some, and none of them holds
  13  an identity was asked for, and all there is was signed with keys
  70  a bug in this program
`;

/**
 * Runs one command line and returns the exit code; nothing is thrown and the process is not ended.
 * Each command's module is loaded when it runs, so that `verify` pays for nothing but verifying.
 */
export async function run(argv: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  const act =
    <Arguments extends unknown[]>(load: () => Promise<Action<Arguments>>) =>
    async (...given: [...Arguments, Command]) => {
      // commander appends the command itself, which no action needs.
      const action = await load();
      exitCode = await action(terminal, ...(given.slice(0, -1) as unknown as Arguments));
    };
  const program = await buildProgram(terminal, act, argv[0]);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    return reportFailure(error, terminal, argv.includes('--json'));
  }
}

export type Act = <Arguments extends unknown[]>(
  load: () => Promise<Action<Arguments>>,
) => (...given: [...Arguments, Command]) => Promise<void>;

type Add = (program: Command, act: Act) => void;

/** The commands, in the order of the help, and what adds them. */
const commands: readonly (readonly [names: readonly string[], add: () => Add | Promise<Add>])[] = [
  [['up'], () => addUp],
  [['sign'], () => addSign],
  [['verify'], () => addVerify],
  [['generate-key-pair', 'import-key-pair', 'public-key'], async () => (await import('./program-key.js')).addKeys],
  [['tag'], async () => (await import('./program-tag.js')).addTag],
  [['login', 'logout'], () => addLogin],
  [['log'], async () => (await import('./program-log.js')).addLog],
  [['ca'], async () => (await import('./program-ca.js')).addCa],
  [['image'], async () => (await import('./program-image.js')).addImage],
  [['simple'], async () => (await import('./program-simple.js')).addSimpleSigning],
  [['policy'], async () => (await import('./program-policy.js')).addPolicy],
  [['trust'], () => addTrust],
];

/** `first`: of the arguments. Of a command that is there the program knows that one alone, which takes less time; else all. */
async function buildProgram(terminal: Terminal, act: Act, first: string | undefined): Promise<Command> {
  const program = new Command('chancery')
    .description('Sign files with your identity instead of a key, prove it in a transparency log, verify it offline.')
    .version(readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'explain a command')
    .helpCommand('help [command]', 'explain a command')
    .addHelpText('after', EXIT_HELP)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.err(text),
      getOutHelpWidth: () => terminal.columns ?? 100,
      getErrHelpWidth: () => 100,
      getOutHasColors: () => terminal.colours.out,
      getErrHasColors: () => terminal.colours.err,
    })
    .showHelpAfterError('(run with --help for the options and examples)');
  const asked = commands.filter(([names]) => first !== undefined && names.includes(first));
  for (const [, add] of asked.length > 0 ? asked : commands) (await add())(program, act);
  return program;
}

function addUp(program: Command, act: Act): void {
  program
    .command('up')
    .description('Run the whole service: certificate authority, logs, timestamp authority and trust root on one port.')
    .option('--dev', 'add an OIDC issuer under /dev/oidc that gives a token to anyone who asks; loopback only')
    .option('--host <address>', 'address to listen on (CHANCERY_HOST, else 127.0.0.1)')
    .option('--port <number>', 'port to listen on (CHANCERY_PORT, else 8700)')
    .option('--data <folder>', 'folder for database, tiles and keys (CHANCERY_DATA, else ./data)')
    .option('--url <base>', 'URL under which clients reach the service (CHANCERY_URL, else http://<host>:<port>)')
    .option('--oidc-config <file>', "issuers of identity tokens, in Fulcio's format (CHANCERY_OIDC_CONFIG)")
    .addHelpText(
      'after',
      `
Keys and logs are made when the folder is empty, and said so; afterwards a missing or foreign key is a refusal to start.

Examples:
  $ chancery up --dev
  $ chancery up --data /var/lib/chancery --url https://sign.example.com --oidc-config issuers.yaml
`,
    )
    .action(act(async () => (await import('./up.js')).up));
}

function addSign(program: Command, act: Act): void {
  const sign = program
    .command('sign')
    .description('Sign files with your identity (or a key) and write a Sigstore bundle for each.')
    .argument('<file...>', 'the files to sign')
    .option('--bundle <file>', 'where the bundle goes; only with one file (default: <file>.sigstore.json)')
    .option('--url <base>', 'a chancery server; its signing configuration and trusted root are fetched from it')
    .option('--signing-config <file>', 'which services to use, instead of --url')
    .option('--trusted-root <file>', 'whom to believe; every answer is verified against it')
    .option(
      '--key <file>',
      'sign with this PEM private key, or key file of cosign, instead of an identity (COSIGN_PASSWORD if encrypted)',
    )
    .option('--in-toto', 'the file is an in-toto statement: sign it as it is in a DSSE envelope')
    .option('--json', 'print the result as JSON');
  addIdentityOptions(sign)
    .addHelpText(
      'after',
      `
With --url alone the trusted root comes from the server that is being checked: enough to notice a fault, not to notice a lie.
Signing makes your identity (e-mail address or workflow) public: it is in the certificate, and that is in the log for ever.

Whose identity: --identity-token, else what the CI system or cloud offers (SIGSTORE_ID_TOKEN, GitHub Actions, GitLab, Buildkite, CircleCI, Google, Azure,
Kubernetes, SPIFFE), else you sign in: with a browser, or without one by a code that you confirm elsewhere. --auth-flow signs in at once.

Examples:
  $ chancery sign README.md --url http://127.0.0.1:8700
  $ chancery sign README.md --url http://127.0.0.1:8700 --identity-token token.txt
  $ chancery sign README.md --url https://sign.example.com --auth-flow device
  $ chancery sign app.tar.gz app.zip --signing-config signing_config.json --trusted-root trusted_root.json
  $ chancery sign --in-toto provenance.json --url https://sign.example.com --bundle provenance.sigstore.json
  $ chancery sign app.tar.gz --key release.pem --url https://sign.example.com
`,
    )
    .action(act(async () => (await import('./sign.js')).signFiles));
}

function addVerify(program: Command, act: Act): void {
  program
    .command('verify')
    .description('Verify a file against its bundle. Makes no network call.')
    .argument('<file|digest>', 'the file that was signed, or its digest as sha256:<hex>')
    .option('--bundle <file>', 'the bundle (default: <file>.sigstore.json)')
    .option('--trusted-root <file>', 'whom to believe; required')
    .option('--certificate-identity <name>', 'who must have signed: e-mail address or URI, compared exactly')
    .option('--certificate-identity-regexp <pattern>', 'the same as a regular expression (RE2) for the whole name')
    .option('--certificate-oidc-issuer <url>', 'who must have vouched for the identity, compared exactly')
    .option('--certificate-oidc-issuer-regexp <pattern>', 'the same as a regular expression (RE2) for the whole URL')
    .option('--key <file>', 'verify with this PEM public key instead of an identity')
    .option('--json', 'print the checks as JSON')
    .addHelpText(
      'after',
      `
Every check is listed in the order it is made: ✓ passed, ✗ failed (with the reason and what would cure it), – not made.
Without an identity (name and issuer together) the signature is verified, but not WHO made it: anyone with an identity could have.

Examples:
  $ chancery verify README.md --trusted-root trusted_root.json \\
      --certificate-identity alice@example.com --certificate-oidc-issuer https://accounts.google.com
  $ chancery verify app.tar.gz --bundle app.sigstore.json --trusted-root trusted_root.json \\
      --certificate-identity-regexp 'https://github\\.com/example/app/.*' \\
      --certificate-oidc-issuer https://token.actions.githubusercontent.com
  $ chancery verify sha256:${'0'.repeat(8)}… --bundle app.sigstore.json --trusted-root trusted_root.json --key release.pub
`,
    )
    .action(act(async () => (await import('./verify.js')).verifyFile));
}

function addTrust(program: Command, act: Act): void {
  program
    .command('trust')
    .description('Handle trust material: whose signatures to believe.')
    .command('export')
    .description('Write trusted_root.json (for verifiers) and signing_config.v0.2.json (for signers).')
    .option('--url <base>', 'fetch them from this server: as trustworthy as the connection')
    .option('--data <folder>', 'make them from the keys in this data folder: as trustworthy as the folder')
    .option('--public-url <base>', 'with --data: the URL under which clients reach the service')
    .addOption(
      new Option('--rekor <version>', 'a signing config for clients of one version of Rekor; without it both').choices([
        '1',
        '2',
      ]),
    )
    .option('--out <folder>', 'where the files go', '.')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ chancery trust export --data /var/lib/chancery --public-url https://sign.example.com --out trust
  $ chancery trust export --url http://127.0.0.1:8700
  $ chancery trust export --url http://127.0.0.1:8700 --rekor 1 --out trust-v1
`,
    )
    .action(act(async () => (await import('./trust.js')).exportTrust));
}

function readVersion(): string {
  // Two levels up from apps/cli/src, one more when compiled into dist.
  for (const up of ['../../../package.json', '../../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8')) as Record<
        string,
        string
      >;
      if (name === 'chancery' && version !== undefined) return version;
    } catch {
      // Not here: it is the other depth.
    }
  }
  throw new Error('package.json is missing');
}
