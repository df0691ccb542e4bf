import { InvalidArgumentError, type Command } from 'commander';
import { addIdentityOptions } from './program-identity.js';
import { addRegistry } from './program-image.js';
import type { Act } from './program.js';

/** `chancery tag …` */
export function addTag(program: Command, act: Act): void {
  const tag = program
    .command('tag')
    .description(
      'Say, and verify, what tags of container images mean: signed, logged, with an end. See docs/trusted-tags.md.',
    );
  addPublish(tag, act);
  addVerify(tag, act);
  addHistory(tag, act);
  addRevoke(tag, act);
  addRefresh(tag, act);
  addCosign(tag, act);
  addPending(tag, act);
  addForget(tag, act);
  addImportNotary(tag, act);
}

function addPublish(tag: Command, act: Act): void {
  publisherOptions(
    tag
      .command('publish')
      .description('Say what tags of one repository mean, in a statement for each and a snapshot of all.')
      .argument('<image...>', 'repository, tag and digest: registry.example.com/app:1.4@sha256:…')
      .option('--init', 'the repository has no trusted tags yet: begin')
      .option('--from <time>', 'when they begin to mean this (default: now)')
      .option('--threshold <number>', 'wait for so many signers, if more than the policy wants', parseCount),
    ['tag', 'snapshot'],
  )
    .addHelpText(
      'after',
      `
Without a digest the registry is asked what the tag is, and believed. Publishers may do this at the same time; nothing is lost.
A policy that wants several signers keeps the statement waiting until they have run \`chancery tag cosign\`.

Examples:
  $ chancery tag publish registry.example.com/app:1.4@sha256:6a2b… --policy tags.yaml --url https://sign.example.com
  $ chancery tag publish registry.example.com/app:1.4 --init --key cosign.key --url http://127.0.0.1:8700
`,
    )
    .action(act(async () => (await import('./tag-publish.js')).publishCommand));
}

function addVerify(tag: Command, act: Act): void {
  judgeOptions(
    tag
      .command('verify')
      .description('Verify what tags of one repository mean now, all in one snapshot, and remember it.')
      .argument('<image...>', 'repository and tag; with a digest: that it means this one')
      .option('-q, --quiet', 'print only what to pull: repository@digest, one a line')
      .option('--no-first-use', 'refuse a repository that this client has not seen before')
      .option('--json', 'print the checks as JSON'),
  )
    .addHelpText(
      'after',
      `
Refused: statements of another repository or tag, old ones, older ones than this client has seen, revoked tags, signers that the policy
does not name, and a registry that has nothing to show: "not signed" is not an answer.

Examples:
  $ docker pull "$(chancery tag verify -q registry.example.com/app:1.4 --policy tags.yaml --trusted-root trusted_root.json)"
  $ chancery tag verify registry.example.com/app:1.4 registry.example.com/app:latest --trusted-root trusted_root.json \\
      --certificate-identity release@example.com --certificate-oidc-issuer https://accounts.example.com
`,
    )
    .action(act(async () => (await import('./tag-verify.js')).verifyTagCommand));
}

function addHistory(tag: Command, act: Act): void {
  judgeOptions(
    tag
      .command('history')
      .description('Show what a tag has meant, back to its first version, and whether something was removed.')
      .argument('<image>', 'repository and tag')
      .option('--limit <number>', 'snapshots to read', parseCount, 1000)
      .option('--json', 'print the result as JSON'),
  )
    .addHelpText(
      'after',
      `
Each snapshot names the one before by its digest. Exit code 1 if one is missing. Signatures are judged by the policy of today.

Examples:
  $ chancery tag history registry.example.com/app:1.4 --policy tags.yaml --trusted-root trusted_root.json
`,
    )
    .action(act(async () => (await import('./tag-verify.js')).historyCommand));
}

function addRevoke(tag: Command, act: Act): void {
  publisherOptions(
    tag
      .command('revoke')
      .description('Say that tags mean nothing any more. They stay listed, as revoked.')
      .argument('<image...>', 'repository and tag')
      .option('--reason <text>', 'why, for those who ask for the tag')
      .option('--threshold <number>', 'wait for so many signers, if more than the policy wants', parseCount),
    ['tag', 'snapshot'],
  )
    .addHelpText(
      'after',
      `
Examples:
  $ chancery tag revoke registry.example.com/app:1.4 --reason 'CVE-2026-1234' --policy tags.yaml --url https://sign.example.com
`,
    )
    .action(act(async () => (await import('./tag-publish.js')).revokeCommand));
}

function addRefresh(tag: Command, act: Act): void {
  publisherOptions(
    tag
      .command('refresh')
      .description('Sign a new snapshot of the same tags, before the last one is too old to be believed.')
      .argument('<repository>', 'registry.example.com/app'),
    ['snapshot'],
  )
    .addHelpText(
      'after',
      `
For a job that runs every day, say. Statements about tags end at their own time; refreshing prolongs none of them.

Examples:
  $ chancery tag refresh registry.example.com/app --policy tags.yaml --url https://sign.example.com
`,
    )
    .action(act(async () => (await import('./tag-publish.js')).refreshCommand));
}

function addCosign(tag: Command, act: Act): void {
  publisherOptions(
    tag
      .command('cosign')
      .description('Sign a statement of another publisher that waits for signers.')
      .argument('<image>', 'repository, tag and the digest that you vouch for')
      .option('--revoke', 'sign that the tag means this no more'),
    ['tag', 'snapshot'],
  )
    .addHelpText(
      'after',
      `
Examples:
  $ chancery tag cosign registry.example.com/app:1.4@sha256:6a2b… --policy tags.yaml --url https://sign.example.com
`,
    )
    .action(act(async () => (await import('./tag-publish.js')).cosignCommand));
}

function addPending(tag: Command, act: Act): void {
  judgeOptions(
    tag
      .command('pending')
      .description('List the statements that wait for signers.')
      .argument('<repository>', 'registry.example.com/app')
      .option('--json', 'print the result as JSON'),
  )
    .addHelpText(
      'after',
      `
Examples:
  $ chancery tag pending registry.example.com/app --policy tags.yaml --trusted-root trusted_root.json
`,
    )
    .action(act(async () => (await import('./tag-publish.js')).pendingCommand));
}

function addForget(tag: Command, act: Act): void {
  tag
    .command('forget')
    .description('Forget what this client has seen of a repository: what is verified next is pinned anew.')
    .argument('<repository>', 'registry.example.com/app')
    .option('--state <folder>', 'where it is remembered')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Only when the publishers have started anew on purpose, and told you so in another way than through the registry.

Examples:
  $ chancery tag forget registry.example.com/app
`,
    )
    .action(act(async () => (await import('./tag-publish.js')).forgetCommand));
}

function addImportNotary(tag: Command, act: Act): void {
  tag
    .command('import-notary')
    .description('Read a repository of Docker Content Trust (Notary v1), verify it, and say what it trusts.')
    .argument('<gun>', 'the repository by its full name: docker.io/library/alpine, registry.example.com/app')
    .option(
      '--server <url>',
      "the Notary server (default: DOCKER_CONTENT_TRUST_SERVER, else Docker's own or the registry)",
    )
    .option('--pin <hex>', 'id of a root key, or SHA-256 of its certificate; may be repeated', collect)
    .option('--root-cert <file>', 'certificates (PEM) of the root key')
    .option('--root-ca <file>', 'certificates (PEM) of an authority that issued the certificate of the root key')
    .option('--root-json <file>', 'the root.json of a client that trusts it, as in ~/.docker/trust/tuf/<gun>/metadata')
    .option('--trust-on-first-use', 'believe whatever root the server shows')
    .option('--seen <file>', 'what --json said before: older versions are refused')
    .option('--commands', 'print the commands that publish the same as trusted tags, and nothing else')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Nothing is written anywhere. What counts for a tag is what Docker reads: targets/releases, else targets; other roles are its signers.

Examples:
  $ chancery tag import-notary registry.example.com/app --server https://notary.example.com --pin 4323879e81…
  $ chancery tag import-notary registry.example.com/app --root-json ~/.docker/trust/tuf/registry.example.com/app/metadata/root.json \\
      --commands > move.sh
`,
    )
    .action(act(async () => (await import('./tag-notary.js')).importNotary));
}

function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

/** Who may say what tags mean, and what is remembered. */
function demandOptions(command: Command): Command {
  return addRegistry(command)
    .option('--policy <file>', 'who may sign which tags (YAML, docs/trusted-tags.md)')
    .option('--certificate-identity <name>', 'instead: the one who may sign everything, e-mail address or URI')
    .option('--certificate-identity-regexp <pattern>', 'the same as a regular expression (RE2) for the whole name')
    .option('--certificate-oidc-issuer <url>', 'who must have vouched for the identity')
    .option('--certificate-oidc-issuer-regexp <pattern>', 'the same as a regular expression (RE2) for the whole URL')
    .option('--signed-repository <name>', 'the repository that the statements name, where this one is a copy of it')
    .option('--state <folder>', 'where to remember what was seen (default: chancery/tags in XDG_STATE_HOME)')
    .option('--no-state', 'remember nothing: no protection from older states than were seen');
}

function judgeOptions(command: Command): Command {
  return demandOptions(
    command
      .requiredOption('--trusted-root <file>', 'whom to believe about certificates, logs and times')
      .option('--key <file>', 'instead of an identity: the public key that may sign everything')
      .option('--max-age <time>', 'refuse a snapshot older than this, as 36h or 14d'),
  );
}

function publisherOptions(command: Command, lifetimes: ('tag' | 'snapshot')[]): Command {
  const signing = command
    .option('--url <base>', 'a chancery server; its signing configuration and trusted root are fetched from it')
    .option('--signing-config <file>', 'which services to use, instead of --url')
    .option('--trusted-root <file>', 'whom to believe; what is published already is verified against it')
    .option('--key <file>', 'sign with this private key instead of an identity (COSIGN_PASSWORD if encrypted)')
    .option('--json', 'print the result as JSON');
  // All have both values; those that make no statement about a tag do not offer its flag.
  if (lifetimes.includes('tag')) signing.option('--valid-for <time>', 'how long the tag means this', '365d');
  else signing.hook('preAction', (_, action) => void action.setOptionValue('validFor', '365d'));
  signing.option('--snapshot-valid-for <time>', 'how long the snapshot is good without a refresh', '14d');
  return addIdentityOptions(demandOptions(signing));
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a number from 1.');
}
