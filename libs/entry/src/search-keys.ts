import { encodeUtf8, hasLoneSurrogate } from '#libs/encoding';
import { refused, tooLarge } from './error.js';

/** How many different texts an entry may be found by: below the 1024 that the log's index has room for. */
export const MAX_KEYS = 900;
/** The annex of an entry, where those stand that the body does not say, has a 16-bit length, and each in it a length of its own. */
const MAX_UNLOGGED_BYTES = 60_000;

/**
 * Refuses an entry that could not be found by all that it is about: leaving some out would make search answers incomplete
 * without a word. `logged`: the texts that follow from the body; `unlogged`: those that do not.
 * @throws EntryError `ENTRY_TOO_LARGE`, or `ENTRY_PROPOSAL` for text that UTF-8 cannot carry
 */
export function checkSearchKeys(logged: ReadonlySet<string>, unlogged: ReadonlySet<string>): void {
  let count = logged.size;
  let bytes = 0;
  for (const key of unlogged) {
    if (!logged.has(key)) count++;
    if (hasLoneSurrogate(key)) throw refused('ENTRY_PROPOSAL', 'subject is not valid Unicode');
    bytes += encodeUtf8(key).length + 2;
  }
  if (count > MAX_KEYS) throw tooLarge(`entry has more than the ${MAX_KEYS} search keys that are kept`);
  if (bytes > MAX_UNLOGGED_BYTES) {
    throw tooLarge(`digests and subjects have ${bytes} bytes, at most ${MAX_UNLOGGED_BYTES} are kept`);
  }
}
