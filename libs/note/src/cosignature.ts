import { concatBytes, encodeUtf8, TlsReader, TlsWriter } from '#libs/encoding';
import { NoteError } from './error.js';

/** A witness's signature on a checkpoint, and when it was made. */
export interface Cosignature {
  /** Seconds since 1970, 1 to 2^63-1; signed. */
  time: bigint;
  /** Ed25519, 64 bytes. */
  signature: Uint8Array;
}

const MAX_TIME = 2n ** 63n - 1n;
const COSIGNATURE_LENGTH = 8 + 64;

/**
 * The bytes that a witness signs: the whole text of the checkpoint, with its line feed and extension lines, after the
 * time.
 * @see C2SP tlog-cosignature, "Format"
 */
export function cosignatureInput(text: string, time: bigint): Uint8Array {
  return encodeUtf8(`cosignature/v1\ntime ${time}\n${text}`);
}

/**
 * What stands in the note after the key id: the time as 64-bit big-endian number, then the signature.
 * @throws NoteError `NOTE_MALFORMED`
 */
export function encodeCosignature({ time, signature }: Cosignature): Uint8Array {
  checkTime(time, 'Cannot encode cosignature');
  return concatBytes(new TlsWriter().u64(time).finish(), signature);
}

/**
 * Reads what stands in the note after the key id.
 * @throws NoteError `NOTE_MALFORMED`
 */
export function parseCosignature(bytes: Uint8Array): Cosignature {
  if (bytes.length !== COSIGNATURE_LENGTH) {
    const state = `a cosignature has ${bytes.length} bytes, not ${COSIGNATURE_LENGTH}`;
    throw new NoteError('NOTE_MALFORMED', `Cannot parse note: ${state}`);
  }
  const reader = new TlsReader(bytes);
  const time = reader.u64();
  // Time 0 means "no statement about time", which this kind of signature cannot make.
  checkTime(time, 'Cannot parse note');
  return { time, signature: reader.bytes(reader.remaining) };
}

function checkTime(time: bigint, action: string): void {
  if (time < 1n || time > MAX_TIME) {
    throw new NoteError('NOTE_MALFORMED', `${action}: cosignature time ${time} is not between 1 and 2^63-1`);
  }
}
