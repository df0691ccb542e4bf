import { EncodingError } from '#libs/encoding';
import { type Answer, type ErrorShape, plainAnswer } from '#libs/nest';
import { TlogError, type TlogErrorCode } from '#libs/tlog';
import { X509Error } from '#libs/x509';
import { MerkleError } from '#libs/merkle';
import { CryptoError } from '#libs/crypto';

/** What a caller did wrong, with the status that RFC 6962 front ends give it. */
export class CtError extends Error {
  constructor(
    readonly code: 'CT_REQUEST' | 'CT_CHAIN' | 'CT_NOT_FOUND',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const statusOf = { CT_REQUEST: 400, CT_CHAIN: 400, CT_NOT_FOUND: 404 } as const satisfies Record<
  CtError['code'],
  number
>;

const phrases: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Request Entity Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/** `<reason phrase>\n<detail>\n`, as the CT front ends of Trillian and TesseraCT word it. */
function ctAnswer(status: number, detail: string, headers?: Readonly<Record<string, string>>): Answer {
  return plainAnswer(status, `${phrases[status] ?? 'Error'}\n${detail}`, {
    'x-content-type-options': 'nosniff',
    // In place of what the path has for success: what is not there yet will be when the tree has grown.
    'cache-control': 'no-store',
    ...headers,
  });
}

const retrySoon = { 'retry-after': '1' };
const engineAnswers = {
  TLOG_BUSY: ctAnswer(503, 'too many submissions are waiting', retrySoon),
  TLOG_STORE: ctAnswer(503, 'log storage is unavailable', { 'retry-after': '5' }),
  TLOG_CLOSED: ctAnswer(503, 'log is shutting down', { 'retry-after': '5' }),
  // The CA's client repeats 503 until it gives up; a log that will not come back by itself is a 500.
  TLOG_CORRUPT: ctAnswer(500, 'log has stopped publishing'),
  TLOG_ROLLED_BACK: ctAnswer(500, 'log has stopped publishing'),
  TLOG_LOCKED: ctAnswer(500, 'log is in use by another process'),
  TLOG_KEY: ctAnswer(500, 'log cannot sign'),
  TLOG_MISSING: ctAnswer(500, 'log is missing'),
  TLOG_RECORD: ctAnswer(400, 'certificate cannot be logged'),
  TLOG_RANGE: ctAnswer(400, 'beyond the tree'),
} as const satisfies Record<TlogErrorCode, Answer>;

function answerCtError(error: unknown): Answer | undefined {
  if (error instanceof CtError) return ctAnswer(statusOf[error.code], error.message);
  if (error instanceof TlogError) return engineAnswers[error.code];
  if (error instanceof MerkleError) return ctAnswer(404, 'no such tile');
  if (error instanceof X509Error || error instanceof CryptoError || error instanceof EncodingError) {
    return ctAnswer(400, 'certificate cannot be read');
  }
  return undefined;
}

const rfc6962 = /^(?:\/ct)?\/ct\/v1\/([a-z-]+)$/;
const submissions = ['add-chain', 'add-pre-chain'];
const queries = [
  'get-roots',
  'get-sth',
  'get-sth-consistency',
  'get-proof-by-hash',
  'get-entries',
  'get-entry-and-proof',
];
const staticPath = /^\/ct\/(?:checkpoint$|log\.v3\.json$|tile\/|issuer\/)/;

export const ctShape: ErrorShape = {
  owns: (path) => path.startsWith('/ct/'),
  methods: (path) => {
    const name = rfc6962.exec(path)?.[1];
    if (name !== undefined && submissions.includes(name)) return ['POST'];
    if ((name !== undefined && queries.includes(name)) || staticPath.test(path)) return ['GET', 'HEAD'];
    return undefined;
  },
  answer: answerCtError,
  notFound: () => ctAnswer(404, 'no such path'),
  methodNotAllowed: (method, allowed) => ctAnswer(405, `method not allowed: ${method}`, { allow: allowed.join(', ') }),
  tooLarge: () => ctAnswer(413, 'request body too large'),
  malformed: () => ctAnswer(400, 'request could not be read'),
  internal: (requestId) => ctAnswer(500, `internal error (request ${requestId})`),
};
