import { InvalidArgumentError, type Command } from 'commander';
import type { Act } from './program.js';

const MAX_PAGE = 10_000;

/** `chancery ca …` */
export function addCa(program: Command, act: Act): void {
  const ca = program
    .command('ca')
    .description('Look after a certificate authority: what it issued, and what it would say to a token.');
  addIssued(ca, act);
  addExplainToken(ca, act);
}

function addIssued(ca: Command, act: Act): void {
  ca.command('issued')
    .description('List the certificates that a CA issued, newest first; also while it runs.')
    .option('--data <folder>', 'data folder of the service (CHANCERY_DATA, else ./data)')
    .option('--file <ca.db>', 'the issuing record itself, instead of --data')
    .option('--identity <name>', 'of this e-mail address, URI or name')
    .option('--issuer <url>', 'by the word of this issuer')
    .option('--serial <hex>', 'the one with this serial number')
    .option('--request <id>', 'in answer to this request: X-Request-ID, as in the log')
    .option('--since <time>', 'issued then or later: a time (RFC 3339), a date, or how long ago, like 90m or 7d')
    .option('--until <time>', 'issued before then')
    .option('--limit <number>', 'certificates of a page', parseLimit, 50)
    .option('--before <cursor>', 'go on from a page')
    .option('--json', 'print the result as JSON, with the digest of each certificate and its CT logs')
    .addHelpText(
      'after',
      `
All that is given must hold, and is compared exactly. CT is where a certificate stands in the CT log.

Examples:
  $ chancery ca issued --data /var/lib/chancery --identity alice@example.com --since 7d
  $ chancery ca issued --data /var/lib/chancery --serial 5a1c… --json
  $ chancery ca issued --file /srv/ca/ca.db --issuer https://token.actions.githubusercontent.com --limit 1000 --json
`,
    )
    .action(act(async () => (await import('./ca-issued.js')).listIssued));
}

function addExplainToken(ca: Command, act: Act): void {
  ca.command('explain-token')
    .description('Say what a CA would make of an identity token: which issuer, which claims, which certificate.')
    .argument('<token|file>', 'the identity token, or a file with it; - for standard input')
    .option(
      '--config <file>',
      "issuers of identity tokens, in Fulcio's format, as CHANCERY_OIDC_CONFIG (default: Fulcio's own)",
    )
    .option('--offline', "fetch nothing: the token's signature is not checked")
    .option(
      '--allow-private <host>',
      'a host, address or network (10.0.0.0/8) that is not public and where issuers may be all the same; may be repeated',
      collect,
    )
    .option(
      '--max-token-age <time>',
      "the longest time since the token's iat, like 10m, as CHANCERY_OIDC_MAX_TOKEN_AGE",
    )
    .option(
      '--upstream-issuer <url>',
      'an issuer that may stand behind a broker, as CHANCERY_OIDC_UPSTREAM_ISSUERS; may be repeated',
      collect,
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
A new issuer can be tried before it is trusted: add it to a copy of the configuration, and give it a token.
The token is a credential until it expires: it is not printed, and not sent to anybody.

Exit codes of this command:
  0   the token would get a certificate; with --offline: as far as can be told without its signature
  1   its signature does not verify
  3   the token or the configuration cannot be read
  4   the issuer's keys cannot be fetched
  5   the CA would refuse it for another reason

Examples:
  $ chancery ca explain-token --config issuers.yaml token.txt
  $ chancery ca explain-token --config issuers.yaml --offline --json - < token.txt
`,
    )
    .action(act(async () => (await import('./ca-explain-token.js')).explainTokenCommand));
}

function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

function parseLimit(text: string): number {
  const limit = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > MAX_PAGE) throw new InvalidArgumentError(`It is a whole number from 1 to ${MAX_PAGE}.`);
  return limit;
}
