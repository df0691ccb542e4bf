import { writeFile } from 'node:fs/promises';
import {
  formatImageName,
  openLookaside,
  parseImageName,
  readSigner,
  SimpleSigningError,
  type SimpleSigner,
} from '#libs/simple-signing';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { fileReason, readInput } from './files.js';
import { withExits } from './simple-failure.js';
import { openImage, stagingBase, type ImageFlags } from './simple-image.js';
import { columns, jsonText, printable, style } from './style.js';

export interface SimpleSignOptions extends ImageFlags {
  key: string;
  fingerprint?: string;
  passphraseFile?: string;
  identity?: string;
  output?: string;
  json?: boolean;
}

const MAX_KEY = 256 * 1024;
const MAX_PASSPHRASE = 4096;
const CREATOR = 'chancery';

/** `simple sign IMAGE`: makes signature objects and stores them where podman and skopeo find them. */
export function simpleSign(terminal: Terminal, reference: string, options: SimpleSignOptions): Promise<ExitCode> {
  return withExits(async () => {
    const now = new Date(terminal.now());
    const signer = await openSigner(terminal, options, now);
    const image = await openImage(terminal, reference, options);
    const stored: { digest: string; platform: string | undefined; at: string }[] = [];
    try {
      const dockerReference = formatImageName(
        options.identity === undefined ? image.name : parseImageName(options.identity),
      );
      if (options.output !== undefined && image.manifests.length > 1) {
        throw new CliError(
          'usage',
          `Cannot write ${image.manifests.length} signatures into one file: leave out --output or --all`,
        );
      }
      const base = options.output === undefined ? stagingBase(image, options) : undefined;
      const timestamp = Math.floor(now.getTime() / 1000);
      for (const { digest, platform } of image.manifests) {
        const object = await signer.sign({ dockerReference, manifestDigest: digest, creator: CREATOR, timestamp }, now);
        const at =
          base === undefined
            ? await writeObject(options.output ?? '', object)
            : await openLookaside(base, { fetch: terminal.fetch }).write(image.name, digest, object);
        stored.push({ digest, platform, at });
      }
      report(terminal, { signer, dockerReference, stored, json: options.json === true });
      if (image.isIndex && options.all !== true) {
        const paint = style(terminal.colours.err);
        terminal.err(
          `${paint.warn('note:')} the image is an index; only the manifest of one platform was signed, --all signs every one and the index\n`,
        );
      }
      return exitCodes.ok;
    } finally {
      await image.close();
    }
  });
}

async function openSigner(terminal: Terminal, options: SimpleSignOptions, now: Date): Promise<SimpleSigner> {
  const { key, fingerprint, passphraseFile } = options;
  const file = await readInput(key, 'the private key', MAX_KEY);
  const open = (passphrase?: string) => readSigner(file, { passphrase, fingerprint, now });
  if (passphraseFile !== undefined) {
    const text = Buffer.from(await readInput(passphraseFile, 'the passphrase', MAX_PASSPHRASE)).toString('utf8');
    // As gpg reads it: the first line.
    return open(text.split(/\r?\n/, 1)[0]);
  }
  try {
    return await open();
  } catch (error) {
    const isLocked = error instanceof SimpleSigningError && error.code === 'SIMPLE_PASSPHRASE';
    if (!isLocked || terminal.askSecret === undefined) throw error;
    return open(await terminal.askSecret(`Passphrase of ${printable(key)}: `));
  }
}

async function writeObject(path: string, object: Uint8Array): Promise<string> {
  try {
    await writeFile(path, object);
    return path;
  } catch (cause) {
    throw new CliError('unreadable', `Cannot write ${path}: ${fileReason(cause)}`, { cause });
  }
}

function report(
  terminal: Terminal,
  {
    signer,
    dockerReference,
    stored,
    json,
  }: {
    signer: SimpleSigner;
    dockerReference: string;
    stored: readonly { digest: string; platform: string | undefined; at: string }[];
    json: boolean;
  },
): void {
  const { fingerprint, signingFingerprint } = signer;
  if (json) {
    const signatures = stored.map(({ digest, platform, at }) => ({ digest, platform: platform ?? null, at }));
    terminal.out(jsonText({ ok: true, dockerReference, fingerprint, signingFingerprint, signatures }));
    return;
  }
  const paint = style(terminal.colours.out);
  terminal.out(`${paint.good(`Signed: ${printable(dockerReference)}`)}\n`);
  const key = signingFingerprint === fingerprint ? fingerprint : `${fingerprint}, by its subkey ${signingFingerprint}`;
  terminal.out(
    columns([
      ['key', key],
      ...stored.flatMap(
        ({ digest, platform, at }) =>
          [
            ['manifest', platform === undefined ? digest : `${digest} for ${printable(platform)}`],
            ['stored', printable(at)],
          ] as const,
      ),
    ]),
  );
  if (signingFingerprint !== fingerprint) {
    terminal.err(
      `${style(terminal.colours.err).warn('note:')} podman and skopeo accept signatures of primary keys only, and will refuse this one of a subkey\n`,
    );
  }
}
