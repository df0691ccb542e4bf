import { EncodingError } from './errors.js';

/** Reads the fixed-size numbers and length-prefixed vectors of the TLS presentation language (RFC 8446 §3). */
export class TlsReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** How many bytes have not been read. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** `uint8` */
  u8(): number {
    return this.#uint(1);
  }

  /** `uint16`, big-endian */
  u16(): number {
    return this.#uint(2);
  }

  /** `uint24`, big-endian */
  u24(): number {
    return this.#uint(3);
  }

  /** `uint64`, big-endian */
  u64(): bigint {
    return (BigInt(this.#uint(4)) << 32n) | BigInt(this.#uint(4));
  }

  /** `opaque[length]`: a view of the next bytes. */
  bytes(length: number): Uint8Array {
    if (length > this.remaining) {
      throw new EncodingError('ENCODING_TLS', `Cannot read ${length} bytes: ${this.remaining} remain`);
    }
    const start = this.#offset;
    this.#offset += length;
    return this.#bytes.subarray(start, this.#offset);
  }

  /** `opaque<0..max>`: a length of 1 to 3 bytes, then that many bytes, as a view. */
  vector(lengthBytes: 1 | 2 | 3, max?: number): Uint8Array {
    const length = this.#uint(lengthBytes);
    if (max !== undefined && length > max) {
      throw new EncodingError('ENCODING_TLS', `Cannot read vector: length ${length} is above ${max}`);
    }
    return this.bytes(length);
  }

  /** @throws EncodingError `ENCODING_TLS` if bytes remain */
  end(): void {
    if (this.remaining !== 0) {
      throw new EncodingError('ENCODING_TLS', `Cannot end structure: ${this.remaining} bytes remain`);
    }
  }

  #uint(size: 1 | 2 | 3 | 4): number {
    let value = 0;
    // Multiplication, not a shift: a shift would make the top bit of four bytes a sign.
    for (const byte of this.bytes(size)) value = value * 256 + byte;
    return value;
  }
}

/** Writes what `TlsReader` reads. Calls chain: `new TlsWriter().u8(0).vector(2, b).finish()`. */
export class TlsWriter {
  #bytes = new Uint8Array(256);
  #length = 0;

  u8(value: number): this {
    return this.#uint(1, value);
  }

  u16(value: number): this {
    return this.#uint(2, value);
  }

  u24(value: number): this {
    return this.#uint(3, value);
  }

  u64(value: bigint): this {
    if (value < 0n || value >= 1n << 64n) {
      throw new EncodingError('ENCODING_TLS', `Cannot write uint64: ${value.toString()} does not fit`);
    }
    return this.#uint(4, Number(value >> 32n)).#uint(4, Number(value & 0xffffffffn));
  }

  bytes(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** @throws EncodingError `ENCODING_TLS` if the length does not fit the prefix */
  vector(lengthBytes: 1 | 2 | 3, bytes: Uint8Array): this {
    return this.#uint(lengthBytes, bytes.length).bytes(bytes);
  }

  /** A copy of everything written so far. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #uint(size: 1 | 2 | 3 | 4, value: number): this {
    if (!Number.isInteger(value) || value < 0 || value >= 256 ** size) {
      throw new EncodingError('ENCODING_TLS', `Cannot write uint${size * 8}: ${value} does not fit`);
    }
    this.#reserve(size);
    let rest = value;
    for (let i = size - 1; i >= 0; i--) {
      this.#bytes[this.#length + i] = rest % 256;
      rest = Math.floor(rest / 256);
    }
    this.#length += size;
    return this;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
