import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Act } from './program.js';
import { addIdentityOptions } from './program-identity.js';

const EXIT_HELP = `
Exit codes, beside those of every command:
  10  nothing of the kind is attached to the image
  11  there is no such image
  12  there are signatures, and none holds
  13  an identity was asked for, and all signatures were made with keys
`;

const WHICH = `
Two layouts: "bundle" keeps each signature as a referrer (OCI 1.1) of the image, "legacy" all of them under the tag sha256-<hex>.sig (attestations: .att).
COSIGN_REPOSITORY names another repository for them.
`;

/** What cosign gives every command. Copying and signing take as long as they take, unless told otherwise. */
const DEFAULT_TIMEOUT = [180_000, '3m0s'] as const;

/** `chancery image …` */
export function addImage(program: Command, act: Act): void {
  const image = program
    .command('image')
    .description('Sign, attest, verify, list, copy and save container images in any OCI registry.');
  addSign(image, act);
  addVerify(image, act);
  addAttest(image, act);
  addVerifyAttestation(image, act);
  addTree(image, act);
  addCopy(image, act);
  addClean(image, act);
  addFolders(image, act);
}

function addSign(image: Command, act: Act): void {
  const sign = image
    .command('sign')
    .description('Sign images: their digests, with your identity or a key; the signatures go into the registry.')
    .argument('<image...>', 'the images, best by digest: registry.example.com/ns/app@sha256:…')
    .option('-a, --annotations <name=value>', 'signed along with the digest; may be repeated', collectPair);
  addSigning(sign)
    .addHelpText(
      'after',
      `${WHICH}
Examples:
  $ chancery image sign registry.example.com/ns/app:1.2 --url https://sign.example.com
  $ chancery image sign registry.example.com/ns/app@sha256:6a2b… --signing-config signing_config.json --trusted-root trusted_root.json
  $ chancery image sign --recursive -a commit=c6a9d3b registry.example.com/ns/app:1.2 --url https://sign.example.com
  $ chancery image sign --key cosign.key --layout legacy registry.example.com/ns/app:1.2 --url https://sign.example.com
`,
    )
    .action(act(async () => (await import('./image-sign.js')).signImages));
}

function addAttest(image: Command, act: Act): void {
  const attest = image
    .command('attest')
    .description('Attest something about images: a signed statement of a type, such as provenance or an SBOM.')
    .argument('<image...>', 'the images')
    .option('--predicate <file>', 'what is claimed, a JSON file; - for standard input')
    .option(
      '--type <type>',
      'of the predicate: a URI, or slsaprovenance1, slsaprovenance, spdxjson, spdx, cyclonedx, vuln, link, openvex, custom',
      'custom',
    )
    .option('--statement <file>', 'a whole in-toto statement, instead of predicate and type');
  addSigning(attest)
    .addHelpText(
      'after',
      `
The predicate must have what its type requires: whoever asks for an SPDX document is to find one.
${WHICH}
Examples:
  $ chancery image attest --type spdxjson --predicate sbom.spdx.json registry.example.com/ns/app:1.2 --url https://sign.example.com
  $ chancery image attest --type slsaprovenance1 --predicate provenance.json registry.example.com/ns/app:1.2 --url https://sign.example.com
`,
    )
    .action(act(async () => (await import('./image-sign.js')).attestImages));
}

function addVerify(image: Command, act: Act): void {
  const verify = image
    .command('verify')
    .description('Verify that images are signed by whom you expect. A tag is resolved once; its digest is what counts.')
    .argument('<image...>', 'the images')
    .option('-a, --annotations <name=value>', 'must have been signed along; may be repeated', collectPair)
    .option('-r, --recursive', 'also every manifest in an index, each by a signature of its own');
  addVerifying(verify)
    .addHelpText(
      'after',
      `
Whatever is attached is listed: ✓ holds, ✗ does not (and which check objected), – is something else, such as an attestation.
${WHICH}${EXIT_HELP}
Examples:
  $ chancery image verify registry.example.com/ns/app:1.2 --trusted-root trusted_root.json \\
      --certificate-identity alice@example.com --certificate-oidc-issuer https://accounts.google.com
  $ chancery image verify --key cosign.pub --layout bundle registry.example.com/ns/app:1.2 --trusted-root trusted_root.json
  $ chancery image verify --local-image ./saved --key cosign.pub --trusted-root trusted_root.json
`,
    )
    .action(act(async () => (await import('./image-verify.js')).verifyImages));
}

function addVerifyAttestation(image: Command, act: Act): void {
  const verify = image
    .command('verify-attestation')
    .description('Verify attestations of images: by whom, of which type, and what they say.')
    .argument('<image...>', 'the images')
    .option('--type <type>', 'of the predicate, as for attest', 'custom')
    .option(
      '--policy <file>',
      'what the statement must say: .json (JSON Schema), .cel (CEL), .wasm (Rego); may be repeated',
      collect,
    );
  addVerifying(verify)
    .addHelpText(
      'after',
      `
A policy judges the whole in-toto statement. CEL knows it as statement, and its parts as predicate, predicateType and subject; Rego as input, and its
entrypoint (signature/allow) must be true or have allow: true. A policy that gives no answer within five seconds is not satisfied.
${WHICH}${EXIT_HELP}
Examples:
  $ chancery image verify-attestation --type slsaprovenance1 --policy builder.cel registry.example.com/ns/app:1.2 --trusted-root trusted_root.json \\
      --certificate-identity-regexp 'https://github\\.com/example/app/.*' --certificate-oidc-issuer https://token.actions.githubusercontent.com
  $ echo 'predicate.runDetails.builder.id == "https://ci.example.com/builder"' > builder.cel
`,
    )
    .action(act(async () => (await import('./image-verify.js')).verifyImageAttestations));
}

function addTree(image: Command, act: Act): void {
  addTimeout(
    addRegistry(
      image
        .command('tree')
        .description(
          'List what is attached to an image: signatures, attestations and other referrers. Verifies nothing.',
        )
        .argument('<image>', 'the image'),
    ),
    DEFAULT_TIMEOUT,
  )
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExamples:\n  $ chancery image tree registry.example.com/ns/app:1.2\n')
    .action(act(async () => (await import('./image-tree.js')).showTree));
}

function addCopy(image: Command, act: Act): void {
  addTimeout(
    addRegistry(
      image
        .command('copy')
        .description(
          'Copy an image with all that belongs to it: platforms, signatures, attestations, referrers and theirs.',
        )
        .argument('<source>', 'the image')
        .argument('<destination>', 'where to; without a tag it keeps its own'),
    ),
  )
    .option('--platform <os/arch>', 'only this platform of an index')
    .addOption(
      new Option('--only <kinds>', 'what goes along, separated by commas: sig, att, sbom, referrer').argParser(
        parseOnly,
      ),
    )
    .addOption(new Option('-f, --force').hideHelp())
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
What the destination has already is not sent again, so a copy that was broken off goes on where it stopped. The tag is set last.
With COSIGN_REPOSITORY what is attached there goes along too; at the destination all of it is beside the image.

Examples:
  $ chancery image copy registry.example.com/ns/app:1.2 mirror.example.net/ns/app:1.2
  $ chancery image copy --platform linux/arm64 registry.example.com/ns/app:1.2 mirror.example.net/ns/app:1.2-arm64
`,
    )
    .action(act(async () => (await import('./image-copy.js')).copy));
}

function addClean(image: Command, act: Act): void {
  addTimeout(
    addRegistry(
      image
        .command('clean')
        .description('Remove what is attached to an image. The image stays.')
        .argument('<image>', 'the image'),
    ),
    DEFAULT_TIMEOUT,
  )
    .addOption(
      new Option('--type <type>', 'what to remove')
        .choices(['signature', 'attestation', 'sbom', 'referrer', 'all'])
        .default('all'),
    )
    .option('-f, --force', 'do not ask')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExamples:\n  $ chancery image clean --type signature registry.example.com/ns/app:1.2\n')
    .action(act(async () => (await import('./image-copy.js')).clean));
}

function addFolders(image: Command, act: Act): void {
  addTimeout(
    addRegistry(
      image
        .command('save')
        .description('Save an image with all that belongs to it in a folder (OCI layout).')
        .argument('<image>', 'the image')
        .requiredOption('--dir <folder>', 'the folder'),
    ),
  )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nWith COSIGN_REPOSITORY what is attached there is saved too.\n\nExamples:\n  $ chancery image save --dir ./saved registry.example.com/ns/app:1.2\n',
    )
    .action(act(async () => (await import('./image-copy.js')).save));
  addTimeout(
    addRegistry(
      image
        .command('load')
        .description('Push a saved image with all that belongs to it.')
        .argument('<image>', 'what it is to be called')
        .requiredOption('--dir <folder>', 'the folder'),
    ),
  )
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExamples:\n  $ chancery image load --dir ./saved mirror.example.net/ns/app:1.2\n')
    .action(act(async () => (await import('./image-copy.js')).load));
}

function addSigning(command: Command): Command {
  command
    .option('-r, --recursive', 'also every manifest in an index')
    .addOption(
      new Option('--layout <layout>', 'where the signature goes').choices(['bundle', 'legacy']).default('bundle'),
    )
    .option('--bundle <file>', 'also write the bundle to a file, one a line')
    .option('--no-upload', 'store nothing in the registry; with --bundle')
    .option('--url <base>', 'a chancery server; its signing configuration and trusted root are fetched from it')
    .option('--signing-config <file>', 'which services to use, instead of --url')
    .option('--trusted-root <file>', 'whom to believe; every signature is verified against it before it is stored')
    .option(
      '--key <file>',
      "sign with this private key (PEM, or cosign's key file; COSIGN_PASSWORD) instead of an identity",
    )
    .addOption(new Option('-y, --yes').hideHelp())
    .option('--json', 'print the result as JSON');
  return addTimeout(addRegistry(addIdentityOptions(command)));
}

function addVerifying(command: Command): Command {
  command
    .option('--trusted-root <file>', 'whom to believe; required')
    .option('--certificate-identity <name>', 'who must have signed: e-mail address or URI, compared exactly')
    .option('--certificate-identity-regexp <pattern>', 'the same as a regular expression (RE2) for the whole name')
    .option('--certificate-oidc-issuer <url>', 'who must have vouched for the identity, compared exactly')
    .option('--certificate-oidc-issuer-regexp <pattern>', 'the same as a regular expression (RE2) for the whole URL')
    .option('--certificate-github-workflow-trigger <name>', 'event that the certificate must name')
    .option('--certificate-github-workflow-sha <hex>', 'commit that the certificate must name')
    .option('--certificate-github-workflow-name <name>', 'workflow that the certificate must name')
    .option('--certificate-github-workflow-repository <name>', 'repository that the certificate must name')
    .option('--certificate-github-workflow-ref <ref>', 'Git reference that the certificate must name')
    .option('--key <file>', 'verify with this PEM public key instead of an identity')
    .addOption(
      new Option('--layout <layout>', 'where to look; may be repeated (default: bundle, then legacy)').argParser(
        collectLayout,
      ),
    )
    .option('--local-image', 'the image is a folder that `image save` made')
    .addOption(new Option('--max-signatures <count>', 'how many are looked at (default: 1000)').argParser(parseCount))
    .addOption(new Option('-o, --output <form>', 'json is the same as --json').choices(['json', 'text']))
    .option('--json', 'print every candidate with its checks as JSON');
  refuseUnlessTrue(
    command,
    '--check-claims',
    'a signature that is not compared with the image says nothing about it: for one that was copied to another digest, verify the image that it names',
  );
  return addTimeout(addRegistry(command), DEFAULT_TIMEOUT);
}

/** A flag of cosign that turns something off that is always on here. */
function refuseUnlessTrue(command: Command, flag: string, why: string): void {
  command.addOption(
    new Option(`${flag} [value]`).hideHelp().argParser((value) => {
      if (value !== 'true') throw new InvalidArgumentError(`It is always true: ${why}.`);
      return true;
    }),
  );
}

/** Over all requests of a command. */
function addTimeout(command: Command, fallback?: readonly [milliseconds: number, shown: string]): Command {
  const option = new Option('--timeout <duration>', 'for all requests to registries together: seconds, or as in 3m0s');
  option.argParser(parseDuration);
  return command.addOption(fallback === undefined ? option : option.default(...fallback));
}

/** The flags about registries, for every command that talks to one. */
export function addRegistry(command: Command): Command {
  return command
    .option('--allow-http-registry', 'speak HTTP without TLS also beyond this machine')
    .option('--allow-insecure-registry', "take any certificate of the registry's")
    .option('--registry-username <name>', 'instead of the credentials of Docker and podman')
    .option('--registry-password <text>', 'with --registry-username')
    .option('--registry-token <token>', 'a bearer token')
    .option('--registry-cacert <file>', "roots of the registry's certificate, PEM")
    .option('--registry-client-cert <file>', 'client certificate, PEM')
    .option('--registry-client-key <file>', 'its key, PEM')
    .option('--registry-server-name <name>', "the name in the registry's certificate")
    .addOption(
      new Option('--k8s-keychain [value]').hideHelp().argParser((value) => {
        if (value !== 'false') throw new InvalidArgumentError(noKeychain);
        return false;
      }),
    )
    .on('option:k8s-keychain', (value: string | null) => {
      if (value === null) command.error(`error: option '--k8s-keychain' is not supported. ${noKeychain}`);
    });
}

const noKeychain =
  'No cloud is asked for credentials: log in with its credential helper in the file of Docker (credHelpers), or give --registry-token.';

function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

function collectPair(value: string, earlier: Record<string, string> | undefined): Record<string, string> {
  const at = value.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be <name>=<value>.');
  return { ...earlier, [value.slice(0, at)]: value.slice(at + 1) };
}

function collectLayout(value: string, earlier: string[] | undefined): string[] {
  if (value !== 'bundle' && value !== 'legacy') throw new InvalidArgumentError('Allowed choices are bundle, legacy.');
  return [...new Set([...(earlier ?? []), value])];
}

const onlyNames: Readonly<Record<string, string>> = {
  sig: 'signature',
  att: 'attestation',
  sbom: 'sbom',
  referrer: 'referrer',
};

function parseOnly(value: string): string[] {
  return value.split(',').map((name) => {
    const kind = Object.hasOwn(onlyNames, name) ? onlyNames[name] : undefined;
    if (kind === undefined) throw new InvalidArgumentError(`Allowed are ${Object.keys(onlyNames).join(', ')}.`);
    return kind;
  });
}

const units: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
const MAX_DURATION_MS = 24 * 3_600_000;

/** Seconds, or a duration as Go writes it: `3m0s`, `1h30m`. In milliseconds. */
export function parseDuration(value: string): number {
  const text = /^\d+$/.test(value) ? `${value}s` : value;
  const parts = [...text.matchAll(/(\d{1,5})(ms|h|m|s)/g)];
  const total = parts.reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ''] ?? 0), 0);
  // What was not read would be ignored.
  if (parts.map(([part]) => part).join('') !== text || total < 1 || total > MAX_DURATION_MS) {
    throw new InvalidArgumentError('It must be seconds, or a duration as in 3m0s, of at most 24h.');
  }
  return total;
}

function parseCount(value: string): number {
  if (!/^[1-9]\d{0,5}$/.test(value)) throw new InvalidArgumentError('It must be a number from 1 to 999999.');
  return Number(value);
}
