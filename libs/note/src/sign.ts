import { encodeUtf8 } from '#libs/encoding';
import type { CryptoPort, SignatureScheme, Signer } from '#libs/crypto';
import { parseCheckpoint } from './checkpoint.js';
import { cosignatureInput, encodeCosignature } from './cosignature.js';
import { NoteError } from './error.js';
import { noteKeyHash, type NoteKeyKind } from './key.js';
import { checkText, encodeNote, KEY_ID_LENGTH, type NoteSignature } from './note.js';
import {
  encodeDigitallySigned,
  encodeTreeHeadSignature,
  parseTreeHeadText,
  treeHeadInput,
  treeHeadScheme,
} from './tree-head.js';

/** A key that signs notes under a name. */
export interface NoteSigner {
  readonly name: string;
  /** 4 bytes. */
  readonly keyId: Uint8Array;
  /** 32 bytes: how trust material names this log. */
  readonly logId: Uint8Array;
  /** What stands in the signature line after the key id. */
  sign(text: string): Uint8Array;
}

type Hash = CryptoPort['hash'];

/**
 * Signs notes with Ed25519, as logs with C2SP checkpoints do.
 * @throws NoteError `NOTE_KEY_MALFORMED` for a name with a space or `+`, or another key
 * @see C2SP signed-note, "Signature types", 0x01
 */
export function ed25519NoteSigner(name: string, signer: Signer, hash: Hash): NoteSigner {
  const signText = (text: string): Uint8Array => signer.sign(encodeUtf8(text));
  return noteSigner('ed25519', { name, signer, hash, scheme: { kind: 'ed25519' } }, signText);
}

/**
 * Signs notes with ECDSA over SHA-256, as Rekor v1 does; the key id is that of the key alone.
 * @throws NoteError `NOTE_KEY_MALFORMED`
 */
export function ecdsaNoteSigner(name: string, signer: Signer, hash: Hash): NoteSigner {
  const signText = (text: string): Uint8Array => signer.sign(encodeUtf8(text));
  return noteSigner('ecdsa', { name, signer, hash, scheme: { kind: 'ecdsa', hash: 'sha256' } }, signText);
}

/**
 * Signs the tree head that a checkpoint states, as RFC 6962 logs do; `timestampMs` is asked for the time, in
 * milliseconds since 1970, at each signature. The text's origin must be `origin`, and it has no extension lines.
 * @throws NoteError `NOTE_KEY_MALFORMED`; on signing `NOTE_CHECKPOINT_MALFORMED`, `NOTE_ORIGIN_MISMATCH`
 * @see C2SP static-ct-api, "Checkpoints", 0x05
 */
export function rfc6962NoteSigner(
  origin: string,
  signer: Signer,
  hash: Hash,
  { timestampMs }: { timestampMs: () => bigint },
): NoteSigner {
  const key = signer.publicKey;
  const made = noteSigner('rfc6962', { name: origin, signer, hash, scheme: treeHeadScheme(key) }, (text) => {
    const checkpoint = parseTreeHeadText(text, origin);
    const time = timestampMs();
    const digitallySigned = encodeDigitallySigned(key, signer.sign(treeHeadInput(checkpoint, time)));
    return encodeTreeHeadSignature({ timestampMs: time, digitallySigned });
  });
  // Trust material and SCTs name such a log by its key alone (RFC 6962 §3.2).
  return { ...made, logId: hash('sha256', key.spki) };
}

/**
 * Cosigns checkpoints as a witness: says that the log showed it this tree, consistent with all before. That is for
 * the caller to have checked. `time` is asked for the seconds since 1970 at each signature.
 * @throws NoteError `NOTE_KEY_MALFORMED`; on signing `NOTE_CHECKPOINT_MALFORMED`
 * @see C2SP tlog-cosignature, 0x04
 */
export function cosignatureSigner(
  name: string,
  signer: Signer,
  hash: Hash,
  { time }: { time: () => bigint },
): NoteSigner {
  return noteSigner('cosignature', { name, signer, hash, scheme: { kind: 'ed25519' } }, (text) => {
    parseCheckpoint(text);
    const now = time();
    return encodeCosignature({ time: now, signature: signer.sign(cosignatureInput(text, now)) });
  });
}

/**
 * One signature on a text: to make a note of, or to add to one.
 * @throws NoteError `NOTE_MALFORMED` if the text cannot be a note's, and what the signer throws
 */
export function signText(text: string, signer: NoteSigner): NoteSignature {
  checkText(text, 'Cannot sign note');
  return { name: signer.name, keyId: signer.keyId, signature: signer.sign(text) };
}

/**
 * A note with a signature by each of `signers`, in their order. `text` ends in a line feed.
 * @throws NoteError `NOTE_MALFORMED`, and what the signers throw
 */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  return encodeNote({ text, signatures: signers.map((signer) => signText(text, signer)) });
}

interface Making {
  name: string;
  signer: Signer;
  hash: Hash;
  scheme: SignatureScheme;
}

function noteSigner(kind: NoteKeyKind, { name, signer, hash, scheme }: Making, sign: NoteSigner['sign']): NoteSigner {
  const logId = noteKeyHash({ kind, name, key: signer.publicKey }, hash);
  if (!isScheme(signer.scheme, scheme)) {
    const [has, needs] = [signer.scheme, scheme].map((one) =>
      'hash' in one ? `${one.kind} with ${one.hash}` : one.kind,
    );
    throw new NoteError(
      'NOTE_KEY_MALFORMED',
      `Cannot sign notes: the key signs ${has}, notes of this kind need ${needs}`,
    );
  }
  return { name, keyId: logId.slice(0, KEY_ID_LENGTH), logId, sign };
}

function isScheme(a: SignatureScheme, b: SignatureScheme): boolean {
  return a.kind === b.kind && ('hash' in a ? a.hash : undefined) === ('hash' in b ? b.hash : undefined);
}
