/** Closed: a code is never renamed or reused. */
export type NoteErrorCode =
  | 'NOTE_MALFORMED'
  | 'NOTE_SIGNATURE_INVALID'
  | 'NOTE_NO_KNOWN_SIGNATURE'
  | 'NOTE_CHECKPOINT_MALFORMED'
  | 'NOTE_ORIGIN_MISMATCH'
  | 'NOTE_KEY_MALFORMED';

/** What every function of this lib throws for wrong input. */
export class NoteError extends Error {
  override readonly name = 'NoteError';

  constructor(
    readonly code: NoteErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
