import { CliError } from './exit.js';

/** What this program uses of the stack. Loaded only where it is used: it brings the whole server with it. */
export function loadStack() {
  return import('../../stack/src/main.js');
}

/**
 * The stack's reasons for not starting, as ends of this program: a setting is usage, a data folder is an input, an address is the network.
 * Anything else rises as it is.
 */
export function stackFailure(cause: unknown): unknown {
  const code = cause instanceof Error ? (cause as { code?: unknown }).code : undefined;
  if (!(cause instanceof Error) || typeof code !== 'string') return cause;
  if (code === 'CONFIG_INVALID' || code === 'IDENTITY_CONFIG') return new CliError('usage', cause.message, { cause });
  if (/^(INSTANCE|ISSUED|TLOG)_/.test(code)) return new CliError('unreadable', cause.message, { cause });
  if (code === 'EADDRINUSE' || code === 'EACCES' || code === 'EADDRNOTAVAIL') {
    return new CliError('network', `Cannot listen: ${cause.message}`, {
      cause,
      cure: 'Choose another --port or --host, or stop what uses it',
    });
  }
  return cause;
}
