import { EncodingError } from './errors.js';
import { hasLoneSurrogate, parseUtf8 } from './utf8.js';

/** What JSON can say; a `bigint` stands for an integer that a `number` would round. */
export type JsonValue = null | boolean | number | bigint | string | JsonValue[] | { [key: string]: JsonValue };

export interface ParseJsonOptions {
  /** How deep arrays and objects may nest. Default 64. */
  readonly maxDepth?: number;
  /** How long the text may be, in bytes or UTF-16 code units as it comes. Default 64 Mi. */
  readonly maxLength?: number;
  /** Whether integers beyond ±(2^53 − 1) become exact `bigint`s. Default false: they become the nearest `number`. */
  readonly bigIntegers?: boolean;
}

const MAX_LENGTH = 64 * 1024 * 1024;
const MAX_DEPTH = 64;
const MAX_NUMBER = 1024; // characters: reading a long integer costs more than linear time

/**
 * The value of a JSON text (RFC 8259), with nothing around it but whitespace. Duplicate member names are refused: two
 * readers could each believe another one. Objects have no prototype, so `__proto__` and `toString` are plain names.
 * @throws EncodingError `ENCODING_JSON`
 */
export function parseJson(text: string | Uint8Array, options: ParseJsonOptions = {}): JsonValue {
  const maxLength = options.maxLength ?? MAX_LENGTH;
  if (text.length > maxLength) throw fail(`length ${text.length} is above ${maxLength}`);
  return new Parser(decoded(text), options.maxDepth ?? MAX_DEPTH, options.bigIntegers ?? false).parse();
}

/**
 * The canonical text of a value (RFC 8785): no spaces, members sorted by UTF-16 code units, numbers as ECMAScript
 * prints them (-0 as 0), `bigint` in full. Takes plain objects and arrays only.
 * @throws EncodingError `ENCODING_JSON` on a non-finite number, an unpaired surrogate, `undefined`, or more than 64 levels
 */
export function canonicalizeJson(value: unknown): string {
  return canonical(value, 0);
}

function decoded(text: string | Uint8Array): string {
  if (typeof text === 'string') return text;
  try {
    return parseUtf8(text);
  } catch (cause) {
    throw new EncodingError('ENCODING_JSON', 'Cannot parse JSON: text is not UTF-8', { cause });
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

class Parser {
  readonly #text: string;
  readonly #maxDepth: number;
  readonly #bigIntegers: boolean;
  // RFC 8259 §6. Sticky, one object a parser: it keeps its place in lastIndex.
  readonly #number = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
  #at = 0;

  constructor(text: string, maxDepth: number, bigIntegers: boolean) {
    this.#text = text;
    this.#maxDepth = maxDepth;
    this.#bigIntegers = bigIntegers;
  }

  parse(): JsonValue {
    const value = this.#value(0);
    this.#space();
    if (this.#at !== this.#text.length) throw this.#unexpected();
    return value;
  }

  #value(depth: number): JsonValue {
    this.#space();
    switch (this.#text.charCodeAt(this.#at)) {
      case 0x7b: // {
        return this.#object(depth + 1);
      case 0x5b: // [
        return this.#array(depth + 1);
      case QUOTE:
        return this.#string();
      case 0x74: // t
        return this.#literal('true', true);
      case 0x66: // f
        return this.#literal('false', false);
      case 0x6e: // n
        return this.#literal('null', null);
      default:
        return this.#numeral();
    }
  }

  #object(depth: number): JsonValue {
    this.#enter(depth);
    const out = Object.create(null) as { [key: string]: JsonValue };
    if (this.#skip(0x7d)) return out;
    for (;;) {
      this.#space();
      if (this.#text.charCodeAt(this.#at) !== QUOTE) throw this.#unexpected();
      const start = this.#at;
      const key = this.#string();
      if (key in out) throw fail(`duplicate member name at ${start}`);
      this.#expect(0x3a);
      out[key] = this.#value(depth);
      if (this.#skip(0x7d)) return out;
      this.#expect(0x2c);
    }
  }

  #array(depth: number): JsonValue {
    this.#enter(depth);
    const out: JsonValue[] = [];
    if (this.#skip(0x5d)) return out;
    for (;;) {
      out.push(this.#value(depth));
      if (this.#skip(0x5d)) return out;
      this.#expect(0x2c);
    }
  }

  #enter(depth: number): void {
    if (depth > this.#maxDepth) throw fail(`more than ${this.#maxDepth} levels`);
    this.#at++;
  }

  #string(): string {
    const text = this.#text;
    let out = '';
    let start = ++this.#at;
    for (let i = start; ; i++) {
      const code = text.charCodeAt(i); // NaN at the end, which fails the first two comparisons
      if (code === QUOTE) {
        this.#at = i + 1;
        return out === '' ? text.slice(start, i) : out + text.slice(start, i);
      }
      if (code === BACKSLASH) {
        out += text.slice(start, i) + this.#escape(i);
        i = this.#at - 1;
        start = this.#at;
      } else if (!(code >= 0x20)) {
        this.#at = i;
        throw this.#unexpected();
      }
    }
  }

  /** The character of the escape at `i`; leaves the place behind it in `#at`. */
  #escape(i: number): string {
    const letter = this.#text.charAt(i + 1);
    if (letter === 'u') {
      const digits = this.#text.slice(i + 2, i + 6);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw fail(`bad escape at ${i}`);
      this.#at = i + 6;
      return String.fromCharCode(parseInt(digits, 16));
    }
    const character = escapes[letter];
    if (character === undefined) throw fail(`bad escape at ${i}`);
    this.#at = i + 2;
    return character;
  }

  #numeral(): number | bigint {
    this.#number.lastIndex = this.#at;
    const match = this.#number.exec(this.#text);
    if (match === null) throw this.#unexpected();
    const [text, fraction, exponent] = match as unknown as [string, string?, string?];
    if (text.length > MAX_NUMBER) throw fail(`number of ${text.length} characters at ${this.#at}`);
    const value = Number(text);
    if (!Number.isFinite(value)) {
      const integer = fraction === undefined && exponent === undefined;
      if (!integer || !this.#bigIntegers) throw fail(`number at ${this.#at} is too large`);
    }
    this.#at += text.length;
    const exact = fraction !== undefined || exponent !== undefined || Number.isSafeInteger(value);
    return this.#bigIntegers && !exact ? BigInt(text) : value;
  }

  #literal<T extends JsonValue>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#unexpected();
    this.#at += word.length;
    return value;
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }

  #skip(code: number): boolean {
    this.#space();
    if (this.#text.charCodeAt(this.#at) !== code) return false;
    this.#at++;
    return true;
  }

  #expect(code: number): void {
    if (!this.#skip(code)) throw this.#unexpected();
  }

  // Names the place, not the text: what is parsed may be a token.
  #unexpected(): EncodingError {
    return fail(this.#at < this.#text.length ? `unexpected character at ${this.#at}` : 'text ends early');
  }
}

function canonical(value: unknown, depth: number): string {
  switch (typeof value) {
    case 'string':
      return canonicalString(value);
    case 'number':
      if (!Number.isFinite(value)) throw failCanonical('number is not finite');
      return String(value === 0 ? 0 : value); // RFC 8785 §3.2.2.3: -0 is written as 0
    case 'bigint':
      return value.toString();
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) return 'null';
      if (depth >= MAX_DEPTH) throw failCanonical(`more than ${MAX_DEPTH} levels`);
      return Array.isArray(value) ? canonicalArray(value, depth + 1) : canonicalObject(value, depth + 1);
    default:
      throw failCanonical(`value of type ${typeof value}`);
  }
}

function canonicalArray(value: readonly unknown[], depth: number): string {
  let out = '[';
  for (let i = 0; i < value.length; i++) out += (i === 0 ? '' : ',') + canonical(value[i], depth);
  return out + ']';
}

function canonicalObject(value: object, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) throw failCanonical('object is not a plain one');
  const members = value as Readonly<Record<string, unknown>>; // an object that is not an array: its members by name
  let out = '{';
  // sort() without arguments compares UTF-16 code units, as RFC 8785 §3.2.3 asks.
  for (const key of Object.keys(members).sort()) {
    out += (out.length === 1 ? '' : ',') + canonicalString(key) + ':' + canonical(members[key], depth);
  }
  return out + '}';
}

function canonicalString(text: string): string {
  if (hasLoneSurrogate(text)) throw failCanonical('unpaired surrogate');
  return JSON.stringify(text); // RFC 8785 §3.2.2.2 defines string escapes by exactly this function
}

function fail(state: string): EncodingError {
  return new EncodingError('ENCODING_JSON', `Cannot parse JSON: ${state}`);
}

function failCanonical(state: string): EncodingError {
  return new EncodingError('ENCODING_JSON', `Cannot canonicalize JSON: ${state}`);
}
