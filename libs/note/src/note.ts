import {
  concatBytes,
  encodeBase64,
  EncodingError,
  encodeUtf8,
  hasLoneSurrogate,
  parseBase64,
  parseUtf8,
} from '#libs/encoding';
import { NoteError } from './error.js';

/** One signature line: `— <name> base64(keyId ‖ signature)`. */
export interface NoteSignature {
  name: string;
  /** 4 bytes; with the name it says which key. */
  keyId: Uint8Array;
  /** At least one byte; what is in it depends on the key. */
  signature: Uint8Array;
}

/** A text that ends in a line feed, and signatures on it. Nothing says yet that any of them is good. */
export interface Note {
  text: string;
  signatures: NoteSignature[];
}

/** Bytes of a note. Checkpoints with sixteen post-quantum witness lines of 3.3 kB stay below. */
export const MAX_NOTE_LENGTH = 65_536;
/** Signature lines of a note; C2SP signed-note asks for at least 16. */
export const MAX_NOTE_SIGNATURES = 100;
/** Bytes of a key id in a signature line. */
export const KEY_ID_LENGTH = 4;

// U+2014 EM DASH and a space; a hyphen or an en dash is not a signature line.
const LINE_START = '\u2014 ';

/**
 * Reads a signed note. There is one spelling: UTF-8 without control characters but line feed; the signatures are what
 * follows the last blank line, each line ended by a line feed, base64 padded and canonical.
 * @throws NoteError `NOTE_MALFORMED`
 * @see C2SP signed-note, "Format"
 */
export function parseNote(source: string | Uint8Array): Note {
  const note = readText(source);
  checkCharacters(note, 'Cannot parse note');
  const split = note.lastIndexOf('\n\n');
  if (split < 0) throw malformed('no blank line separates text and signatures');
  return { text: note.slice(0, split + 1), signatures: parseSignatureLines(note.slice(split + 2)) };
}

/**
 * The note as it goes over the wire; the inverse of `parseNote`.
 * @throws NoteError `NOTE_MALFORMED` for what `parseNote` would not read back
 */
export function encodeNote({ text, signatures }: Note): string {
  checkText(text, 'Cannot encode note');
  if (signatures.length === 0) throw new NoteError('NOTE_MALFORMED', 'Cannot encode note: it has no signatures');
  const note = `${text}\n${encodeSignatureLines(signatures)}`;
  checkLength(encodeUtf8(note).length, 'Cannot encode note');
  return note;
}

/**
 * Reads signature lines by themselves, as a witness answers them. At least one.
 * @throws NoteError `NOTE_MALFORMED`
 * @see C2SP tlog-witness, "add-checkpoint"
 */
export function parseSignatureLines(lines: string): NoteSignature[] {
  checkLength(lines.length, 'Cannot parse note');
  if (lines === '') throw malformed('it has no signature lines');
  if (!lines.endsWith('\n')) throw malformed('the last signature line does not end in a line feed');
  const parts = lines.slice(0, -1).split('\n');
  if (parts.length > MAX_NOTE_SIGNATURES) {
    throw malformed(`${parts.length} signature lines, at most ${MAX_NOTE_SIGNATURES}`);
  }
  return parts.map(parseSignatureLine);
}

/**
 * Signature lines, each ended by a line feed; the inverse of `parseSignatureLines`.
 * @throws NoteError `NOTE_MALFORMED`
 */
export function encodeSignatureLines(signatures: readonly NoteSignature[]): string {
  if (signatures.length > MAX_NOTE_SIGNATURES) {
    const state = `${signatures.length} signatures, at most ${MAX_NOTE_SIGNATURES}`;
    throw new NoteError('NOTE_MALFORMED', `Cannot encode note: ${state}`);
  }
  return signatures
    .map(({ name, keyId, signature }) => {
      if (!isKeyName(name) || keyId.length !== KEY_ID_LENGTH || signature.length === 0) {
        throw new NoteError('NOTE_MALFORMED', 'Cannot encode note: a signature lacks a name, key id or bytes');
      }
      return `${LINE_START}${name} ${encodeBase64(concatBytes(keyId, signature))}\n`;
    })
    .join('');
}

/**
 * Whether a key may have this name: it ends at the first space of a signature line, and at the first `+` of a verifier
 * key.
 * @see C2SP signed-note, "Signatures": no Unicode spaces and no plus
 */
export function isKeyName(name: string): boolean {
  return name !== '' && !/[\p{White_Space}\p{Cc}\p{Surrogate}+]/u.test(name);
}

/** @throws NoteError `NOTE_MALFORMED` unless this can be the text of a note: its characters, a line feed at the end */
export function checkText(text: string, action: string): void {
  checkLength(text.length, action);
  checkCharacters(text, action);
  if (!text.endsWith('\n')) throw new NoteError('NOTE_MALFORMED', `${action}: its text does not end in a line feed`);
}

function readText(source: string | Uint8Array): string {
  // A string has at most as many UTF-16 units as UTF-8 bytes: checked before anything is allocated.
  checkLength(source.length, 'Cannot parse note');
  try {
    if (typeof source !== 'string') return parseUtf8(source);
    checkLength(encodeUtf8(source).length, 'Cannot parse note');
    return source;
  } catch (cause) {
    if (cause instanceof EncodingError) throw malformed('it is not UTF-8', cause);
    throw cause;
  }
}

function parseSignatureLine(line: string): NoteSignature {
  const [name, base64, ...rest] = line.startsWith(LINE_START) ? line.slice(LINE_START.length).split(' ') : [];
  if (name === undefined || base64 === undefined || rest.length > 0) {
    throw malformed('a signature line is not an em dash, a name and base64');
  }
  if (!isKeyName(name)) throw malformed('the name in a signature line is empty or has a space or plus');
  const bytes = readBase64(base64);
  if (bytes.length <= KEY_ID_LENGTH) throw malformed('a signature line has a key id but no signature');
  return { name, keyId: bytes.slice(0, KEY_ID_LENGTH), signature: bytes.slice(KEY_ID_LENGTH) };
}

function readBase64(text: string): Uint8Array {
  try {
    return parseBase64(text);
  } catch (cause) {
    throw malformed('the base64 of a signature line is malformed', cause);
  }
}

function checkCharacters(text: string, action: string): void {
  // A tab or an escape sequence would let a text show one thing and mean another.
  // eslint-disable-next-line no-control-regex -- these are what it looks for
  if (/[\u0000-\u0009\u000b-\u001f\u007f]/.test(text)) {
    throw new NoteError('NOTE_MALFORMED', `${action}: it has a control character other than line feed`);
  }
  if (hasLoneSurrogate(text)) throw new NoteError('NOTE_MALFORMED', `${action}: it has half a surrogate pair`);
}

function checkLength(length: number, action: string): void {
  if (length > MAX_NOTE_LENGTH) {
    throw new NoteError('NOTE_MALFORMED', `${action}: ${length} bytes, at most ${MAX_NOTE_LENGTH}`);
  }
}

function malformed(state: string, cause?: unknown): NoteError {
  return new NoteError('NOTE_MALFORMED', `Cannot parse note: ${state}`, cause === undefined ? {} : { cause });
}
