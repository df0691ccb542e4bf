import type { SignErrorCode } from '#libs/sign';

/** How the program ends; documented in `chancery --help`, and part of its interface. */
export const exitCodes = {
  ok: 0,
  /** A signature, a proof or a service's answer does not verify. */
  failed: 1,
  /** The command line makes no sense. */
  usage: 2,
  /** A file or token given cannot be used: missing, unreadable, malformed, expired. */
  unreadable: 3,
  /** A service cannot be reached or does not work. */
  network: 4,
  /** A service refused the request (4xx). */
  refused: 5,
  /** A bug of ours. The number is EX_SOFTWARE of sysexits(3). */
  bug: 70,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** An end that the command line itself decides on. */
export class CliError extends Error {
  readonly cure: string | undefined;

  constructor(
    readonly exit: 'failed' | 'usage' | 'unreadable' | 'network',
    message: string,
    options: ErrorOptions & { cure?: string } = {},
  ) {
    super(message, options);
    this.name = 'CliError';
    this.cure = options.cure;
  }
}

const signExits = {
  SIGN_TOKEN_MISSING: 'usage',
  SIGN_TOKEN_MALFORMED: 'unreadable',
  SIGN_TOKEN_EXPIRED: 'unreadable',
  SIGN_TOKEN_AUDIENCE: 'unreadable',
  SIGN_KEY: 'unreadable',
  SIGN_ARTIFACT: 'unreadable',
  SIGN_STATEMENT: 'unreadable',
  SIGN_SERVICES: 'unreadable',
  SIGN_URL: 'usage',
  SIGN_NETWORK: 'network',
  SIGN_REDIRECT: 'network',
  SIGN_REFUSED: 'refused',
  SIGN_UNAVAILABLE: 'network',
  SIGN_RESPONSE_TOO_LARGE: 'network',
  SIGN_RESPONSE_MALFORMED: 'network',
  SIGN_CERTIFICATE_KEY: 'failed',
  SIGN_CERTIFICATE_SCT: 'failed',
  SIGN_CERTIFICATE_CHAIN: 'failed',
  SIGN_CERTIFICATE_TIME: 'failed',
  SIGN_TIMESTAMP: 'failed',
  SIGN_LOG_BODY: 'failed',
  SIGN_LOG_PROOF: 'failed',
  SIGN_LOG_CHECKPOINT: 'failed',
} as const satisfies Record<SignErrorCode, keyof typeof exitCodes>;

/** What to tell about an error, and how to end. */
export interface Failure {
  exitCode: ExitCode;
  code: string;
  message: string;
  cure: string | undefined;
}

/** Known errors speak for themselves; the unknown is a bug, and says only its message. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof CliError) {
    return {
      exitCode: exitCodes[error.exit],
      code: `CLI_${error.exit.toUpperCase()}`,
      message: error.message,
      cure: error.cure,
    };
  }
  // By name, not by class: loading the class would load the network client and its parsers into every command.
  if (error instanceof Error && error.name === 'SignError' && isSignErrorCode((error as { code?: unknown }).code)) {
    const { code, message, cure } = error as Error & { code: SignErrorCode; cure?: string };
    return { exitCode: exitCodes[signExits[code]], code, message, cure };
  }
  return {
    exitCode: exitCodes.bug,
    code: 'CLI_BUG',
    message: `Unexpected error: ${error instanceof Error ? error.message : String(error)}`,
    cure: 'This is a bug: please report it with the command that caused it',
  };
}

function isSignErrorCode(code: unknown): code is SignErrorCode {
  return typeof code === 'string' && Object.hasOwn(signExits, code);
}
