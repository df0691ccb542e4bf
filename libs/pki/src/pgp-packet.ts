import { concatBytes } from '#libs/encoding';

/** Packet types of keys and detached signatures. @see RFC 9580 §5 */
export const packetType = {
  signature: 2,
  publicKey: 6,
  marker: 10,
  trust: 12,
  userId: 13,
  publicSubkey: 14,
  userAttribute: 17,
  padding: 21,
} as const;

export interface Packet {
  readonly type: number;
  readonly body: Uint8Array;
}

/**
 * The packets that fill `bytes`, at most `max`. Both header formats are read; partial and indeterminate lengths, which
 * only data packets may have, are not.
 * @returns undefined when the bytes are not that
 * @see RFC 9580 §4.2
 */
export function readPackets(bytes: Uint8Array, max: number): Packet[] | undefined {
  const packets: Packet[] = [];
  let rest = bytes;
  while (rest.length > 0) {
    const header = readHeader(rest);
    if (header === undefined || packets.length === max) return undefined;
    const end = header.start + header.length;
    if (end > rest.length) return undefined;
    packets.push({ type: header.type, body: rest.subarray(header.start, end) });
    rest = rest.subarray(end);
  }
  return packets;
}

interface Header {
  readonly type: number;
  readonly start: number;
  readonly length: number;
}

function readHeader(bytes: Uint8Array): Header | undefined {
  const [first = 0, a = 0, b = 0] = bytes;
  if ((first & 0x80) === 0) return undefined;
  if ((first & 0x40) === 0) {
    // Legacy: the type in bits 5 to 2, the size of the length in bits 1 and 0; 3 is indeterminate.
    const size = [1, 2, 4][first & 3];
    if (size === undefined) return undefined;
    return sized((first >> 2) & 0x0f, 1 + size, bigEndian(bytes, 1, size));
  }
  const type = first & 0x3f;
  if (a < 192) return bytes.length > 1 ? sized(type, 2, a) : undefined;
  if (a < 224) return sized(type, 3, ((a - 192) << 8) + b + 192);
  return a === 255 ? sized(type, 6, bigEndian(bytes, 2, 4)) : undefined;
}

function sized(type: number, start: number, length: number | undefined): Header | undefined {
  return length === undefined || type === 0 ? undefined : { type, start, length };
}

function bigEndian(bytes: Uint8Array, offset: number, size: number): number | undefined {
  if (bytes.length < offset + size) return undefined;
  let value = 0;
  for (const byte of bytes.subarray(offset, offset + size)) value = value * 256 + byte;
  return value;
}

/** The packets with headers of the current format and the shortest lengths. @see RFC 9580 §4.2.1 */
export function encodePackets(packets: readonly Packet[]): Uint8Array {
  return concatBytes(...packets.flatMap(({ type, body }) => [encodeHeader(type, body.length), body]));
}

function encodeHeader(type: number, length: number): Uint8Array {
  const tag = 0xc0 | type;
  if (length < 192) return Uint8Array.of(tag, length);
  if (length < 8384) return Uint8Array.of(tag, ((length - 192) >> 8) + 192, (length - 192) & 0xff);
  return Uint8Array.of(tag, 255, (length >>> 24) & 0xff, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff);
}
