import type { AuditErrorCode } from '#libs/audit';
import type { KeyFileErrorCode } from '#libs/keyfile';
import type { ImageErrorCode } from '#libs/image';
import type { LoginErrorCode } from '#libs/login';
import type { NotaryErrorCode } from '#libs/notary';
import type { OciErrorCode } from '#libs/oci';
import type { SignErrorCode } from '#libs/sign';
import type { TagErrorCode } from '#libs/tags';

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
  /** Of images, as cosign numbers them: nothing of the kind asked for is attached. */
  noSignature: 10,
  /** The image is not there. */
  noImage: 11,
  /** There are signatures, and none holds. */
  noMatch: 12,
  /** An identity was asked for, and all signatures were made with keys. */
  noCertificate: 13,
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
    readonly exit: 'failed' | 'usage' | 'unreadable' | 'network' | 'untold' | 'noImage',
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

const ociExits = {
  OCI_REFERENCE: 'usage',
  OCI_NOT_FOUND: 'unreadable',
  OCI_UNAUTHORIZED: 'refused',
  OCI_DENIED: 'refused',
  OCI_CHALLENGE: 'network',
  OCI_CREDENTIALS: 'unreadable',
  OCI_DIGEST: 'failed',
  OCI_SIZE: 'failed',
  OCI_LIMIT: 'failed',
  OCI_MANIFEST: 'failed',
  OCI_SUBJECT: 'failed',
  OCI_RESPONSE: 'network',
  OCI_NETWORK: 'network',
  OCI_REDIRECT: 'network',
  OCI_UNAVAILABLE: 'network',
  OCI_UNSUPPORTED: 'refused',
  OCI_REFUSED: 'refused',
  OCI_CONFLICT: 'network',
  OCI_LAYOUT: 'unreadable',
} as const satisfies Record<OciErrorCode, keyof typeof exitCodes>;

const imageExits = {
  IMAGE_PREDICATE: 'unreadable',
  IMAGE_POLICY: 'unreadable',
  IMAGE_LEGACY: 'failed',
  IMAGE_SERVICES: 'unreadable',
  IMAGE_SELF_CHECK: 'failed',
  IMAGE_CONFLICT: 'network',
  IMAGE_LIMIT: 'failed',
  IMAGE_FOLDER: 'unreadable',
} as const satisfies Record<ImageErrorCode, keyof typeof exitCodes>;

/** By the name of the error, not by its class: loading the class would load the network client and its parsers into every command. */
const exitTables: Readonly<Record<string, Readonly<Record<string, keyof typeof exitCodes>>>> = {
  SignError: signExits,
  AuditError: auditExits,
  LoginError: loginExits,
  KeyFileError: keyFileExits,
  OciError: ociExits,
  ImageError: imageExits,
};

const tagExits = {
  TAGS_SNAPSHOT_FOUND: 'failed',
  TAGS_SNAPSHOT_FORM: 'failed',
  TAGS_SNAPSHOT_SIGNER: 'failed',
  TAGS_SNAPSHOT_REPOSITORY: 'failed',
  TAGS_CLOCK: 'failed',
  TAGS_SNAPSHOT_TIME: 'failed',
  TAGS_SNAPSHOT_FRESH: 'failed',
  TAGS_FIRST_USE: 'failed',
  TAGS_SNAPSHOT_ROLLBACK: 'failed',
  TAGS_SNAPSHOT_FORK: 'failed',
  TAGS_SNAPSHOT_CONTINUITY: 'failed',
  TAGS_TAG_LISTED: 'failed',
  TAGS_TAG_FOUND: 'failed',
  TAGS_TAG_FORM: 'failed',
  TAGS_TAG_BINDING: 'failed',
  TAGS_TAG_SIGNERS: 'failed',
  TAGS_TAG_TIME: 'failed',
  TAGS_TAG_REVOKED: 'failed',
  TAGS_TAG_FRESH: 'failed',
  TAGS_IMAGE: 'failed',
  TAGS_MALFORMED: 'failed',
  TAGS_POLICY: 'unreadable',
  TAGS_INPUT: 'usage',
  TAGS_STATE: 'unreadable',
  TAGS_CONFLICT: 'refused',
} as const satisfies Record<TagErrorCode, keyof typeof exitCodes>;

const notaryExits = {
  NOTARY_NOT_FOUND: 'refused',
  NOTARY_FORMAT: 'failed',
  NOTARY_LIMIT: 'failed',
  NOTARY_PIN: 'failed',
  NOTARY_ROTATION: 'failed',
  NOTARY_SIGNATURE: 'failed',
  NOTARY_HASH: 'failed',
  NOTARY_VERSION: 'failed',
  NOTARY_EXPIRED: 'failed',
  NOTARY_DELEGATION: 'failed',
} as const satisfies Record<NotaryErrorCode, keyof typeof exitCodes>;

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
  if (error instanceof Error) {
    const { name, message, code, cure } = error as Error & { code?: unknown; cure?: string };
    const exits = Object.hasOwn(exitTables, name) ? exitTables[name] : undefined;
    const exit = typeof code === 'string' && exits && Object.hasOwn(exits, code) ? exits[code] : undefined;
    if (exit !== undefined) return { exitCode: exitCodes[exit], code: String(code), message, cure };
  }
  if (error instanceof Error && error.name === 'TagError' && isTagErrorCode((error as { code?: unknown }).code)) {
    const { code, message, cure } = error as Error & { code: TagErrorCode; cure?: string };
    return { exitCode: exitCodes[tagExits[code]], code, message, cure };
  }
  if (error instanceof Error && error.name === 'NotaryError' && isNotaryErrorCode((error as { code?: unknown }).code)) {
    const { code, message, cure } = error as Error & { code: NotaryErrorCode; cure?: string };
    return { exitCode: exitCodes[notaryExits[code]], code, message, cure };
  }
  return {
    exitCode: exitCodes.bug,
    code: 'CLI_BUG',
    message: `Unexpected error: ${error instanceof Error ? error.message : String(error)}`,
    cure: 'This is a bug: please report it with the command that caused it',
  };
}

function isTagErrorCode(code: unknown): code is TagErrorCode {
  return typeof code === 'string' && Object.hasOwn(tagExits, code);
}

function isNotaryErrorCode(code: unknown): code is NotaryErrorCode {
  return typeof code === 'string' && Object.hasOwn(notaryExits, code);
}
