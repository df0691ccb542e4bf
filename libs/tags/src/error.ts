import type { TagCheckId } from './checks.js';

/** `tag-fresh` as `TAG_FRESH`. */
type Screaming<Text extends string> = Text extends `${infer Head}-${infer Tail}`
  ? `${Uppercase<Head>}_${Screaming<Tail>}`
  : Uppercase<Text>;

/** What went wrong with trusted tags; stable, part of the API. */
export type TagErrorCode =
  /** One for each check of the verification. */
  | `TAGS_${Screaming<TagCheckId>}`
  /** A statement or a record is not of the format. */
  | 'TAGS_MALFORMED'
  /** The policy makes no sense, or says nothing about this repository or tag. */
  | 'TAGS_POLICY'
  /** What was asked for makes no sense: a lifetime, a tag that cannot be one, nothing to sign. */
  | 'TAGS_INPUT'
  /** The file that remembers what was seen cannot be used. */
  | 'TAGS_STATE'
  /** Another publisher changed the same tag meanwhile. */
  | 'TAGS_CONFLICT';

/** Thrown by everything in this lib. */
export class TagError extends Error {
  override readonly name = 'TagError';
  /** The check that objected, if one did. */
  readonly check: TagCheckId | undefined;
  /** What can be done about it, a sentence without a period. */
  readonly cure: string | undefined;

  constructor(
    readonly code: TagErrorCode,
    message: string,
    { cure, check, ...options }: ErrorOptions & { cure?: string; check?: TagCheckId } = {},
  ) {
    super(message, options);
    this.check = check;
    this.cure = cure;
  }
}

/** The message of whatever was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown reason';
}
