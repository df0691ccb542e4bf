/** Why a key, a signature or a signing scheme was refused. Codes are API: never reused, never renamed. */
export type CryptoErrorCode =
  | 'CRYPTO_KEY_MALFORMED'
  | 'CRYPTO_KEY_UNSUPPORTED'
  | 'CRYPTO_KEY_WEAK'
  | 'CRYPTO_KEY_ENCRYPTED'
  | 'CRYPTO_SIGNATURE_MALFORMED'
  | 'CRYPTO_SCHEME';

/** The one error of this library; narrow by `code`. Messages never contain key or signature bytes. */
export class CryptoError extends Error {
  override readonly name = 'CryptoError';

  constructor(
    readonly code: CryptoErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
