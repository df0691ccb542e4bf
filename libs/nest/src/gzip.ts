import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';

const compress = promisify(gzip);

/** Below, a header more costs what compressing saves. */
const leastBytes = 1024;
/** Entries are mostly base64, of which the slow levels make no more than the fast ones. */
const level = 1;
/** Compressing runs on the threads that also read files and write the database; half of the four there are by default. */
const mostAtOnce = 2;
let running = 0;

/**
 * The body to send for `bytes`: compressed if the client would rather have it so (RFC 9110 §12.5.3), with the headers that say it. For what is
 * immutable and mostly text, such as bundles of entries; hashes do not get smaller. While the server compresses others already, the body goes as it is.
 *
 * ```ts
 * return gzipWhenAccepted(request, reply, await this.tiles.read(request.url));
 * ```
 */
export async function gzipWhenAccepted(
  request: FastifyRequest,
  reply: FastifyReply,
  bytes: Uint8Array,
): Promise<Buffer> {
  const plain = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < leastBytes) return plain;
  addVary(reply, 'Accept-Encoding');
  if (!prefersGzip(request.headers['accept-encoding']) || running >= mostAtOnce) return plain;
  running++;
  try {
    const compressed = await compress(plain, { level });
    if (compressed.length >= plain.length) return plain;
    void reply.header('content-encoding', 'gzip');
    return compressed;
  } finally {
    running--;
  }
}

function addVary(reply: FastifyReply, name: string): void {
  const others = reply.getHeader('vary');
  void reply.header('vary', others === undefined ? name : `${String(others)}, ${name}`);
}

/**
 * Whether an Accept-Encoding header ranks gzip above or beside no encoding at all. Without a header anything would do; but who does not ask may not be able
 * to read it.
 * @see RFC 9110 §12.4.2, §12.5.3
 */
export function prefersGzip(acceptEncoding: string | string[] | undefined): boolean {
  const weights = new Map<string, number>();
  for (const item of String(acceptEncoding ?? '').split(',', 32)) {
    const [, coding, weight = '1'] =
      /^\s*([\w!#$%&'*+.^`|~-]{1,64})\s*(?:;\s*[qQ]=([01](?:\.\d{0,3})?)\s*)?$/.exec(item) ?? [];
    // RFC 9110 §8.4.1.3: x-gzip is another name of it.
    if (coding !== undefined)
      weights.set(coding.toLowerCase().replace(/^x-gzip$/, 'gzip'), Math.min(Number(weight), 1));
  }
  const rest = weights.get('*');
  const gzipWeight = weights.get('gzip') ?? rest ?? 0;
  // Not named: acceptable, but nobody has asked for it.
  const identityWeight = weights.get('identity') ?? (weights.has('gzip') ? 0 : (rest ?? 0));
  return gzipWeight > 0 && gzipWeight >= identityWeight;
}
