import { encodePem } from '#libs/encoding';
import { decryptKeyFile, isKeyFile } from '#libs/keyfile';
import { loadSigningKey, type SigningKey } from '#libs/sign';
import type { Terminal } from './config.js';
import { CliError } from './exit.js';
import { readInput } from './files.js';

const MAX_KEY_BYTES = 64 * 1024;

/**
 * A private key from PEM: PKCS#8 (also encrypted), SEC1, PKCS#1, or cosign's encrypted key file. `password`: for those that are encrypted.
 * @throws KeyFileError, SignError `SIGN_KEY`
 */
export function loadKey(pem: string, password?: string): SigningKey {
  if (!isKeyFile(pem)) return loadSigningKey(pem, password);
  return loadSigningKey(encodePem('PRIVATE KEY', decryptKeyFile(pem, password ?? '')));
}

/**
 * The private key in a file, as every command's --key names it. Asks for the password only where there is something to open.
 * @throws CliError `unreadable`, `usage`; KeyFileError, SignError `SIGN_KEY`
 */
export async function readSigningKey(terminal: Terminal, path: string): Promise<SigningKey> {
  const pem = Buffer.from(await readInput(path, 'the private key', MAX_KEY_BYTES)).toString('utf8');
  return loadKey(pem, needsPassword(pem) ? await readPassword(terminal, path) : undefined);
}

/** Encrypted, in any of the ways that PEM knows: PKCS#8, the headers of OpenSSL's old files, or a key file. */
export function needsPassword(pem: string): boolean {
  return isKeyFile(pem) || pem.includes('ENCRYPTED');
}

/** The password of an existing key: COSIGN_PASSWORD, also when empty, else what the person at the terminal says. */
async function readPassword(terminal: Terminal, path: string): Promise<string> {
  const given = terminal.env['COSIGN_PASSWORD'];
  if (given !== undefined) return given;
  if (terminal.askSecret === undefined) throw noPassword('unreadable', `open ${path}`);
  return terminal.askSecret(`Password of ${path}: `);
}

/**
 * The password for a new key: COSIGN_PASSWORD, else asked for twice.
 * @throws CliError `usage` if there is nobody to ask, or the two differ
 */
export async function readNewPassword(terminal: Terminal): Promise<string> {
  const given = terminal.env['COSIGN_PASSWORD'];
  if (given !== undefined) return given;
  if (terminal.askSecret === undefined) throw noPassword('usage', 'encrypt the key');
  const password = await terminal.askSecret('Password for the new key: ');
  if ((await terminal.askSecret('The same password again: ')) !== password) {
    throw new CliError('usage', 'Cannot encrypt the key: the two passwords differ');
  }
  return password;
}

function noPassword(exit: 'usage' | 'unreadable', action: string): CliError {
  return new CliError(exit, `Cannot ${action}: there is no password`, {
    cure: 'Set COSIGN_PASSWORD (it may be empty), or run this at a terminal, which asks for it',
  });
}
