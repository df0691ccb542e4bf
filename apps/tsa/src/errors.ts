import { TimestampError, type TimestampErrorCode } from '#libs/timestamp';
import type { Answer, ErrorShape } from '#libs/nest';

/** Raised by the controller for what is wrong with the HTTP request itself. */
export class TsaRequestError extends Error {
  constructor(
    readonly code: 'TSA_MEDIA_TYPE' | 'TSA_NOT_ACCEPTABLE' | 'TSA_EMPTY',
    message: string,
  ) {
    super(message);
  }
}

const generic = 'Error generating timestamp response';

/** What a client is told, by code: the wording of Sigstore's timestamp authority, which clients show to people. */
const answers = {
  TIMESTAMP_MALFORMED: generic,
  TIMESTAMP_HASH_UNKNOWN: generic,
  TIMESTAMP_WEAK_HASH: 'Weak hash algorithm in timestamp request',
  TIMESTAMP_DIGEST_LENGTH: 'Message digest has incorrect length for specified algorithm',
  TIMESTAMP_POLICY: 'unaccepted policy: requested TSA policy is not supported by the TSA',
  TIMESTAMP_EXTENSION: 'unaccepted extension: requested extensions are not supported by the TSA',
  TIMESTAMP_TOO_LARGE: 'timestamp request is too large',
  TIMESTAMP_OID: 'OID should be comprised of at most 128 components',
} as const satisfies Partial<Record<TimestampErrorCode, string>>;

function jsonAnswer(status: number, message: string, code = status, headers?: Record<string, string>): Answer {
  return {
    status,
    contentType: 'application/json',
    body: JSON.stringify({ code, message }),
    ...(headers && { headers }),
  };
}

/** An error of the flow, as an answer; undefined for a fault of ours. */
function answerTsaError(error: unknown): Answer | undefined {
  if (error instanceof TsaRequestError) {
    switch (error.code) {
      case 'TSA_MEDIA_TYPE':
        return jsonAnswer(415, error.message);
      case 'TSA_NOT_ACCEPTABLE':
        return jsonAnswer(406, error.message);
      case 'TSA_EMPTY':
        // 602 is go-openapi's code for a missing body, which upstream passes on.
        return jsonAnswer(422, error.message, 602);
    }
  }
  if (error instanceof TimestampError && error.code in answers) {
    return jsonAnswer(400, answers[error.code as keyof typeof answers]);
  }
  return undefined;
}

const methods: Readonly<Record<string, readonly string[]>> = {
  '/api/v1/timestamp': ['POST'],
  '/api/v1/timestamp/certchain': ['GET'],
};

export const tsaShape: ErrorShape = {
  owns: (path) => path.startsWith('/api/v1/timestamp') || path === '/ping',
  methods: (path) => methods[path],
  answer: answerTsaError,
  notFound: (path) => jsonAnswer(404, `path ${path} was not found`),
  methodNotAllowed: (method, allowed) =>
    jsonAnswer(405, `method ${method} is not allowed, but [${allowed.join(',')}] are`, 405, {
      allow: allowed.join(', '),
    }),
  tooLarge: () => jsonAnswer(400, generic),
  malformed: () => jsonAnswer(400, generic),
  internal: () => jsonAnswer(500, generic),
};
