import type { Command } from 'commander';
import type { Act } from './program.js';

/** `chancery generate-key-pair`, `import-key-pair`, `public-key` */
export function addKeys(program: Command, act: Act): void {
  program
    .command('generate-key-pair')
    .description('Make a key to sign with, in an encrypted file as cosign writes it.')
    .option('-o, --output-key-prefix <prefix>', 'the files are <prefix>.key and <prefix>.pub', 'cosign')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
The password comes from COSIGN_PASSWORD (it may be empty), else it is asked for twice. Existing files are never replaced.
A key is for where there is no identity to sign with: it does not expire, and whoever copies it signs as its owner.

Examples:
  $ chancery generate-key-pair
  $ COSIGN_PASSWORD="$(cat secret)" chancery generate-key-pair --output-key-prefix release
  $ chancery sign app.tar.gz --key release.key --url https://sign.example.com
`,
    )
    .action(act(async () => (await import('./key-pair.js')).generateKeyPair));

  program
    .command('import-key-pair')
    .description('Put a private key of your own (PEM) into an encrypted file as cosign writes it.')
    .requiredOption('-k, --key <file>', 'the private key: PKCS#8, SEC1 or PKCS#1 in PEM, not encrypted')
    .option('-o, --output-key-prefix <prefix>', 'the files are <prefix>.key and <prefix>.pub', 'import-cosign')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Keys: ECDSA P-256, P-384 or P-521, Ed25519, RSA of 2048, 3072 or 4096 bits. The file it came from is left as it is: remove it yourself.

Examples:
  $ chancery import-key-pair --key release.pem
  $ chancery import-key-pair --key release.pem --output-key-prefix release
`,
    )
    .action(act(async () => (await import('./key-pair.js')).importKeyPair));

  program
    .command('public-key')
    .description('Print the public key of a private key, to verify with.')
    .requiredOption('--key <file>', 'the private key, encrypted (COSIGN_PASSWORD) or not')
    .option('--outfile <file>', 'write it there instead')
    .addHelpText(
      'after',
      `
Examples:
  $ chancery public-key --key cosign.key
  $ chancery public-key --key cosign.key --outfile cosign.pub
`,
    )
    .action(act(async () => (await import('./key-pair.js')).publicKeyCommand));
}
