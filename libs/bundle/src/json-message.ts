import { EncodingError, hasLoneSurrogate, parseAnyBase64 } from '#libs/encoding';

/** What is wrong with a field: its shape, or its size. The user of {@link JsonMessage} turns it into an error of their own. */
export type JsonFault = 'malformed' | 'limit';
export type MakeJsonError = (fault: JsonFault, problem: string) => Error;

const INT64_MAX = 2n ** 63n - 1n;
const UINT32_MAX = 2 ** 32 - 1;
const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z$/;

/**
 * Reads one message in the JSON form of Protocol Buffers, field by field, and knows where it is, so that an error names
 * the path (`verificationMaterial.tlogEntries[0].logIndex`). Of the spellings that proto3 JSON permits only those are
 * accepted that Sigstore's client specification allows: lowerCamelCase names and names of enum values.
 *
 * `null` is the default value, the same as an absent field. A field nobody asked for is an error (see {@link only}),
 * because a verifier that skips what it does not know may skip a restriction.
 * @see https://protobuf.dev/programming-guides/json/
 */
export class JsonMessage {
  /** The fields as they came, for messages that carry arbitrary JSON. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #makeError: MakeJsonError;

  /** `value`: what the JSON parser returned. `path`: where it stood, '' for a whole document. */
  constructor(value: unknown, path: string, makeError: MakeJsonError) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw makeError('malformed', `${path === '' ? 'the document' : path} must be an object`);
    }
    this.fields = value as Record<string, unknown>; // an object that is neither null nor an array
    this.#path = path;
    this.#makeError = makeError;
  }

  /** Refuses fields other than `names`, even if their value is null. */
  only(...names: string[]): this {
    for (const name of Object.keys(this.fields)) {
      if (!names.includes(name)) throw this.fault('malformed', name, 'is not a known field');
    }
    return this;
  }

  has(name: string): boolean {
    return this.#value(name) !== undefined;
  }

  /** Which member of a oneof is set; two are an error. */
  oneOf<Name extends string>(...names: Name[]): Name | undefined {
    const present = names.filter((name) => this.has(name));
    if (present.length > 1) throw this.fault('malformed', present.join(' and '), 'cannot be set together');
    return present[0];
  }

  /** A string without lone surrogates (they have no UTF-8 form); '' when absent. */
  string(name: string, maxLength = 4096): string {
    const value = this.#value(name) ?? '';
    if (typeof value !== 'string') throw this.fault('malformed', name, 'must be a string');
    if (value.length > maxLength) throw this.fault('limit', name, `is longer than ${maxLength} characters`);
    if (hasLoneSurrogate(value)) throw this.fault('malformed', name, 'has an unpaired surrogate');
    return value;
  }

  requiredString(name: string, maxLength?: number): string {
    const value = this.string(name, maxLength);
    if (value === '') throw this.fault('malformed', name, 'is missing');
    return value;
  }

  /** Bytes in base64, either alphabet, padded or not, as proto3 JSON has it; undefined when absent or empty. */
  bytes(name: string): Uint8Array | undefined {
    const value = this.#value(name) ?? '';
    if (typeof value !== 'string') throw this.fault('malformed', name, 'must be a string of base64');
    return value === '' ? undefined : this.#decode(name, value);
  }

  requiredBytes(name: string): Uint8Array {
    const value = this.bytes(name);
    if (value === undefined) throw this.fault('malformed', name, 'is missing');
    return value;
  }

  /** A list of byte strings, none empty. */
  bytesList(name: string, max: number): Uint8Array[] {
    return this.#list(name, max).map((value, i) => {
      if (typeof value !== 'string' || value === '') {
        throw this.fault('malformed', `${name}[${i}]`, 'must be a string of base64');
      }
      return this.#decode(`${name}[${i}]`, value);
    });
  }

  /** An int64 that is not negative, as decimal string or number; 0 when absent. */
  count64(name: string): bigint {
    const value = this.#value(name) ?? 0;
    let result: bigint;
    if (typeof value === 'bigint') result = value;
    else if (typeof value === 'number' && Number.isSafeInteger(value)) result = BigInt(value);
    else if (typeof value === 'string' && /^-?(?:0|[1-9]\d{0,18})$/.test(value)) result = BigInt(value);
    else throw this.fault('malformed', name, 'must be an integer');
    if (result < 0n) throw this.fault('malformed', name, 'must not be negative');
    if (result > INT64_MAX) throw this.fault('malformed', name, 'is beyond 64 bits');
    return result;
  }

  /** A uint32 as JSON number; 0 when absent. */
  uint32(name: string): number {
    const value = this.#value(name) ?? 0;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > UINT32_MAX) {
      throw this.fault('malformed', name, 'must be an integer from 0 to 2^32 - 1');
    }
    return value;
  }

  /** An RFC 3339 instant in UTC. Digits beyond the millisecond are cut. */
  time(name: string): Date | undefined {
    const value = this.#value(name);
    if (value === undefined) return undefined;
    const time = typeof value === 'string' && RFC3339.test(value) ? new Date(value) : new Date(NaN);
    // The comparison refuses 30 February, which `Date` would move to March.
    if (Number.isNaN(time.getTime()) || time.toISOString().slice(0, 19) !== (value as string).slice(0, 19)) {
      throw this.fault('malformed', name, 'must be a time such as 2026-01-31T12:00:00Z');
    }
    return time;
  }

  message(name: string): JsonMessage | undefined {
    return this.has(name) ? this.requiredMessage(name) : undefined;
  }

  requiredMessage(name: string): JsonMessage {
    if (!this.has(name)) throw this.fault('malformed', name, 'is missing');
    return new JsonMessage(this.#value(name), this.#at(name), this.#makeError);
  }

  /** A list of messages; its length is checked before anything in it is read. */
  messages(name: string, max: number): JsonMessage[] {
    return this.#list(name, max).map((value, i) => new JsonMessage(value, `${this.#at(name)}[${i}]`, this.#makeError));
  }

  /** An error about a field of this message. */
  fault(fault: JsonFault, name: string, problem: string): Error {
    return this.#makeError(fault, `${this.#at(name)} ${problem}`);
  }

  #at(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }

  #value(name: string): unknown {
    return Object.hasOwn(this.fields, name) ? (this.fields[name] ?? undefined) : undefined;
  }

  #list(name: string, max: number): unknown[] {
    const value = this.#value(name) ?? [];
    if (!Array.isArray(value)) throw this.fault('malformed', name, 'must be a list');
    if (value.length > max) throw this.fault('limit', name, `has ${value.length} items, more than ${max}`);
    return value;
  }

  #decode(name: string, text: string): Uint8Array {
    try {
      return parseAnyBase64(text);
    } catch (error) {
      if (error instanceof EncodingError) throw this.fault('malformed', name, 'is not base64');
      throw error;
    }
  }
}
