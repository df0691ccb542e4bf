import { concatBytes } from '#libs/encoding';

/** Packet types of keys and signed messages. @see RFC 9580 §5 */
export const packetType = {
  encryptedKey: 1,
  signature: 2,
  symmetricKey: 3,
  onePass: 4,
  secretKey: 5,
  publicKey: 6,
  secretSubkey: 7,
  compressed: 8,
  encrypted: 9,
  marker: 10,
  literal: 11,
  trust: 12,
  userId: 13,
  publicSubkey: 14,
  userAttribute: 17,
  protectedData: 18,
  padding: 21,
} as const;

export interface Packet {
  readonly type: number;
  readonly body: Uint8Array;
}

/** Only these may come in pieces or without a length. @see RFC 9580 §4.2.1.4 */
const dataTypes: readonly number[] = [
  packetType.compressed,
  packetType.encrypted,
  packetType.literal,
  packetType.protectedData,
];

/**
 * The packets that fill `bytes`, at most `max`. Both header formats are read, and for packets of data also lengths in pieces and
 * the indeterminate length, which GnuPG gives to compressed data.
 * @returns undefined when the bytes are not that
 * @see RFC 9580 §4.2
 */
export function readPackets(bytes: Uint8Array, max: number): Packet[] | undefined {
  const packets: Packet[] = [];
  let rest = bytes;
  while (rest.length > 0) {
    if (packets.length === max) return undefined;
    const read = readPacket(rest);
    if (read === undefined) return undefined;
    packets.push(read.packet);
    rest = rest.subarray(read.end);
  }
  return packets;
}

function readPacket(bytes: Uint8Array): { packet: Packet; end: number } | undefined {
  const [first = 0] = bytes;
  if ((first & 0x80) === 0) return undefined;
  const current = (first & 0x40) !== 0;
  const type = current ? first & 0x3f : (first >> 2) & 0x0f;
  if (type === 0) return undefined;
  return current ? readCurrent(bytes, type) : readLegacy(bytes, type);
}

/** Legacy: the type in bits 5 to 2, the size of the length in bits 1 and 0; 3 is indeterminate. @see RFC 9580 §4.2.2 */
function readLegacy(bytes: Uint8Array, type: number): { packet: Packet; end: number } | undefined {
  const size = [1, 2, 4][(bytes[0] ?? 0) & 3];
  if (size === undefined) {
    if (!dataTypes.includes(type)) return undefined;
    return { packet: { type, body: bytes.subarray(1) }, end: bytes.length };
  }
  const length = bigEndian(bytes, 1, size);
  const start = 1 + size;
  if (length === undefined || start + length > bytes.length) return undefined;
  return { packet: { type, body: bytes.subarray(start, start + length) }, end: start + length };
}

/** @see RFC 9580 §4.2.1 */
function readCurrent(bytes: Uint8Array, type: number): { packet: Packet; end: number } | undefined {
  const pieces: Uint8Array[] = [];
  for (let at = 1; ;) {
    const [a, b] = [bytes[at], bytes[at + 1]];
    if (a === undefined) return undefined;
    const partial = a >= 224 && a < 255;
    const [size, length] = partial
      ? [1, 2 ** (a & 0x1f)]
      : a < 192
        ? [1, a]
        : a < 224
          ? [2, b === undefined ? undefined : ((a - 192) << 8) + b + 192]
          : [5, bigEndian(bytes, at + 1, 4)];
    if (length === undefined || at + size + length > bytes.length) return undefined;
    if (partial && !dataTypes.includes(type)) return undefined;
    pieces.push(bytes.subarray(at + size, at + size + length));
    at += size + length;
    if (!partial)
      return { packet: { type, body: pieces.length === 1 ? (pieces[0] ?? bytes) : concatBytes(...pieces) }, end: at };
  }
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
