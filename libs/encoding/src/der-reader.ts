import { EncodingError } from './errors.js';
import { parseUtf8 } from './utf8.js';

/** Identifier octets (X.690 §8.1.2) of the types that certificates, requests and timestamps use. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  numericString: 0x12,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  visibleString: 0x1a,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
  /** `[n]`, constructed: EXPLICIT, or IMPLICIT over a SEQUENCE or SET. n below 31. */
  context: (n: number): number => 0xa0 + n,
  /** `[n]` IMPLICIT over a primitive type. n below 31. */
  contextPrimitive: (n: number): number => 0x80 + n,
} as const;

/** One tag-length-value. Both byte fields are views of the parsed array. */
export interface DerElement {
  /** The identifier octet. */
  readonly tag: number;
  /** Identifier, length and contents. */
  readonly bytes: Uint8Array;
  readonly contents: Uint8Array;
}

const MAX_DEPTH = 32;
const MAX_OID_BYTES = 128;
const CONSTRUCTED = 0x20;

/** Views are made when asked for: most elements of a certificate are only walked past. */
class Element implements DerElement {
  constructor(
    readonly source: Uint8Array,
    readonly start: number,
    readonly body: number,
    readonly stop: number,
    readonly tag: number,
  ) {}

  get bytes(): Uint8Array {
    return this.source.subarray(this.start, this.stop);
  }

  get contents(): Uint8Array {
    return this.source.subarray(this.body, this.stop);
  }
}

/**
 * The one element that fills `bytes`, with the structure of everything below it already checked: definite minimal
 * lengths, one-byte tags, primitive and constructed forms as DER wants them, at most 32 levels.
 * @throws EncodingError `ENCODING_DER`
 * @see X.690 §10
 */
export function parseDer(bytes: Uint8Array): DerElement {
  const element = readElement(bytes, 0, bytes.length);
  if (element.stop !== bytes.length) throw fail(`${bytes.length - element.stop} bytes after the element`);
  checkBelow(bytes, element.tag, element.body, element.stop, 1);
  return element;
}

/** Walks the elements inside a constructed one, front to back. */
export class DerReader {
  readonly #source: Uint8Array;
  readonly #stop: number;
  #offset: number;

  /**
   * Over the contents of `from`: an element (which must be constructed, and have `tag` if one is given), or bytes.
   * Bytes with a `tag` are parsed as one whole element first, as by `parseDer`.
   */
  constructor(from: Uint8Array | DerElement, tag?: number) {
    if (from instanceof Uint8Array && tag === undefined) {
      this.#source = from;
      this.#offset = 0;
      this.#stop = from.length;
      return;
    }
    const element = from instanceof Uint8Array ? parseDer(from) : from;
    if (tag !== undefined) expectTag(element, tag);
    if ((element.tag & CONSTRUCTED) === 0) throw fail(`element ${hex(element.tag)} is primitive and has no elements`);
    if (element instanceof Element) {
      this.#source = element.source;
      this.#offset = element.body;
      this.#stop = element.stop;
    } else {
      this.#source = element.contents;
      this.#offset = 0;
      this.#stop = element.contents.length;
    }
  }

  /** Whether no element remains. */
  get done(): boolean {
    return this.#offset >= this.#stop;
  }

  /** The identifier octet of the next element, without reading it; undefined at the end. */
  peek(): number | undefined {
    return this.done ? undefined : this.#source[this.#offset];
  }

  /** @throws EncodingError `ENCODING_DER` at the end, or if the next element has another tag */
  next(tag?: number): DerElement {
    const element = readElement(this.#source, this.#offset, this.#stop);
    if (tag !== undefined) expectTag(element, tag);
    this.#offset = element.stop;
    return element;
  }

  /** The next element if it has this tag, else undefined and nothing is read. */
  optional(tag: number): DerElement | undefined {
    return this.peek() === tag ? this.next() : undefined;
  }

  /** @throws EncodingError `ENCODING_DER` if elements remain */
  end(): void {
    if (!this.done) throw fail(`unexpected element ${hex(this.peek() ?? 0)} at the end`);
  }
}

/** All elements inside a constructed one. */
export function derChildren(element: DerElement): DerElement[] {
  const reader = new DerReader(element);
  const out: DerElement[] = [];
  while (!reader.done) out.push(reader.next());
  return out;
}

/** BOOLEAN: DER knows only 00 and FF (X.690 §11.1). */
export function readBoolean(element: DerElement): boolean {
  expectTag(element, derTag.boolean);
  const { contents } = element;
  if (contents.length !== 1 || (contents[0] !== 0 && contents[0] !== 0xff)) throw fail('BOOLEAN is not 00 or FF');
  return contents[0] === 0xff;
}

/** INTEGER or ENUMERATED, of any size, in the fewest octets (X.690 §8.3.2). */
export function readInteger(element: DerElement): bigint {
  if (element.tag !== derTag.enumerated) expectTag(element, derTag.integer);
  return parseInteger(element.contents);
}

/** OBJECT IDENTIFIER in dotted form. Arcs may be of any size; the whole has at most 128 bytes. */
export function readOid(element: DerElement): string {
  expectTag(element, derTag.oid);
  const { contents } = element;
  if (contents.length === 0 || contents.length > MAX_OID_BYTES) {
    throw fail(`OBJECT IDENTIFIER of ${contents.length} bytes, must be 1 to ${MAX_OID_BYTES}`);
  }
  let out = '';
  for (let offset = 0; offset < contents.length;) {
    if (contents[offset] === 0x80) throw fail('OBJECT IDENTIFIER has a padded arc');
    let stop = offset;
    while (((contents[stop] ?? 0) & 0x80) !== 0) stop++;
    if (stop >= contents.length) throw fail('OBJECT IDENTIFIER ends inside an arc');
    out += offset === 0 ? firstArcs(contents, stop + 1) : `.${arc(contents, offset, stop + 1, 0)}`;
    offset = stop + 1;
  }
  return out;
}

/** BIT STRING of whole bytes. For one with unused bits, as KeyUsage is, see `readBits`. */
export function readBitString(element: DerElement): Uint8Array {
  const { bytes, unusedBits } = readBits(element);
  if (unusedBits !== 0) throw fail(`BIT STRING has ${unusedBits} unused bits, must be 0`);
  return bytes;
}

/** BIT STRING with its number of unused bits (0 to 7), which must be zero in the last byte (X.690 §11.2.1). */
export function readBits(element: DerElement): { bytes: Uint8Array; unusedBits: number } {
  expectTag(element, derTag.bitString);
  const { contents } = element;
  const unusedBits = contents[0];
  if (unusedBits === undefined || unusedBits > 7) throw fail('BIT STRING does not state its unused bits');
  const last = contents.length > 1 ? contents[contents.length - 1] : undefined;
  if (last === undefined ? unusedBits !== 0 : (last & ((1 << unusedBits) - 1)) !== 0) {
    throw fail('BIT STRING has unused bits that are not zero');
  }
  return { bytes: contents.subarray(1), unusedBits };
}

/** OCTET STRING: a view of its contents. */
export function readOctetString(element: DerElement): Uint8Array {
  expectTag(element, derTag.octetString);
  return element.contents;
}

/** NULL: has no contents. */
export function readNull(element: DerElement): void {
  expectTag(element, derTag.null);
  if (element.contents.length !== 0) throw fail('NULL has contents');
}

/**
 * The text of any string type found in names: UTF8String, PrintableString, IA5String, NumericString, VisibleString,
 * TeletexString (read as Latin-1, as everyone else does) and BMPString. Characters outside the type's set are refused.
 */
export function readString(element: DerElement): string {
  const { tag, contents } = element;
  switch (tag) {
    case derTag.utf8String:
      try {
        return parseUtf8(contents);
      } catch (cause) {
        throw new EncodingError('ENCODING_DER', 'Cannot parse DER: UTF8String is not UTF-8', { cause });
      }
    case derTag.printableString:
      return matching(latin1(contents), /^[A-Za-z0-9 '()+,\-./:=?]*$/, 'PrintableString');
    case derTag.ia5String:
      return matching(latin1(contents), /^[\0-\x7f]*$/, 'IA5String');
    case derTag.numericString:
      return matching(latin1(contents), /^[0-9 ]*$/, 'NumericString');
    case derTag.visibleString:
      return matching(latin1(contents), /^[\x20-\x7e]*$/, 'VisibleString');
    case derTag.teletexString:
      return latin1(contents);
    case derTag.bmpString:
      return bmp(contents);
    default:
      throw fail(`element ${hex(tag)} is not a string`);
  }
}

/**
 * UTCTime `YYMMDDHHMMSSZ` (1950 to 2049) or GeneralizedTime `YYYYMMDDHHMMSS[.f…]Z`. A fraction must not end in 0
 * (X.690 §11.7); what it says below a millisecond is cut off.
 */
export function readTime(element: DerElement): Date {
  const text = latin1(element.contents);
  if (element.tag === derTag.utcTime) {
    const parts = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
    if (parts === null) throw fail('UTCTime is not YYMMDDHHMMSSZ');
    const year = Number(parts[1]);
    return instant(year < 50 ? 2000 + year : 1900 + year, parts, 0); // RFC 5280 §4.1.2.5.1
  }
  expectTag(element, derTag.generalizedTime);
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{0,11}[1-9]))?Z$/.exec(text);
  if (parts === null) throw fail('GeneralizedTime is not YYYYMMDDHHMMSS[.f]Z');
  return instant(Number(parts[1]), parts, Number((parts[7] ?? '').slice(0, 3).padEnd(3, '0')));
}

function readElement(source: Uint8Array, start: number, limit: number): Element {
  const body = readHead(source, start, limit);
  return new Element(source, start, body, stopOfHead, source[start] as number);
}

/** Where the element ends that `readHead` has read last: beside its result, because an object for each element that is only walked past is half of a parse. */
let stopOfHead = 0;

/** Reads identifier and length of the element at `start`: the offset of its contents. Its tag is the byte at `start`. */
function readHead(source: Uint8Array, start: number, limit: number): number {
  const tag = source[start];
  let length = source[start + 1];
  if (tag === undefined || length === undefined || start + 2 > limit) throw fail('ends inside a tag or length');
  if ((tag & 0x1f) === 0x1f) throw fail(`tag ${hex(tag)} has the long form`);
  let body = start + 2;
  if (length > 127) {
    const size = length & 0x7f;
    if (size === 0) throw fail('indefinite length');
    if (size > 4) throw fail(`length of ${size} bytes`);
    if (body + size > limit) throw fail('ends inside a length');
    length = 0;
    for (let i = 0; i < size; i++) length = length * 256 + (source[body + i] as number); // in range: checked above
    if (length < 128 || length < 256 ** (size - 1)) throw fail('length is not minimal');
    body += size;
  }
  if (length > limit - body) throw fail(`length ${length} is above the ${limit - body} bytes that remain`);
  stopOfHead = body + length;
  return body;
}

/** The forms of the element and of all elements inside it. Recursion is bounded by MAX_DEPTH; each element is visited once. */
function checkBelow(source: Uint8Array, tag: number, body: number, stop: number, depth: number): void {
  checkForm(tag);
  if ((tag & CONSTRUCTED) === 0) return;
  if (depth >= MAX_DEPTH && body < stop) throw fail(`more than ${MAX_DEPTH} levels`);
  for (let offset = body; offset < stop;) {
    const childBody = readHead(source, offset, stop);
    const childStop = stopOfHead;
    checkBelow(source, source[offset] as number, childBody, childStop, depth + 1);
    offset = childStop;
  }
}

/** X.690 §8.9, §8.11 and §10.2: sequences and sets are constructed, every other universal type in use is primitive. */
function checkForm(tag: number): void {
  if ((tag & 0xc0) !== 0) return;
  const number = tag & 0x1f;
  if (number === 0) throw fail('end-of-contents');
  // EXTERNAL 8, EMBEDDED PDV 11, SEQUENCE 16, SET 17, CHARACTER STRING 29
  const structured = number === 16 || number === 17 || number === 8 || number === 11 || number === 29;
  if (structured !== ((tag & CONSTRUCTED) !== 0)) {
    throw fail(`element ${hex(tag)} must be ${structured ? 'constructed' : 'primitive'}`);
  }
}

function expectTag(element: DerElement, tag: number): void {
  if (element.tag !== tag) throw fail(`element is ${hex(element.tag)}, must be ${hex(tag)}`);
}

function parseInteger(contents: Uint8Array): bigint {
  const first = contents[0];
  if (first === undefined) throw fail('INTEGER is empty');
  const second = contents[1];
  if (second !== undefined && ((first === 0 && second < 128) || (first === 0xff && second > 127))) {
    throw fail('INTEGER is not minimal');
  }
  if (contents.length <= 6) {
    let value = first > 127 ? first - 256 : first;
    for (let i = 1; i < contents.length; i++) value = value * 256 + (contents[i] as number); // in range
    return BigInt(value);
  }
  let digits = '0x';
  for (const byte of contents) digits += (byte < 16 ? '0' : '') + byte.toString(16);
  const unsigned = BigInt(digits);
  return first > 127 ? unsigned - (1n << BigInt(8 * contents.length)) : unsigned;
}

/** The first subidentifier holds two arcs: 40 × first + second, where only first = 2 lets second exceed 39 (§8.19.4). */
function firstArcs(contents: Uint8Array, stop: number): string {
  const lead = contents[0] as number; // the caller has checked that there is one
  if (lead < 40) return `0.${lead}`;
  if (lead < 80) return `1.${lead - 40}`;
  return `2.${arc(contents, 0, stop, 80)}`;
}

function arc(contents: Uint8Array, start: number, stop: number, minus: number): string {
  if (stop - start <= 7) {
    let value = 0; // 49 bits at most
    for (let i = start; i < stop; i++) value = value * 128 + ((contents[i] as number) & 0x7f); // in range
    return String(value - minus);
  }
  let value = 0n;
  for (let i = start; i < stop; i++) value = (value << 7n) | BigInt((contents[i] as number) & 0x7f); // in range
  return String(value - BigInt(minus));
}

function latin1(contents: Uint8Array): string {
  let out = '';
  for (let i = 0; i < contents.length; i++) out += String.fromCharCode(contents[i] as number); // in range
  return out;
}

function matching(text: string, set: RegExp, type: string): string {
  if (!set.test(text)) throw fail(`${type} has a character outside its set`);
  return text;
}

function bmp(contents: Uint8Array): string {
  if (contents.length % 2 !== 0) throw fail('BMPString has an odd number of bytes');
  let out = '';
  for (let i = 0; i < contents.length; i += 2) {
    const unit = ((contents[i] as number) << 8) | (contents[i + 1] as number); // in range: the length is even
    if (unit >= 0xd800 && unit <= 0xdfff) throw fail('BMPString has a surrogate');
    out += String.fromCharCode(unit);
  }
  return out;
}

function instant(year: number, parts: RegExpExecArray, milliseconds: number): Date {
  const [month, day, hour, minute, second] = parts.slice(2, 7).map(Number) as [number, number, number, number, number];
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day); // not Date.UTC, which reads the years 0 to 99 as 1900 to 1999
  date.setUTCHours(hour, minute, second, milliseconds);
  // A date that does not exist (31 June, 24:00, a leap second) rolls over to another one.
  const exists =
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    date.getUTCSeconds() === second;
  if (!exists) throw fail('time does not exist');
  return date;
}

function hex(tag: number): string {
  return tag.toString(16).padStart(2, '0');
}

function fail(state: string): EncodingError {
  return new EncodingError('ENCODING_DER', `Cannot parse DER: ${state}`);
}
