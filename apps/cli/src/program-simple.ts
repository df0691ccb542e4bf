import { Option, type Command } from 'commander';
import type { Act } from './program.js';

/** `chancery simple …` */
export function addSimpleSigning(program: Command, act: Act): void {
  const simple = program
    .command('simple')
    .description("Red Hat's Simple Signing: OpenPGP signatures of images, as podman, skopeo and CRI-O check them.")
    .addHelpText(
      'after',
      `
A signature says that a name with its tag means a manifest, and lies in a lookaside storage beside the registry: a folder, or a web site made of one.
Whether an image is accepted is the business of policy.json: see \`chancery policy evaluate\`.
`,
    );
  imageOptions(simple.command('sign'))
    .description('Sign an image with an OpenPGP key and store the signature.')
    .argument('<image>', 'the image by tag or digest: registry.example.com/ns/app:v1')
    .requiredOption('--key <file>', 'the private key, as `gpg --armor --export-secret-keys` writes it')
    .option('--fingerprint <hex>', 'which key, if the file has several')
    .option('--passphrase-file <file>', 'the passphrase is in the first line of this file (default: it is asked for)')
    .option('--identity <reference>', 'sign for this name instead, as for an image that will be copied there')
    .option('--output <file>', 'write the signature into this file instead of a lookaside storage')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
A key of gpg-agent comes out with \`gpg --armor --export-secret-keys FINGERPRINT > key.asc\`, under its passphrase; one on a card does not.
podman asks for the signature of the platform's manifest, not of the index: sign with --all.

Examples:
  $ chancery simple sign registry.example.com/ns/app:v1 --key key.asc --lookaside file:///srv/signatures
  $ chancery simple sign registry.example.com/ns/app:v1 --key key.asc --registries.d /etc/containers/registries.d --all
  $ chancery simple sign registry.example.com/ns/app:v1 --key key.asc --manifest manifest.json --output app.sig
`,
    )
    .action(act(async () => (await import('./simple-sign.js')).simpleSign));
  imageOptions(simple.command('verify'))
    .description('Check that an image has an OpenPGP signature by one of these keys.')
    .argument('<image>', 'the image by tag or digest')
    .requiredOption('--keyring <file>', 'public keys whose signatures count; may be repeated', collect)
    .option('--signature <file>', 'the signature from a file instead of a lookaside storage')
    .addOption(
      new Option('--signed-identity <type>', 'for which name it must be, as in policy.json')
        .choices(['matchExact', 'matchRepoDigestOrExact', 'matchRepository', 'exactReference', 'exactRepository'])
        .default('matchRepoDigestOrExact'),
    )
    .option('--signed-reference <name>', 'the name for exactReference and exactRepository')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ chancery simple verify registry.example.com/ns/app:v1 --keyring keys.gpg --lookaside https://signatures.example.com
  $ chancery simple verify registry.example.com/ns/app:v1 --keyring keys.gpg --manifest manifest.json --signature app.sig
`,
    )
    .action(act(async () => (await import('./simple-evaluate.js')).simpleVerify));
}

/** `chancery policy evaluate` and `chancery policy podman`, in the group that is given. */
export function addPolicyPodman(policy: Command, act: Act): void {
  imageOptions(policy.command('evaluate'))
    .description('Say whether podman and skopeo would accept an image by their policy.json, and why.')
    .argument('<image>', 'the image by tag or digest; docker:// in front may stay')
    .option(
      '--policy <file>',
      'the policy (default: ~/.config/containers/policy.json, else /etc/containers/policy.json)',
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
The most specific scope of the policy decides, and all of its requirements must hold; every one is explained, with every signature that was found.
Of an index the manifest of one platform is asked about, as podman does it; --all asks about all, as \`skopeo copy --all\` does.

Exit codes of this command: 0 accepted, 1 refused.

Examples:
  $ chancery policy evaluate registry.example.com/ns/app:v1
  $ chancery policy evaluate registry.example.com/ns/app:v1 --policy policy.json --registries.d registries.d --platform linux/arm64
`,
    )
    .action(act(async () => (await import('./simple-evaluate.js')).evaluate));
  policy
    .command('podman')
    .description(
      'Print policy.json and registries.d with which podman, skopeo and CRI-O ask for signatures of this service.',
    )
    .requiredOption('--scope <name>', 'registry, namespace or repository that it is for; may be repeated', collect)
    .option('--trusted-root <file>', 'ask for signatures of Sigstore by the authorities and logs of this trusted root')
    .option(
      '--certificate-identity <address>',
      'who must have signed: an e-mail address, as podman knows no other names',
    )
    .option('--certificate-oidc-issuer <url>', 'who must have vouched for the address')
    .option('--key <file>', 'ask for a signature of Sigstore by this public key instead; may be repeated', collect)
    .option('--keyring <file>', 'ask for an OpenPGP signature by a key of this file; may be repeated', collect)
    .option('--lookaside <url>', 'where OpenPGP signatures are read')
    .addOption(
      new Option('--default <type>', 'what becomes of all other images')
        .choices(['reject', 'insecureAcceptAnything'])
        .default('reject'),
    )
    .option('--out <folder>', 'write policy.json and registries.d/chancery.yaml there instead')
    .option('--json', 'print both as JSON')
    .addHelpText(
      'after',
      `
What podman cannot express is said on stderr: bundles, Rekor v2, timestamp authorities, workflow identities, validity of keys.

Examples:
  $ chancery policy podman --scope registry.example.com --trusted-root trusted_root.json \\
      --certificate-identity alice@example.com --certificate-oidc-issuer https://accounts.google.com
  $ chancery policy podman --scope registry.example.com --trusted-root trusted_root.json --key cosign.pub
  $ chancery policy podman --scope registry.example.com/ns --keyring /etc/pki/keys.gpg --lookaside https://signatures.example.com --out /etc/containers
`,
    )
    .action(act(async () => (await import('./policy-podman.js')).printPodmanPolicy));
}

/** How to reach an image and its signatures. */
function imageOptions(command: Command): Command {
  return command
    .option('--manifest <file>', 'the manifest from a file: no registry is asked')
    .option('--platform <os/arch>', 'of an index, the manifest of this platform (default: linux on this processor)')
    .option('--all', 'of an index, the index itself and every manifest in it')
    .option(
      '--registries.d <folder>',
      'where signatures are (default: ~/.config/containers/registries.d, else /etc/containers/registries.d)',
    )
    .option('--lookaside <url>', 'where signatures are, instead: file:///…, https://…')
    .option('--allow-http-registry', 'speak HTTP with the registry; with this machine it is spoken anyway')
    .option('--allow-insecure-registry', 'take any certificate of the registry')
    .option('--registry-cacert <file>', 'CA certificates (PEM) to believe beside the usual ones');
}

function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}
