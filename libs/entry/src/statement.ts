import { EncodingError, parseUtf8 } from '#libs/encoding';
import { JsonSkimmer } from './json-skimmer.js';
import { MAX_KEYS } from './search-keys.js';

const IN_TOTO = 'application/vnd.in-toto+json';

/**
 * What an in-toto statement is about, as search keys: `<algorithm>:<digest>`, in lower case, without duplicates, of its subjects and of the
 * materials of its predicate. Nothing of another payload type, or of what is no statement: a log takes any payload. Of more than the 900 that an
 * entry may have, 901: `checkSearchKeys` then refuses the entry.
 *
 * A payload has megabytes, such as a list of all packages of an image, and only a little of it is of interest here: the rest is not made into values,
 * so that no payload takes much longer than others of its length.
 * @see in-toto/attestation, spec/v1/statement.md; the materials are those of SLSA provenance 0.2
 */
export function statementKeys(payloadType: string, payload: Uint8Array): string[] {
  if (payloadType !== IN_TOTO) return [];
  try {
    return [...keysIn(new JsonSkimmer(parseUtf8(payload)))];
  } catch (error) {
    if (error instanceof EncodingError) return [];
    throw error;
  }
}

/** Lenient on purpose: whoever consumes the statement may be, and would then miss it in a search. So of a name that comes twice both count. */
function keysIn(json: JsonSkimmer): Set<string> {
  const keys = new Set<string>();
  const readDigest = (algorithm: string): void => {
    const value = json.text();
    if (value !== undefined && keys.size <= MAX_KEYS) keys.add(`${algorithm}:${value}`.toLowerCase());
  };
  const readItem = (name: string): void => (name === 'digest' ? json.members(readDigest) : json.skip());
  const readItems = (): void => json.items(() => json.members(readItem));
  const readPredicate = (name: string): void => (name === 'materials' ? readItems() : json.skip());
  json.members((name) => {
    if (name === 'subject') readItems();
    else if (name === 'predicate') json.members(readPredicate);
    else json.skip();
  });
  json.end();
  return keys;
}
