import { createPrivateKey, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';
import { link, open, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { encodePem } from '#libs/encoding';
import { encryptKeyFile } from '#libs/keyfile';
import { loadSigningKey } from '#libs/sign';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { exists, fileReason, readInput, writeAtomically } from './files.js';
import { needsPassword, readNewPassword, readSigningKey } from './key-load.js';
import { columns, jsonText, printable, style } from './style.js';

export interface KeyPairOptions {
  outputKeyPrefix: string;
  json?: boolean;
}

const MAX_KEY_BYTES = 64 * 1024;

/** `generate-key-pair`: P-256, the one kind that every Sigstore client verifies. */
export async function generateKeyPair(terminal: Terminal, options: KeyPairOptions): Promise<ExitCode> {
  await refuseOverwrite(options);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return writePair(terminal, privateKey, options);
}

/** `import-key-pair`: a key of one's own, from plain PEM. */
export async function importKeyPair(terminal: Terminal, options: KeyPairOptions & { key: string }): Promise<ExitCode> {
  await refuseOverwrite(options);
  const pem = Buffer.from(await readInput(options.key, 'the private key', MAX_KEY_BYTES)).toString('utf8');
  if (needsPassword(pem)) {
    throw new CliError('unreadable', `Cannot import ${options.key}: it is encrypted already`, {
      cure: 'A key file of cosign can be used as it is; decrypt another one first, with `openssl pkcs8 -in … -out plain.pem`',
    });
  }
  // Says in its own words what is wrong with a key that cannot or should not sign.
  loadSigningKey(pem);
  return writePair(terminal, createPrivateKey(pem), options);
}

/** `public-key`: of a private key, encrypted or not. */
export async function publicKeyCommand(
  terminal: Terminal,
  options: { key: string; outfile?: string },
): Promise<ExitCode> {
  const { publicKey } = await readSigningKey(terminal, options.key);
  const pem = encodePem('PUBLIC KEY', publicKey.spki);
  if (options.outfile === undefined) terminal.out(pem);
  else await writeAtomically(options.outfile, pem);
  return exitCodes.ok;
}

function namesOf({ outputKeyPrefix }: KeyPairOptions): { privatePath: string; publicPath: string } {
  return { privatePath: `${outputKeyPrefix}.key`, publicPath: `${outputKeyPrefix}.pub` };
}

/** Asked before the password, so that nobody types one in vain; {@link writeNew} makes sure. */
async function refuseOverwrite(options: KeyPairOptions): Promise<void> {
  for (const path of Object.values(namesOf(options))) {
    if (await exists(path)) throw taken(path);
  }
}

function taken(path: string): CliError {
  return new CliError('unreadable', `Cannot write ${path}: there is a file of this name`, {
    cure: 'Give another --output-key-prefix; if the old key is not needed, move it away first: nothing brings it back',
  });
}

async function writePair(terminal: Terminal, privateKey: KeyObject, options: KeyPairOptions): Promise<ExitCode> {
  const { privatePath, publicPath } = namesOf(options);
  const password = await readNewPassword(terminal);
  const der = new Uint8Array(privateKey.export({ type: 'pkcs8', format: 'der' }));
  const keyFile = encryptKeyFile(der, password, { random: (length) => new Uint8Array(randomBytes(length)) });
  const { publicKey } = loadSigningKey(encodePem('PRIVATE KEY', der));
  der.fill(0);
  await writeNew(privatePath, keyFile, 0o600);
  try {
    await writeNew(publicPath, encodePem('PUBLIC KEY', publicKey.spki), 0o644);
  } catch (error) {
    await rm(privatePath, { force: true });
    throw error;
  }
  const empty = password === '';
  if (options.json) terminal.out(jsonText({ ok: true, privateKey: privatePath, publicKey: publicPath }));
  else {
    terminal.out(
      columns([
        ['private key', printable(privatePath)],
        ['public key', printable(publicPath)],
      ]),
    );
  }
  if (empty) {
    terminal.err(
      `${style(terminal.colours.err).warn('note:')} the password is empty: whoever has ${printable(privatePath)} has the key.\n`,
    );
  }
  return exitCodes.ok;
}

/** Under its name there is either nothing or the whole file; an existing one is never touched. */
async function writeNew(path: string, text: string, mode: number): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    // Not a rename, which would replace a file that came meanwhile.
    await link(temporary, path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') throw taken(path);
    throw new CliError('unreadable', `Cannot write ${path}: ${fileReason(cause)}`, { cause });
  } finally {
    await rm(temporary, { force: true });
  }
}
