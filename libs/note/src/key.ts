import {
  concatBytes,
  derBitString,
  derOid,
  derSequence,
  encodeBase64,
  EncodingError,
  encodeHex,
  encodeUtf8,
  equalBytes,
  parseBase64,
} from '#libs/encoding';
import { CryptoError, parsePublicKey, type CryptoPort, type PublicKey } from '#libs/crypto';
import { NoteError } from './error.js';
import { isKeyName, KEY_ID_LENGTH } from './note.js';

/**
 * What a key of a note signs, and how:
 * `ed25519`, `ecdsa`, `rsa` sign the text; `rfc6962` the tree head of the checkpoint that the text states;
 * `cosignature` the text with the time at which a witness saw it.
 */
export type NoteKeyKind = 'ed25519' | 'ecdsa' | 'rsa' | 'rfc6962' | 'cosignature';

/** A public key with the name it has in notes. */
export interface NoteKey {
  kind: NoteKeyKind;
  name: string;
  key: PublicKey;
}

type Hash = CryptoPort['hash'];

interface KindRules {
  /** Which keys can be of this kind. */
  needs: readonly PublicKey['kind'][];
  /** What identifies the kind in a verifier key: one byte, or 0xff and a text. */
  prefix: Uint8Array;
  /** The key as a verifier key carries it. */
  encode: (key: PublicKey) => Uint8Array;
  parse: (bytes: Uint8Array) => PublicKey;
  /** SHA-256 of these bytes identifies the key; its first four bytes are the key id. */
  identity: (name: string, key: PublicKey, hash: Hash) => Uint8Array;
}

const LINE_FEED = Uint8Array.of(0x0a);
// C2SP signed-note: 0xff is for kinds without a number of their own, which follow it with a long name.
const RSA_PREFIX = concatBytes(Uint8Array.of(0xff), encodeUtf8('PKIX-RSA-PKCS#1v1.5'));

const ofSpki = { encode: (key: PublicKey): Uint8Array => key.spki, parse: parsePublicKey };
const ofRawEd25519 = { encode: rawEd25519, parse: parseRawEd25519 };

const kinds: Readonly<Record<NoteKeyKind, KindRules>> = {
  ed25519: {
    needs: ['ed25519'],
    prefix: Uint8Array.of(0x01),
    ...ofRawEd25519,
    identity: (name, key) => named(name, Uint8Array.of(0x01), rawEd25519(key)),
  },
  ecdsa: {
    needs: ['ecdsa'],
    prefix: Uint8Array.of(0x02),
    ...ofSpki,
    // Without the name: such keys had their log id before notes came (RFC 6962 §3.2).
    identity: (_name, key) => key.spki,
  },
  cosignature: {
    needs: ['ed25519'],
    prefix: Uint8Array.of(0x04),
    ...ofRawEd25519,
    identity: (name, key) => named(name, Uint8Array.of(0x04), rawEd25519(key)),
  },
  rfc6962: {
    needs: ['ecdsa', 'rsa'],
    prefix: Uint8Array.of(0x05),
    ...ofSpki,
    identity: (name, key, hash) => named(name, Uint8Array.of(0x05), hash('sha256', key.spki)),
  },
  rsa: {
    needs: ['rsa'],
    prefix: RSA_PREFIX,
    ...ofSpki,
    identity: (name, key) => named(name, RSA_PREFIX, key.spki),
  },
};

/**
 * The 32 bytes of which a note's key id is the first four.
 * @throws NoteError `NOTE_KEY_MALFORMED` if the name is none or the key cannot be of this kind
 * @see C2SP signed-note, "Signature types"; C2SP static-ct-api, "Checkpoints"
 */
export function noteKeyHash(noteKey: NoteKey, hash: Hash): Uint8Array {
  checkNoteKey(noteKey);
  return hash('sha256', kinds[noteKey.kind].identity(noteKey.name, noteKey.key, hash));
}

/**
 * How trust material names a log that signs checkpoints as `name` with `key`, 32 bytes: for Ed25519 and RSA the name is
 * digested too, for ECDSA it is SHA-256 of the SubjectPublicKeyInfo. Its first four bytes are the key id in the note.
 * @throws NoteError `NOTE_KEY_MALFORMED`
 */
export function noteLogId(name: string, key: PublicKey, hash: Hash): Uint8Array {
  return noteKeyHash({ kind: key.kind, name, key }, hash);
}

/**
 * A verifier key in one line: `<name>+<key id in hex>+<base64 of kind and key>`.
 * @throws NoteError `NOTE_KEY_MALFORMED`
 * @see C2SP signed-note, "Verifier keys"
 */
export function encodeVerifierKey(noteKey: NoteKey, hash: Hash): string {
  const keyId = noteKeyHash(noteKey, hash).subarray(0, KEY_ID_LENGTH);
  const { prefix, encode } = kinds[noteKey.kind];
  return `${noteKey.name}+${encodeHex(keyId)}+${encodeBase64(concatBytes(prefix, encode(noteKey.key)))}`;
}

/**
 * The key that a verifier key states; the inverse of `encodeVerifierKey`. Its key id must be the one that name and
 * key give.
 * @throws NoteError `NOTE_KEY_MALFORMED`
 */
export function parseVerifierKey(text: string, hash: Hash): NoteKey {
  if (text.length > MAX_VERIFIER_KEY_LENGTH) throw malformed(`${text.length} characters`);
  // The key's base64 may have a plus too, name and key id may not.
  const [, name, keyId, base64] = /^([^+]*)\+([0-9a-f]{8})\+([^\n]*)$/.exec(text) ?? [];
  if (name === undefined || keyId === undefined || base64 === undefined) {
    throw malformed('it is not a name, eight hex digits and base64, with plus between');
  }
  const { kind, key } = readKey(base64);
  const noteKey = { kind, name, key };
  const expected = encodeHex(noteKeyHash(noteKey, hash).subarray(0, KEY_ID_LENGTH));
  if (keyId !== expected) throw malformed(`it says key id ${keyId}, name and key give ${expected}`);
  return noteKey;
}

// An RSA key of 8192 bits is 1.5 kB in base64.
const MAX_VERIFIER_KEY_LENGTH = 4096;

function readKey(base64: string): Omit<NoteKey, 'name'> {
  try {
    const bytes = parseBase64(base64);
    for (const kind of Object.keys(kinds) as NoteKeyKind[]) {
      const { prefix, parse } = kinds[kind];
      if (equalBytes(bytes.subarray(0, prefix.length), prefix))
        return { kind, key: parse(bytes.subarray(prefix.length)) };
    }
  } catch (cause) {
    if (cause instanceof EncodingError || cause instanceof CryptoError) throw malformed('its key is malformed', cause);
    throw cause;
  }
  throw malformed('its key is of an unknown kind');
}

function checkNoteKey({ kind, name, key }: NoteKey): void {
  if (!isKeyName(name))
    throw new NoteError('NOTE_KEY_MALFORMED', 'Cannot use note key: its name is empty or has a space or plus');
  const { needs } = kinds[kind];
  if (!needs.includes(key.kind)) {
    throw new NoteError(
      'NOTE_KEY_MALFORMED',
      `Cannot use note key: kind ${kind} needs ${needs.join(' or ')}, the key is ${key.kind}`,
    );
  }
}

function named(name: string, prefix: Uint8Array, key: Uint8Array): Uint8Array {
  return concatBytes(encodeUtf8(name), LINE_FEED, prefix, key);
}

function rawEd25519(key: PublicKey): Uint8Array {
  if (key.kind !== 'ed25519') throw new Error('Cannot encode Ed25519 key: the key is of another kind');
  return key.raw;
}

function parseRawEd25519(raw: Uint8Array): PublicKey {
  // RFC 8410 §4: the algorithm is id-Ed25519 without parameters. A key of another length is refused by parsePublicKey.
  return parsePublicKey(derSequence(derSequence(derOid('1.3.101.112')), derBitString(raw)));
}

function malformed(state: string, cause?: unknown): NoteError {
  return new NoteError(
    'NOTE_KEY_MALFORMED',
    `Cannot parse verifier key: ${state}`,
    cause === undefined ? {} : { cause },
  );
}
