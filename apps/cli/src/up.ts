import type { Terminal } from './config.js';
import { exitCodes, type ExitCode } from './exit.js';
import { loadStack, stackFailure } from './stack.js';

export interface UpOptions {
  dev?: boolean;
  host?: string;
  port?: string;
  data?: string;
  url?: string;
  oidcConfig?: string;
}

/** `up`: runs until it is told to stop. The stack reads the rest of its configuration from the environment. */
export async function up(_terminal: Terminal, options: UpOptions): Promise<ExitCode> {
  const { runStack } = await loadStack();
  await runStack(options).catch((cause: unknown) => {
    throw stackFailure(cause);
  });
  return exitCodes.ok;
}
