import type { CryptoErrorCode } from '#libs/crypto';
import { CryptoError } from '#libs/crypto';
import { IdentityError, type IdentityErrorCode } from '#libs/identity';
import { type Answer, type ErrorShape, gatewayShape, type GrpcCode, grpcAnswer } from '#libs/nest';
import { X509Error, type X509ErrorCode } from '#libs/x509';

export type CaErrorCode =
  | 'CA_REQUEST'
  | 'CA_KEY_MISSING'
  | 'CA_PROOF'
  | 'CA_CSR_MALFORMED'
  | 'CA_CSR_ALGORITHM'
  | 'CA_ALGORITHM_NOT_PERMITTED'
  | 'CA_IDENTITY_NOT_EMBEDDABLE'
  | 'CA_RATE'
  | 'CA_LOG'
  | 'CA_RECORD'
  | 'CA_BACKEND';

/**
 * What the flow itself refuses or cannot do. `shown`: what a client may read beside the code's own text; only words of
 * ours, never of a library.
 */
export class CaError extends Error {
  override readonly name = 'CaError';
  readonly shown: string | undefined;
  /** When to come back, whole seconds. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    readonly code: CaErrorCode,
    message: string,
    options: ErrorOptions & { shown?: string; retryAfterSeconds?: number } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : {});
    this.shown = options.shown;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

interface Row {
  readonly code: GrpcCode;
  /** Exactly what Fulcio says (pkg/server/error.go): clients show it to people, and some tests compare it. What we add comes after it. */
  readonly message: string;
  /** What is added where the error itself has nothing to show. */
  readonly hint?: string;
  /** When to come back where the error itself does not know, whole seconds. */
  readonly retryAfterSeconds?: number;
}

// Codes of google.rpc: 3 is INVALID_ARGUMENT and becomes 400, 13 is INTERNAL and becomes 500. Fulcio has no 401 or 403.
const token: Row = { code: 3, message: 'There was an error processing the identity token' };
const keyUnreadable: Row = {
  code: 3,
  message: 'The public key supplied in the request could not be parsed',
  hint: 'expected one SubjectPublicKeyInfo in PEM (PUBLIC KEY) or DER, or one PKCS#1 key in PEM (RSA PUBLIC KEY)',
};
const keyInsecure: Row = {
  code: 3,
  message: 'The public key supplied in the request is insecure',
  hint: 'expected ECDSA on P-256, P-384 or P-521, RSA of 2048, 3072 or 4096 bits with exponent 65537, or Ed25519',
};
const proofWrong: Row = {
  code: 3,
  message: 'The signature supplied in the request could not be verified',
  hint: 'it is not a signature that the key can have made',
};
const csrUnreadable: Row = {
  code: 3,
  message: 'The certificate signing request could not be parsed',
  hint: 'expected PKCS#10 in PEM',
};
const logFailed: Row = { code: 13, message: 'Error entering certificate in CTL' };
const backendFailed: Row = { code: 13, message: 'error communicating with CA backend' };

/** What went wrong inside → what is said outside. One row a code: a new code in a lib does not compile until it has an answer here. */
const rows = {
  IDENTITY_TOKEN_MISSING: token,
  IDENTITY_TOKEN_TOO_LARGE: token,
  IDENTITY_TOKEN_MALFORMED: token,
  IDENTITY_ISSUER_UNKNOWN: token,
  IDENTITY_DISCOVERY: token,
  IDENTITY_JWKS: token,
  // Not the token's fault, and gone in seconds: half of the time after which an issuer's keys are there or given up.
  IDENTITY_BUSY: {
    code: 14,
    message: 'The identity token cannot be verified at the moment',
    retryAfterSeconds: 5,
  },
  IDENTITY_ALGORITHM: token,
  IDENTITY_KEY_UNKNOWN: token,
  IDENTITY_SIGNATURE: token,
  IDENTITY_AUDIENCE: token,
  IDENTITY_EXPIRED: token,
  IDENTITY_NOT_YET_VALID: token,
  IDENTITY_CLAIM: token,
  IDENTITY_EMAIL_UNVERIFIED: token,
  IDENTITY_CONFIG: { code: 13, message: 'error loading fulcio configuration' },

  CRYPTO_KEY_MALFORMED: keyUnreadable,
  CRYPTO_KEY_UNSUPPORTED: keyInsecure,
  CRYPTO_KEY_WEAK: keyInsecure,
  CRYPTO_KEY_ENCRYPTED: backendFailed,
  CRYPTO_SIGNATURE_MALFORMED: proofWrong,
  CRYPTO_SCHEME: proofWrong,

  X509_CSR_MALFORMED: csrUnreadable,
  X509_CSR_ALGORITHM: proofWrong,
  // A request is the only thing from outside that is read here: its key is of a kind that is not certified.
  X509_UNSUPPORTED: keyInsecure,
  X509_MALFORMED: backendFailed,
  X509_PROFILE: backendFailed,
  X509_POISON: backendFailed,
  X509_LEAF_USAGE: backendFailed,
  X509_CHAIN_NO_PATH: backendFailed,
  X509_CHAIN_EXPIRED: backendFailed,
  X509_CHAIN_NOT_CA: backendFailed,
  X509_CHAIN_PATH_LENGTH: backendFailed,
  X509_CHAIN_USAGE: backendFailed,
  X509_CHAIN_SIGNATURE: backendFailed,
  X509_CHAIN_EXTENSION: backendFailed,
  X509_CHAIN_LIMIT: backendFailed,
  X509_SCT_MALFORMED: logFailed,
  X509_SCT_INVALID: logFailed,
  X509_CT_MALFORMED: logFailed,

  CA_REQUEST: { code: 3, message: 'request could not be read' },
  CA_KEY_MISSING: keyUnreadable,
  CA_PROOF: proofWrong,
  CA_CSR_MALFORMED: csrUnreadable,
  CA_CSR_ALGORITHM: { code: 3, message: 'unrecognized signature algorithm' },
  CA_ALGORITHM_NOT_PERMITTED: { code: 3, message: 'signing algorithm not permitted' },
  CA_IDENTITY_NOT_EMBEDDABLE: { code: 3, message: 'the identity cannot be embedded in a certificate' },
  // Fulcio itself has no limits: its public instance stands behind a proxy that answers 429.
  CA_RATE: { code: 8, message: 'rate limit exceeded' },
  CA_LOG: logFailed,
  // Nothing is wrong with the request, and a disk that is full has room again some time: UNAVAILABLE says so to proxies and to clients that heed Retry-After.
  // Those that do not lose nothing by it: sigstore-go (cosign 3) and sigstore-js treat 500 and 503 alike, as something to try again.
  CA_RECORD: { ...backendFailed, code: 14, retryAfterSeconds: 5 },
  CA_BACKEND: backendFailed,
} as const satisfies Record<CaErrorCode | IdentityErrorCode | CryptoErrorCode | X509ErrorCode, Row>;

/** Who asked for the certificate that was refused, as far as that was known by then. */
export interface Requester {
  /** The issuer of the verified token. */
  readonly issuer?: string | undefined;
  /** Whom a token that was not accepted says it is from. */
  readonly claimedIssuer?: string | undefined;
  /** The name that the certificate would have had. */
  readonly identity?: string | undefined;
}

/** Beside the error, not in it: it is thrown by libs that know nothing of it, and must stay what it is. */
const requesters = new WeakMap<Error, Requester>();

/** Notes for our log who met an error, and returns the error. */
export function metBy(error: unknown, requester: Requester): unknown {
  if (error instanceof Error) requesters.set(error, requester);
  return error;
}

/** The code under which an error is answered; undefined for a fault of ours. */
export function answeredCode(error: unknown): keyof typeof rows | undefined {
  const isKnown =
    error instanceof CaError ||
    error instanceof IdentityError ||
    error instanceof CryptoError ||
    error instanceof X509Error;
  return isKnown ? error.code : undefined;
}

function answerCaError(error: unknown): Answer | undefined {
  const errorCode = answeredCode(error);
  if (errorCode === undefined) return undefined;
  const { code, message, hint, retryAfterSeconds }: Row = rows[errorCode];
  // Libs' own messages are for our log; the two classes that have words for strangers say so.
  const shown = error instanceof CaError || error instanceof IdentityError ? error.shown : undefined;
  const more = shown || hint;
  const clientMessage = more ? `${message}: ${more}` : message;
  const retryAfter = (error instanceof CaError ? error.retryAfterSeconds : undefined) ?? retryAfterSeconds;
  return grpcAnswer(code, clientMessage, {
    ...(retryAfter !== undefined && { headers: { 'retry-after': String(retryAfter) } }),
    log: { code: errorCode, clientMessage, ...(error instanceof Error && requesters.get(error)) },
  });
}

const methods: Readonly<Record<string, readonly string[]>> = {
  '/api/v2/signingCert': ['POST'],
  '/api/v2/trustBundle': ['GET', 'HEAD'],
  '/api/v2/configuration': ['GET', 'HEAD'],
  '/api/v1/signingCert': ['POST'],
  '/api/v1/rootCert': ['GET', 'HEAD'],
};

/** How this app words errors, at its own paths and what lies under them. */
export const caShape: ErrorShape = gatewayShape({
  owns: (path) => /^\/api\/v[12]\/(signingCert|trustBundle|configuration|rootCert)/.test(path),
  methods: (path) => (Object.hasOwn(methods, path) ? methods[path] : undefined),
  answer: answerCaError,
  tooLargeStatus: 400,
});

/** The same at every other path, for a server that has no other app. */
export const lastResortShape: ErrorShape = { ...caShape, owns: () => true };
