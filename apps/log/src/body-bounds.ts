/** Up to this length, bytes, nothing that a body may hold takes long to read. */
const smallBody = 65_536;
/** Objects, arrays and commas of a longer one: ten proposals with sixteen signatures each have a few hundred. */
const maxValues = 10_000;
/** Of text in a text, such as an envelope, each escape may stand for one of these; a writer that escapes each `/` of base64 needs many. */
const maxEscapes = 200_000;

const values = ['{', '[', ','].map((character) => character.charCodeAt(0));
const escape = '\\'.charCodeAt(0);

/**
 * Whether a JSON body holds so many values that it is refused before it is read: what clients of either Rekor send is long for its base64 alone, whereas
 * four megabytes of brackets would keep the server from everybody else for a second. What stands inside of texts is counted too, as the JSON of an
 * envelope is read as well.
 */
export function hasTooManyValues(body: Uint8Array): boolean {
  if (body.length <= smallBody) return false;
  const count = values.reduce((sum, byte) => sum + countUpTo(maxValues + 1, body, byte), 0);
  return count > maxValues || countUpTo(maxEscapes + 1, body, escape) > maxEscapes;
}

function countUpTo(most: number, bytes: Uint8Array, byte: number): number {
  let count = 0;
  for (let at = bytes.indexOf(byte); at >= 0 && count < most; at = bytes.indexOf(byte, at + 1)) count++;
  return count;
}
