import { createHash, type Hash } from 'node:crypto';
import { OciError, quote } from './error.js';

/** A content's digest: the algorithm, and lower-case hexadecimal digits (image-spec: descriptor.md, Digests). */
export type Digest = `sha256:${string}` | `sha512:${string}`;
/** The algorithms that are believed. */
export type DigestAlgorithm = 'sha256' | 'sha512';

/** Which bytes are meant. */
export interface ContentId {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
}

const grammar = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Whether `text` is a digest of a known algorithm in its one spelling. */
export function isDigest(text: string): text is Digest {
  return text.length <= 135 && grammar.test(text);
}

/** @throws OciError `OCI_REFERENCE` unless `text` is `sha256:` and 64 or `sha512:` and 128 lower-case hexadecimal digits */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new OciError(
    'OCI_REFERENCE',
    `Cannot parse digest ${quote(text)}: expected sha256: and 64, or sha512: and 128 hexadecimal digits`,
  );
}

/** The algorithm and the hexadecimal digits. */
export function splitDigest(digest: Digest): { readonly algorithm: DigestAlgorithm; readonly hex: string } {
  const [algorithm, hex] = digest.split(':') as [DigestAlgorithm, string]; // by its type
  return { algorithm, hex };
}

/** The digest of `bytes`. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/**
 * Holds content to what it should be, as it comes.
 * `what`: names the content in messages.
 */
export class ContentCheck {
  readonly #expected: ContentId;
  readonly #what: string;
  readonly #hash: Hash;
  #size = 0;

  constructor(expected: ContentId, what: string) {
    this.#expected = expected;
    this.#what = what;
    this.#hash = createHash(splitDigest(expected.digest).algorithm);
  }

  /** How many bytes came so far. */
  get size(): number {
    return this.#size;
  }

  /** @throws OciError `OCI_SIZE` as soon as there is a byte too many */
  update(chunk: Uint8Array): void {
    this.#size += chunk.length;
    if (this.#size > this.#expected.size) {
      throw new OciError('OCI_SIZE', `Cannot use ${this.#what}: it is larger than ${this.#expected.size} bytes`);
    }
    this.#hash.update(chunk);
  }

  /** @throws OciError `OCI_SIZE` if bytes are missing, `OCI_DIGEST` if they are others */
  end(): void {
    const { digest, size } = this.#expected;
    if (this.#size !== size) {
      throw new OciError('OCI_SIZE', `Cannot use ${this.#what}: it has ${this.#size} bytes, expected ${size}`);
    }
    const actual = `${splitDigest(digest).algorithm}:${this.#hash.digest('hex')}`;
    if (actual !== digest) {
      throw new OciError('OCI_DIGEST', `Cannot use ${this.#what}: its digest is ${actual}, expected ${digest}`);
    }
  }
}

/**
 * Passes `stream` on while checking it. The last chunk is held back until size and digest are right: whoever saw the end
 * saw the right content.
 * @throws OciError `OCI_SIZE`, `OCI_DIGEST`
 */
export async function* checkContent(
  stream: AsyncIterable<Uint8Array>,
  expected: ContentId,
  what: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const check = new ContentCheck(expected, what);
  let held: Uint8Array | undefined;
  for await (const chunk of stream) {
    check.update(chunk);
    if (chunk.length === 0) continue;
    if (held !== undefined) yield held;
    held = chunk;
  }
  check.end();
  if (held !== undefined) yield held;
}

/** All of a stream as one array. Grows with what comes, not with what was announced. */
export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    size += chunk.length;
  }
  const out = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    out.set(chunk, offset);
    offset += chunk.length;
  }
  return out;
}
