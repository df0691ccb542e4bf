import { concatBytes, EncodingError } from '#libs/encoding';

/**
 * Walks fields of SSH's binary format, front to back: `uint32` is big-endian, `string` is a uint32 length and as many
 * bytes, `mpint` a string of a signed big-endian integer in its shortest form.
 * All methods throw EncodingError `ENCODING_TLS`, of which this is a cousin, on input that ends early or is not minimal.
 * @see RFC 4251 §5
 */
export class SshReader {
  #offset = 0;

  constructor(readonly bytes: Uint8Array) {}

  fixed(length: number): Uint8Array {
    if (length > this.bytes.length - this.#offset) throw fail('the input ends within a field');
    this.#offset += length;
    return this.bytes.subarray(this.#offset - length, this.#offset);
  }

  uint32(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.fixed(4);
    return a * 2 ** 24 + ((b << 16) | (c << 8) | d);
  }

  string(): Uint8Array {
    return this.fixed(this.uint32());
  }

  /** A string of ASCII, as names of algorithms are. */
  name(): string {
    const bytes = this.string();
    if (bytes.length > 64 || bytes.some((byte) => byte < 0x21 || byte > 0x7e)) throw fail('a name is not plain ASCII');
    return String.fromCharCode(...bytes);
  }

  /** A positive integer. */
  mpint(): bigint {
    const bytes = this.string();
    const [first = 0, second = 0] = bytes;
    if (bytes.length === 0 || first > 0x7f || (first === 0 && second < 0x80)) {
      throw fail('an integer is not positive, or not in its shortest form');
    }
    let hex = '';
    for (const byte of bytes) hex += byte.toString(16).padStart(2, '0');
    return BigInt(`0x${hex}`);
  }

  end(): void {
    if (this.#offset !== this.bytes.length) throw fail('bytes after the last field');
  }
}

/** A string: its length and it. */
export function sshString(bytes: Uint8Array): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return concatBytes(length, bytes);
}

function fail(state: string): EncodingError {
  return new EncodingError('ENCODING_TLS', `Cannot parse SSH field: ${state}`);
}
