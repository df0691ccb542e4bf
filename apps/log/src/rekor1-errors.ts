import { CryptoError } from '#libs/crypto';
import { EntryError, type EntryErrorCode, type SchemaViolation } from '#libs/entry';
import type { Answer, ErrorShape } from '#libs/nest';
import { MerkleError } from '#libs/merkle';
import { PkiError } from '#libs/pki';
import { TlogError, type TlogErrorCode } from '#libs/tlog';
import { X509Error } from '#libs/x509';
import { TileNotFoundError } from './errors.js';

/** Largest request body of the Rekor v1 paths, bytes; its number stands in the answer 413. */
export const rekor1BodyLimit = 1 << 22;

/** What a caller of Rekor v1 did wrong, in that API's words; or, `REKOR_INDEX`, that the search index is being rebuilt. */
export class RekorError extends Error {
  override readonly name = 'RekorError';

  constructor(
    readonly code: 'REKOR_REQUEST' | 'REKOR_UNPROCESSABLE' | 'REKOR_CONTENT_TYPE' | 'REKOR_ACCEPT' | 'REKOR_INDEX',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const statusOf = {
  REKOR_REQUEST: 400,
  REKOR_ACCEPT: 406,
  REKOR_CONTENT_TYPE: 415,
  REKOR_UNPROCESSABLE: 422,
  REKOR_INDEX: 503,
} as const satisfies Record<RekorError['code'], number>;

/** A parameter or body is not what its schema asks for. */
export class RekorSchemaError extends Error {
  override readonly name = 'RekorSchemaError';

  constructor(readonly violation: SchemaViolation) {
    super(violation.message);
  }
}

/** The same leaf is in the tree already. */
export class DuplicateLogEntryError extends Error {
  override readonly name = 'DuplicateLogEntryError';

  /** `entryId`: 80 hex digits, see `entryIdOf`. */
  constructor(readonly entryId: string) {
    super(`an equivalent entry already exists in the transparency log with UUID ${entryId}`);
  }
}

/** Rekor v1's errors: `{"code":…,"message":…}`, where `code` is the status, or go-openapi's own number above 600. */
function rekorAnswer(
  status: number,
  message: string,
  more: { code?: number; headers?: Readonly<Record<string, string>> } = {},
): Answer {
  return {
    status,
    contentType: 'application/json',
    body: JSON.stringify({ code: more.code ?? status, message }),
    // In place of what the path has for success: a tile that is not there yet will be when the tree has grown.
    headers: { 'cache-control': 'no-store', ...more.headers },
  };
}

function violationAnswer(violation: SchemaViolation): Answer {
  // Schema violations are numbered above 600, and served as 422 all the same (go-openapi/errors, ServeError).
  return rekorAnswer(422, violation.message, { code: violation.code });
}

const unexpected = 'unexpected error communicating with transparency log';
const retryAfter = (seconds: number) => ({ headers: { 'retry-after': seconds.toString() } });

/** What the engine throws. Only the codes are told apart: its messages name files and rows. */
const engineAnswers = {
  TLOG_BUSY: rekorAnswer(503, unexpected, retryAfter(1)),
  TLOG_STORE: rekorAnswer(503, unexpected, retryAfter(5)),
  TLOG_CLOSED: rekorAnswer(503, unexpected, retryAfter(5)),
  TLOG_CORRUPT: rekorAnswer(503, unexpected, retryAfter(3600)),
  TLOG_ROLLED_BACK: rekorAnswer(503, unexpected, retryAfter(3600)),
  TLOG_LOCKED: rekorAnswer(503, unexpected, retryAfter(60)),
  TLOG_KEY: rekorAnswer(500, unexpected),
  TLOG_MISSING: rekorAnswer(500, unexpected),
  TLOG_RANGE: rekorAnswer(500, unexpected),
  TLOG_RECORD: rekorAnswer(400, 'error processing entry: entry cannot be stored'),
} as const satisfies Record<TlogErrorCode, Answer>;

function processing(detail: string): Answer {
  return rekorAnswer(400, `error processing entry: ${detail}`);
}

/** Said where the error itself brings no words for clients. */
const entryDetails = {
  ENTRY_TYPE: 'unknown entry',
  ENTRY_JSON: 'entry is not JSON',
  ENTRY_INVALID: 'entry algorithms are not allowed',
  ENTRY_SIGNATURE: 'verifying signature: invalid signature',
  ENTRY_TOO_LARGE: 'canonical form is larger than 65535 bytes',
  ENTRY_BODY_MALFORMED: 'entry cannot be read',
  ENTRY_SCHEMA: 'entry does not match its schema',
  ENTRY_KIND: 'unknown kind of entry',
  ENTRY_VERSION: 'unknown version of entry',
  ENTRY_PROPOSAL: 'entry cannot be read',
  ENTRY_PKI: 'invalid public key',
  ENTRY_NOT_INSERTABLE: 'entry not insertable into log',
} as const satisfies Record<EntryErrorCode, string>;

function answerEntryError(error: EntryError): Answer {
  // What is wrong inside of `spec` has a detail, what is wrong around it a violation alone.
  if (error.detail === undefined && error.schema !== undefined) return violationAnswer(error.schema);
  return processing(error.detail ?? entryDetails[error.code]);
}

function answerRekorError(error: unknown): Answer | undefined {
  if (error instanceof RekorError) {
    return rekorAnswer(statusOf[error.code], error.message, error.code === 'REKOR_INDEX' ? retryAfter(60) : {});
  }
  if (error instanceof RekorSchemaError) return violationAnswer(error.violation);
  if (error instanceof DuplicateLogEntryError) {
    return rekorAnswer(409, error.message, { headers: { location: entryLocation(error.entryId) } });
  }
  if (error instanceof EntryError) return answerEntryError(error);
  if (error instanceof TlogError) return engineAnswers[error.code];
  if (error instanceof TileNotFoundError || error instanceof MerkleError) return rekorAnswer(404, 'no such tile');
  // Keys and certificates inside an entry.
  if (error instanceof PkiError || error instanceof X509Error || error instanceof CryptoError) {
    return processing(entryDetails.ENTRY_PKI);
  }
  return undefined;
}

/** Where an entry is, as answers 201 and 409 name it: a reference without host. */
export function entryLocation(entryId: string): string {
  return `/api/v1/log/entries/${entryId}`;
}

/** The methods of each path. What else begins like Rekor v1's paths is unknown to it, and said so in its words. */
const routes: readonly (readonly [pattern: RegExp, methods: readonly string[]])[] = [
  [/^\/api\/v1\/log\/entries$/, ['GET', 'POST']],
  [/^\/api\/v1\/log\/entries\/retrieve$/, ['GET', 'POST']],
  [/^\/api\/v1\/index\/retrieve$/, ['POST']],
  [/^\/api\/v1\/log(?:\/publicKey|\/proof|\/entries\/[^/]+)?$/, ['GET']],
  [/^\/api\/v1\/(?:checkpoint$|tile\/)/, ['GET']],
  [/^\/(?:ping|swagger\.json)?$/, ['GET']],
];
const ownPaths = /^\/(?:api\/v1\/(?:(?:log|index)(?:\/|$)|checkpoint$|tile\/)|(?:ping|swagger\.json)?$)/;

export const rekor1Shape: ErrorShape = {
  owns: (path) => ownPaths.test(path),
  methods: (path) => routes.find(([pattern]) => pattern.test(path))?.[1],
  answer: answerRekorError,
  notFound: (path) => rekorAnswer(404, `path ${path} was not found`),
  methodNotAllowed: (method, allowed) =>
    rekorAnswer(405, `method ${method} is not allowed, but [${allowed.join(',')}] are`, {
      headers: { allow: allowed.join(',') },
    }),
  tooLarge: () => rekorAnswer(413, `Request Entity Too Large. Limit set to ${rekor1BodyLimit}`),
  malformed: () => rekorAnswer(400, 'request could not be read'),
  internal: (requestId) => rekorAnswer(500, `internal error (request ${requestId})`),
};
