import { EncodingError, type JsonValue, parseJson } from '#libs/encoding';
import { SimpleSigningError, type SimpleSigningErrorCode } from './error.js';

export type JsonObject = Readonly<Record<string, JsonValue>>;

/** A JSON object of which every member is asked for by name; one that nobody knows is an error. */
export interface Fields {
  /** What this is, for messages: `the policy`, `critical`. */
  readonly what: string;
  readonly object: JsonObject;
  /** @returns the text, or undefined if the member is missing */
  text(name: string): string | undefined;
  requiredText(name: string): string;
  texts(name: string): string[] | undefined;
  /** An error about a member; about all of it, if the name is empty. */
  fault(name: string, state: string): SimpleSigningError;
}

/**
 * Reads a JSON text; duplicate names are refused, and so is anything around the value.
 * @throws SimpleSigningError `code`
 */
export function readJson(
  bytes: Uint8Array,
  { code, what, maxLength }: { code: SimpleSigningErrorCode; what: string; maxLength: number },
): JsonValue {
  if (bytes.length > maxLength) {
    throw new SimpleSigningError(
      'SIMPLE_TOO_LARGE',
      `Cannot read ${what}: ${bytes.length} bytes, at most ${maxLength}`,
    );
  }
  try {
    return parseJson(bytes, { maxDepth: 16 });
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw new SimpleSigningError(code, `Cannot read ${what}: ${cause.message}`, { cause });
  }
}

/**
 * The value as an object with no members but those of `known`.
 * @throws SimpleSigningError `code`
 */
export function openFields(
  value: JsonValue | undefined,
  { code, what, known }: { code: SimpleSigningErrorCode; what: string; known: readonly string[] | 'any' },
): Fields {
  const bad = (state: string) => new SimpleSigningError(code, `Cannot read ${what}: ${state}`);
  if (!isJsonObject(value)) throw bad(value === undefined ? 'it is missing' : 'it is no JSON object');
  const unknown = known === 'any' ? undefined : Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined) throw bad(`it has an unknown member ${JSON.stringify(unknown.slice(0, 100))}`);
  const fields: Fields = {
    what,
    object: value,
    text(name) {
      const text = value[name];
      if (text === undefined || typeof text === 'string') return text;
      throw fields.fault(name, 'is no text');
    },
    requiredText(name) {
      const text = fields.text(name);
      if (text === undefined) throw fields.fault(name, 'is missing');
      return text;
    },
    texts(name) {
      const list = value[name];
      if (list === undefined) return undefined;
      if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list;
      throw fields.fault(name, 'is no list of texts');
    },
    fault: (name, state) => bad(name === '' ? `it ${state}` : `${name} ${state}`),
  };
  return fields;
}

export function isJsonObject(value: JsonValue | undefined): value is { [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
