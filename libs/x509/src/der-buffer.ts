/** How many bytes tag and length take in front of contents of this length; lengths stay below 2^24 here. */
export function headerLength(length: number): number {
  return length < 0x80 ? 2 : length < 0x100 ? 3 : length < 0x1_0000 ? 4 : 5;
}

/** The length of a whole element with contents of this length. */
export function elementLength(length: number): number {
  return headerLength(length) + length;
}

const encoder = new TextEncoder();

// An ArrayBuffer of its own costs as much as filling it and makes the collector run early, so small arrays share one, as Node's Buffers do.
const SLAB = 16_384;
let slab = new ArrayBuffer(SLAB);
let used = 0;

/** Zeros that nobody else writes to. */
function allocate(length: number): Uint8Array {
  if (length > SLAB / 4) return new Uint8Array(length);
  if (used + length > SLAB) {
    slab = new ArrayBuffer(SLAB);
    used = 0;
  }
  const bytes = new Uint8Array(slab, used, length);
  used += length;
  return bytes;
}

/**
 * One array that is filled from the front. Issuing and logging write the same two kilobytes several times over, and there the
 * allocations of nested DER writers cost more than the writing: here all lengths are known first, and the bytes are written once.
 */
export class DerBuffer {
  readonly bytes: Uint8Array;
  /** Where the next byte goes. */
  length = 0;

  constructor(capacity: number) {
    this.bytes = allocate(capacity);
  }

  /** Tag and length in front of contents of `length` bytes, which the caller writes next. */
  header(tag: number, length: number): this {
    const { bytes } = this;
    bytes[this.length++] = tag;
    const size = headerLength(length) - 2;
    if (size > 0) bytes[this.length++] = 0x80 | size;
    for (let shift = 8 * (size > 0 ? size - 1 : 0); shift >= 0; shift -= 8)
      bytes[this.length++] = (length >> shift) & 0xff;
    return this;
  }

  append(part: Uint8Array): this {
    this.bytes.set(part, this.length);
    this.length += part.length;
    return this;
  }

  /** ASCII text, one byte a character; false, and nothing is kept, when the text has another character. */
  ascii(text: string): boolean {
    const { written } = encoder.encodeInto(text, this.bytes.subarray(this.length));
    if (written !== text.length) return false;
    this.length += written;
    return true;
  }

  /** A view of what has been written since `start`. */
  since(start: number): Uint8Array {
    return this.bytes.subarray(start, this.length);
  }
}
