import type { AuditErrorCode } from '#libs/audit';
import type { KeyFileErrorCode } from '#libs/keyfile';
import type { LoginErrorCode } from '#libs/login';
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
  /** A question about a log has no answer: something that it takes is missing, unreachable, unsigned, or the work was stopped. */
  untold: 6,
  /** A bug of ours. The number is EX_SOFTWARE of sysexits(3). */
  bug: 70,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** An end that the command line itself decides on. */
export class CliError extends Error {
  readonly cure: string | undefined;
  /** For programs; of an error that came from below its own. */
  readonly code: string;

  constructor(
    readonly exit: 'failed' | 'usage' | 'unreadable' | 'network' | 'untold',
    message: string,
    options: ErrorOptions & { cure?: string; code?: string } = {},
  ) {
    super(message, options);
    this.name = 'CliError';
    this.cure = options.cure;
    this.code = options.code ?? `CLI_${exit.toUpperCase()}`;
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

const auditExits = {
  AUDIT_URL: 'usage',
  AUDIT_NETWORK: 'network',
  AUDIT_REDIRECT: 'network',
  AUDIT_REFUSED: 'refused',
  AUDIT_UNAVAILABLE: 'network',
  AUDIT_TOO_LARGE: 'network',
  AUDIT_RESPONSE: 'network',
  AUDIT_FOLDER: 'unreadable',
  AUDIT_MISSING: 'untold',
  AUDIT_KEY: 'unreadable',
  AUDIT_CHECKPOINT: 'failed',
  AUDIT_SIGNER: 'failed',
  AUDIT_TILES: 'failed',
  AUDIT_ENTRY: 'failed',
  AUDIT_RANGE: 'failed',
  AUDIT_PROOF: 'failed',
  AUDIT_INCONSISTENT: 'failed',
  AUDIT_STATE: 'unreadable',
  AUDIT_EVIDENCE: 'unreadable',
  AUDIT_STOPPED: 'untold',
} as const satisfies Record<AuditErrorCode, keyof typeof exitCodes>;

const loginExits = {
  LOGIN_ISSUER: 'usage',
  LOGIN_SETTINGS: 'usage',
  LOGIN_DISCOVERY: 'network',
  LOGIN_FLOW: 'usage',
  LOGIN_PORT: 'usage',
  LOGIN_STATE: 'failed',
  LOGIN_DENIED: 'refused',
  LOGIN_REFUSED: 'refused',
  LOGIN_EXPIRED: 'refused',
  LOGIN_TIMEOUT: 'refused',
  LOGIN_NETWORK: 'network',
  LOGIN_RESPONSE: 'network',
  LOGIN_TOKEN: 'failed',
  LOGIN_CACHE: 'unreadable',
} as const satisfies Record<LoginErrorCode, keyof typeof exitCodes>;

const keyFileExits = {
  KEYFILE_MALFORMED: 'unreadable',
  KEYFILE_UNSUPPORTED: 'unreadable',
  KEYFILE_PASSWORD: 'unreadable',
} as const satisfies Record<KeyFileErrorCode, keyof typeof exitCodes>;

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
      code: error.code,
      message: error.message,
      cure: error.cure,
    };
  }
  // By name, not by class: loading the class would load the network client and its parsers into every command.
  if (error instanceof Error && error.name === 'SignError' && isSignErrorCode((error as { code?: unknown }).code)) {
    const { code, message, cure } = error as Error & { code: SignErrorCode; cure?: string };
    return { exitCode: exitCodes[signExits[code]], code, message, cure };
  }
  if (error instanceof Error && error.name === 'AuditError' && isAuditErrorCode((error as { code?: unknown }).code)) {
    const { code, message, cure } = error as Error & { code: AuditErrorCode; cure?: string };
    return { exitCode: exitCodes[auditExits[code]], code, message, cure };
  }
  if (error instanceof Error && error.name === 'LoginError' && isLoginErrorCode((error as { code?: unknown }).code)) {
    const { code, message, cure } = error as Error & { code: LoginErrorCode; cure?: string };
    return { exitCode: exitCodes[loginExits[code]], code, message, cure };
  }
  if (
    error instanceof Error &&
    error.name === 'KeyFileError' &&
    isKeyFileErrorCode((error as { code?: unknown }).code)
  ) {
    const { code, message, cure } = error as Error & { code: KeyFileErrorCode; cure?: string };
    return { exitCode: exitCodes[keyFileExits[code]], code, message, cure };
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

function isAuditErrorCode(code: unknown): code is AuditErrorCode {
  return typeof code === 'string' && Object.hasOwn(auditExits, code);
}

function isLoginErrorCode(code: unknown): code is LoginErrorCode {
  return typeof code === 'string' && Object.hasOwn(loginExits, code);
}

function isKeyFileErrorCode(code: unknown): code is KeyFileErrorCode {
  return typeof code === 'string' && Object.hasOwn(keyFileExits, code);
}
