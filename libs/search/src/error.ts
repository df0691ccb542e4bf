export type SearchErrorCode =
  /** The query cannot be understood; the message says which parameter and why. */
  | 'SEARCH_QUERY'
  /** The cursor is not one that a page of this query ended with. */
  | 'SEARCH_CURSOR'
  /** The index is being rebuilt, and does not reach as far as the page before did: search again later, from the first page. */
  | 'SEARCH_INDEX'
  /** Bytes that should hold search keys do not. */
  | 'SEARCH_ANNEX';

/** What was asked cannot be searched for. Messages hold names of parameters, never their values. */
export class SearchError extends Error {
  constructor(
    readonly code: SearchErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
