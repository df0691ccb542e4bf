import { EncodingError } from '#libs/encoding';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/**
 * Reads of a JSON text what is asked for, in one pass, and steps over the rest without making values of it. That takes time in proportion to the
 * text however many values it holds, new names it has and deep it nests, where `JSON.parse` may take a second for some megabytes. What is stepped
 * over is not checked.
 *
 * Each method reads the next value, and leaves the skimmer behind it.
 * @throws EncodingError `ENCODING_JSON` where the text does not go on as JSON
 */
export class JsonSkimmer {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** An object: `read` is called for each member, and must read its value. Anything else is stepped over. */
  members(read: (name: string) => void): void {
    if (!this.#skip(OPEN_BRACE)) return this.skip();
    if (this.#skip(CLOSE_BRACE)) return;
    do {
      const name = this.text();
      if (name === undefined) throw this.#unexpected();
      this.#expect(COLON);
      read(name);
    } while (this.#skip(COMMA));
    this.#expect(CLOSE_BRACE);
  }

  /** An array: `read` is called for each item, and must read it. Anything else is stepped over. */
  items(read: () => void): void {
    if (!this.#skip(OPEN_BRACKET)) return this.skip();
    if (this.#skip(CLOSE_BRACKET)) return;
    do read();
    while (this.#skip(COMMA));
    this.#expect(CLOSE_BRACKET);
  }

  /** A text; undefined for anything else, which is stepped over. */
  text(): string | undefined {
    if (this.#peek() !== QUOTE) {
      this.skip();
      return undefined;
    }
    const start = this.#at;
    const isPlain = this.#skipText();
    if (isPlain) return this.#text.slice(start + 1, this.#at - 1);
    try {
      return JSON.parse(this.#text.slice(start, this.#at)) as string; // begins and ends with a quote, and has none between
    } catch (cause) {
      throw new EncodingError('ENCODING_JSON', `Cannot read JSON: bad text at ${start}`, { cause });
    }
  }

  /** Any value. */
  skip(): void {
    let depth = 0;
    do {
      const code = this.#peek();
      if (code === QUOTE) this.#skipText();
      else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
        depth++;
        this.#at++;
      } else if (depth > 0 && (code === CLOSE_BRACE || code === CLOSE_BRACKET)) {
        depth--;
        this.#at++;
      } else if (depth > 0 && (code === COMMA || code === COLON)) this.#at++;
      else this.#skipWord();
    } while (depth > 0);
  }

  /** Nothing may follow. */
  end(): void {
    if (!Number.isNaN(this.#peek())) throw this.#unexpected();
  }

  /** Steps over a text; whether it had no escapes. */
  #skipText(): boolean {
    let isPlain = true;
    for (let at = this.#at + 1; ; at++) {
      const code = this.#text.charCodeAt(at);
      if (code === QUOTE) {
        this.#at = at + 1;
        return isPlain;
      }
      if (code === BACKSLASH) {
        isPlain = false;
        at++;
      } else if (Number.isNaN(code)) {
        throw new EncodingError('ENCODING_JSON', `Cannot read JSON: text at ${this.#at} does not end`);
      }
    }
  }

  /** Steps over a number, or `true`, `false` or `null`. */
  #skipWord(): void {
    const start = this.#at;
    while (isWord(this.#text.charCodeAt(this.#at))) this.#at++;
    if (this.#at === start) throw this.#unexpected();
  }

  #expect(code: number): void {
    if (!this.#skip(code)) throw this.#unexpected();
  }

  #skip(code: number): boolean {
    if (this.#peek() !== code) return false;
    this.#at++;
    return true;
  }

  /** The next character after whitespace (RFC 8259 §2); NaN at the end. */
  #peek(): number {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return code;
      this.#at++;
    }
  }

  // Names the place, not the text.
  #unexpected(): EncodingError {
    return new EncodingError('ENCODING_JSON', `Cannot read JSON: unexpected character at ${this.#at}`);
  }
}

/** The characters of numbers and literals: `+`, `-`, `.`, digits and letters. */
function isWord(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) ||
    (code >= 0x61 && code <= 0x7a) ||
    code === 0x2b ||
    code === 0x2d ||
    code === 0x2e ||
    code === 0x45
  );
}
