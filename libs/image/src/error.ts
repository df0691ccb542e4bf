/**
 * Why an image could not be signed, copied or judged. Codes are API.
 * - `IMAGE_PREDICATE`: a predicate lacks what its type requires
 * - `IMAGE_POLICY`: a policy over statements that cannot be used
 * - `IMAGE_LEGACY`: what is stored under a signature tag is no list of signatures
 * - `IMAGE_SERVICES`: the services cannot make what the layout needs
 * - `IMAGE_SELF_CHECK`: what was signed does not verify, so it was not stored
 * - `IMAGE_CONFLICT`: other writers kept replacing a signature tag
 * - `IMAGE_LIMIT`: more platforms, referrers or levels than we are ready to follow
 * - `IMAGE_FOLDER`: a saved folder that holds no image
 */
export type ImageErrorCode =
  | 'IMAGE_PREDICATE'
  | 'IMAGE_POLICY'
  | 'IMAGE_LEGACY'
  | 'IMAGE_SERVICES'
  | 'IMAGE_SELF_CHECK'
  | 'IMAGE_CONFLICT'
  | 'IMAGE_LIMIT'
  | 'IMAGE_FOLDER';

/** The one error of this lib; a registry's own are `OciError`, a service's `SignError`. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  /** What the user can do about it, a sentence without a period. */
  readonly cure: string | undefined;

  constructor(
    readonly code: ImageErrorCode,
    message: string,
    { cure, ...options }: ErrorOptions & { cure?: string } = {},
  ) {
    super(message, options);
    this.cure = cure;
  }
}

/** What an error says, for messages about something else. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
