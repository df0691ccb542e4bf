import { EntryError, type EntryErrorCode } from '#libs/entry';
import { type Answer, type ErrorShape, gatewayShape, grpcAnswer } from '#libs/nest';
import { TlogError, type TlogErrorCode } from '#libs/tlog';
import { X509Error } from '#libs/x509';
import { CryptoError } from '#libs/crypto';
import { MerkleError } from '#libs/merkle';

/** The entry is in the log already, and this server is set to answer that as upstream does. */
export class DuplicateEntryError extends Error {
  constructor(readonly logIndex: bigint) {
    super(`an equivalent entry already exists in the transparency log with index ${logIndex}`);
  }
}

/** A tile or bundle that this log does not have. */
export class TileNotFoundError extends Error {}

/** Rekor v2's words for what is wrong with an entry; the detail stays in our log. */
const entryAnswers = {
  ENTRY_TYPE: 'invalid type, must be hashedrekord',
  ENTRY_JSON: 'request is not a valid CreateEntryRequest',
  ENTRY_INVALID: 'invalid hashedrekord request',
  ENTRY_SIGNATURE: 'invalid hashedrekord request',
  ENTRY_TOO_LARGE: 'invalid entry: canonical form is larger than 65535 bytes',
  ENTRY_BODY_MALFORMED: 'invalid entry',
  // What follows is said of entries of Rekor v1 alone.
  ENTRY_SCHEMA: 'invalid entry',
  ENTRY_KIND: 'invalid entry',
  ENTRY_VERSION: 'invalid entry',
  ENTRY_PROPOSAL: 'invalid entry',
  ENTRY_PKI: 'invalid entry',
  ENTRY_NOT_INSERTABLE: 'invalid entry',
} as const satisfies Record<EntryErrorCode, string>;

/** What the engine throws while appending. Retry-After in seconds where waiting helps. */
const engineAnswers = {
  TLOG_BUSY: grpcAnswer(14, 'reached max pushback; retry', { headers: { 'retry-after': '1' } }),
  TLOG_STORE: grpcAnswer(14, 'log storage is unavailable; retry', { headers: { 'retry-after': '5' } }),
  TLOG_CLOSED: grpcAnswer(14, 'log is shutting down; retry', { headers: { 'retry-after': '5' } }),
  TLOG_CORRUPT: grpcAnswer(14, 'log has stopped publishing: its storage does not match its tree', {
    headers: { 'retry-after': '3600' },
  }),
  TLOG_ROLLED_BACK: grpcAnswer(14, 'log has stopped publishing: its storage is older than what was published', {
    headers: { 'retry-after': '3600' },
  }),
  TLOG_LOCKED: grpcAnswer(14, 'log is in use by another process', { headers: { 'retry-after': '60' } }),
  TLOG_KEY: grpcAnswer(13, 'failed to integrate entry'),
  TLOG_MISSING: grpcAnswer(13, 'failed to integrate entry'),
  TLOG_RECORD: grpcAnswer(3, 'invalid entry'),
  TLOG_RANGE: grpcAnswer(13, 'failed to integrate entry'),
} as const satisfies Record<TlogErrorCode, Answer>;

function answerLogError(error: unknown): Answer | undefined {
  if (error instanceof EntryError) {
    // Few rules are those of both versions of Rekor; they bring their own words.
    if (error.detail !== undefined) return grpcAnswer(3, `invalid entry: ${error.detail}`);
    const reason = error.code === 'ENTRY_JSON' ? `: ${error.message}` : '';
    return grpcAnswer(3, `${entryAnswers[error.code]}${reason}`);
  }
  // A key or certificate that cannot be read: part of the entry, worded like it.
  if (error instanceof X509Error || error instanceof CryptoError) return grpcAnswer(3, entryAnswers.ENTRY_INVALID);
  if (error instanceof DuplicateEntryError) {
    return grpcAnswer(6, error.message, { headers: { 'x-log-index': error.logIndex.toString() } });
  }
  if (error instanceof TileNotFoundError || error instanceof MerkleError) return grpcAnswer(5, 'Not Found');
  if (error instanceof TlogError) return engineAnswers[error.code];
  return undefined;
}

const writePath = '/api/v2/log/entries';
const readPath = /^(?:\/api\/v2)?\/(?:checkpoint$|tile\/)/;

const gateway = gatewayShape({
  owns: (path) => path.startsWith('/api/v2/log/') || readPath.test(path),
  methods: (path) => (path === writePath ? ['POST'] : readPath.test(path) ? ['GET', 'HEAD'] : undefined),
  answer: answerLogError,
  tooLargeStatus: 413,
});

/** In place of the caching that a path has for success: a tile that is not there yet will be when the tree has grown. */
function uncached(answer: Answer): Answer {
  return { ...answer, headers: { 'cache-control': 'no-store', ...answer.headers } };
}

export const logShape: ErrorShape = {
  ...gateway,
  answer: (error, requestId) => {
    const answer = gateway.answer(error, requestId);
    return answer && uncached(answer);
  },
  internal: (requestId) => uncached(gateway.internal(requestId)),
};
