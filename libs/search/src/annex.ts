import { encodeUtf8, EncodingError, hasLoneSurrogate, parseUtf8, TlsReader, TlsWriter } from '#libs/encoding';
import { SearchError } from './error.js';

/** What the annex of an entry can hold (`opaque annex<0..2^16-1>`). */
const MAX_ANNEX = 65_535;
/** The engine indexes 1024 keys of an entry; some are left for what the body says. */
const MAX_KEYS = 960;

/**
 * The annex of an entry: search keys that its body cannot give again, in the order given.
 * `opaque Key<1..2^16-1>; Key keys<0..2^16-1>`, without the outer length, which the annex has itself; UTF-8.
 *
 * Keeps what fits: the first 960 different keys that are not empty and fit into 65535 bytes together. Index what `parseAnnexKeys` gives of the
 * result, so that a rebuilt index has the same keys: `indexEntry` does both. The log refuses entries that have more before (`checkSearchKeys` of `entry`).
 */
export function encodeAnnexKeys(keys: readonly string[]): Uint8Array {
  const writer = new TlsWriter();
  let length = 0;
  let count = 0;
  for (const key of new Set(keys)) {
    if (key === '' || hasLoneSurrogate(key)) continue;
    const bytes = encodeUtf8(key);
    if (count === MAX_KEYS || length + 2 + bytes.length > MAX_ANNEX) continue;
    writer.vector(2, bytes);
    length += 2 + bytes.length;
    count++;
  }
  return writer.finish();
}

/**
 * The inverse.
 * @throws SearchError `SEARCH_ANNEX`
 */
export function parseAnnexKeys(annex: Uint8Array): string[] {
  try {
    const reader = new TlsReader(annex);
    const keys: string[] = [];
    while (reader.remaining > 0) {
      if (keys.length === MAX_KEYS) throw malformed(`more than ${MAX_KEYS} keys`);
      const bytes = reader.vector(2);
      if (bytes.length === 0) throw malformed('a key is empty');
      keys.push(parseUtf8(bytes));
    }
    return keys;
  } catch (error) {
    if (error instanceof EncodingError) throw malformed('it is no list of texts', error);
    throw error;
  }
}

function malformed(state: string, cause?: unknown): SearchError {
  return new SearchError('SEARCH_ANNEX', `Cannot read search keys: ${state}`, { cause });
}
