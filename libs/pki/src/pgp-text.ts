const LF = 0x0a;
const CR = 0x0d;

/**
 * The bytes with each line feed after a carriage return, as signatures over text sign them. The OpenPGP package makes the same of them, but of a message
 * of nothing but line feeds so slowly that nobody else is served for half a second; of what it finds done it makes nothing.
 * @see RFC 9580 §5.2.1.2
 */
export function withCrLf(bytes: Uint8Array): Uint8Array {
  let bare = 0;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === LF && bytes[i - 1] !== CR) bare++;
  if (bare === 0) return bytes;
  const out = new Uint8Array(bytes.length + bare);
  let at = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    if (byte === LF && bytes[i - 1] !== CR) out[at++] = CR;
    out[at++] = byte;
  }
  return out;
}
