import type { PkiFormat, PkiFormats } from '#libs/entry';
import { unknownFormat } from './error.js';
import { minisignFormat } from './minisign.js';
import { pgpFormat } from './pgp.js';
import { sshFormat } from './ssh.js';
import { x509Format } from './x509.js';

/** The formats by the name that a `rekord` entry or a search gives them. */
export const pkiFormats: PkiFormats = { x509: x509Format, pgp: pgpFormat, minisign: minisignFormat, ssh: sshFormat };

/**
 * The format of that name.
 * @throws PkiError `PKI_FORMAT`
 */
export function findPkiFormat(name: string): PkiFormat {
  if (!Object.hasOwn(pkiFormats, name)) throw unknownFormat();
  return pkiFormats[name as keyof PkiFormats]; // a key of its own, as just checked
}
