import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Act } from './program.js';

const MAX_THREADS = 64;
const trees = ['v2', 'v1', 'ct'] as const;

/** `chancery log …` */
export function addLog(program: Command, act: Act): void {
  const log = program
    .command('log')
    .description('Audit a transparency log: read it, prove what it says, check all of it, copy it, watch it.')
    .addHelpText(
      'after',
      `
Which log: --url <base> of a chancery or Rekor server with --log v2 (default), v1 or ct; or --tiles <url|folder>, any log in the layout of C2SP
tlog-tiles or static-ct-api, as it is served under a prefix or lies in a folder. A Rekor v1 without tiles is read by its API (info, get, prove, consistency).

Whom to believe: --trusted-root, in which the log is found by the key id in its checkpoint, or --verifier-key. With neither, everything is still proven
against the checkpoint, but the verdict says that its signature was not verified: it is as good as the connection.
`,
    );
  addReading(log, act);
  addConsistency(log, act);
  addFsck(log, act);
  addMirror(log, act);
  addTail(log, act);
  addSearch(log, act);
  addReindex(log, act);
}

/** A command about one log, with the flags that all of these have. */
function about(log: Command, name: string, summary: string, examples: string): Command {
  return log
    .command(name)
    .description(summary)
    .option('--url <base>', 'base URL of a server; which of its logs --log says')
    .addOption(
      new Option('--log <name>', 'with --url: v2 (under /api/v2), v1 (/api/v1) or ct (/ct); default v2').choices(trees),
    )
    .option('--tiles <url|folder>', 'prefix or folder of any tiled log, instead of --url')
    .option('--trusted-root <file>', "verify the checkpoint's signature with this trusted root")
    .option(
      '--verifier-key <key|file>',
      'verify it with this verifier key (C2SP signed-note); may be repeated',
      collect,
    )
    .option('--origin <name>', 'the log must have this origin')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', `\nExamples:\n${examples}`);
}

function addReading(log: Command, act: Act): void {
  about(
    log,
    'info',
    'Say what a log is: origin, size, root, key, layout.',
    `  $ chancery log info --url http://127.0.0.1:8700 --trusted-root trusted_root.json
  $ chancery log info --url https://rekor.sigstore.dev --log v1
  $ chancery log info --tiles https://log2025-1.rekor.sigstore.dev/api/v2
`,
  ).action(act(async () => (await import('./log-read.js')).showInfo));
  about(
    log,
    'checkpoint',
    'Print the latest checkpoint: origin, size and root hash, signed.',
    '  $ chancery log checkpoint --url http://127.0.0.1:8700 --trusted-root trusted_root.json > old.checkpoint\n',
  ).action(act(async () => (await import('./log-read.js')).showCheckpoint));
  about(
    log,
    'get',
    'Print an entry, after proving that it is in the log.',
    `  $ chancery log get 0 --url http://127.0.0.1:8700
  $ chancery log get 0 --url http://127.0.0.1:8700 --log ct
`,
  )
    .alias('entry')
    .argument('<index>', 'the log index, from 0', parseIndex)
    .action(act(async () => (await import('./log-read.js')).showEntry));
  about(
    log,
    'prove',
    'Print an inclusion proof of an entry as a tlog-proof (C2SP), verified.',
    '  $ chancery log prove 0 --url http://127.0.0.1:8700 --trusted-root trusted_root.json > entry.tlog-proof\n',
  )
    .argument('<index>', 'the log index, from 0', parseIndex)
    .action(act(async () => (await import('./log-read.js')).showProof));
}

function addConsistency(log: Command, act: Act): void {
  about(
    log,
    'consistency',
    'Prove that the log only grew since it was last looked at, or since an older checkpoint.',
    `  $ chancery log consistency --url http://127.0.0.1:8700 --trusted-root trusted_root.json
  $ chancery log consistency --old old.checkpoint --url http://127.0.0.1:8700 --trusted-root trusted_root.json
  $ chancery log consistency --evidence evidence-fork-20260101T000000000Z.json --trusted-root trusted_root.json
`,
  )
    .option(
      '--state <folder>',
      'what is remembered of logs (default: $XDG_STATE_HOME/chancery/logs, else ~/.local/state/chancery/logs)',
    )
    .option('--old <file>', 'compare with this checkpoint, as `log checkpoint` printed it, and remember nothing')
    .option('--evidence <file>', 'look again, without the log, at a file in which a contradiction was kept')
    .addHelpText(
      'after',
      `
The first look remembers the log's signed checkpoint and says so; each later one proves that the newest checkpoint contains the remembered one, and
remembers the newer. A log that cannot prove it is remembered as it was, and a file of evidence with both signed checkpoints and the failing proof is
kept in the state folder.

Exit codes of this command, for scripts:
  0   consistent, or looked at for the first time
  1   INCONSISTENT: two roots for one size, a proof that fails, fewer entries than before, another log or key in its place; or a forged signature
  3   the remembered state, the older checkpoint or the evidence is not what was written
  6   could not tell: the log cannot be reached, or nobody to believe has signed its checkpoint
With --evidence: 1 if the file shows an inconsistency, 6 if it shows nothing.
`,
    )
    .action(act(async () => (await import('./log-consistency.js')).showConsistency));
}

function addFsck(log: Command, act: Act): void {
  about(
    log,
    'fsck',
    'Recompute the whole log from its entries, up to the root of its checkpoint; name the first bad byte.',
    `  $ chancery log fsck --url http://127.0.0.1:8700 --trusted-root trusted_root.json
  $ chancery log fsck --tiles /srv/mirror/log --verifier-key log.vkey
  $ chancery log fsck --tiles /var/lib/chancery/tiles/log
`,
  )
    .option('--threads <number>', 'threads that read a folder (default: one for each processor)', parseThreads)
    .addHelpText(
      'after',
      `
The data folder of a chancery server has full tiles only: what is unfinished is in its database. There the verdict on it is "could not tell"; ask the
server by --url to have everything checked.

Exit codes of this command: 0 intact, 1 damaged, 6 could not tell.
`,
    )
    .action(act(async () => (await import('./log-fsck.js')).checkLog));
}

function addMirror(log: Command, act: Act): void {
  about(
    log,
    'mirror',
    'Copy a log into a folder, or bring the copy up to date; everything is verified before it is stored.',
    `  $ chancery log mirror --url http://127.0.0.1:8700 --trusted-root trusted_root.json --to /srv/mirror/log
  $ chancery log mirror --tiles https://log2025-1.rekor.sigstore.dev/api/v2 --verifier-key log.vkey --to /srv/mirror/rekor
`,
  )
    .requiredOption(
      '--to <folder>',
      'the copy: a log by itself, which any web server can serve and every command here can read by --tiles',
    )
    .addHelpText(
      'after',
      `
The checkpoint is written last, so the copy is whole at any moment; whoever is interrupted goes on where it was. If the log is not the one that the
copy is of, or has forgotten or changed entries, nothing is changed, and evidence is kept in the folder.
`,
    )
    .action(act(async () => (await import('./log-mirror.js')).mirrorLog));
}

function addTail(log: Command, act: Act): void {
  about(
    log,
    'tail',
    'Print the newest entries, and with --follow those that come; each proven to be in the log.',
    `  $ chancery log tail --follow --url http://127.0.0.1:8700 --trusted-root trusted_root.json
  $ chancery log tail --from 0 --url http://127.0.0.1:8700 --identity alice@example.com --issuer https://accounts.google.com
  $ chancery log tail --follow --json --state position.json --tiles https://log.example/api/v2 \\
      --san-regexp 'https://github\\.com/example/.*'
`,
  )
    .option('--follow', 'go on until interrupted, which is exit code 0')
    .option('--from <index>', 'begin with this entry (default: the last ten, or where --state was)', parseIndex)
    .option('--interval <seconds>', 'with --follow: how often to look', parseInterval, 10)
    .option('--identity <name>', 'only entries of this e-mail address, URI or name, compared exactly')
    .option(
      '--san-regexp <pattern>',
      'only entries of names that match this regular expression (RE2), which is for the whole name',
    )
    .option('--issuer <url>', 'only entries for whose identity this OIDC issuer vouched, compared exactly')
    .option('--state <file>', 'remember in this file how far it came, and go on from there')
    .addHelpText(
      'after',
      `
Every new checkpoint must contain the one before. Moments in which the log cannot be reached are said on stderr and waited through. Identities are as
the certificates state them: who signed truly, only verifying a bundle can tell.
`,
    )
    .action(act(async () => (await import('./log-tail.js')).tailLog));
}

function addSearch(log: Command, act: Act): void {
  about(
    log,
    'search',
    'Find entries: ask a server, ask it and check its answer, or read a whole log by yourself.',
    `  $ chancery log search --url http://127.0.0.1:8700 --email alice@example.com
  $ chancery log search --url http://127.0.0.1:8700 --digest sha256:${'0'.repeat(8)}… --all --json
  $ chancery log search --url http://127.0.0.1:8700 --email alice@example.com --verify --trusted-root trusted_root.json
  $ chancery log search --scan --tiles /srv/mirror/log --uri https://github.com/example/app/.github/workflows/release.yml@refs/tags/v1
`,
  )
    .option('--email <address>', 'e-mail address that a certificate or key names')
    .option('--uri <uri>', 'URI that a certificate names')
    .option('--san <name>', 'any subject alternative name')
    .option('--issuer <url>', 'OIDC issuer that a certificate states')
    .option('--digest <digest>', 'digest of what was signed, or of an attestation or its subjects: sha256:<hex> or hex')
    .option('--key <hex>', 'SHA-256 of a public key')
    .option('--certificate <hex>', 'SHA-256 of a certificate')
    .option('--subject <digest>', 'digest of a subject or material of an attestation')
    .option('--repository <name>', 'source repository that a certificate states')
    .option('--workflow <name>', 'workflow that a certificate states')
    .option('--log-index <number>', 'index in its tree')
    .option('--uuid <hex>', 'leaf hash, or entry ID of Rekor v1')
    .option('--after <time>', 'integrated at this time (RFC 3339) or later')
    .option('--before <time>', 'integrated before this time')
    .addOption(new Option('--tree <name>', 'only this tree').choices(trees))
    .option('--limit <number>', 'entries of a page')
    .option('--cursor <text>', 'go on from a page')
    .option('--all', 'all pages')
    .option('--verify', 'all pages; then read the trees themselves: is every entry there, and was none left out?')
    .option('--scan', 'ask nobody: read a whole log (--tiles, or --url with --log) and every entry in it')
    .option('--threads <number>', 'threads that read a folder (default: one for each processor)', parseThreads)
    .addHelpText(
      'after',
      `
All that is given must hold; upper and lower case are the same. With --verify, --tiles <folder> and --tree name a copy to read instead of the server's own tiles.
`,
    )
    .action(act(async () => (await import('./log-search.js')).searchLog));
}

function addReindex(log: Command, act: Act): void {
  log
    .command('reindex')
    .description('Make the search index of a stopped server anew, out of what is in its logs.')
    .option('--data <folder>', 'folder with database, tiles and keys (CHANCERY_DATA, else ./data)')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExamples:\n  $ chancery log reindex --data /var/lib/chancery\n')
    .action(act(async () => (await import('./log-reindex.js')).reindex));
}

function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

function parseIndex(text: string): bigint {
  if (!/^(0|[1-9]\d{0,18})$/.test(text)) throw new InvalidArgumentError('A log index is a decimal number from 0.');
  return BigInt(text);
}

function parseInterval(text: string): number {
  if (!/^\d{1,6}$/.test(text) || Number(text) === 0)
    throw new InvalidArgumentError('It is a whole number of seconds, at least 1.');
  return Number(text);
}

function parseThreads(text: string): number {
  if (!/^\d{1,2}$/.test(text) || Number(text) > MAX_THREADS)
    throw new InvalidArgumentError(`It is a number up to ${MAX_THREADS}.`);
  return Number(text);
}
