import type { Answer, ErrorShape } from '#libs/nest';
import { SearchError, type SearchErrorCode } from '#libs/search';
import { TlogError } from '#libs/tlog';

const path = '/api/search';

const statuses = {
  SEARCH_QUERY: 400,
  SEARCH_CURSOR: 400,
  SEARCH_INDEX: 503,
  // Only bytes of our own trees are read here.
  SEARCH_ANNEX: 500,
} as const satisfies Record<SearchErrorCode, number>;

/** `{"code":"SEARCH_QUERY","message":"…"}`. Codes are never renamed. */
function searchAnswer(
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return {
    status,
    contentType: 'application/json',
    body: JSON.stringify({ code, message }),
    headers: { 'cache-control': 'no-store', ...headers },
  };
}

/** How `GET /api/search` words its errors. */
export const searchShape: ErrorShape = {
  owns: (asked) => asked === path,
  methods: (asked) => (asked === path ? ['GET', 'HEAD'] : undefined),
  answer: (error) => {
    if (error instanceof SearchError && statuses[error.code] !== 500) {
      const retry = statuses[error.code] === 503 ? { 'retry-after': '60' } : {};
      return searchAnswer(statuses[error.code], error.code, error.message, retry);
    }
    // Whatever the engine has to say is about its storage, and for its owner only.
    if (error instanceof TlogError) {
      return searchAnswer(503, 'SEARCH_UNAVAILABLE', 'the log cannot be read now', { 'retry-after': '5' });
    }
    return undefined;
  },
  notFound: () => searchAnswer(404, 'NOT_FOUND', 'there is nothing here'),
  methodNotAllowed: (_method, allowed) =>
    searchAnswer(405, 'METHOD_NOT_ALLOWED', `only ${allowed.join(' and ')} are served here`, {
      allow: allowed.join(', '),
    }),
  tooLarge: () => searchAnswer(413, 'TOO_LARGE', 'the request is too large'),
  malformed: () => searchAnswer(400, 'MALFORMED', 'the request could not be read'),
  internal: (requestId) => searchAnswer(500, 'INTERNAL', `internal error (request ${requestId})`),
};
