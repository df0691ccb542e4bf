import { EncodingError, hasLoneSurrogate, parseAnyBase64 } from '#libs/encoding';
import { EntryError } from './error.js';

/** Of any list in a request: far more than its own rule allows, and few enough to look at each item before that rule is applied. */
export const MAX_ITEMS = 1024;

/** The fields that a message has, by JSON name; what was null is undefined, as if it were absent. */
export type Fields<Name extends string> = Partial<Record<Name, unknown>>;

/** Each field of a message in both spellings, `rawBytes` and `raw_bytes`, to its JSON name. */
export type FieldNames<Name extends string> = ReadonlyMap<string, Name>;

/** The other spelling of a JSON name, which may be the same. */
export function protoName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The table of a message. */
export function fieldNames<Name extends string>(...names: readonly Name[]): FieldNames<Name> {
  return new Map(names.flatMap((name) => [[name, name] as const, [protoName(name), name] as const]));
}

/**
 * The fields of a JSON object that stands for a message. Unknown names are refused, and the two spellings of one field
 * at once, also if one is null: a reader that took the other one would see another entry.
 * @throws EntryError `ENTRY_JSON`
 * @see ProtoJSON, "JSON Options" and "Null"
 */
export function readMessage<Name extends string>(value: unknown, names: FieldNames<Name>, where: string): Fields<Name> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(`${where} is not an object`);
  const fields: Fields<Name> = {};
  // The names alone, as the first unknown one ends it: there may be very many, and a pair for each would cost the most.
  const contents = value as Readonly<Record<string, unknown>>; // an object that is no array: its members by name
  for (const spelling of Object.keys(contents)) {
    const name = names.get(spelling);
    if (name === undefined) throw malformed(`unknown field ${JSON.stringify(spelling.slice(0, 40))} in ${where}`);
    if (Object.hasOwn(fields, name)) throw malformed(`field ${name} is given twice in ${where}`);
    fields[name] = contents[spelling] ?? undefined;
  }
  return fields;
}

/** The members of a oneof of which at most one may be set. */
export function checkOneOf<Name extends string>(fields: Fields<Name>, one: Name, other: Name, where: string): void {
  if (fields[one] !== undefined && fields[other] !== undefined) {
    throw malformed(`both ${one} and ${other} are set in ${where}`);
  }
}

/** Bytes in base64 of either alphabet, padded or not; absent is empty. */
export function readBytes(value: unknown, where: string): Uint8Array {
  if (value === undefined) return new Uint8Array(0);
  if (typeof value !== 'string') throw malformed(`${where} is not a string`);
  try {
    return parseAnyBase64(value);
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw malformed(`${where} is not base64`, cause);
  }
}

/** Absent is empty. */
export function readText(value: unknown, where: string): string {
  if (value === undefined) return '';
  if (typeof value !== 'string') throw malformed(`${where} is not a string`);
  // Strings of protocol buffers are UTF-8, which has no half of a pair.
  if (hasLoneSurrogate(value)) throw malformed(`${where} is not valid Unicode`);
  return value;
}

/** Absent is empty; more than 1024 items are refused before anyone looks at them. */
export function readList(value: unknown, where: string): readonly unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw malformed(`${where} is not an array`);
  if (value.length > MAX_ITEMS) throw malformed(`${where} has ${value.length} items, at most ${MAX_ITEMS} are read`);
  return value;
}

export function malformed(state: string, cause?: unknown): EntryError {
  return new EntryError('ENTRY_JSON', `Cannot read entry request: ${state}`, { cause });
}
