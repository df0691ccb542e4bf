import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { fileReason, writeAtomically } from './files.js';
import { loadStack, stackFailure } from './stack.js';
import { jsonText, style } from './style.js';

export interface TrustExportOptions {
  url?: string;
  data?: string;
  publicUrl?: string;
  out: string;
  rekor?: '1' | '2';
  json?: boolean;
}

/** `trust export`: from a server, or from the keys themselves. */
export async function exportTrust(terminal: Terminal, options: TrustExportOptions): Promise<ExitCode> {
  if ((options.url === undefined) === (options.data === undefined)) {
    throw new CliError('usage', 'Cannot export trust: give either --url or --data');
  }
  if (options.publicUrl !== undefined && options.data === undefined) {
    throw new CliError('usage', 'Cannot export trust: --public-url belongs to --data');
  }
  const texts = await readTrust(terminal, options);
  const files = {
    trustedRoot: join(options.out, 'trusted_root.json'),
    signingConfig: join(options.out, 'signing_config.v0.2.json'),
  };
  await mkdir(options.out, { recursive: true }).catch((cause: unknown) => {
    throw new CliError('unreadable', `Cannot make the folder ${options.out}: ${fileReason(cause)}`, { cause });
  });
  await writeAtomically(files.trustedRoot, texts.trustedRoot);
  await writeAtomically(files.signingConfig, texts.signingConfig);
  if (options.json) terminal.out(jsonText({ ok: true, ...files }));
  else terminal.out(`${files.trustedRoot}\n${files.signingConfig}\n`);
  if (options.url !== undefined) {
    terminal.err(
      `${style(terminal.colours.err).warn('note:')} these keys are what the server says about itself, over this connection. Before others rely on them,\n` +
        '      compare them with an export from the data folder (--data), and hand them out by a way you trust.\n',
    );
  }
  return exitCodes.ok;
}

async function readTrust(
  terminal: Terminal,
  options: TrustExportOptions,
): Promise<{ trustedRoot: string; signingConfig: string }> {
  if (options.data === undefined) {
    const { fetchTrust } = await import('./trust-service.js');
    return (await fetchTrust(options.url ?? '', { fetch: terminal.fetch }, options.rekor)).texts;
  }
  const { exportTrust: exportOf } = await loadStack();
  const publicUrl = options.publicUrl === undefined ? {} : { url: options.publicUrl };
  const versions = options.rekor === undefined ? undefined : options.rekor === '1' ? ([1] as const) : ([2] as const);
  return exportOf({ data: options.data, ...publicUrl }, versions).catch((cause: unknown) => {
    throw stackFailure(cause);
  });
}
