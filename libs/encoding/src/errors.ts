/** Which format was not what it should be. Codes are API: never reused, never renamed. */
export type EncodingErrorCode =
  | 'ENCODING_BASE64'
  | 'ENCODING_HEX'
  | 'ENCODING_UTF8'
  | 'ENCODING_PEM'
  | 'ENCODING_DER'
  | 'ENCODING_TLS'
  | 'ENCODING_JSON';

/** Thrown by everything in this lib on input that is malformed or that the format cannot carry. */
export class EncodingError extends Error {
  override readonly name = 'EncodingError';
  constructor(
    readonly code: EncodingErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
