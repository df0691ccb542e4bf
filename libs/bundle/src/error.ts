/**
 * Why a bundle, a log entry or a statement was refused. Codes are API.
 * - `BUNDLE_JSON`: not JSON, or JSON with duplicate keys
 * - `BUNDLE_MEDIA_TYPE`: missing or unknown media type
 * - `BUNDLE_MALFORMED`: a field is missing, unknown, of the wrong type or out of range
 * - `BUNDLE_VERSION_RULE`: well formed, but this bundle version requires or forbids something
 * - `BUNDLE_LIMIT`: larger, or more of something, than we are ready to read
 * - `BUNDLE_STATEMENT`: the payload of an envelope is not an in-toto statement
 */
export type BundleErrorCode =
  | 'BUNDLE_JSON'
  | 'BUNDLE_MEDIA_TYPE'
  | 'BUNDLE_MALFORMED'
  | 'BUNDLE_VERSION_RULE'
  | 'BUNDLE_LIMIT'
  | 'BUNDLE_STATEMENT';

/** The one error of this lib. */
export class BundleError extends Error {
  override readonly name = 'BundleError';

  constructor(
    readonly code: BundleErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
