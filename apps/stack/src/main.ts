import { createLog, serveUntilSignal } from '#libs/nest';
import { readStackConfig, type StackOptions } from './config.js';
import { exportTrust as exportTrustOf, startStack } from './stack.js';

const now = (): Date => new Date();

/** Serves until SIGTERM or SIGINT. @throws ConfigError, InstanceError, TlogError if it must not start */
export async function runStack(options: StackOptions = {}): Promise<void> {
  const config = readStackConfig(options);
  const format = config.CHANCERY_LOG_FORMAT ?? (process.stderr.isTTY ? 'text' : 'json');
  const log = createLog({ format, now, write: (line) => process.stderr.write(line) });
  await serveUntilSignal(() => startStack(config, log, now), log);
}

/** The trusted root and signing config of a data folder. @throws ConfigError, InstanceError */
export function exportTrust(options: StackOptions = {}): Promise<{ trustedRoot: string; signingConfig: string }> {
  return exportTrustOf(readStackConfig(options), now);
}
