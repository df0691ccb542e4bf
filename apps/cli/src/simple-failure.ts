import { SimpleSigningError, type SimpleSigningErrorCode } from '#libs/simple-signing';
import { CliError } from './exit.js';

const simpleExits = {
  SIMPLE_REFERENCE: 'usage',
  SIMPLE_PAYLOAD: 'failed',
  SIMPLE_MESSAGE: 'failed',
  SIMPLE_TOO_LARGE: 'unreadable',
  SIMPLE_KEY: 'unreadable',
  SIMPLE_PASSPHRASE: 'unreadable',
  SIMPLE_SIGNER: 'failed',
  SIMPLE_KEY_STATE: 'failed',
  SIMPLE_SIGNATURE: 'failed',
  SIMPLE_DIGEST: 'failed',
  SIMPLE_IDENTITY: 'failed',
  SIMPLE_POLICY: 'unreadable',
  SIMPLE_REGISTRIES: 'unreadable',
  SIMPLE_LOOKASIDE_URL: 'usage',
  SIMPLE_LOOKASIDE: 'network',
} as const satisfies Record<SimpleSigningErrorCode, CliError['exit']>;

const cures: Partial<Record<SimpleSigningErrorCode, string>> = {
  SIMPLE_PASSPHRASE:
    'Give --passphrase-file, or run the command at a terminal; a key comes out of gpg-agent with `gpg --armor --export-secret-keys FINGERPRINT`',
  SIMPLE_KEY:
    'Keys come from `gpg --export FINGERPRINT` (public) and `gpg --armor --export-secret-keys FINGERPRINT` (private)',
  SIMPLE_KEY_STATE:
    'See `gpg --list-keys`: a key that has expired or was revoked signs nothing, and nothing that it signed is believed',
  SIMPLE_POLICY: 'See containers-policy.json(5): podman and skopeo refuse such a file as well',
};

/** Runs a command; the errors of Simple Signing get their exit codes and cures. Those of registries have them already, as for all commands. */
export async function withExits<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof SimpleSigningError) {
      const { code, message } = cause;
      const cure = cures[code];
      throw new CliError(simpleExits[code], message, { cause, code, ...(cure !== undefined && { cure }) });
    }
    throw cause;
  }
}
