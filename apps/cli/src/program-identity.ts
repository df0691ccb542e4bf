import { InvalidArgumentError, Option, type Command } from 'commander';
import type { AuthFlow } from './identity-token.js';
import type { Act } from './program.js';

/** The flags' values, with what they are in few words. */
const authFlows = {
  normal: 'normal (browser)',
  device: 'device',
  oob: 'oob (copy a code)',
  client_credentials: 'client_credentials',
} as const satisfies Partial<Record<AuthFlow, string>>;
const noFlow = { token: 'token (do not sign in)' } as const satisfies Partial<Record<AuthFlow, string>>;

/** The flags about who signs, for every command that signs. */
export function addIdentityOptions(command: Command): Command {
  return addSignInOptions(
    command
      .option('--identity-token <token|file>', 'OIDC identity token; wins over everything else')
      .option('--oidc-provider <name>', 'take the token of this part of the environment, and no other')
      .option('--oidc-disable-ambient-providers', 'do not look for a token in the environment'),
    { ...authFlows, ...noFlow },
  );
}

/** The flags about signing in. */
function addSignInOptions(command: Command, flows: Readonly<Record<string, string>>): Command {
  const names = Object.keys(flows);
  return command
    .option('--oidc-issuer <url>', 'sign in with this issuer (default: that of the signing configuration)')
    .option('--oidc-client-id <id>', 'client at the issuer, and audience that the authority expects', 'sigstore')
    .option('--oidc-client-secret-file <file>', 'secret of a confidential client')
    .option('--oidc-redirect-url <url>', 'where the browser comes back to (default: http://localhost:0/auth/callback)')
    .option('--oidc-scope <scope>', 'scopes to ask for, may be repeated (default: openid email)', collect)
    .option('--oidc-audience <name>', 'audience of the token where it is not the client')
    .option('--oidc-connector-id <id>', "go to this one of Dex's upstream logins at once")
    .option(
      '--oidc-param <name=value>',
      'further parameter of the sign-in, such as prompt=login; may be repeated',
      collect,
    )
    .addOption(
      new Option('--auth-flow <flow>', `sign in by this: ${Object.values(flows).join(', ')}`).argParser(oneOf(names)),
    )
    .addOption(new Option('--fulcio-auth-flow <flow>').argParser(oneOf(names)).hideHelp())
    .option('--cache-token', 'keep the token, encrypted, until it expires or the session ends (CHANCERY_TOKEN_CACHE=1)')
    .addOption(new Option('--no-cache-token').hideHelp())
    .hook('preAction', (_, action) => {
      // cosign's name for the same thing.
      const alias: unknown = action.getOptionValue('fulcioAuthFlow');
      if (alias === undefined) return;
      if (action.getOptionValue('authFlow') === undefined) action.setOptionValue('authFlow', alias);
    });
}

/** `chancery login`, `chancery logout` */
export function addLogin(program: Command, act: Act): void {
  const login = program
    .command('login')
    .description('Sign in and say who you are to the certificate authority. Nothing is signed.')
    .option('--issuer <url>', 'the issuer to sign in with (also --oidc-issuer)')
    .option('--url <base>', 'a chancery server, whose signing configuration names the issuer')
    .option('--signing-config <file>', 'a signing configuration, which names the issuer')
    .option('--token', 'print the token on standard output: whoever has it can sign as you until it expires')
    .option('--json', 'print the result as JSON');
  addSignInOptions(login, authFlows)
    .hook('preAction', (_, action) => {
      const short: unknown = action.getOptionValue('issuer');
      if (short !== undefined) action.setOptionValue('oidcIssuer', short);
    })
    .addHelpText(
      'after',
      `
In a browser where there is one; else (over SSH, without a display) with a code that you confirm on any other device.

Examples:
  $ chancery login --url https://sign.example.com
  $ chancery login --issuer https://login.example.com/realms/staff --oidc-client-id chancery --cache-token
  $ chancery login --issuer https://dex.example.com --auth-flow device
  $ SIGSTORE_ID_TOKEN="$(chancery login --url https://sign.example.com --token)" make release
`,
    )
    .action(act(async () => (await import('./login.js')).loginCommand));

  program
    .command('logout')
    .description('Forget the tokens that --cache-token kept.')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ chancery logout
`,
    )
    .action(act(async () => (await import('./login.js')).logoutCommand));
}

/** As `choices`, without listing in the help what stands there already. */
function oneOf(names: readonly string[]): (value: string) => string {
  return (value) => {
    if (names.includes(value)) return value;
    throw new InvalidArgumentError(`Allowed choices are ${names.join(', ')}.`);
  };
}

function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}
