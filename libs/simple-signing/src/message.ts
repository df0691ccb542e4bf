import { inflateRawSync, inflateSync } from 'node:zlib';
import { SimpleSigningError } from './error.js';
import { looksLikePayload } from './payload.js';
import { encodePackets, type Packet, packetType, readPackets } from './packet.js';

/** A signature object of RSA with 8192 bits and a full reference has 3 KiB. */
export const MAX_OBJECT = 65_536;
/** A payload, and a signature around it. */
const MAX_INFLATED = 131_072;
const MAX_PACKETS = 8;

/** @see RFC 9580 §9.4 */
const compression = { none: 0, zip: 1, zlib: 2, bzip2: 3 } as const;
/** Signature over binary data. @see RFC 9580 §5.2.1.1 */
const BINARY = 0x00;
const LITERAL_BINARY = 0x62;

/** A signed message taken apart; nothing in it has been verified. */
export interface SignedMessage {
  /** What is said to be signed. */
  readonly content: Uint8Array;
  /** The one signature packet. */
  readonly signature: Uint8Array;
}

/**
 * Takes a signature object apart: one binary OpenPGP message, compressed once or not, of literal data with one signature
 * over it. Nothing else is read: no armour, no clear text, no detached signature, no encryption, no second message behind it.
 * @throws SimpleSigningError `SIMPLE_MESSAGE`, `SIMPLE_TOO_LARGE`
 * @see containers-signature(5); RFC 9580 §10.3
 */
export function openMessage(bytes: Uint8Array): SignedMessage {
  if (bytes.length > MAX_OBJECT) throw tooLarge(`${bytes.length} bytes, at most ${MAX_OBJECT} are read`);
  const packets = read(bytes);
  if (packets === undefined) throw bad(notAMessage(bytes));
  const [compressed] = packets;
  if (compressed?.type !== packetType.compressed) return openSigned(packets);
  if (packets.length > 1) throw bad('something follows the message');
  const inner = read(inflate(compressed.body));
  if (inner === undefined) throw bad('what it decompresses to is not a list of packets, or too long a one');
  return openSigned(inner);
}

function read(bytes: Uint8Array): Packet[] | undefined {
  return readPackets(bytes, MAX_PACKETS)?.filter(
    ({ type }) => type !== packetType.marker && type !== packetType.padding,
  );
}

/** `one octet compression algorithm, compressed data`. @see RFC 9580 §5.6 */
function inflate(body: Uint8Array): Uint8Array {
  const data = body.subarray(1);
  try {
    switch (body[0]) {
      case compression.none:
        return data;
      case compression.zip:
        return whole(data, inflateRawSync(data, { maxOutputLength: MAX_INFLATED, info: true }));
      case compression.zlib:
        return whole(data, inflateSync(data, { maxOutputLength: MAX_INFLATED, info: true }));
      case compression.bzip2:
        throw bad('it is compressed with BZip2, which is not read here');
      default:
        throw bad('its compression is unknown');
    }
  } catch (cause) {
    if (cause instanceof SimpleSigningError) throw cause;
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw tooLarge(`it decompresses to more than ${MAX_INFLATED} bytes`);
    }
    throw bad('its compressed data is malformed', cause);
  }
}

/**
 * What all of the data decompresses to. zlib stops at the end of its stream and says nothing of what follows, where another
 * message could hide: GnuPG writes this packet without a length.
 */
function whole(data: Uint8Array, result: unknown): Uint8Array {
  // With `info` it is not a buffer but this, which the types do not know.
  const { buffer, engine } = result as { buffer: Uint8Array; engine: { bytesWritten: number } };
  if (engine.bytesWritten !== data.length) throw bad('something follows the message');
  return buffer;
}

/** `One-Pass Signed Message :- One-Pass Signature Packet, OpenPGP Message, Corresponding Signature Packet`, or the older order without the first. */
function openSigned(packets: readonly Packet[]): SignedMessage {
  const types = packets.map(({ type }) => type).join(' ');
  const { onePass, literal, signature } = packetType;
  const [first, second, third] = packets;
  switch (types) {
    case `${onePass} ${literal} ${signature}`:
      checkOnePass(first?.body ?? new Uint8Array(), third?.body ?? new Uint8Array());
      return { content: contentOf(second), signature: signatureOf(third) };
    case `${signature} ${literal}`:
      return { content: contentOf(second), signature: signatureOf(first) };
    default:
      throw bad(describe(packets));
  }
}

/** What else it is, in words. */
function describe(packets: readonly Packet[]): string {
  const has = (type: number) => packets.some((packet) => packet.type === type);
  const signatures = packets.filter(({ type }) => type === packetType.signature).length;
  if (packets.length === 0) return 'it is empty';
  if (packets.every(({ type }) => type === packetType.signature))
    return 'it is a detached signature, and not a signed message';
  if ([packetType.encrypted, packetType.protectedData, packetType.encryptedKey, packetType.symmetricKey].some(has))
    return 'it is encrypted';
  if (has(packetType.compressed)) return 'it is compressed in parts, or twice';
  if (has(packetType.publicKey) || has(packetType.secretKey)) return 'it is a key';
  if (packets.filter(({ type }) => type === packetType.literal).length > 1) return 'it is more than one message';
  if (signatures > 1) return `it has ${signatures} signatures, and must have one`;
  if (signatures === 0) return 'it is not signed';
  return 'its packets are not those of a signed message';
}

/**
 * `version 3, signature type, hash algorithm, public-key algorithm, 8 octets key ID, nested`: it foretells the signature packet,
 * and a program that believed it would see another signature than we do.
 * @see RFC 9580 §5.4
 */
function checkOnePass(onePass: Uint8Array, signature: Uint8Array): void {
  const [version, type, hash, algorithm] = onePass;
  // In the signature packet: version, type, public-key algorithm, hash algorithm.
  const agrees = type === signature[1] && algorithm === signature[2] && hash === signature[3];
  if ((version !== 3 && version !== 6) || !agrees) throw bad('its one-pass packet is not about its signature');
  if (onePass.at(-1) === 0) throw bad('its one-pass packet announces another signature');
}

/** `format, file name with its length, 4 octets date, content`. @see RFC 9580 §5.9 */
function contentOf(packet: Packet | undefined): Uint8Array {
  const body = packet?.body ?? new Uint8Array();
  if (body[0] !== LITERAL_BINARY) throw bad('its content is not binary');
  const start = 2 + (body[1] ?? 0) + 4;
  if (body.length < start) throw bad('its content is cut off');
  return body.subarray(start);
}

function signatureOf(packet: Packet | undefined): Uint8Array {
  const body = packet?.body ?? new Uint8Array();
  if (body[0] !== 4 && body[0] !== 6) throw bad(`its signature has version ${body[0] ?? 'missing'}`);
  if (body[1] !== BINARY) throw bad('its signature is not over binary data');
  return encodePackets([{ type: packetType.signature, body }]);
}

/** What bytes are that are not packets. */
function notAMessage(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'it is empty';
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString('latin1').trimStart();
  if (start.startsWith('-----BEGIN PGP SIGNED MESSAGE'))
    return 'it is a cleartext signature, and must be a binary signed message';
  if (start.startsWith('-----BEGIN PGP')) return 'it is armoured, and must be binary';
  if (bytes[0] === 0) return 'it is a signature of another format in the same storage';
  if (looksLikePayload(bytes)) return 'it is a payload that nobody signed';
  return 'it is not a list of OpenPGP packets, or too long a one';
}

function bad(state: string, cause?: unknown): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_MESSAGE', `Cannot read signature: ${state}`, { cause });
}

function tooLarge(state: string): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_TOO_LARGE', `Cannot read signature: ${state}`);
}
