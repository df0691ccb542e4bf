import { isValidAt, parseSigningConfig, parseTrustedRoot, type SigningConfig, type TrustedRoot } from '#libs/trust';
import { CliError } from './exit.js';
import { readInput } from './files.js';

/** The public good instance's root has about 10 kB; thousands of keys fit in this. */
export const MAX_TRUST_BYTES = 4 * 1024 * 1024;

/** @throws CliError `unreadable` */
export async function readTrustedRoot(path: string): Promise<TrustedRoot> {
  const bytes = await readInput(path, 'the trusted root', MAX_TRUST_BYTES);
  return parseOr('unreadable', `the trusted root ${path}`, () => parseTrustedRoot(bytes));
}

/** @throws CliError `unreadable` */
export async function readSigningConfig(path: string): Promise<SigningConfig> {
  const bytes = await readInput(path, 'the signing configuration', MAX_TRUST_BYTES);
  return parseOr('unreadable', `the signing configuration ${path}`, () => parseSigningConfig(bytes));
}

/** Whom to sign in with: the issuers that are in service, newest first. CI systems may be among them. */
export function issuersIn({ oidcUrls }: SigningConfig, nowMs: number): string[] {
  const usable = oidcUrls
    .filter(({ validFor }) => isValidAt(validFor, new Date(nowMs)))
    .sort((a, b) => b.validFor.start.getTime() - a.validFor.start.getTime());
  return [...new Set(usable.map(({ url }) => url))];
}

/** Runs a parser; its error becomes one that says whose fault it is. */
export function parseOr<T>(exit: 'unreadable' | 'network', what: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new CliError(exit, `Cannot use ${what}: ${cause instanceof Error ? cause.message : 'malformed'}`, { cause });
  }
}
