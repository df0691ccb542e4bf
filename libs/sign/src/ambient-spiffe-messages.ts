import { concatBytes, encodeUtf8, parseUtf8 } from '#libs/encoding';
import { SignError } from './error.js';

/** A JWT-SVID as the Workload API returns it. */
export interface JwtSvid {
  /** `spiffe://trust-domain/path` */
  spiffeId: string;
  /** The compact JWT. */
  svid: string;
}

const WIRE_VARINT = 0;
const WIRE_64_BIT = 1;
const WIRE_BYTES = 2;
const WIRE_32_BIT = 5;

const MAX_MESSAGE_BYTES = 64 * 1024;
const MAX_SVIDS = 64;

/**
 *     message JWTSVIDRequest {
 *         repeated string audience = 1;
 *         string spiffe_id = 2;       // left out: all that the caller may have, its default first
 *     }
 * @see SPIFFE Workload API, workload.proto; Protocol Buffers documentation, "Encoding"
 */
export function encodeJwtSvidRequest(audience: readonly string[]): Uint8Array {
  return concatBytes(
    ...audience.map((name) => {
      const text = encodeUtf8(name);
      return concatBytes(Uint8Array.of((1 << 3) | WIRE_BYTES), encodeVarint(text.length), text);
    }),
  );
}

/**
 *     message JWTSVIDResponse { repeated JWTSVID svids = 1; }
 *     message JWTSVID {
 *         string spiffe_id = 1;
 *         string svid = 2;
 *     }
 * Fields of later versions are passed over; 64 KiB and 64 SVIDs at most.
 * @throws SignError `SIGN_RESPONSE_MALFORMED`
 */
export function parseJwtSvidResponse(bytes: Uint8Array): JwtSvid[] {
  if (bytes.length > MAX_MESSAGE_BYTES) throw malformed(`it is longer than ${MAX_MESSAGE_BYTES} bytes`);
  const svids: JwtSvid[] = [];
  for (const { field, content } of readFields(bytes)) {
    if (field !== 1) continue;
    if (content === undefined) throw malformed('its svids are no messages');
    if (svids.length === MAX_SVIDS) throw malformed(`it has more than ${MAX_SVIDS} SVIDs`);
    svids.push(parseJwtSvid(content));
  }
  return svids;
}

function parseJwtSvid(bytes: Uint8Array): JwtSvid {
  const texts: (string | undefined)[] = [];
  for (const { field, content } of readFields(bytes)) {
    if (field !== 1 && field !== 2) continue;
    if (content === undefined) throw malformed('a text of an SVID is no text');
    // Protocol Buffers takes the last of several; nobody sends several.
    if (texts[field] !== undefined) throw malformed('a text of an SVID is there twice');
    texts[field] = readText(content);
  }
  const [, spiffeId, svid] = texts;
  if (spiffeId === undefined || svid === undefined || svid === '')
    throw malformed('an SVID lacks its name or its token');
  return { spiffeId, svid };
}

/** The fields of a message in order; `content` of those that have a length. */
function* readFields(bytes: Uint8Array): Generator<{ field: number; content: Uint8Array | undefined }> {
  let at = 0;
  const readVarint = () => {
    const { value, end } = parseVarint(bytes, at);
    at = end;
    return value;
  };
  const take = (length: number) => {
    if (length > bytes.length - at) throw malformed('it ends in the middle of a field');
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = readVarint();
    const field = Math.floor(tag / 8);
    // Field numbers are 1 to 2^29 − 1 (Protocol Buffers language guide, "Assigning Field Numbers").
    if (field < 1 || field >= 2 ** 29) throw malformed('a field has a number that none may have');
    switch (tag % 8) {
      case WIRE_VARINT:
        readVarint();
        yield { field, content: undefined };
        break;
      case WIRE_64_BIT:
        take(8);
        yield { field, content: undefined };
        break;
      case WIRE_BYTES:
        yield { field, content: take(readVarint()) };
        break;
      case WIRE_32_BIT:
        take(4);
        yield { field, content: undefined };
        break;
      default:
        throw malformed('a field is of a kind that is not used any more');
    }
  }
}

/** Seven bits a byte, the lowest first; ten bytes at most. Exact below 2^53, which is far above every length and tag that is accepted. */
function parseVarint(bytes: Uint8Array, start: number): { value: number; end: number } {
  let value = 0;
  for (let at = start; at < start + 10; at++) {
    const byte = bytes[at];
    if (byte === undefined) throw malformed('it ends in the middle of a number');
    value += (byte & 0x7f) * 2 ** (7 * (at - start));
    if (byte < 0x80) return { value, end: at + 1 };
  }
  throw malformed('a number has more than ten bytes');
}

function encodeVarint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Uint8Array.of(...bytes, rest);
}

function readText(bytes: Uint8Array): string {
  try {
    return parseUtf8(bytes);
  } catch (cause) {
    throw malformed('a text of an SVID is not UTF-8', cause);
  }
}

function malformed(state: string, cause?: unknown): SignError {
  return new SignError('SIGN_RESPONSE_MALFORMED', `Cannot read the answer of the SPIFFE Workload API: ${state}`, {
    ...(cause !== undefined && { cause }),
    cure: 'Check that the socket is that of a SPIFFE Workload API, for instance of a SPIRE agent',
  });
}
