import { EncodingError } from '#libs/encoding';
import { CryptoError } from '#libs/crypto';

/** What can be wrong; the codes are API. The `X509_CHAIN_*` codes come from path building alone, and each names one reason. */
export type X509ErrorCode =
  | 'X509_MALFORMED'
  | 'X509_UNSUPPORTED'
  | 'X509_CSR_MALFORMED'
  | 'X509_CSR_ALGORITHM'
  | 'X509_PROFILE'
  | 'X509_POISON'
  | 'X509_LEAF_USAGE'
  | 'X509_CHAIN_NO_PATH'
  | 'X509_CHAIN_EXPIRED'
  | 'X509_CHAIN_NOT_CA'
  | 'X509_CHAIN_PATH_LENGTH'
  | 'X509_CHAIN_USAGE'
  | 'X509_CHAIN_SIGNATURE'
  | 'X509_CHAIN_EXTENSION'
  | 'X509_CHAIN_LIMIT'
  | 'X509_SCT_MALFORMED'
  | 'X509_SCT_INVALID'
  | 'X509_CT_MALFORMED';

/** What a caller may want to show beside the message. Fields are present where they mean something. */
export interface X509ErrorDetails {
  /** The certificate that is to blame, in words: its subject, or `leaf certificate` when the subject is empty. */
  readonly certificate?: string;
  /** Its place in the path, 0 is the leaf. */
  readonly position?: number;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** The instant that was asked about. */
  readonly time?: Date;
  /** The name of the lint rule that objected (`X509_PROFILE`). */
  readonly rule?: string;
}

/** The one error of this lib; look at `code`, never at the message. */
export class X509Error extends Error {
  override readonly name = 'X509Error';

  constructor(
    readonly code: X509ErrorCode,
    message: string,
    readonly details: X509ErrorDetails = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * Runs a parser and gives the errors of the libs below this lib's class, so that a caller sees one kind.
 * A key that is well-formed but of a kind we cannot use becomes `X509_UNSUPPORTED`.
 */
export function converting<T>(action: string, code: X509ErrorCode, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof EncodingError) throw new X509Error(code, `${action}: ${error.message}`, {}, { cause: error });
    if (error instanceof CryptoError) {
      const unsupported = error.code !== 'CRYPTO_KEY_MALFORMED';
      throw new X509Error(unsupported ? 'X509_UNSUPPORTED' : code, `${action}: ${error.message}`, {}, { cause: error });
    }
    throw error;
  }
}
