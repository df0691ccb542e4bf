import { encodeBase64, EncodingError, parseBase64 } from '#libs/encoding';
import { NoteError } from './error.js';
import { checkText } from './note.js';

/** The head of a log's tree, as the text of a signed note states it. */
export interface Checkpoint {
  /** The log's name: unique, and for most logs also the name of its key. */
  origin: string;
  /** Entries of the tree, 0 to 2^63-1. */
  size: bigint;
  /** 32 bytes. */
  rootHash: Uint8Array;
  /** Further lines, signed with the rest; mostly none. */
  extensions: string[];
}

const MAX_SIZE = 2n ** 63n - 1n;
const ROOT_LENGTH = 32;

/**
 * The text of a checkpoint: origin, size and base64 root on a line each, then the extensions.
 * @throws NoteError `NOTE_CHECKPOINT_MALFORMED`; `NOTE_MALFORMED` for characters that no note may have
 * @see C2SP tlog-checkpoint, "Note text"
 */
export function encodeCheckpoint({ origin, size, rootHash, extensions }: Checkpoint): string {
  const action = 'Cannot encode checkpoint';
  if (size < 0n || size > MAX_SIZE) throw malformed(action, `size ${size} is not between 0 and 2^63-1`);
  if (rootHash.length !== ROOT_LENGTH) throw malformed(action, `the root hash has ${rootHash.length} bytes, not 32`);
  if ([origin, ...extensions].some((line) => line === '' || line.includes('\n'))) {
    throw malformed(action, 'the origin or an extension is not one line');
  }
  const text = [origin, size.toString(), encodeBase64(rootHash), ...extensions, ''].join('\n');
  checkText(text, action);
  return text;
}

/**
 * The checkpoint that a note's text states; the inverse of `encodeCheckpoint`. What it says is worth what the
 * signatures on it are: see `verifyCheckpoint`.
 * @throws NoteError `NOTE_CHECKPOINT_MALFORMED`; `NOTE_MALFORMED` for characters that no note may have
 * @see C2SP tlog-checkpoint, "Note text"
 */
export function parseCheckpoint(text: string): Checkpoint {
  const action = 'Cannot parse checkpoint';
  checkText(text, action);
  const [origin, size, root, ...extensions] = text.slice(0, -1).split('\n');
  if (origin === undefined || size === undefined || root === undefined) {
    throw malformed(action, 'it needs a line each for origin, size and root hash');
  }
  if (origin === '') throw malformed(action, 'the origin is empty');
  // 19 digits hold 2^63-1; the comparison below is then of a number of known length.
  if (!/^(?:0|[1-9][0-9]{0,18})$/.test(size) || BigInt(size) > MAX_SIZE) {
    throw malformed(action, 'the size is not a decimal number below 2^63 without leading zeros');
  }
  if (extensions.includes('')) throw malformed(action, 'an extension line is empty');
  return { origin, size: BigInt(size), rootHash: parseRoot(root), extensions };
}

function parseRoot(base64: string): Uint8Array {
  const action = 'Cannot parse checkpoint';
  let root: Uint8Array;
  try {
    root = parseBase64(base64);
  } catch (cause) {
    if (cause instanceof EncodingError) throw malformed(action, 'the root hash is not base64', cause);
    throw cause;
  }
  if (root.length !== ROOT_LENGTH) throw malformed(action, `the root hash has ${root.length} bytes, not 32`);
  return root;
}

function malformed(action: string, state: string, cause?: unknown): NoteError {
  return new NoteError('NOTE_CHECKPOINT_MALFORMED', `${action}: ${state}`, cause === undefined ? {} : { cause });
}
